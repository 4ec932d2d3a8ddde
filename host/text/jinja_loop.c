/* SPDX-License-Identifier: Apache-2.0 */
/* for, with what `loop` tells about it. Elements are taken one at a time: a condition may depend on what the body sets. */
#include "host/text/jinja_eval.h"

struct jinja_loop {
    const struct jinja_node *node;
    struct jinja_scope *outside; /* where the for stands */
    struct jinja_walk walk;
    struct jinja_value previous, current, ahead, changed;
    bool has_previous, has_ahead, has_changed;
    bool unconditional; /* what is left has met the condition already */
    size_t index;       /* from 1; 0 before the first */
    unsigned depth;
};

/* The next element that meets the condition. */
static bool take(struct jinja_run *run, struct jinja_loop *loop, struct jinja_value *out)
{
    const struct jinja_node *node = loop->node;
    struct jinja_scope *scope = run->scope;
    while (jinja_walk_next(run, &loop->walk, out)) {
        if (!node->c || loop->unconditional) return true;
        run->scope = jinja_scope(run, loop->outside);
        struct jinja_value meets = jinja_nothing();
        if (run->scope) {
            jinja_assign(run, node->a, *out);
            if (!jinja_failed(run)) meets = jinja_evaluate(run, node->c);
        }
        run->scope = scope;
        if (jinja_failed(run)) return false;
        if (jinja_true(meets)) return true;
    }
    return false;
}

static bool peek(struct jinja_run *run, struct jinja_loop *loop)
{
    if (!loop->has_ahead) loop->has_ahead = take(run, loop, &loop->ahead);
    return loop->has_ahead;
}

static bool advance(struct jinja_run *run, struct jinja_loop *loop)
{
    struct jinja_value next = loop->ahead;
    if (!loop->has_ahead && !take(run, loop, &next)) return false;
    loop->has_ahead = false;
    loop->has_previous = loop->index > 0;
    loop->previous = loop->current;
    loop->current = next;
    loop->index++;
    return true;
}

size_t jinja_loop_index(const struct jinja_loop *loop) { return loop->index; }

/* What is left is taken at once, if its number cannot be known otherwise. */
int64_t jinja_loop_length(struct jinja_run *run, struct jinja_loop *loop)
{
    int64_t known = loop->node->c && !loop->unconditional ? -1 : jinja_length(loop->walk.source);
    if (known >= 0) return known;
    struct jinja_value all = jinja_list(run, JINJA_LIST, 0), value;
    size_t passed = loop->index + loop->has_ahead;
    for (size_t i = 0; i < passed && !jinja_failed(run); i++) jinja_push(run, all.list, jinja_none());
    while (take(run, loop, &value)) jinja_push(run, all.list, value);
    if (jinja_failed(run)) return 0;
    loop->walk = (struct jinja_walk){.source = all, .at = passed};
    loop->unconditional = true;
    return (int64_t)all.list->count;
}

static struct jinja_value cycle(struct jinja_run *run, struct jinja_call *call)
{
    if (call->args->count == 0) {
        jinja_raise(run, "no items for cycling given");
        return jinja_nothing();
    }
    return call->args->positional[(call->self.loop->index - 1) % call->args->count];
}

static struct jinja_value changed(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_loop *loop = call->self.loop;
    struct jinja_value values = jinja_list(run, JINJA_TUPLE, call->args->count);
    for (size_t i = 0; i < call->args->count && !jinja_failed(run); i++)
        jinja_push(run, values.list, call->args->positional[i]);
    if (jinja_failed(run)) return jinja_nothing();
    bool same = loop->has_changed && jinja_equal(run, loop->changed, values);
    loop->changed = values;
    loop->has_changed = true;
    return jinja_bool(!same);
}

static struct jinja_value neighbour(struct jinja_run *run, struct jinja_loop *loop, bool next)
{
    if (next) return peek(run, loop) ? loop->ahead : jinja_undefined_hint(run, "there is no next item");
    return loop->has_previous ? loop->previous : jinja_undefined_hint(run, "there is no previous item");
}

