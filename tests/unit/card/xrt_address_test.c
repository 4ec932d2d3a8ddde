/* SPDX-License-Identifier: Apache-2.0 */
/* Which PCI function a process has open, over folders that look like /proc and /sys. */
#include "host/card/xrt/card_address.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>

static void make_folder(const char *root, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *root, const char *name, const char *target)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(symlink(target, path), 0);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

static void finds_the_function_of_the_open_node(void **state)
{
    (void)state;
    static const char *const folders[] = {"fd",
                                          "sys",
                                          "sys/class",
                                          "sys/class/drm",
                                          "sys/bus",
                                          "sys/bus/0000:3b:00.1",
                                          "sys/bus/platform",
                                          "sys/class/drm/renderD128",
                                          "sys/class/drm/renderD129"};
    char root[] = "/tmp/sluice-address-XXXXXX", fd[64], sys[64], address[16], cut[8];
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) make_folder(root, folders[i]);
    snprintf(fd, sizeof fd, "%s/fd", root);
    snprintf(sys, sizeof sys, "%s/sys", root);
    make_link(root, "sys/class/drm/renderD128/device", "../../../bus/0000:3b:00.1");
    make_link(root, "sys/class/drm/renderD129/device", "../../../bus/platform");
    make_link(root, "fd/0", "/dev/null");
    make_link(root, "fd/1", "socket:[1234]");
    make_link(root, "fd/5", "/dev/dri/renderD129"); /* no PCI function */
    make_link(root, "fd/6", "/dev/dri/../drm");
    make_link(root, "fd/7", "/dev/dri/renderD130"); /* gone from sysfs */
    assert_false(card_address_find(fd, sys, address, sizeof address));
    assert_string_equal(address, "");
    make_link(root, "fd/8", "/dev/dri/renderD128");
    assert_true(card_address_find(fd, sys, address, sizeof address));
    assert_string_equal(address, "0000:3b:00.1");
    assert_false(card_address_find(fd, sys, cut, sizeof cut));
    assert_string_equal(cut, "");
    assert_false(card_address_find("/nowhere", sys, address, sizeof address));
    assert_int_equal(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_the_function_of_the_open_node)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
