"""The verbs about real images: fetch, choose, score."""

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
def download(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="pets, flowers102 or caltech101.")],
    root: Annotated[Path, typer.Option(help="The folder it goes to.")],
    mirror: Annotated[str | None, typer.Option(help="Another address that serves the same files.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch a published data set, check it and unpack it; nothing that is there is overwritten."""
    from dalda.datasets.download import download as fetch

    catalog = fetch(dataset, root, mirror)
    counts = {part: sum(map(len, files.values())) for part, files in catalog.parts.items()}
    answer = {"dataset": dataset, "root": str(root), "classes": len(catalog.classes), "images": counts}
    show(as_json, answer, [f"{dataset}: {len(catalog.classes)} classes in {root}"])


@verb
def split(
    dataset: DataSet,
    root: Root = None,
    seed: Seed = 0,
    shots: Shots = None,
    part: Annotated[str, typer.Option(help="train or val.")] = "train",
    rule: Rule = "reference",
    as_json: Json = False,
) -> None:
    """Show the examples that a seed and a number of shots choose."""
    from dalda.datasets.few_shot import draw_split, split_as_json
    from dalda.workflows.real_images import catalog_of

    count = whole_number("--shots", shots, "all")
    drawn = draw_split(catalog_of(dataset, root), part=part, seed=seed, shots=count, rule=rule)
    lines = [f"{one.label}\t{one.path}" for one in drawn.examples]
    show(as_json, split_as_json(drawn), lines)


@verb
def score(
    dataset: DataSet,
    root: Root = None,
    seed: Seed = 0,
    shots: Shots = None,
    rule: Rule = "reference",
    model: Annotated[str, typer.Option(help="The preset whose CLIP scores.")] = "doodle",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A new CSV file.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """CLIP score of each example: how surely CLIP sees its class among the data set's classes."""
    from dalda.config import DataConfig
    from dalda.workflows.real_images import score_table

    config = config_of(
        DataConfig,
        dataset=dataset,
        root=root,
        seed=seed,
        shots=whole_number("--shots", shots, "all"),
        rule=rule,
    )
    rows = score_table(config, model, device, out)
    low = sum(row["clip_score"] <= 0.3 for row in rows)
    answer = {"dataset": dataset, "at_most_0.3": low, "examples": rows}
    lines = [f"{row['clip_score']:.5f}\t{row['label']}\t{row['path']}" for row in rows]
    show(as_json, answer, [*lines, f"{low} of {len(rows)} examples score at most 0.3"])
