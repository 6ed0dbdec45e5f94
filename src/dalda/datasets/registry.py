"""The door to every data set: a name or a folder goes in, its catalog comes out."""

from pathlib import Path

from dalda.datasets.image_folder import ImageDataset, read_folder
from dalda.datasets.published import PUBLISHED, caption_name, read_published
from dalda.errors import UserError

__all__ = ["ImageDataset", "caption_name", "read_catalog", "read_folder"]

HUGGING_FACE = "hf:"


def read_catalog(dataset: str, root: Path | None = None) -> ImageDataset:
    """The catalog of a published data set in `root`, of `hf:NAME_OR_FOLDER`, or of a folder.

    Raises UserError when something is missing, with the way to get it.
    """
    if dataset in PUBLISHED:
        if root is None:
            raise UserError(
                f"{dataset} needs --root DIR, the folder it lies in (or write ./{dataset} for a folder)"
            )
        return read_published(dataset, root)
    if root is not None:
        raise UserError(f"--root goes with {', '.join(PUBLISHED)} only, not with {dataset}: leave it out")
    if dataset.startswith(HUGGING_FACE):
        from dalda.datasets.huggingface import read_hugging_face

        return read_hugging_face(dataset.removeprefix(HUGGING_FACE))
    try:
        return read_folder(Path(dataset).expanduser())
    except RuntimeError:
        raise UserError(f"there is no folder {dataset}: name a folder of class folders") from None
