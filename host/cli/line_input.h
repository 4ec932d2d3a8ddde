/* SPDX-License-Identifier: Apache-2.0 */
/* Lines from a terminal or a pipe, with ctrl-C as an answer instead of a death. */
#ifndef SLUICE_CLI_LINE_INPUT_H
#define SLUICE_CLI_LINE_INPUT_H

#include "host/text/tokenizer.h"

struct line_input {
    int fd, interrupt_fd; /* borrowed; interrupt_fd is a signalfd */
    struct text buffer;   /* read, not handed out yet; owned: text_free */
    bool at_end;
};

enum line_result { LINE_READ, LINE_END, LINE_INTERRUPTED, LINE_FAILED };

/* The next line without its end goes to line (emptied first). LINE_FAILED sets err. */
enum line_result line_input_next(struct line_input *input, struct text *line, struct error *err);

#endif
