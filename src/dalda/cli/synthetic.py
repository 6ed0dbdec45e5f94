"""The verb that makes new pictures."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import (
    DataSet,
    Device,
    Json,
    Root,
    Rule,
    Seed,
    Shots,
    config_of,
    show,
    verb,
    whole_number,
)


@verb
def augment(
    dataset: DataSet,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the synthetic set goes, or goes on.")],
    root: Root = None,
    model: Annotated[
        str, typer.Option(help="doodle, sd14, sd15, a diffusers folder or a Hub id.")
    ] = "doodle",
    adapter: Annotated[str | None, typer.Option(help="An IP-Adapter folder or Hub id, with :file.")] = None,
    method: Annotated[str, typer.Option(help="How pictures are made: dalda.")] = "dalda",
    captions: Annotated[
        Path | None, typer.Option(help="A caption file; without one the grammar writes.")
    ] = None,
    guidance: Annotated[
        str, typer.Option(help="lambda: adaptive, random, or a number from 0 to 1.")
    ] = "adaptive",
    sampling: Annotated[str, typer.Option(help="How adaptive draws: truncated or clipped.")] = "truncated",
    per_image: Annotated[int, typer.Option(help="New pictures per example.")] = 10,
    shots: Shots = None,
    seed: Seed = 0,
    rule: Rule = "reference",
    guidance_scale: Annotated[float | None, typer.Option(help="Classifier-free guidance.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    batch_size: Annotated[str, typer.Option(help="Pictures rendered together, a number or auto.")] = "auto",
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and render nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make new pictures from each example; run again to go on where it stopped."""
    from dalda.config import AugmentConfig
    from dalda.pipeline import synthetic

    config = config_of(
        AugmentConfig,
        **{
            "dataset": dataset,
            "out": out,
            "root": root,
            "model": model,
            "adapter": adapter,
            "method": method,
        },
        **{"captions": captions, "guidance": guidance, "sampling": sampling, "per_image": per_image},
        **{"shots": whole_number("--shots", shots, "all"), "seed": seed, "rule": rule, "device": device},
        **{"guidance_scale": guidance_scale, "steps": steps},
        batch_size=whole_number("--batch-size", batch_size, "auto"),
    )
    report = synthetic.preview(config) if dry_run else synthetic.augment(config)
    show(as_json, report.as_json(), report.lines())
