"""The command line: parse, call one function, print."""

import sys
from io import TextIOWrapper

import typer

from dalda.cli.augment import augment
from dalda.cli.captions import captions
from dalda.cli.datasets import download, score, split
from dalda.cli.experiment import config, plot, run
from dalda.cli.import_original import import_original
from dalda.cli.inspect import doctor, export, report
from dalda.cli.review import review
from dalda.cli.train import demo, evaluate, train

app = typer.Typer(
    help="More training images from a few: captions, a diffusion model, and a weight per image.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (
    demo,
    download,
    split,
    score,
    captions,
    augment,
    train,
    evaluate,
    run,
    plot,
    review,
    report,
    export,
    doctor,
):
    app.command()(_command)
app.add_typer(config, name="config")
app.command("import")(import_original)


def main() -> None:
    """The entry point of `dalda`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A class name in any script must not end a run on a terminal that cannot show it.
            stream.reconfigure(errors="backslashreplace")
    app()
