"""The command line: parse, call one function, print."""

import sys
from io import TextIOWrapper

import typer

from dalda.cli.captions import prompts
from dalda.cli.examples import download, score, split
from dalda.cli.synthetic import augment
from dalda.cli.training import demo, train

app = typer.Typer(
    help="More training pictures from a few: captions, a diffusion model, and a weight per picture.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb in (demo, download, split, score, prompts, augment, train):
    app.command()(_verb)


def main() -> None:
    """The entry point of `dalda`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A class name in any script must not end a run on a terminal that cannot show it.
            stream.reconfigure(errors="backslashreplace")
    app()
