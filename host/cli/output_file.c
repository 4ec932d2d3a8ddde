/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FILES "/proc/self/fd"

static int cannot_write(const char *path, struct error *err)
{
    return error_set(err, ERROR_IO, "cannot write %s: %s", path, strerror(errno));
}

/* mkstemp makes files for their owner only; the result shall be as any program's. */
static void relax_mode(int fd)
{
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
}

/*
 * A file without a name in the folder of path: if this process dies, nothing is left of it. -1 where the file system
 * has no such files, or without /proc, through which it gets its name in the end.
 */
static int open_unnamed(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = parent && access(OPEN_FILES, X_OK) == 0 ? open(parent, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666) : -1;
    free(parent);
    return fd;
}

/* A file with a name of its own beside path. */
static int open_aside(const char *path, char **aside)
{
    if (asprintf(aside, "%s.XXXXXX", path) < 0) *aside = NULL;
    int fd = *aside ? mkstemp(*aside) : -1;
    if (fd >= 0) relax_mode(fd);
    if (fd >= 0) return fd;
    free(*aside);
    *aside = NULL;
    return -1;
}

int output_file_open(const char *path, struct output_file *file, struct error *err)
{
    struct stat info;
    *file = (struct output_file){.path = path};
    if (strcmp(path, "-") == 0) {
        *file = (struct output_file){.path = "standard output", .stream = stdout};
        return 0;
    }
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* a device or a pipe is written in place */
        file->stream = fopen(path, "wb");
        return file->stream ? 0 : cannot_write(path, err);
    }
    int fd = open_unnamed(path);
    file->unnamed = fd >= 0;
    if (fd < 0) fd = open_aside(path, &file->aside);
    if (fd >= 0) {
        file->stream = fdopen(fd, "wb");
        if (file->stream) return 0;
        close(fd);
        if (file->aside) unlink(file->aside);
    }
    int status = cannot_write(path, err);
    free(file->aside);
    *file = (struct output_file){0};
    return status;
}

/* Gives the unnamed file a free name beside path, from where it can be renamed over what is there. */
static bool name_aside(struct output_file *file)
{
    char link[sizeof OPEN_FILES + 16];
    snprintf(link, sizeof link, OPEN_FILES "/%d", fileno(file->stream));
    for (unsigned i = 0; i < 100; i++) {
        char *aside;
        if (asprintf(&aside, "%s.%ld.%u", file->path, (long)getpid(), i) < 0) return false;
        if (linkat(AT_FDCWD, link, AT_FDCWD, aside, AT_SYMLINK_FOLLOW) == 0) {
            file->aside = aside;
            return true;
        }
        free(aside);
        if (errno != EEXIST) return false;
    }
    return false;
}

int output_file_commit(struct output_file *file, struct error *err)
{
    bool failed = fflush(file->stream) != 0 || ferror(file->stream);
    if (!failed && (file->unnamed || file->aside)) failed = fsync(fileno(file->stream)) != 0;
    if (!failed && file->unnamed) failed = !name_aside(file);
    if (!failed && file->aside) failed = rename(file->aside, file->path) != 0;
    if (failed) return cannot_write(file->path, err);
    free(file->aside);
    file->aside = NULL;
    return 0;
}

void output_file_close(struct output_file *file)
{
    if (file->stream && file->stream != stdout) fclose(file->stream);
    if (file->aside) unlink(file->aside);
    free(file->aside);
    *file = (struct output_file){0};
}
