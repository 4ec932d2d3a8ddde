#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's kernel in QEMU (TCG: no virtualisation needed) with a PCI bus that has hot-pluggable slots and an IOMMU, runs
pci_machine.c in it, and does from outside what it asks for. Prints its checks and their count.

usage: pci_machine.py PROGRAM [--work FOLDER]      PROGRAM is build/release/tests/pci_machine"""
import argparse
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

KERNEL = "linux-image-cloud-amd64"  # the smallest of Debian's kernels, with vfio, PCIe hot-plug and the Intel IOMMU
MODULES = ["irqbypass", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]
SECONDS = 1500  # until a machine that says nothing more is ended
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in %s; do [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko; done
echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
/bin/pci_machine
poweroff -f
"""
# The machine's time goes by its instructions, not by ours: a busy host makes it slow, but not late (a kernel that finds its timer
# late while it starts up gives up).
MACHINE = ["-icount", "shift=2", "-machine", "q35", "-cpu", "qemu64", "-smp", "1", "-m", "256", "-nodefaults", "-no-reboot", "-display", "none",
           "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",  # slots are the kernel's own, by PCI Express
           "-device", "intel-iommu,intremap=off",
           "-device", "pcie-root-port,id=slot1,chassis=1,slot=1", "-device", "pcie-root-port,id=slot2,chassis=2,slot=2",
           "-device", "edu,id=edu1,bus=slot1", "-device", "virtio-rng-pci,id=rng1,bus=slot2,disable-legacy=on,aer=on"]


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def download(folder):
    """The newest kernel of Debian's archive; its name has its version."""
    package = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", KERNEL))[1]
    run("apt-get", "download", "-q", package, cwd=folder)
    return next(folder.glob("*.deb"))


def fetch_kernel(work):
    """The kernel's package, unpacked: it is not installed, the machine that tests keeps its own."""
    root = work / "kernel"
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        try:
            package = download(root)
        except (subprocess.CalledProcessError, TypeError):  # no lists of packages, or old ones
            run(*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "update", "-q")
            package = download(root)
        run("dpkg", "-x", str(package), str(root / "files"))
        package.unlink()
        (root / "done").touch()
    return root / "files"


def entry(name, mode, data=b"", node=0):
    """One file of an initramfs (cpio, the format that the kernel calls newc)."""
    name = name.encode() + b"\0"
    fields = [node, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    pad = lambda block: block + b"\0" * (-len(block) % 4)
    return pad(header) + pad(data)


def libraries(program):
    """What ldd says that a program loads, its loader included."""
    return sorted(set(re.findall(r"(/\S+) \(0x", run("ldd", str(program)))))


def make_initramfs(program, kernel, out):
    files = {"init": (INIT % " ".join(MODULES)).encode(), "bin/busybox": pathlib.Path("/bin/busybox").read_bytes(),
             "bin/pci_machine": program.read_bytes()}
    for library in libraries(program):
        files[library.lstrip("/")] = pathlib.Path(library).read_bytes()
    for module in MODULES:
        found = next(iter(kernel.glob(f"lib/modules/*/kernel/**/{module}.ko")), None)
        if found:
            files[f"modules/{module}.ko"] = found.read_bytes()
    folders = {"proc", "sys", "dev", "tmp"} | {str(p) for name in files for p in pathlib.PurePath(name).parents if str(p) != "."}
    parts = [entry(name, 0o040755) for name in sorted(folders, key=len)]
    parts += [entry(name, 0o100755, data) for name, data in files.items()] + [entry("TRAILER!!!", 0)]
    out.write_bytes(gzip.compress(b"".join(parts), 1))


class Monitor:
    """QEMU's control socket (QMP)."""

    def __init__(self, path):
        self.socket, self.gone = socket.socket(socket.AF_UNIX), set()
        for _ in range(600):
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                time.sleep(0.1)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self.call("qmp_capabilities")

    def read(self):
        message = json.loads(self.stream.readline())
        if message.get("event") == "DEVICE_DELETED" and "device" in message["data"]:
            self.gone.add(message["data"]["device"])
        return message

    def call(self, command, **arguments):
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        answer = self.read()
        while "return" not in answer and "error" not in answer:
            answer = self.read()
        return answer

    def until_gone(self, device):
        """Its slot is free again only then."""
        while device not in self.gone:
            self.read()


def converse(qemu, monitor):
    """Prints what the machine says and does what it asks for. True if it came to its end."""
    for line in qemu.stdout:
        line = line.rstrip("\r\n")
        if line == "@unplug":
            monitor.call("device_del", id="edu1")
        elif line == "@plug":
            monitor.until_gone("edu1")
            monitor.call("device_add", driver="edu", id="edu2", bus="slot1")
        elif line == "@plug again":  # after the surprise
            monitor.until_gone("edu2")
            monitor.call("device_add", driver="edu", id="edu3", bus="slot1")
        elif line.startswith("@error "):
            kind, *flags = reversed(line.split()[1:])
            answer = monitor.call("human-monitor-command", **{"command-line": " ".join(["pcie_aer_inject_error", *flags, "rng1", kind])})
            if not answer.get("return", "").startswith("OK"):
                print(f"       {line}: {answer}", flush=True)
        elif line == "@end":
            return True
        else:
            print(line, flush=True)
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/qemu"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the machine ends too
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    kernel = fetch_kernel(work)
    make_initramfs(options.program, kernel, work / "initramfs.gz")
    control = pathlib.Path(f"/tmp/sluice-qemu-{os.getpid()}.sock")
    command = ["timeout", "-k", "5", str(SECONDS), "qemu-system-x86_64", "-accel", "tcg", *MACHINE,
               "-kernel", str(next(kernel.glob("boot/vmlinuz-*"))), "-initrd", str(work / "initramfs.gz"),
               "-append", "console=ttyS0 quiet intel_iommu=on no_timer_check panic=-1", "-serial", "stdio", "-qmp", f"unix:{control},server=on,wait=off"]
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        ended = converse(qemu, Monitor(control))
    finally:
        qemu.terminate()
        qemu.wait()
        control.unlink(missing_ok=True)
    if not ended:
        print("the machine stopped before its end\n0 passed, 1 failed")
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
