/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/map_file.h"

#include "host/base/map_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_failed(const char *path, int why, struct error *err)
{
    char reason[128];
    if (why == ENOENT || why == ENOTDIR)
        return error_set(err, ERROR_NOT_FOUND, "%s: no such file (check the path)", path);
    if (why == EACCES) return error_set(err, ERROR_IO, "%s: permission denied (make the file readable)", path);
    return error_set(err, ERROR_IO, "%s: cannot open: %s", path, strerror_r(why, reason, sizeof reason));
}

/* What a file that is not regular is called; NULL for a regular one. */
static const char *odd_kind(mode_t mode)
{
    if (S_ISREG(mode)) return NULL;
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a pipe";
    return "a device";
}

int map_file_open(const char *path, struct map_file *map, struct error *err)
{
    int fd;
    int status = map_file_open_kept(path, map, &fd, err);
    if (status == 0) close(fd);
    return status;
}

int map_file_open_kept(const char *path, struct map_file *map, int *out, struct error *err)
{
    *map = (struct map_file){0};
    *out = -1;
    /* O_NONBLOCK: opening a FIFO without a writer would wait for one. It does nothing to regular files. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return open_failed(path, errno, err);

    int status = 0;
    char reason[128];
    struct stat about;
    if (fstat(fd, &about) < 0) {
        status = error_set(err, ERROR_IO, "%s: cannot read: %s", path, strerror_r(errno, reason, sizeof reason));
        goto done;
    }
    const char *kind = odd_kind(about.st_mode);
    if (kind) {
        status = error_set(err, ERROR_BAD_FILE, "%s: is %s, not a file", path, kind);
        goto done;
    }
    if (about.st_size <= 0) {
        status = error_set(err, ERROR_BAD_FILE, "%s: the file is empty (was its download cut short?)", path);
        goto done;
    }
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        status = error_set(err, ERROR_IO, "%s: cannot map: %s", path, strerror_r(errno, reason, sizeof reason));
        goto done;
    }
    map->bytes = bytes;
    map->size = (size_t)about.st_size;
    map->guard = map_guard_add(bytes, map->size);
    *out = fd;
    return 0;
done:
    close(fd);
    return status;
}

void map_file_close(struct map_file *map)
{
    map_guard_remove(map->guard);
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (struct map_file){0};
}

int map_file_check(const struct map_file *map, const char *path, struct error *err)
{
    if (!map_guard_shrank(map->guard)) return 0;
    return error_set(err, ERROR_IO,
                     "%s: the file has become shorter while it was in use (replace files by rename, and load it again)",
                     path);
}

void map_file_forget(const struct map_file *map, const uint8_t *bytes, size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = (size_t)(bytes - map->bytes), end = begin + n_bytes;
    begin = (begin + page - 1) / page * page;
    if (end < map->size) end = end / page * page;
    if (begin < end) (void)madvise((void *)(uintptr_t)(map->bytes + begin), end - begin, MADV_DONTNEED);
}
