/* SPDX-License-Identifier: Apache-2.0 */
/* What inspect prints of hostile and unusual metadata: nothing that a terminal acts on, and JSON that parses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/commands.h"
#include "tests/unit/model/gguf_writer.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

struct files {
    char model[64], output[64];
};

static void put_text(struct writer *f, const char *key, const char *text)
{
    put_key(f, key, GGUF_TYPE_STRING);
    put_string(f, text);
}

static void write_model(const char *path)
{
    struct writer f = {0};
    put_header(&f, 3, 2, 10);
    put_text(&f, "general.architecture", "odd");
    put_text(&f, "general.name", "\x1b[31mred\x07");
    put_text(&f, "odd.broken", "a\xff\xc3");
    put_key(&f, "odd.largest", GGUF_TYPE_U64), put_u64(&f, UINT64_MAX);
    put_key(&f, "odd.lowest", GGUF_TYPE_I64), put_u64(&f, 1ull << 63);
    put_key(&f, "odd.nan", GGUF_TYPE_F32), put_u32(&f, 0x7fc00000u);
    put_key(&f, "odd.tenth", GGUF_TYPE_F32), put_u32(&f, bits_of_float(0.1f));
    put_key(&f, "odd.bools", GGUF_TYPE_ARRAY), put_array(&f, GGUF_TYPE_BOOL, 2), put_u16(&f, 0x0100);
    put_key(&f, "odd.nested", GGUF_TYPE_ARRAY), put_array(&f, GGUF_TYPE_ARRAY, 2);
    put_array(&f, GGUF_TYPE_STRING, 1), put_string(&f, "in"), put_array(&f, GGUF_TYPE_U8, 0);
    put_key(&f, "odd.long", GGUF_TYPE_ARRAY), put_array(&f, GGUF_TYPE_U8, 100), put_data(&f, 100);
    put_tensor(&f, "t", 256, 2, GGUF_Q1_0, 0);
    put_tensor(&f, "m", 64, 4, GGUF_MXFP4, 96);
    put_padding(&f, 32);
    put_data(&f, 96 + 8 * 17);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(f.bytes, 1, f.size, out), f.size);
    assert_int_equal(fclose(out), 0);
}

static void temporary(char path[64])
{
    snprintf(path, 64, "/tmp/sluice-inspect-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **state)
{
    struct files *files = calloc(1, sizeof *files);
    *state = files;
    if (!files) return -1;
    temporary(files->model);
    temporary(files->output);
    write_model(files->model);
    return 0;
}

static int teardown(void **state)
{
    struct files *files = *state;
    unlink(files->model);
    unlink(files->output);
    free(files);
    return 0;
}

/* Runs inspect with stdout in a file; the text goes to out. Returns the exit status. */
static int inspect(const struct files *files, const char *option, char *out, size_t size)
{
    char name[] = "inspect", path[64], flag[16];
    snprintf(path, sizeof path, "%s", files->model);
    snprintf(flag, sizeof flag, "%s", option ? option : "");
    char *argv[] = {name, path, flag, NULL};
    fflush(stdout);
    int terminal = dup(STDOUT_FILENO);
    assert_non_null(freopen(files->output, "wb", stdout));
    int status = command_inspect.run(&command_inspect, option ? 3 : 2, argv);
    fflush(stdout);
    assert_true(dup2(terminal, STDOUT_FILENO) >= 0);
    close(terminal);
    FILE *written = fopen(files->output, "rb");
    assert_non_null(written);
    size_t length = fread(out, 1, size - 1, written);
    out[length] = '\0';
    fclose(written);
    return status;
}

