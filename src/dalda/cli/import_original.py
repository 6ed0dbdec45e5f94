"""The command that takes over what the original DALDA code made."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import DataSet, Json, Root, command, config_of, show


@command
def import_original(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="With aug-0-0.png and so on and their table.")
    ],
    dataset: DataSet,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the synthetic set goes, or goes on.")],
    root: Root = None,
    model: Annotated[str, typer.Option(help="The preset they were made with, for the record.")] = "sd14",
    on_bad_image: Annotated[
        str, typer.Option(help="A broken image in the folder: stop, or skip it.")
    ] = "stop",
    as_json: Json = False,
) -> None:
    """Take over images that the original DALDA code made (aug-*.png) as a synthetic set; they stay
    there."""
    from dalda.compat import import_folder
    from dalda.config import ImportConfig

    config = config_of(
        ImportConfig,
        **{"folder": folder, "dataset": dataset, "root": root, "out": out, "model": model},
        on_bad_image=on_bad_image,
    )
    report = import_folder.import_original(config)
    show(as_json, report.as_json(), report.lines())
