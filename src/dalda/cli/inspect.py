"""The commands that show what was made, hand it on, and look at the machine."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import Device, IgnoreReview, Json, command, config_of, show


@command
def report(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_OR_OUT...", help="Folders of train, run, demo or augment."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new HTML file.")],
    ignore_review: IgnoreReview = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """One page that shows it all and stands alone: the answer, the numbers, the images."""
    from dalda.config import ReportConfig
    from dalda.workflows.report import page

    config = config_of(
        ReportConfig, places=tuple(places), out=out, ignore_review=ignore_review, device=device
    )
    done = page.report(config)
    show(as_json, done.as_json(), done.lines())


@command
def export(
    source: Annotated[Path, typer.Argument(metavar="OUT", help="A folder of dalda augment.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder; for csv, a new file.")],
    to: Annotated[str, typer.Option(help="The form: folder, hf, webdataset, csv or reference.")] = "folder",
    with_real: Annotated[
        bool, typer.Option("--with-real", help="Put the real images beside the synthetic ones.")
    ] = False,
    ignore_review: IgnoreReview = False,
    as_json: Json = False,
) -> None:
    """Hand a synthetic set on in a form that others read; files are linked, not copied, where possible."""
    from dalda.config import ExportConfig
    from dalda.workflows import export as exporting

    config = config_of(
        ExportConfig, source=source, out=out, to=to, with_real=with_real, ignore_review=ignore_review
    )
    done = exporting.export(config)
    show(as_json, done.as_json(), done.lines())


@command
def doctor(as_json: Json = False) -> None:
    """What this machine has: devices, versions, models on disk, keys (never shown), room."""
    from dalda.doctor import examine, lines_of

    checks = examine()
    show(as_json, {"checks": [check.as_json() for check in checks]}, lines_of(checks))
