/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool sysfs_read_all(const char *path, char *out, size_t size)
{
    struct stat about;
    size_t used = 0;
    ssize_t got = -1;
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return false;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        while (used < size - 1 && (got = read(fd, out + used, size - 1 - used)) > 0) used += (size_t)got;
    } else {
        errno = EINVAL;
    }
    int why = errno;
    close(fd);
    errno = why;
    out[used] = '\0';
    return got >= 0;
}

bool sysfs_read(const char *path, char *out, size_t size)
{
    if (!sysfs_read_all(path, out, size)) return false;
    out[strcspn(out, "\n")] = '\0';
    return true;
}

bool sysfs_read_i64(const char *path, int64_t *out)
{
    char text[64], *end;
    if (!sysfs_read(path, text, sizeof text) || text[0] == '\0') return false;
    errno = 0;
    long long value = strtoll(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    if (errno != 0 || end == text || (*end != '\0' && *end != ' ')) return false;
    *out = value;
    return true;
}

bool sysfs_read_link(const char *path, char *out, size_t size)
{
    char target[PATH_MAX];
    out[0] = '\0';
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    return sysfs_path(out, size, "%s", slash ? slash + 1 : target);
}

bool sysfs_write(const char *path, const char *text)
{
    size_t length = strlen(text);
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return false;
    ssize_t written = write(fd, text, length);
    int why = written < 0 ? errno : EIO;
    close(fd);
    errno = why;
    return written == (ssize_t)length;
}

bool sysfs_path(char *out, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(out, size, format, args);
    va_end(args);
    return length >= 0 && (size_t)length < size;
}
