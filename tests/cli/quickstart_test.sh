#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The quickstart on a machine where everything is installed: it answers, says how to go on, and leaves nothing running.
set -uo pipefail
cd "$(dirname "$0")/../.."
passed=0 failed=0
expect() {
    if "${@:2}"; then echo "ok   $1"; passed=$((passed + 1)); else echo "FAIL $1"; failed=$((failed + 1)); fi
}
out=$(host/quickstart.sh 2>&1)
status=$?
echo "$out"
expect "exits with 0" [ $status -eq 0 ]
expect "answers the question" grep -q 'sluice cards' <<<"$out"
expect "says tokens per second" grep -Eq '[0-9]+ tokens/s' <<<"$out"
expect "prints the command that keeps serving" grep -q 'sluice serve' <<<"$out"
expect "prints a curl line" grep -q 'curl http://127.0.0.1' <<<"$out"
expect "leaves no server behind" sh -c '! pgrep -f "^build/release/sluice serve --port (8080|0)$"'
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
