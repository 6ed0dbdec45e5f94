"""Result tables of the original code, alone, by method, and as its plot configurations name them."""

from pathlib import Path

import pytest

from dalda.compat.results import read_run, write_results
from dalda.errors import UserError
from dalda.types import TrialResult
from dalda.workflows.plot import plot


def table(folder: Path, *accuracies: float) -> Path:
    """A trial for each seed."""
    folder.mkdir(parents=True)
    trials = [
        TrialResult("", "", seed, 1, ("a", "b"), value, (value, value), 1.0, 2, 0, ())
        for seed, value in enumerate(accuracies)
    ]
    write_results(folder, [(trial, None) for trial in trials], 50)
    return folder


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for dataset in ("pets", "flowers"):
        table(tmp_path / f"{dataset}-baselines/real", 0.5, 0.6)
        table(tmp_path / f"{dataset}-baselines/dalda-1", 0.7, 0.8)
    return tmp_path


def named(trials: list[TrialResult]) -> list[tuple[str, str, int, float]]:
    return [(trial.dataset, trial.arm, trial.seed, trial.accuracy) for trial in trials]


def test_a_folder_of_methods_and_its_data_set_are_read(world: Path) -> None:
    assert named(read_run(world / "pets-baselines/real", "last")) == [
        ("pets", "real", 0, 0.5),
        ("pets", "real", 1, 0.6),
    ]
    flowers = read_run(Path("flowers-baselines"), "best")
    assert [trial.arm for trial in flowers] == ["dalda-1", "dalda-1", "real", "real"]
    assert read_run(world, "last") == []


def test_a_plot_configuration_names_methods_and_data_sets(world: Path) -> None:
    (world / "configs_plot").mkdir()
    (world / "configs_plot/all.py").write_text(
        'name = "figure"\nrows = 1\nvalue_index = -1\ntrial = 1\n'
        'datasets = ["Pets", "Flowers"]\nlogdirs = ["pets-baselines", "flowers-baselines"]\n'
        'method_dirs = ["real", "dalda-1", "none"]\nmethod_names = ["Real", "DALDA", "None"]\n'
    )
    for place in ("configs_plot/all.py", "all", "all.py"):
        assert named(read_run(Path(place), "last")) == [
            ("Pets", "Real", 0, 0.5),
            ("Pets", "DALDA", 0, 0.7),
            ("Flowers", "Real", 0, 0.5),
            ("Flowers", "DALDA", 0, 0.7),
        ]
    figure = plot([Path("all")], world / "visualizations/all.svg")
    text = figure.read_text()
    assert all(word in text for word in ("Pets", "Flowers", "DALDA"))


def test_a_plot_configuration_without_its_lists_is_one_sentence(world: Path) -> None:
    (world / "bad.py").write_text('datasets = ["Pets"]\nlogdirs = "pets-baselines"\n')
    with pytest.raises(UserError, match=r"bad.py: \'logdirs\' must be a list of strings"):
        read_run(Path("bad"), "last")


@pytest.mark.parametrize("epoch", ["last", "best"])
@pytest.mark.parametrize("row", ["0,1,49,0.5,Accuracy A", "0,x,49,0.5,Accuracy", "0,1,49,7,Accuracy"])
def test_a_table_that_lacks_something_is_one_sentence(tmp_path: Path, row: str, epoch: str) -> None:
    folder = table(tmp_path / "logs", 0.5)
    (folder / "results_0_1.csv").write_text(
        f",seed,examples_per_class,epoch,value,metric,split\n0,{row},Validation\n"
    )
    with pytest.raises(UserError, match="are no result tables of the original DALDA code"):
        read_run(folder, epoch)
