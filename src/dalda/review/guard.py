"""Who may talk to the review page: this machine's browser, on this page, and nobody else's page.

A name that an attacker's DNS points at this machine still stands in the Host header (DNS rebinding),
and a foreign page that sends something here is named in Origin; both are refused before any work.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY = 4096
"""Bytes of a request: a decision is a few words."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_local(host: str) -> bool:
    """Whether an address is one that only this machine can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host in a Host header, without port and brackets, in lower case."""
    name = header.strip().lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.rpartition(":")[0] or name


def host_allowed(header: str, bound: str) -> bool:
    """Whether a request that names this host may come in, for a server bound to `bound`.

    A server for this machine answers to its loopback names only; one that was opened to the network
    answers to any address too, since an address, unlike a name, cannot be pointed elsewhere.
    """
    host = host_of(header)
    if host in LOCAL:
        return True
    if is_local(bound):
        return host == bound
    if host in {bound.lower(), socket.gethostname().lower()}:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Guard:
    """Refuses foreign requests with one sentence and adds the security headers to every answer."""

    app: ASGIApp
    bound: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), text.encode()) for name, text in SECURITY_HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        reason = self.refusal(scope["method"], Headers(scope=scope))
        if reason:
            await JSONResponse({"error": reason}, status_code=403)(scope, receive, guarded)
        else:
            await self.app(scope, receive, guarded)

    def refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is refused, None for one that is not."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not host_allowed(hosts[0], self.bound):
            return "this server does not answer to that host name"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
            return "requests from other pages are refused"
        if headers.get("sec-fetch-site", "none") not in _own_sites(method, headers):
            return "requests from other pages are refused"
        if method not in ("GET", "HEAD"):
            if origin is None:
                return "a decision must name the page it comes from"
            length = headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                return "that request is too long"
        return None


def _own_sites(method: str, headers: Headers) -> Iterable[str]:
    """A link on another page may open this one; nothing else may come from there."""
    opened = method == "GET" and headers.get("sec-fetch-dest") == "document"
    return ("same-origin", "none", "same-site", "cross-site") if opened else ("same-origin", "none")
