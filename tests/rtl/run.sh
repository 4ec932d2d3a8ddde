#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the RTL with Verilator, links the test benches with the simulated card and runs them.
#   tests/rtl/run.sh BUILD [RANDOM_OPERANDS]     BUILD: a folder that CMake has built (libsluice_sim.a and what it needs)
# The programs stay in BUILD/rtl. Ends with "N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:?usage: tests/rtl/run.sh BUILD [RANDOM_OPERANDS]}")
operands=${2:-400000}
root=$PWD rtl=$PWD/kernels/rtl out=$build/rtl
passed=0 failed=0
mkdir -p "$out"

# The cycle model is data; the engine's test bench compares with it.
model() { jq -re ".$1" kernels/rtl/cycles.json; }
defines="-DCYCLES_START=$(model start_cycles) -DCYCLES_FULL_ROUND=$(model full_round_cycles) -DCYCLES_PART_ROUND=$(model part_round_cycles)"
defines+=" -DCYCLES_END=$(model end_cycles) -DCYCLES_PART_SLACK=$(model part_round_slack_cycles)"

gcc -std=gnu11 -O2 -D_GNU_SOURCE -ffp-contract=off -Wall -Wextra -Wshadow -Wconversion -Werror "-I$root" -c tests/rtl/vectors.c -o "$out/vectors.o"

# bench NAME TOP VERILOG [arguments]: one test bench. Warnings are errors, in Verilog and in C++.
bench() {
    local name=$1 top=$2 source=$3
    shift 3
    if verilator --cc --exe --build -j 1 -O3 -Wall -Wno-SYMRSVDWORD --x-assign unique --x-initial unique "-I$rtl" --top-module "$top" \
        --Mdir "$out/$name" -o "$name" "$source" "$root/tests/rtl/$name.cpp" "$out/vectors.o" \
        -CFLAGS "-I$root -O2 -Wall -Wextra -Werror=return-type $defines" -LDFLAGS "$build/libsluice_sim.a $build/libsluice_profiles.a $build/libsluice_base.a -ljansson -lpthread -lm" \
        >"$out/$name.log" 2>&1 && "$out/$name/$name" "$@"; then
        passed=$((passed + 1))
    else
        tail -n 30 "$out/$name.log"
        echo "FAILED: $name"
        failed=$((failed + 1))
    fi
}
bench units_test fp_units "$root/tests/rtl/fp_units.sv" "$operands"
bench engine_test sluice_dot_engine "$rtl/sluice_dot_engine.sv"
bench kernel_test sluice_matvec_int4 "$rtl/sluice_matvec_int4.sv"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
