/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer has to be, as text for a grammar of kind GRAMMAR_STRUCTURE: calls of tools in a family's own way to write them,
 * an answer in a given format, and reasoning before either. What such a grammar admits, reply.h reads as calls without a break.
 */
#ifndef SLUICE_TEXT_REPLY_STRUCTURE_H
#define SLUICE_TEXT_REPLY_STRUCTURE_H

#include "host/base/error.h"
#include "host/text/reply.h"

struct reply_structure_options {
    const json_t *tools;   /* an array as OpenAI has it, or NULL: no calls */
    bool must_call;        /* a call has to come, and no content; arguments match their tool's schema */
    const char *only_tool; /* with must_call: this one, once; or NULL */
    bool one_call;         /* not several */
    const json_t *answer;  /* a node of a structure that content has to match, or NULL: any content */
    bool reasoning_opened; /* reply_opens_reasoning */
};

/*
 * Without must_call the model may call or answer; the arguments of tools that are `strict` match their schemas. *out is the
 * text, owned (free). ERROR_UNSUPPORTED: no calls of the dialect's are known, but some have to come, or a tool is strict.
 * ERROR_BAD_ARGUMENT names the tool that is wrong.
 */
int reply_structure(const struct reply_dialect *dialect, const struct reply_structure_options *options, char **out,
                    struct error *err);

/* Whether a tool asks for arguments that match its schema. */
bool reply_tool_is_strict(const json_t *tool);

#endif
