/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/sysfs.h"
#include "host/base/memory.h"
#include "host/cli/commands.h"
#include "host/cli/doctor.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const levels[] = {
    [FINDING_GOOD] = "good", [FINDING_NOTE] = "note", [FINDING_WARNING] = "warning", [FINDING_PROBLEM] = "problem"};

/* Names of files, drivers and groups are foreign: one line of harmless characters, and JSON takes it. */
static void tidy(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++)
        if (*at < 0x20 || *at >= 0x7f) *at = '?';
}

void doctor_add(struct doctor *doctor, enum finding_level level, const char *about, const char *mend,
                const char *format, ...)
{
    struct findings *findings = &doctor->findings;
    if (findings->n == findings->room) {
        size_t room = findings->room ? 2 * findings->room : 32;
        struct finding *list = memory_grow(findings->list, room, sizeof *list);
        findings->lost = findings->lost || !list;
        if (!list) return;
        findings->list = list;
        findings->room = room;
    }
    struct finding *finding = &findings->list[findings->n++];
    *finding = (struct finding){.level = level};
    snprintf(finding->about, sizeof finding->about, "%s", about);
    snprintf(finding->mend, sizeof finding->mend, "%s", mend);
    va_list args;
    va_start(args, format);
    vsnprintf(finding->text, sizeof finding->text, format, args);
    va_end(args);
    tidy(finding->about);
    tidy(finding->mend);
    tidy(finding->text);
}

bool doctor_path(const struct doctor *doctor, char *out, size_t size, const char *format, ...)
{
    const char *root = pci_source_root(&doctor->source);
    size_t used = strlen(root);
    if (!sysfs_path(out, size, "%s", root)) return false;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(out + used, size - used, format, args);
    va_end(args);
    return length >= 0 && (size_t)length < size - used;
}

bool doctor_has_xrt_card(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->n; i++)
        if (doctor->functions[i].model.xrt_driver) return true;
    return false;
}

static unsigned count(const struct findings *findings, enum finding_level level)
{
    unsigned n = 0;
    for (size_t i = 0; i < findings->n; i++) n += findings->list[i].level == level;
    return n;
}

static void print_text_report(const struct findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        const struct finding *finding = &findings->list[i];
        printf("%-8s %-22s %s\n", levels[finding->level], finding->about, finding->text);
        if (finding->mend[0]) printf("%-8s %-22s   -> %s\n", "", "", finding->mend);
    }
    unsigned problems = count(findings, FINDING_PROBLEM), warnings = count(findings, FINDING_WARNING);
    if (problems == 0 && warnings == 0)
        puts("\nNothing is in the way.");
    else
        printf("\n%u problem%s, %u warning%s.\n", problems, problems == 1 ? "" : "s", warnings,
               warnings == 1 ? "" : "s");
}

static int print_json_report(const struct findings *findings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->n; i++) {
        const struct finding *finding = &findings->list[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "level", levels[finding->level], "about",
                                              finding->about, "text", finding->text, "mend", finding->mend));
    }
    json_t *report = json_pack("{s:i, s:i, s:o}", "problems", (int)count(findings, FINDING_PROBLEM), "warnings",
                               (int)count(findings, FINDING_WARNING), "findings", list);
    int failed = !report || json_dumpf(report, stdout, JSON_INDENT(2));
    json_decref(report);
    putchar('\n');
    return failed ? failure("doctor: cannot write the findings") : EXIT_DONE;
}

static int examine(struct doctor *doctor, bool json)
{
    doctor_look_at_cards(doctor);
    if (pci_source_has_sysfs(&doctor->source)) {
        doctor_look_at_xrt(doctor);
        doctor_look_at_access(doctor);
        doctor_look_at_host(doctor);
    }
    doctor_look_at_bitstream(doctor);
    if (doctor->findings.lost) return failure("doctor: no memory for all findings");
    int status = EXIT_DONE;
    if (json)
        status = print_json_report(&doctor->findings);
    else
        print_text_report(&doctor->findings);
    return status == EXIT_DONE && count(&doctor->findings, FINDING_PROBLEM) > 0 ? EXIT_FAILED : status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct doctor doctor = {.n = 0};
    const char *user = NULL;
    bool json = false;
    const struct option table[] = {
        {"json", 0, OPTION_FLAG, &json, NULL, "print one JSON object", 0, 0},
        {"user", 0, OPTION_TEXT, &user, "NAME", "the account that serves (default: this one)", 0, 0},
        {"bitstream", 0, OPTION_TEXT, &doctor.bitstream, "FILE", "an xclbin that is to be loaded", 0, 0},
        {"dump", 0, OPTION_TEXT, &doctor.source.dump, "FILE", "another machine's cards, from its `lspci -xxxx`", 0, 0},
        {"root", 0, OPTION_TEXT, &doctor.source.root, "DIR", "another machine, from a copy of its files", 0, 0},
        {0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, NULL, 0, &n_operands);
    if (status >= 0) return status;
    struct error err = {0};
    struct pci_function *functions = NULL;
    if (doctor_find_user(&doctor.source, user, &doctor.user, &err) < 0 ||
        pci_scan(&doctor.source, &functions, &doctor.n, &err) < 0)
        return failure("doctor: %s", err.text);
    doctor.functions = functions;
    status = examine(&doctor, json);
    free(doctor.findings.list);
    free(functions);
    return status;
}

const struct command command_doctor = {
    .name = "doctor",
    .synopsis = "[--user NAME] [--bitstream FILE] [--json]",
    .summary = "what is missing before a card serves, each with the command that mends it",
    .details = "Looks only; changes nothing. Exit status 0: nothing stands in the way (warnings and notes may be "
               "there), 1: a problem.",
    .run = run,
};
