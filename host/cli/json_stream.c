/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/json_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES 16u /* of begin, by which such a file is known */

static int cannot_write(const char *path, int number, struct error *err)
{
    return error_set(err, ERROR_IO, "cannot write %s: %s", path, strerror(number));
}

/* Whether path may be written: it is new, empty, no regular file, or one of these. */
static int check_content(const char *path, const char *begin, struct error *err)
{
    char head[HEAD_BYTES];
    struct stat info;
    if (stat(path, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return 0;
    const size_t length = strlen(begin) < sizeof head ? strlen(begin) : sizeof head;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? read(fd, head, length) : -1;
    if (fd >= 0) close(fd);
    if (got == (ssize_t)length && memcmp(head, begin, length) == 0) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s exists and is something else (give another name, or remove it)",
                     path);
}

/* Writes all, at offset in a file that goes back. Returns 0 or what errno says. */
static int write_all(const struct json_stream *stream, const char *bytes, size_t length, uint64_t offset)
{
    while (length > 0) {
        const ssize_t n =
            stream->goes_back ? pwrite(stream->fd, bytes, length, (off_t)offset) : write(stream->fd, bytes, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        bytes += n;
        length -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* The block with the end behind it. If that fails, the file ends where it did before. */
static void commit(struct json_stream *stream, bool last)
{
    const size_t end = stream->goes_back || last ? strlen(stream->end) : 0;
    if (stream->error_number != 0) { /* nothing more is written */
        stream->used = 0;
        return;
    }
    memcpy(stream->block + stream->used, stream->end, end);
    stream->error_number = write_all(stream, stream->block, stream->used + end, stream->n_committed);
    if (stream->error_number == 0) {
        stream->n_committed += stream->used;
    } else if (stream->goes_back) {
        (void)write_all(stream, stream->end, end, stream->n_committed);
        (void)!ftruncate(stream->fd, (off_t)(stream->n_committed + end));
    }
    stream->used = 0;
}

int json_stream_open(const char *path, const char *begin, const char *end, struct json_stream *stream,
                     struct error *err)
{
    struct stat info;
    int status = check_content(path, begin, err);
    if (status < 0) return status;
    bool is_new = true;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        is_new = false;
        fd = open(path, O_WRONLY | O_CLOEXEC);
    }
    if (fd < 0) return cannot_write(path, errno, err);
    stream->fd = fd;
    stream->goes_back = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    stream->is_new = is_new;
    stream->begun = stream->any = false;
    stream->error_number = 0;
    stream->path = path;
    stream->begin = begin;
    stream->end = end;
    stream->n_committed = 0;
    stream->used = 0;
    return 0;
}

int json_stream_begin(struct json_stream *stream, struct error *err)
{
    if (stream->goes_back && ftruncate(stream->fd, 0) != 0) return cannot_write(stream->path, errno, err);
    stream->begun = true;
    stream->used = strlen(stream->begin);
    memcpy(stream->block, stream->begin, stream->used);
    commit(stream, false);
    return stream->error_number ? cannot_write(stream->path, stream->error_number, err) : 0;
}

void json_stream_add(struct json_stream *stream, const char *element, size_t length)
{
    if (stream->used + length + 2 + strlen(stream->end) > sizeof stream->block) commit(stream, false);
    const char *between = stream->any ? ",\n" : "\n";
    memcpy(stream->block + stream->used, between, strlen(between));
    stream->used += strlen(between);
    memcpy(stream->block + stream->used, element, length);
    stream->used += length;
    stream->any = true;
}

int json_stream_close(struct json_stream *stream, struct error *err)
{
    if (stream->begun)
        commit(stream, true);
    else if (stream->is_new)
        unlink(stream->path);
    if (close(stream->fd) != 0 && stream->error_number == 0) stream->error_number = errno;
    return stream->error_number ? cannot_write(stream->path, stream->error_number, err) : 0;
}
