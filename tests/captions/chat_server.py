"""The fake for the language-model seam: a real HTTP server on loopback that speaks OpenAI's protocol.

It writes good captions for whatever classes it is asked about, unless a test configures faults.
Run as a program it serves; imported, `ChatServer` starts it in a process of its own and talks to it.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.captions.dialects import DIALECTS, respond
from tests.captions.written import caption

ROOT = Path(__file__).parents[2]


def good_answer(body: dict[str, Any], most: int) -> dict[str, list[str]]:
    """Captions for the lines `- NAME: COUNT` of the last message, at most so many of each."""
    text = body["messages"][-1]["content"]
    wanted = re.findall(r"^- (.+): (\d+)$", text, re.MULTILINE)
    salts = {name: [f"{body.get('seed')}|{i}" for i in range(min(int(n), most))] for name, n in wanted}
    return {name: [caption(name, salt) for salt in salts[name]] for name in salts}


def build_app() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    state: dict[str, Any] = {}

    def reset() -> None:
        state.clear()
        state.update(asked=[], faults=[], latency=0.0, key=None, refuse={}, spoil=0, most=1000)

    async def control(request: Request) -> Response:
        settings = await request.json()
        if settings.pop("reset", False):
            reset()
        state.update(settings)
        return JSONResponse({})

    async def asked_so_far(request: Request) -> Response:
        return JSONResponse(state["asked"])

    async def number_so_far(request: Request) -> Response:
        return JSONResponse(len(state["asked"]))

    async def torn() -> AsyncIterator[bytes]:
        yield b'{"id": "x", "choi'
        await asyncio.sleep(0)
        raise ConnectionResetError("torn on purpose")

    def complaint(status: int, message: str, code: str | None = None) -> Response:
        return JSONResponse({"error": {"message": message, "code": code}}, status_code=status)

    async def complete(request: Request) -> Response:
        body = await request.json()
        key = request.headers.get("authorization", request.headers.get("api-key", ""))
        fault = state["faults"].pop(0) if state["faults"] else {}
        state["asked"].append(
            {"body": body, "key": key, "path": str(request.url), "fault": fault, "at": time.time()}
        )
        await asyncio.sleep(state["latency"])
        if body["model"] in DIALECTS:
            status, answer = respond(body)
            kind = "text/html" if isinstance(answer, str) else "application/json"
            return Response(
                answer if isinstance(answer, str) else json.dumps(answer), status, media_type=kind
            )
        if state["key"] is not None and state["key"] not in key:
            return complaint(401, f"Incorrect API key provided: {key}")
        for field, message in state["refuse"].items():
            if field in json.dumps(body):
                return complaint(400, message)
        if state["spoil"] and body["seed"] % state["spoil"] == 0:
            fault = {"say": "no", **fault}
        if "status" in fault:
            refused = complaint(fault["status"], fault.get("message", "no"), fault.get("code"))
            refused.headers.update(fault.get("headers", {}))
            return refused
        if fault.get("drop"):
            return StreamingResponse(torn(), media_type="application/json")
        if "raw" in fault:
            return Response(fault["raw"], media_type=fault.get("type", "application/json"))
        return JSONResponse(chat_completion(body, fault, state["most"]))

    reset()
    routes = [
        Route("/control", control, methods=["POST"]),
        Route("/asked", asked_so_far),
        Route("/number", number_so_far),
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/openai/deployments/{name}/chat/completions", complete, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def chat_completion(body: dict[str, Any], fault: dict[str, Any], most: int) -> dict[str, Any]:
    good = good_answer(body, most)
    content: Any = json.dumps(
        {"captions": [{"class": name, "captions": written} for name, written in good.items()]},
        ensure_ascii=False,
    )
    if "say" in fault:
        content = fault["say"]
    elif "dress" in fault:
        content = fault["dress"].replace("$GOOD", content)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": fault.get("refusal")}
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40 * sum(map(len, good.values())),
        "total_tokens": 0,
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": fault.get("finish", "stop")}],
        **({} if fault.get("uncounted") else {"usage": usage}),
    }


@dataclass
class ChatServer:
    """The running server, as tests talk to it."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def configure(self, **settings: Any) -> None:
        """Set `latency`, `faults` (one a request, in order), `key`, `refuse`, `spoil` (one in N answers
        is useless, by its seed), `most` captions of a class; `reset=True` first clears all."""
        body = json.dumps(settings).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/control", body, method="POST")
        urllib.request.urlopen(request, timeout=30).close()

    def number_asked(self) -> int:
        """How many requests there were, for those who wait for one: quicker than to read them all."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/number", timeout=30) as response:
            return int(response.read())

    def asked(self) -> list[dict[str, Any]]:
        """Every request so far: body, key, path, the fault that met it, time."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/asked", timeout=30) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


@contextmanager
def running_server() -> Iterator[ChatServer]:
    """The server in a process of its own, on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.captions.chat_server", str(port)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        server = ChatServer(port)
        for attempt in range(600):
            try:
                server.configure(reset=True)
                break
            except OSError:
                if process.poll() is not None or attempt == 599:
                    raise
                time.sleep(0.05)
        yield server
    finally:
        process.kill()  # asked to end, it would first finish what it is saying
        process.wait()


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        build_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", access_log=False
    )
