"""Downloading a preset's models: only the files that are needed, resumable, each checked by its hash."""

import fnmatch
from collections.abc import Iterable, Iterator
from pathlib import Path

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError, first_line
from dalda.models.catalogue import PUBLISHED, files_of, unwanted_of
from dalda.models.hub import PATIENCE, Place, ask_hub, place_of
from dalda.models.pins import COMMIT, pin
from dalda.models.presets import PRESETS
from dalda.progress import say


def download_preset(name: str, *, newest: bool = False) -> list[str]:
    """Brings all models of a preset into the Hub's cache and pins their revisions; returns their names.

    A pinned one is downloaded at its revision, or at the newest if asked for.

    Raises UserError for an unknown preset, where the Hub cannot be reached or refuses, and for a file whose
    bytes are not those that the Hub says.
    """
    refuse_unknown([name])
    places = {
        place: files for place, files in files_of(PRESETS[name]).items() if not place_of(place).is_local
    }
    unwanted = unwanted_of(PRESETS[name])
    for place, patterns in places.items():
        at = place_of(place)
        try:
            _download(Place(at.name) if newest else at, patterns, unwanted)
        except UserError as error:
            mirrors = PUBLISHED[name].mirrors if place == PRESETS[name].model else ()
            if not mirrors:
                raise
            raise UserError(
                f"{error}; the same weights may be at {', '.join(mirrors)}: name that with "
                "--model-option model="
            ) from error
    return list(places)


def refuse_unknown(names: Iterable[str]) -> None:
    """Raises UserError for a name that is no preset's."""
    for name in names:
        if name not in PRESETS:
            raise UserError(f"there is no preset '{name}'; `dalda models` lists them")


def _download(place: Place, patterns: tuple[str, ...], unwanted: tuple[str, ...]) -> None:
    from huggingface_hub import snapshot_download

    ask_hub(place, "--model")
    say(f"downloading {place.name}")
    try:
        folder = snapshot_download(
            place.name,
            revision=place.revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(unwanted),
        )
    except Exception as error:  # no network has as many names as there are libraries for it
        raise UserError(
            f"the download of '{place.name}' was interrupted ({first_line(error)}); run the same command "
            "again to resume it"
        ) from error
    for file, sha256 in _published_hashes(place, patterns):
        path = Path(folder) / file
        if path.is_file() and sha256_of(path) != sha256:
            raise UserError(
                f"the file {path.resolve()} is not what the Hub has; remove it and run the same command "
                "again"
            )
    if COMMIT.fullmatch(Path(folder).name):
        pin(place.name, Path(folder).name)


def _published_hashes(place: Place, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The large files among those that were downloaded, and their hashes."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(
        place.name, revision=place.revision, files_metadata=True, timeout=2 * PATIENCE
    )
    for file in info.siblings or []:
        wanted = any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in patterns)
        if wanted and file.lfs is not None:
            yield file.rfilename, file.lfs.sha256
