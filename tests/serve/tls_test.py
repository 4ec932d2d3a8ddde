#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server that speaks TLS: openssl s_client, Python's ssl and the openai client.  Usage: tls_test.py SLUICE"""
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

import openai

from server import GOOD_CHAT, Server, run_checks

BINARY = os.path.abspath(sys.argv[1])
FOLDER = tempfile.TemporaryDirectory()


def path(name):
    return os.path.join(FOLDER.name, name)


def openssl_tool(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, timeout=60)


def make(name, subject, *options, ca=None):
    """NAME.crt and NAME.key: signed by ca, or by itself."""
    made = openssl_tool("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={subject}",
                        "-keyout", path(name + ".key"), "-out", path(name + ".crt"), "-addext", "subjectAltName=IP:127.0.0.1,IP:0.0.0.0",
                        *(["-CA", path(ca + ".crt"), "-CAkey", path(ca + ".key")] if ca else []), *options)
    assert made.returncode == 0, made.stderr


def make_expired(name):
    """`openssl req` makes no certificate that ended yesterday; its little authority does."""
    with open(path("authority.cnf"), "w", encoding="utf-8") as file:
        file.write(f"[ca]\ndefault_ca = us\n[us]\ndatabase = {path('issued')}\nnew_certs_dir = {FOLDER.name}\nrand_serial = yes\n"
                   "default_md = sha256\npolicy = names\n[names]\ncommonName = supplied\n")
    open(path("issued"), "w", encoding="utf-8").close()
    asked = openssl_tool("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=old",
                         "-keyout", path(name + ".key"), "-out", path(name + ".csr"))
    made = openssl_tool("ca", "-batch", "-selfsign", "-config", path("authority.cnf"), "-keyfile", path(name + ".key"), "-in",
                        path(name + ".csr"), "-out", path(name + ".crt"), "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
    assert asked.returncode == 0 and made.returncode == 0, (asked, made)


class TlsServer(Server):
    """Its own requests go over TLS too."""

    def __init__(self, *options, name="server", trust="server", client=None):
        self.context = ssl.create_default_context(cafile=path(trust + ".crt"))
        if client:
            self.context.load_cert_chain(path(client + ".crt"), path(client + ".key"))
        super().__init__(BINARY, "--tls-cert", path(name + ".crt"), "--tls-key", path(name + ".key"), *options)

    def connect(self, timeout):
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)

    def client(self):
        return openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0, timeout=120,
                             http_client=openai.DefaultHttpxClient(verify=self.context))

    def common_name(self):
        with socket.create_connection((self.host, self.port), timeout=60) as plain:
            with self.context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                return dict(pair[0] for pair in secure.getpeercert()["subject"])["commonName"]


