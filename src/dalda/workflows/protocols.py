"""Protocols of a study: what another protocol does differently in a run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.captions.templates import base_caption
from dalda.config.experiment import Study
from dalda.registry import Registry
from dalda.types import FewShotSplit, GenerationPlan, SyntheticImage, TrialResult

if TYPE_CHECKING:
    from dalda.evaluation.features import FeatureStore
    from dalda.evaluation.trial import Schedule, Trial
    from dalda.generation.synthetic_dataset import SyntheticDataset
    from dalda.workflows.trials import Task

Curves = dict[str, list[list[float]]]
"""Part and number, such as `training_loss`, to [epochs][classes]."""


class StudyProtocol:
    """The hooks of a run. This one is ours; another protocol overrides what it does differently."""

    def base_caption(self, study: Study, label: str, wording: str) -> str:
        """The paper's plain caption of a class."""
        return base_caption(wording)

    def leftovers(self, folder: Path) -> set[str]:
        """Names of files in a new run folder that are left alone and do not keep a run from starting."""
        return set()

    def done_elsewhere(self, study: Study, task: "Task") -> bool:
        """Whether the trial was run by another program and is not run again."""
        return False

    def existing_images(self, study: Study, task: "Task") -> Mapping[int, SyntheticImage]:
        """Images of the task's set that another program made, by the number of their request."""
        return {}

    def train(
        self,
        study: Study,
        trial: "Trial",
        validation: FewShotSplit,
        store: "FeatureStore",
        schedule: "Schedule",
    ) -> tuple[TrialResult, Curves] | None:
        """The trial in a training loop of its own; None for ours."""
        return None

    def set_written(
        self, study: Study, folder: Path, plan: GenerationPlan, store: "SyntheticDataset"
    ) -> None:
        """Called after a synthetic set is complete."""

    def results_written(
        self, study: Study, folder: Path, trials: Sequence[tuple[TrialResult, Curves | None]], epochs: int
    ) -> None:
        """Called after each trial with all results so far, in the order of the plan."""


PROTOCOLS: Registry[Callable[[], StudyProtocol]] = Registry({"standard": StudyProtocol})


def protocol_of(study: Study) -> StudyProtocol:
    """The protocol whose semantics or files the study asks for."""
    other = study.original or study.original_csv or study.resume is not None
    return PROTOCOLS["original" if other else "standard"]()
