# SPDX-License-Identifier: Apache-2.0
"""What both tests share: a server of their own to talk to, and a list of checks that ends with a count."""
import http.client
import json
import pathlib
import struct
import subprocess
import sys
import threading
import time
import traceback

GOOD_CHAT = {"messages": [{"role": "user", "content": "How do I list the cards?"}], "temperature": 0, "max_tokens": 24}


class Server:
    """`sluice serve` with the demo model on a free port of the loopback address."""

    def __init__(self, binary, *options, wait_ready=True, preexec=None):
        self.process = subprocess.Popen(self.command(binary, options), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, bufsize=1, preexec_fn=preexec, close_fds=False)
        self.lines, self.errors = [], []
        self.threads = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in
                        ((self.process.stdout, self.lines), (self.process.stderr, self.errors))]
        for thread in self.threads:
            thread.start()
        line = self.wait_for(lambda: next((l for l in self.lines if "listening on " in l), None), 60)
        self.listens_on(line.split("listening on ")[1].split()[0])
        if wait_ready:
            self.wait_for(lambda: self.get("/ready")[0] == 200, 120)

    def command(self, binary, options):
        return [binary, "serve", "--port", "0", *options]

    def listens_on(self, url):
        self.url = url
        self.host, port = url.split("://")[1].rsplit(":", 1)
        self.port = int(port)

    def _read(self, stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_for(self, probe, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = probe()
            if value:
                return value
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended ({self.process.returncode}): {self.errors}")
            time.sleep(0.01)
        raise AssertionError(f"waited {seconds} s in vain; the server said {self.lines} {self.errors}")

    def connect(self, timeout):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=120):
        """Status, headers and body, over a connection of its own. body: bytes, or what becomes JSON."""
        connection = self.connect(timeout)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if headers is None:
            headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path):
        status, _, body = self.request("GET", path)
        return status, json.loads(body)

    def post(self, path, body):
        status, _, answer = self.request("POST", path, body)
        return status, json.loads(answer)

    def wait_idle(self, seconds=60):
        """Until no sequence runs or waits and every KV page is back."""
        def idle():
            state = self.get("/ready")[1]
            return all(state[name] == 0 for name in ("running", "waiting", "pages_used", "pages_reserved"))
        self.wait_for(idle, seconds)

    def stop(self, signals=1, seconds=60):
        """SIGTERM; returns the exit status."""
        for _ in range(signals):
            self.process.terminate()
        self.process.wait(seconds)
        for thread in self.threads:
            thread.join(5)
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def with_template(path, template):
    """The demo model with another chat template, padded so that the tensors keep their alignment."""
    model = (pathlib.Path(__file__).parents[2] / "host/model/demo/demo.gguf").read_bytes()
    at = model.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template") + 4
    length = struct.unpack_from("<Q", model, at)[0]
    text = template.encode()
    text += b"{#" + b" " * ((length - len(text) - 4) % 32) + b"#}"
    path.write_bytes(model[:at] + struct.pack("<Q", len(text)) + text + model[at + 8 + length:])


def run_checks(checks):
    """Calls each function, prints a line for each and the count; the exit status for sys.exit."""
    passed = failed = 0
    for check in checks:
        started = time.monotonic()
        try:
            check()
        except Exception:
            failed += 1
            print(f"FAILED {check.__name__}")
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print(f"ok     {check.__name__}  ({time.monotonic() - started:.2f} s)")
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
