#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Links XRT's emulation shims from the static archives of Debian's libxrt-dev, with repairs.c in place of three functions.
#   sim/xrt/shim/build.sh FOLDER      makes FOLDER/lib/libxrt_hwemu.so.2 and libxrt_swemu.so.2: XILINX_XRT=FOLDER
# Nothing of it may be shipped; another version of the package is refused, as repairs.c knows the places of members.
set -euo pipefail
folder=${1:?usage: sim/xrt/shim/build.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
known=202210.2.13.466+dfsg-8
found=$(dpkg-query -W -f '${Version}' libxrt-dev 2>/dev/null || true)
if [ "$found" != "$known" ]; then
    echo "XRT emulation: libxrt-dev ${found:-is not installed}, the repairs are for $known (apt-get install libxrt-dev=$known)" >&2
    exit 1
fi
system=/usr/lib/$(gcc -print-multiarch)
mkdir -p "$folder/lib"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

relink() { # NAME MANGLED-CLASS COMPILER-OPTIONS...: one shim
    local name=$1 class=$2 symbol libraries
    shift 2
    local replaced=("_ZN${class}10alloc_voidEm" "_ZN${class}11xclExecWaitEi" _ZN11unix_socket7sk_readEPvm)
    local weaken=()
    nm "$system/libxrt_$name.a" 2>/dev/null >"$work/symbols"
    for symbol in "${replaced[@]}"; do
        grep -q " T $symbol\$" "$work/symbols" || { echo "XRT emulation: libxrt_$name.a has no $symbol" >&2; exit 1; }
        weaken+=("--weaken-symbol=$symbol")
    done
    objcopy "${weaken[@]}" "$system/libxrt_$name.a" "$work/libxrt_$name.a"
    gcc -O2 -fPIC -Wall -Wextra "$@" -c -o "$work/$name.o" "$here/repairs.c"
    # What the package's own shim needs, by full name: the link names of development packages may be missing.
    libraries=$(ldd "$system/libxrt_$name.so.2" | sed -nE 's/.*lib(uuid|xrt_coreutil|boost_filesystem|protobuf|stdc\+\+|m)\.so[^ ]* => ([^ ]+).*/\2/p')
    # shellcheck disable=SC2086
    gcc -shared -o "$work/libxrt_$name.so.2" -Wl,-soname,"libxrt_$name.so.2" "$work/$name.o" \
        -Wl,--whole-archive "$work/libxrt_$name.a" -Wl,--no-whole-archive $libraries -pthread
    mv "$work/libxrt_$name.so.2" "$folder/lib/"
}
relink hwemu 11xclhwemhal28HwEmShim -DSHIM_HWEMU
relink swemu 12xclcpuemhal29CpuemShim
