#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`--card xrt` with XRT's own libraries, by their hw_emu and sw_emu, over our device process: whole models and the server.

usage: emulation_test.py SLUICE [--completions N] [--every]     (40 completions of each emulation; --every: more ways for each model)

Needs Debian's libxrt-dev and libxrt1; without them, or with a version that the shim's repairs are not for, it says so and
counts as skipped.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/serve"))
from server import Server, run_checks  # noqa: E402

TOKENS = ",".join(str((i * 37 + 5) % 200) for i in range(75))
MODES = ("hw_emu", "sw_emu")
DEMO = ROOT / "host/model/demo/demo.gguf"
ARGS = argparse.ArgumentParser()
ARGS.add_argument("sluice")
ARGS.add_argument("--completions", type=int, default=40)
ARGS.add_argument("--every", action="store_true")
ARGS = ARGS.parse_args()
SLUICE = os.path.abspath(ARGS.sluice)
BUILD = os.path.dirname(SLUICE)
PLAIN = dict(os.environ)


def emulation(mode):
    """The environment that sim/xrt/emulate.sh gives to what it runs; None and its words where there is no emulation."""
    done = subprocess.run([ROOT / "sim/xrt/emulate.sh", mode, BUILD, "env", "-0"], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line), None


RUNS = tempfile.TemporaryDirectory(prefix="sluice-xrt")


class Environments(dict):
    """By mode. Each time with another folder for XRT, which stumbles over what a process of the same number has left."""

    def __getitem__(self, mode):
        return super().__getitem__(mode) | {"SDACCEL_EM_RUN_DIR": tempfile.mkdtemp(dir=RUNS.name)}


ENVIRONMENT = Environments()


def logits(card, model, *way, env=PLAIN):
    done = subprocess.run([SLUICE, "logits", model, "--card", card, "--tokens", TOKENS, "--out", "-", *way],
                          capture_output=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert len(done.stdout) >= 75 * 4
    return done.stdout


def fails(card, env, *wanted):
    """A run ends with status 1 and one line that has all of `wanted`."""
    done = subprocess.run([SLUICE, "run", "--card", card, "-p", "Hello"], capture_output=True, text=True, timeout=300, env=env)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and all(text in last for text in wanted), (done.returncode, done.stderr)


def models():
    """All with --every; otherwise what differs in the operations that they use."""
    folders = ["*"] if ARGS.every else ["llama*", "qwen2", "qwen3", "qwen3_moe", "deepseek_v32", "qwen3_next"]
    files = [file for folder in folders for file in (ROOT / "tests/fixtures/models").glob(f"{folder}/model-*.gguf")]
    return [*sorted(files), DEMO]


def same_logits():
    """Every fixture and the demo model: the bytes of `sim`."""
    for model in models():
        ways = [[], ["--chunk", "7", "--beside", "3"], ["--cached"]] if ARGS.every else [[]]
        if model.parent.name.startswith(("kimi_linear", "qwen3_5", "qwen3_next", "t5")):  # prefixes do not carry these on
            ways = ways[:2]
        for way in ways:
            want = logits("sim", model, *way)
            for mode in MODES:
                assert logits("xrt", model, *way, env=ENVIRONMENT[mode]) == want, (model, mode, way)


def same_logits_by_the_hls_code():
    for model in models() if ARGS.every else [DEMO]:
        assert logits("xrt", model, env=ENVIRONMENT["hw_emu"] | {"SLUICE_XRT_ENGINE": "hls"}) == logits("sim", model), model


def same_logits_with_streamed_experts():
    model = next(m for m in models() if m.parent.name == "qwen3_moe")
    want = logits("sim", model)
    for mode in MODES:
        assert logits("xrt", model, "--expert-slots", "6", "--chunk", "7", env=ENVIRONMENT[mode]) == want, mode


def answers(env, card):
    os.environ.clear()
    os.environ.update(env)
    server = Server(SLUICE, "--card", card, "--ctx", "256")
    try:
        def ask(i):
            return server.post("/v1/chat/completions", {"model": "sluice-demo", "temperature": 0, "max_tokens": 12, "messages": [
                {"role": "user", "content": f"What is {i % 97} + {i // 7 % 89}?"}]})
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(ARGS.completions)))
        server.wait_idle()
        assert server.stop() == 0, server.errors
        assert all(status == 200 for status, _ in found), [answer for status, answer in found if status != 200][:1]
        return [answer["choices"][0]["message"]["content"] for _, answer in found]
    finally:
        server.kill()
        os.environ.clear()
        os.environ.update(PLAIN)


def same_answers_of_the_server():
    want = answers(PLAIN, "sim")
    for mode in MODES:
        assert answers(ENVIRONMENT[mode], "xrt") == want, mode
    print(f"       {ARGS.completions} completions by each of {', '.join(MODES)}")


