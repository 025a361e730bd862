"""Real object stores on loopback, and a range server whose faults and delays are known."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

KEY, SECRET = "testkey", "testsecret"
# The emulator's published account.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_PATIENCE_S = 120
# What the range server of the fixture `serving` serves.
BODY = bytes(range(256)) * 64


def forget_clients() -> None:
    """Clients are kept by what the environment said when they were made: after a change of it they are made again."""
    from tracekit.storage import objects, obstore_client, sdk_client

    for cached in (objects._client_of, objects._uploads_of, obstore_client._made, sdk_client.s3_client):
        cached.cache_clear()


def lasting_port() -> int:
    """A TCP port nobody listens on, outside the range from which the system takes ports: no server of a test beside this one gets it."""
    for _ in range(200):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def _free_pairs(count: int) -> list[int]:
    """Ports whose gRPC companions 10,000 above are free as well, since SeaweedFS takes both: all lasting ones, and all different."""
    found: list[int] = []
    for port in random.sample(range(12_000, 22_000), 500):
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


def weed() -> str | None:
    """SeaweedFS's program, from its wheel or the system."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def azurite() -> list[str] | None:
    """The command that starts Azurite's blob service: as the Makefile installs it, or the system's."""
    script = Path(sys.prefix, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
    node = shutil.which("node")
    if node and script.exists():
        return [node, str(script)]
    program = shutil.which("azurite-blob")
    return [program] if program else None


@contextlib.contextmanager
def seaweed(directory: Path) -> Iterator[str]:
    """SeaweedFS with its S3 gateway, which checks signatures; yields the endpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip(("master", "volume", "filer", "s3"), _free_pairs(4), strict=True))
    command = [
        str(weed()), "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={directory}",
        "-master.telemetry=false", f"-master.port={ports['master']}", f"-volume.port={ports['volume']}", "-filer",
        f"-filer.port={ports['filer']}", "-volume.preStopSeconds=0", "-volume.max=500", "-master.volumeSizeLimitMB=256", "-s3",
        f"-s3.port={ports['s3']}", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    with _running(command, directory / "log", lambda: answers(endpoint)):
        yield endpoint


@contextlib.contextmanager
def azure(directory: Path) -> Iterator[str]:
    """Azurite; yields the account's blob endpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    port = lasting_port()
    words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(directory), "--silent"]
    command = [*(azurite() or []), *words, "--skipApiVersionCheck", "--loose", "--disableTelemetry"]
    base = f"http://127.0.0.1:{port}"
    with _running(command, directory / "log", lambda: answers(base)):
        yield f"{base}/{ACCOUNT}"


