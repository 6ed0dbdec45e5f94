"""What the fields of the original code's configuration files mean: such a file becomes a study."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dalda.compat.literal import Assigned, Value, read_config
from dalda.config.experiment import Study, StudyMistake, checked_study
from dalda.errors import UserError
from dalda.progress import say

DATASETS = {"pets": "pets", "flowers": "flowers102", "flowers102": "flowers102"}
DATASETS |= {"caltech": "caltech101", "caltech101": "caltech101"}
MODELS = {
    "CompVis/stable-diffusion-v1-4": "sd14",
    "runwayml/stable-diffusion-v1-5": "sd15",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd15",
}
BACKBONES = ("clip", "resnet50", "doodle")
DOODLE = "doodle"
UNUSED = {"num_workers", "image_size"}
"""Known, and without effect: features are computed in one process, at the backbone's own size."""
FIELDS = UNUSED | {
    "EXP_NAME",
    "model_path",
    "dataset",
    "logdir",
    "synthetic_dir",
    "prompt_mode",
    "llm_prompt_path",
    "synthetic_probability",
    "guidance_scale",
    "num_synthetic",
    "num_trials",
    "examples_per_class",
    "classifier_backbone",
    "iterations_per_epoch",
    "num_epochs",
    "batch_size",
    "device",
    "aug",
    "scale",
    "num_inference_steps",
    "resume",
}


def read_study(path: Path) -> Study:
    """A study from a .py file, which is read and never executed."""
    return study_of(read_config(path), str(path))


def study_of(fields: Mapping[str, Assigned], name: str = "config") -> Study:
    """The study that a reference configuration describes: one arm, seeds 0 to num_trials - 1.

    Raises UserError, with the line, for a field that is missing, misspelt or of the wrong kind.
    """
    said = _Fields(fields, name)
    said.refuse_misspelt()
    dataset = said.word("dataset", DATASETS)
    model = said.text("model_path", "CompVis/stable-diffusion-v1-4")
    arm = {"name": said.text("EXP_NAME", Path(name).stem)}
    aug = said.get("aug", required=True)
    if aug is None:
        arm["method"] = "real"
    elif aug == "dalda":
        arm |= _images(said, MODELS.get(model, model))
    else:
        raise said.mistake("aug", "write 'dalda' or None")
    return _checked(
        {
            "dataset": dataset,
            "shots": said.get("examples_per_class", [1, 2, 4, 8, 16]),
            "seeds": said.get("num_trials", 3),
            "arms": [arm],
            "train": {
                "backbone": _backbone(said, model),
                "synthetic_probability": said.get("synthetic_probability", 0.5),
                "epochs": said.get("num_epochs", 50),
                "iterations": said.get("iterations_per_epoch", 200),
                "batch_size": said.get("batch_size", 32),
            },
            "device": _device(said.text("device", "cuda")),
            "out": said.text("logdir", f"runs/{Path(name).stem}"),
            "synthetic_dir": _synthetic_dir(said),
            "original_csv": True,
            "resume": _resume(said),
        },
        said,
    )


class _Fields:
    """The fields of one file, and how to complain of them."""

    def __init__(self, fields: Mapping[str, Assigned], name: str) -> None:
        self.fields = fields
        self.name = name

    def get(self, field: str, default: Value = None, *, required: bool = False) -> Value:
        if field in self.fields:
            return self.fields[field].value
        if required:
            raise UserError(f"{self.name}: '{field}' is not set; add it")
        return default

    def text(self, field: str, default: str) -> str:
        value = self.get(field, default)
        if not isinstance(value, str) or not value.strip():
            raise self.mistake(field, "write a string")
        return value

    def word(self, field: str, words: Mapping[str, str]) -> str:
        value = self.get(field, required=True)
        if not isinstance(value, str) or value not in words:
            raise self.mistake(field, f"write one of {', '.join(words)}")
        return words[value]

    def mistake(self, field: str, what: str) -> UserError:
        line = self.fields[field].line if field in self.fields else 1
        return UserError(f"{self.name}, line {line}: {field} cannot be {_short(self.get(field))}: {what}")

    def refuse_misspelt(self) -> None:
        """A name that is nearly a field's is a slip; any other is a helper of the file's own."""
        for name, assigned in self.fields.items():
            close = difflib.get_close_matches(name, FIELDS, 1, cutoff=0.85)
            if name not in FIELDS and close and close[0] not in self.fields:
                raise UserError(
                    f"{self.name}, line {assigned.line}: there is no field '{name}'; is it '{close[0]}'?"
                )