def server_survives(extra, card, *wanted):
    """The card fails in the middle of a completion: that one and later ones say so, the server stays."""
    for mode in MODES:
        os.environ.clear()
        os.environ.update(ENVIRONMENT[mode] | extra)
        server = Server(SLUICE, "--card", card, "--ctx", "256")
        try:
            for _ in range(2):
                status, answer = server.post("/v1/chat/completions", {"model": "sluice-demo", "max_tokens": 200, "temperature": 0,
                                             "messages": [{"role": "user", "content": "How do I list the cards?"}]})
                assert status >= 500 and all(text in answer["error"]["message"] for text in wanted), (mode, status, answer)
            assert server.get("/health")[0] in (200, 503) and server.process.poll() is None
            assert server.stop() == 0, server.errors
        finally:
            server.kill()
            os.environ.clear()
            os.environ.update(PLAIN)


def server_survives_a_dead_device():
    server_survives({"SLUICE_XRT_DIE_AT": "4"}, "xrt", "XRT card 0 is lost")


def server_reports_a_hang():
    server_survives({"SLUICE_XRT_HANG_AT": "4"}, "xrt:watchdog=800", "the card hangs")


def a_killed_server_leaves_nothing():
    """The process that holds XRT, and the device behind it, end with the server."""
    mark = f"SLUICE_XRT_MARK={os.getpid()}"

    def left():
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark.encode() in path.read_bytes():
                    found.append(path)
            except OSError:
                continue
        return found
    os.environ.update(ENVIRONMENT["hw_emu"] | dict([mark.split("=")]))
    try:
        server = Server(SLUICE, "--card", "xrt", "--ctx", "256")
    finally:
        os.environ.clear()
        os.environ.update(PLAIN)
    assert len(left()) >= 3, left()
    server.kill()
    for _ in range(3000):
        if not left():
            return
        subprocess.run(["sleep", "0.01"], check=True)
    raise AssertionError(left())


def bad_input_has_its_message():
    env = ENVIRONMENT["hw_emu"]
    bitstream = pathlib.Path(env["SLUICE_BITSTREAM"])
    fails("xrt:fast", env, "card xrt:fast", "expected")
    fails("xrt", {k: v for k, v in env.items() if k != "SLUICE_BITSTREAM"}, "which bitstream", "bitstream=FILE")
    fails("xrt", {k: v for k, v in env.items() if k != "SLUICE_UNSIGNED_BITSTREAMS"}, "not signed", "sluice bitstream sign")
    fails("xrt", {k: v for k, v in env.items() if k != "XCL_EMULATION_MODE"}, "XCL_EMULATION_MODE")
    fails("xrt:bitstream=/nowhere.xclbin", env, "/nowhere.xclbin")
    with tempfile.TemporaryDirectory() as folder:
        cut = pathlib.Path(folder) / "cut.xclbin"
        cut.write_bytes(bitstream.read_bytes()[:3000])
        fails(f"xrt:bitstream={cut}", env, str(cut))
        flat = pathlib.Path(folder) / "flat.xclbin"  # the same for a card: XRT looks for one
        content = bytearray(bitstream.read_bytes())
        content[332:334] = b"\0\0"
        flat.write_bytes(content)
        real = {k: v for k, v in env.items() if not k.startswith(("XCL_", "XRT_"))}
        fails(f"xrt:5,bitstream={flat},unsigned", real | {"XILINX_XRT": "/usr"}, "XRT card 5", "sluice doctor")
        fails(f"xrt:5,bitstream={flat},unsigned", {k: v for k, v in real.items() if k != "XILINX_XRT"}, "XILINX_XRT")
        alone = pathlib.Path(folder) / "sluice"
        shutil.copy2(SLUICE, alone)
        done = subprocess.run([alone, "run", "--card", "xrt", "-p", "Hello"], capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == 1 and "sluice-xrt is not beside sluice" in done.stderr, done.stderr


def starts_without_xrt():
    """No XRT library is loaded by sluice itself."""
    needed = subprocess.run(["readelf", "-d", SLUICE], capture_output=True, text=True, check=True).stdout
    assert "libc.so" in needed and "xrt" not in needed, needed


for mode_name in MODES:
    ENVIRONMENT[mode_name], why = emulation(mode_name)
    if why is not None:
        print(f"skip emulation: {why}\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
sys.exit(run_checks([starts_without_xrt, bad_input_has_its_message, same_logits, same_logits_by_the_hls_code,
                     same_logits_with_streamed_experts, same_answers_of_the_server, server_survives_a_dead_device,
                     server_reports_a_hang, a_killed_server_leaves_nothing]))
