"""Runs and the original DALDA code's tables become one figure's numbers."""

import csv
from pathlib import Path

import pytest
from tests.reporting.test_answer import result

from dalda.errors import UserError
from dalda.evaluation.results import RunFolder
from dalda.workflows.plot import dataset_panel, plot, run_results


def run_in(folder: Path, gain: float = 0.1, dataset: str = "pets", real: bool = True) -> Path:
    """Two arms, two seeds, one and two shots; `dalda` gains in the second class only."""
    shares = {"real": 0.6, "dalda": 0.6 + gain} if real else {"dalda": 0.6 + gain}
    results = [
        result(arm, seed, share + shots / 10, shots=shots, dataset=dataset)
        for arm, share in shares.items()
        for seed in (0, 1)
        for shots in (1, 2)
    ]
    RunFolder(folder, "dalda run").save(results, {})
    return folder


def original_run(folder: Path) -> Path:
    """Two cumulative tables of two epochs, the first of them the better one."""
    folder.mkdir(parents=True)
    rows = [
        [0, shots, epoch, value + shots / 10, metric, split]
        for shots in (1, 2)
        for epoch, value in ((0, 0.6), (1, 0.5))
        for metric in ("Loss", "Accuracy", "Accuracy A")
        for split in ("Training", "Validation")
    ]
    for name, part in (("results_0_1.csv", rows[:12]), ("results_0_2.csv", rows)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "seed", "examples_per_class", "epoch", "value", "metric", "split"])
            writer.writerows([number, *row] for number, row in enumerate(part))
    return folder


def text_of(figure: Path) -> str:
    return figure.read_text(encoding="utf-8")


def test_means_gains_and_classes_of_a_run(tmp_path: Path) -> None:
    results = run_results(run_in(tmp_path / "run"), "last")
    panel = dataset_panel("pets", {"run": results})
    assert panel.accuracy["real"]["1"].mean == pytest.approx(0.7025)
    assert panel.accuracy["dalda"]["2"].mean == pytest.approx(0.9025)
    assert panel.gains["dalda"]["1"].mean == pytest.approx(0.1)
    assert {name: gain.mean for name, gain in panel.class_gains["dalda"].items()} == pytest.approx(
        {"boat": 0.0, "car": 0.2}
    )
    assert "real" not in panel.gains
    assert panel.title == "pets, 2 seeds"


def test_the_tables_of_the_original_code_are_read(tmp_path: Path) -> None:
    found = run_results(original_run(tmp_path / "logs"), "last")
    assert [(one.arm, one.seed, one.shots) for one in found] == [("logs", 0, 1), ("logs", 0, 2)]
    assert [one.accuracy for one in found] == pytest.approx([0.6, 0.7])  # after the last epoch
    assert found[0].classes == ("A",)


def test_the_best_epoch_is_one_for_all_seeds(tmp_path: Path) -> None:
    """Each seed's own best epoch would give 0.9 and 0.8; the best mean is that of epoch 1."""
    rows = [
        [seed, 1, epoch, value, "Accuracy", "Validation"]
        for seed, values in ((0, (0.9, 0.7, 0.2)), (1, (0.1, 0.6, 0.8)))
        for epoch, value in enumerate(values)
    ]
    for name, part in (("results_0_1.csv", rows[:3]), ("results_1_1.csv", rows)):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "seed", "examples_per_class", "epoch", "value", "metric", "split"])
            writer.writerows([number, *row] for number, row in enumerate(part))
    assert [one.accuracy for one in run_results(tmp_path, "best")] == pytest.approx([0.7, 0.6])


def test_runs_with_arms_of_one_name_have_different_names(tmp_path: Path) -> None:
    runs = [run_in(tmp_path / "one"), run_in(tmp_path / "two", gain=0.15), original_run(tmp_path / "logs")]
    text = text_of(plot(runs, tmp_path / "figure.svg", panels="shots"))
    for arm in ("one: real", "one: dalda", "two: dalda", ">logs<"):
        assert arm in text


def test_folders_of_one_name_have_different_names_by_what_differs(tmp_path: Path) -> None:
    names = ("pets-baselines", "flowers-baselines", "caltech-baselines")
    ours = [run_in(tmp_path / name / "dalda", dataset="pets") for name in names]
    theirs = [original_run(tmp_path / "theirs" / name / "dalda") for name in names]
    text = text_of(plot(ours, tmp_path / "ours.svg", panels="shots"))
    assert all(f">{name[:12]}" in text for name in names)
    text = text_of(plot(theirs, tmp_path / "theirs.svg", panels="shots"))
    assert all(f">{name}, 1 seeds" in text for name in ("pets", "flowers", "caltech"))  # each its own panel


def test_each_data_set_has_a_panel(tmp_path: Path) -> None:
    runs = [run_in(tmp_path / name / "run", dataset=name) for name in ("pets", "flowers")]
    text = text_of(plot(runs, tmp_path / "a.svg"))
    assert "pets, 2 seeds: gain per class" in text
    assert "flowers, 2 seeds: gain per class" in text


def test_a_run_named_twice_is_drawn_once(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    once, twice = (plot(runs, tmp_path / f"{len(runs)}.png") for runs in ([run], [run, run]))
    assert once.read_bytes() == twice.read_bytes()


def test_a_run_without_real_images_is_compared_with_those_of_the_other(tmp_path: Path) -> None:
    runs = {
        "one": run_results(run_in(tmp_path / "one"), "last"),
        "two": run_results(run_in(tmp_path / "two", gain=0.15, real=False), "last"),
    }
    panel = dataset_panel("pets", runs)
    assert list(panel.accuracy) == ["real", "one: dalda", "two: dalda"]
    assert panel.gains["two: dalda"]["1"].mean == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"panels": "none"}, "--panels cannot be 'none'"), ({"epoch": "first"}, "--epoch cannot be 'first'")],
)
def test_options_that_are_none_are_named(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plot([run_in(tmp_path / "run")], tmp_path / "a.png", **options)


def test_a_table_without_its_results_is_read(tmp_path: Path) -> None:
    rows = ["dataset,arm,seed,shots,epoch,split,metric,value"]
    rows += [f"pets,{arm},0,4,last,val,{name},0.5" for arm in "ab" for name in ("accuracy", "accuracy cat")]
    (tmp_path / "results.csv").write_text("\n".join(rows))
    assert [(one.arm, one.shots, one.accuracy) for one in run_results(tmp_path, "last")] == [
        ("a", 4, 0.5),
        ("b", 4, 0.5),
    ]
    with pytest.raises(UserError, match="no accuracy of each epoch"):
        run_results(tmp_path, "best")
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="a table of results"):
        run_results(tmp_path, "last")


def test_folders_without_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no results"):
        run_results(tmp_path, "last")
    with pytest.raises(UserError, match=r"there is no folder '.*nowhere'"):
        run_results(tmp_path / "nowhere", "last")
    (tmp_path / "results_0_1.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="a result table of the original DALDA code"):
        run_results(tmp_path, "last")
