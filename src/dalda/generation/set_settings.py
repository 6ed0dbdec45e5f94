"""The settings of a synthetic folder, OUT/dalda.yaml: what must stay on resume, and what may change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dalda.config.roles import difference
from dalda.errors import UserError
from dalda.storage import exists, list_folder, make_folder, read_yaml, to_yaml, write

SETTINGS = "dalda.yaml"
CONTENTS = "contents"
"""Settings that stand for others, by their dotted names: hashes of folders, which may be anywhere."""
REVISIONS = "revisions"
"""The commit of each model of the Hub."""
RECORDED_ONLY = frozenset({"versions", "execution", "extent", CONTENTS, REVISIONS})
"""Sections that are kept for the reader, and may differ from one run to the next."""


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder with its settings, unless it has some. Raises UserError for one of other files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"the output '{folder}' is a file, not a folder; choose another with -o")
    names = list_folder(folder)
    if SETTINGS in names:
        return
    # Other shards may be beginning it, too.
    if any(not (name.startswith(f".{SETTINGS}.") and name.endswith(".partial")) for name in names):
        raise UserError(
            f"the output folder '{folder}' holds files that dalda did not make; "
            "choose a new or empty folder with -o"
        )
    make_folder(folder)
    write_settings(folder, settings)


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    write(folder / SETTINGS, to_yaml(settings), shared=True)


def read_settings(folder: Path) -> dict[str, Any]:
    """What a synthetic folder was made with. Raises UserError for any other folder."""
    path = folder / SETTINGS
    if not exists(path):
        raise UserError(f"'{folder}' is not a folder made by dalda augment; it has no {SETTINGS}")
    return read_yaml(path)


def read_section(folder: Path, name: str) -> dict[str, Any]:
    """A part of the settings that may differ from one run to the next; empty if there is none."""
    return section_in(read_settings(folder), name)


def section_in(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of settings, which may be a stranger's; empty if there is none."""
    section = settings.get(name)
    return dict(section) if isinstance(section, Mapping) else {}


def with_extent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with how much was asked for last; without the seed, where other runs had others."""
    extent = settings.get("extent")
    if not isinstance(extent, dict):
        return dict(settings)
    numbers = [extent.get(name) for name in ("planned", "per_image", "real_images")]
    planned, per_image, images = (number if isinstance(number, int) else 0 for number in numbers)
    grown = planned > per_image * images
    return {**settings, **{name: extent[name] for name in extent if name != "seed" or not grown}}


def remember(folder: Path, section: str, values: Mapping[str, Any]) -> None:
    """Records values in a section."""
    recorded = read_section(folder, section)
    if not values.items() <= recorded.items():
        write_settings(folder, {**read_settings(folder), section: {**recorded, **values}})


def refuse_other(
    folder: Path,
    recorded: Mapping[str, Any],
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Raises UserError that names the first setting in which the folder's differ.

    A setting that an older folder lacks was the default.
    """
    found = difference(_compared(recorded), _compared(settings), defaults)
    if found:
        raise UserError(
            f"the output folder '{folder}' was made with {found}; use those again, or another folder: -o"
        )


def keep_revisions(folder: Path, revisions: Mapping[str, str]) -> None:
    """Records the commits of a folder's models. Raises UserError where images are of another one."""
    recorded = read_section(folder, REVISIONS)
    for name, commit in revisions.items():
        if recorded.get(name, commit) != commit:
            raise UserError(
                f"the output folder '{folder}' was begun with revision {recorded[name]} of '{name}', and "
                f"{commit} is on this disk; choose another folder with -o"
            )
    remember(folder, REVISIONS, revisions)


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    contents = settings.get(CONTENTS)
    by_content = {**settings, **contents} if isinstance(contents, dict) else settings
    return {name: value for name, value in by_content.items() if name not in RECORDED_ONLY}
