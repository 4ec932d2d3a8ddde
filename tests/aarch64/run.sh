#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the simulated card and its unit tests for AArch64 and runs them under QEMU's user emulation.
#   tests/aarch64/run.sh [BUILD_FOLDER]     (build/aarch64); QEMU names another emulator than qemu-aarch64
# SLUICE_SHORT makes the longest tests shorter. Each test that a program skips is printed; ends with "N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/aarch64}
export SLUICE_SHORT=1
cmake -G Ninja -S tests/aarch64 -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O2 \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
    -DCMAKE_CROSSCOMPILING_EMULATOR="${QEMU:-qemu-aarch64}" >/dev/null
cmake --build "$build"
status=0
ctest --test-dir "$build" -j "$(nproc)" --verbose --output-log "$build/tests.log" >/dev/null || status=$?

# What the programs print: "[ OK ] name", and "N ok, M failed, K skipped" at their end; ctest: what became of each program.
grep -aE '\[ (FAILED|SKIPPED) \]|_test\.[ch]:|flushes before|chosen:|Test +#.*(Passed|Failed|Exception|Timeout|Not Run)' "$build/tests.log" || true
passed=$(grep -acF '[ OK ]' "$build/tests.log" || true)
failed=$(grep -acE '\[ FAILED \]|\*\*\*(Exception|Timeout|Not Run)' "$build/tests.log" || true)
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
