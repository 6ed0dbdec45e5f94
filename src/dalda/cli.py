"""The command line: parse, call one function, print."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from dalda.errors import UserError

app = typer.Typer(
    help="More training pictures from a few: captions, a diffusion model, and a weight per picture.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
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
Rule = Annotated[str, typer.Option(help="How examples are chosen: reference or stratified.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def main() -> None:
    """The entry point of `dalda`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A class name in any script must not end a run on a terminal that cannot show it.
            stream.reconfigure(errors="backslashreplace")
    app()


def _command(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A verb whose mistakes end in one sentence on stderr and exit code 2."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
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
                print(f"dalda: {reason}{place}; mend that and run the same command again", file=sys.stderr)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                print(
                    "dalda: stopped; what is finished is kept, run the same command again", file=sys.stderr
                )
                raise typer.Exit(130) from None

        app.command(name)(run)
        return run

    return register


def _config(kind: Any, **values: Any) -> Any:
    """A checked configuration; a value out of range is the user's mistake."""
    from pydantic import ValidationError

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UserError(f"{option} cannot be {first['input']!r}: {first['msg'].lower()}") from None


def _whole_number(option: str, text: str | None, other: str) -> int | None:
    """A number, or None for the word that stands for no limit of the user's."""
    if text is None or text == other:
        return None
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{option} cannot be '{text}'; write a whole number or {other}") from None


def _print(as_json: bool, answer: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(answer) if as_json else "\n".join(lines))


@_command("demo")
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="A new or empty folder.")] = Path("dalda-demo"),
    as_json: Json = False,
) -> None:
    """The whole flow on the embedded doodle world: does synthetic data help a few-shot classifier?"""
    from dalda.demo import run_demo

    report = run_demo(out)
    _print(as_json, report.as_json(), report.lines())


@_command("split")
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
    from dalda.data.fewshot import draw_split, split_as_json
    from dalda.pipeline import catalog_of

    count = _whole_number("--shots", shots, "all")
    drawn = draw_split(catalog_of(dataset, root), part=part, seed=seed, shots=count, rule=rule)
    lines = [f"{one.label}\t{one.path}" for one in drawn.examples]
    _print(as_json, split_as_json(drawn), lines)


@_command("score")
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
    from dalda import pipeline
    from dalda.config import DataConfig

    config = _config(
        DataConfig,
        dataset=dataset,
        root=root,
        seed=seed,
        shots=_whole_number("--shots", shots, "all"),
        rule=rule,
    )
    rows = pipeline.score_table(config, model, device, out)
    low = sum(row["clip_score"] <= 0.3 for row in rows)
    answer = {"dataset": dataset, "at_most_0.3": low, "examples": rows}
    lines = [f"{row['clip_score']:.5f}\t{row['label']}\t{row['path']}" for row in rows]
    _print(as_json, answer, [*lines, f"{low} of {len(rows)} examples score at most 0.3"])


@_command("prompts")
def prompts(
    out: Annotated[Path, typer.Option("-o", "--out", help="A caption file, JSON; one begun here goes on.")],
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="As for the other verbs.")
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
    about: Annotated[str | None, typer.Option(help="What the pictures are, in one line.")] = None,
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
    from dalda import pipeline
    from dalda.answers import caption_lines
    from dalda.config import CaptionConfig

    config = _config(
        CaptionConfig,
        **{
            "out": out,
            "dataset": dataset,
            "root": root,
            "classes": classes,
            "llm": llm,
            "base_url": base_url,
        },
        **{"per_class": per_class, "about": about, "model": model, "concurrency": concurrency},
        **{"max_tokens_total": max_tokens_total, "seed": seed},
    )
    report = pipeline.write_captions(config)
    _print(as_json, report.as_dict(), caption_lines(report, sample))
    if report.missing:
        raise typer.Exit(1)


@_command("download")
def download(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="pets, flowers102 or caltech101.")],
    root: Annotated[Path, typer.Option(help="The folder it goes to.")],
    mirror: Annotated[str | None, typer.Option(help="Another address that serves the same files.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch a published data set, check it and unpack it; nothing that is there is overwritten."""
    from dalda.data.download import download as fetch

    catalog = fetch(dataset, root, mirror)
    counts = {part: sum(map(len, files.values())) for part, files in catalog.parts.items()}
    answer = {"dataset": dataset, "root": str(root), "classes": len(catalog.classes), "images": counts}
    _print(as_json, answer, [f"{dataset}: {len(catalog.classes)} classes in {root}"])


@_command("augment")
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
    from dalda import pipeline
    from dalda.config import AugmentConfig

    config = _config(
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
        **{"shots": _whole_number("--shots", shots, "all"), "seed": seed, "rule": rule, "device": device},
        **{"guidance_scale": guidance_scale, "steps": steps},
        batch_size=_whole_number("--batch-size", batch_size, "auto"),
    )
    report = pipeline.preview(config) if dry_run else pipeline.augment(config)
    _print(as_json, report.as_json(), report.lines())


@_command("train")
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
    from dalda import pipeline
    from dalda.config import TrainConfig

    config = _config(
        TrainConfig,
        **{"dataset": dataset, "root": root, "synthetic": tuple(synthetic or ()), "backbone": backbone},
        **{"shots": _whole_number("--shots", shots, "all"), "seed": seed, "rule": rule, "seeds": seeds},
        **{"epochs": epochs, "iterations": iterations, "out": out, "device": device},
        synthetic_probability=synthetic_probability,
    )
    report = pipeline.train(config)
    _print(as_json, report.as_json(), report.lines())
