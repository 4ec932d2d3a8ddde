/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for clients, by OpenSSL: versions 1.2 and 1.3, a certificate that can be replaced while connections run, and
 * certificates asked of clients where --tls-client-ca says so. On the loop's thread.
 */
#ifndef SLUICE_SERVE_TLS_H
#define SLUICE_SERVE_TLS_H

#include "host/base/error.h"

#include <openssl/types.h>

struct tls_files {
    const char *certificate; /* PEM: the server's, then those that signed it; borrowed until tls_close */
    const char *key;         /* PEM: its private key */
    const char
        *client_ca; /* PEM: whoever these have signed may come in, nobody else; NULL: no certificate is asked for */
};

struct tls; /* opaque */

/*
 * Reads the files. Errors name the file: one that cannot be read, a key of another certificate, a certificate that has
 * expired or is not valid yet. *out is owned: tls_close.
 */
int tls_open(const struct tls_files *files, struct tls **out, struct error *err);
void tls_close(struct tls *tls); /* NULL is allowed */

/* Reads the files again for connections that come from now on. On error the old ones stay. */
int tls_reload(struct tls *tls, struct error *err);

/* The server's side of a new connection; NULL: no memory. Owned by the caller, or by the bufferevent that takes it. */
SSL *tls_session(const struct tls *tls);

/* Tells the other side that nothing more will be sent. */
void tls_say_end(SSL *session);

#endif
