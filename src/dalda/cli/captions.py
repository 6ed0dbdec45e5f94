"""The command that writes captions."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import Json, Root, Seed, command, config_of, show


@command
def captions(
    out: Annotated[Path, typer.Option("-o", "--out", help="A caption file, JSON; one begun here goes on.")],
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="As for the other commands.")
    ] = None,
    root: Root = None,
    classes: Annotated[
        Path | None, typer.Option(help="A list in place of a data set, one name a line.")
    ] = None,
    llm: Annotated[
        str,
        typer.Option(
            help="Who writes: grammar, local, openai:MODEL, azure:DEPLOYMENT, transformers:ID_OR_FOLDER."
        ),
    ] = "grammar",
    base_url: Annotated[str | None, typer.Option(help="A server that speaks OpenAI's protocol.")] = None,
    per_class: Annotated[int, typer.Option(help="Captions per class.")] = 10,
    domain: Annotated[str | None, typer.Option(help="What the images are, in one line.")] = None,
    model: Annotated[str, typer.Option(help="The image model that will read them.")] = "sd15",
    concurrency: Annotated[int, typer.Option(help="Questions that are asked at a time.")] = 4,
    max_tokens_total: Annotated[
        int | None, typer.Option(help="Stop before more than these are used.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Print some captions of each class.")] = 0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write captions for every class; what is there is kept, and no answer is paid for twice."""
    from dalda.config import CaptionConfig
    from dalda.workflows.captions import write_captions
    from dalda.workflows.reports.captions import caption_lines

    config = config_of(
        CaptionConfig,
        **{
            "out": out,
            "dataset": dataset,
            "root": root,
            "classes": classes,
            "llm": llm,
            "base_url": base_url,
        },
        **{"per_class": per_class, "domain": domain, "model": model, "concurrency": concurrency},
        **{"max_tokens_total": max_tokens_total, "seed": seed},
    )
    report = write_captions(config)
    show(as_json, report.as_dict(), caption_lines(report, sample))
    if report.missing:
        raise typer.Exit(1)
