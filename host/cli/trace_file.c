/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/trace_file.h"

#include "host/base/memory.h"
#include "host/cli/json_stream.h"
#include "sluice_revision.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ELEMENT_BYTES 512u
#define GROUP_CHANNELS 8u
#define MOST_LANES 65536u /* of one process of the trace; experts beyond share the last */

/* The processes of the trace, as Chrome calls them: each a heading with lanes below it. */
enum process { PROCESS_UNITS = 1, PROCESS_MEMORY, PROCESS_EXPERTS };
#define GROUP_LANE 1000u /* of PROCESS_MEMORY: lanes of groups come after those of channels */

/* Memory events of neighbouring channels that are alike, from the first channel of a group on. */
struct alike {
    struct timeline_event first;
    unsigned n; /* 0: none */
};

/* One card's part of the trace: processes of its own. */
struct trace_card {
    struct trace_file *trace;
    unsigned first_process;           /* number of PROCESS_UNITS less 1 */
    struct alike traffic, ahead;      /* channel by channel, reading ahead comes in between */
    uint64_t program, token;          /* how many tokens had been picked when this program came */
    uint8_t lanes[4][MOST_LANES / 8]; /* by process: which have a name */
};

struct trace_file {
    struct json_stream stream;
    const struct engine *engine; /* NULL: nobody counts tokens */
    unsigned n_cards;
    struct trace_card *cards; /* owned; [n_cards] */
};

static void add(struct trace_file *trace, const char *element, int length)
{
    if (length > 0 && (unsigned)length < ELEMENT_BYTES) json_stream_add(&trace->stream, element, (size_t)length);
}

/* The number that a viewer knows it by. */
static int number_of(const struct trace_card *card, enum process process)
{
    return (int)card->first_process + (int)process;
}

/* before: which card it is; empty for one that is alone. */
static void name_process(struct trace_card *card, enum process process, const char *before, const char *name)
{
    char element[ELEMENT_BYTES];
    add(card->trace, element,
        snprintf(element, sizeof element,
                 "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"%s%s\"}},\n"
                 "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_sort_index\",\"args\":{\"sort_index\":%d}}",
                 number_of(card, process), before, name, number_of(card, process), number_of(card, process)));
}

static void write_lane_name(struct trace_card *card, enum process process, unsigned lane)
{
    char name[48], element[ELEMENT_BYTES];
    const unsigned group = (lane - GROUP_LANE) * GROUP_CHANNELS;
    if (process == PROCESS_UNITS)
        snprintf(name, sizeof name, "%s", timeline_resource_name(lane));
    else if (process == PROCESS_EXPERTS)
        snprintf(name, sizeof name, "expert slot %u", lane);
    else if (lane < GROUP_LANE)
        snprintf(name, sizeof name, "channel %u", lane);
    else
        snprintf(name, sizeof name, "channels %u-%u", group, group + GROUP_CHANNELS - 1);
    const unsigned place = process == PROCESS_MEMORY ? lane < GROUP_LANE ? lane * 2 + 1 : group * 2 : lane;
    add(card->trace, element,
        snprintf(element, sizeof element,
                 "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}},\n"
                 "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%u}}",
                 number_of(card, process), lane + 1, name, number_of(card, process), lane + 1, place));
}

static const char *name_of(const struct timeline_event *event)
{
    switch ((enum timeline_kind)event->kind) {
    case TIMELINE_WRITE: return "write";
    case TIMELINE_READ: return "read";
    case TIMELINE_PROGRAM: return "program";
    case TIMELINE_HOST_WORK: return "host work";
    case TIMELINE_ELSEWHERE: return "waits for other cards";
    case TIMELINE_OPERATION:
    case TIMELINE_TRAFFIC:
    case TIMELINE_EXPERT:
    case TIMELINE_WAIT: break;
    }
    return event->opcode ? card_opcode_name(event->opcode) : "read ahead";
}

