"""The CLIP class probabilities that a folder was begun with: OUT/scores.json.

They decide lambda, and with it the requests. Another device or number of threads moves a score by its last
digit, so that a run that computed them anew would begin a second image beside each of the first.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SETTINGS
from dalda.storage import write

SCORES = "scores.json"
Scores = Mapping[tuple[str, str], float]
"""By class and by the hash of the image's bytes."""


def kept_scores(folder: Path, clip: str, classes: Sequence[str]) -> dict[tuple[str, str], float]:
    """What the folder keeps of this CLIP's scores among these classes; nothing where it keeps others.

    Raises UserError for a file that is damaged.
    """
    path = folder / SCORES
    if not (folder / SETTINGS).exists():  # then it is no folder of ours
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["clip"] != clip or found["classes"] != list(classes):
            return {}
        return {
            (label, sha256): _share(value)
            for label, scores in found["scores"].items()
            for sha256, value in scores.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(
            f"the scores '{path}' are damaged; restore them, or choose another folder with -o"
        ) from None


def keep_scores(folder: Path, clip: str, classes: Sequence[str], scores: Scores) -> None:
    """Writes the scores beside the settings, unless the folder keeps the same.

    Raises UserError where it keeps others: another process began it meanwhile.
    """
    kept = kept_scores(folder, clip, classes)
    if any(kept.get(key, score) != score for key, score in scores.items()):
        raise UserError(f"another process has begun '{folder}' meanwhile; run the same command again")
    if kept.keys() >= scores.keys():
        return
    by_class: dict[str, dict[str, float]] = {}
    for (label, sha256), score in {**kept, **scores}.items():
        by_class.setdefault(label, {})[sha256] = score
    content = {"clip": clip, "classes": list(classes), "scores": by_class}
    write(folder / SCORES, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)
