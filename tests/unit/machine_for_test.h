/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of tests/fixtures/pci in a folder of its own: what `root` of a pci_source names. */
#ifndef SLUICE_TESTS_MACHINE_FOR_TEST_H
#define SLUICE_TESTS_MACHINE_FOR_TEST_H

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct machine {
    char root[64];
};

static inline void machine_path(const struct machine *machine, const char *path, char *full, size_t size)
{
    assert_in_range(snprintf(full, size, "%s/%s", machine->root, path), 1, size - 1);
}

/* The folders above path. */
static inline void machine_folders(const char *path)
{
    char part[1024];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        assert_in_range(snprintf(part, sizeof part, "%.*s", (int)(slash - path), path), 1, sizeof part - 1);
        mkdir(part, 0755);
    }
}

static inline void machine_write_bytes(const struct machine *machine, const char *path, const void *bytes, size_t n)
{
    char full[1024];
    machine_path(machine, path, full, sizeof full);
    machine_folders(full);
    FILE *file = fopen(full, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void machine_write(const struct machine *machine, const char *path, const char *text)
{
    machine_write_bytes(machine, path, text, strlen(text));
}

static inline void machine_link(const struct machine *machine, const char *path, const char *target)
{
    char full[1024];
    machine_path(machine, path, full, sizeof full);
    machine_folders(full);
    unlink(full);
    assert_int_equal(symlink(target, full), 0);
}

static inline void machine_remove(const struct machine *machine, const char *path)
{
    char full[1024];
    machine_path(machine, path, full, sizeof full);
    assert_int_equal(unlink(full), 0);
}

/* What a file of the machine holds now; the caller frees it. */
static inline char *machine_read(const struct machine *machine, const char *path)
{
    char full[1024], *text = calloc(1, 8192);
    machine_path(machine, path, full, sizeof full);
    FILE *file = fopen(full, "re");
    assert_non_null(file);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 8191, file), 0, 8191);
    fclose(file);
    return text;
}

static inline size_t machine_unescape(char *text)
{
    char *to = text;
    for (const char *in = text; *in; in++) {
        if (*in == '\\' && in[1]) in++;
        *to++ = in != text && in[-1] == '\\' && *in == 'n' ? '\n' : *in;
    }
    *to = '\0';
    return (size_t)(to - text);
}

static inline size_t machine_unhex(char *text)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        text[i] = (char)strtoul(digits, NULL, 16);
    }
    return n;
}

static inline void machine_add_line(const struct machine *machine, char *line)
{
    char *kind = strchr(line, ' ');
    line[strcspn(line, "\n")] = '\0';
    assert_non_null(kind);
    char *value = kind[1] == '-' ? kind + 4 : kind + 3;
    *kind = '\0';
    if (kind[1] == '-') {
        machine_link(machine, line, value);
        return;
    }
    size_t n = kind[1] == '#' ? machine_unhex(value) : machine_unescape(value);
    machine_write_bytes(machine, line, value, n);
}

/* An empty machine, or FIXTURES/pci/NAME.tree. */
static inline void machine_make(struct machine *machine, const char *name)
{
    char path[512], line[16384];
    snprintf(machine->root, sizeof machine->root, "/tmp/sluice-machine-XXXXXX");
    assert_non_null(mkdtemp(machine->root));
    if (!name) return;
    snprintf(path, sizeof path, FIXTURES "/pci/%s.tree", name);
    FILE *tree = fopen(path, "re");
    assert_non_null(tree);
    while (fgets(line, sizeof line, tree)) machine_add_line(machine, line);
    fclose(tree);
}

static inline int machine_drop_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

static inline void machine_drop(const struct machine *machine)
{
    assert_int_equal(nftw(machine->root, machine_drop_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
