"""Which family a checkpoint is of, and whether a preset's options fit it: known before it is loaded."""

from importlib.util import find_spec
from pathlib import Path

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.generation.backends.adapter_files import refuse_foreign_adapters
from dalda.generation.backends.families import FAMILIES, OPTIONS
from dalda.models.hub import folder_on_disk, place_of
from dalda.models.preset_options import split_file
from dalda.models.presets import CLASSES_OF_ROWS, PRESETS, ROWS_OF_CLASSES, Preset, pipeline_class_in
from dalda.models.single_file import class_of_file
from dalda.plugins import plugins_of

GROUP = "dalda.generators"
"""Entry points of other packages' generators."""


def refuse_misfit(preset: Preset) -> None:
    """Raises UserError for what is wrong with a preset, as far as it is known without a network."""
    if preset.config is not None and not Path(preset.model).is_file():
        raise UserError(
            f"--model-option config= is for a model in one file, which '{preset.model}' is not; leave it "
            "out"
        )
    if preset.second_adapter is None and preset.second_adapter_scale != Preset.second_adapter_scale:
        raise UserError(
            "--model-option second_adapter_scale= is for a second adapter; name one: second_adapter="
        )
    if preset.second_adapter is not None and split_file(preset.second_adapter)[1] is None:
        raise UserError(
            "--model-option second_adapter= is FOLDER_OR_ID:FILE, such as "
            f"h94/IP-Adapter:models/ip-adapter-plus_sd15.safetensors, not '{preset.second_adapter}'"
        )
    family = _class_on_disk(preset.model)
    if family:
        refuse_foreign(preset, family)
        if family in FAMILIES:
            refuse_foreign_adapters(preset, family)


def refuse_foreign(preset: Preset, family: str) -> None:
    """Raises UserError for an unknown pipeline class, another family's preset, and unfit options."""
    if family not in FAMILIES:
        if family in plugins_of(GROUP):
            return
        raise UserError(
            f"the model '{preset.model}' is a {family}; dalda generates with {', '.join(FAMILIES)}, choose "
            "one of these with --model"
        )
    row = ROWS_OF_CLASSES.get(family)
    flows = [one.scheduler == "flow-euler" for one in (preset, PRESETS[row or "sd15"])]
    if row is not None and flows == [False, True] and not place_of(preset.model).is_local:
        raise UserError(
            f"the model '{preset.model}' is a {family}; start from the preset of its family: --model {row} "
            f"--model-option model={preset.model}"
        )
    if family == "KolorsPipeline" and find_spec("sentencepiece") is None:
        raise UserError(
            f"the tokenizer of '{preset.model}' needs the package sentencepiece; run pip install "
            "'dalda[kolors]'"
        )
    for name in OPTIONS:
        if getattr(preset, name) is not None and name not in FAMILIES[family].options:
            option = f"--{name}" if name in AugmentConfig.model_fields else f"--model-option {name}"
            raise UserError(
                f"the model '{preset.model}' is a {family}, which has no use for {option}; leave it out"
            )


def _class_on_disk(model: str) -> str:
    """The pipeline class of a file, a folder, a model in the Hub's cache or a preset's; else empty."""
    if Path(model).is_file():
        return class_of_file(Path(model))
    folder = folder_on_disk(model)
    named = "" if folder is None else pipeline_class_in(Path(folder))
    published = (kind for row, kind in CLASSES_OF_ROWS.items() if PRESETS[row].model == model)
    return named or next(published, "")
