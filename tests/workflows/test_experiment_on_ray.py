"""A study on a real Ray cluster is that of one process."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import ray
from tests.workflows.test_experiment import STUDY, world

from dalda.config.cluster import ClusterConfig
from dalda.errors import UserError
from dalda.evaluation.results import read_results
from dalda.generation.executors.ray_cluster import Watch
from dalda.workflows import experiment_on_ray
from dalda.workflows.experiment import resolved, run_experiment
from dalda.workflows.experiment_on_ray import finish_on_ray
from dalda.workflows.trials import tasks_of

pytestmark = pytest.mark.slow
__all__ = ["world"]

ON_RAY = ClusterConfig(executor="ray")
LEARNED = "  - {name: learned, method: da-fusion, method_option: {fit_steps: 2}}\n"
FILES = (
    "*.csv",
    "*.jsonl",
    "captions/*",
    "classifiers/*",
    "synthetic/*/train/*/*",
    "synthetic/*/*/*.safetensors",
)


@pytest.fixture(scope="module", autouse=True)
def _cluster(world: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DALDA_CACHE", str(world / "cache"))
        patch.chdir(world)
        (world / "study.yaml").write_text(STUDY.format(folder=world / "set") + LEARNED)
        ray.init("local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def files(folder: str) -> dict[str, bytes]:
    paths = [path for pattern in FILES for path in Path(folder).glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_study_on_ray_is_that_of_one_process_and_is_resumed(world: Path) -> None:
    here = run_experiment("study.yaml", out=Path("here"))
    (world / "cache" / "concepts").rename(world / "concepts before")
    there = run_experiment("study.yaml", out=Path("there"), cluster=ON_RAY)
    assert (there.trials, there.trained, there.generated) == (here.trials, here.trained, here.generated)
    assert there.excluded == here.excluded
    assert len(list(world.glob("there/synthetic/*/concepts/*.safetensors"))) > 0
    assert files("there") == files("here")
    assert read_results(Path("there")) == read_results(Path("here"))

    lost = next(path for path in world.glob("there/results/*.json") if "adaptive" in path.read_text())
    before = json.loads(lost.read_text())
    lost.unlink()
    again = run_experiment("study.yaml", out=Path("there"), cluster=ON_RAY)
    assert (again.trained, again.generated) == (1, 0)
    assert json.loads(lost.read_text()) == before


def test_a_mistake_in_a_task_is_one_sentence(world: Path) -> None:
    study = world / "wrong.yaml"
    study.write_text(STUDY.format(folder=world / "set").replace("backbone: doodle", "backbone: nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        run_experiment(study, out=Path("wrong"), cluster=ON_RAY)


def test_a_bug_in_a_task_keeps_its_kind_and_traceback(world: Path) -> None:
    study = resolved(world / "study.yaml", out=Path("bug"), root=None, original=False)
    broken = replace(tasks_of(study)[0], split=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError) as caught:
        finish_on_ray(study, [broken], ON_RAY)
    assert "experiment.py" in str(caught.value.__cause__)


def test_a_folder_that_a_machine_lacks_is_one_sentence(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/nowhere")
    with pytest.raises(UserError, match="a machine of the Ray cluster has no folder '/nowhere'"):
        run_experiment("study.yaml", out=world / "elsewhere", cluster=ON_RAY)


def test_a_study_without_room_is_one_sentence(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_on_ray, "Watch", partial(Watch, replaced=1))
    with pytest.raises(UserError, match=r"no machine .* a worker \(1 GPU\), and none came in 1 s"):
        run_experiment(
            "study.yaml", out=Path("no room"), cluster=ClusterConfig(executor="ray", gpus_per_worker=1)
        )