def s_client(server, *options):
    done = openssl_tool("s_client", "-connect", f"{server.host}:{server.port}", *options, stdin=b"GET /health HTTP/1.0\r\n\r\n")
    return done.returncode, done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def start_fails(says, *options):
    done = subprocess.run([BINARY, "serve", "--port", "0", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2) and says in done.stderr and done.stderr.startswith("sluice: "), done


def versions_and_ciphers():
    server = TlsServer()
    try:
        assert server.url.startswith("https://") or any("https://" in line for line in server.lines)
        for version in ("-tls1_2", "-tls1_3"):
            status, text = s_client(server, version, "-CAfile", path("server.crt"), "-alpn", "http/1.1")
            assert status == 0 and "Verify return code: 0 (ok)" in text and "ALPN protocol: http/1.1" in text, text
        for refused in (("-tls1",), ("-tls1_1",), ("-tls1_2", "-cipher", "AES128-SHA"), ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA")):
            status, text = s_client(server, *refused)
            assert "Cipher is (NONE)" in text or status != 0, (refused, text)
        status, text = s_client(server, "-tls1_2")
        assert "Secure Renegotiation IS supported" in text and "Compression: NONE" in text, text
        assert server.stop() == 0
    finally:
        server.kill()


def completions():
    server = TlsServer()
    try:
        client = server.client()
        whole = client.chat.completions.create(model="sluice-demo", **GOOD_CHAT).choices[0].message.content
        chunks = client.chat.completions.create(model="sluice-demo", stream=True, **GOOD_CHAT)
        assert whole and "".join(c.choices[0].delta.content or "" for c in chunks) == whole
        for _ in range(5):  # over one connection
            assert client.models.list().data[0].id == "sluice-demo"
        body = json.dumps(GOOD_CHAT | {"messages": [{"role": "user", "content": "x " * 300000}]}).encode()
        assert server.request("POST", "/v1/chat/completions", body)[0] == 400  # many records long
        assert server.stop() == 0
    finally:
        server.kill()


def those_who_speak_something_else():
    server = TlsServer()
    try:
        for first in (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\xff" * 3000, b""):
            with socket.create_connection((server.host, server.port), timeout=60) as sock:
                rest = b""
                try:
                    sock.sendall(first)
                    sock.shutdown(socket.SHUT_WR)
                    while chunk := sock.recv(4096):
                        rest += chunk
                except OSError:
                    pass  # the server has closed already
                assert b"HTTP/1.1 200" not in rest
        silent = [socket.create_connection((server.host, server.port)) for _ in range(50)]
        assert server.request("GET", "/health")[0] == 200
        for sock in silent:
            sock.close()
        assert server.stop() == 0
    finally:
        server.kill()


def a_client_that_leaves():
    server = TlsServer("--card", "ref")  # slow enough for its request to be still running
    try:
        stream = server.client().chat.completions.create(model="sluice-demo", stream=True, messages=GOOD_CHAT["messages"],
                                                         extra_body={"ignore_eos": True})
        next(iter(stream))
        server.wait_for(lambda: server.get("/ready")[1]["running"] == 1, 20)
        stream.close()
        server.wait_idle(20)
        assert server.stop() == 0
    finally:
        server.kill()


def clients_with_certificates():
    server = TlsServer("--tls-client-ca", path("ca.crt"), "--host", "0.0.0.0", client="client")
    try:
        assert server.request("GET", "/v1/models")[0] == 200
        for wrong in (None, "stranger"):
            context = ssl.create_default_context(cafile=path("server.crt"))
            if wrong:
                context.load_cert_chain(path(wrong + ".crt"), path(wrong + ".key"))
            try:
                connection = http.client.HTTPSConnection(server.host, server.port, timeout=60, context=context)
                connection.request("GET", "/v1/models")
                connection.getresponse()
            except (ssl.SSLError, ConnectionError):
                continue
            raise AssertionError(f"{wrong} came in")
        assert server.stop() == 0
    finally:
        server.kill()


def a_new_certificate_while_streams_run():
    for ending in ("crt", "key"):
        os.link(path("server." + ending), path("live." + ending))
    server = TlsServer("--card", "ref", name="live", trust="both")
    try:
        assert server.common_name() == "sluice-one"
        stream = iter(server.client().chat.completions.create(model="sluice-demo", stream=True, messages=GOOD_CHAT["messages"],
                                                              max_tokens=150, extra_body={"ignore_eos": True}))
        next(stream)
        for ending in ("crt", "key"):
            os.replace(path("second." + ending), path("live." + ending))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: any("certificate read again" in line for line in server.lines), 20)
        assert server.common_name() == "sluice-two"
        os.link(path("expired.crt"), path("expired-copy"))
        os.replace(path("expired-copy"), path("live.crt"))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: any("stays as it was" in line and "expired" in line for line in server.lines), 20)
        assert server.common_name() == "sluice-two"
        assert list(stream)[-1].choices[0].finish_reason == "length"
        assert server.stop() == 0
    finally:
        server.kill()


def what_cannot_be_started():
    good = ["--tls-cert", path("server.crt")]
    start_fails("expired on", "--tls-cert", path("expired.crt"), "--tls-key", path("expired.key"))
    start_fails("cannot use the private key", *good)  # not in the same file
    start_fails("key values mismatch", *good, "--tls-key", path("stranger.key"))
    assert openssl_tool("genrsa", "-out", path("rsa.key")).returncode == 0
    start_fails("not the certificate's private key", *good, "--tls-key", path("rsa.key"))
    start_fails("no-such.crt", "--tls-cert", path("no-such.crt"))
    start_fails("cannot use the certificate", "--tls-cert", __file__)
    start_fails("--tls-client-ca", *good, "--tls-key", path("server.key"), "--tls-client-ca", __file__)
    start_fails("need --tls-cert", "--tls-key", path("server.key"))
    locked = openssl_tool("pkey", "-in", path("server.key"), "-aes256", "-passout", "pass:x", "-out", path("locked.key"))
    assert locked.returncode == 0, locked
    start_fails("cannot use the private key", *good, "--tls-key", path("locked.key"))


if __name__ == "__main__":
    make("server", "sluice-one")
    make("second", "sluice-two")
    make_expired("expired")
    make("ca", "clients")
    make("client", "friend", ca="ca")
    make("stranger", "stranger")
    with open(path("both.crt"), "w", encoding="utf-8") as both:
        both.write(open(path("server.crt"), encoding="utf-8").read() + open(path("second.crt"), encoding="utf-8").read())
    sys.exit(run_checks([versions_and_ciphers, completions, those_who_speak_something_else, a_client_that_leaves,
                         clients_with_certificates, a_new_certificate_while_streams_run, what_cannot_be_started]))
