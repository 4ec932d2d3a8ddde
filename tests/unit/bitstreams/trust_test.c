/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and signatures: what is refused before anything is loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bitstreams/bitstream_check.h"
#include "bitstreams/device_tree.h"
#include "bitstreams/xml_tree.h"
#include "kernels/abi/card_program.h"
#include "tests/unit/bitstreams/xclbin_files.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char folder[64];
    char file[96], manifest[96], signature[96], key[96], stem[96], keys[96];
    struct bitstream_policy policy;
};

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *path, const char *text) { write_bytes(path, text, strlen(text)); }

static void copy_file(const char *from, const char *to)
{
    struct map_file map;
    assert_int_equal(map_file_open(from, &map, NULL), 0);
    write_bytes(to, map.bytes, map.size);
    map_file_close(&map);
}

/* Signs the file as it is now, as `sluice bitstream sign` does. */
static void sign(const struct place *place)
{
    struct bitstream bitstream;
    struct error err = {0};
    char *text;
    if (bitstream_open(place->file, NULL, &bitstream, &err) < 0) fail_msg("%s", err.text);
    if (signature_sign(&bitstream.content, place->key, &text, &err) < 0) fail_msg("%s", err.text);
    write_text(place->signature, text);
    free(text);
    bitstream_close(&bitstream);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    snprintf(place->folder, sizeof place->folder, "/tmp/sluice-trust-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->file, sizeof place->file, "%s/x.xclbin", place->folder);
    snprintf(place->manifest, sizeof place->manifest, "%s/x.json", place->folder);
    snprintf(place->signature, sizeof place->signature, "%s/x.xclbin.sig", place->folder);
    snprintf(place->stem, sizeof place->stem, "%s/us", place->folder);
    snprintf(place->key, sizeof place->key, "%s/us.key", place->folder);
    snprintf(place->keys, sizeof place->keys, "%s/keys", place->folder);
    place->policy = (struct bitstream_policy){.keys_folder = place->keys};
    size_t n;
    uint8_t *bytes = made_xclbin("u55c", &n);
    write_bytes(place->file, bytes, n);
    free(bytes);
    assert_int_equal(mkdir(place->keys, 0755), 0);
    struct error err = {0};
    if (signature_make_keys(place->stem, &err) < 0) fail_msg("%s", err.text);
    char from[128], to[128];
    snprintf(from, sizeof from, "%s.pub", place->stem);
    snprintf(to, sizeof to, "%s/us.pub", place->keys);
    copy_file(from, to);
    sign(place);
    *state = place;
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *place = *state;
    int status = nftw(place->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(place);
    return status;
}

static int check(struct place *place, struct error *err)
{
    struct bitstream bitstream;
    int status = bitstream_open(place->file, NULL, &bitstream, err);
    if (status == 0) status = bitstream_check(&bitstream, place->file, &place->policy, err);
    bitstream_close(&bitstream);
    return status;
}

static void expect_refused(struct place *place, int status, const char *word)
{
    struct error err = {0};
    assert_int_equal(check(place, &err), status);
    if (!strstr(err.text, word)) fail_msg("no \"%s\" in: %s", word, err.text);
}

static void a_signed_one_is_good(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    if (check(place, &err) < 0) fail_msg("%s", err.text);
    place->policy.card = "u55c";
    assert_int_equal(check(place, &err), 0);
    place->policy.card = "u50";
    expect_refused(place, ERROR_UNSUPPORTED, "for card u55c, not u50");
}

static void an_unsigned_one_is_good_only_where_that_is_allowed(void **state)
{
    struct place *place = *state;
    unlink(place->signature);
    expect_refused(place, ERROR_NOT_FOUND, "not signed");
    place->policy.allow_unsigned = true;
    assert_int_equal(check(place, NULL), 0);
    write_text(place->signature, "{}"); /* but a wrong one never is */
    expect_refused(place, ERROR_BAD_FILE, "signature");
}

/* Every byte in turn: the container, a table, the content's hash or the signature notices it. */
static void a_changed_byte_is_noticed(void **state)
{
    struct place *place = *state;
    struct map_file map;
    assert_int_equal(map_file_open(place->file, &map, NULL), 0);
    size_t n = map.size;
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, map.bytes, n);
    map_file_close(&map);
    for (size_t at = 0; at < n; at += 7) {
        bytes[at] ^= 0x10;
        write_bytes(place->file, bytes, n);
        assert_true(check(place, NULL) < 0);
        bytes[at] ^= 0x10;
    }
    write_bytes(place->file, bytes, n);
    assert_int_equal(check(place, NULL), 0);
    free(bytes);
}

/* What a card gets is what was checked: a file that is changed in between is not loaded. */
static void a_file_that_changes_meanwhile_is_refused(void **state)
{
    struct place *place = *state;
    struct bitstream bitstream;
    struct error err = {0};
    uint8_t *copy, byte;
    assert_int_equal(bitstream_open(place->file, NULL, &bitstream, NULL), 0);
    assert_int_equal(bitstream_check(&bitstream, place->file, &place->policy, NULL), 0);
    assert_int_equal(bitstream_copy(&bitstream, place->file, &copy, NULL), 0);
    assert_memory_equal(copy, bitstream.map.bytes, bitstream.map.size);
    byte = (uint8_t)~copy[bitstream.map.size - 1];
    free(copy);
    FILE *file = fopen(place->file, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(bitstream_copy(&bitstream, place->file, &copy, &err), ERROR_BAD_FILE);
    assert_null(copy);
    assert_non_null(strstr(err.text, "changed"));
    bitstream_close(&bitstream);
}

static void a_key_that_is_not_trusted_is_refused(void **state)
{
    struct place *place = *state;
    char other[128], trusted[128];
    snprintf(other, sizeof other, "%s/other", place->folder);
    assert_int_equal(signature_make_keys(other, NULL), 0);
    assert_int_equal(signature_make_keys(other, NULL), ERROR_BAD_ARGUMENT); /* never overwritten */
    snprintf(place->key, sizeof place->key, "%s/other.key", place->folder);
    sign(place);
    expect_refused(place, ERROR_NOT_FOUND, "not in");
    snprintf(trusted, sizeof trusted, "%s/us.pub", place->keys);
    snprintf(place->key, sizeof place->key, "%s/us.key", place->folder);
    sign(place);
    assert_int_equal(chmod(trusted, 0666), 0);
    expect_refused(place, ERROR_IO, "everybody");
    assert_int_equal(chmod(trusted, 0644), 0);
    assert_int_equal(chmod(place->keys, 0777), 0);
    expect_refused(place, ERROR_IO, "everybody");
    assert_int_equal(chmod(place->keys, 0755), 0);
    write_text(trusted, "sluice-ed25519-public 12\n");
    expect_refused(place, ERROR_BAD_FILE, "no key file");
    place->policy.keys_folder = "/nonexistent/keys";
    expect_refused(place, ERROR_NOT_FOUND, "no trusted keys");
}

static void the_secret_key_is_for_its_owner(void **state)
{
    const struct place *place = *state;
    struct stat about;
    assert_int_equal(stat(place->key, &about), 0);
    assert_int_equal(about.st_mode & 077, 0);
}

static void a_forged_signature_is_refused(void **state)
{
    struct place *place = *state;
    json_t *json = json_load_file(place->signature, 0, NULL);
    char hex[129];
    snprintf(hex, sizeof hex, "%s", json_string_value(json_object_get(json, "signature")));
    hex[3] = hex[3] == 'a' ? 'b' : 'a';
    json_object_set_new(json, "signature", json_string(hex));
    assert_int_equal(json_dump_file(json, place->signature, 0), 0);
    json_decref(json);
    expect_refused(place, ERROR_BAD_FILE, "forged");
}

/* The manifest inside, beside the file, with one member changed. */
static void put_manifest_beside(const struct place *place, const char *member, json_t *value)
{
    struct bitstream bitstream;
    assert_int_equal(bitstream_open(place->file, NULL, &bitstream, NULL), 0);
    json_t *json = json_copy(bitstream.manifest.json);
    bitstream_close(&bitstream);
    json_object_set_new(json, member, value);
    assert_int_equal(json_dump_file(json, place->manifest, 0), 0);
    json_decref(json);
}

static void a_manifest_beside_is_signed_and_agrees(void **state)
{
    struct place *place = *state;
    put_manifest_beside(place, "design", json_string("other"));
    expect_refused(place, ERROR_BAD_FILE, "does not cover the manifest");
    sign(place);
    assert_int_equal(check(place, NULL), 0);
    put_manifest_beside(place, "design", json_string("another"));
    expect_refused(place, ERROR_BAD_FILE, "another manifest");
    unlink(place->manifest);
    expect_refused(place, ERROR_BAD_FILE, "not there");
    put_manifest_beside(place, "abi_version", json_integer(7));
    expect_refused(place, ERROR_BAD_FILE, "the one inside");
    unlink(place->manifest);
    put_manifest_beside(place, "sha256", json_string("00"));
    expect_refused(place, ERROR_BAD_FILE, "sha256");
}

static void only_this_abi_and_the_one_before_are_spoken(void **state)
{
    (void)state;
    for (uint32_t abi = 0; abi < CARD_ABI_VERSION + 3; abi++) {
        const struct manifest manifest = {.abi_version = abi};
        struct error err = {0};
        bool spoken = abi == CARD_ABI_VERSION || abi + 1 == CARD_ABI_VERSION;
        assert_int_equal(manifest_check_abi(&manifest, &err), spoken ? 0 : ERROR_UNSUPPORTED);
        if (!spoken) assert_non_null(strstr(err.text, "card ABI"));
    }
}

static void xml_is_read_or_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "<a",
                                        "<a>",
                                        "</a>",
                                        "<a></b>",
                                        "<a/><b/>",
                                        "text",
                                        "<a b></a>",
                                        "<a b=c/>",
                                        "<a b=\"1\" b=\"2\"/>",
                                        "<a>&nbsp;</a>",
                                        "<a>&#0;</a>",
                                        "<a>&#xd800;</a>",
                                        "<!DOCTYPE a><a/>",
                                        "<a>\xff</a>",
                                        "<a b=\"<\"/>",
                                        "<a><!-- </a>"};
    json_t *json;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct error err = {0};
        if (xml_parse(wrong[i], strlen(wrong[i]), &json, &err) != ERROR_BAD_FILE) fail_msg("%s", wrong[i]);
    }
    const char text[] = "<?xml version='1.0'?><a x='&lt;&#65;&#x42;'> <b>t</b><!-- --><b/></a>";
    assert_int_equal(xml_parse(text, sizeof text, &json, NULL), 0);
    assert_string_equal(xml_attribute(json, "x"), "<AB");
    size_t cursor = 0;
    assert_non_null(xml_next_child(json, "b", &cursor));
    assert_non_null(xml_next_child(json, "b", &cursor));
    assert_null(xml_next_child(json, "b", &cursor));
    json_decref(json);
    char deep[3 * 70 + 1];
    for (unsigned i = 0; i < 70; i++) memcpy(deep + 3 * i, "<a>", 4);
    assert_int_equal(xml_parse(deep, 3 * 70, &json, NULL), ERROR_BAD_FILE);
}

