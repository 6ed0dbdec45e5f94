"""Caption file: class name to list of captions, the format of the original DALDA code, read strictly."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from dalda.errors import UserError
from dalda.storage import exists, make_folder, read_json, write


def meta_path(path: Path) -> Path:
    """Where the metadata of a caption file are: beside it, `captions.json` and `captions.meta.json`."""
    return path.with_suffix(".meta.json")


def read_captions(
    path: Path,
    classes: Sequence[str],
    wordings: Mapping[str, str] | None = None,
    *,
    underscores: bool = False,
) -> dict[str, list[str]]:
    """The captions of `classes`, in that order, from a file `class -> [captions]` or `class -> caption`.

    Names are matched as they are, else without regard to case, underscores and hyphens, else by the
    class's wording. `{name}` in a caption becomes the class, with the name's spaces as `underscores` where
    asked for; other braces stay. Raises UserError if the file cannot be read, lacks a class, has it twice
    or holds what is not a caption.
    """
    if not exists(path):
        raise UserError(f"there is no caption file '{path}'; make it: dalda captions DATASET -o {path}")
    return checked_captions(_entries(path), classes, path, wordings, underscores=underscores)


def checked_captions(
    entries: Mapping[str, object],
    classes: Sequence[str],
    source: object,
    wordings: Mapping[str, str] | None = None,
    *,
    underscores: bool = False,
) -> dict[str, list[str]]:
    """The same, from a mapping; `source` is what a message calls it."""
    wordings = wordings or {}
    captions = {}
    for name in classes:
        keys = (
            [key for key in entries if key == name or loose_name(key) == loose_name(text)]
            for text in (name, wordings.get(name, name))
        )
        alike = [name] if name in entries else next(filter(None, keys), [])
        if not alike:
            raise UserError(
                f"{source} has no captions for the class {name!r}; add them, or ask for new captions."
            )
        if len(alike) > 1:
            raise UserError(f"{source} has the class {name!r} twice, as {alike[0]!r} and {alike[1]!r}.")
        text = name.replace(" ", "_") if underscores else wordings.get(name, name)
        found = _checked(source, name, entries[alike[0]])
        captions[name] = [caption.replace("{name}", text) for caption in found]
    return captions


def read_all(path: Path) -> dict[str, list[str]]:
    """The captions of every class in a file; a class without any is omitted."""
    return {name: _checked(path, name, value) for name, value in _entries(path).items() if value}


def loose_name(name: str) -> str:
    """A class name without case, underscores and hyphens, for matching names that people typed."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(plain.replace("_", " ").replace("-", " ").split())


def write_captions_file(
    path: Path, captions: Mapping[str, Sequence[str]], meta: Mapping[str, object]
) -> None:
    """Write captions and their metadata, each atomically; an existing file may only grow.

    Raises UserError if the file holds a caption that the new ones lack.
    """
    refuse_loss(path, captions)
    if exists(meta_path(path)) and not exists(path):
        raise UserError(
            f"{meta_path(path)} is there without its captions file; move it away, or name another output."
        )
    _write(path, captions)
    _write(meta_path(path), meta)


def refuse_loss(path: Path, captions: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError if the file holds what `captions` lack."""
    for name, value in (_entries(path) if exists(path) else {}).items():
        written = [value] if isinstance(value, str) else value
        if not isinstance(written, list) or any(
            caption not in captions.get(name, ()) for caption in written
        ):
            raise UserError(
                f"{path} holds other captions (of {name!r}), and nothing is overwritten; "
                "name another output, or move that file away."
            )


def _entries(path: Path) -> dict[str, object]:
    entries = read_json(path, what="a captions file, class name to list of captions")
    if not isinstance(entries, dict):
        raise UserError(f"{path} must hold a JSON object, class name to list of captions.")
    return entries


def _checked(source: object, name: str, value: object) -> list[str]:
    captions = [value] if isinstance(value, str) else value
    captions = list(captions) if isinstance(captions, tuple) else captions
    if not isinstance(captions, list) or not captions:
        raise UserError(f"{source}: the class {name!r} needs a list of at least one caption.")
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            found = json.dumps(caption, default=repr)[:60]
            raise UserError(f"{source}: a caption of the class {name!r} is not text but {found}.")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in caption):
            raise UserError(
                f"{source}: a caption of the class {name!r} holds a control character: {caption[:60]!r}."
            )
    return captions


def _write(path: Path, content: Mapping[str, object]) -> None:
    make_folder(path.parent)
    # A lone surrogate, which no UTF-8 file can hold, becomes the JSON escape of itself.
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    write(path, text.encode("utf-8", "backslashreplace"), shared=True)
