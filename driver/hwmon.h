/* SPDX-License-Identifier: Apache-2.0 */
/* Sensors of a PCI function by the kernel's hwmon interface, where XRT's drivers and others put a card's. Needs no root. */
#ifndef SLUICE_DRIVER_HWMON_H
#define SLUICE_DRIVER_HWMON_H

#include <stddef.h>

enum sensor_kind { SENSOR_TEMPERATURE, SENSOR_POWER, SENSOR_VOLTAGE, SENSOR_CURRENT, SENSOR_FAN, SENSOR_KINDS };

struct sensor {
    enum sensor_kind kind;
    char label[48];  /* the driver's, else "temp1" */
    double value;    /* degrees Celsius, watts, volts, amperes, turns a minute */
    double critical; /* the driver's limit in the same unit; NAN: none */
};

/*
 * Fills sensors[0..max) from folder/hwmon (the folder of a function in sysfs), those of one kind together and in order of their
 * number. Returns how many there are, which may be more than max; what cannot be read or is no number is left out.
 */
size_t hwmon_read(const char *folder, struct sensor *sensors, size_t max);

/* "C", "W", "V", "A", "RPM"; static storage. */
const char *sensor_unit(enum sensor_kind kind);

/* "temperature", "power", ...; static storage. */
const char *sensor_kind_name(enum sensor_kind kind);

/* The hottest temperature and the first power, which is the whole card's in XRT's drivers; NAN where there is none. */
void hwmon_summary(const struct sensor *sensors, size_t n, double *temperature_c, double *power_w);

#endif
