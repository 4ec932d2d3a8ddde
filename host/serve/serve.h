/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP front end: one model served with OpenAI's completion API. One call that returns when the server has been
 * told to end by a signal or has failed; the README of this folder says what is inside.
 */
#ifndef SLUICE_SERVE_SERVE_H
#define SLUICE_SERVE_SERVE_H

#include "host/base/error.h"
#include "host/serve/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Cards that come and go, told by whoever may look at the bus. */
struct serve_card_events {
    int fd; /* readable when there is something; -1: nobody tells. Stays the caller's */
    void *context;
    /*
     * The next event: 1, with the PCI address of a function and whether it has gone; 0: none now (never waits); -1: some were lost.
     */
    int (*next)(void *context, char address[20], bool *gone);
    bool (*is_there)(void *context, const char *address);
};

struct serve_options {
    const char *model_path; /* NULL: the demo model */
    const char *host;       /* an IPv4 or IPv6 address, or "localhost" */
    uint16_t port;          /* 0: a free one */
    const char *rpc_path;   /* the Unix socket of the RPC (rpc.h), beside HTTP; NULL: none */
    const char *keys_path;  /* who may come in (key_file.h); NULL: nobody is asked for a key */
    struct tls_files tls;   /* certificate NULL: plain HTTP */
    bool without_keys; /* allows an address that other machines can reach, though nobody has to prove who they are */
    size_t max_body;   /* bytes of a request's body */

    const char *card;                                    /* as card_open has it */
    const char *cards;                                   /* NULL, or several: as card_list_open has them */
    bool exact_formats;                                  /* refuse a matrix whose values the card rounds */
    unsigned threads;                                    /* 0: one per core */
    uint64_t card_memory_bytes;                          /* 0: the card's own choice */
    uint32_t context, max_sequences, chunk, queue_limit; /* as struct engine_options has them */
    unsigned kv_format;
    uint32_t expert_slots; /* as struct model_load_options has them, and the next three */
    const char *expert_policy, *expert_guess, *record_routing;
    bool lookup;            /* as struct draft_load_options has them: */
    const char *draft_path; /* at most one of the two */

    struct serve_card_events card_events; /* of the card that serves, by its card_info's address */

    /* Lines for people, without a newline: what the server does, and (if not NULL) one for each answer. */
    void (*notice)(void *context, const char *line);
    void (*access_log)(void *context, const char *line);
    void *hook_context;
};

#define SERVE_DEFAULT_PORT 8080
#define SERVE_DEFAULT_MAX_BODY (4u << 20)

/*
 * Serves until SIGTERM, SIGINT or SIGHUP (unless that is ignored; with TLS it reads the certificate again). The first
 * signal ends listening and lets what runs finish; the second cancels it. Returns 0 after such an end. Errors: the model
 * file, the address, keys or certificate, loading, or an engine that cannot go on.
 */
int serve_run(const struct serve_options *options, struct error *err);

#endif
