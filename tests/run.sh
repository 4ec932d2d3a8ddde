#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, runs all tests and ends with a count.
#   tests/run.sh          every check in its short form (what CI runs)
#   tests/run.sh --long   the full figures; rewrites tests/LONG.md
#   tests/run.sh --only WORD   the checks whose name contains WORD
# The output of each check is kept in build/test-logs/.
set -uo pipefail
cd "$(dirname "$0")/.."
. host/packages.sh
long=no only=
while [ $# -gt 0 ]; do
    case $1 in
    --long) long=yes ;;
    --only) only=${2:?--only needs a word} && shift ;;
    *) echo "usage: tests/run.sh [--long] [--only WORD]" >&2; exit 2 ;;
    esac
    shift
done

need_packages $BUILD_PACKAGES libcmocka-dev curl jq ca-certificates procps openssl python3 python3-venv clang clang-format libclang-rt-14-dev \
    ocl-icd-opencl-dev opencl-headers pocl-opencl-icd oclgrind g++ make verilator yosys \
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libxrt-dev libxrt1 uuid-dev binutils unzip || exit 1
if [ $long = yes ]; then need_packages qemu-system-x86 busybox-static || exit 1; fi
mkdir -p build/test-logs
venv=build/venv
if ! cmp -s tests/requirements.txt "$venv/installed.txt"; then
    echo "preparing Python packages for the tests"
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt; } >build/test-logs/venv.log 2>&1 ||
        { cat build/test-logs/venv.log >&2; exit 1; }
    cp tests/requirements.txt "$venv/installed.txt"
fi
python=$venv/bin/python
passed=0 failed=0 skipped=0 rows=

# check NAME COMMAND...: runs it, counts what its last lines say ("N passed, M failed[, K skipped]", or ctest's), and prints one line.
check() {
    local name=$1 log=build/test-logs/$1.log status=0 started=$SECONDS counts p f k=0
    shift
    [[ $name == *"$only"* ]] || return 0
    "$@" >"$log" 2>&1 </dev/null || status=$?
    counts=$(sed -nE -e 's/.*\b([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?.*/\1 \2 0\4/p' \
        -e 's/.*, ([0-9]+) tests failed out of ([0-9]+)$/ctest \1 \2/p' "$log" | tail -n 1)
    case $counts in
    ctest*) read -r _ f p <<<"$counts"; p=$((p - f)) ;;
    "") p=$((status == 0)) f=$((status != 0)) ;;
    *) read -r p f k <<<"$counts"; k=$((10#$k)) ;;
    esac
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ "$status" -eq 0 ] && [ "$p" -eq 0 ]; then f=1; echo "no test ran" >>"$log"; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + k))
    rows+="| $name | $p | $f | $((SECONDS - started)) |"$'\n'
    if [ "$f" -eq 0 ]; then
        printf 'ok      %-28s %4d passed  %4d s\n' "$name" "$p" $((SECONDS - started))
    else
        printf 'FAILED  %-28s %4d passed, %d failed  (%s)\n' "$name" "$p" "$f" "$log"
        tail -n 25 "$log" | sed 's/^/        /'
    fi
    [ "$k" -eq 0 ] || grep -aE '^ *skip' "$log" | sed 's/^/        /'
}

unit_tests() { # PRESET [ctest options]
    local preset=$1
    shift
    ctest --test-dir "build/$preset" --output-on-failure "$@"
}

echo "building: release, with sanitizers, and the fuzzers"
for preset in release asan tsan; do
    CMAKE_OPTIONS="-DSLUICE_TESTS=ON" build_preset $preset all || exit 1
    if [ $preset = release ] && ! grep -q SLUICE_OPENCL:BOOL=ON build/release/CMakeCache.txt; then # configured before OpenCL came
        { cmake -DSLUICE_OPENCL=ON build/release >/dev/null && build_preset release all; } || exit 1
    fi
    if ! grep -q SLUICE_XRT:BOOL=ON build/$preset/CMakeCache.txt; then # configured before XRT came
        { cmake -DSLUICE_XRT=ON build/$preset >/dev/null && build_preset $preset all; } || exit 1
    fi
    grep -q SLUICE_TESTS:BOOL=ON build/$preset/CMakeCache.txt || { cmake -DSLUICE_TESTS=ON "build/$preset" >/dev/null && build_preset $preset all; } || exit 1
done
build_preset fuzz all || exit 1
sluice=build/release/sluice
asan=build/asan/sluice
tsan=build/tsan/sluice
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
demo=host/model/demo/demo.gguf

# Short and long forms of the same checks.
damaged=60 templates=300 schemas=40 fuzz_seconds=15 every=4 rtl_operands=400000 xrt_cards= xrt_models="--completions 40" bits_models= strings=1000
if [ $long = yes ]; then
    damaged=300 templates=10000 schemas=2000 fuzz_seconds=60 every=1 rtl_operands=50000000 bits_models=--every strings=100000
    xrt_cards=every xrt_models="--completions 1000 --every"
fi

