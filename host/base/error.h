/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors are values: a function that can fail returns 0 or a negative error code and fills a struct error with a
 * message for a person, in the form "what failed: why (what to do)". No function of the library exits or aborts.
 */
#ifndef SLUICE_BASE_ERROR_H
#define SLUICE_BASE_ERROR_H

#define ERROR_CODES(X)                                                                                                 \
    X(ERROR_NO_MEMORY, -1, "out of memory")                                                                            \
    X(ERROR_IO, -2, "input/output error")                                                                              \
    X(ERROR_NOT_FOUND, -3, "not found")                                                                                \
    X(ERROR_BAD_FILE, -4, "damaged or malformed file")                                                                 \
    X(ERROR_UNSUPPORTED, -5, "not supported")                                                                          \
    X(ERROR_BAD_ARGUMENT, -6, "bad argument")                                                                          \
    X(ERROR_TOO_LARGE, -7, "too large")                                                                                \
    X(ERROR_BUSY, -8, "busy")                                                                                          \
    X(ERROR_CARD, -9, "card failure")                                                                                  \
    X(ERROR_TIMEOUT, -10, "timed out")                                                                                 \
    X(ERROR_CANCELLED, -11, "cancelled")                                                                               \
    X(ERROR_INTERNAL, -12, "internal error")

enum error_code {
    ERROR_NONE = 0,
#define ERROR_ENUM(name, value, text) name = value,
    ERROR_CODES(ERROR_ENUM)
#undef ERROR_ENUM
};

struct error {
    int code;
    int detail; /* which of a module's named errors (e.g. gguf_error_of); 0: none */
    char text[500];
};

/*
 * Sets *err (which may be NULL), with detail 0, and returns code, so that `return error_set(...)` reads well. Longer
 * texts are cut; control characters, which come from foreign names, become question marks.
 */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text of *err, for a caller who knows the file or tensor. Returns err->code. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The code's short text; "unknown error" for a number that is no code. Static storage. */
const char *error_name(int code);

#endif
