"""Access control of the review app: only a browser on this machine, and only from the app's own page.

A name that an attacker's DNS points at this machine still stands in the Host header (DNS rebinding), and a
foreign page that sends a request is named in Origin; both are refused before any work.
"""

import ipaddress
import socket
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host in a Host header, without port and brackets, in lower case."""
    name = header.strip().lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.rpartition(":")[0] or name


def host_allowed(header: str, bound: str) -> bool:
    """Whether a server that listens on `bound` answers requests for this host.

    A server on a loopback address answers to loopback names only; one that is open to the network answers
    to any address too, since an address, unlike a name, cannot be pointed elsewhere.
    """
    host = host_of(header)
    if host in ("localhost", "127.0.0.1", "::1"):
        return True
    if is_loopback(bound):
        return host == bound
    if host in (bound.lower(), socket.gethostname().lower()):
        return True
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


@dataclass(frozen=True)
class Guard:
    """Refuses foreign requests with one sentence, and adds the security headers to every response."""

    app: ASGIApp
    bound: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            reason = self.refusal(scope["method"], Headers(scope=scope))
            answer = JSONResponse({"detail": reason}, status_code=403) if reason else self.app
            await answer(scope, receive, send_guarded)

    def refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is refused; None where it is not."""
        hosts, origin = headers.getlist("host"), headers.get("origin")
        if len(hosts) != 1 or not host_allowed(hosts[0], self.bound):
            return "this server does not answer to that host name"
        # A link on another page may open this one; nothing else may come from there.
        followed_link = method == "GET" and headers.get("sec-fetch-dest") == "document"
        same_site = headers.get("sec-fetch-site", "none") in ("same-origin", "none") or followed_link
        if not same_site or origin not in (None, f"http://{hosts[0].lower()}"):
            return "requests from other pages are refused"
        if method not in ("GET", "HEAD"):
            if origin is None:
                return "a decision must name the page it comes from"
            length = headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                return "that request is too long"
        return None
