"""The commands about real images: fetch, choose, score."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import (
    DataSet,
    Device,
    Json,
    Root,
    Seed,
    Shots,
    SplitStrategy,
    command,
    config_of,
    show,
    whole_number,
)


@command
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


@command
def split(
    dataset: DataSet,
    root: Root = None,
    seed: Seed = 0,
    shots: Shots = None,
    part: Annotated[str, typer.Option(help="train or val.")] = "train",
    split_strategy: SplitStrategy = "original",
    as_json: Json = False,
) -> None:
    """Show the examples that a seed and a number of shots choose."""
    from dalda.datasets.few_shot import sample_few_shot, split_as_json
    from dalda.workflows.real_images import load_dataset

    count = whole_number("--shots", shots, "all")
    drawn = sample_few_shot(
        load_dataset(dataset, root), part=part, seed=seed, shots=count, split_strategy=split_strategy
    )
    lines = [f"{one.label}\t{one.path}" for one in drawn.images]
    show(as_json, split_as_json(drawn), lines)


@command
def score(
    dataset: DataSet,
    root: Root = None,
    seed: Seed = 0,
    shots: Shots = None,
    split_strategy: SplitStrategy = "original",
    model: Annotated[str, typer.Option(help="The preset whose CLIP class probabilities.")] = "doodle",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A new CSV file.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """CLIP class probability of each example: how surely CLIP sees its class among the data set's
    classes."""
    from dalda.config import DataConfig
    from dalda.workflows.real_images import score_table

    config = config_of(
        DataConfig,
        dataset=dataset,
        root=root,
        seed=seed,
        shots=whole_number("--shots", shots, "all"),
        split_strategy=split_strategy,
    )
    rows = score_table(config, model, device, out)
    low = sum(row["source_clip_probability"] <= 0.3 for row in rows)
    answer = {"dataset": dataset, "at_most_0.3": low, "examples": rows}
    lines = [f"{row['source_clip_probability']:.5f}\t{row['label']}\t{row['path']}" for row in rows]
    show(as_json, answer, [*lines, f"{low} of {len(rows)} examples score at most 0.3"])
