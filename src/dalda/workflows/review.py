"""Serves a page on which a person keeps or rejects the images of a synthetic set."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dalda.cache import cache_folder
from dalda.datasets.class_names import wordings_of
from dalda.errors import UserError, first_line
from dalda.generation.set_settings import read_settings
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import say
from dalda.review.log import current_decisions
from dalda.review.thumbnails import Thumbnails
from dalda.storage import path_of
from dalda.types import SyntheticImage
from dalda.workflows.clip_of_set import classes_of, load_set_clip
from dalda.workflows.reports import ReviewReport

DEFAULT_PORT = 7860


def review(
    out: Path, port: int = DEFAULT_PORT, *, host: str = "127.0.0.1", browser: bool = True
) -> ReviewReport:
    """Shows the images of `out` on a local page until Ctrl+C; each decision is in `out` at once.

    Raises UserError when `out` is no synthetic folder, has no image, or the port is in use.
    """
    images = images_of(out)
    try:
        from dalda.review.guard import is_loopback
        from dalda.review.page import Review, review_app
        from dalda.review.server import address_of, listen, serve
    except ModuleNotFoundError as error:
        raise UserError(
            f"dalda review needs the package '{error.name}'; install it with pip install 'dalda[review]'"
        ) from None
    bound = listen(host, port)
    address = address_of(bound, host)
    if not is_loopback(host):
        say(f"note: everybody who reaches {host} can see these images and decide; there is no password")
    probabilities = BackgroundProbabilities(lambda: clip_probabilities_of(out, images))
    thumbnails = Thumbnails(cache_folder("review") / "images")
    app = review_app(Review(out, images, thumbnails, probabilities.state), host)
    say(f"{len(images)} images at {address} (stop with Ctrl+C; decisions are saved)")
    serve(app, bound, address, browser=browser)
    return review_report(out, images)


def images_of(out: Path) -> list[SyntheticImage]:
    """The images to review. Raises UserError where there are none."""
    images = SyntheticDataset.existing(out).synthetic_images()
    if not images:
        raise UserError(f"'{out}' holds no images yet; run dalda augment again to generate them")
    return images


def review_report(out: Path, images: Sequence[SyntheticImage]) -> ReviewReport:
    """How many of these images are kept and rejected now."""
    decisions = current_decisions(out)
    counts = Counter(decisions[x.request_id].decision for x in images if x.request_id in decisions)
    return ReviewReport(out, len(images), counts["keep"], counts["reject"])


def clip_probabilities_of(out: Path, images: Sequence[SyntheticImage]) -> list[float]:
    """CLIP's class probability of each image itself, by the CLIP of the set's settings.

    The metadata has that of the source image. Raises UserError where CLIP cannot tell.
    """
    from dalda.evaluation.filters import clip_probabilities

    classes = classes_of(SyntheticDataset.existing(out))
    if len(classes) < 2:
        raise UserError("there is one class only, so CLIP has nothing to choose from")
    settings = read_settings(out)
    dataset = str(settings.get("dataset"))
    folder = path_of(dataset)
    words = wordings_of(dataset, classes, folder if folder.is_dir() else None)
    values = clip_probabilities(images, words, load_set_clip(settings, "auto"))
    return [round(float(value), 5) for value in values]


class BackgroundProbabilities:
    """Computes CLIP class probabilities in a thread, beside the page."""

    def __init__(self, compute: Callable[[], list[float]]) -> None:
        self._compute = compute
        self._state: dict[str, Any] = {"state": "running"}
        self._lock = threading.Lock()
        self._started = False

    def state(self) -> dict[str, Any]:
        """Starts at the first call, so that the page is drawn before the work begins."""
        with self._lock:
            if not self._started:
                threading.Thread(target=self._run, daemon=True).start()
                self._started = True
        return self._state

    def _run(self) -> None:
        try:
            self._state = {"state": "done", "values": self._compute()}
        except UserError as error:
            self._state = {"state": "missing", "reason": str(error)}
        except Exception as error:  # the page works without, whatever a model fails at
            self._state = {"state": "missing", "reason": first_line(error)}
