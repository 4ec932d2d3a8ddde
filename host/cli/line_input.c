/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/line_input.h"

#include "host/cli/generate.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES (1u << 20)

/* Takes a line out of the buffer if it has a whole one, or any at the end of the input. */
static bool take_line(struct line_input *input, struct text *line, struct error *err, int *status)
{
    struct text *buffer = &input->buffer;
    const char *end = buffer->length > 0 ? memchr(buffer->bytes, '\n', buffer->length) : NULL;
    if (!end && !(input->at_end && buffer->length > 0)) return false;
    size_t length = end ? (size_t)(end - buffer->bytes) : buffer->length;
    size_t used = end ? length + 1 : length;
    if (length > 0 && buffer->bytes[length - 1] == '\r') length--;
    *status = text_append(line, buffer->bytes, length, err);
    memmove(buffer->bytes, buffer->bytes + used, buffer->length - used);
    buffer->length -= used;
    return true;
}

enum line_result line_input_next(struct line_input *input, struct text *line, struct error *err)
{
    char chunk[4096];
    int status = 0;
    line->length = 0;
    for (;;) {
        if (take_line(input, line, err, &status)) return status < 0 ? LINE_FAILED : LINE_READ;
        if (input->at_end) return LINE_END;
        if (input->buffer.length > LINE_MAX_BYTES) {
            error_set(err, ERROR_TOO_LARGE, "a line of more than %u bytes", LINE_MAX_BYTES);
            return LINE_FAILED;
        }
        struct pollfd fds[2] = {{.fd = input->fd, .events = POLLIN}, {.fd = input->interrupt_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            error_set(err, ERROR_IO, "cannot wait for input: %s", strerror(errno));
            return LINE_FAILED;
        }
        if (take_interrupt(input->interrupt_fd)) return LINE_INTERRUPTED;
        if (fds[0].revents == 0) continue; /* else read() says what it is: text, the end, or a closed descriptor */
        ssize_t got = read(input->fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            error_set(err, ERROR_IO, "cannot read input: %s", strerror(errno));
            return LINE_FAILED;
        }
        input->at_end = got == 0;
        if (got > 0 && text_append(&input->buffer, chunk, (size_t)got, err) < 0) return LINE_FAILED;
    }
}
