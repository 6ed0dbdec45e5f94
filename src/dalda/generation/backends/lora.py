"""A LoRA that is merged into a model's weights."""

import re
from pathlib import Path
from typing import Any

import torch

from dalda.errors import UserError, first_line
from dalda.models.hub import file_of, loaded
from dalda.models.preset_options import split_file
from dalda.models.weights import WeightsError, read_tensors

LORA_FILE = "pytorch_lora_weights.safetensors"
LORA_TENSOR = re.compile(r"lora_[AB]\b|lora[._](down|up)\b|lora_linear_layer\.(down|up)\b")


def merge_lora(pipeline: Any, lora: str, scale: float) -> None:
    """Adds a LoRA to the model's weights, so that it costs nothing at rendering."""
    named, file = split_file(lora)

    def load(name: str, **options: Any) -> None:
        path = file_of(name, file or _lora_file(Path(name)), **options)
        wanted = {key for key in read_tensors(path, "the LoRA") if LORA_TENSOR.search(key)}
        if not wanted:
            raise UserError(f"the file '{path}' holds no LoRA; name another with --lora")
        try:
            pipeline.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
        except ValueError as error:
            if "PEFT backend is required" in str(error):
                raise UserError("--lora needs the package peft; run pip install 'dalda[lora]'") from None
            raise UserError(f"the LoRA in '{path}' cannot be loaded ({first_line(error)})") from error
        if not pipeline.get_active_adapters():
            raise UserError(f"the LoRA '{lora}' has nothing for this model; name another with --lora")
        parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        used = [key for part in parts for key in part.state_dict() if LORA_TENSOR.search(key)]
        if len(used) != len(wanted):
            raise WeightsError(
                f"the LoRA in '{path}' has {len(wanted)} tensors and this model reads {len(used)} from it; "
                "take one that was made for this model"
            )

    loaded(named, "--lora", load)
    pipeline.fuse_lora(lora_scale=scale)
    pipeline.unload_lora_weights()


def _lora_file(folder: Path) -> str:
    """The usual name, or that of the only safetensors file in a folder."""
    found = [path.name for path in folder.glob("*.safetensors")]
    return found[0] if len(found) == 1 else LORA_FILE
