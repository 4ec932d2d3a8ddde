/* SPDX-License-Identifier: Apache-2.0 */
/* Card and host profiles: any text is a profile within its limits or a message with its line. */
#include "bitstreams/profiles/profile.h"
#include "sim/channel_model.h"
#include "sim/link_model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The models take whatever the validator lets through. */
static void use_card(const struct card_profile *card)
{
    for (uint32_t bank = 0; bank < card_profile_channels(card); bank++) {
        const struct channel_load load = {3, 1};
        if (channel_stream_ps(card_profile_bank(card, bank), &card->port, &load, 1 << 20) == 0) abort();
    }
}

static void use_host(const struct host_profile *host)
{
    if (link_copies_ps(host, LINK_BOTH_WAYS, 1 << 20, 3) == 0 || link_launches_ps(host, 3) == 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct card_profile card;
    struct host_profile host;
    struct error err = {0};
    int status = card_profile_parse((const char *)data, size, "fuzz.json", &card, &err);
    if (status == 0) use_card(&card);
    if (status != 0 && strncmp(err.text, "fuzz.json:", 10) != 0) abort();
    if (host_profile_parse((const char *)data, size, "fuzz.json", &host, &err) == 0) use_host(&host);
    return 0;
}
