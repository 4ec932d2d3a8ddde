/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/expert_profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct routing_shape model = {"model", 5, 2, 8, 2, 0, 0};

static char folder[] = "/tmp/sluice-profile-XXXXXX";
static char path[sizeof folder + 16];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/profile", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if anything else was left there */
}

static struct expert_profile counted(void)
{
    struct expert_profile profile;
    assert_int_equal(expert_profile_open(&model, &profile, NULL), 0);
    const uint16_t rows[] = {0, 1, 0, 7}, row[] = {3, 4};
    expert_profile_count(&profile, 0, rows, 2);
    expert_profile_count(&profile, 1, row, 1);
    return profile;
}

static void test_counts_come_back(void **state)
{
    (void)state;
    struct expert_profile profile = counted(), loaded;
    const uint64_t expected[16] = {2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1};
    assert_memory_equal(profile.uses, expected, sizeof expected);
    assert_int_equal(profile.n_tokens, 2);
    struct error err = {0};
    for (int again = 0; again < 2; again++) /* the second replaces the first */
        if (expert_profile_save(&profile, path, &err) < 0) fail_msg("%s", err.text);
    if (expert_profile_load(path, &model, &loaded, &err) < 0) fail_msg("%s", err.text);
    assert_memory_equal(&loaded.shape, &model, sizeof model);
    assert_memory_equal(loaded.uses, expected, sizeof expected);
    assert_int_equal(loaded.n_tokens, 2);
    expert_profile_fade(&loaded);
    assert_int_equal(loaded.uses[0], 1);
    assert_int_equal(loaded.uses[1], 0);
    assert_int_equal(loaded.n_tokens, 1);
    expert_profile_close(&profile);
    expert_profile_close(&loaded);
    expert_profile_close(&loaded);
}

static void test_every_damaged_byte_is_refused(void **state)
{
    (void)state;
    struct expert_profile profile = counted(), loaded;
    assert_int_equal(expert_profile_save(&profile, path, NULL), 0);
    expert_profile_close(&profile);
    uint8_t bytes[512];
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_int_equal(size, 104 + 16 * 8 + 8);
    for (size_t at = 0; at < size; at++) { /* a byte changed, or the file cut there */
        for (int cut = 0; cut < 2; cut++) {
            if (cut && at == 0) continue;
            file = fopen(path, "wb");
            bytes[at] ^= 0x40;
            fwrite(bytes, 1, cut ? at : size, file);
            bytes[at] ^= 0x40;
            fclose(file);
            struct error err = {0};
            assert_int_equal(expert_profile_load(path, &model, &loaded, &err), ERROR_BAD_FILE);
            assert_non_null(strstr(err.text, path));
            assert_null(loaded.uses);
        }
    }
}

static void test_another_models_is_refused(void **state)
{
    (void)state;
    struct expert_profile profile = counted(), loaded;
    struct error err = {0};
    assert_int_equal(expert_profile_save(&profile, path, NULL), 0);
    struct routing_shape other = model;
    other.model_hash = 6;
    assert_int_equal(expert_profile_load(path, &other, &loaded, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "model (2 layers, 2 of 8 experts)"));
    other.model_hash = 0;
    assert_int_equal(expert_profile_load(path, &other, &loaded, &err), 0);
    expert_profile_close(&loaded);
    other.n_experts = 9;
    assert_int_equal(expert_profile_load(path, &other, &loaded, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(expert_profile_load("/no/such/profile", &model, &loaded, &err), ERROR_NOT_FOUND);
    assert_int_equal(expert_profile_save(&profile, "/no/such/folder/profile", &err), ERROR_IO);
    assert_non_null(strstr(err.text, "/no/such/folder/profile"));
    expert_profile_close(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_come_back),
        cmocka_unit_test(test_every_damaged_byte_is_refused),
        cmocka_unit_test(test_another_models_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
