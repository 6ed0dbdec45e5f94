"""The verbs that tell whether it helped."""

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
    backbone: Annotated[
        str, typer.Option(help="doodle, clip, resnet50, dinov2, a folder or Hub id.")
    ] = "doodle",
    synthetic_probability: Annotated[
        float, typer.Option(help="How often a synthetic copy stands in.")
    ] = 0.5,
    shots: Shots = None,
    seed: Seed = 0,
    rule: Rule = "reference",
    seeds: Annotated[int, typer.Option(help="Classifiers per arm, on successive seeds.")] = 1,
    epochs: Annotated[int, typer.Option(help="Passes of --iterations steps.")] = 50,
    iterations: Annotated[int, typer.Option(help="Steps per epoch.")] = 200,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A new folder for results.csv.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a few-shot classifier on real images alone and with each synthetic set, and compare."""
    from dalda.config import TrainConfig
    from dalda.pipeline import training

    config = config_of(
        TrainConfig,
        **{"dataset": dataset, "root": root, "synthetic": tuple(synthetic or ()), "backbone": backbone},
        **{"shots": whole_number("--shots", shots, "all"), "seed": seed, "rule": rule, "seeds": seeds},
        **{"epochs": epochs, "iterations": iterations, "out": out, "device": device},
        synthetic_probability=synthetic_probability,
    )
    report = training.train(config)
    show(as_json, report.as_json(), report.lines())
