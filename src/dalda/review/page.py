"""The review page's server: what it shows, what it takes, and nothing else.

Every image is asked for by a sample's or a source's id and looked up in a table that was made from
the metadata; no path ever comes from a request.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from dalda.errors import UserError
from dalda.review.guard import Guard
from dalda.review.thumbnails import Images, Size
from dalda.types import SyntheticImage

STATIC = Path(__file__).parent / "static"
PAGE_FILES = {
    "": ("review.html", "text/html"),
    "review.css": ("review.css", "text/css"),
    "review.js": ("review.js", "text/javascript"),
    "review-decisions.js": ("review-decisions.js", "text/javascript"),
    "review-list.js": ("review-list.js", "text/javascript"),
    "review-icon.svg": ("review-icon.svg", "image/svg+xml"),
}
"""All that is served besides images and data: address, file, media type."""
KEPT_BY_BROWSER = {"Cache-Control": "private, max-age=86400"}
"""For sources, whose addresses are hashes of what they show; a sample's request id is none."""
ASKED_AGAIN = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class Review:
    """What the page needs of the house, as plain values and callables."""

    out: Path
    samples: Sequence[SyntheticImage]
    images: Images
    decide: Callable[[str, Literal["keep", "reject", "undo"], str], None]
    """Writes a decision down: request id, decision, author; on the disk when it returns."""
    history: Callable[[], Sequence[Mapping[str, str]]]
    """All decisions in the order they were written."""
    scores: Callable[[], Mapping[str, Any]]
    """How far the scores of the samples themselves are, and at the end the scores."""


class Posted(BaseModel):
    """A decision as a page sends it."""

    model_config = ConfigDict(extra="forbid")

    request_id: Annotated[str, StringConstraints(max_length=80)]
    decision: Literal["keep", "reject", "undo"]
    author: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{1,40}$")]


def page_data(out: Path, samples: Sequence[SyntheticImage]) -> dict[str, Any]:
    """The samples as columns that name classes, sources and prompts by their place in short lists."""
    classes = {name: place for place, name in enumerate(sorted({one.label for one in samples}))}
    sources: dict[tuple[str, str], int] = {}
    prompts: dict[str, int] = {}
    rows = [
        [
            one.request_id,
            classes[one.label],
            sources.setdefault((one.source_sha256, one.source.name), len(sources)),
            one.repeat,
            one.ip_adapter_scale,
            one.source_clip_probability,
            prompts.setdefault(one.prompt, len(prompts)),
        ]
        for one in samples
    ]
    named = [{"id": sha256, "name": name} for sha256, name in sources]
    folder = out.resolve().name or str(out)
    return {
        "folder": folder,
        "classes": list(classes),
        "sources": named,
        "prompts": list(prompts),
        "rows": rows,
    }


def review_app(review: Review, bound: str) -> ASGIApp:
    """The web application, for a server that listens on the address `bound`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A path in the metadata may be a stranger's; two samples of one source name the same file.
    samples = {one.request_id: one for one in review.samples}
    sources = {one.source_sha256: one.source for one in review.samples}
    data = JSONResponse(page_data(review.out, review.samples), headers=ASKED_AGAIN)

    @app.get("/api/samples")
    def all_samples() -> Response:
        return data

    @app.get("/api/decisions")
    def decisions_since(since: int = 0) -> Response:
        lines = review.history()
        start = since if 0 <= since <= len(lines) else 0
        return JSONResponse({"from": start, "lines": list(lines[start:])}, headers=ASKED_AGAIN)

    @app.post("/api/decisions")
    def decide(posted: Posted, since: int = 0) -> Response:
        if posted.request_id not in samples:
            raise HTTPException(404, "there is no such sample")
        review.history()  # a file that cannot be read is told before it grows
        review.decide(posted.request_id, posted.decision, posted.author)
        return decisions_since(since)

    @app.get("/api/scores")
    def scores() -> Response:
        return JSONResponse(dict(review.scores()), headers=ASKED_AGAIN)

    @app.get("/samples/{request_id}/{size}")
    def sample(request_id: str, size: Size, request: Request) -> Response:
        if request_id not in samples:
            raise HTTPException(404, "there is no such sample")
        path = samples[request_id].path
        state = hashlib.sha256(review.images.state(path, review.out).encode()).hexdigest()
        known = {"Cache-Control": "private, no-cache", "ETag": f'"{state}"'}
        if request.headers.get("if-none-match") == known["ETag"]:
            return Response(status_code=304, headers=known)
        content, kind = review.images.sample(path, review.out, size)
        return Response(content, media_type=kind, headers=known)

    @app.get("/sources/{sha256}/{size}")
    def source(sha256: str, size: Size) -> Response:
        if sha256 not in sources:
            raise HTTPException(404, "there is no such source")
        content, kind = review.images.source(sources[sha256], sha256, size)
        return Response(content, media_type=kind, headers=KEPT_BY_BROWSER)

    @app.get("/{name}")
    def page_file(name: str) -> Response:
        if name not in PAGE_FILES:
            raise HTTPException(404, "there is nothing here")
        file, kind = PAGE_FILES[name]
        return Response(
            (STATIC / file).read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"}
        )

    @app.get("/")
    def page() -> Response:
        return page_file("")

    _speak_plainly(app)
    return Guard(app, bound)


def _speak_plainly(app: FastAPI) -> None:
    """Every fault is one sentence in JSON."""

    @app.exception_handler(UserError)
    @app.exception_handler(OSError)
    def mendable(request: Request, error: Exception) -> Response:
        said = str(error) if isinstance(error, UserError) else "that file cannot be read"
        return JSONResponse({"error": said}, status_code=409, headers=ASKED_AGAIN)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=ASKED_AGAIN)

    @app.exception_handler(RequestValidationError)
    def misunderstood(request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": "that request is not understood"}, status_code=422)
