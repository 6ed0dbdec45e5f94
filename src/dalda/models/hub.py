"""Where a model is: inside this package, in a folder, in the Hub's cache, or on the Hub.

The cache is tried first, so that what is on disk needs no network; the Hub is asked once, with a short
patience, before anything is fetched, so that a machine without network says so at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dalda.device import is_out_of_memory
from dalda.errors import UserError, first_line
from dalda.models.pins import COMMIT, pinned
from dalda.models.presets import located
from dalda.models.weights import WeightsError

PATIENCE = 5.0
"""Seconds within which the Hub must answer."""
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Place:
    """A folder or file, or a Hub id with the revision that is wanted (None: the newest)."""

    name: str
    revision: str | None = None

    @property
    def is_local(self) -> bool:
        return Path(self.name).exists()


def place_of(named: str) -> Place:
    """A path, or ID@REVISION; a folder or file whose name holds an @ is one anyway.

    Without a revision that of `dalda models get` holds, if there is one.
    """
    path = located(named)
    if Path(path).exists():
        return Place(path)
    name, _, revision = path.partition("@")
    return Place(name, revision or pinned(name))


def loaded(named: str, option: str, load: Callable[..., Loaded]) -> Loaded:
    """`load(name, revision=..., local_files_only=...)` from the disk, or else from the Hub.

    `named` is a folder or ID@REVISION, `option` the one that names another. Raises UserError where
    the model cannot be loaded or cannot be read.
    """
    from huggingface_hub.errors import HFValidationError

    place = place_of(named)
    for on_disk in (True, False):
        try:
            return load(place.name, revision=place.revision, local_files_only=on_disk)
        except WeightsError as error:
            raise UserError(f"{error}, and name it with {option}") from error
        except UserError:
            raise
        except Exception as error:  # the loaders raise whatever a strange folder makes them stumble over
            # What is not there, or not yet whole, may be fetched; that fixes nothing that cannot be read.
            absent = isinstance(error, (OSError, HFValidationError)) and not place.is_local
            if not (on_disk and absent):
                raise _unreadable(named, option, error) from error
        ask_hub(place, option)
    raise AssertionError("the second turn returns or raises")


def folder_on_disk(named: str) -> str | None:
    """A model's local folder: shipped, the user's, or in the Hub's cache, maybe in part; None elsewhere.

    Loaders ask the Hub for a model that is given by its id, even when it is in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    place = place_of(named)
    if place.is_local:
        return place.name
    try:
        return snapshot_download(place.name, revision=place.revision, local_files_only=True)
    except (OSError, HFValidationError):
        return None


def revision_on_disk(named: str) -> str | None:
    """The commit that is loaded of a model in the Hub's cache; None for any other."""
    folder = None if place_of(named).is_local else folder_on_disk(named)
    return Path(folder).name if folder and COMMIT.fullmatch(Path(folder).name) else None


def file_of(name: str, file: str, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """One file of a folder, or of a Hub id. Raises OSError where it is not there."""
    if Path(name).is_dir():
        path = Path(name) / file
        if not path.is_file():
            raise FileNotFoundError(f"it has no file '{file}'")
        return path
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, file, revision=revision, local_files_only=local_files_only))


def ask_hub(place: Place, option: str) -> None:
    """Raises UserError unless the Hub has the model, for us, now."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = place.name
    try:
        HfApi().model_info(name, revision=place.revision, timeout=PATIENCE)
    except HFValidationError:
        raise UserError(f"'{name}' is neither a folder nor a Hub id; fix {option}") from None
    except GatedRepoError:
        raise UserError(
            f"the model '{name}' is given only to those who accept its terms on its page of the Hub; "
            f"accept them and run `hf auth login`, or name a local folder with {option}"
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"the model '{name}' has no revision '{place.revision}'; fix {option}, or pin the newest with "
            "`dalda models update`"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no folder '{name}', and no public model of that name on the Hub; name another "
            f"with {option}, or run `hf auth login` if it is private"
        ) from None
    except Exception as error:  # no network has as many names as there are libraries for it
        raise UserError(
            f"the model '{name}' is not complete on this disk, and the Hub cannot be reached "
            f"({first_line(error)}); where there is a network run `hf download {name}"
            f"{f' --revision {place.revision}' if place.revision else ''} --local-dir FOLDER`, bring the "
            f"folder here and name it with {option}{'' if option.endswith('=') else ' '}FOLDER"
        ) from None


def _unreadable(named: str, option: str, error: Exception) -> UserError:
    if is_out_of_memory(error):
        return UserError(
            f"'{named}' does not fit into this machine's memory; free some, choose --dtype bf16, or name a "
            f"smaller one with {option}"
        )
    return UserError(
        f"'{named}' cannot be loaded ({first_line(error)}); is it whole and of the right kind? "
        f"Name another with {option}"
    )