def _images(said: _Fields, model: str) -> dict[str, Any]:
    """How the arm's images are made."""
    scale = said.get("scale", "adaptive")
    guidance = {"adaptive": "adaptive", "all_random": "uniform"}.get(str(scale), scale)
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if guidance == scale and scale != "adaptive" and not (number and 0 <= float(str(scale)) <= 1):
        raise said.mistake("scale", "write 'adaptive', 'all_random' or a number from 0 to 1")
    called = f"{said.get('EXP_NAME', '')} {Path(said.name).stem}"
    if guidance == "adaptive" and "random" in called:
        say(f"note: {said.name} is called random, but its scale says adaptive, and that is what is done")
    mode = said.get("prompt_mode", "llm" if said.get("llm_prompt_path") else "base")
    if mode not in ("llm", "base"):
        raise said.mistake("prompt_mode", "write 'llm' or 'base'")
    return {
        "model": model,
        "captions": said.text("llm_prompt_path", "") if mode == "llm" else "base",
        "ip_adapter_scale": str(guidance),
        "per_image": said.get("num_synthetic", 10),
        "guidance_scale": said.get("guidance_scale", 7.5),
        "steps": said.get("num_inference_steps", 30),
    }


def _backbone(said: _Fields, model: str) -> str:
    name = said.text("classifier_backbone", "clip")
    if name not in BACKBONES:
        raise said.mistake("classifier_backbone", f"write one of {', '.join(BACKBONES)}")
    # The embedded world has a CLIP of its own, which also scores its images.
    return DOODLE if model == DOODLE and name == "clip" else name


def _device(name: str) -> str:
    """The files say cuda; what is meant is the machine's device, and a numbered one is meant itself."""
    return "auto" if name == "cuda" else name


def _synthetic_dir(said: _Fields) -> str | None:
    """The folder's name, with the data set filled in by the name that the original code has for it."""
    template = said.get("synthetic_dir")
    if template is None:
        return None
    return said.text("synthetic_dir", "").replace("{dataset}", str(said.get("dataset")))


def _resume(said: _Fields) -> list[int] | None:
    """[seed, shots, index, repeat] of the last image that is there; all None is from the start."""
    value = said.get("resume")
    if value is None or (isinstance(value, list) and all(one is None for one in value)):
        return None
    if isinstance(value, list) and len(value) == 4 and all(type(one) is int for one in value):
        return value  # type: ignore[return-value]
    raise said.mistake("resume", "write four whole numbers, seed, shots, index and repeat, or four None")


WORDS = {
    "name": "EXP_NAME",
    "shots": "examples_per_class",
    "seeds": "num_trials",
    "epochs": "num_epochs",
    "iterations": "iterations_per_epoch",
    "ip_adapter_scale": "scale",
    "per_image": "num_synthetic",
    "steps": "num_inference_steps",
}
"""The study's words that the original code has others for."""


def _checked(settings: dict[str, Any], said: _Fields) -> Study:
    """The study, by the same checks as one in YAML; a mistake is told by the original code's field."""
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        return checked_study(given, said.name)
    except StudyMistake as mistake:
        fields = [WORDS.get(str(part), str(part)) for part in reversed(mistake.place)]
        raise said.mistake(next((one for one in fields if one in FIELDS), "aug"), mistake.what) from None


def _short(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
