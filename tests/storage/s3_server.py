"""A real S3 server on loopback (SeaweedFS), and a proxy before it that makes faults."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY, SECRET = "key", "secret"
PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def s3_server(folder: Path) -> Iterator[int]:
    """The port of a server whose objects lie in `folder`."""
    rights = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [rights]}))
    (folder / "data").mkdir()
    names = [*PORTS, *(f"{name}.grpc" for name in PORTS)]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [
        str(Path(sys.executable).parent / "weed"),
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(ports["s3.port"], process)
        yield ports["s3.port"]
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(port)


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on, but for every `every`-th, which meets the next of the faults."""

    daemon_threads = True

    def __init__(self, port: int, every: int = 3) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.every, self.count = port, every, 0
        self.guard, self.faults = threading.Lock(), dict.fromkeys(("500", "503", "lost", "late"), 0)

    def next_fault(self) -> str | None:
        with self.guard:
            self.count += 1
            if self.count % self.every:
                return None
            fault = list(self.faults)[self.count // self.every % len(self.faults)]
            self.faults[fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def log_message(self, *args: object) -> None: ...

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.next_fault()
        if fault in ("500", "503"):
            self._answer(int(fault), {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if fault == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault == "late":
            time.sleep(0.3)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        data = answer.read()
        self._answer(answer.status, dict(answer.getheaders()), data)
        upstream.close()

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response_only(status)
        length = headers.pop("Content-Length", None)
        headers.pop("Transfer-Encoding", None)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on
