#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the OpenCL kernels under oclgrind, which reports races between work-items and accesses outside of buffers.
#   tests/opencl/races.sh PROGRAM     a build of tests/unit/card/opencl_test.c with claim_fma.c
# Its LLVM turns some code into intrinsics that it cannot interpret: hence no optimization.
set -uo pipefail
program=${1:?usage: tests/opencl/races.sh PROGRAM}
report=$(mktemp)
trap 'rm -f "$report"' EXIT
timeout 3000 oclgrind --data-races --build-options -cl-opt-disable --log "$report" "$program"
status=$?
cat "$report"
if [ "$status" -ne 0 ] || [ -s "$report" ]; then
    echo "0 passed, 1 failed"
    exit 1
fi
echo "1 passed, 0 failed"