/* version 17, one node "n" with interface_uuid = "ab" and major = 1 */
static const uint8_t tree[] = {
    0xd0, 0x0d, 0xfe, 0xed, 0,   0,   0,   145, 0,   0,   0,   56,  0,   0, 0,   124, 0,   0,   0,   40, 0,  0, 0,
    17,   0,    0,    0,    16,  0,   0,   0,   0,   0,   0,   0,   21,  0, 0,   0,   68,  0,   0,   0,  0,  0, 0,
    0,    0,    0,    0,    0,   0,   0,   0,   0,   0, /* no reserved memory */
    0,    0,    0,    1,    0,   0,   0,   0,   0,   0,   0,   1,   'n', 0, 0,   0,   0,   0,   0,   3,  0,  0, 0,
    3,    0,    0,    0,    0,   'a', 'b', 0,   0,   0,   0,   0,   3,   0, 0,   0,   4,   0,   0,   0,  15, 0, 0,
    0,    1,    0,    0,    0,   2,   0,   0,   0,   2,   0,   0,   0,   9, 0,   0,   0,   0,   0,   0,  0,  9, 'i',
    'n',  't',  'e',  'r',  'f', 'a', 'c', 'e', '_', 'u', 'u', 'i', 'd', 0, 'm', 'a', 'j', 'o', 'r', 0};

static void a_device_tree_is_read_or_refused(void **state)
{
    (void)state;
    json_t *json;
    struct error err = {0};
    if (device_tree_parse(tree, sizeof tree, &json, &err) < 0) fail_msg("%s", err.text);
    char *text = json_dumps(json, 0);
    assert_string_equal(text, "{\"n\": {\"interface_uuid\": \"ab\", \"major\": \"0x1\"}}");
    free(text);
    json_decref(json);
    for (size_t n = 0; n < sizeof tree; n++) assert_int_equal(device_tree_parse(tree, n, &json, NULL), ERROR_BAD_FILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_signed_one_is_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unsigned_one_is_good_only_where_that_is_allowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_byte_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_changes_meanwhile_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_is_not_trusted_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_secret_key_is_for_its_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_forged_signature_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_beside_is_signed_and_agrees, set_up, tear_down),
        cmocka_unit_test(only_this_abi_and_the_one_before_are_spoken),
        cmocka_unit_test(xml_is_read_or_refused),
        cmocka_unit_test(a_device_tree_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
