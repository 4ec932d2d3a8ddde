/* SPDX-License-Identifier: Apache-2.0 */
/* sluice serve: the HTTP front end, until SIGTERM. */
#include "host/cli/commands.h"
#include "host/cli/serve_card_events.h"
#include "host/cli/serve_config.h"
#include "host/cli/session.h"
#include "host/serve/serve.h"

#include <stdio.h>
#include <stdlib.h>

/* Standard output: whoever starts the server reads from it when and where it listens. If it is closed or full, the
 * server serves all the same and says it on stderr. */
static void print_notice(void *context, const char *line)
{
    (void)context;
    bool written = printf("sluice: %s\n", line) > 0 && fflush(stdout) == 0;
    if (written) return;
    fprintf(stderr, "sluice: %s\n", line);
    clearerr(stdout);
}

static void print_log(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

struct settings {
    struct session_options session;
    const char *host, *config, *keys, *rpc;
    struct tls_files tls;
    uint32_t port, queue;
    uint64_t max_body;
    bool without_keys, verbose;
};

/* Reads the command line, then the file it names, then the command line again, which wins. As options_parse. */
static int read_settings(const struct command *self, int argc, char **argv, struct settings *settings,
                         struct serve_config *config)
{
    struct settings *s = settings;
    const struct option table[] = {
        SESSION_OPTION_ROWS(&s->session),
        SPECULATION_OPTION_ROWS(&s->session),
        {"host", 0, OPTION_TEXT, &s->host, "ADDRESS", "address to listen on (default 127.0.0.1), or unix:PATH", 0, 0},
        {"port", 0, OPTION_U32, &s->port, "N", "port to listen on; 0: a free one (default 8080)", 0, 65535},
        {"rpc", 0, OPTION_TEXT, &s->rpc, "PATH",
         "also serve programs on this host over a Unix socket (client/README.md)", 0, 0},
        {"keys", 0, OPTION_TEXT, &s->keys, "FILE", "ask for a key of this file, made by `sluice keys`", 0, 0},
        {"tls-cert", 0, OPTION_TEXT, &s->tls.certificate, "FILE",
         "speak TLS with this certificate (PEM, the whole chain)", 0, 0},
        {"tls-key", 0, OPTION_TEXT, &s->tls.key, "FILE", "its private key (default: in the file of --tls-cert)", 0, 0},
        {"tls-client-ca", 0, OPTION_TEXT, &s->tls.client_ca, "FILE",
         "let in only clients with a certificate that these signed", 0, 0},
        {"insecure-no-keys", 0, OPTION_FLAG, &s->without_keys, NULL,
         "allow an address that other machines can reach, without keys", 0, 0},
        {"max-body", 0, OPTION_U64, &s->max_body, "BYTES", "largest request body (default 4194304)", 1, 1u << 30},
        {"max-queue", 0, OPTION_U32, &s->queue, "N", "requests that may wait for a sequence (default 1024)", 1,
         1u << 20},
        {"verbose", 'v', OPTION_FLAG, &s->verbose, NULL, "one line on stderr for each answer", 0, 0},
        {"config", 0, OPTION_TEXT, &s->config, "FILE", "INI file: [serve], then these names = value, and model", 0, 0},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    const char *operand = NULL, *model = NULL;
    int n_operands;
    int status = options_parse(self, table, argc, argv, &operand, 1, &n_operands);
    if (status >= 0) return status;
    if (s->config) {
        status = serve_config_read(self, table, s->config, config, &model);
        if (status >= 0) return status;
        status = options_parse(self, table, argc, argv, &operand, 1, &n_operands);
        if (status >= 0) return status;
    }
    s->session.model_path = n_operands ? operand : model;
    if (!s->tls.certificate && (s->tls.key || s->tls.client_ca))
        return usage_error(self, "--tls-key and --tls-client-ca need --tls-cert");
    if (!s->tls.key) s->tls.key = s->tls.certificate;
    return session_check(self, &s->session);
}

static int serve(const struct settings *settings)
{
    struct serve_options options = {
        .model_path = settings->session.model_path,
        .host = settings->host,
        .port = (uint16_t)settings->port,
        .rpc_path = settings->rpc,
        .keys_path = settings->keys,
        .tls = settings->tls,
        .without_keys = settings->without_keys,
        .max_body = settings->max_body,
        .card = settings->session.card ? settings->session.card : "sim",
        .cards = settings->session.cards,
        .threads = settings->session.threads,
        .exact_formats = settings->session.exact_formats,
        .expert_slots = settings->session.expert_slots,
        .expert_policy = settings->session.expert_policy,
        .record_routing = settings->session.record_routing,
        .expert_guess = settings->session.expert_guess,
        .card_memory_bytes = settings->session.memory_mib << 20,
        .context = settings->session.context,
        .max_sequences = settings->session.max_sequences,
        .chunk = settings->session.chunk,
        .kv_format = session_kv_format(&settings->session),
        .lookup = session_lookup(&settings->session),
        .draft_path = settings->session.draft_path,
        .queue_limit = settings->queue,
        .notice = print_notice,
        .access_log = settings->verbose ? print_log : NULL,
    };
    struct error err = {0};
    char *cached;
    serve_card_events_open(&options.card_events);
    int status = session_cached_path(&settings->session, false, &cached, &err);
    if (cached) options.model_path = cached;
    if (status == 0) status = serve_run(&options, &err);
    free(cached);
    serve_card_events_close(&options.card_events);
    return status < 0 ? failure("serve: %s", err.text) : EXIT_DONE;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct settings settings = {.host = "127.0.0.1", .port = SERVE_DEFAULT_PORT, .max_body = SERVE_DEFAULT_MAX_BODY};
    struct serve_config config = {0};
    int status = read_settings(self, argc, argv, &settings, &config);
    if (status < 0) status = serve(&settings);
    serve_config_free(&config);
    return status;
}

const struct command command_serve = {
    .name = "serve",
    .synopsis = "[MODEL] [--host ADDRESS] [--port N] [--keys FILE] [--config FILE]",
    .summary = "serve completions over HTTP (OpenAI's API)",
    .details =
        "Endpoints: POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages (and count_tokens),\n"
        "/tokenize, /detokenize, /apply-template; GET /v1/models, /v1/cards, /metrics (Prometheus), /health (alive),\n"
        "/ready (200 once the model is loaded), /openapi.json (all of them, described).\n"
        "SIGTERM or ctrl-C finishes what runs and ends; twice cancels it.\n"
        "With TLS, SIGHUP reads certificate and key again; connections that run keep theirs.",
    .run = run,
};
