/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels: their text, building it, and keeping what was built. */
#include "host/card/opencl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char sluice_opencl_source[], sluice_opencl_source_end[];

/* Subnormals are flushed (kernels/README.md); no warnings, as some drivers print them. */
#define OPTIONS "-cl-std=CL1.2 -cl-denorms-are-zero -w"
#define MOST_BINARY_BYTES (64u << 20)

const char *opencl_source(size_t *bytes)
{
    *bytes = (size_t)(sluice_opencl_source_end - sluice_opencl_source);
    return sluice_opencl_source;
}

char *opencl_cache_folder(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *middle = "/sluice";
    if (!base || base[0] != '/') { /* the standard says: anything else is to be ignored */
        base = getenv("HOME");
        middle = "/.cache/sluice";
    }
    char *folder = NULL;
    if (!base || base[0] != '/' || asprintf(&folder, "%s%s", base, middle) < 0) return NULL;
    return folder;
}

/* ---- cache: a file is the key, a line end, and the binary ---- */

/* FNV-1a of 64 bits. */
static uint64_t hash_text(uint64_t hash, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Everything that the binary depends on, in one line; the caller frees it. */
static char *make_key(const struct opencl_facts *facts, const char *text, size_t bytes)
{
    char *key = NULL;
    const uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), text, bytes);
    if (asprintf(&key, "sluice opencl %016" PRIx64 " %zu " OPTIONS " | %s | %s | %s | %s\n", hash, bytes,
                 facts->platform, facts->name, facts->version, facts->driver) < 0) {
        return NULL;
    }
    return key;
}

static char *cache_path(const char *cache, const char *key)
{
    char *path = NULL;
    const uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), key, strlen(key));
    if (asprintf(&path, "%s/opencl-%016" PRIx64 ".bin", cache, hash) < 0) return NULL;
    return path;
}

/* The file's bytes after its key; NULL if there is none, or it is of another key. The caller frees it. */
static unsigned char *read_binary(const char *path, const char *key, size_t *bytes)
{
    unsigned char *all = NULL, *binary = NULL;
    const size_t key_bytes = strlen(key);
    struct stat about;
    FILE *file = fopen(path, "re");
    if (!file) return NULL;
    if (fstat(fileno(file), &about) || about.st_uid != geteuid() || about.st_size <= (off_t)key_bytes ||
        about.st_size > (off_t)MOST_BINARY_BYTES) {
        goto done;
    }
    all = malloc((size_t)about.st_size);
    if (!all || fread(all, 1, (size_t)about.st_size, file) != (size_t)about.st_size || memcmp(all, key, key_bytes)) {
        goto done;
    }
    *bytes = (size_t)about.st_size - key_bytes;
    binary = malloc(*bytes);
    if (binary) memcpy(binary, all + key_bytes, *bytes);
done:
    free(all);
    fclose(file);
    return binary;
}

/* Writes beside and renames: who reads at the same time sees all of it or none. */
static void write_binary(const char *cache, const char *path, const char *key, const unsigned char *binary,
                         size_t bytes)
{
    char *beside = NULL;
    char *parent = strdup(cache);
    char *slash = parent ? strrchr(parent, '/') : NULL;
    if (slash) {
        *slash = 0;
        (void)mkdir(parent, 0700);
    }
    free(parent);
    (void)mkdir(cache, 0700);
    if (asprintf(&beside, "%s.XXXXXX", path) < 0) return;
    const int descriptor = mkstemp(beside);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "we") : NULL;
    if (file) {
        int good = fputs(key, file) >= 0 && fwrite(binary, 1, bytes, file) == bytes;
        good = fclose(file) == 0 && good;
        if (!good || rename(beside, path)) (void)unlink(beside);
    } else if (descriptor >= 0) {
        close(descriptor);
        (void)unlink(beside);
    }
    free(beside);
}

static void keep_binary(const char *cache, const char *path, const char *key, cl_program program)
{
    size_t bytes = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) || bytes == 0) return;
    unsigned char *binary = bytes <= MOST_BINARY_BYTES ? malloc(bytes) : NULL;
    if (!binary) return;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS) {
        write_binary(cache, path, key, binary, bytes);
    }
    free(binary);
}

/* ---- build ---- */

/* The last words of the compiler: they name the error, and the message is short. */
static int build_failure(cl_program program, cl_device_id device, const struct opencl_facts *facts, cl_int status,
                         struct error *err)
{
    size_t bytes = 0;
    char *log = NULL;
    if (clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) == CL_SUCCESS) {
        log = calloc(bytes + 1, 1);
    }
    if (log && clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL)) log[0] = 0;
    const char *first = log ? strstr(log, "error") : NULL;
    if (!first) first = log ? log : "";
    while (first > log && first[-1] != '\n') first--;
    const int rc =
        error_set(err, ERROR_CARD, "opencl: the kernels do not build for \"%.60s\": %s (%d); build log: %.300s",
                  facts->name, opencl_status_name(status), status, first);
    free(log);
    return rc;
}

static cl_program from_cache(cl_context context, cl_device_id device, const char *path, const char *key)
{
    size_t bytes = 0;
    cl_int status, loaded = CL_SUCCESS;
    unsigned char *binary = read_binary(path, key, &bytes);
    if (!binary) return NULL;
    const unsigned char *view = binary;
    cl_program program = clCreateProgramWithBinary(context, 1, &device, &bytes, &view, &loaded, &status);
    free(binary);
    if (status != CL_SUCCESS) return NULL;
    if (loaded == CL_SUCCESS && clBuildProgram(program, 1, &device, OPTIONS, NULL, NULL) == CL_SUCCESS) return program;
    clReleaseProgram(program);
    return NULL;
}

int opencl_build(cl_context context, cl_device_id device, const struct opencl_facts *facts, const char *text,
                 size_t bytes, const char *cache, cl_program *out, struct error *err)
{
    char *key = cache ? make_key(facts, text, bytes) : NULL;
    char *path = key ? cache_path(cache, key) : NULL;
    int rc = 0;
    cl_int status;
    *out = path ? from_cache(context, device, path, key) : NULL;
    if (*out) goto done;
    *out = clCreateProgramWithSource(context, 1, &text, &bytes, &status);
    if (!*out) {
        rc = opencl_fail(err, "clCreateProgramWithSource", status);
        goto done;
    }
    status = clBuildProgram(*out, 1, &device, OPTIONS, NULL, NULL);
    if (status != CL_SUCCESS) {
        rc = build_failure(*out, device, facts, status, err);
        clReleaseProgram(*out);
        *out = NULL;
        goto done;
    }
    if (path) keep_binary(cache, path, key, *out);
done:
    free(path);
    free(key);
    return rc;
}
