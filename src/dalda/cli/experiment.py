"""The commands of a whole study: run it, say what its file means, draw it."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import Json, Root, command, show
from dalda.errors import UserError

Study = Annotated[
    Path, typer.Argument(metavar="STUDY", help="A .yaml file, or one of the original code's .py files.")
]

config = typer.Typer(help="About the files of a study.", no_args_is_help=True)


@command
def run(
    study: Study,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Where results go, or go on, in place of the file's.")
    ] = None,
    root: Root = None,
    original: Annotated[
        bool, typer.Option("--original", help="The original code's semantics in every detail, not ours.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="An arm to run; again for more.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many images and trials, how long; make nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a study, arms x shots x seeds; run again, only what is missing or changed is made."""
    words = {"out": out, "root": root, "only": tuple(only or ())}
    if dry_run:
        from dalda.workflows.dry_run import dry_run_experiment

        preview = dry_run_experiment(study, original=original, **words)  # type: ignore[arg-type]
        show(as_json, preview.as_json(), preview.lines())
        return
    from dalda.workflows.experiment import run_experiment as run_study

    report = run_study(study, original=original, **words)  # type: ignore[arg-type]
    show(as_json, report.as_json(), report.lines())


@config.command()
@command
def convert(
    study: Study,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A new .yaml file; else it is shown.")
    ] = None,
) -> None:
    """Show what one of the original code's .py files means, as a study in YAML; nothing is executed."""
    from dalda.config.experiment import read_study, study_as_yaml

    text = study_as_yaml(read_study(study))
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"'{out}' is already there; name another file, nothing is overwritten") from None


@command
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of dalda run, or of the original code's CSV files."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new .png, .svg or .pdf file.")],
    panels: Annotated[str, typer.Option(help="shots, classes, lambda, or all that there is.")] = "all",
    epoch: Annotated[
        str, typer.Option(help="last; or best, as the original code plots, which flatters.")
    ] = "last",
    as_json: Json = False,
) -> None:
    """Draw accuracy over shots, gains per class, and lambda against the score."""
    from dalda.workflows.plot import plot as draw

    figure = draw(runs, out, panels=panels, epoch=epoch)
    show(as_json, {"figure": str(figure)}, [f"figure: {figure}"])
