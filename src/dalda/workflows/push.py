"""Uploads a synthetic set to the Hugging Face Hub as Parquet with a data card, private unless confirmed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.cache import cache_folder
from dalda.config import ExportConfig, PushConfig
from dalda.errors import UserError, first_line
from dalda.progress import say
from dalda.storage import scratch_folder
from dalda.workflows.export import export
from dalda.workflows.synthetic_sets import synthetic_set

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OF_A_NEW_DATASET = {".gitattributes"}
"""What the Hub itself puts into one."""


@dataclass(frozen=True)
class PushReport:
    """What was uploaded."""

    address: str
    private: bool
    synthetic: int
    real: int
    rejected: int


def push(config: PushConfig) -> PushReport:
    """Uploads the set to the data set `config.name` of the Hub, which must be new or empty.

    Of files and folders of this disk only their names are uploaded, not where they are. Raises UserError
    for a public upload that is not confirmed, for a data set with content, and where the Hub cannot be
    reached or refuses.
    """
    from huggingface_hub import HfApi, constants

    count = len(synthetic_set(config.source, ignore_review=config.ignore_review).images)
    if config.public and not config.yes:
        real = ", their real images" if config.with_real else ""
        raise UserError(
            f"everybody could see {count} synthetic images{real}, their captions and the file names of "
            f"their sources at '{config.name}'; add --yes to confirm, or leave --public out"
        )
    api = HfApi()
    with scratch_folder(cache_folder("push")) as scratch:
        folder = scratch / config.source.resolve().name
        done = export(
            ExportConfig(
                source=config.source,
                out=folder,
                to="parquet",
                with_real=config.with_real,
                readable_names=True,
                ignore_review=config.ignore_review,
            ),
            without_paths=True,
        )
        _asked(config.name, lambda: _open(api, config.name, private=not config.public))
        say(f"uploading {len(done.files)} files to {config.name}")
        _asked(config.name, lambda: _upload(api, config.name, folder))
    address = f"{constants.ENDPOINT}/datasets/{config.name}"
    return PushReport(address, not config.public, done.synthetic, done.real, done.rejected)


def _open(api: "HfApi", name: str, *, private: bool) -> None:
    """Makes the data set, or takes an empty one of that visibility, as an interrupted upload leaves it."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(name, repo_type="dataset", private=private)
        return
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
    found = api.dataset_info(name)
    if {file.rfilename for file in found.siblings or []} - OF_A_NEW_DATASET:
        raise UserError(
            f"the data set '{name}' holds files already, and none is replaced; choose another name"
        )
    if bool(found.private) != private:
        is_now = "private" if found.private else "public"
        raise UserError(f"the empty data set '{name}' is {is_now} already; change that on the Hub first")


def _upload(api: "HfApi", name: str, folder: Path) -> None:
    message = "Synthetic images of dalda"
    api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder, commit_message=message)


def _asked(name: str, ask: Callable[[], None]) -> None:
    """Raises UserError, without the token, for whatever the Hub or the network answers."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        ask()
    except UserError:
        raise
    except HFValidationError as error:
        raise UserError(
            f"'{name}' is no name of a data set ({first_line(error)}); write USER/NAME"
        ) from None
    except Exception as error:  # no network has as many names as there are libraries for it
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if status in (401, 403):
            raise UserError(
                f"the Hub does not let you write to '{name}'; run `hf auth login` with a token that may "
                "write, and check the user's name"
            ) from None
        why = first_line(error).replace(get_token() or "\0", "***")
        raise UserError(f"'{name}' was not uploaded ({why}); run the same command again") from None
