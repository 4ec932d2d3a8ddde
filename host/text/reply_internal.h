/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of reading a reply share (reply.h is for all others). */
#ifndef SLUICE_TEXT_REPLY_INTERNAL_H
#define SLUICE_TEXT_REPLY_INTERNAL_H

#include "host/text/reply.h"
#include "host/text/reply_json.h"

#define REPLY_MAX_HEADER 512 /* bytes of a name with what stands around it, or of a parameter's key */
#define REPLY_MAX_NAME 128
#define REPLY_MAX_SPACE 64 /* of white space held back because a call may follow */

enum calls_form {
    CALLS_JSON,    /* objects with the name and the arguments inside, one or several, or a list of them */
    CALLS_NAMED,   /* the name, then the arguments as a JSON object; what begins with { or [ is as CALLS_JSON */
    CALLS_XML,     /* the name, then keys and values as text */
    CALLS_LITERAL, /* the name, then an object that is no JSON */
};

/* How a family writes calls. NULL where it writes nothing. */
struct reply_calls {
    const char *name, *signs[3];
    enum calls_form form;
    const char *open, *close;           /* around all of an answer's calls, or of one */
    const char *call_open, *name_end;   /* around a name; without name_end it ends at a line's end or a < */
    const char *call_close;             /* after the arguments */
    const char *id_end, *id_start;      /* between an id and the name; between the name and an id */
    const char *key_open, *key_end;     /* around a key of CALLS_XML */
    const char *value_open, *value_end; /* around its value */
    const char *controls[5];            /* names of control tokens, where the markers above hold more than one */
    bool lines;                         /* values stand on lines of their own */
    bool bare;                          /* an answer that begins with { is a call too */
    bool short_ids;                     /* the template takes nothing but nine letters and digits */
    /* What is written, where more than one way is read: */
    const char *name_key, *arguments_key; /* of CALLS_JSON; NULL: "name", "arguments" */
    const char *before_name, *after_name; /* patterns of what else stands around a name */
    bool listed;                          /* all calls in one list of JSON */
    bool section;                         /* open and close stand around all calls */
    bool typed_keys;                      /* a key says whether its value is a string */
    bool name_is_key;                     /* of CALLS_JSON: {NAME: ARGUMENTS} */
    bool unwritten;                       /* only read: no grammar writes these */
    bool python;                          /* a list may also have Python's calls */
};

enum reply_state {
    READ_START, /* nothing but white space so far */
    READ_CONTENT,
    READ_REASONING,
    READ_CHANNEL, /* a harmony message's header */
    READ_CHANNEL_TEXT,
    READ_CALLS,  /* between calls */
    READ_OBJECT, /* { is next, or has been */
    READ_MEMBER,
    READ_NAME,
    READ_ARGUMENTS,
    READ_ARGUMENTS_END,
    READ_KEY,
    READ_VALUE,
    READ_PYTHON,  /* a name of a Python call */
    READ_LITERAL, /* its arguments, or those of CALLS_LITERAL */
};

struct reply {
    struct reply_dialect dialect;
    const struct reply_calls *calls; /* NULL: calls are text */
    struct reply_options options;
    struct text held; /* from at on: not read yet */
    size_t at;
    enum reply_state state;
    bool ended, failed, in_call;
    bool trim; /* white space that comes next is left out */
    bool channel_reasons;
    unsigned n_calls;

    /* the calls being read */
    struct text raw; /* what they are made of, since the last that was whole */
    bool listed, is_bare;
    /* the call being read */
    struct json_scan scan;
    bool started;              /* CALL_START has gone out */
    bool in_object, separated; /* CALLS_JSON: { has been; a comma or { has been */
    struct text name, arguments;
    char id[REPLY_ID_BYTES];
    size_t value_length; /* of the value being scanned */
    unsigned n_keys;
    bool value_is_text, value_begun;
    int value_forced; /* dsml: 1 text, 0 JSON, -1 not said */
    struct text key, value;
    size_t literal_at, literal_depth; /* how far arguments that are no JSON have been looked through */
    char literal_quote;               /* what closes the string there, or 0 */
};

/* ---- reply.c ---- */
enum reply_match { MATCH_NO, MATCH_PART, MATCH_WHOLE };
enum reply_match reply_match(const struct reply *reply, size_t at, const char *marker);
void reply_say(struct reply *reply, enum reply_event_kind kind, const char *bytes, size_t length);
void reply_take(struct reply *reply, size_t length); /* has been read */
void reply_append(struct reply *reply, struct text *to, const char *bytes, size_t length);
/* The first marker at or after from, *at its place; NULL: none, and from *at on there may be a start of one. */
const char *reply_find(const struct reply *reply, size_t from, const char *const *markers, unsigned n, size_t *at);
bool reply_skip_space(struct reply *reply); /* true: there is something after it */

/* ---- reply_calls.c: true if something has been read ---- */
void reply_calls_begin(struct reply *reply);
bool reply_calls_step(struct reply *reply);
void reply_call_begin(struct reply *reply);
void reply_call_start(struct reply *reply);
void reply_call_whole(struct reply *reply);
void reply_broken(struct reply *reply);
void reply_calls_leave(struct reply *reply);
bool reply_set_name(struct reply *reply, const char *text, size_t length);
bool reply_is_name(const char *text, size_t length); /* may be a tool's */

/* ---- reply_object.c ---- */
bool reply_object_step(struct reply *reply);

/* ---- reply_xml.c ---- */
bool reply_xml_step(struct reply *reply);

/* ---- reply_literal.c ---- */
void reply_literal_begin(struct reply *reply);
bool reply_literal_step(struct reply *reply);
bool reply_python_step(struct reply *reply);

/* ---- reply_channel.c ---- */
bool reply_channel_step(struct reply *reply);

#endif
