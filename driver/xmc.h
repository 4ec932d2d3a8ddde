/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sensors that XRT's drivers show of a card's management controller as files of their own (xmc.u.*, xmc.m.* in the function's folder):
 * what XRT's tools read, and there also where the driver gives no hwmon. Needs no root. Names and units: emplace_sysfs_get in
 * src/runtime_src/core/pcie/linux/device_linux.cpp of XRT.
 */
#ifndef SLUICE_DRIVER_XMC_H
#define SLUICE_DRIVER_XMC_H

#include "driver/hwmon.h"

/*
 * As hwmon_read. What reads as 0, which is how the drivers show a sensor that the card has not, is left out; there are no critical
 * values.
 */
size_t xmc_read(const char *folder, struct sensor *sensors, size_t max);

#endif
