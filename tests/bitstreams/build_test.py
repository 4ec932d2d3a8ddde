#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bitstreams/build without Vitis: it stops cleanly; its files agree with the kernels; the check after a build finds what it
should in sample reports; and with stand-ins for AMD's tools the makefile goes its whole way. What v++ and Vivado themselves
would say is not tested here: no Vitis has seen these files."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "bitstreams/build"
SAMPLES = pathlib.Path(__file__).resolve().parent / "samples"
CARDS = {"u50": 2, "u55c": 3, "u280": 3}  # super logic regions of each
DESIGNS = ("engine", "matvec")
sys.path.insert(0, str(BUILD))
import check_build  # noqa: E402

# A stand-in for v++, vivado and xclbinutil: says a version, writes what -o or the last argument names, leaves reports.
STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "****** v++ v%(version)s (64-bit)"; exit 0; fi
echo "$(basename "$0") $*" >>"%(log)s"
out= last= reports=
while [ $# -gt 0 ]; do
  case $1 in -o) out=$2 ;; --report_dir) reports=$2 ;; esac
  last=$1; shift
done
echo content >"${out:-$last}"
if [ -n "$reports" ]; then mkdir -p "$reports" && cp %(samples)s/*.rpt "$reports"; fi
"""


def make(*arguments, path=None):
    """make in bitstreams/build; path: what is on the PATH before make, sh and python3."""
    with tempfile.TemporaryDirectory() as tools:
        for name in ("make", "sh", "python3", "sed", "head", "mkdir", "rm", "cp", "basename", "git"):
            # This interpreter itself: what is called python3 may be a script that needs more than the PATH has.
            os.symlink(os.path.realpath(sys.executable) if name == "python3" else shutil.which(name), f"{tools}/{name}")
        return subprocess.run(["make", "-C", BUILD, *arguments], capture_output=True, text=True,
                              env={"PATH": f"{path}:{tools}" if path else tools})


def connectivity(card, design):
    lines = (BUILD / f"connectivity/{card}_{design}.cfg").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    return lines[0], [tuple(line.split("=", 1)) for line in lines[1:]]


def pointer_arguments(design):
    """Arguments that need memory: from the kernel XML, or from the HLS engine's declaration."""
    if design == "matvec":
        root = xml.etree.ElementTree.parse(BUILD / "kernel_matvec.xml").getroot()
        return {a.get("name") for a in root.iter("arg") if a.get("addressQualifier") == "1"}
    text = "".join((ROOT / "kernels/hls" / name).read_text() for name in ("hls_engine.h", "hls_types.h"))
    declaration = re.search(r"void sluice_engine\((.*?)\);", text, re.S)[1]
    banks = re.search(r"#define HLS_BANKS (.*)", text)[1]
    return set(re.findall(r"\*(\w+)", declaration.replace("HLS_BANKS", banks)))


class WithoutVitis(unittest.TestCase):
    def test_stops_with_the_reason_and_writes_nothing(self):
        for card in CARDS:
            for design in DESIGNS:
                with tempfile.TemporaryDirectory() as folder:
                    run = make(f"CARD={card}", f"DESIGN={design}", f"OUT={folder}/out")
                    self.assertNotEqual(run.returncode, 0)
                    self.assertIn("v++ is not on the PATH", run.stderr)
                    self.assertIn("xilinx_" + card, run.stderr)
                    self.assertIn("--card sim", run.stderr)
                    self.assertFalse(pathlib.Path(folder, "out").exists())

    def test_unknown_card_and_design_are_named(self):
        for argument, known in (("CARD=u9", "u55c"), ("DESIGN=other", "matvec")):
            run = make(argument, "info")
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(argument + " is not known", run.stderr)
            self.assertIn(known, run.stderr)

    def test_info_names_platform_and_versions(self):
        run = make("CARD=u280", "info")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("xilinx_u280_gen3x16_xdma_1_202211_1", run.stdout)
        self.assertIn("2023.2", run.stdout)


class WithStandIns(unittest.TestCase):
    def build(self, folder, samples, version="2023.2", card="u55c"):
        tools = pathlib.Path(folder, "tools")
        tools.mkdir()
        for name in ("v++", "vivado", "xclbinutil"):
            text = STAND_IN % {"version": version, "log": f"{folder}/log", "samples": SAMPLES / samples}
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        return make(f"CARD={card}", "DESIGN=matvec", f"OUT={folder}/out", path=tools)

    def test_whole_way(self):
        with tempfile.TemporaryDirectory() as folder:
            run = self.build(folder, "kept")
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            manifest = json.loads(pathlib.Path(folder, "out/sluice_u55c_matvec.json").read_text())
            content = pathlib.Path(folder, "out/sluice_u55c_matvec.xclbin").read_bytes()
            self.assertEqual(manifest["sha256"], hashlib.sha256(content).hexdigest())
            self.assertEqual(manifest["platform"], "xilinx_u55c_gen3x16_xdma_3_202210_1")
            self.assertEqual(manifest["tools"], "2023.2")
            abi = re.search(r"CARD_ABI_VERSION (\d+)", (ROOT / "kernels/abi/card_program.h").read_text())[1]
            self.assertEqual((manifest["schema"], manifest["abi_version"]), (2, int(abi)))
            self.assertTrue(manifest["promises_kept"])
            self.assertEqual(manifest["timing"], {"setup_ns": 0.021, "hold_ns": 0.010})
            self.assertEqual(manifest["compute_units"]["matvec_1"], {"LUT": 11800, "FF": 14500, "BRAM18": 15, "URAM": 0, "DSP": 72})
            log = pathlib.Path(folder, "log").read_text()
            self.assertIn("--kernel_frequency 300", log)
            self.assertIn("u55c_matvec.cfg", log)

    def test_a_broken_promise_fails_the_build_and_is_recorded(self):
        with tempfile.TemporaryDirectory() as folder:
            run = self.build(folder, "broken")
            self.assertNotEqual(run.returncode, 0)
            manifest = json.loads(pathlib.Path(folder, "out/sluice_u55c_matvec.json").read_text())
            self.assertFalse(manifest["promises_kept"])
            text = "\n".join(manifest["broken"])
            for part in ("setup slack is -0.317 ns at 300 MHz", "274 MHz would meet", "matvec_1 takes 15800 LUT", "721600 LUT of 1035680"):
                self.assertIn(part, text)
            self.assertEqual(len(manifest["broken"]), 3, text)

    def test_a_version_that_is_not_listed_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            run = self.build(folder, "kept", version="2024.1", card="u280")
            self.assertNotEqual(run.returncode, 0)
            self.assertIn("version '2024.1'", run.stderr)
            self.assertFalse(pathlib.Path(folder, "out").exists())


class Files(unittest.TestCase):
    def test_connectivity_joins_every_pointer_of_every_unit_to_memory_that_is_there(self):
        for card, regions in CARDS.items():
            for design in DESIGNS:
                with self.subTest(card=card, design=design):
                    section, entries = connectivity(card, design)
                    self.assertEqual(section, "[connectivity]")
                    kernel, count, names = dict(entries)["nk"].split(":")
                    self.assertEqual(kernel, check_build.KERNEL[design])
                    units = names.split(",")
                    self.assertEqual(len(set(units)), int(count))
                    memory = {}
                    for key, value in entries:
                        if key == "sp":
                            match = re.fullmatch(r"(\w+)\.(\w+):HBM\[(\d+)(?::(\d+))?\]", value)
                            self.assertIsNotNone(match, value)
                            self.assertNotIn((match[1], match[2]), memory)
                            memory[match[1], match[2]] = (int(match[3]), int(match[4] or match[3]))
                    self.assertEqual(set(memory), {(u, a) for u in units for a in pointer_arguments(design)})
                    for first, last in memory.values():
                        self.assertTrue(0 <= first <= last < 32)
                    places = dict(value.split(":") for key, value in entries if key == "slr")
                    self.assertEqual(set(places), set(units))
                    self.assertTrue(set(places.values()) <= {f"SLR{n}" for n in range(regions)})
                    self.assertEqual({key for key, _ in entries}, {"nk", "sp", "slr"})

    def test_banks_and_kernels_share_no_channel(self):
        for card in CARDS:
            used = [v for k, v in connectivity(card, "matvec")[1] if k == "sp" and ".weight" in v]
            self.assertEqual(len({v.split(":", 1)[1] for v in used}), len(used))
            banks = [re.findall(r"\d+", v.split(":", 1)[1]) for k, v in connectivity(card, "engine")[1] if k == "sp" and ".bank" in v]
            channels = [c for first, last in banks for c in range(int(first), int(last) + 1)]
            self.assertEqual(sorted(channels), list(range(32)))

    def test_kernel_xml_has_the_registers_of_the_rtl(self):
        rtl = (ROOT / "kernels/rtl/control_registers.sv").read_text()
        registers = {name: (0x10 + int(low) // 8, (int(high) - int(low) + 1) // 8)
                     for name, high, low in re.findall(r"assign (\w+) = arguments\[(\d+):(\d+)\]", rtl)}
        root = xml.etree.ElementTree.parse(BUILD / "kernel_matvec.xml").getroot()
        described = {a.get("name"): (int(a.get("offset"), 16), int(a.get("size"), 16)) for a in root.iter("arg")}
        self.assertEqual(described, registers)
        self.assertEqual(len(described), 5)
        top = (ROOT / "kernels/rtl/sluice_matvec_int4.sv").read_text()
        for port in root.iter("port"):
            self.assertRegex(top, rf"\b{port.get('name')}_awvalid\b")
            self.assertRegex(top, rf"\[{int(port.get('dataWidth')) - 1}:0\]\s+{port.get('name')}_wdata\b")
        self.assertEqual(root.find("kernel").get("name"), check_build.KERNEL["matvec"])


class CheckBuild(unittest.TestCase):
    def run_check(self, reports, design, edit=lambda folder: None):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            shutil.copytree(SAMPLES / reports, folder / "reports")
            if design == "engine":
                for path in folder.glob("reports/*util_routed.rpt"):
                    path.write_text(path.read_text().replace("sluice_matvec_int4", "sluice_engine     "))
            edit(folder / "reports")
            (folder / "x.xclbin").write_bytes(b"bits")
            run = subprocess.run([sys.executable, BUILD / "check_build.py", "--card", "u55c", "--design", design, "--platform", "p", "--tools", "2023.2",
                                  "--clock", "300", "--reports", folder / "reports", "--xclbin", folder / "x.xclbin",
                                  "--manifest", folder / "m.json", "--hls", SAMPLES / "hls"], capture_output=True, text=True)
            return run.returncode, json.loads((folder / "m.json").read_text())

    def test_loops_of_the_engine(self):
        code, manifest = self.run_check("kept", "engine")
        self.assertEqual((code, manifest["broken"]), (0, []))
        self.assertEqual(manifest["loops"], {"rows_copy_words": 1, "add_up": 4})
        code, manifest = self.run_check("broken", "engine")
        self.assertEqual(code, 1)
        self.assertIn("the loop add_up promises II 4, reached is 9", manifest["broken"])

    def test_a_loop_that_is_gone_or_not_pipelined_breaks_the_promise(self):
        def edit(reports):
            path = reports / "sample_csynth.rpt"
            path.write_text(path.read_text().replace("rows_copy_words", "other").replace("|          4|          4|    10|       yes|",
                                                                                         "|          -|          -|    10|        no|"))
        code, manifest = self.run_check("kept", "engine", edit)
        self.assertEqual(code, 1)
        self.assertIn("no report names the loop copy_words, which promises II 1", manifest["broken"])
        self.assertIn("the loop add_up promises II 4, reached is none: it is not pipelined", manifest["broken"])

    def test_a_missing_report_breaks_the_promise(self):
        for pattern, text in (("*timing*", "no timing summary"), ("*util*", "no utilisation")):
            code, manifest = self.run_check("kept", "matvec", lambda reports: [p.unlink() for p in reports.glob(pattern)])
            self.assertEqual(code, 1)
            self.assertTrue(any(text in line for line in manifest["broken"]), manifest["broken"])

    def test_every_pipelined_loop_of_the_kernels_has_a_label_and_a_number(self):
        folder = ROOT / "kernels/hls"
        pragmas = sum(len(re.findall(r"^\s*HLS_PIPELINE\(", p.read_text(), re.M)) for p in folder.glob("*.c"))
        self.assertEqual(len(check_build.promised_loops(folder)), pragmas)
        self.assertGreater(pragmas, 0)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2, argv=[sys.argv[0]])
    wrong = len(program.result.failures) + len(program.result.errors)
    print(f"{program.result.testsRun - wrong} passed, {wrong} failed")
    sys.exit(1 if wrong else 0)
