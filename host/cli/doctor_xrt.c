/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/sysfs.h"
#include "host/cli/doctor.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LIBRARY "libxrt_coreutil.so."

static const char *const library_folders[] = {
    "/opt/xilinx/xrt/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
    "/usr/local/lib",
};
enum { N_FOLDERS = sizeof library_folders / sizeof library_folders[0] };

struct xrt_version {
    unsigned major, minor;
    char text[64], folder[64]; /* "2.13.0"; "" if not installed */
};

/* The full version stands behind the name of the file that the other names link to. */
static bool find_in(const struct doctor *doctor, const char *folder, struct xrt_version *out)
{
    char path[PATH_MAX];
    DIR *entries = doctor_path(doctor, path, sizeof path, "%s", folder) ? opendir(path) : NULL;
    for (const struct dirent *entry; entries && (entry = readdir(entries));) {
        const char *version = entry->d_name + strlen(LIBRARY);
        if (strncmp(entry->d_name, LIBRARY, strlen(LIBRARY)) != 0 || strlen(version) <= strlen(out->text)) continue;
        snprintf(out->text, sizeof out->text, "%.63s", version);
        snprintf(out->folder, sizeof out->folder, "%s", folder);
    }
    if (entries) closedir(entries);
    return out->text[0] != '\0';
}

static struct xrt_version find_xrt(const struct doctor *doctor)
{
    struct xrt_version version = {0, 0, "", ""};
    for (int i = 0; i < N_FOLDERS && !find_in(doctor, library_folders[i], &version); i++) {}
    if (sscanf(version.text, "%u.%u", &version.major, &version.minor) < 1) version.major = 0;
    return version;
}

/* What XRT a card needs, if not any. */
static void compare_with_cards(struct doctor *doctor, const struct xrt_version *version)
{
    for (size_t i = 0; i < doctor->n; i++) {
        const struct pci_model *model = &doctor->functions[i].model;
        if (doctor->functions[i].role != PCI_ROLE_USER || model->last_xrt == 0 || version->minor <= model->last_xrt)
            continue;
        doctor_add(doctor, FINDING_PROBLEM, "XRT",
                   "install XRT 2.16 (2023.2), which is the last one for this card: apt-get install ./xrt_202320*.deb",
                   "XRT %s does not serve the %s at %s any more", version->text, model->name,
                   doctor->functions[i].text);
    }
}

/* That it is not loaded is told with the function that has no driver. */
static void look_at_module(struct doctor *doctor, const char *module, const struct xrt_version *library)
{
    char path[PATH_MAX], version[64], about[40];
    unsigned major, minor;
    snprintf(about, sizeof about, "module %s", module);
    if (!doctor_path(doctor, path, sizeof path, "/sys/module/%s/version", module) ||
        !sysfs_read(path, version, sizeof version) || sscanf(version, "%u.%u", &major, &minor) != 2)
        return;
    if (library->text[0] && (major != library->major || minor != library->minor))
        doctor_add(doctor, FINDING_WARNING, about, "install libraries and driver of one release, then reboot",
                   "driver %s, libraries %s: they are of two releases of XRT", version, library->text);
    else
        doctor_add(doctor, FINDING_GOOD, about, "", "loaded, %s", version);
}

/* A file of one line: the library, by path or by name. */
static bool icd_library_exists(const struct doctor *doctor, const char *library)
{
    char path[PATH_MAX];
    struct stat there;
    if (library[0] == '/') return doctor_path(doctor, path, sizeof path, "%s", library) && stat(path, &there) == 0;
    for (int i = 0; i < N_FOLDERS; i++)
        if (doctor_path(doctor, path, sizeof path, "%s/%s", library_folders[i], library) && stat(path, &there) == 0)
            return true;
    return false;
}

static void look_at_icd(struct doctor *doctor, const char *name)
{
    char path[PATH_MAX], library[256], mend[300];
    if (!doctor_path(doctor, path, sizeof path, "/etc/OpenCL/vendors/%s", name)) return;
    if (!sysfs_read(path, library, sizeof library) || library[0] == '\0') {
        doctor_add(doctor, FINDING_WARNING, "OpenCL", "", "%s cannot be read or is empty", path);
    } else if (icd_library_exists(doctor, library)) {
        doctor_add(doctor, FINDING_GOOD, "OpenCL", "", "%s: %s", name, library);
    } else {
        snprintf(mend, sizeof mend, "rm %.200s, or install its package again", path);
        doctor_add(doctor, FINDING_WARNING, "OpenCL", mend, "%s names %s, which is not there", name, library);
    }
}

static void look_at_icds(struct doctor *doctor)
{
    char path[PATH_MAX];
    struct dirent **entries = NULL;
    int found = 0;
    int n =
        doctor_path(doctor, path, sizeof path, "/etc/OpenCL/vendors") ? scandir(path, &entries, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        const char *dot = strrchr(entries[i]->d_name, '.');
        if (dot && strcmp(dot, ".icd") == 0) {
            look_at_icd(doctor, entries[i]->d_name);
            found++;
        }
        free(entries[i]);
    }
    free(entries);
    if (found == 0)
        doctor_add(doctor, FINDING_NOTE, "OpenCL", "apt-get install pocl-opencl-icd (a processor as a device)",
                   "no OpenCL driver is installed: `--card opencl` has no device");
}

void doctor_look_at_xrt(struct doctor *doctor)
{
    struct xrt_version version = find_xrt(doctor);
    bool needed = doctor_has_xrt_card(doctor);
    if (version.text[0])
        doctor_add(doctor, FINDING_GOOD, "XRT", "", "version %s in %s", version.text, version.folder);
    else
        doctor_add(doctor, needed ? FINDING_PROBLEM : FINDING_NOTE, "XRT", "apt-get install libxrt1 libxrt-utils",
                   "XRT is not installed%s", needed ? "" : "; without a card nothing needs it");
    if (version.text[0]) compare_with_cards(doctor, &version);
    if (needed) {
        look_at_module(doctor, "xocl", &version);
        look_at_module(doctor, "xclmgmt", &version);
    }
    look_at_icds(doctor);
}
