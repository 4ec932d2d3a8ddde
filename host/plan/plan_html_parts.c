/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_html_parts.h"

#include "host/text/utf8.h"

#include <stdbool.h>
#include <string.h>

static const char *entity(char c)
{
    switch (c) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

void html_text(FILE *out, const char *text)
{
    size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        unsigned n;
        bool whole = utf8_scan((const uint8_t *)text + at, length - at, &n) == UTF8_CHARACTER;
        unsigned char c = (unsigned char)text[at];
        bool shown = whole && (n > 1 || (c >= 0x20 && c != 0x7f));
        if (!shown)
            fputs(UTF8_REPLACEMENT, out);
        else if (n == 1 && entity(text[at]))
            fputs(entity(text[at]), out);
        else
            fwrite(text + at, 1, n, out);
        at += n;
    }
}

/* Two sets of colours, for light and dark surfaces: ten hues that stay apart for those who do not see all of them. */
static const char style[] =
    ":root{color-scheme:light "
    "dark;--page:#fbfbfa;--card:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#dfe2e6;--free:#e9ebee;"
    "--c0:#2f6fdb;--c1:#e08a00;--c2:#1c9a86;--c3:#d9483b;--c4:#7c52cc;--c5:#5f9e1e;--c6:#c2478f;--c7:#6f8fb5;--c8:#"
    "8d6a4f;"
    "--c9:#9aa1ab;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--page:#14171b;--card:#1c2026;--ink:#e8eaed;--soft:#9aa4b0;--line:#30363d;"
    "--free:#2b3138;--c0:#6c9ff2;--c1:#f0ab3c;--c2:#46c2ad;--c3:#f07a6e;--c4:#a88af0;--c5:#92cc52;--c6:#e583bb;--c7:#"
    "93afd0;"
    "--c8:#bb9a7f;--c9:#7d858f;--bad:#ff8a80}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,"
    "\"Helvetica Neue\",\"Noto Sans\",\"DejaVu Sans\",sans-serif}"
    "main{max-width:64rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}"
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .35rem;letter-spacing:-.01em;overflow-wrap:anywhere}"
    "h2{font-size:1.15rem;margin:0 0 .75rem}"
    "p{margin:.5rem 0;overflow-wrap:anywhere}.soft,figcaption,.note{color:var(--soft)}.note{font-size:.875rem}"
    "section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.25rem "
    "1.35rem;margin:1.1rem 0}"
    ".verdict{border-left:5px solid var(--c2)}.verdict.bad{border-left-color:var(--bad)}.verdict p:first-child{"
    "font-size:1.08rem;font-weight:600}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.1rem 0}"
    ".tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.85rem 1rem}"
    ".tile b{display:block;font-size:1.5rem;line-height:1.25;font-variant-numeric:tabular-nums}"
    ".tile span{color:var(--soft);font-size:.83rem}"
    ".bar{display:grid;grid-template-columns:9.5rem minmax(6rem,1fr) 12.5rem;gap:.2rem "
    ".9rem;align-items:center;margin:.45rem 0}"
    ".bar svg{display:block;width:100%;height:22px;border-radius:4px}"
    ".bar .value{font-variant-numeric:tabular-nums;font-size:.9rem;color:var(--soft)}.bar .label{font-size:.93rem;"
    "overflow-wrap:anywhere}"
    ".legend{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;font-size:.85rem;color:var(--soft);margin:.2rem 0 .6rem}"
    ".legend span{display:inline-flex;align-items:center;gap:.4rem}.legend "
    "svg{width:12px;height:12px;border-radius:3px}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.91rem;font-variant-numeric:tabular-"
    "nums}"
    "th,td{text-align:right;padding:.36rem .55rem;border-bottom:1px solid "
    "var(--line);white-space:nowrap}td:last-child{white-space:normal}"
    "th{font-weight:600;color:var(--soft)}th:first-child,td:first-child{text-align:left;padding-left:0}"
    "tbody tr:last-child "
    "td{border-bottom:0}td.text{text-align:left;white-space:normal;min-width:14rem;overflow-wrap:anywhere}"
    "th.text{text-align:left}details summary{cursor:pointer;font-weight:600}"
    ".plot{width:100%;min-width:34rem;height:auto;font-size:13px}.plot text{fill:var(--soft)}.plot "
    ".axis{stroke:var(--line)}"
    ".f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}"
    ".f6{fill:var(--c6)}.f7{fill:var(--c7)}.f8{fill:var(--c8)}.f9{fill:var(--c9)}.f10{fill:var(--free)}"
    ".s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}"
    ".s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}.s8{stroke:var(--c8)}.s9{stroke:var(--c9)}"
    "@media(max-width:44rem){main{padding:1.4rem .8rem 3rem}h1{font-size:1.45rem}section{padding:1rem .9rem}"
    "table{font-size:.82rem}th,td{padding:.32rem .35rem}.bar{grid-template-columns:1fr auto}.bar "
    "svg{grid-column:1/3;grid-row:2}.bar .value{text-align:right}"
    ".tile b{font-size:1.25rem}}"
    "@media print{section,.tile{break-inside:avoid}}";

void html_open(FILE *out, const char *title)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'\">\n<title>",
          out);
    html_text(out, title);
    fputs("</title>\n<style>", out);
    fputs(style, out);
    fputs("</style>\n</head>\n<body>\n<main>\n", out);
}

void html_close(FILE *out) { fputs("</main>\n</body>\n</html>\n", out); }

void html_heading(FILE *out, const char *text)
{
    fputs("<h2>", out);
    html_text(out, text);
    fputs("</h2>\n", out);
}

void html_paragraph(FILE *out, const char *class_name, const char *text)
{
    fprintf(out, "<p class=\"%s\">", class_name);
    html_text(out, text);
    fputs("</p>\n", out);
}

void html_bar(FILE *out, const char *label, const struct bar_part *parts, unsigned n, const char *value)
{
    double at = 0;
    fputs("<div class=\"bar\"><span class=\"label\">", out);
    html_text(out, label);
    fputs("</span><svg role=\"img\" aria-label=\"", out);
    html_text(out, value);
    fputs("\"><rect class=\"f10\" width=\"100%\" height=\"22\"/>", out);
    for (unsigned i = 0; i < n; i++) {
        double width = parts[i].share < 1 - at ? parts[i].share : 1 - at;
        if (!(width > 0)) continue;
        fprintf(out, "<rect class=\"f%u\" x=\"%.3f%%\" width=\"%.3f%%\" height=\"22\"><title>", parts[i].colour,
                100 * at, 100 * width);
        html_text(out, parts[i].title);
        fputs("</title></rect>", out);
        at += width;
    }
    fputs("</svg><span class=\"value\">", out);
    html_text(out, value);
    fputs("</span></div>\n", out);
}

void html_legend_open(FILE *out) { fputs("<div class=\"legend\">", out); }

void html_legend_item(FILE *out, unsigned colour, const char *text)
{
    fprintf(out, "<span><svg><rect class=\"f%u\" width=\"12\" height=\"12\"/></svg>", colour);
    html_text(out, text);
    fputs("</span>", out);
}

void html_legend_close(FILE *out) { fputs("</div>\n", out); }
