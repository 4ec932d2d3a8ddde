# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by host/quickstart.sh and tests/run.sh: installs the Debian packages that are missing, and says which.

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config git libpcre2-dev libutf8proc-dev libevent-dev libssl-dev libjansson-dev libsodium-dev libinih-dev libxxhash-dev libpci-dev"

# need_packages PACKAGE...: returns at once when all are there.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "installing: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "sluice: these packages need root: apt-get install ${missing[*]}" >&2; return 1; }
        as_root=(sudo)
    fi
    local log
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update -q &&
           "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "sluice: apt-get could not install ${missing[*]} (its output is above)" >&2
        return 1
    fi
    rm -f "$log"
}

# build_preset PRESET TARGET...: configures once, builds, and prints only what went wrong.
build_preset() {
    local preset=$1 log
    shift
    log=$(mktemp)
    if [ ! -f "build/$preset/build.ninja" ] && ! cmake --preset "$preset" ${CMAKE_OPTIONS:-} >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    if ! cmake --build "build/$preset" --target "$@" >"$log" 2>&1; then
        grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking)' "$log" | tail -n 40 >&2
        echo "sluice: build/$preset does not build (the compiler's words are above)" >&2
        return 1
    fi
    rm -f "$log"
}
