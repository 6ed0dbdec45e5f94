"""The captions of a set of classes."""

from pathlib import Path
from typing import Literal

from dalda.config.data import Strict
from dalda.config.roles import Content, Execution, Location


class CaptionConfig(Strict):
    """Captions for the classes of a data set or of a list."""

    out: Path = Location()
    """The caption file (JSON), new or to be resumed."""
    dataset: str | None = Content(None, within="classes")
    """The data set whose classes get captions."""
    root: Path | None = Location(None)
    """The folder of a data set that is given by name."""
    classes: Path | None = Content(None, within="classes")
    """A text file with one class name per line, in place of a data set."""
    llm: str = Content("templates")
    """Who writes: templates, local, transformers:ID_OR_FOLDER, or PROVIDER:MODEL (openai, azure, anthropic,
    gemini, mistral, bedrock, ollama)."""
    base_url: str | None = Location(None)
    """The address of the server, which also gets the key."""
    per_class: int = Content(10, ge=1, extent=True)
    """Captions per class."""
    domain: str | None = Content(None)
    """One line about the images, such as "photos of garden birds"."""
    prompt_style: Literal["standard", "original"] = Content("standard")
    """What a language model is asked: several captions of a few classes, or as in the published
    experiments one sentence for all classes in each request."""
    prompt_file: tuple[Path, ...] = Content(())
    """Your own user text, with $classes where the classes stand; if given twice, a system text first."""
    model: str = Content("sd15")
    """The preset whose text encoder will read the captions."""
    seed: int = Content(0, ge=0)
    """The seed of all randomness."""
    concurrency: int = Execution(4, ge=1)
    """Requests in flight at a time."""
    sample: int = Execution(0, ge=0)
    """Prints this many captions of each class."""
    max_tokens_total: int | None = Execution(None, ge=1)
    """Stops before more tokens than these are used."""
