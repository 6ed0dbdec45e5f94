"""Runs and the original code's tables become one figure's numbers."""

import csv
from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.workflows.plot import figure_of, plot, read_run

COLUMNS = ["dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value"]


def tidy_run(folder: Path, gain: float = 0.1) -> Path:
    """Two arms, two seeds, one and two shots; `dalda` gains in class b only."""
    folder.mkdir()
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for arm, more in (("real", 0.0), ("dalda", gain)):
            for seed in (0, 1):
                for shots in (1, 2):
                    accuracy = 0.4 + 0.1 * shots + 0.02 * seed + more
                    for epoch, metric, value in (
                        ("last", "accuracy", accuracy),
                        ("best", "best_epoch_accuracy", accuracy + 0.05),
                        ("last", "accuracy a", accuracy - more),
                        ("last", "accuracy b", accuracy + more),
                    ):
                        writer.writerow(["pets", arm, seed, shots, epoch, "val", metric, value])
    return folder


def reference_run(folder: Path) -> Path:
    """Two cumulative tables of two epochs, the first of them the better one."""
    folder.mkdir()
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


def test_means_gains_and_classes_of_a_run(tmp_path: Path) -> None:
    figure = figure_of(read_run(tidy_run(tmp_path / "run"), "last"), {})
    assert figure.accuracy["real"]["1"].mean == pytest.approx(0.51)
    assert figure.accuracy["dalda"]["2"].mean == pytest.approx(0.71)
    assert figure.gain["dalda"]["1"].mean == pytest.approx(0.1)
    assert figure.gain["dalda"]["1"].low == pytest.approx(0.1)
    assert figure.classes["dalda"] == pytest.approx({"a": 0.0, "b": 0.2})
    assert (figure.real, figure.title) == ("real", "pets: 2 seeds")


def test_the_best_epoch_comes_only_when_asked_for(tmp_path: Path) -> None:
    theirs = reference_run(tmp_path / "logs")
    assert [one.accuracy for one in read_run(theirs, "last")] == pytest.approx([0.6, 0.7])
    assert [one.accuracy for one in read_run(theirs, "best")] == pytest.approx([0.7, 0.8])
    with pytest.raises(UserError, match="no accuracy of each epoch"):
        read_run(tidy_run(tmp_path / "run"), "best")


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
    assert [one.accuracy for one in read_run(tmp_path, "best")] == pytest.approx([0.7, 0.6])


def test_three_folders_of_one_base_name_are_three_series(tmp_path: Path) -> None:
    runs = []
    for name in ("pets", "flowers", "caltech"):
        (tmp_path / name).mkdir()
        runs.append(reference_run(tmp_path / name / "dalda"))
    text = plot(runs, tmp_path / "figure.svg", panels="shots").read_text(encoding="utf-8")
    assert all(f"{name}/dalda" in text for name in ("pets", "flowers", "caltech"))


def test_the_references_tables_are_read(tmp_path: Path) -> None:
    found = read_run(reference_run(tmp_path / "logs"), "last")
    assert [(one.arm, one.seed, one.shots) for one in found] == [("logs", 0, 1), ("logs", 0, 2)]
    assert found[0].classes == ("A",)
    assert found[0].class_accuracy == pytest.approx((0.6,))


def test_runs_with_arms_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = tidy_run(tmp_path / "one"), tidy_run(tmp_path / "two", gain=0.2)
    out = plot([one, two, reference_run(tmp_path / "logs")], tmp_path / "figure.svg", panels="shots")
    text = out.read_text(encoding="utf-8")
    for arm in ("pets: one: dalda", "pets: two: dalda", "logs"):
        assert arm in text


@pytest.mark.parametrize(
    ("options", "words"),
    [({"panels": "none"}, "--panels cannot be 'none'"), ({"epoch": "first"}, "--epoch cannot be 'first'")],
)
def test_options_that_are_none_are_named(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plot([tidy_run(tmp_path / "run")], tmp_path / "a.png", **options)


def test_folders_without_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no results"):
        read_run(tmp_path, "last")
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no table of results"):
        read_run(tmp_path, "last")
    (tmp_path / "results.csv").unlink()
    (tmp_path / "results_0_1.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no result table of the original DALDA code"):
        read_run(tmp_path, "last")