/* Appends `,"name":value` unless value is what an unknown one is; returns the new length. */
static int add_field(char *element, int length, const char *name, uint64_t value, uint64_t unknown)
{
    if (value == unknown || length < 0 || (unsigned)length >= ELEMENT_BYTES) return length;
    const int n = snprintf(element + length, ELEMENT_BYTES - (size_t)length, "%s\"%s\":%" PRIu64,
                           element[length - 1] == '{' ? "" : ",", name, value);
    return n < 0 ? -1 : length + n;
}

static void write_event(struct trace_card *card, enum process process, unsigned lane,
                        const struct timeline_event *event, uint64_t bytes)
{
    char element[ELEMENT_BYTES];
    /* Viewers count nanoseconds and round begin and duration each for itself, so that picoseconds would make neighbours overlap,
       of which they drop one. */
    const uint64_t begin = event->begin / TIMELINE_PS_PER_NS, duration = event->end / TIMELINE_PS_PER_NS - begin;
    if (lane >= MOST_LANES) lane = MOST_LANES - 1;
    uint8_t *named = &card->lanes[process][lane / 8];
    if (!(*named >> lane % 8 & 1)) write_lane_name(card, process, lane);
    *named |= (uint8_t)(1u << lane % 8);
    int n = snprintf(element, sizeof element,
                     "{\"ph\":\"X\",\"pid\":%d,\"tid\":%u,\"ts\":%" PRIu64 ".%03" PRIu64 ",\"dur\":%" PRIu64
                     ".%03" PRIu64 ",\"name\":\"%s\",\"args\":{",
                     number_of(card, process), lane + 1, begin / 1000, begin % 1000, duration / 1000, duration % 1000,
                     name_of(event));
    if (process != PROCESS_EXPERTS) n = add_field(element, n, "busy_ps", event->busy, duration * TIMELINE_PS_PER_NS);
    n = add_field(element, n, "token", card->trace->engine ? card->token : UINT64_MAX, UINT64_MAX);
    n = add_field(element, n, "layer", event->layer, TIMELINE_UNKNOWN);
    n = add_field(element, n, "expert", event->expert, TIMELINE_UNKNOWN);
    n = add_field(element, n, "rows", event->tokens, 0);
    n = add_field(element, n, "bytes", bytes, 0);
    n = add_field(element, n, "program", event->program, 0);
    n = add_field(element, n, "descriptor", event->descriptor, TIMELINE_UNKNOWN);
    if (n < 0 || (unsigned)n + 2 >= sizeof element) return;
    memcpy(element + n, "}}", 2);
    add(card->trace, element, n + 2);
}

/* What waited for others of its group. */
static void flush(struct trace_card *card, struct alike *alike)
{
    const struct timeline_event *first = &alike->first;
    const bool whole = alike->n == GROUP_CHANNELS;
    const unsigned lane = whole ? GROUP_LANE + first->channel / GROUP_CHANNELS : first->channel;
    for (unsigned i = 0; i < (whole ? 1 : alike->n); i++)
        write_event(card, PROCESS_MEMORY, lane + i, first, whole ? GROUP_CHANNELS * first->bytes : first->bytes);
    alike->n = 0;
}

static void flush_all(struct trace_card *card)
{
    flush(card, &card->traffic);
    flush(card, &card->ahead);
}

/* Whether the event is what the first one is, on the channel that comes next in the group. */
static bool belongs(const struct alike *alike, const struct timeline_event *event)
{
    const struct timeline_event *first = &alike->first;
    return alike->n > 0 && alike->n < GROUP_CHANNELS && event->channel == first->channel + alike->n &&
           event->begin == first->begin && event->end == first->end && event->bytes == first->bytes &&
           event->busy == first->busy && event->program == first->program && event->descriptor == first->descriptor &&
           event->kind == first->kind && event->opcode == first->opcode;
}

