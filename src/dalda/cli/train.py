"""The commands that tell whether it helped."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import (
    DataSet,
    Device,
    IgnoreReview,
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
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="A new or empty folder.")] = Path("dalda-demo"),
    as_json: Json = False,
) -> None:
    """The whole flow on the embedded doodle world: does synthetic data help a few-shot classifier?"""
    from dalda.demo import run_demo

    report = run_demo(out)
    show(as_json, report.as_json(), report.lines())


@command
def train(
    dataset: DataSet,
    root: Root = None,
    synthetic: Annotated[
        list[Path] | None, typer.Option(help="A folder of dalda augment; again for more.")
    ] = None,
    shots: Shots = None,
    seed: Seed = 0,
    split_strategy: SplitStrategy = "original",
    backbone: Annotated[
        str | None,
        typer.Option(help="doodle, clip, resnet50, dinov2, a folder or Hub id; else what fits."),
    ] = None,
    finetune: Annotated[str, typer.Option(help="What learns: head, full or lora.")] = "head",
    head_init: Annotated[
        str, typer.Option(help="Where a head starts: zero-shot (with a CLIP) or random.")
    ] = "zero-shot",
    mixing: Annotated[
        str,
        typer.Option(
            help="How synthetic images are used: per-image-replacement, global-replacement, "
            "concatenation, synthetic-only or two-term-loss."
        ),
    ] = "per-image-replacement",
    synthetic_probability: Annotated[
        float, typer.Option(help="How often a synthetic image stands in; the second term's weight.")
    ] = 0.5,
    batch_augment: Annotated[
        str, typer.Option(help="Mixed pairs of images: none, mixup or cutmix.")
    ] = "none",
    min_clip_probability: Annotated[
        float | None, typer.Option(help="Leave out images that CLIP is less sure of.")
    ] = None,
    filter_by_classifier: Annotated[
        bool,
        typer.Option(
            "--filter-by-classifier", help="Leave out what the real-only classifier sees otherwise."
        ),
    ] = False,
    clip_weighting: Annotated[
        bool, typer.Option("--clip-weighting", help="Trust each image as much as CLIP does.")
    ] = False,
    ignore_review: IgnoreReview = False,
    feature_views: Annotated[
        str, typer.Option(help="Augmented views per image, or online for fresh ones at each step.")
    ] = "8",
    transforms: Annotated[
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
        **{
            "shots": whole_number("--shots", shots, "all"),
            "seed": seed,
            "split_strategy": split_strategy,
            "seeds": seeds,
        },
        **{
            "finetune": finetune,
            "head_init": head_init,
            "mixing": mixing,
            "batch_augment": batch_augment,
            "transforms": transforms,
        },
        **{
            "min_clip_probability": min_clip_probability,
            "filter_by_classifier": filter_by_classifier,
            "ignore_review": ignore_review,
        },
        **{"epochs": epochs, "iterations": iterations, "batch_size": batch_size, "device": device},
        synthetic_probability=synthetic_probability,
        clip_weighting=clip_weighting,
        feature_views="online"
        if feature_views == "online"
        else whole_number("--feature-views", feature_views, "online"),
        out=out,
    )
    report = training.train(config)
    show(as_json, report.as_json(), report.lines())


@command
def evaluate(
    synthetic: Annotated[Path, typer.Argument(metavar="OUT", help="A folder of dalda augment.")],
    against: Annotated[
        str, typer.Option(metavar="DATASET", help="The real images: a data set as elsewhere.")
    ],
    root: Root = None,
    split: Annotated[str, typer.Option(help="Whose real images: train or val.")] = "train",
    shots: Shots = None,
    seed: Seed = 0,
    split_strategy: SplitStrategy = "original",
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
        **{"synthetic": synthetic, "dataset": against, "root": root, "split": split, "backbone": backbone},
        **{
            "shots": whole_number("--shots", shots, "all"),
            "seed": seed,
            "split_strategy": split_strategy,
            "device": device,
        },
        ignore_review=ignore_review,
    )
    report = evaluating.evaluate(config)
    show(as_json, report.as_json(), report.lines())
