"""The main request, end to end, on the embedded world: what do synthetic images do to a classifier?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.config import AugmentConfig, DataConfig
from dalda.datasets.image_io import open_image
from dalda.device import device_named
from dalda.doodles.vocabulary import FAMILIAR, UNFAMILIAR
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.models.presets import preset_named
from dalda.progress import say
from dalda.types import FewShotSplit, SyntheticImage, TrialResult
from dalda.workflows.augment import SETTING_DEFAULTS, decide, generate_plan, settings_of
from dalda.workflows.loading import load_features, load_model, load_scorer
from dalda.workflows.real_images import score_examples, split_of
from dalda.workflows.reports import DemoReport
from dalda.workflows.run_folder import save_results

if TYPE_CHECKING:
    from dalda.generation.backends.stable_diffusion import Renderer
    from dalda.models.clip import Clip

SEEDS = (0, 1, 2)
SHOTS = 2
DOODLES = "doodles"
PER_IMAGE = 4
ARMS = {"text": "0", "uniform": "uniform", "dalda": "adaptive"}
"""The arms with synthetic images, and how each draws lambda; `real` has none."""
GROUPS = {"known": FAMILIAR, "unknown": UNFAMILIAR}
FILES = {"accuracy.png", "sheet.png", "results", "results.csv"}
PROBLEM = (
    f"The problem: {SHOTS} images a class, each class seen in one place and in two colours only; "
    "tested on the whole world."
)


@dataclass(frozen=True)
class Tools:
    """What all arms and seeds share; each is loaded once."""

    scorer: "Clip"
    renderer: "Renderer"


def run_demo(out: Path) -> DemoReport:
    """All arms over all seeds; goes on where an earlier run into the same folder stopped."""
    started = time.monotonic()
    _check(out)
    preset = preset_named("doodle")
    device = device_named("cpu")
    tools = Tools(load_scorer(preset.clip, device), load_model(preset, device))
    splits, sets = {}, {}
    for seed in SEEDS:
        config = AugmentConfig(
            dataset=DOODLES,
            out=out,
            shots=SHOTS,
            seed=seed,
            per_image=PER_IMAGE,
            device=device,
        )
        splits[seed] = split_of(config)
        scores = score_examples(splits[seed], tools.scorer)
        for arm, guidance in ARMS.items():
            say(f"seed {seed}, arm {arm}")
            folder = out / f"{arm}-seed{seed}"
            chosen = config.model_copy(update={"out": folder, "ip_adapter_scale": guidance})
            sets[arm, seed] = _synthetic_set(chosen, scores, tools)
    from dalda.evaluation.comparison import by_arm

    results, zero_shot = _trials(splits, sets)
    save_results(out, results)
    arms = by_arm(results)
    figure, sheet = _figure(out, arms), _sheet(out, splits[0], sets["dalda", 0])
    return replace(
        _report(arms, figure, sheet),
        zero_shot=zero_shot,
        images=sum(map(len, sets.values())),
        seconds=round(time.monotonic() - started, 1),
    )


def _check(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file; name a new or empty folder with -o")
    ours = {f"{arm}-seed{seed}" for arm in ARMS for seed in SEEDS} | FILES
    strange = [path.name for path in out.iterdir() if path.name not in ours] if out.exists() else []
    if strange:
        raise UserError(f"'{out}' holds other files ('{strange[0]}'); name a new or empty folder with -o")


def _synthetic_set(config: AugmentConfig, scores: Sequence[float], tools: Tools) -> list[SyntheticImage]:
    decided = decide(config, scores)
    store = SyntheticDataset.open(config.out, settings_of(config, decided), SETTING_DEFAULTS)
    generate_plan(config, decided, store, tools.renderer)
    return store.samples()


def _trials(
    splits: Mapping[int, FewShotSplit], sets: Mapping[tuple[str, int], list[SyntheticImage]]
) -> tuple[list[TrialResult], float]:
    """The results of all arms and seeds, and the accuracy of CLIP without any training."""
    from dalda.evaluation.training import run_trials
    from dalda.evaluation.trial import Schedule, Trial

    # Validation is one and the same for all seeds; only the few shots differ.
    whole = split_of(DataConfig(dataset=DOODLES), "val")
    trials = [
        Trial(arm, seed, split, tuple(sets.get((arm, seed), ())))
        for seed, split in splits.items()
        for arm in ("real", *ARMS)
    ]
    store = load_features("doodle", "cpu")
    results = run_trials(trials, whole, store)
    (untrained,) = run_trials([Trial("zero-shot", 0, splits[0])], whole, store, Schedule(epochs=0))
    return results, untrained.accuracy


def _group_accuracy(results: Sequence[TrialResult], names: Sequence[str]) -> float:
    """Mean over seeds and over the named classes."""
    values = [
        value
        for one in results
        for name, value in zip(one.classes, one.class_accuracy, strict=True)
        if name in names
    ]
    return sum(values) / len(values)


def _report(arms: Mapping[str, list[TrialResult]], figure: Path, sheet: Path) -> DemoReport:
    from dalda.evaluation.comparison import compare, summarize

    gains = {other: compare(arms["dalda"], arms[other]) for other in ("real", "text", "uniform")}
    sentences = [gain.sentence() for gain in gains.values() if gain is not None]
    assert gains["real"] is not None
    return DemoReport(
        verdict=gains["real"].sentence("synthetic images (dalda)", "real images alone"),
        arms={arm: summarize(results).accuracy for arm, results in arms.items()},
        groups={
            group: {arm: _group_accuracy(results, names) for arm, results in arms.items()}
            for group, names in GROUPS.items()
        },
        gain=gains["real"].gain,
        comparisons=tuple(sentences[1:]),
        problem=PROBLEM,
        figure=figure,
        sheet=sheet,
    )


def _figure(out: Path, arms: Mapping[str, list[TrialResult]]) -> Path:
    from dalda.evaluation.comparison import summarize
    from dalda.reporting.plots import accuracy_figure

    numbers = {arm: summarize(results) for arm, results in arms.items()}
    title = f"Accuracy on the whole doodle world, {SHOTS} images a class, {len(SEEDS)} seeds"
    return accuracy_figure(
        {arm: (one.accuracy, tuple(one.accuracy_by_seed.values())) for arm, one in numbers.items()},
        out / "accuracy.png",
        title=title,
        chance=1 / len(FAMILIAR + UNFAMILIAR),
    )


def _sheet(out: Path, split: FewShotSplit, samples: Sequence[SyntheticImage]) -> Path:
    """The first example of every class with its copies."""
    from dalda.reporting.contact_sheet import SheetRow, image_sheet

    rows = []
    for name in split.classes:
        example = next(one for one in split.images if one.label == name)
        copies = [one for one in samples if one.source_sha256 == example.sha256 and one.label == name]
        score = f"CLIP class probability {copies[0].source_clip_probability:.2f}" if copies else ""
        kind = "known" if name in FAMILIAR else "unknown"
        shown = [(open_image(one.path), one.prompt, one.ip_adapter_scale) for one in copies]
        rows.append(SheetRow(f"{name} ({kind}, {score})", open_image(example.path), shown))
    return image_sheet(rows, out / "sheet.png")
