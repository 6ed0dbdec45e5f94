"""Serves the review app until it is stopped: one socket, one server, a browser if wanted."""

import errno
import socket
import threading
import webbrowser
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from dalda.errors import UserError


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 is any free one. Raises UserError where the address cannot be used."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port cannot be {port}; choose one from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "is in use by another program" if in_use else f"cannot be used ({error.strerror})"
        raise UserError(f"port {port} on {host} {reason}; choose another with --port") from None


def address_of(bound: socket.socket, host: str) -> str:
    """The address to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = bound.getsockname()[1]
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def serve(app: ASGIApp, bound: socket.socket, address: str, *, browser: bool) -> None:
    """Serves until Ctrl+C, and opens the address in a browser if wanted."""
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
    if browser:  # the socket listens already, so the browser waits for the server
        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
    with bound, suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[bound])
