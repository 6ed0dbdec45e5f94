"""The caption file: class name to list of captions, as the original code writes it, read strictly."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dalda.errors import UserError
from dalda.storage import write


def meta_path(path: Path) -> Path:
    """Where the account of a caption file lies: beside it, `captions.json` and `captions.meta.json`."""
    return path.with_suffix(".meta.json")


def read_book(path: Path, classes: Sequence[str]) -> dict[str, list[str]]:
    """The captions of `classes`, in that order, from a file `class -> [captions]` or `class -> caption`.

    Names are matched as they are, else without regard to case, underscores and hyphens.
    Raises UserError when the file cannot be read, lacks a class or holds what is not a caption.
    """
    found = _entries(path)
    loose = {loose_name(name): name for name in reversed(found)}
    book = {}
    for name in classes:
        key = name if name in found else loose.get(loose_name(name))
        if key is None:
            raise UserError(
                f"{path} has no captions for the class {name!r}; add them, or ask for new captions."
            )
        book[name] = _checked(path, name, found[key])
    return book


def read_all(path: Path) -> dict[str, list[str]]:
    """The captions of every class in a file; a class without any is left out."""
    return {name: _checked(path, name, value) for name, value in _entries(path).items() if value}


def loose_name(name: str) -> str:
    """A class name without case, underscores and hyphens, for matching names that people typed."""
    return " ".join(
        unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split()
    )


def write_book(path: Path, book: Mapping[str, Sequence[str]], meta: Mapping[str, object]) -> None:
    """Write captions and their account, each atomically; a file that holds other captions is refused.

    An existing file may only grow: every caption in it must be in the new book too.
    """
    refuse_loss(path, book)
    account = meta_path(path)
    if account.exists() and not path.exists():
        raise UserError(
            f"{account} is there without its captions file; move it away, or name another output."
        )
    _write(path, book)
    _write(account, meta)


def assign_captions(captions: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """`count` captions without replacement in random order, shuffled anew after each full pass."""
    if not captions:
        raise ValueError("no captions to assign")
    assigned: list[str] = []
    while len(assigned) < count:
        assigned += [captions[int(index)] for index in generator.permutation(len(captions))]
    return assigned[:count]


def _entries(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read the captions file {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path} is not a JSON file in UTF-8: {reason}.") from error
    if not isinstance(found, dict):
        raise UserError(
            f"{path} must hold a JSON object, class name to list of captions, not a {type(found).__name__}."
        )
    return found


def _checked(path: Path, name: str, value: object) -> list[str]:
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not captions:
        raise UserError(f"{path}: the class {name!r} needs a list of at least one caption.")
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            raise UserError(
                f"{path}: a caption of the class {name!r} is not text but {json.dumps(caption)[:60]}."
            )
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in caption):
            raise UserError(
                f"{path}: a caption of the class {name!r} holds a control character: {caption[:60]!r}."
            )
    return captions


def refuse_loss(path: Path, book: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError when a file is there already and holds what `book` does not."""
    if not path.exists():
        return
    for name, value in _entries(path).items():
        kept = [value] if isinstance(value, str) else value
        if not isinstance(kept, list) or any(caption not in book.get(name, ()) for caption in kept):
            raise UserError(
                f"{path} holds other captions (of {name!r}), and nothing is overwritten; "
                "name another output, or move that file away."
            )


def _write(path: Path, content: Mapping[str, object]) -> None:
    # A lone surrogate, which no UTF-8 file can hold, becomes the JSON escape of itself.
    written = (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, written, shared=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}.") from error
