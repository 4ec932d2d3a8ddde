#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command with XRT's emulation and the simulated card behind it: what it calls XRT device 0 is sluice-xrt-device.
#   sim/xrt/emulate.sh MODE BUILD COMMAND...     MODE: hw_emu or sw_emu; BUILD: the folder with sluice and sluice-xrt-device
# For example: sim/xrt/emulate.sh hw_emu build/release build/release/sluice run --card xrt
# Shims, bitstream and settings are made once, in BUILD/xrt. SLUICE_XRT_BANK_BYTES (1 GiB): of each of the card's 4 banks.
set -euo pipefail
usage() { sed -n '3,6s/^# //p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
mode=$1 build=$(cd "$2" && pwd) here=$(cd "$(dirname "$0")" && pwd)
shift 2
case $mode in hw_emu | sw_emu) ;; *) usage ;; esac
root=$build/xrt bank_bytes=${SLUICE_XRT_BANK_BYTES:-1073741824}
bitstream=$root/$mode-$bank_bytes.xclbin

prepare() {
    if [ "$here/shim/repairs.c" -nt "$root/lib/libxrt_swemu.so.2" ]; then "$here/shim/build.sh" "$root"; fi
    local model=$root/vitis/data/emulation/unified/cpu_em/generic_pcie/model bank='{"Size":"4G"}'
    mkdir -p "$model"
    ln -sfn "$build/sluice-xrt-device" "$model/genericpciemodel"
    printf '[Emulation]\nsystem_dpa=false\nprint_infos_in_console=false\npacket_size=65536\n' >"$root/new"
    mv "$root/new" "$root/xrt.ini"
    # Banks as large as XRT 2.13 takes; it reads sizes of three digits. Those of hw_emu are the bitstream's.
    printf '{"Version":{"FileVersion":"2.0","ToolVersion":"0"},"Platform":{"UnifiedPlatform":"true","ExpandedPR":"true","Boards":[{"NumBoards":"1","Devices":[{"Name":"sluice_u55c_simulator_1","NumDevices":"1","DdrBanks":[%s,%s,%s,%s]}]}]}}\n' \
        "$bank" "$bank" "$bank" "$bank" >"$root/new"
    mv "$root/new" "$root/emconfig.json"
    "$build/sluice" bitstream build "$root/new" --mode "$mode" --card u55c --bank-bytes "$bank_bytes" >/dev/null
    mv "$root/new" "$bitstream"
}
mkdir -p "$root"
exec 9>"$root/lock"
flock 9
prepare
exec 9>&-

# XRT makes a folder there by the number of its process, and stumbles over one that it finds.
run=$(mktemp -d "${TMPDIR:-/tmp}/sluice-xrt.XXXXXX")
trap 'rm -rf "$run"' EXIT
export USER=${USER:-sluice} XILINX_XRT=$root XILINX_VITIS=$root/vitis EMCONFIG_PATH=$root SDACCEL_EM_RUN_DIR=$run \
    XCL_EMULATION_MODE=$mode XRT_INI_PATH=$root/xrt.ini SW_EMU_PACKET_SIZE=65536 SLUICE_XRT_DEVICE=$build/sluice-xrt-device \
    SLUICE_BITSTREAM=$bitstream SLUICE_UNSIGNED_BITSTREAMS=1
"$@"
