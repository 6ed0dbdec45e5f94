"""The command that lets a person look through what was made."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import Json, command, show


@command
def review(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder of dalda augment.")],
    port: Annotated[int, typer.Option(help="Where the page is served; 0 is any free port.")] = 7860,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; another than this machine's own opens it to others."),
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    as_json: Json = False,
) -> None:
    """Look through the samples on a local page and keep or reject each by a key."""
    from dalda.workflows import review as reviewing

    report = reviewing.review(out, port, host=host, browser=not no_browser)
    show(as_json, report.as_json(), report.lines())
