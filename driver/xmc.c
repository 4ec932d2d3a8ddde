/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/xmc.h"

#include "driver/sysfs.h"

#include <glob.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

static const struct {
    const char *file, *label;
    enum sensor_kind kind;
    double scale; /* units a step of the file */
} nodes[] = {
    {"xmc_fpga_temp", "fpga", SENSOR_TEMPERATURE, 1},
    {"xmc_hbm_temp", "hbm", SENSOR_TEMPERATURE, 1},
    {"xmc_vccint_temp", "vccint", SENSOR_TEMPERATURE, 1},
    {"xmc_se98_temp0", "card top front", SENSOR_TEMPERATURE, 1},
    {"xmc_se98_temp1", "card top rear", SENSOR_TEMPERATURE, 1},
    {"xmc_se98_temp2", "card bottom front", SENSOR_TEMPERATURE, 1},
    {"xmc_cage_temp0", "cage 0", SENSOR_TEMPERATURE, 1},
    {"xmc_cage_temp1", "cage 1", SENSOR_TEMPERATURE, 1},
    {"xmc_power", "card", SENSOR_POWER, 1e-6},
    {"xmc_12v_pex_vol", "12V slot", SENSOR_VOLTAGE, 1e-3},
    {"xmc_12v_aux_vol", "12V cable", SENSOR_VOLTAGE, 1e-3},
    {"xmc_3v3_pex_vol", "3.3V slot", SENSOR_VOLTAGE, 1e-3},
    {"xmc_vccint_vol", "vccint", SENSOR_VOLTAGE, 1e-3},
    {"xmc_12v_pex_curr", "12V slot", SENSOR_CURRENT, 1e-3},
    {"xmc_12v_aux_curr", "12V cable", SENSOR_CURRENT, 1e-3},
    {"xmc_vccint_curr", "vccint", SENSOR_CURRENT, 1e-3},
    {"xmc_fan_rpm", "fan", SENSOR_FAN, 1},
};

static size_t read_controller(const char *folder, struct sensor *sensors, size_t max)
{
    char path[PATH_MAX];
    size_t n = 0;
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        int64_t raw;
        if (!sysfs_path(path, sizeof path, "%s/%s", folder, nodes[i].file) || !sysfs_read_i64(path, &raw) || raw == 0)
            continue;
        if (n < max) {
            sensors[n] =
                (struct sensor){.kind = nodes[i].kind, .value = (double)raw * nodes[i].scale, .critical = (double)NAN};
            snprintf(sensors[n].label, sizeof sensors[n].label, "%s", nodes[i].label);
        }
        n++;
    }
    return n;
}

size_t xmc_read(const char *folder, struct sensor *sensors, size_t max)
{
    char pattern[PATH_MAX];
    glob_t found;
    size_t n = 0;
    if (!folder[0] || !sysfs_path(pattern, sizeof pattern, "%s/xmc.[um].*", folder)) return 0;
    if (glob(pattern, 0, NULL, &found) != 0) return 0;
    if (found.gl_pathc > 0) n = read_controller(found.gl_pathv[0], sensors, max);
    globfree(&found);
    return n;
}
