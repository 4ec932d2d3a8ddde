/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep's section of a page: a line of tokens/s for each combination of the other axes, and the points. */
#include "host/plan/plan_format.h"
#include "host/plan/plan_html_parts.h"
#include "host/plan/plan_number.h"
#include "host/plan/plan_sweep.h"
#include "host/plan/plan_write.h"

#include <math.h>

#define WIDTH 720.0
#define HEIGHT 340.0
#define LEFT 70.0
#define RIGHT 20.0
#define TOP 16.0
#define BOTTOM 46.0

static const char *const axis_names[SWEEP_AXES] = {"weights", "batch", "context", "cards", "experts"};

struct plot {
    const struct sweep *sweep;
    const struct sweep_point *points;
    uint32_t n_points;
    enum sweep_axis x; /* along the width */
    double most;       /* tokens/s at the top */
};

static bool is_number(unsigned axis) { return axis != SWEEP_QUANT && axis != SWEEP_EXPERTS; }

/* The axis with most values, one of numbers if there is any. */
static enum sweep_axis longest_axis(const struct sweep *sweep)
{
    unsigned best = 0;
    for (unsigned a = 0; a < SWEEP_AXES; a++) {
        uint32_t here = sweep->n_values[a] + (is_number(a) && sweep->n_values[a] > 1 ? SWEEP_MAX_VALUES : 0);
        uint32_t most = sweep->n_values[best] + (is_number(best) && sweep->n_values[best] > 1 ? SWEEP_MAX_VALUES : 0);
        if (here > most) best = a;
    }
    return best;
}

static void value_text(unsigned axis, uint32_t value, char *text, size_t size)
{
    if (axis == SWEEP_QUANT)
        snprintf(text, size, "%s", value ? plan_format_name(value) : "own");
    else if (axis == SWEEP_EXPERTS)
        snprintf(text, size, "%s", plan_experts_name(value));
    else
        snprintf(text, size, "%s", number_whole(value).text);
}

static double x_of(const struct plot *plot, uint32_t value)
{
    uint32_t n = plot->sweep->n_values[plot->x], at = 0;
    while (at + 1 < n && plot->sweep->value[plot->x][at] != value) at++;
    return n < 2 ? (LEFT + WIDTH - RIGHT) / 2 : LEFT + (WIDTH - LEFT - RIGHT) * at / (n - 1);
}

static double y_of(const struct plot *plot, double tokens_per_s)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (plot->most > 0 ? tokens_per_s / plot->most : 0);
}

/* 1, 2 or 5 times a power of ten, at least value. */
static double round_limit(double value)
{
    double step = pow(10, floor(log10(value > 0 ? value : 1)));
    for (unsigned i = 0; i < 3; i++) {
        double limit = step * (double[]){1, 2, 5}[i];
        if (limit >= value) return limit;
    }
    return 10 * step;
}

static void write_axes(const struct plot *plot, FILE *out)
{
    for (unsigned i = 0; i <= 4; i++) {
        double value = plot->most * i / 4, y = y_of(plot, value);
        fprintf(out, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", LEFT, y, WIDTH - RIGHT,
                y);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT - 8, y + 4,
                number_plain(value).text);
    }
    for (uint32_t i = 0; i < plot->sweep->n_values[plot->x]; i++) {
        char text[48];
        value_text(plot->x, plot->sweep->value[plot->x][i], text, sizeof text);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x_of(plot, plot->sweep->value[plot->x][i]),
                HEIGHT - BOTTOM + 18);
        html_text(out, text);
        fputs("</text>", out);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6,
            axis_names[plot->x]);
}

static bool same_line(const struct plot *plot, const struct sweep_point *a, const struct sweep_point *b)
{
    for (unsigned axis = 0; axis < SWEEP_AXES; axis++)
        if (axis != plot->x && a->value[axis] != b->value[axis]) return false;
    return true;
}

static bool is_first_of_line(const struct plot *plot, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (same_line(plot, &plot->points[i], &plot->points[index])) return false;
    return true;
}

