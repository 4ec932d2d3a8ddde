#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`--card xrt` with XRT's own libraries, by their hw_emu and sw_emu, over our device process: whole models and the server.

usage: emulation_test.py SLUICE [--completions N] [--every] [--only WORD]     (40 completions of each emulation; --every: more ways for each model)

Needs Debian's libxrt-dev and libxrt1; without them, or with a version that the shim's repairs are not for, it says so and
counts as skipped.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import socket
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
ARGS.add_argument("--only", default="", metavar="WORD")
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
    server_survives({"SLUICE_XRT_HANG_AT": "4"}, "xrt:watchdog=5000", "the card hangs")


def hot_plug(action, address):
    """A message of the kernel: its header, then texts, each with its zero byte."""
    texts = [f"{action}@/devices/pci0000:3a/{address}", f"ACTION={action}", "SUBSYSTEM=pci", f"PCI_SLOT_NAME={address}"]
    return b"".join(text.encode() + b"\0" for text in texts)


def server_notices_a_card_that_is_pulled_out():
    """By the kernel's messages, which are fed to it here: said once, and every answer tells it; the server stays."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    its.set_inheritable(True)
    os.set_blocking(its.fileno(), False)
    chat = {"model": "sluice-demo", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    os.environ.clear()
    os.environ.update(ENVIRONMENT["hw_emu"] | {"SLUICE_PCI_EVENTS_FD": str(its.fileno())})
    server = None
    try:
        server = Server(SLUICE, "--card", "xrt:address=0000:3b:00.1", "--ctx", "256")
        cards = lambda: server.get("/v1/cards")[1]["data"]  # noqa: E731
        said = lambda words: sum(words in line for line in server.lines)  # noqa: E731
        ours.send(b"nonsense")
        ours.send(hot_plug("remove", "0000:af:00.1"))  # another card
        ours.send(hot_plug("bind", "0000:3b:00.1"))
        assert server.post("/v1/chat/completions", chat)[0] == 200
        assert cards()[0]["state"] == "ready" and cards()[0]["address"] == "0000:3b:00.1", cards()
        ours.send(hot_plug("remove", "0000:3b:00.0"))  # management first, as the kernel does it
        ours.send(hot_plug("remove", "0000:3b:00.1"))
        server.wait_for(lambda: cards()[0]["state"] == "gone", 60)
        status, answer = server.post("/v1/chat/completions", chat)
        assert status == 503 and "0000:3b:00.1 has gone from the bus" in answer["error"]["message"], (status, answer)
        assert server.get("/ready")[0] == 503 and server.get("/ready")[1]["status"] == "card gone"
        assert server.get("/health")[0] == 200
        metrics = server.request("GET", "/metrics")[2].decode()
        assert "\nsluice_cards_removed_total 1\n" in metrics and "\nsluice_ready 0\n" in metrics, metrics
        ours.send(hot_plug("add", "0000:3b:00.1"))
        server.wait_for(lambda: said("is back on the bus"), 60)
        assert said("has gone from the bus") == 1, server.lines
        assert server.stop() == 0, server.errors
    finally:
        if server:
            server.kill()
        os.environ.clear()
        os.environ.update(PLAIN)
        ours.close()
        its.close()


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
    whole = pathlib.Path(env["SLUICE_BITSTREAM"])
    fails("xrt:fast", env, "card xrt:fast", "expected")
    fails("xrt", {k: v for k, v in env.items() if k != "SLUICE_BITSTREAM"}, "which bitstream", "bitstream=FILE")
    fails("xrt", {k: v for k, v in env.items() if k != "SLUICE_UNSIGNED_BITSTREAMS"}, "not signed", "sluice bitstream sign")
    fails("xrt", {k: v for k, v in env.items() if k != "XCL_EMULATION_MODE"}, "XCL_EMULATION_MODE")
    fails("xrt:bitstream=/nowhere.xclbin", env, "/nowhere.xclbin")
    with tempfile.TemporaryDirectory() as folder:
        cut = pathlib.Path(folder) / "cut.xclbin"
        cut.write_bytes(whole.read_bytes()[:3000])
        fails(f"xrt:bitstream={cut}", env, str(cut))
        flat = pathlib.Path(folder) / "flat.xclbin"  # the same for a card: XRT looks for one
        content = bytearray(whole.read_bytes())
        content[332:334] = b"\0\0"
        flat.write_bytes(content)
        real = {k: v for k, v in env.items() if not k.startswith(("XCL_", "XRT_"))}
        fails(f"xrt:5,bitstream={flat},unsigned", real | {"XILINX_XRT": "/usr"}, "XRT card 5", "sluice doctor")
        fails(f"xrt:5,bitstream={flat},unsigned", {k: v for k, v in real.items() if k != "XILINX_XRT"}, "XILINX_XRT")
        alone = pathlib.Path(folder) / "sluice"
        shutil.copy2(SLUICE, alone)
        done = subprocess.run([alone, "run", "--card", "xrt", "-p", "Hello"], capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == 1 and "sluice-xrt is not beside sluice" in done.stderr, done.stderr


def serve_refuses(card, env, *wanted):
    """The server ends with status 1 before it is ready, and says why."""
    done = subprocess.run([SLUICE, "serve", "--port", "0", "--card", card], capture_output=True, text=True, timeout=300, env=env)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and all(text in last for text in wanted), (done.returncode, done.stdout, done.stderr)


def bitstream(env, *arguments):
    subprocess.run([SLUICE, "bitstream", *map(str, arguments)], check=True, capture_output=True, timeout=60, env=env)


def server_takes_signed_bitstreams_only():
    """The policy that holds unless the administrator says otherwise: signed by a key of the folder of trusted ones, and unchanged."""
    env = {k: v for k, v in ENVIRONMENT["hw_emu"].items() if k != "SLUICE_UNSIGNED_BITSTREAMS"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        file, keys = folder / "x.xclbin", folder / "trusted"
        shutil.copy(env["SLUICE_BITSTREAM"], file)
        keys.mkdir(mode=0o755)
        for name in ("ours", "theirs"):
            bitstream(env, "keys", folder / name)
        shutil.copy(folder / "ours.pub", keys)
        card = f"xrt:bitstream={file},keys={keys}"
        serve_refuses(card, env, "x.xclbin", "it is not signed", "sluice bitstream sign")
        bitstream(env, "sign", file, "--key", folder / "theirs.key")
        serve_refuses(card, env, "x.xclbin", "is not in", "trusted")
        serve_refuses(card + ",unsigned", env, "x.xclbin", "is not in", "trusted")
        bitstream(env, "sign", file, "--key", folder / "ours.key")
        os.environ.clear()
        os.environ.update(env)
        try:
            server = Server(SLUICE, "--card", card, "--ctx", "256")
            try:
                assert server.get("/v1/cards")[1]["data"][0]["backend"] == "xrt"
                assert server.stop() == 0, server.errors
            finally:
                server.kill()
        finally:
            os.environ.clear()
            os.environ.update(PLAIN)
        whole = file.read_bytes()
        file.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
        serve_refuses(card, env, "x.xclbin")
        file.write_bytes(whole[:len(whole) // 2])
        serve_refuses(card + ",unsigned", env, "x.xclbin")
        file.write_bytes(whole)
        signature = pathlib.Path(f"{file}.sig")
        signature.write_text(signature.read_text().replace("a", "b"))
        serve_refuses(card, env, "x.xclbin")


def speaks_this_abi_and_the_one_before():
    """The one before gets no program that it would not understand; of another nothing is loaded: XRT's process is not even looked for."""
    env, version = ENVIRONMENT["hw_emu"], int(re.search(r"card ABI (\d+)", subprocess.run(
        [SLUICE, "--version"], capture_output=True, text=True, check=True).stdout)[1])
    model = next(m for m in models() if "moe" in str(m))
    with tempfile.TemporaryDirectory() as folder:
        for abi in range(version - 2, version + 2):
            file = f"{folder}/{abi}.xclbin"
            bitstream(env, "build", file, "--bank-bytes", 1 << 30, "--abi", abi)
            if version - 1 <= abi <= version:
                for way in ([], ["--expert-slots", "5", "--chunk", "7"]):
                    got = logits(f"xrt:bitstream={file}", model, *way, env=ENVIRONMENT["hw_emu"])
                    assert got == logits("sim", model), (abi, way)
            else:
                fails(f"xrt:bitstream={file}", env | {"SLUICE_XRT_PROCESS": "/nowhere"}, f"{abi}.xclbin", f"card ABI {abi}",
                      f"this release speaks {version} and {version - 1}")


def starts_without_xrt():
    """No XRT library is loaded by sluice itself."""
    needed = subprocess.run(["readelf", "-d", SLUICE], capture_output=True, text=True, check=True).stdout
    assert "libc.so" in needed and "xrt" not in needed, needed


for mode_name in MODES:
    ENVIRONMENT[mode_name], why = emulation(mode_name)
    if why is not None:
        print(f"skip emulation: {why}\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
CHECKS = [starts_without_xrt, bad_input_has_its_message, same_logits, same_logits_by_the_hls_code,
          same_logits_with_streamed_experts, same_answers_of_the_server, server_takes_signed_bitstreams_only,
          speaks_this_abi_and_the_one_before, server_survives_a_dead_device, server_reports_a_hang,
          server_notices_a_card_that_is_pulled_out, a_killed_server_leaves_nothing]
sys.exit(run_checks([check for check in CHECKS if ARGS.only in check.__name__]))
