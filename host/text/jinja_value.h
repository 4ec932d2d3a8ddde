/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as Python has them. All of them live in the run's arena; strings, tuples, and what came from the variables never
 * change. Functions that can fail note the error in the run and return an undefined value, NULL or false.
 */
#ifndef SLUICE_TEXT_JINJA_VALUE_H
#define SLUICE_TEXT_JINJA_VALUE_H

#include "host/text/jinja_run.h"
#include "host/text/quote.h"

enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_VIEW, /* dict.keys(), values(), items() */
    JINJA_RANGE,
    JINJA_ITERATOR, /* what map, select, reverse... give: passed through once */
    JINJA_NAMESPACE,
    JINJA_FUNCTION, /* range, dict, ... */
    JINJA_METHOD,   /* a method and what it belongs to */
    JINJA_MACRO,
    JINJA_LOOP,
    JINJA_CYCLER,
    JINJA_JOINER,
    JINJA_BLOCKS,  /* self */
    JINJA_MISSING, /* an argument that was not given: never seen by a template */
};

struct jinja_string {
    const char *bytes; /* valid UTF-8, no NUL behind it */
    size_t length, characters;
    struct jinja_builder *tail; /* if not NULL: the bytes are a prefix of the builder's, which may grow behind them */
};

struct jinja_undefined {
    const char *owner;                /* the type of the value without this member, or NULL for a name */
    const struct jinja_value *member; /* the member, or the name */
    const char *hint;                 /* the whole message, or NULL */
};

struct jinja_value {
    enum jinja_kind kind;
    bool safe; /* of a string: Markup */
    union {
        bool boolean;
        int64_t integer;
        double number;
        const struct jinja_string *string;
        struct jinja_list *list; /* LIST and TUPLE */
        struct jinja_dict *dict; /* DICT and NAMESPACE */
        struct jinja_view *view;
        struct jinja_range *range;
        struct jinja_iterator *iterator;
        const struct jinja_function *function;
        struct jinja_method *method;
        struct jinja_macro *macro;
        struct jinja_loop *loop;
        struct jinja_list *cycler; /* items, and position in at */
        struct jinja_joiner *joiner;
        const struct jinja_undefined *undefined; /* NULL: after an error */
        const void *identity;
    };
};

struct jinja_list {
    struct jinja_value *items;
    size_t count, capacity;
    size_t at;     /* of a cycler */
    bool is_group; /* a tuple of groupby: (grouper, list) */
};

struct jinja_entry {
    struct jinja_value key, value;
    uint64_t hash;
};

struct jinja_dict {
    struct jinja_entry *entries; /* in order of insertion */
    size_t count, capacity;
    uint32_t *slots; /* entry + 1, or 0; NULL while the dict is small */
    size_t n_slots;
};

enum jinja_view_kind { JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS };
struct jinja_view {
    const struct jinja_dict *dict;
    enum jinja_view_kind kind;
};

struct jinja_range {
    int64_t start, stop, step, count;
};

struct jinja_joiner {
    struct jinja_value separator;
    bool used;
};

struct jinja_method {
    struct jinja_value self;
    const struct jinja_function *function;
};

/* Anything that is passed through once. next: false at the end or after an error. */
struct jinja_iterator {
    bool (*next)(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out);
    const char *type; /* as Python calls it: "generator", "list_reverseiterator" */
    struct jinja_value source;
    size_t at;
    void *state;
};