struct jinja_value jinja_loop_attribute(struct jinja_run *run, struct jinja_loop *loop, struct jinja_value name)
{
    static const struct jinja_function methods[] = {
        {"cycle", cycle, NULL, 0}, {"changed", changed, NULL, 0}, {NULL, NULL, NULL, 0}};
    static const char *const names[] = {"index",  "index0",   "revindex", "revindex0", "first", "last",
                                        "length", "previtem", "nextitem", "depth",     "depth0"};
    struct jinja_value self = {.kind = JINJA_LOOP, .loop = loop};
    const struct jinja_function *method = jinja_function_find(methods, name);
    int64_t index = (int64_t)loop->index;
    size_t which = 0;
    if (method) {
        struct jinja_method *bound = jinja_alloc(run, 1, sizeof *bound);
        if (!bound) return jinja_nothing();
        *bound = (struct jinja_method){self, method};
        return (struct jinja_value){.kind = JINJA_METHOD, .method = bound};
    }
    while (which < sizeof names / sizeof names[0] && !jinja_string_is(name, names[which])) which++;
    switch (which) {
    case 0: return jinja_int(index);
    case 1: return jinja_int(index - 1);
    case 2: return jinja_int(jinja_loop_length(run, loop) - index + 1);
    case 3: return jinja_int(jinja_loop_length(run, loop) - index);
    case 4: return jinja_bool(index == 1);
    case 5: return jinja_bool(!peek(run, loop));
    case 6: return jinja_int(jinja_loop_length(run, loop));
    case 7:
    case 8: return neighbour(run, loop, which == 8);
    case 9: return jinja_int(loop->depth + 1);
    case 10: return jinja_int(loop->depth);
    default: return jinja_undefined_member(run, self, name);
    }
}

/* The scope of the next round: the last one's, emptied, unless something may still look at it. */
static struct jinja_scope *fresh_scope(struct jinja_run *run, struct jinja_scope *used, struct jinja_scope *outside)
{
    if (!used || used->captured) return jinja_scope(run, outside);
    used->names->count = 0;
    used->names->slots = NULL;
    used->names->n_slots = 0;
    return used;
}

static enum jinja_flow run_loop(struct jinja_run *run, struct jinja_loop *loop)
{
    const struct jinja_node *node = loop->node;
    struct jinja_scope *outer = run->scope, *scope = NULL;
    struct jinja_value name = jinja_text(run, "loop"), self = {.kind = JINJA_LOOP, .loop = loop};
    bool finished_one = false; /* a round ended by break or continue does not count, as in Jinja */
    while (!jinja_failed(run) && advance(run, loop)) {
        scope = fresh_scope(run, scope, loop->outside);
        if (!scope) break;
        run->scope = scope;
        jinja_dict_set(run, scope->names, name, self);
        jinja_assign(run, node->a, loop->current);
        enum jinja_flow flow = jinja_failed(run) ? FLOW_NEXT : jinja_execute(run, node->body);
        run->scope = outer;
        if (flow == FLOW_BREAK) break;
        if (flow == FLOW_NEXT) finished_one = true;
    }
    run->scope = outer;
    if (finished_one || !node->other || jinja_failed(run)) return FLOW_NEXT;
    enum jinja_flow flow = FLOW_NEXT; /* a break in the else is one of the loop around this one */
    run->scope = jinja_scope(run, loop->outside);
    if (run->scope) flow = jinja_execute(run, node->other);
    run->scope = outer;
    return flow;
}

static enum jinja_flow start_loop(struct jinja_run *run, const struct jinja_node *node, struct jinja_scope *outside,
                                  struct jinja_value source, unsigned depth)
{
    struct jinja_loop *loop = jinja_alloc(run, 1, sizeof *loop);
    if (!loop) return FLOW_NEXT;
    *loop = (struct jinja_loop){.node = node, .outside = outside, .depth = depth};
    return jinja_walk_start(run, source, &loop->walk) ? run_loop(run, loop) : FLOW_NEXT;
}

enum jinja_flow jinja_execute_for(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value source = jinja_evaluate(run, node->b);
    return jinja_failed(run) ? FLOW_NEXT : start_loop(run, node, run->scope, source, 0);
}

struct jinja_value jinja_call_loop(struct jinja_run *run, struct jinja_loop *loop, const struct jinja_args *args)
{
    struct jinja_builder text = {0}, *outside = run->output;
    if (!loop->node->flag) {
        jinja_raise(run, "The loop must have the 'recursive' marker to be called recursively.");
        return jinja_nothing();
    }
    if (args->count != 1 || args->n_named) {
        jinja_raise(run, "loop() takes one argument, what to loop over");
        return jinja_nothing();
    }
    run->output = &text;
    if (jinja_enter(run)) start_loop(run, loop->node, loop->outside, args->positional[0], loop->depth + 1);
    jinja_leave(run);
    run->output = outside;
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &text), run->autoescape);
}
