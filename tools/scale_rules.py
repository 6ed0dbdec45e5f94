"""Tries rules that choose each class's IP-Adapter scale from a probe: sets of `tools/scale_pools.py`.

    python tools/scale_rules.py FOLDER --seeds 10 11 12

A probe is `PER_IMAGE` images of each real image at each scale of a grid. Rules see the real images of the
split and the probe, never a validation image; only `hindsight` does. Prints a table for docs/evaluation.md.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from dalda.config import DataConfig
from dalda.datasets.class_names import class_wordings
from dalda.doodles.vocabulary import FAMILIAR
from dalda.evaluation.features import FeatureStore, load_features, normalized
from dalda.evaluation.filters import clip_probabilities
from dalda.evaluation.heads.cross_validated import ROUGH, standard_of
from dalda.evaluation.heads.cross_validation import fold_rows, folds_of
from dalda.evaluation.heads.rows import feature_rows
from dalda.evaluation.heads.softmax_regression import softmax_regression
from dalda.evaluation.heads.table import default_head
from dalda.evaluation.statistics import interval
from dalda.evaluation.training import TrainingMethod, run_trials
from dalda.evaluation.trial import Trial, image_file, labels_of
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.scale_policy import THRESHOLD
from dalda.types import FewShotSplit, SyntheticImage, TrialResult
from dalda.workflows.real_images import score_examples, split_of
from scale_pools import GRID, SHOTS, STRENGTHS, config_of, fixed_scale

Numbers = NDArray[np.float64]
Choice = Sequence[float | None]
"""A scale for each class; None adds no synthetic images."""
DECAY = 1e-2
"""Of the heads that rules train."""
LOW, HIGH = 0.25, 0.8
"""Shares of the similarity that a model's scales reach, for classes that CLIP knows and the others."""


