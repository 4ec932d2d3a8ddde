#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the OpenCL kernels under oclgrind, which reports races between work-items and accesses outside of buffers.
#   tests/opencl/races.sh PROGRAM     builds of tests/unit/card/opencl_test.c and, PROGRAM_pages, opencl_pages_test.c
# Its LLVM turns some code into intrinsics that it cannot interpret: hence no optimization.
set -uo pipefail
program=${1:?usage: tests/opencl/races.sh PROGRAM}
report=$(mktemp)
trap 'rm -f "$report"' EXIT
passed=0 failed=0
for each in "$program" "${program}_pages"; do
    timeout 3000 oclgrind --data-races --build-options -cl-opt-disable --log "$report" "$each"
    status=$?
    cat "$report"
    if [ "$status" -ne 0 ] || [ -s "$report" ]; then failed=$((failed + 1)); else passed=$((passed + 1)); fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
