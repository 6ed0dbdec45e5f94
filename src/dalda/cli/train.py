"""The verbs that tell whether it helped."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import (
    DataSet,
    Device,
    IgnoreReview,
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
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="A new or empty folder.")] = Path("dalda-demo"),
    as_json: Json = False,
) -> None:
    """The whole flow on the embedded doodle world: does synthetic data help a few-shot classifier?"""
    from dalda.demo import run_demo

    report = run_demo(out)
    show(as_json, report.as_json(), report.lines())


@verb
def train(
    dataset: DataSet,
    root: Root = None,
    synthetic: Annotated[
        list[Path] | None, typer.Option(help="A folder of dalda augment; again for more.")
    ] = None,
    shots: Shots = None,
    seed: Seed = 0,
    rule: Rule = "reference",
    backbone: Annotated[
        str | None,
        typer.Option(help="doodle, clip, resnet50, dinov2, a folder or Hub id; else what fits."),
    ] = None,
    tune: Annotated[str, typer.Option(help="What learns: head, full or lora.")] = "head",
    head_start: Annotated[
        str, typer.Option(help="Where a head starts: text (with a CLIP) or random.")
    ] = "text",
    blend: Annotated[
        str,
        typer.Option(
            help="How synthetic images are used: per-image-replacement, global-replacement, "
            "concatenation, synthetic-only or two-term-loss."
        ),
    ] = "per-image-replacement",
    synthetic_probability: Annotated[
        float, typer.Option(help="How often a synthetic image stands in; the second term's weight.")
    ] = 0.5,
    mix: Annotated[str, typer.Option(help="Mixed pairs of images: none, mixup or cutmix.")] = "none",
    min_clip_score: Annotated[
        float | None, typer.Option(help="Leave out pictures that CLIP is less sure of.")
    ] = None,
    only_agreed: Annotated[
        bool, typer.Option("--only-agreed", help="Leave out what the real-only classifier sees otherwise.")
    ] = False,
    weigh_by_clip_score: Annotated[
        bool, typer.Option("--weigh-by-clip-score", help="Trust each picture as much as CLIP does.")
    ] = False,
    ignore_review: IgnoreReview = False,
    views: Annotated[
        str, typer.Option(help="Augmented views per image, or exact for fresh ones at each step.")
    ] = "8",
    augment: Annotated[
        str, typer.Option(help="Flip and rotation (standard), and also jitter or randaugment.")
    ] = "standard",
    epochs: Annotated[int, typer.Option(help="Passes of --iterations steps.")] = 50,
    iterations: Annotated[int, typer.Option(help="Steps per epoch.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 32,
    seeds: Annotated[int, typer.Option(help="Classifiers per arm, on successive seeds.")] = 3,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A folder for results, new or gone on with.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a few-shot classifier on real images alone and with each synthetic set, and compare."""
    from dalda.config import TrainConfig
    from dalda.workflows import train as training

    config = config_of(
        TrainConfig,
        **{"dataset": dataset, "root": root, "synthetic": tuple(synthetic or ()), "backbone": backbone},
        **{"shots": whole_number("--shots", shots, "all"), "seed": seed, "rule": rule, "seeds": seeds},
        **{"tune": tune, "head_start": head_start, "blend": blend, "mix": mix, "augment": augment},
        **{"min_clip_score": min_clip_score, "only_agreed": only_agreed, "ignore_review": ignore_review},
        **{"epochs": epochs, "iterations": iterations, "batch_size": batch_size, "device": device},
        synthetic_probability=synthetic_probability,
        weigh_by_clip_score=weigh_by_clip_score,
        views="exact" if views == "exact" else whole_number("--views", views, "exact"),
        out=out,
    )
    report = training.train(config)
    show(as_json, report.as_json(), report.lines())


@verb
def evaluate(
    synthetic: Annotated[Path, typer.Argument(metavar="OUT", help="A folder of dalda augment.")],
    against: Annotated[
        str, typer.Option(metavar="DATASET", help="The real images: a data set as elsewhere.")
    ],
    root: Root = None,
    part: Annotated[str, typer.Option(help="Whose real images: train or val.")] = "train",
    shots: Shots = None,
    seed: Seed = 0,
    rule: Rule = "reference",
    backbone: Annotated[
        str | None,
        typer.Option(help="Whose features: doodle, clip, dinov2, a folder or Hub id; else what fits."),
    ] = None,
    ignore_review: IgnoreReview = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """How faithful, how diverse and how far from copies a synthetic set is; no classifier is trained."""
    from dalda.config import EvaluateConfig
    from dalda.workflows import evaluate as evaluating

    config = config_of(
        EvaluateConfig,
        **{"synthetic": synthetic, "dataset": against, "root": root, "part": part, "backbone": backbone},
        **{"shots": whole_number("--shots", shots, "all"), "seed": seed, "rule": rule, "device": device},
        ignore_review=ignore_review,
    )
    report = evaluating.evaluate(config)
    show(as_json, report.as_json(), report.lines())