@dataclass(frozen=True)
class Probe:
    """What a rule may look at: the real images of a split, and images at each scale of the grid."""

    split: FewShotSplit
    seed: int
    sets: Mapping[float, tuple[SyntheticImage, ...]]
    store: FeatureStore
    clip: FeatureStore

    @property
    def classes(self) -> range:
        return range(len(self.split.classes))

    def images(self, choice: Choice) -> tuple[SyntheticImage, ...]:
        """The images of each class at its scale."""
        scales = dict(zip(self.split.classes, choice, strict=True))
        return tuple(x for scale, images in self.sets.items() for x in images if scales[x.label] == scale)

    def everywhere(self, scale: float | None) -> list[float | None]:
        return [scale] * len(self.split.classes)

    @cached_property
    def recognised(self) -> Numbers:
        """CLIP's mean probability of each class's real images, [classes]."""
        from dalda.models.clip import load_clip
        from dalda.models.presets import preset_named

        scores = np.array(score_examples(self.split, load_clip(preset_named("doodle").clip, "cpu")))
        return self.by_class(scores, labels_of(self.split.images, self.split.classes))

    def by_class(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> Numbers:
        return np.array([values[labels == number].mean() for number in self.classes])

    @cached_property
    def left_out(self) -> dict[float | None, Numbers]:
        """By scale, the log-likelihood of each left-out real image, [classes, shots].

        A head learns from the other real images and from the images of these.
        """
        return {scale: self._left_out(scale) for scale in (None, *self.sets)}

    def _left_out(self, scale: float | None) -> Numbers:
        synthetic = () if scale is None else self.sets[scale]
        rows = feature_rows(Trial("probe", self.seed, self.split, synthetic), self.store)
        found: list[list[float]] = [[] for _ in self.classes]
        folds = folds_of(rows, self.seed)
        for fold, (train, _) in zip(folds, fold_rows(rows, folds), strict=True):
            centre, scaling = standard_of(train)
            scaled = replace(train, features=(train.features - centre) / scaling)
            weight, bias = softmax_regression(scaled, DECAY, steps=ROUGH, tolerance=1e-4)
            for image in sorted(fold):
                own = rows.real & (rows.sources[:, 0] == image)
                likelihoods = log_softmax((rows.features[own] - centre) / scaling @ weight.T + bias, axis=1)
                label = int(rows.targets[own].argmax(1)[0])
                found[label].append(float(likelihoods[:, label].mean()))
        return np.array(found)

    @cached_property
    def kept(self) -> dict[float, Numbers]:
        """By scale, the share of each class's images in which a head of real images sees the class."""
        rows = feature_rows(Trial("probe", self.seed, self.split), self.store)
        centre, scaling = standard_of(rows)
        scaled = replace(rows, features=(rows.features - centre) / scaling)
        weight, bias = softmax_regression(scaled, DECAY)
        return {
            scale: self._shares(images, lambda x: ((x - centre) / scaling @ weight.T + bias).argmax(1))
            for scale, images in self.sets.items()
        }

    @cached_property
    def nearest(self) -> dict[float, Numbers]:
        """By scale, the share of images whose nearest real image, but for the source, has the class."""
        real = normalized(self.store.plain([image_file(x) for x in self.split.images]))
        labels = labels_of(self.split.images, self.split.classes)
        places = {image.sha256: place for place, image in enumerate(self.split.images)}
        found = {}
        for scale, images in self.sets.items():
            cosines = self._features(images) @ real.T
            cosines[np.arange(len(images)), [places[x.source_sha256] for x in images]] = -1
            right = labels[cosines.argmax(1)] == labels_of(images, self.split.classes)
            found[scale] = self.by_class(right.astype(float), labels_of(images, self.split.classes))
        return found

    @cached_property
    def similarity(self) -> dict[float, Numbers]:
        """By scale, the mean cosine of an image and its source, [classes]."""
        real = {
            image.sha256: row
            for image, row in zip(
                self.split.images,
                normalized(self.store.plain([image_file(x) for x in self.split.images])),
                strict=True,
            )
        }
        found = {}
        for scale, images in self.sets.items():
            sources = np.stack([real[x.source_sha256] for x in images])
            cosines = (self._features(images) * sources).sum(1)
            found[scale] = self.by_class(cosines, labels_of(images, self.split.classes))
        return found

    @cached_property
    def probability(self) -> dict[float, Numbers]:
        """By scale, CLIP's mean probability of the class of its generated images, [classes]."""
        words = class_wordings(self.split)
        return {
            scale: self.by_class(
                clip_probabilities(images, words, self.clip), labels_of(images, self.split.classes)
            )
            for scale, images in self.sets.items()
        }

    def _features(self, images: Sequence[SyntheticImage]) -> Numbers:
        return normalized(self.store.plain([image_file(x) for x in images]))

    def _shares(
        self, images: Sequence[SyntheticImage], predict: Callable[[Numbers], NDArray[np.int64]]
    ) -> Numbers:
        features = np.asarray(self.store.plain([image_file(x) for x in images]), np.float64)
        labels = labels_of(images, self.split.classes)
        return self.by_class((predict(features) == labels).astype(float), labels)


def left_out_best(probe: Probe, *, none: bool = False) -> Choice:
    """The scale under which left-out real images are likeliest."""
    scales = [scale for scale in probe.left_out if none or scale is not None]
    return [max(scales, key=lambda scale: probe.left_out[scale][c].mean()) for c in probe.classes]


def left_out_smallest(probe: Probe) -> Choice:
    """The smallest scale within a standard error of the best."""
    found: list[float | None] = []
    for number in probe.classes:
        scores = {scale: probe.left_out[scale][number] for scale in probe.sets}
        best = max(scores.values(), key=lambda values: float(values.mean()))
        least = best.mean() - max(0.1, best.std(ddof=1) / len(best) ** 0.5)
        found.append(next(scale for scale in sorted(scores) if scores[scale].mean() >= least))
    return found


def left_out_by_group(probe: Probe) -> Choice:
    """One scale for the classes that CLIP recognises, one for the others, each the best on average."""
    known = probe.recognised > THRESHOLD
    found: list[float | None] = [None] * len(known)
    for group in (known, ~known):
        if group.any():
            best = max(probe.sets, key=lambda scale: float(probe.left_out[scale][group].mean()))
            found = [best if inside else old for inside, old in zip(group, found, strict=True)]
    return found


def smallest_above(measured: Mapping[float, Numbers], share: float) -> Choice:
    """The smallest scale at which a measure reaches a share of its largest value for the class."""
    table = np.stack([measured[scale] for scale in sorted(measured)])
    reached = table >= share * table.max(0)
    return [sorted(measured)[int(row.argmax())] for row in reached.T]


def by_threshold(measured: Mapping[float, Numbers], threshold: float) -> Choice:
    """The smallest scale at which a measure passes a threshold, else none."""
    scales = sorted(measured)
    table = np.stack([measured[scale] for scale in scales]) >= threshold
    return [scales[int(row.argmax())] if row.any() else None for row in table.T]


def kept_and_spread(probe: Probe) -> Choice:
    """The scale with the largest product of the share that keeps the class and the distance to a source."""
    scores = {scale: probe.kept[scale] * (1 - probe.similarity[scale]) for scale in probe.sets}
    return [max(scores, key=lambda scale: float(scores[scale][number])) for number in probe.classes]


def by_similarity(probe: Probe) -> Choice:
    """One curve of similarity for the model, and a share of it for each kind of class."""
    scales = sorted(probe.sets)
    curve = np.array([probe.similarity[scale].mean() for scale in scales])
    shares = (curve - curve[0]) / max(float(np.ptp(curve)), 1e-9)
    wanted = np.where(probe.recognised > THRESHOLD, LOW, HIGH)
    return [scales[int(np.abs(shares - share).argmin())] for share in wanted]


RULES: dict[str, Callable[[Probe], Choice]] = {
    "left-out image likeliest": left_out_best,
    "the same, or no images": lambda probe: left_out_best(probe, none=True),
    "the same, smallest within one error": left_out_smallest,
    "the same, one scale for each kind of class": left_out_by_group,
    "smallest that keeps the class, by a head": lambda probe: smallest_above(probe.kept, 0.75),
    "keeps half of the class, by a head, or no images": lambda probe: by_threshold(probe.kept, 0.5),
    "smallest that keeps the class, by neighbours": lambda probe: smallest_above(probe.nearest, 0.75),
    "smallest that CLIP recognises": lambda probe: smallest_above(probe.probability, 0.75),
    "class kept times spread": kept_and_spread,
    "share of the similarity, by kind of class": by_similarity,
}


def probe_of(folder: Path, dataset: str, seed: int, strength: float, *stores: FeatureStore) -> Probe:
    split = split_of(DataConfig(dataset=dataset, shots=SHOTS, seed=seed))
    sets = {
        scale: read(config_of(folder, dataset, seed, fixed_scale(scale, strength)).out) for scale in GRID
    }
    return Probe(split, seed, sets, *stores)


def read(folder: Path) -> tuple[SyntheticImage, ...]:
    return tuple(SyntheticDataset.existing(folder).synthetic_images())


def results_of(
    probe: Probe, adaptive: tuple[SyntheticImage, ...], validation: FewShotSplit
) -> dict[str, TrialResult]:
    """The result of each arm; choices that agree are trained once."""
    choices: dict[str, Choice] = {"real": probe.everywhere(None)}
    choices |= {f"fixed {scale:g}": probe.everywhere(scale) for scale in GRID}
    choices |= {name: rule(probe) for name, rule in RULES.items()}
    for name in RULES:
        print(f"  {name}: {choices[name]}", flush=True)
    images = {"adaptive": adaptive} | {name: probe.images(choice) for name, choice in choices.items()}
    found = trained(probe, images, validation)
    fixed = [name for name in choices if name == "real" or name.startswith("fixed")]
    known = [name in FAMILIAR for name in probe.split.classes]
    best = [max(fixed, key=lambda name: group_accuracy(found[name], kind)) for kind in (True, False)]
    hindsight = [choices[best[0 if is_known else 1]][0] for is_known in known]
    return found | trained(probe, {"hindsight": probe.images(hindsight)}, validation)


def trained(
    probe: Probe, arms: Mapping[str, tuple[SyntheticImage, ...]], validation: FewShotSplit
) -> dict[str, TrialResult]:
    distinct = dict.fromkeys(arms.values())
    trials = [Trial(str(number), probe.seed, probe.split, x) for number, x in enumerate(distinct)]
    method = TrainingMethod(head=default_head(probe.store.backbone))
    results = run_trials(trials, validation, probe.store, method=method)
    by_images = dict(zip(distinct, results, strict=True))
    return {name: by_images[images] for name, images in arms.items()}


def group_accuracy(result: TrialResult, known: bool) -> float:
    values = zip(result.classes, result.class_accuracy, strict=True)
    return float(np.mean([value for name, value in values if (name in FAMILIAR) == known]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dataset", default="doodles")
    parser.add_argument("--backbone", default="doodle-vision", help="of the classifiers and of the rules")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    asked = parser.parse_args()
    stores = load_features(asked.backbone, "cpu"), load_features("doodle", "cpu")
    validation = split_of(DataConfig(dataset=asked.dataset), "val")
    for strength in asked.strengths:
        found: dict[str, list[TrialResult]] = {}
        for seed in asked.seeds:
            print(f"strength {strength:g}, seed {seed}")
            probe = probe_of(asked.folder, asked.dataset, seed, strength, *stores)
            adaptive = read(config_of(asked.folder, asked.dataset, seed, "adaptive", strength).out)
            for name, result in results_of(probe, adaptive, validation).items():
                found.setdefault(name, []).append(result)
        print("| rule | all | known | unknown | against adaptive |\n| --- | --- | --- | --- | --- |")
        for name, results in found.items():
            pairs = zip(results, found["adaptive"], strict=True)
            gain = interval([result.accuracy - other.accuracy for result, other in pairs])
            groups = [np.mean([group_accuracy(x, known) for x in results]) for known in (True, False)]
            total = np.mean([x.accuracy for x in results])
            numbers = " | ".join(f"{100 * value:.1f}" for value in (total, *groups))
            print(f"| {name} | {numbers} | {gain.text('+')} |", flush=True)


if __name__ == "__main__":
    main()