static void add_memory_event(struct trace_card *card, const struct timeline_event *event)
{
    struct alike *alike = event->opcode ? &card->traffic : &card->ahead;
    if (!belongs(alike, event)) {
        flush(card, alike);
        alike->first = *event;
    }
    alike->n++;
    if (alike->n == GROUP_CHANNELS || alike->first.channel % GROUP_CHANNELS != 0) flush(card, alike);
}

static void on_event(void *context, const struct timeline_event *event)
{
    struct trace_card *card = context;
    const struct engine *engine = card->trace->engine;
    if (event->end <= event->begin && event->bytes == 0 && event->busy == 0) return;
    if (engine && event->program != card->program) {
        struct engine_counters counters;
        engine_count(engine, &counters);
        flush_all(card);
        card->program = event->program;
        card->token = counters.completion_tokens;
    }
    if (event->resource == TIMELINE_MEMORY) {
        add_memory_event(card, event);
        return;
    }
    flush_all(card);
    if (event->kind == TIMELINE_EXPERT)
        write_event(card, PROCESS_EXPERTS, event->expert, event, event->bytes);
    else
        write_event(card, PROCESS_UNITS, event->resource, event, event->bytes);
}

int trace_file_open(const char *path, struct trace_file **out, struct error *err)
{
    *out = NULL;
    struct trace_file *trace = memory_array(1, sizeof *trace);
    if (!trace) return error_set(err, ERROR_NO_MEMORY, "no host memory for a trace");
    int status = json_stream_open(path,
                                  "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"program\":\"sluice\",\"revision\":"
                                  "\"" SLUICE_REVISION "\"},\"traceEvents\":[",
                                  "\n]}\n", &trace->stream, err);
    if (status < 0) {
        free(trace);
        return status;
    }
    *out = trace;
    return 0;
}

/* "card 2 of 4 (sim:u55c): ", without what JSON would want escaped; of one card nothing. */
static void name_card(const struct card_list *cards, unsigned place, char name[CARD_LABEL_BYTES + 2])
{
    char label[CARD_LABEL_BYTES];
    name[0] = '\0';
    if (cards->n == 1) return;
    card_list_label(cards, place, label);
    for (char *at = label; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = '?';
    snprintf(name, CARD_LABEL_BYTES + 2, "%s: ", label);
}

static int attach(struct trace_file *trace, const struct card_list *cards, unsigned place, struct error *err)
{
    struct trace_card *card = &trace->cards[place];
    const struct timeline_sink sink = {.event = on_event, .context = card};
    card->trace = trace;
    card->first_process = place * PROCESS_EXPERTS;
    int status = card_trace(cards->card[place], &sink, err);
    if (status == 0 && place == 0) status = json_stream_begin(&trace->stream, err);
    if (status < 0) return status;
    char name[CARD_LABEL_BYTES + 2];
    name_card(cards, place, name);
    name_process(card, PROCESS_UNITS, name, "card and link");
    name_process(card, PROCESS_MEMORY, name, "card memory");
    name_process(card, PROCESS_EXPERTS, name, "expert slots");
    return 0;
}

int trace_file_attach(struct trace_file *trace, const struct card_list *cards, struct error *err)
{
    int status = 0;
    trace->cards = memory_array(cards->n, sizeof *trace->cards);
    if (!trace->cards) return error_set(err, ERROR_NO_MEMORY, "no host memory for a trace");
    trace->n_cards = cards->n;
    for (unsigned i = 0; i < cards->n && status == 0; i++) status = attach(trace, cards, i, err);
    return status;
}

void trace_file_follow(struct trace_file *trace, const struct engine *engine) { trace->engine = engine; }

int trace_file_close(struct trace_file *trace, struct error *err)
{
    if (!trace) return 0;
    for (unsigned i = 0; i < trace->n_cards; i++)
        if (trace->cards[i].trace) flush_all(&trace->cards[i]);
    int status = json_stream_close(&trace->stream, err);
    free(trace->cards);
    free(trace);
    return status;
}
