"""Which captions."""

from pathlib import Path

from pydantic import Field

from dalda.config.data import Strict


class CaptionConfig(Strict):
    """Captions for the classes of a data set or of a list."""

    out: Path
    dataset: str | None = None
    root: Path | None = None
    classes: Path | None = None
    """A text file with one class name a line, in place of a data set."""
    llm: str = "grammar"
    base_url: str | None = None
    per_class: int = Field(default=10, ge=1)
    domain: str | None = None
    """One line that says what the images are."""
    model: str = "sd15"
    """Whose text encoder will read the captions, with its prompt prefix."""
    seed: int = Field(default=0, ge=0)
    concurrency: int = Field(default=4, ge=1)
    max_tokens_total: int | None = Field(default=None, ge=1)
