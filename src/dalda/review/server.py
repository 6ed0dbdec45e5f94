"""Running the review page until it is ended: one socket, one server, a browser if wanted."""

import errno
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from dalda.errors import UserError


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 is any free one. Raises UserError when it cannot be had."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port cannot be {port}; choose one from 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.create_server(found[4][:2], family=found[0])
    except OSError as error:
        said = (
            "is in use by another program"
            if error.errno == errno.EADDRINUSE
            else f"cannot be had ({error.strerror})"
        )
        raise UserError(f"port {port} on {host} {said}; choose another with --port") from None
    return bound


def address_of(bound: socket.socket, host: str) -> str:
    """What to type into a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = bound.getsockname()[1]
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def serve(
    app: ASGIApp, bound: socket.socket, address: str, *, browser: bool, ready: Callable[[], None]
) -> None:
    """Serves until Ctrl+C; `ready` is called once pages are answered."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
    )

    def announce() -> None:
        while not server.started:
            if waiting.wait(0.02):
                return
        ready()
        if browser:
            with suppress(webbrowser.Error):
                webbrowser.open(address)

    waiting = threading.Event()
    herald = threading.Thread(target=announce, daemon=True)
    herald.start()
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets=[bound])
    finally:
        waiting.set()
        bound.close()