static void nothing_reaches_the_terminal_raw(void **state)
{
    char out[16384];
    assert_int_equal(inspect(*state, NULL, out, sizeof out), EXIT_DONE);
    for (const char *p = out; *p; p++) {
        if (*p != '\n' && ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)) fail_msg("byte %02x in: %s", *p, out);
    }
    static const char *const expected[] = {
        "\\x1b[31mred\\x07",
        "a\\xff\\xc3",
        "18446744073709551615",
        "-9223372036854775808",
        "nan",
        "0.1\n",
        "[false, true]",
        "[[\"in\"], []]",
        "[0, 1, 2, 3, 4, 5, 6, 7, ...] (100 elements)",
        "Q1_0",
        "(not supported)",
        "256 x 2",
        "MXFP4",
        "64 x 4",
        "no: ",
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if (!strstr(out, expected[i])) fail_msg("no %s in: %s", expected[i], out);
    }
    const char *types = strstr(out, "(not supported)"), *again = types ? strstr(types + 1, "(not supported)") : NULL;
    assert_null(again); /* Q1_0 alone, not MXFP4 */
}

/* The value of a metadata key in the JSON object; borrowed. */
static json_t *value_of(json_t *object, const char *key)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(object, "metadata"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "key")), key) == 0) return json_object_get(entry, "value");
    }
    return NULL;
}

static void json_says_the_same(void **state)
{
    char out[16384];
    assert_int_equal(inspect(*state, "--json", out, sizeof out), EXIT_DONE);
    json_error_t error;
    json_t *object = json_loads(out, JSON_REJECT_DUPLICATES, &error);
    if (!object) fail_msg("%s in: %s", error.text, out);
    assert_string_equal(json_string_value(value_of(object, "general.name")), "\x1b[31mred\x07");
    assert_string_equal(json_string_value(value_of(object, "odd.broken")), "a\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(json_string_value(value_of(object, "odd.largest")), "18446744073709551615");
    assert_true(json_integer_value(value_of(object, "odd.lowest")) == INT64_MIN);
    assert_string_equal(json_string_value(value_of(object, "odd.nan")), "nan");
    assert_true((float)json_real_value(value_of(object, "odd.tenth")) == 0.1f);
    json_t *list = value_of(object, "odd.long");
    assert_int_equal(json_integer_value(json_object_get(list, "count")), 100);
    assert_int_equal(json_array_size(json_object_get(list, "elements")), 8);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(object, "hyperparameters"), "lowest")),
                     INT64_MIN);
    assert_true(json_is_false(json_object_get(object, "runs")));
    assert_true(json_is_string(json_object_get(object, "reason")));
    assert_true(json_is_null(json_object_get(object, "license")));
    assert_true(json_is_null(json_object_get(object, "tokenizer")));
    json_t *tensor = json_array_get(json_object_get(object, "tensors"), 0);
    assert_int_equal(json_integer_value(json_object_get(tensor, "bytes")), 72);
    assert_null(json_object_get(tensor, "card_format")); /* not supported */
    tensor = json_array_get(json_object_get(object, "tensors"), 1);
    assert_string_equal(json_string_value(json_object_get(tensor, "card_format")), "MXFP4");
    assert_true(json_real_value(json_object_get(tensor, "card_error")) == 0);
    assert_true(json_real_value(json_object_get(object, "bits_per_weight")) == (72 + 136) * 8 / (512.0 + 256.0));
    json_decref(object);
}

static void arrays_come_whole_when_asked_for(void **state)
{
    char out[16384];
    assert_int_equal(inspect(*state, "--all", out, sizeof out), EXIT_DONE);
    assert_non_null(strstr(out, "97, 98, 99]\n"));
}

static void the_hash_is_printed_when_asked_for(void **state)
{
    char out[16384];
    assert_int_equal(inspect(*state, "--hash", out, sizeof out), EXIT_DONE);
    const char *line = strstr(out, "SHA-256");
    assert_non_null(line);
    assert_int_equal(strspn(line + 16, "0123456789abcdef"), 64);
    assert_int_equal(inspect(*state, NULL, out, sizeof out), EXIT_DONE);
    assert_null(strstr(out, "SHA-256"));
}

#define WITH_FILES(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(nothing_reaches_the_terminal_raw),
        WITH_FILES(json_says_the_same),
        WITH_FILES(arrays_come_whole_when_asked_for),
        WITH_FILES(the_hash_is_printed_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
