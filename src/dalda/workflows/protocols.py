"""Protocols of a study: what another protocol does differently in a run."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.config.experiment import Study
from dalda.registry import Registry
from dalda.types import FewShotSplit, GenerationPlan, SyntheticImage, TrialResult

if TYPE_CHECKING:
    from dalda.evaluation.trial import Trial
    from dalda.workflows.runner import TrialRunner
    from dalda.workflows.trials import Task

Curves = dict[str, list[list[float]]]
"""Part and number, such as `training_loss`, to [epochs][classes]."""
Trained = tuple[TrialResult, Curves | None]
"""A trial's result, with its curves where the protocol keeps some."""


@dataclass(frozen=True)
class StudyProtocol:
    """The hooks of a study's run. This one is ours; another protocol overrides what it does differently."""

    study: Study

    def leftovers(self, folder: Path) -> set[str]:
        """Names of files in a new run folder that are left alone and do not keep a run from starting."""
        return set()

    def begin(self, folder: Path) -> None:
        """Called before the run folder is written to."""

    def done_elsewhere(self, task: "Task") -> bool:
        """Whether the trial was run by another program and is not run again."""
        return False

    def existing_images(self, task: "Task") -> Mapping[int, SyntheticImage]:
        """Images of the task's set that another program made, by the number of their request."""
        return {}

    def set_folder(self, out: Path, existing: Collection[int]) -> Path:
        """The folder of a set; `existing` are the numbers of the images that another program made."""
        return out

    def train(self, trial: "Trial", validation: FewShotSplit, runner: "TrialRunner") -> Trained | None:
        """The trial in a training loop of its own; None for ours."""
        return None

    def set_written(self, folder: Path, plan: GenerationPlan) -> None:
        """Called after a synthetic set is complete."""

    def results_written(self, folder: Path, trials: Sequence[Trained], epochs: int) -> None:
        """Called after the last trial with all results and curves, in the order of the plan."""


PROTOCOLS: Registry[Callable[[Study], StudyProtocol]] = Registry({"standard": StudyProtocol})


def protocol_of(study: Study) -> StudyProtocol:
    """The protocol whose semantics or files the study asks for."""
    other = study.original or study.original_csv or study.resume is not None
    return PROTOCOLS["original" if other else "standard"](study)
