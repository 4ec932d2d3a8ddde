/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/pack_model.h"

#include "host/cli/file_hash.h"
#include "host/cli/output_file.h"
#include "host/cli/progress.h"
#include "host/model/slc_write.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The source's SHA-256, computed beside the packing. */
struct hash_job {
    pthread_t thread;
    bool started;
    const struct gguf *file;
    uint8_t digest[SLC_SOURCE_HASH_BYTES];
};

static void *run_hash(void *argument)
{
    struct hash_job *job = argument;
    file_digest(job->file, job->digest);
    return NULL;
}

static void hash_join(struct hash_job *job)
{
    if (job->started) (void)pthread_join(job->thread, NULL);
    job->started = false;
}

static void hash_of_source(void *context, uint8_t hash[SLC_SOURCE_HASH_BYTES])
{
    struct hash_job *job = context;
    hash_join(job);
    memcpy(hash, job->digest, SLC_SOURCE_HASH_BYTES);
}

int pack_model(const struct model *model, const struct pack_request *request, struct model_conversion *conversion,
               struct error *err)
{
    struct output_file out;
    struct progress progress;
    int status = output_file_open(request->out, &out, err);
    if (status < 0) return status;
    struct hash_job job = {.file = model_file(model)};
    job.started = pthread_create(&job.thread, NULL, run_hash, &job) == 0;
    if (!job.started) (void)run_hash(&job);
    progress_start(&progress, request->out, request->quiet);
    const struct slc_write_options options = {
        .load = {.progress = progress_update,
                 .progress_context = &progress,
                 .threads = request->threads,
                 .exact_formats = request->exact_formats},
        .source_name = request->source_name,
        .float_format = request->float_format,
        .source_hash = hash_of_source,
        .context = &job,
    };
    status = slc_write(model, &options, out.stream, conversion, err);
    hash_join(&job);
    progress_end(&progress);
    if (status == 0) status = output_file_commit(&out, err);
    output_file_close(&out);
    return status;
}

/* A folder's own size and time do not change with what its files hold: those of all of them do. */
static void newest_of_folder(const char *path, struct stat *about)
{
    DIR *directory = S_ISDIR(about->st_mode) ? opendir(path) : NULL;
    struct stat file;
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(directory), entry->d_name, &file, 0) < 0) continue;
        about->st_size += file.st_size;
        bool newer = file.st_mtim.tv_sec > about->st_mtim.tv_sec ||
                     (file.st_mtim.tv_sec == about->st_mtim.tv_sec && file.st_mtim.tv_nsec > about->st_mtim.tv_nsec);
        if (newer) about->st_mtim = file.st_mtim;
    }
    if (directory) (void)closedir(directory);
}

/* DIR/<name>-<key>.slc: the key stands for where the source is, its size and time, and what this release writes. */
static int cached_path(const char *path, const char *folder, char **out, struct error *err)
{
    struct stat about;
    char *real = realpath(path, NULL);
    if (!real || stat(real, &about) < 0) {
        free(real);
        return error_set(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "%s: %s", path, strerror(errno));
    }
    newest_of_folder(real, &about);
    char *text;
    int made = asprintf(&text, "%s\n%jd\n%jd.%09ld\n%u.%016" PRIx64, real, (intmax_t)about.st_size,
                        (intmax_t)about.st_mtim.tv_sec, about.st_mtim.tv_nsec, SLC_VERSION, slc_layout_fingerprint());
    char key[FILE_HASH_HEX];
    const char *slash = strrchr(real, '/');
    if (made >= 0) text_hash(text, key);
    if (made < 0 || asprintf(out, "%s/%.100s-%.16s.slc", folder, slash ? slash + 1 : real, key) < 0) *out = NULL;
    if (made >= 0) free(text);
    free(real);
    return *out ? 0 : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
}

static int pack_into(const char *path, const char *out, unsigned threads, bool quiet, struct error *err)
{
    struct model *model;
    struct model_conversion conversion;
    char *real = realpath(path, NULL);
    int status = model_open(path, &model, err);
    if (status == 0) {
        const struct pack_request request = {real ? real : path, out, threads, quiet, false, 0};
        status = pack_model(model, &request, &conversion, err);
        model_close(model);
    }
    free(real);
    return status;
}

int pack_cached(const char *path, const char *folder, unsigned threads, bool quiet, char **out, struct error *err)
{
    struct gguf *file = NULL;
    struct slc *slc = NULL;
    *out = NULL;
    int status = model_open_file(path, &file, &slc, err);
    gguf_close(file);
    slc_close(slc);
    if (status < 0 || slc) return status;
    if (mkdir(folder, 0777) < 0 && errno != EEXIST)
        return error_set(err, ERROR_IO, "--cache-dir %s: %s", folder, strerror(errno));
    status = cached_path(path, folder, out, err);
    if (status < 0) return status;
    bool there = slc_open(*out, &slc, NULL) == 0; /* one that does not open is replaced */
    slc_close(slc);
    if (!there) status = pack_into(path, *out, threads, quiet, err);
    if (status < 0) {
        free(*out);
        *out = NULL;
    }
    return status;
}
