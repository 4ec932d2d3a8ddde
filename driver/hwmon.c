/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/hwmon.h"

#include "driver/sysfs.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS 32u /* of a kind and device; the kernel's drivers stay below */

struct kind {
    const char *prefix, *name, *unit;
    double scale; /* units a step of the file */
    unsigned first;
};
/* Documentation/hwmon/sysfs-interface of the kernel. */
static const struct kind kinds[SENSOR_KINDS] = {
    [SENSOR_TEMPERATURE] = {"temp", "temperature", "C", 1e-3, 1},
    [SENSOR_POWER] = {"power", "power", "W", 1e-6, 1},
    [SENSOR_VOLTAGE] = {"in", "voltage", "V", 1e-3, 0},
    [SENSOR_CURRENT] = {"curr", "current", "A", 1e-3, 1},
    [SENSOR_FAN] = {"fan", "fan", "RPM", 1, 1},
};

const char *sensor_unit(enum sensor_kind kind) { return kinds[kind].unit; }
const char *sensor_kind_name(enum sensor_kind kind) { return kinds[kind].name; }

static bool read_value(const char *folder, const struct kind *kind, unsigned number, const char *which, double *out)
{
    char path[PATH_MAX];
    int64_t raw;
    if (!sysfs_path(path, sizeof path, "%s/%s%u_%s", folder, kind->prefix, number, which) ||
        !sysfs_read_i64(path, &raw))
        return false;
    *out = (double)raw * kind->scale;
    return true;
}

static bool read_sensor(const char *folder, enum sensor_kind which, unsigned number, struct sensor *out)
{
    const struct kind *kind = &kinds[which];
    char path[PATH_MAX];
    *out = (struct sensor){.kind = which, .critical = (double)NAN};
    if (!read_value(folder, kind, number, "input", &out->value) &&
        !(which == SENSOR_POWER && read_value(folder, kind, number, "average", &out->value)))
        return false;
    read_value(folder, kind, number, "crit", &out->critical);
    if (!sysfs_path(path, sizeof path, "%s/%s%u_label", folder, kind->prefix, number) ||
        !sysfs_read(path, out->label, sizeof out->label) || out->label[0] == '\0')
        snprintf(out->label, sizeof out->label, "%s%u", kind->prefix, number);
    return true;
}

static size_t read_device(const char *folder, struct sensor *sensors, size_t max)
{
    size_t n = 0;
    for (int kind = 0; kind < SENSOR_KINDS; kind++) {
        for (unsigned i = 0; i < MAX_INPUTS; i++) {
            struct sensor sensor;
            if (!read_sensor(folder, (enum sensor_kind)kind, kinds[kind].first + i, &sensor)) continue;
            if (n < max) sensors[n] = sensor;
            n++;
        }
    }
    return n;
}

size_t hwmon_read(const char *folder, struct sensor *sensors, size_t max)
{
    char path[PATH_MAX];
    struct dirent **entries;
    size_t n = 0;
    if (!folder[0] || !sysfs_path(path, sizeof path, "%s/hwmon", folder)) return 0;
    int n_entries = scandir(path, &entries, NULL, alphasort);
    if (n_entries < 0) return 0;
    for (int i = 0; i < n_entries; i++) {
        if (strncmp(entries[i]->d_name, "hwmon", 5) == 0 &&
            sysfs_path(path, sizeof path, "%s/hwmon/%s", folder, entries[i]->d_name))
            n += read_device(path, n < max ? sensors + n : NULL, n < max ? max - n : 0);
        free(entries[i]);
    }
    free(entries);
    return n;
}

void hwmon_summary(const struct sensor *sensors, size_t n, double *temperature_c, double *power_w)
{
    *temperature_c = *power_w = (double)NAN;
    for (size_t i = 0; i < n; i++) {
        double value = sensors[i].value;
        if (sensors[i].kind == SENSOR_TEMPERATURE && !(value <= *temperature_c)) *temperature_c = value;
        if (sensors[i].kind == SENSOR_POWER && isnan(*power_w)) *power_w = value;
    }
}
