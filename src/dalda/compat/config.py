"""A configuration of the original DALDA code as a study."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dalda.compat.literal import Assigned, Value, read_config
from dalda.config.experiment import Study
from dalda.config.study_file import StudyMistake, checked_study
from dalda.datasets.published import PUBLISHED, SHORT_NAMES
from dalda.datasets.registry import DATASETS
from dalda.errors import UserError
from dalda.evaluation.backbones.table import ROWS
from dalda.models.presets import PRESETS
from dalda.progress import say

NAMES = {name: SHORT_NAMES.get(name, name) for name in (*PUBLISHED, *SHORT_NAMES)}
MODELS = {
    "CompVis/stable-diffusion-v1-4": "sd14",
    "runwayml/stable-diffusion-v1-5": "sd15",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd15",
}
DEFAULTS: dict[str, Value] = {
    "EXP_NAME": None,
    "model_path": "CompVis/stable-diffusion-v1-4",
    "dataset": None,
    "logdir": None,
    "synthetic_dir": None,
    "prompt_mode": None,
    "llm_prompt_path": None,
    "synthetic_probability": 0.5,
    "guidance_scale": 7.5,
    "num_synthetic": 10,
    "num_trials": 3,
    "examples_per_class": [1, 2, 4, 8, 16],
    "image_size": 512,
    "classifier_backbone": "clip",
    "iterations_per_epoch": 200,
    "num_epochs": 50,
    "batch_size": 32,
    "num_workers": None,
    "device": "cuda",
    "aug": None,
    "scale": "adaptive",
    "num_inference_steps": 30,
    "resume": None,
}
"""The fields and the paper's values; image_size and num_workers have no effect here."""
FIELD_OF = {
    "name": "EXP_NAME",
    "shots": "examples_per_class",
    "seeds": "num_trials",
    "epochs": "num_epochs",
    "iterations": "iterations_per_epoch",
    "ip_adapter_scale": "scale",
    "per_image": "num_synthetic",
    "steps": "num_inference_steps",
}
"""A study's settings that have another name in such a file."""


def read_original_config(path: Path) -> Study:
    """A study from a .py file, which is read and never executed: one arm, seeds 0 to num_trials - 1.

    Raises UserError, with the line, for a field that is missing, misspelt or of the wrong kind.
    """
    fields = _Fields(read_config(path), str(path))
    dataset = fields.word("dataset", NAMES)
    model = MODELS.get(fields.text("model_path"), fields.text("model_path"))
    settings: dict[str, Any] = {
        "dataset": dataset,
        "shots": fields.get("examples_per_class"),
        "seeds": fields.get("num_trials"),
        "arms": [{"name": fields.text("EXP_NAME", path.stem), **_arm(fields, model)}],
        "train": {
            "backbone": _backbone(fields, model),
            "synthetic_probability": fields.get("synthetic_probability"),
            "epochs": fields.get("num_epochs"),
            "iterations": fields.get("iterations_per_epoch"),
            "batch_size": fields.get("batch_size"),
        },
        "device": _device(fields),
        "out": fields.text("logdir", f"runs/{path.stem}"),
        "synthetic_dir": _synthetic_dir(fields),
        "original_csv": True,
        "resume": _resume(fields),
    }
    try:
        return checked_study(
            {key: value for key, value in settings.items() if value is not None}, fields.name
        )
    except StudyMistake as mistake:
        parts = [FIELD_OF.get(str(part), str(part)) for part in reversed(mistake.place)]
        raise fields.mistake(next((x for x in parts if x in DEFAULTS), "aug"), mistake.what) from None


class _Fields:
    """The fields of one file, with errors that name its lines."""

    def __init__(self, assigned: Mapping[str, Assigned], name: str) -> None:
        self.assigned = assigned
        self.name = name
        for written, found in assigned.items():
            # A name close to a field's is a mistake; any other is a helper of the file's own.
            close = difflib.get_close_matches(written, DEFAULTS, 1, cutoff=0.85)
            if written not in DEFAULTS and close and close[0] not in assigned:
                raise UserError(
                    f"{name}, line {found.line}: there is no field '{written}'; is it '{close[0]}'?"
                )
        for field in ("dataset", "aug"):
            if field not in assigned:
                raise UserError(f"{name}: '{field}' is not set; add it")

    def get(self, field: str) -> Value:
        return self.assigned[field].value if field in self.assigned else DEFAULTS[field]

    def text(self, field: str, default: str | None = None) -> str:
        value = default if default is not None and field not in self.assigned else self.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.mistake(field, "write a string")
        return value

    def word(self, field: str, words: Mapping[str, str]) -> str:
        value = self.get(field)
        if not isinstance(value, str) or value not in words:
            raise self.mistake(field, f"write one of {', '.join(words)}")
        return words[value]

    def mistake(self, field: str, what: str) -> UserError:
        line = self.assigned[field].line if field in self.assigned else 1
        value = repr(self.get(field))
        value = value if len(value) <= 60 else value[:57] + "..."
        return UserError(f"{self.name}, line {line}: {field} cannot be {value}: {what}")


