"""What trials leave in a folder: each result as soon as it is there, the table, and what was left out."""

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.errors import UserError
from dalda.generation.synthetic_dataset import folder_name
from dalda.storage import lock, write
from dalda.types import TrialResult, as_dict
from dalda.workflows.results import OUTCOMES, RESULTS

if TYPE_CHECKING:
    from dalda.evaluation.trial import Trial

REJECTED = "rejected in review"


@dataclass(frozen=True)
class Excluded:
    """A synthetic image that an arm did not use, and why."""

    arm: str
    request_id: str
    reason: str
    kind: str
    """The reason as it is counted."""


def refuse_foreign(folder: Path, mark: str, command: str, begun: Collection[str] = ()) -> None:
    """Raises UserError unless the folder is new, empty, or holds `mark`, by which `command` knows its own.

    `begun` names what else a run leaves that was stopped before the mark was written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file; name a folder with -o")
    if folder.is_dir() and not (folder / mark).exists():
        ours = set(begun)
        others = [path for path in folder.iterdir() if path.name not in ours and path.suffix != ".partial"]
        if others:
            raise UserError(
                f"'{folder}' holds files that {command} did not make, as '{others[0].name}'; "
                "name a new or empty folder with -o, nothing is overwritten"
            )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """One run at a time in a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder, f"another dalda run is at work in '{folder}'; wait for it, or end it"):
        yield


def keep_result(path: Path, result: TrialResult) -> None:
    """One JSON object with all that was measured in a trial, whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(as_dict(result), ensure_ascii=False) + "\n")


def place_of(folder: Path, trial: "Trial | TrialResult") -> Path:
    """The file of a trial's result, in a folder whose trials differ by arm and seed alone."""
    return folder / OUTCOMES / f"{folder_name(trial.arm)}-seed{trial.seed}.json"


def save_results(folder: Path, results: Sequence[TrialResult]) -> None:
    """Each result in its file, and the table of all; those of the same trials are replaced."""
    for one in results:
        keep_result(place_of(folder, one), one)
    write_table(folder, results)


def write_table(folder: Path, results: Iterable[TrialResult]) -> None:
    """results.csv, tidy, of these results."""
    from dalda.evaluation.results import COLUMNS, rows_of

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerows(rows_of(result))
    write(folder / RESULTS, text.getvalue())


def write_excluded(path: Path, excluded: Sequence[Excluded]) -> None:
    """A line for each synthetic image that was not used; no file where all were."""
    if excluded:
        path.parent.mkdir(exist_ok=True)
        text = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in excluded)
        write(path, text)


def read_excluded(path: Path) -> list[Excluded]:
    """What `write_excluded` wrote. Raises UserError for a damaged file."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            return [Excluded(**json.loads(line)) for line in file]
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"'{path}' is no list of what was left out; take it and the result of that name away"
        ) from None


def counted(excluded: Iterable[Excluded]) -> dict[str, Counter[str]]:
    """Arm to reason to how many images."""
    found: dict[str, Counter[str]] = {}
    for one in excluded:
        found.setdefault(one.arm, Counter())[one.kind] += 1
    return found