@contextlib.contextmanager
def _running(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        end = time.monotonic() + _PATIENCE_S
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether a server answers there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _refusal(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@contextlib.contextmanager
def ranges(port: int) -> Iterator[subprocess.Popen[str]]:
    """The benchmark's range server as a process of its own on a port; it may be killed."""
    script = Path(__file__).parents[2] / "bench" / "range_server.py"
    with subprocess.Popen([sys.executable, str(script), str(port)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(port)
        try:
            yield process
        finally:
            process.kill()


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate authority and a key with a certificate for one host name; the files of both: (authority, key and chain)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(timezone.utc)

    def signed(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> bytes:
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
        builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(subject == issuer, None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, mine = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    secret = mine.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "authority.pem").write_bytes(signed("authority.test", authority, "authority.test", authority))
    (directory / "server.pem").write_bytes(secret + signed(name, mine, "authority.test", authority))
    return directory / "authority.pem", directory / "server.pem"


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    range: str
    status: int
    sent: int


@dataclass
class RangeServer:
    """Objects that are all the same bytes, by path-style GET and HEAD, with faults by the number of the request.

    Args:
        body: Every object's content.
        fault: What to do with the n-th GET, from 0: None serves it; a status answers with it; `reset`, `short` and `stall`
            break off before the answer, within the body, and never answer; `chunked` does not say how long it will be; `stalled body` stops
            half-way; `403 AccessDenied` answers with the status and S3's name for it, `503 SlowDown 2` with a Retry-After of two
            seconds besides; `whole` sends all of it, whatever range was asked for.
        delay_s: How long every answer takes.
        fault_of: The same by the path and how often it was asked for before.
        hold: Called with the path of each request before it is answered; it may wait for others.
    """

    body: bytes
    fault: Callable[[int], int | str | None] = lambda _: None
    delay_s: float = 0.0
    hold: Callable[[str], None] = lambda _: None
    fault_of: Callable[[str, int], int | str | None] = lambda _, __: None
    turns: Counter[str] = field(default_factory=Counter)
    seen: list[Seen] = field(default_factory=list)
    gets: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def serving(self, key_and_chain: Path | None = None) -> Iterator[str]:
        """Serve in threads of this process, with TLS where there is a certificate; yields the endpoint."""
        truth = self

        class Handler(_Handler):
            server_of = truth

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            if key_and_chain is not None:
                secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                secure.load_cert_chain(key_and_chain)
                server.socket = secure.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            try:
                host = "127.0.0.1" if key_and_chain is None else "localhost"
                yield f"http{'' if key_and_chain is None else 's'}://{host}:{server.server_port}"
            finally:
                self.ended.set()
                server.shutdown()
                thread.join()

    def next_fault(self, path: str) -> int | str | None:
        """What becomes of this GET."""
        with self.lock:
            number, self.gets = self.gets, self.gets + 1
            turn, self.turns[path] = self.turns[path], self.turns[path] + 1
        return self.fault(number) or self.fault_of(path, turn)


def write_head(
    to: BaseHTTPRequestHandler,
    status: int,
    length: int,
    span: str = "",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """The head of an answer about an object, or the part of it that `span` names."""
    to.send_response(status)
    to.send_header("Content-Length", str(length))
    to.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
    to.send_header("ETag", '"0"')
    if span:
        to.send_header("Content-Range", span)
    for name, value in headers.items():
        to.send_header(name, value)
    to.end_headers()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: RangeServer

    def setup(self) -> None:
        super().setup()
        with self.server_of.lock:
            self.server_of.connections += 1

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(200, len(self.server_of.body), b"")

    def do_GET(self) -> None:
        truth = self.server_of
        truth.hold(self.path)
        fault = truth.next_fault(self.path)
        if truth.delay_s:
            time.sleep(truth.delay_s)
        if fault == "stall":
            truth.ended.wait(60)
        if isinstance(fault, str) and fault[0].isdigit():
            status, code, *after = fault.split(" ")
            headers = {"Retry-After": after[0]} if after else {}
            self._answer(int(status), len(_refusal(code)), _refusal(code), headers=headers)
            return
        if fault == "whole":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self._answer(200, len(truth.body), truth.body)
            return
        if fault in ("reset", "stall"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if isinstance(fault, int):
            self._answer(fault, 0, b"")
            return
        asked = self.headers.get("x-ms-range") or self.headers.get("Range", "bytes=0-")
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = truth.body[int(first) : int(last or len(truth.body)) + 1]
        if not part:
            self._answer(416, 0, b"")
            return
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(truth.body)}"
        if fault == "short":
            self._answer(206, len(part), part[: len(part) // 2], span)
            self.close_connection = True
            return
        if fault == "stalled body":
            self._answer(206, len(part), part[: len(part) // 2], span)
            self.wfile.flush()
            truth.ended.wait(60)
            self.close_connection = True
            return
        if fault == "chunked":
            self._answer_chunked(part)
            return
        self._answer(206, len(part), part, span)

    def _answer_chunked(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(body), 10_000):
            piece = body[start : start + 10_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _answer(
        self, status: int, length: int, body: bytes, span: str = "", headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        write_head(self, status, length, span, headers)
        self.wfile.write(body)
        seen = Seen(self.command, self.path, self.headers.get("Range", ""), status, len(body))
        with self.server_of.lock:
            self.server_of.seen.append(seen)