def _arm(fields: _Fields, model: str) -> dict[str, Any]:
    """How the arm's images are generated."""
    aug, number = fields.get("aug"), fields.get("num_synthetic")
    if aug not in (None, "dalda"):
        raise fields.mistake("aug", "write 'dalda' or None")
    if aug is None or (type(number) is int and number == 0):
        return {"method": "real"}
    mode = fields.get("prompt_mode") or ("llm" if fields.get("llm_prompt_path") else "base")
    if mode not in ("llm", "base"):
        raise fields.mistake("prompt_mode", "write 'llm' or 'base'")
    arm: dict[str, Any] = {
        "model": model,
        "captions": fields.text("llm_prompt_path") if mode == "llm" else "base",
        "ip_adapter_scale": _scale(fields),
        "per_image": number,
        "guidance_scale": fields.get("guidance_scale"),
        "steps": fields.get("num_inference_steps"),
    }
    if model not in PRESETS:
        # Whatever the model, the original DALDA code gives it this autoencoder and this noise schedule.
        paper = PRESETS["sd14"]
        arm["vae"] = paper.vae
        arm["model_option"] = {"noise_schedule": paper.noise_schedule, "size": paper.size}
    published = PRESETS.get(model, PRESETS["sd14"]).adapter_file
    if published == "ip-adapter_sd15.bin" and (Path("models") / published).is_file():
        arm["adapter"] = "."  # its folder `models`, as the original DALDA code expects it
    return arm


def _scale(fields: _Fields) -> str:
    scale = fields.get("scale")
    number = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 <= scale <= 1
    if scale not in ("adaptive", "all_random") and not number:
        raise fields.mistake("scale", "write 'adaptive', 'all_random' or a number from 0 to 1")
    if scale == "adaptive" and "random" in f"{fields.get('EXP_NAME')} {Path(fields.name).stem}":
        say(f"note: {fields.name} is called random, but its scale is adaptive, and adaptive is used")
    return "uniform" if scale == "all_random" else str(scale)


def _backbone(fields: _Fields, model: str) -> str:
    """With a preset that was made for one data set, `clip` is that data set's own CLIP."""
    name = fields.text("classifier_backbone")
    own = next((row for row in DATASETS.values() if model in row.models), None)
    if own is not None and name == "clip":
        return own.clip
    if name not in ROWS:
        raise fields.mistake("classifier_backbone", f"write one of {', '.join(ROWS)}")
    return name


def _device(fields: _Fields) -> str:
    """`cuda` and `cuda:0`, as in the published files, are the device of this machine, whichever it has."""
    name = fields.text("device")
    if name == "cuda:0":
        say(f"note: device = 'cuda:0' of {fields.name} is read as the device that this machine has")
    return "auto" if name in ("cuda", "cuda:0") else name


def _synthetic_dir(fields: _Fields) -> str | None:
    """The folder's template: fields are filled, and seed and shots are left to each trial."""
    if fields.get("synthetic_dir") is None:
        return None

    def fill(match: re.Match[str]) -> str:
        field = match[1]
        if field in ("seed", "examples_per_class"):
            return {"seed": "{seed}", "examples_per_class": "{shots}"}[field]
        if field not in DEFAULTS:
            raise fields.mistake("synthetic_dir", f"there is no field '{field}' to fill in")
        return str(fields.get(field))

    return re.sub(r"\{(\w+)\}", fill, fields.text("synthetic_dir"))


def _resume(fields: _Fields) -> list[Value] | None:
    """[seed, shots, index, repeat] of the last image that exists; all None is from the start."""
    value = fields.get("resume")
    if value is None or (isinstance(value, list) and all(part is None for part in value)):
        return None
    if isinstance(value, list) and len(value) == 4 and all(type(part) is int for part in value):
        return value
    raise fields.mistake("resume", "write four whole numbers, seed, shots, index and repeat, or four None")
