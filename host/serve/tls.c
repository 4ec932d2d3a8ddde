/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/tls.h"

#include "host/base/memory.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls {
    struct tls_files files;
    SSL_CTX *context; /* each session keeps its own reference */
};

/* OpenSSL's own reason, and an empty queue of errors for the next call. */
static int openssl_error(struct error *err, int code, const char *what, const char *path)
{
    char reason[160] = "no reason given";
    const unsigned long number = ERR_peek_last_error();
    const char *text = number ? ERR_reason_error_string(number) : NULL;
    if (text) snprintf(reason, sizeof reason, "%s", text);
    ERR_clear_error();
    return error_set(err, code, "%s %s: %s", what, path, reason);
}

static void format_time(const ASN1_TIME *time, char *out, size_t size)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int length = memory && ASN1_TIME_print(memory, time) ? BIO_read(memory, out, (int)size - 1) : 0;
    out[length > 0 ? length : 0] = '\0';
    BIO_free(memory);
}

static int check_dates(const X509 *certificate, const char *path, struct error *err)
{
    char when[64];
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
        format_time(X509_get0_notAfter(certificate), when, sizeof when);
        return error_set(err, ERROR_BAD_FILE, "the certificate %s expired on %s (renew it)", path, when);
    }
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        format_time(X509_get0_notBefore(certificate), when, sizeof when);
        return error_set(err, ERROR_BAD_FILE,
                         "the certificate %s is not valid before %s (is this machine's clock right?)", path, when);
    }
    return 0;
}

static int ask_clients(SSL_CTX *context, const char *path, struct error *err)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (!names) return openssl_error(err, ERROR_BAD_FILE, "cannot use --tls-client-ca", path);
    SSL_CTX_set_client_CA_list(context, names); /* takes them over */
    if (SSL_CTX_load_verify_locations(context, path, NULL) != 1)
        return openssl_error(err, ERROR_BAD_FILE, "cannot use --tls-client-ca", path);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

/* HTTP/1.1 where the client offers it; one that offers other things alone is not refused for that. */
static int choose_protocol(SSL *session, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                           unsigned in_length, void *context)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)session;
    (void)context;
    if (SSL_select_next_proto(&chosen, out_length, ours, sizeof ours - 1, in, in_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A secret in a file that asks for a password would make the server wait at a terminal. */
static int no_password(char *buffer, int size, int writes, void *context)
{
    (void)buffer;
    (void)size;
    (void)writes;
    (void)context;
    return -1;
}

static int fill(SSL_CTX *context, const struct tls_files *files, struct error *err)
{
    static const unsigned char session_name[] = "sluice";
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set_session_id_context(context, session_name, sizeof session_name - 1) != 1)
        return openssl_error(err, ERROR_INTERNAL, "OpenSSL does not take the settings of", "this server");
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* an idle connection keeps no buffers */
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(context, no_password);
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        return openssl_error(err, ERROR_BAD_FILE, "cannot use the certificate", files->certificate);
    int status = check_dates(SSL_CTX_get0_certificate(context), files->certificate, err);
    if (status < 0) return status;
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1)
        return openssl_error(err, ERROR_BAD_FILE, "cannot use the private key", files->key);
    if (SSL_CTX_check_private_key(context) != 1)
        return openssl_error(err, ERROR_BAD_FILE, "it is not the certificate's private key:", files->key);
    return files->client_ca ? ask_clients(context, files->client_ca, err) : 0;
}

int tls_reload(struct tls *tls, struct error *err)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return openssl_error(err, ERROR_NO_MEMORY, "cannot start", "OpenSSL");
    const int status = fill(context, &tls->files, err);
    if (status < 0) {
        SSL_CTX_free(context);
        return status;
    }
    SSL_CTX_free(tls->context);
    tls->context = context;
    return 0;
}

int tls_open(const struct tls_files *files, struct tls **out, struct error *err)
{
    struct tls *tls = memory_array(1, sizeof *tls);
    *out = NULL;
    if (!tls) return error_set(err, ERROR_NO_MEMORY, "no memory for TLS");
    tls->files = *files;
    const int status = tls_reload(tls, err);
    if (status < 0) {
        tls_close(tls);
        return status;
    }
    *out = tls;
    return 0;
}

void tls_close(struct tls *tls)
{
    if (!tls) return;
    SSL_CTX_free(tls->context);
    free(tls);
}

SSL *tls_session(const struct tls *tls) { return SSL_new(tls->context); }

void tls_say_end(SSL *session)
{
    ERR_clear_error();
    SSL_shutdown(session); /* one way: the answer is not waited for */
    ERR_clear_error();
}
