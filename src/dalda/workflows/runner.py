"""Trials in a run folder: which images count, training, and results that are kept one by one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalda.config import TrainConfig
from dalda.datasets.class_names import class_wordings
from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone, ZeroShot
from dalda.evaluation.classifier import ClassifierInfo, TrainedHead, classifier_file, write_classifier
from dalda.evaluation.excluded import Excluded
from dalda.evaluation.features import FeatureStore, load_features
from dalda.evaluation.filters import clip_probabilities, weights_of, weights_within_sources
from dalda.evaluation.heads.table import resolved_head
from dalda.evaluation.mixing import pool_of
from dalda.evaluation.results import RunFolder
from dalda.evaluation.training import TrainingMethod, predict_probabilities, run_trials
from dalda.evaluation.trial import Schedule, Trial, image_file, labels_of
from dalda.generation.folder_names import folder_name
from dalda.progress import say
from dalda.types import REAL, FewShotSplit, RealImage, SyntheticImage, TrialResult
from dalda.workflows.real_images import report_validation_copies
from dalda.workflows.synthetic_sets import SyntheticSet, backbone_for, clip_for, say_default

REJECTED = "rejected in review"
OTHER_CLASS = "predicted as another class"
OTHER_SOURCE = "its source image is not in this split"
"""Why a synthetic image is not used that was made of another split."""


@dataclass
class TrialRunner:
    """Trains trials of one classifier; the backbone and CLIP are loaded once, when they are needed."""

    config: TrainConfig
    run: RunFolder | None = None
    backbone: Any = None
    """A torch module or feature extractor in place of the configuration's."""

    @cached_property
    def store(self) -> FeatureStore:
        """The backbone with its features."""
        config = self.config
        views = 8 if config.feature_views == "online" else config.feature_views
        backbone = self.backbone
        if backbone is None:
            backbone = backbone_for(config, config.backbone)
            if config.backbone is None:
                say_default(config, backbone)
        return load_features(backbone, config.device, views=views, transforms=config.transforms)

    @cached_property
    def clip(self) -> FeatureStore:
        """The backbone itself where it is a CLIP, else the one that fits the data set."""
        if isinstance(self.store.backbone, ZeroShot):
            return self.store
        return load_features(clip_for(self.config), self.config.device)

    @cached_property
    def head(self) -> str:
        """The head of all arms but some baselines. Raises UserError where the backbone does not fit it."""
        config = self.config
        return resolved_head(config.head, stepwise=config.stepwise, backbone=self.store.backbone)

    @property
    def schedule(self) -> Schedule:
        config = self.config
        return Schedule(config.epochs, config.iterations, config.batch_size, head_init=config.head_init)

    @property
    def method(self) -> TrainingMethod:
        """Beside the schedule, how a classifier is trained."""
        config = self.config
        return TrainingMethod(
            config.feature_views == "online", config.finetune, config.batch_augment, self.head
        )

    def trial(
        self, arm: str, config: TrainConfig, split: FewShotSplit, synthetic: SyntheticSet | None
    ) -> tuple[Trial, list[Excluded]]:
        """The arm's trial at the configuration's seed, and the images that it does not use.

        Raises UserError where no image is left.
        """
        if synthetic is None:
            # There is nothing to train on for `real` where only synthetic images count: it stays per image.
            return Trial(arm, config.seed, split), []
        sources = {(image.sha256, image.label) for image in split.images}
        excluded = [
            Excluded(arm, image.request_id, REJECTED, REJECTED)
            for image in synthetic.rejected
            if (image.source_sha256, image.source_class) in sources
        ]
        if not synthetic.images:
            return Trial(arm, config.seed, split), excluded
        _, in_pool = pool_of(split.images, synthetic.images)
        trial = Trial(
            arm,
            config.seed,
            split,
            tuple(in_pool),
            config.synthetic_probability,
            config.mixing,
            soft_labels=config.soft_labels,
        )
        trial, excluded = self._filtered(config, trial, excluded)
        if config.real_replay:
            trial = replace(trial, synthetic=_replayed(trial))
        return trial, excluded

    def _filtered(
        self, config: TrainConfig, trial: Trial, excluded: list[Excluded]
    ) -> tuple[Trial, list[Excluded]]:
        images, classes = trial.synthetic, class_wordings(trial.split)

        def passed(reasons: Sequence[str], option: str, kind: str) -> tuple[SyntheticImage, ...]:
            """The images with nothing against them; the others are excluded, each with its reason."""
            pairs = list(zip(images, reasons, strict=True))
            excluded.extend(
                Excluded(trial.arm, x.request_id, reason, kind) for x, reason in pairs if reason
            )
            left = tuple(image for image, reason in pairs if not reason)
            if not left:
                raise UserError(
                    f"no image of '{trial.arm}' passes {option}: leave that out or make other images"
                )
            return left

        if config.min_clip_probability is not None:
            least = config.min_clip_probability
            low = f"CLIP class probability below {least:g}"
            probabilities = clip_probabilities(images, classes, self.clip)
            reasons = ["" if value >= least else low for value in probabilities]
            images = passed(reasons, "--min-clip-probability", low)
        if config.filter_by_classifier:
            seen = [trial.split.classes[number] for number in self._judged(trial, images).argmax(1)]
            reasons = [
                "" if image.label == name else f"looks like {name}, not {image.label}"
                for image, name in zip(images, seen, strict=True)
            ]
            images = passed(reasons, "--filter-by-classifier", OTHER_CLASS)
        weights = None
        if config.clip_weighting:
            weights = weights_of(clip_probabilities(images, classes, self.clip))
        if config.classifier_weighting:
            judged = self._judged(trial, images, calibrated=True)
            confidence = judged[np.arange(len(images)), labels_of(images, trial.split.classes)]
            own = weights_within_sources(confidence, images)
            weights = own if weights is None else tuple(np.multiply(weights, own).tolist())
        return replace(trial, synthetic=images, sample_weights=weights), excluded

    def _judged(
        self, trial: Trial, images: Sequence[SyntheticImage], *, calibrated: bool = False
    ) -> NDArray[np.float64]:
        """Class probabilities [images, classes] by a classifier of the trial's real images alone."""
        real = Trial(REAL, trial.seed, trial.split)
        return predict_probabilities(
            real, images, self.store, self.schedule, self.head, calibrated=calibrated
        )

    def train(self, trials: Mapping[str, Trial], validation: FewShotSplit) -> dict[str, TrialResult]:
        """The results of trials by their ids; those that the run folder has are not trained again."""
        done = {name: self.run.read(name) for name in trials if self.run is not None and self.run.has(name)}
        missing = {name: trial for name, trial in trials.items() if name not in done}
        self._report_copies(missing.values(), validation)
        names = {(trial.arm, trial.seed, trial.split.shots): name for name, trial in missing.items()}

        def on_trial_end(result: TrialResult, trained: TrainedHead) -> None:
            name = names[result.arm, result.seed, result.shots]
            if self.run is not None:
                self._keep(self.run.folder, name, result, trained)
                self.run.keep(name, result)  # last: where it is there, nothing of the trial is missing
            done[name] = result
            say_result(result)

        run_trials(list(missing.values()), validation, self.store, self.schedule, self.method, on_trial_end)
        return {name: done[name] for name in trials}

    def _report_copies(self, trials: Iterable[Trial], validation: FewShotSplit) -> None:
        """Reports near-duplicates of validation images among the synthetic ones, once for each set."""
        sets = {(trial.arm, trial.synthetic): trial for trial in trials if trial.synthetic}
        for trial in sets.values():
            if trial.replayed:
                continue  # real images, which were looked at before
            images = [RealImage(x.path, x.label, image_file(x).sha256) for x in trial.synthetic]
            report_validation_copies(trial.arm, images, validation)

    def _keep(self, run: Path, name: str, result: TrialResult, trained: TrainedHead) -> None:
        """Writes the classifier of a trial."""
        backbone = self.store.backbone
        info = ClassifierInfo(
            trial=name,
            dataset=result.dataset,
            arm=result.arm,
            seed=result.seed,
            shots=result.shots,
            classes=result.classes,
            backbone=backbone.name,
            fingerprint=backbone.fingerprint,
            size=backbone.size,
            preprocessing=backbone.preprocessing if isinstance(backbone, Backbone) else {},
            finetune=trained.finetune,
            normalized=trained.head.normalized,
            sharpness=trained.head.sharpness,
        )
        write_classifier(
            classifier_file(run, folder_name(result.arm), result.seed, result.shots), trained, info
        )


def _replayed(trial: Trial) -> tuple[SyntheticImage, ...]:
    """The source of each synthetic image in its place, with the class that it has itself."""
    real = {image.sha256: image.path for image in trial.split.images}
    return tuple(
        replace(x, path=real[x.source_sha256], label=x.source_class, source_label="", soft_label=())
        for x in trial.synthetic
    )


def other_sources(arm: str, split: FewShotSplit, images: Sequence[SyntheticImage]) -> list[Excluded]:
    """The images that were made of another split's real images."""
    sources = {image.sha256 for image in split.images}
    return [
        Excluded(arm, image.request_id, OTHER_SOURCE, OTHER_SOURCE)
        for image in images
        if image.source_sha256 not in sources
    ]


def say_result(result: TrialResult) -> None:
    """One line for a finished trial."""
    synthetic = f" and {result.synthetic_images} synthetic" if result.synthetic_images else ""
    shots = "all" if result.shots is None else result.shots
    say(
        f"{result.arm}, seed {result.seed}, shots {shots}: {result.accuracy * 100:.1f} % of "
        f"{len(result.right)} validation images, from {result.real_images} real{synthetic} ones"
    )
