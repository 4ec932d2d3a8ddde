#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server on a socket in the file system.  Usage: unix_socket_test.py SLUICE"""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile

from server import GOOD_CHAT, Server, run_checks

BINARY = os.path.abspath(sys.argv[1])
FOLDER = tempfile.TemporaryDirectory()
PATH = os.path.join(FOLDER.name, "sluice.sock")
LONG = GOOD_CHAT | {"ignore_eos": True, "max_tokens": 100000}


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(PATH)


class UnixServer(Server):
    def __init__(self, *options):
        super().__init__(BINARY, "--host", "unix:" + PATH, *options)

    def listens_on(self, url):
        assert url == "unix:" + PATH, url

    def connect(self, timeout):
        return UnixConnection("localhost", timeout=timeout)


def post_bytes(body):
    body = json.dumps(body).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def raw(data, shut):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(PATH)
    sock.sendall(data)
    if shut:
        sock.shutdown(socket.SHUT_WR)
    return sock


def read_all(sock):
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    return answer


def completions():
    server = UnixServer()
    try:
        status, answer = server.post("/v1/chat/completions", GOOD_CHAT)
        assert status == 200 and answer["choices"][0]["message"]["content"]
        done = subprocess.run(["curl", "-s", "--unix-socket", PATH, "http://localhost/health"], capture_output=True, text=True, timeout=60)
        assert done.stdout == '{"status":"ok"}', done
        with raw(post_bytes(GOOD_CHAT | {"max_tokens": 200, "ignore_eos": True}), shut=True) as sock:  # it still gets its answer
            assert b'"completion_tokens":200' in read_all(sock).replace(b" ", b"")
        assert server.stop() == 0 and not os.path.exists(PATH)
    finally:
        server.kill()


def clients_that_leave():
    server = UnixServer("--card", "ref")  # slow enough for what they asked for to be still running
    try:
        for stream in (False, True):
            for shut in (False, True):
                sock = raw(post_bytes(LONG | {"stream": stream}), shut)
                server.wait_for(lambda: server.get("/ready")[1]["running"] == 1, 20)
                sock.close()
                server.wait_idle(20)
        assert server.stop() == 0
    finally:
        server.kill()


def what_is_there_already():
    first = UnixServer()
    try:
        done = subprocess.run([BINARY, "serve", "--host", "unix:" + PATH], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and PATH in done.stderr and "listens there" in done.stderr, done
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(60)
        assert os.path.exists(PATH)
        second = UnixServer()  # takes the place of one that has died
        try:
            assert second.request("GET", "/health")[0] == 200 and second.stop() == 0
        finally:
            second.kill()
    finally:
        first.kill()


class InheritingServer(UnixServer):
    """Its socket is open before it starts, as systemd does it: a client may come, and waits."""

    def __init__(self, sock, *options):
        self.sock = sock
        os.environ["SLUICE_TEST_BINARY"] = BINARY
        Server.__init__(self, "/bin/sh", *options)

    def command(self, binary, options):
        return [binary, "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$SLUICE_TEST_BINARY" serve 3<&{self.sock.fileno()} "$@"', "sh", *options]

    def listens_on(self, url):
        assert url == "unix", url


def a_socket_from_outside():
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(PATH)
    sock.listen()
    early = raw(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", shut=False)
    os.set_inheritable(sock.fileno(), True)
    server = InheritingServer(sock)
    try:
        assert read_all(early).startswith(b"HTTP/1.1 200")
        assert server.post("/v1/chat/completions", GOOD_CHAT)[0] == 200
        assert server.stop() == 0 and os.path.exists(PATH)  # it is not the server's to remove
    finally:
        server.kill()
        os.unlink(PATH)
    for wrong in ("LISTEN_FDS=2", "LISTEN_FDS=x", "LISTEN_FDS=1"):  # the last: descriptor 3 is no socket
        done = subprocess.run(["/bin/sh", "-c", f'LISTEN_PID=$$ {wrong} exec "$0" serve --port 0 3</dev/null', BINARY],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "LISTEN_FDS" in done.stderr, done


if __name__ == "__main__":
    sys.exit(run_checks([completions, clients_that_leave, what_is_there_already, a_socket_from_outside]))
