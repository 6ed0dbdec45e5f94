"""A diffusers pipeline from its parts, each loaded by the class that `model_index.json` names."""

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dalda.device import is_out_of_memory
from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.eight_bit import round_to_eight_bits
from dalda.models.hub import loaded
from dalda.models.weights import load_module, load_settings

DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.bfloat16,
}
"""What is computed in; with int8, linear layers hold their weights in eight bits."""
LIBRARIES = ("diffusers", "transformers")
"""Where the classes of parts come from; a checkpoint's own code is never run."""


def load_parts(spec: GeneratorSpec, kind: Any, *, without: Collection[str] = ()) -> Any:
    """The spec's model as a pipeline of class `kind`, on the CPU, but for the parts `without`.

    Raises UserError for what cannot be loaded, with every missing or misshapen tensor's part named.
    """

    def load(name: str, **options: Any) -> Any:
        index = kind.load_config(name, **options)
        parts: dict[str, Any] = dict.fromkeys(without)
        for part, named in index.items():
            if part.startswith("_") or part in parts or not isinstance(named, list | tuple):
                continue
            library, kind_name = named
            parts[part] = _part(name, part, library, kind_name, spec.dtype, options) if library else None
        settings = {key: value for key, value in index.items() if key == "is_distilled"}
        return kind(**parts, **settings)

    return loaded(spec.preset.model, "--model", load)


def _part(name: str, part: str, library: str, named: str, dtype: str, options: dict[str, Any]) -> Any:
    kind = getattr(import_module(library), named, None) if library in LIBRARIES else None
    if kind is None:
        raise UserError(
            f"the {part} of '{name}' is a {named} of {library}, which dalda does not load; it takes "
            f"classes of {' and '.join(LIBRARIES)}"
        )
    if isinstance(kind, type) and issubclass(kind, torch.nn.Module):
        variant = variant_in(name, part)
        return load_module(
            kind, name, f"the {part}", subfolder=part, dtype=DTYPES[dtype], variant=variant, **options
        )
    return load_settings(kind, name, subfolder=part, **options)


def variant_in(name: str, part: str) -> str | None:
    """`fp16` where a local folder has a part's weights in half precision alone."""
    files = [path.name for path in (Path(name) / part).glob("*.safetensors")]
    return "fp16" if files and all(".fp16" in file for file in files) else None


def to_device(pipeline: Any, spec: GeneratorSpec) -> None:
    """Moves a pipeline, or has its parts moved when they are needed; rounds its weights before, if asked.

    Raises UserError where it does not fit into the device's memory.
    """
    if spec.dtype == "int8":
        round_to_eight_bits(pipeline)
    try:
        if spec.offload == "model":
            pipeline.enable_model_cpu_offload(device=spec.device)
        elif spec.offload == "sequential":
            # Layer by layer; accelerate's own sequential offloading fails with torch 2.13.
            pipeline.enable_group_offload(torch.device(spec.device), offload_type="leaf_level")
        else:
            pipeline.to(spec.device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"the model '{spec.preset.model}' does not fit into the memory of '{spec.device}'; free some, "
            "choose --dtype fp16 or int8, --offload model, a smaller --model or another --device"
        ) from error
