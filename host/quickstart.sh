#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to an answer: installs what is missing, builds, serves the demo model on the loopback address,
# asks it a question and prints how to go on. Safe to run again; the second run takes seconds.
#   host/quickstart.sh [QUESTION]
set -euo pipefail
cd "$(dirname "$0")/.."
. host/packages.sh
question=${1:-How do I list the cards?}

need_packages $BUILD_PACKAGES curl jq ca-certificates
[ -x build/release/sluice ] || echo "building (about half a minute)"
build_preset release sluice

sluice=build/release/sluice
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; } || true
    rm -rf "$work"
}
trap stop EXIT

# The usual port, or a free one when somebody has it.
start() {
    "$sluice" serve --port "$1" >"$work/out" 2>"$work/err" &
    server=$!
    for _ in $(seq 600); do
        url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$work/out")
        [ -n "$url" ] && curl -sf -o "$work/ready" "$url/ready" && return 0
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}
start 8080 || { kill "$server" 2>/dev/null || true; start 0; } || { cat "$work/err" >&2; exit 1; }

body=$(jq -n --arg q "$question" '{messages: [{role: "user", content: $q}], temperature: 0, stream: true, stream_options: {include_usage: true}}')
echo
echo "> $question"
started=$EPOCHREALTIME
curl -sSfN "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$body" |
    sed -un 's/^data: \({.*\)$/\1/p' | tee "$work/chunks" |
    jq --unbuffered -rj '.choices[0].delta.content // empty' ||
    { echo "sluice: the server gave no answer:" >&2; cat "$work/err" >&2; exit 1; }
ended=$EPOCHREALTIME
jq -rs --argjson s "$started" --argjson e "$ended" \
    'map(.usage // empty) | last | "\n\n\(.completion_tokens) tokens in \(($e - $s) * 1000 | round) ms: \(.completion_tokens / ($e - $s) | round) tokens/s, prompt and connection included"' \
    "$work/chunks"
cat <<EOF

Keep it serving:   $sluice serve
Ask it:            curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\
                     -d '{"messages": [{"role": "user", "content": "What is 17 + 25?"}]}'
Chat here:         $sluice run
Your own model:    $sluice serve MODEL.gguf
EOF
