"""The review app: its routes, and nothing else.

Every image is requested by an id and looked up in the metadata's table; no path comes from a request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.types import ASGIApp

from dalda.errors import UserError
from dalda.reporting.text import harmless
from dalda.review.guard import Guard
from dalda.review.log import ReviewLog, Verdict
from dalda.review.thumbnails import Size, Thumbnails
from dalda.types import SyntheticImage

STATIC = files("dalda.review").joinpath("static")
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PAGE_FILES = {file.name: file.name for file in STATIC.iterdir()} | {"": "review.html"}
"""All that is served besides images and data, by its address."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Review:
    """What the app shows and where it writes."""

    out: Path
    images: Sequence[SyntheticImage]
    thumbnails: Thumbnails
    clip_probabilities: Callable[[], Mapping[str, Any]]
    """`state` (running, missing, done); with `reason`, or `values` in the order of `images`."""


class PostedDecision(BaseModel):
    """A decision as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    request_id: Annotated[str, StringConstraints(max_length=80)]
    decision: Verdict
    author: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{1,40}$")]


def page_data(out: Path, images: Sequence[SyntheticImage]) -> dict[str, Any]:
    """The images as rows that name classes, source images and prompts by their place in short lists."""
    classes = {name: number for number, name in enumerate(sorted({image.label for image in images}))}
    sources: dict[tuple[str, str], int] = {}
    prompts: dict[str, int] = {}
    rows = [
        [
            image.request_id,
            classes[image.label],
            sources.setdefault((image.source_sha256, image.source.name), len(sources)),
            image.index,
            image.ip_adapter_scale,
            image.source_clip_probability,
            prompts.setdefault(image.prompt, len(prompts)),
        ]
        for image in images
    ]
    return {
        "folder": harmless(out.resolve().name or str(out)),
        "classes": [harmless(name) for name in classes],
        "sources": [{"id": sha256, "name": harmless(name)} for sha256, name in sources],
        "prompts": [harmless(prompt) for prompt in prompts],
        "rows": rows,
    }


def review_app(review: Review, bound: str) -> ASGIApp:
    """The web application, for a server that listens on the address `bound`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    log, thumbnails = ReviewLog(review.out), review.thumbnails
    images = {image.request_id: image for image in review.images}
    sources = {image.source_sha256: image.source for image in review.images}
    data = JSONResponse(page_data(review.out, review.images))

    @app.get("/api/images")
    def all_images() -> Response:
        return data

    @app.get("/api/decisions")
    def decisions(since: int = 0) -> Response:
        known = log.decisions()
        start = since if 0 <= since <= len(known) else 0
        return JSONResponse({"from": start, "lines": [asdict(decision) for decision in known[start:]]})

    @app.post("/api/decisions")
    def decide(posted: PostedDecision, since: int = 0) -> Response:
        _look_up(images, posted.request_id)
        log.decisions()  # a damaged file is reported before it grows
        log.append(posted.request_id, posted.decision, posted.author)
        return decisions(since)

    @app.get("/api/clip-probabilities")
    def clip_probabilities() -> Response:
        return JSONResponse(dict(review.clip_probabilities()))

    @app.get("/images/{request_id}/{size}")
    def synthetic_image(request_id: str, size: Size, request: Request) -> Response:
        path = _look_up(images, request_id).path
        # The same request id stands for another image in another set, or after a change of the file.
        version = thumbnails.version(path, review.out)
        headers = {"ETag": f'"{version}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        content = thumbnails.of(version, size, lambda: path)
        return Response(content, media_type="image/webp", headers=headers)

    @app.get("/sources/{sha256}/{size}")
    def source_image(sha256: str, size: Size) -> Response:
        content = thumbnails.source(_look_up(sources, sha256), sha256, size)
        # The address is the hash of what it shows.
        headers = {"Cache-Control": "private, max-age=86400"}
        return Response(content, media_type="image/webp", headers=headers)

    @app.get("/{name}")
    def page_file(name: str) -> Response:
        file = _look_up(PAGE_FILES, name)
        content = files("dalda.review").joinpath("static", file).read_bytes()
        return Response(content, media_type=MEDIA_TYPES[PurePath(file).suffix])

    @app.get("/")
    def page() -> Response:
        return page_file("")

    @app.exception_handler(UserError)
    @app.exception_handler(OSError)
    def unusable_file(request: Request, error: Exception) -> Response:
        reason = str(error) if isinstance(error, UserError) else "that file cannot be read"
        return JSONResponse({"detail": reason}, status_code=409)

    return Guard(app, bound)


def _look_up(table: Mapping[str, Value], key: str) -> Value:
    if key not in table:
        raise HTTPException(404, "not found")
    return table[key]
