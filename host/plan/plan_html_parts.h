/* SPDX-License-Identifier: Apache-2.0 */
/* What the page is made of: text with its special characters escaped, the frame of the page, bars in SVG. */
#ifndef SLUICE_PLAN_PLAN_HTML_PARTS_H
#define SLUICE_PLAN_PLAN_HTML_PARTS_H

#include <stdio.h>

#define HTML_COLOURS 10u

/* One stretch of a bar. */
struct bar_part {
    double share;      /* of the whole width, 0 to 1 */
    unsigned colour;   /* below HTML_COLOURS; HTML_FREE: what is not used */
    const char *title; /* shown when pointed at */
};
#define HTML_FREE HTML_COLOURS

/* text with < > & " ' escaped, and control characters and bytes that are no UTF-8 as U+FFFD. */
void html_text(FILE *out, const char *text);

/* From <!doctype> to the opened <main>; from </main> to the end. */
void html_open(FILE *out, const char *title);
void html_close(FILE *out);

void html_heading(FILE *out, const char *text);
void html_paragraph(FILE *out, const char *class_name, const char *text); /* of the style: "soft", "note" or "" */

/* A row of a chart: label, a bar of n parts side by side, value. Parts that would go past the end are cut. */
void html_bar(FILE *out, const char *label, const struct bar_part *parts, unsigned n, const char *value);

/* Colours and what they stand for. */
void html_legend_open(FILE *out);
void html_legend_item(FILE *out, unsigned colour, const char *text);
void html_legend_close(FILE *out);

#endif
