/* SPDX-License-Identifier: Apache-2.0 */
/* Every command of the program, one file each (cmd_<name>.c), and what several of them share (session.h). */
#ifndef SLUICE_CLI_COMMANDS_H
#define SLUICE_CLI_COMMANDS_H

#include "host/cli/options.h"

extern const struct command command_run, command_serve, command_inspect, command_tokenize, command_detokenize,
    command_logits, command_eval, command_bench, command_cards, command_pack, command_template, command_plan,
    command_probe, command_bitstream, command_keys, command_doctor;

#endif