/* The points of one line in order of the axis; those that do not fit leave a gap. */
static void write_line(const struct plot *plot, const struct sweep_point *first, unsigned colour, FILE *out)
{
    bool drawing = false;
    fprintf(out, "<path class=\"s%u\" fill=\"none\" stroke-width=\"2.5\" d=\"", colour);
    for (uint32_t i = 0; i < plot->n_points; i++) {
        const struct sweep_point *p = &plot->points[i];
        if (!same_line(plot, first, p)) continue;
        if (p->fits)
            fprintf(out, "%c%.1f %.1f", drawing ? 'L' : 'M', x_of(plot, p->value[plot->x]),
                    y_of(plot, p->decode.tokens_per_s));
        drawing = p->fits;
    }
    fputs("\"/>", out);
    for (uint32_t i = 0; i < plot->n_points; i++) {
        const struct sweep_point *p = &plot->points[i];
        if (!p->fits || !same_line(plot, first, p)) continue;
        fprintf(out, "<circle class=\"f%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s tokens/s</title></circle>",
                colour, x_of(plot, p->value[plot->x]), y_of(plot, p->decode.tokens_per_s),
                number_plain(p->decode.tokens_per_s).text);
    }
}

/* "batch 8, experts host": what the line's points have in common, of what is swept. */
static void line_text(const struct plot *plot, const struct sweep_point *point, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, "tokens/s");
    for (unsigned a = 0; a < SWEEP_AXES && used < size; a++) {
        char value[48];
        if (a == plot->x || plot->sweep->n_values[a] < 2) continue;
        value_text(a, point->value[a], value, sizeof value);
        int n = snprintf(text + used, size - used, "%s%s %s", used > 0 ? ", " : "", axis_names[a], value);
        used += n > 0 ? (size_t)n : 0;
    }
}

static void write_table(const struct plot *plot, FILE *out)
{
    fputs("<details><summary>All points</summary><div class=\"wide\"><table><thead><tr>", out);
    for (unsigned a = 0; a < SWEEP_AXES; a++) fprintf(out, "<th>%s</th>", axis_names[a]);
    fputs("<th>tokens/s</th><th>J/token</th><th>limited by</th></tr></thead><tbody>\n", out);
    for (uint32_t i = 0; i < plot->n_points; i++) {
        const struct sweep_point *p = &plot->points[i];
        fputs("<tr>", out);
        for (unsigned a = 0; a < SWEEP_AXES; a++) {
            char text[48];
            value_text(a, a == SWEEP_EXPERTS && p->fits ? p->experts : p->value[a], text, sizeof text);
            fputs("<td>", out);
            html_text(out, text);
            fputs("</td>", out);
        }
        if (p->fits) {
            fprintf(out, "<td>%s</td><td>%s</td><td>", number_plain(p->decode.tokens_per_s).text,
                    number_plain(p->decode.j_per_token).text);
            html_text(out, plan_has_limit(&p->decode) ? p->decode.used[p->decode.limit].name : "waits");
            fputs("</td></tr>\n", out);
        } else {
            fputs("<td colspan=\"3\">does not fit</td></tr>\n", out);
        }
    }
    fputs("</tbody></table></div></details>\n", out);
}

void sweep_write_plot(const struct sweep *sweep, const struct sweep_point *points, uint32_t n_points, FILE *out)
{
    struct plot plot = {.sweep = sweep, .points = points, .n_points = n_points, .x = longest_axis(sweep)};
    unsigned colour = 0;
    for (uint32_t i = 0; i < n_points; i++)
        if (points[i].fits && points[i].decode.tokens_per_s > plot.most) plot.most = points[i].decode.tokens_per_s;
    plot.most = round_limit(plot.most);
    fputs("<section>", out);
    html_heading(out, "Sweep: tokens per second");
    html_legend_open(out);
    for (uint32_t i = 0; i < n_points; i++) {
        char text[160];
        if (!is_first_of_line(&plot, i)) continue;
        line_text(&plot, &points[i], text, sizeof text);
        html_legend_item(out, colour++ % HTML_COLOURS, text);
    }
    html_legend_close(out);
    fprintf(out,
            "<div class=\"wide\"><svg class=\"plot\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"tokens per "
            "second by %s\">",
            WIDTH, HEIGHT, axis_names[plot.x]);
    write_axes(&plot, out);
    colour = 0;
    for (uint32_t i = 0; i < n_points; i++)
        if (is_first_of_line(&plot, i)) write_line(&plot, &points[i], colour++ % HTML_COLOURS, out);
    fputs("</svg></div>\n", out);
    write_table(&plot, out);
    fputs("</section>\n", out);
}
