"""What all commands share: the words of their options, their mistakes, their printing."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from dalda.errors import UserError

P = ParamSpec("P")

DataSet = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="A folder of class folders, or doodles, pets, flowers102, caltech101."
    ),
]
Root = Annotated[Path | None, typer.Option(help="Where a data set that is given by name lies.")]
Shots = Annotated[str | None, typer.Option(help="Examples per class, a number or all.")]
Seed = Annotated[int, typer.Option(help="The root of all randomness.")]
SplitStrategy = Annotated[str, typer.Option(help="How examples are chosen: original or stratified.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
IgnoreReview = Annotated[
    bool, typer.Option("--ignore-review", help="Keep images that were rejected in a review.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def command(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose mistakes end in one sentence on stderr and exit code 2."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except UserError as error:
            print(f"dalda: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except BrokenPipeError:
            raise typer.Exit(1) from None
        except OSError as error:
            place = f" '{error.filename}'" if error.filename else ""
            reason = error.strerror or str(error).splitlines()[0]
            print(f"dalda: {reason}{place}; fix this and run the same command again", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as stop:
            told = str(stop) or "stopped; what is finished is kept, run the same command again"
            print(f"dalda: {told}", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


def config_of(kind: Any, **values: Any) -> Any:
    """A checked configuration; a value out of range is the user's mistake."""
    from pydantic import ValidationError

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UserError(f"{option} cannot be {first['input']!r}: {first['msg'].lower()}") from None


def whole_number(option: str, text: str | None, other: str) -> int | None:
    """A number, or None for the word that stands for no limit of the user's."""
    if text is None or text == other:
        return None
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{option} cannot be '{text}'; write a whole number or {other}") from None


def show(as_json: bool, answer: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(answer) if as_json else "\n".join(lines))
