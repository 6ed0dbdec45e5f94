"""The command line: parse, call one function, print."""

import sys
from io import TextIOWrapper

import typer

from dalda.cli.captions import prompts
from dalda.cli.examples import download, score, split
from dalda.cli.importing import import_reference
from dalda.cli.looking import doctor, export, report
from dalda.cli.reviewing import review
from dalda.cli.study import config, plot, run
from dalda.cli.synthetic import augment
from dalda.cli.training import demo, evaluate, train

app = typer.Typer(
    help="More training pictures from a few: captions, a diffusion model, and a weight per picture.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb in (
    demo,
    download,
    split,
    score,
    prompts,
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
    app.command()(_verb)
app.add_typer(config, name="config")
app.command("import")(import_reference)


def main() -> None:
    """The entry point of `dalda`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A class name in any script must not end a run on a terminal that cannot show it.
            stream.reconfigure(errors="backslashreplace")
    app()
