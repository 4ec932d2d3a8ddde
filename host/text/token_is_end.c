/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own, so that tests of the engine can put another in its place. */
#include "host/text/tokenizer_internal.h"

bool tokenizer_is_end(const struct tokenizer *tokenizer, uint32_t id)
{
    return id < tokenizer->vocabulary.n_tokens && tokenizer->vocabulary.tokens[id].is_end;
}
