"""A GET of 5 GiB: from a server that holds none of it, by each client, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from servers import write_head

from tracekit import formats, itself
from tracekit.trace import Op, Trace

LENGTH, OBJECT = 5 << 30, 1 << 40
PIECE = bytes(1 << 20)


class Endless(BaseHTTPRequestHandler):
    """Objects of a TiB of zeros."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_HEAD(self):
        """The size."""
        write_head(self, 200, OBJECT)

    def do_GET(self):
        """A range."""
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        left = last + 1 - first
        write_head(self, 206, left, f"bytes {first}-{last}/{OBJECT}")
        while left:
            left -= self.wfile.write(PIECE[: min(left, len(PIECE))])


@contextlib.contextmanager
def serving():
    """Serve; the endpoint."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.long
@pytest.mark.parametrize("client", ["auto", "obstore", "sdk"])
def test_five_gib_are_one_request(client, s3_environment, tmp_path):
    """All of it comes, it is no short read, and no more than some pieces of it are ever in memory."""
    op = Op("s3://b/x", 1 << 33, LENGTH, 0, t_complete=1, ret=LENGTH, pid=1, tid=1)
    formats.save(Trace.of([op]), str(tmp_path / "t.jsonl"))
    with serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        command = [*itself.command("tracekit"), "replay", "t.jsonl", "-o", "r.jsonl", "--json", "--timeout", "500"]
        process = subprocess.Popen([*command, "--client", client], cwd=tmp_path, stdout=subprocess.PIPE)
        with process.stdout:
            run = json.load(process.stdout)
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    (done,) = formats.load(str(tmp_path / "r.jsonl"))
    assert (done.offset, done.ret, done.err) == (1 << 33, LENGTH, None)
    assert (run["moved_bytes"], run["errors"], run["requests"]) == (LENGTH, {}, 1)
    assert not any("less than in the recording" in reason for reason in run["reasons"])
    assert used.ru_maxrss < 400 << 10
