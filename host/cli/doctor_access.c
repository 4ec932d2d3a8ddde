/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_usage.h"
#include "driver/sysfs.h"
#include "host/base/memory.h"
#include "host/cli/doctor.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_GROUPS (sizeof((struct serving_user *)0)->groups / sizeof(gid_t))

static void add_group(struct serving_user *user, gid_t group)
{
    for (unsigned i = 0; i < user->n_groups; i++)
        if (user->groups[i] == group) return;
    if (user->n_groups < MAX_GROUPS) user->groups[user->n_groups++] = group;
}

/* Of a copied machine the accounts are those of its files. */
static void read_groups(const char *path, struct serving_user *user)
{
    FILE *file = fopen(path, "re");
    for (const struct group *group; file && (group = fgetgrent(file));)
        for (char **member = group->gr_mem; *member; member++)
            if (strcmp(*member, user->name) == 0) add_group(user, group->gr_gid);
    if (file) fclose(file);
}

static bool find_in_files(const char *root, const char *name, struct serving_user *user)
{
    char path[PATH_MAX];
    bool found = false;
    FILE *file = sysfs_path(path, sizeof path, "%s/etc/passwd", root) ? fopen(path, "re") : NULL;
    for (const struct passwd *entry; file && !found && (entry = fgetpwent(file));) {
        found = strcmp(entry->pw_name, name) == 0;
        if (found) *user = (struct serving_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
    }
    if (file) fclose(file);
    if (!found) return false;
    snprintf(user->name, sizeof user->name, "%s", name);
    add_group(user, user->gid);
    if (sysfs_path(path, sizeof path, "%s/etc/group", root)) read_groups(path, user);
    return true;
}

static bool find_on_this_machine(const char *name, struct serving_user *user)
{
    const struct passwd *entry = getpwnam(name);
    int n = (int)MAX_GROUPS;
    if (!entry) return false;
    *user = (struct serving_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
    snprintf(user->name, sizeof user->name, "%s", name);
    if (getgrouplist(name, user->gid, user->groups, &n) < 0) n = (int)MAX_GROUPS; /* it has more: the first count */
    user->n_groups = (unsigned)n;
    return true;
}

static void find_self(struct serving_user *user)
{
    const struct passwd *entry = getpwuid(geteuid());
    *user = (struct serving_user){.uid = geteuid(), .gid = getegid()};
    snprintf(user->name, sizeof user->name, "%s", entry ? entry->pw_name : "this account");
    int n = getgroups((int)MAX_GROUPS, user->groups);
    user->n_groups = n > 0 ? (unsigned)n : 0;
    add_group(user, user->gid);
}

int doctor_find_user(const struct pci_source *source, const char *name, struct serving_user *out, struct error *err)
{
    if (!name) {
        find_self(out);
        return 0;
    }
    bool found = source->root ? find_in_files(source->root, name, out) : find_on_this_machine(name, out);
    return found ? 0 : error_set(err, ERROR_NOT_FOUND, "there is no account \"%s\" (useradd --system %s)", name, name);
}

/* By owner, group and mode, as the kernel decides; lists of further permissions (ACL) are not looked at. */
static bool may_open(const struct serving_user *user, const struct stat *node)
{
    bool in_group = false;
    if (user->uid == 0) return true;
    for (unsigned i = 0; i < user->n_groups; i++) in_group = in_group || user->groups[i] == node->st_gid;
    mode_t needed = user->uid == node->st_uid ? S_IRUSR | S_IWUSR : in_group ? S_IRGRP | S_IWGRP : S_IROTH | S_IWOTH;
    return (node->st_mode & needed) == needed;
}

static void name_group(const struct doctor *doctor, gid_t gid, char *out, size_t size)
{
    char path[PATH_MAX];
    const struct group *group = NULL;
    FILE *file = NULL;
    if (!doctor->source.root)
        group = getgrgid(gid);
    else if (doctor_path(doctor, path, sizeof path, "/etc/group") && (file = fopen(path, "re")))
        while ((group = fgetgrent(file)) && group->gr_gid != gid) {}
    if (group)
        snprintf(out, size, "%s", group->gr_name);
    else
        snprintf(out, size, "%u", (unsigned)gid);
    if (file) fclose(file);
}

struct nodes {
    struct doctor *doctor;
    const struct pci_function *function;
    unsigned n;
};

static void say_denied(struct doctor *doctor, const char *about, const char *name, const struct stat *node)
{
    char group[64], mend[300];
    name_group(doctor, node->st_gid, group, sizeof group);
    if ((node->st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP) && node->st_gid != 0)
        snprintf(mend, sizeof mend, "usermod -aG %s %s, then log in again (a service: restart it)", group,
                 doctor->user.name);
    else
        snprintf(mend, sizeof mend, "chgrp render /dev/%s && chmod g+rw /dev/%s && usermod -aG render %s", name, name,
                 doctor->user.name);
    doctor_add(doctor, FINDING_PROBLEM, about, mend, "%s may not open /dev/%s (group %s, mode %03o)", doctor->user.name,
               name, group, (unsigned)node->st_mode & 0777u);
}

static bool look_at_node(void *context, const char *name)
{
    struct nodes *nodes = context;
    struct doctor *doctor = nodes->doctor;
    char path[PATH_MAX], about[40], mend[300];
    struct stat node;
    bool management = nodes->function->role == PCI_ROLE_MANAGEMENT;
    bool render = strncmp(name, "dri/renderD", 11) == 0;
    if ((!management && !render) || !doctor_path(doctor, path, sizeof path, "/dev/%s", name)) return true;
    nodes->n++;
    snprintf(about, sizeof about, "access %s", nodes->function->text);
    if (stat(path, &node) != 0) {
        doctor_add(doctor, management ? FINDING_NOTE : FINDING_PROBLEM, about,
                   management ? "" : "udevadm trigger --subsystem-match=drm (in a container: pass the device in)",
                   "/dev/%s is not there: %s", name, strerror(errno));
    } else if (management && doctor->user.uid != 0 && may_open(&doctor->user, &node)) {
        snprintf(mend, sizeof mend, "chown root:root /dev/%s && chmod 600 /dev/%s", name, name);
        doctor_add(doctor, FINDING_WARNING, about, mend,
                   "%s may open the management function, /dev/%s: it could reset the card and load shells",
                   doctor->user.name, name);
    } else if (management) {
        doctor_add(doctor, FINDING_GOOD, about, "", "the management function is apart: /dev/%s is the administrator's",
                   name);
    } else if (!may_open(&doctor->user, &node)) {
        say_denied(doctor, about, name, &node);
    } else {
        doctor_add(doctor, FINDING_GOOD, about, "", "%s may open /dev/%s", doctor->user.name, name);
    }
    return true;
}

void doctor_look_at_access(struct doctor *doctor)
{
    if (!pci_source_has_sysfs(&doctor->source) || doctor->n == 0) return;
    if (doctor->user.uid == 0)
        doctor_add(doctor, FINDING_NOTE, "account", "sluice doctor --user NAME",
                   "root may open everything; ask for the account that will serve");
    for (size_t i = 0; i < doctor->n; i++) {
        struct nodes nodes = {doctor, &doctor->functions[i], 0};
        pci_usage_nodes(nodes.function, look_at_node, &nodes);
        if (nodes.function->role == PCI_ROLE_USER && strcmp(nodes.function->driver, "xocl") == 0 && nodes.n == 0) {
            char about[40];
            snprintf(about, sizeof about, "access %s", nodes.function->text);
            doctor_add(doctor, FINDING_PROBLEM, about, "dmesg | grep -i xocl (its last lines say why)",
                       "the driver xocl is bound but made no /dev/dri/renderD*");
        }
    }
}