/* Constructors. Strings: the bytes are borrowed (jinja_string) or copied (jinja_copy). */
static inline struct jinja_value jinja_none(void) { return (struct jinja_value){.kind = JINJA_NONE}; }
static inline struct jinja_value jinja_bool(bool b) { return (struct jinja_value){.kind = JINJA_BOOL, .boolean = b}; }
static inline struct jinja_value jinja_int(int64_t i) { return (struct jinja_value){.kind = JINJA_INT, .integer = i}; }
static inline struct jinja_value jinja_float(double d)
{
    return (struct jinja_value){.kind = JINJA_FLOAT, .number = d};
}
static inline struct jinja_value jinja_nothing(void) { return (struct jinja_value){.kind = JINJA_UNDEFINED}; }
struct jinja_value jinja_string(struct jinja_run *run, const char *bytes, size_t length);
struct jinja_value jinja_copy(struct jinja_run *run, const char *bytes, size_t length);
struct jinja_value jinja_text(struct jinja_run *run, const char *text);
/* The string that was built; the builder is not to be used again, except by jinja_concatenate. */
struct jinja_value jinja_built(struct jinja_run *run, const struct jinja_builder *builder);
struct jinja_value jinja_concatenate(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_list(struct jinja_run *run, enum jinja_kind kind, size_t capacity);
void jinja_push(struct jinja_run *run, struct jinja_list *list, struct jinja_value value);
struct jinja_value jinja_pair(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_dict(struct jinja_run *run, enum jinja_kind kind, size_t capacity);
struct jinja_value jinja_iterator(struct jinja_run *run, const char *type, struct jinja_value source,
                                  bool (*next)(struct jinja_run *, struct jinja_iterator *, struct jinja_value *));
struct jinja_value jinja_undefined_name(struct jinja_run *run, struct jinja_value name);
struct jinja_value jinja_undefined_member(struct jinja_run *run, struct jinja_value owner, struct jinja_value member);
struct jinja_value jinja_undefined_hint(struct jinja_run *run, const char *hint); /* hint: kept, not copied */
struct jinja_value jinja_from_json(struct jinja_run *run, const json_t *json);

/* Raises what an undefined value raises where a real one is needed. */
void jinja_raise_undefined(struct jinja_run *run, struct jinja_value value);

/* A string for a message. */
static inline struct quote jinja_shown(struct jinja_value value)
{
    return quote(value.string->bytes, value.string->length);
}

/* Python's name of the type: "str", "NoneType", "dict"... */
const char *jinja_type_name(struct jinja_value value);

static inline bool jinja_is_integer(struct jinja_value v) { return v.kind == JINJA_INT || v.kind == JINJA_BOOL; }
static inline bool jinja_is_number(struct jinja_value v) { return jinja_is_integer(v) || v.kind == JINJA_FLOAT; }
static inline int64_t jinja_integer_of(struct jinja_value v) { return v.kind == JINJA_BOOL ? v.boolean : v.integer; }
static inline double jinja_number_of(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? v.number : (double)jinja_integer_of(v);
}

/* bool(), len(): -1 and no error if the type has none. */
bool jinja_true(struct jinja_value value);
int64_t jinja_length(struct jinja_value value);

/* Dicts. find: NULL if absent (an unhashable key is an error). */
struct jinja_value *jinja_dict_find(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value key);
struct jinja_value *jinja_dict_find_text(struct jinja_run *run, const struct jinja_dict *dict, const char *key);
void jinja_dict_set(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key, struct jinja_value value);

/* Comparison. order: Python's < <= > >=, a TypeError between types without order. */
bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
bool jinja_same(struct jinja_value a, struct jinja_value b); /* is */
bool jinja_order(struct jinja_run *run, const char *op, struct jinja_value a, struct jinja_value b);
bool jinja_contains(struct jinja_run *run, struct jinja_value container, struct jinja_value item);
uint64_t jinja_hash(struct jinja_run *run, struct jinja_value value);
bool jinja_string_is(struct jinja_value value, const char *text);
int jinja_string_compare(const struct jinja_string *a, const struct jinja_string *b);

/* Iteration over anything Python iterates over; what cannot be iterated over is an error, and an empty iteration. */
struct jinja_walk {
    struct jinja_value source;
    size_t at;
};
bool jinja_walk_start(struct jinja_run *run, struct jinja_value source, struct jinja_walk *walk);
bool jinja_walk_next(struct jinja_run *run, struct jinja_walk *walk, struct jinja_value *out);
bool jinja_iterable(struct jinja_value value);
/* A new list of the elements. */
struct jinja_value jinja_to_list(struct jinja_run *run, struct jinja_value source);

/* str(), repr(), json.dumps() */
void jinja_put_str(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value);
void jinja_put_repr(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value);
struct jinja_value jinja_str(struct jinja_run *run, struct jinja_value value);
struct jinja_value jinja_repr(struct jinja_run *run, struct jinja_value value);
struct jinja_value jinja_ascii(struct jinja_run *run, struct jinja_value string); /* escapes, as ascii() of Python */
void jinja_put_float(struct jinja_run *run, struct jinja_builder *to, double number);
struct jinja_json_style {
    bool ensure_ascii, sort_keys, pretty;
    struct jinja_value indent;       /* string, if pretty */
    struct jinja_value comma, colon; /* strings */
};
void jinja_put_json(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value,
                    const struct jinja_json_style *style, unsigned level);

/* Members: value.name as Jinja looks (attribute, then item), value[key] (item, then attribute). */
struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value value, struct jinja_value name);
struct jinja_value jinja_attribute_only(struct jinja_run *run, struct jinja_value value, struct jinja_value name);
struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value value, struct jinja_value key);
struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value value, const struct jinja_value bounds[3]);
/* The element at index (from the end if negative); false if there is none. */
bool jinja_element(struct jinja_run *run, struct jinja_value value, int64_t index, struct jinja_value *out);

/* Operators of Python by their sign: + - * / // % ** */
struct jinja_value jinja_operate(struct jinja_run *run, const char *op, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_percent(struct jinja_run *run, struct jinja_value format, struct jinja_value values);

/* Markup */
void jinja_put_escaped(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value);
struct jinja_value jinja_escape(struct jinja_run *run, struct jinja_value value);
/* Markup(...) of the same bytes if safe, else value. */
static inline struct jinja_value jinja_mark(struct jinja_value value, bool safe)
{
    if (value.kind == JINJA_STRING) value.safe = safe;
    return value;
}

#endif
