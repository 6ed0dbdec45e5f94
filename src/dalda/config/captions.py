"""Which captions."""

from pathlib import Path

from dalda.config.data import Strict
from dalda.config.roles import Content, Execution, Location


class CaptionConfig(Strict):
    """Captions for the classes of a data set or of a list."""

    out: Path = Location()
    dataset: str | None = Content(None, within="classes")
    root: Path | None = Location(None)
    classes: Path | None = Content(None, within="classes")
    """A text file with one class name a line, in place of a data set."""
    llm: str = Content("grammar")
    base_url: str | None = Location(None)
    per_class: int = Content(10, ge=1, extent=True)
    domain: str | None = Content(None)
    """One line that says what the images are."""
    model: str = Content("sd15")
    """Whose text encoder will read the captions, with its prompt prefix."""
    seed: int = Content(0, ge=0)
    concurrency: int = Execution(4, ge=1)
    max_tokens_total: int | None = Execution(None, ge=1)
