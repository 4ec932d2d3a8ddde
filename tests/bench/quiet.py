# SPDX-License-Identifier: Apache-2.0
"""Runs programs on a machine that should do nothing else, and tells when it did: every figure that was measured beside other
work is marked. llama.cpp with two threads falls to a fortieth of its speed beside one busy loop, so this decides ratios."""
import os
import subprocess
import sys
import tempfile
import time

LIMIT = 0.05     # cores that others may use, on the average of a run
TICKS = 0.05     # seconds that the kernel's counting by ticks may be wrong
ATTEMPTS = 3     # of each run, while it is disturbed


def busy_seconds():
    """Seconds of all cores together since boot: every process, interrupts, and what a hypervisor took away."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet(longest, window=1.0):
    """Waits for one window without other work, for `longest` seconds at most."""
    end = time.monotonic() + longest
    while time.monotonic() < end:
        before = busy_seconds()
        time.sleep(window)
        if busy_seconds() - before <= LIMIT * window + TICKS:
            return


class Run:
    """One run of a program: what it printed, its wall time, its peak resident memory, and the cores that others used."""

    def __init__(self, command):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            before, start = busy_seconds(), time.monotonic()
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            others = busy_seconds() - before - usage.ru_utime - usage.ru_stime
            out.seek(0), errors.seek(0)
            self.out = out.read().decode()
            if process.returncode != 0:
                raise SystemExit(f"{' '.join(map(str, command))}: exit status {process.returncode}\n"
                                 + errors.read().decode(errors="replace")[-2000:])
        self.peak_bytes = usage.ru_maxrss * 1024  # VmHWM; this program's own is far below any model's
        self.other_cores = max(0.0, others / self.seconds)
        self.disturbed = others > LIMIT * self.seconds + TICKS


def run_quiet(command, longest_wait):
    """The first undisturbed run of ATTEMPTS, or the least disturbed of them."""
    best = None
    for _ in range(ATTEMPTS):
        wait_until_quiet(longest_wait)
        run = Run(command)
        if best is None or run.other_cores < best.other_cores:
            best = run
        if not run.disturbed:
            return run
        print(f"disturbed: {run.other_cores:.2f} cores were busy with other work: {' '.join(map(str, command))}",
              file=sys.stderr, flush=True)
        if longest_wait <= 0:
            break
    return best
