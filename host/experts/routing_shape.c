/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/routing_trace.h"

int routing_shape_check(const struct routing_shape *shape, struct error *err)
{
    const struct {
        const char *name;
        uint32_t value, least, most;
    } bounds[] = {
        {"layers", shape->n_layers, 1, ROUTING_MAX_LAYERS},
        {"experts of a layer", shape->n_experts, 1, ROUTING_MAX_EXPERTS},
        {"experts used", shape->n_used, 1, ROUTING_MAX_USED < shape->n_experts ? ROUTING_MAX_USED : shape->n_experts},
        {"predicted distances", shape->depth, shape->flags & ROUTING_PREDICTED ? 1 : 0,
         shape->flags & ROUTING_PREDICTED ? ROUTING_MAX_DEPTH : 0},
    };
    for (unsigned i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (bounds[i].value < bounds[i].least || bounds[i].value > bounds[i].most)
            return error_set(err, ERROR_BAD_ARGUMENT, "a routing trace cannot have %u %s (%u to %u)", bounds[i].value,
                             bounds[i].name, bounds[i].least, bounds[i].most);
    }
    return 0;
}

size_t routing_n_predicted(const struct routing_shape *shape, uint32_t n_rows)
{
    return (size_t)shape->n_layers * shape->depth * n_rows * shape->n_used;
}
