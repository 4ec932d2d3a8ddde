/* SPDX-License-Identifier: Apache-2.0 */
/* The HLS C engine as a card: memory of this process, programs run by sluice_engine. For tests only. */
#ifndef SLUICE_TEST_HLS_CARD_H
#define SLUICE_TEST_HLS_CARD_H

#include "host/card/card_backend.h"

extern const struct card_backend_ops hls_card_ops;

#endif