check lint $python tests/lint/lint.py
check lint-refuses $python tests/lint/lint_test.py
check hls-lint $python tests/lint/hls_lint.py
check hls-lint-refuses $python tests/lint/hls_lint_test.py
check unit unit_tests release
check unit-asan unit_tests asan
check unit-tsan unit_tests tsan -R '^(engine|serve|card|sim)/|^model/(slc|upload)_test'
check aarch64 bash tests/aarch64/run.sh
check logits-ref $python tests/models/check_logits.py $sluice --card ref
check logits-sim $python tests/models/check_logits.py $sluice --card sim
check logits-opencl $python tests/models/same_bits.py $sluice --cards sim,opencl $bits_models
check opencl-races bash tests/opencl/races.sh build/release/tests/opencl_races
check xrt-card bash tests/xrt/card_tests.sh build/release $xrt_cards
check xrt-models $python tests/xrt/emulation_test.py $sluice $xrt_models
check commands $python tests/cli/commands_test.py $sluice
if [ $long = yes ]; then check pci-machine $python tests/qemu/pci_machine.py build/release/tests/pci_machine; fi
check plan $python tests/cli/plan_test.py $sluice
check virtual-times $python tests/cli/virtual_times_test.py $sluice
check openai-client $python tests/serve/openai_client_test.py $sluice
check tokenizer-roundtrip build/asan/tests/tokenizer_roundtrip $strings 20261121 tests/fixtures/tokenizers/*.gguf tests/fixtures/tokenizers/json/*.json
check structure $python tests/serve/structure_test.py $sluice --count $schemas
check tools $python tests/serve/tools_test.py $sluice
check jinja-differential $python tests/text/jinja_differential.py $sluice --count $templates
if [ -d "${JSON_SCHEMA_TEST_SUITE:-}" ]; then check json-schema-suite $python tests/text/json_schema_suite.py build/release/tests/schema_accepts "$JSON_SCHEMA_TEST_SUITE"; fi
check items $python tests/serve/items_test.py $sluice
check openapi $python tests/serve/openapi_test.py $sluice
check endpoints $python tests/serve/endpoints_test.py $sluice
check unix-socket $python tests/serve/unix_socket_test.py $sluice
check rpc-asan $python tests/serve/rpc_test.py $asan build/asan/tests/rpc_client
check tls $python tests/serve/tls_test.py $sluice
check keys $python tests/serve/keys_test.py $sluice
check http-abuse-asan $python tests/serve/http_abuse_test.py $asan
check openai-client-tsan $python tests/serve/openai_client_test.py $tsan
check damaged-models-asan $python tests/faults/damaged_models.py $asan $demo --count $damaged
check demo-answers $python host/model/demo/evaluate.py --sluice $sluice --every $every --at-least 0.88
for fuzzer in build/fuzz/tests/fuzz/fuzz_*; do
    [ -x "$fuzzer" ] && [ -f "$fuzzer" ] || continue
    name=$(basename "$fuzzer")
    mkdir -p "build/fuzz/found/$name"
    check "${name/_/-}" "$fuzzer" -max_total_time=$fuzz_seconds -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/found/$name/" "build/fuzz/found/$name" "tests/fuzz/corpus/${name#fuzz_}"
done
if [ $long = yes ]; then check card-math-all env SLUICE_LONG=1 build/release/tests/unit_card_card_math_test; fi
check rtl bash tests/rtl/run.sh build/release $rtl_operands
check rtl-resources $python tests/rtl/resources.py --log build/test-logs/yosys.log
check validation $python tests/bench/validation/validate.py $sluice --exact
check bitstream-build $python tests/bitstreams/build_test.py
check quickstart bash tests/cli/quickstart_test.sh

# The larger reference sets, where they lie beside the project.
if [ -d ../shared/fixtures ]; then
    families=llama,llama_k256,qwen2,qwen3,qwen3_moe
    check shared-logits-ref $python ../shared/fixtures/compare_logits.py $sluice ../shared/fixtures --card ref --families $families --kinds f32,q8_0,q4_0,q4_k
    check shared-logits-sim $python ../shared/fixtures/compare_logits.py $sluice ../shared/fixtures --card sim --families $families --kinds q8_0,q4_0,q4_k
    check shared-tokenizers $python ../shared/fixtures/tokenizers/check.py $sluice ../shared/fixtures/tokenizers
fi
if [ -d ../shared/vectors/chat ]; then
    check shared-templates $python ../shared/vectors/chat/check.py $sluice ../shared/vectors/chat/templates.jsonl
fi

write_long_report() {
    {
        echo "# The full figures"
        echo
        echo "Written by \`tests/run.sh --long\` on $(date -u +%F), revision $(git describe --always --dirty --abbrev=12 --exclude='*')."
        echo "Machine: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), $(. /etc/os-release && echo "$PRETTY_NAME")."
        echo
        echo "| check | passed | failed | seconds |"
        echo "|---|---|---|---|"
        printf '%s' "$rows"
        echo
        echo "\`tests/bench/first_token.py build/release/sluice --quickstart\` and \`sluice bench\`:"
        echo
        echo '```'
        $python tests/bench/first_token.py $sluice --quickstart
        for threads in 1 2; do $sluice bench -p 512 -n 128 -t $threads -b 1; done
        $sluice bench -p 128 -n 64 -t 2 -b 8
        echo '```'
        echo
        echo "Demo model, held-out questions (\`host/model/demo/evaluate.py\`):"
        echo
        echo '```'
        grep -a '^{' build/test-logs/demo-answers.log
        echo '```'
    } >build/LONG.md && mv build/LONG.md tests/LONG.md
}
if [ $long = yes ] && [ -z "$only" ]; then write_long_report; fi

echo "(${SECONDS} s)"
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
