/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What T5 adds to the scores by the distance of key and query (Raffel et al., 2020, 2.1): a value for each head and bucket of
 * distances. Buckets: half of them one distance each, the others wider and wider by the logarithm up to distance_most, where all longer
 * ones end; of an encoder, half of them for keys behind the query and half for those after it.
 */
#include "host/model/model_config.h"
#include "host/model/model_internal.h"

/* A logarithm that lies on a border belongs to the bucket above, whatever its last bits are. */
#define BORDER 1e-9

static uint32_t bucket_of(const struct model_config *config, bool decoder, int64_t distance)
{
    uint32_t buckets = decoder ? config->distance_buckets : config->distance_buckets / 2, first = 0;
    if (!decoder && distance > 0) first = buckets;
    if (decoder && distance > 0) distance = 0; /* not seen */
    uint32_t length = (uint32_t)(distance < 0 ? -distance : distance), single = buckets / 2;
    if (length < single) return first + length;
    double place = model_log((double)length / single) / model_log((double)config->distance_most / single);
    uint32_t wide = (uint32_t)(place * (buckets - single) + BORDER);
    return first + (wide < buckets - single ? single + wide : buckets - 1);
}

uint64_t distance_table_floats(const struct model_config *config)
{
    return config->distance_buckets == 0 ? 0 : config->n_heads * (2ull * config->distance_most + 1);
}

void distance_table(const struct model_config *config, bool decoder, const float *by_bucket, float *out)
{
    const int64_t most = config->distance_most;
    for (int64_t distance = -most; distance <= most; distance++) {
        const float *values = &by_bucket[(size_t)bucket_of(config, decoder, distance) * config->n_heads];
        for (uint32_t head = 0; head < config->n_heads; head++)
            out[head * (2 * most + 1) + most + distance] = values[head];
    }
}
