#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The card behind XRT's emulation: its interface in both emulations, and the kernels' programs against the simulator, bit for bit.
#   tests/xrt/card_tests.sh BUILD [every]     every: all programs in both emulations (minutes), else a few
set -uo pipefail
build=${1:?usage: tests/xrt/card_tests.sh BUILD [every]} every=${2:-}
here=$(cd "$(dirname "$0")" && pwd) passed=0 failed=0
emulate=$here/../../sim/xrt/emulate.sh
if ! why=$("$emulate" hw_emu "$build" true 2>&1); then
    echo "skip emulation: $why"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
try() { # MODE PROGRAM
    if "$emulate" "$1" "$build" timeout 900 "$build/tests/$2"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED $1 $2"; fi
}
for mode in hw_emu sw_emu; do
    try $mode xrt_card_test
    for program in tables vectors elements choices sequence matmul attention; do
        if [ -n "$every" ] || [ $mode-$program = hw_emu-tables ] || [ $mode-$program = sw_emu-vectors ]; then try $mode kernels_xrt_${program}_test; fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
