"""From a synthetic folder to a page where a person keeps and rejects samples."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dalda.datasets.image_io import open_image, sha256_of
from dalda.doodles.dataset import default_root
from dalda.errors import UserError, first_line
from dalda.generation.review_log import REVIEW, Verdict, append, decisions, history
from dalda.generation.synthetic_dataset import SyntheticDataset, read_settings
from dalda.progress import say
from dalda.types import SyntheticImage
from dalda.workflows.clip_of_set import classes_of, sight_of
from dalda.workflows.reports.augment import ReviewReport

DEFAULT_PORT = 7860


def review(
    out: Path, port: int = DEFAULT_PORT, *, host: str = "127.0.0.1", browser: bool = True
) -> ReviewReport:
    """Shows the samples of `out` on a local page until Ctrl+C; decisions are in `out` at once.

    Raises UserError when `out` is no synthetic folder, has no sample, or the port is taken.
    """
    samples = samples_of(out)
    try:
        from dalda.review.guard import is_local
        from dalda.review.server import address_of, listen, serve
    except ModuleNotFoundError as error:
        raise UserError(
            f"dalda review needs the package '{error.name}'; install it with pip install 'dalda[review]'"
        ) from None
    bound = listen(host, port)
    address = address_of(bound, host)
    if not is_local(host):
        say(f"note: everybody who reaches {host} can see these images and decide; there is no password")
    serve(
        app_of(out, samples, host),
        bound,
        address,
        browser=browser,
        ready=lambda: say(f"{len(samples)} samples at {address} (Ctrl+C ends this, decisions are kept)"),
    )
    return standing(out, samples)


def samples_of(out: Path) -> list[SyntheticImage]:
    """What there is to look at. Raises UserError when there is nothing."""
    samples = SyntheticDataset.existing(out).samples()
    if not samples:
        raise UserError(f"'{out}' holds no images yet; run dalda augment again to generate them")
    return samples


def standing(out: Path, samples: Sequence[SyntheticImage]) -> ReviewReport:
    """How many of these samples are kept and rejected now."""
    there = {one.request_id for one in samples}
    counts = Counter(one.decision for name, one in decisions(out).items() if name in there)
    return ReviewReport(out, len(samples), counts["keep"], counts["reject"])


def app_of(out: Path, samples: Sequence[SyntheticImage], host: str = "127.0.0.1") -> Any:
    """The page's web application, for a server that listens on `host`."""
    from dalda.review.page import Review, review_app
    from dalda.review.thumbnails import Images

    cache = default_root().parent / "review" / "images"
    page = Review(
        out=out,
        samples=samples,
        images=Images(open_image, sha256_of, cache),
        decide=lambda request_id, decision, author: _decide(out, request_id, decision, author),
        history=Ledger(out).lines,
        scores=OwnScores(out, samples).state,
    )
    return review_app(page, host)


def _decide(out: Path, request_id: str, decision: Verdict, author: str) -> None:
    append(out, request_id, decision, author)


@dataclass
class Ledger:
    """The decisions' lines, read again only when the file has changed; other processes may write it."""

    out: Path
    _seen: tuple[int, int] = (-1, -1)
    _lines: list[Mapping[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lines(self) -> list[Mapping[str, str]]:
        with self._lock:
            try:
                state = (self.out / REVIEW).stat()
            except FileNotFoundError:
                return []
            seen = (state.st_size, state.st_mtime_ns)
            if seen != self._seen:
                self._lines = [asdict(line) for line in history(self.out)]
                self._seen = seen
            return self._lines


@dataclass
class OwnScores:
    """CLIP's probability of each sample itself, by the set's own CLIP, computed beside the page.

    The metadata's score is the source's. A sample that CLIP does not take for its class is doubtful.
    """

    out: Path
    samples: Sequence[SyntheticImage]
    scores: list[float] | None = None
    problem: str | None = None
    _worker: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self) -> dict[str, Any]:
        """Begins at the first question, so that the page has been drawn before the work starts."""
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, daemon=True)
                self._worker.start()
        if self.problem is not None:
            return {"state": "missing", "reason": self.problem}
        if self.scores is None:
            return {"state": "running"}
        return {"state": "done", "scores": self.scores}

    def _work(self) -> None:
        try:
            self.scores = self._found()
        except UserError as error:
            self.problem = str(error)
        except Exception as error:  # whatever a model stumbles over, the page works without it
            self.problem = first_line(error)

    def _found(self) -> list[float]:
        from dalda.evaluation.filters import clip_probabilities

        classes = classes_of(SyntheticDataset.existing(self.out))
        if len(classes) < 2:
            raise UserError("there is one class only, so CLIP has nothing to choose from")
        found = clip_probabilities(self.samples, classes, sight_of(read_settings(self.out), "auto"))
        return [round(float(score), 5) for score in found]
