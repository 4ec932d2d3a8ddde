/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/routing_source.h"

#include "host/base/memory.h"

struct routing_source {
    const struct routing_recipe *recipe; /* NULL: a file */
    uint64_t seed;
    uint32_t n_sequences;
    struct routing_generator *generator; /* owned */
    struct routing_trace *trace;         /* owned */
};

int routing_source_open(const char *name, uint64_t seed, uint32_t n_sequences, struct routing_source **out,
                        struct error *err)
{
    struct routing_source *source = memory_array(1, sizeof *source);
    if (!source) return error_set(err, ERROR_NO_MEMORY, "no host memory for a routing trace");
    *source = (struct routing_source){.recipe = routing_recipe_find(name), .seed = seed, .n_sequences = n_sequences};
    const int status =
        source->recipe ? routing_source_rewind(source, err) : routing_trace_open(name, &source->trace, err);
    if (status == 0) {
        *out = source;
        return 0;
    }
    routing_source_close(source);
    return status;
}

void routing_source_close(struct routing_source *source)
{
    if (!source) return;
    routing_generator_close(source->generator);
    routing_trace_close(source->trace);
    free(source);
}

const struct routing_shape *routing_source_shape(const struct routing_source *source)
{
    return source->recipe ? &source->recipe->shape : routing_trace_shape(source->trace);
}

bool routing_source_is_made(const struct routing_source *source) { return source->recipe != NULL; }

int routing_source_next(struct routing_source *source, struct routing_step *step, struct error *err)
{
    if (!source->recipe) return routing_trace_next(source->trace, step, err);
    routing_generator_next(source->generator, step);
    return 1;
}

int routing_source_rewind(struct routing_source *source, struct error *err)
{
    if (!source->recipe) {
        routing_trace_rewind(source->trace);
        return 0;
    }
    routing_generator_close(source->generator);
    source->generator = NULL;
    return routing_generator_open(source->recipe, source->seed, source->n_sequences, &source->generator, err);
}
