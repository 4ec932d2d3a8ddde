#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What clients cost the server in memory.  Usage: serve_memory.py SLUICE [--tls] [--idle N] [--streams N] [--requests N]

Prints JSON lines: bytes of the server's resident memory for each of N idle keep-alive connections, for each of N event
streams that wait in the queue (behind one that runs), and resident memory after all of N requests against after 1,000.
Meanwhile a good request is answered at every stage, and at the end all is given back.
"""
import argparse
import http.client
import json
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "serve"))
from server import GOOD_CHAT, Server  # noqa: E402  (the path comes first)


def emit(**item):
    print(json.dumps({"bench": "serve_memory", **item}), flush=True)


def resident(server):
    for line in open(f"/proc/{server.process.pid}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS")


class TlsServer(Server):
    def connect(self, timeout):
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=ssl._create_unverified_context())


def request_bytes(method, path, body=None):
    text = "" if body is None else json.dumps(body)
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            f"{text}").encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sluice")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=100000)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = tempfile.TemporaryDirectory(prefix="sluice-memory-")
    options = ["--max-queue", str(args.streams + 100), "--max-seqs", "1"]
    if args.tls:
        pem = os.path.join(folder.name, "pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-keyout", pem, "-out", pem + ".crt"], check=True, capture_output=True)
        options += ["--tls-cert", pem + ".crt", "--tls-key", pem]
    server = (TlsServer if args.tls else Server)(os.path.abspath(args.sluice), *options)
    context = ssl._create_unverified_context()

    def client():
        plain = socket.create_connection((server.host, server.port), timeout=120)
        return context.wrap_socket(plain, server_hostname="localhost") if args.tls else plain

    def good():
        status, answer = server.post("/v1/chat/completions", GOOD_CHAT)
        assert status == 200 and answer["choices"], answer

    good()
    before = resident(server)
    idle = []
    for _ in range(args.idle):
        connection = client()
        connection.sendall(request_bytes("GET", "/health"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        idle.append(connection)
    good()
    emit(what="idle connection", tls=args.tls, n=len(idle), bytes_each=round((resident(server) - before) / max(1, len(idle))))
    for connection in idle:
        connection.close()

    before = resident(server)
    body = {**GOOD_CHAT, "stream": True, "ignore_eos": True, "max_tokens": 900, "n": 1}
    streams = []
    for _ in range(args.streams):
        connection = client()
        connection.sendall(request_bytes("POST", "/v1/chat/completions", body))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        streams.append(connection)
    waiting = server.get("/ready")[1]["waiting"]
    emit(what="waiting stream", tls=args.tls, n=len(streams), waiting=waiting,
         bytes_each=round((resident(server) - before) / max(1, len(streams))))
    for connection in streams:
        connection.close()
    server.wait_idle(300)

    connection = server.connect(120)
    early = None
    for i in range(args.requests):
        connection.request("POST", "/v1/chat/completions", json.dumps({**GOOD_CHAT, "max_tokens": 1}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
        if i + 1 == 1000:
            early = resident(server)
    if early:
        emit(what="growth", tls=args.tls, requests=args.requests, ratio=round(resident(server) / early, 4))
    connection.close()
    server.wait_idle()
    assert server.stop() == 0 and not server.errors, server.errors
    folder.cleanup()


main()
