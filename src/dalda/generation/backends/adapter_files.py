"""Whether an adapter's file is made for a model: by its header and the model's settings alone."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from dalda.errors import UserError
from dalda.generation.backends.families import FAMILIES
from dalda.models.hub import file_of, folder_on_disk, place_of
from dalda.models.preset_options import split_file
from dalda.models.presets import CLASSES_OF_ROWS, PRESETS, ROWS_OF_FILES, SHIPPED, Preset, located
from dalda.models.single_file import SINGLE_FILES
from dalda.models.weights import WeightsError, refuse_difference, refuse_misshapen, tensor_shapes
from dalda.storage import read_text

WHOLE_CLIP = re.compile(r"^(text_model|text_projection|logit_scale|logit_bias|visual_projection)")
"""What an image encoder that lies in a whole CLIP or SigLIP does not use."""
DENOISERS = {
    "UNet2DConditionModel",
    "SD3Transformer2DModel",
    "FluxTransformer2DModel",
    "ChromaTransformer2DModel",
}
NO_SHAPE: tuple[int, ...] = ()
Value = TypeVar("Value")
PARTS = {"ip_adapter_proj_model": "image_proj", "double_blocks": "ip_adapter"}
"""XLabs' names of an adapter's parts."""
NAMES = {
    "processor.": "",
    "ip_adapter_double_stream_k_proj": "to_k_ip",
    "ip_adapter_double_stream_v_proj": "to_v_ip",
}
SD3_NORMS = (
    "norm_ip.linear.weight",
    "norm_ip.linear.bias",
    "norm_q.weight",
    "norm_k.weight",
    "norm_ip_k.weight",
)


def by_part(tensors: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """An adapter's tensors by part, `image_proj` and `ip_adapter`, under the names of diffusers."""
    parts: dict[str, dict[str, Value]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        for theirs, ours in NAMES.items():
            rest = rest.replace(theirs, ours)
        parts.setdefault(PARTS.get(part, part), {})[rest] = value
    return parts


def refuse_unfit(attention: Mapping[str, Any], denoiser: Any, where: str) -> None:
    """Raises WeightsError unless an adapter has exactly the attention tensors that a denoiser takes.

    The values are shapes, or tensors.
    """
    wanted = _attention_of(denoiser, attention)
    # Adapters of faces hold LoRA tensors too; they are refused by their projection.
    found = {name: value for name, value in attention.items() if "_lora" not in name}
    refuse_difference(found, wanted, where)
    refuse_misshapen(found, {name: shape for name, shape in wanted.items() if shape}, where)


@contextmanager
def refusing_unfit(where: str) -> Iterator[None]:
    """Whatever diffusers raises within it as it loads an adapter becomes a WeightsError."""
    try:
        yield
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{where} lacks tensors, or they do not fit this model ({reason}); take one made for it"
        ) from error


def is_instantx(attention: Collection[str]) -> bool:
    """Whether a FLUX.1 adapter's tensors of attention are in InstantX' layout; XLabs' has biases."""
    return not any(name.endswith("_ip.bias") for name in attention)


def _attention_of(denoiser: Any, attention: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Name and shape of each attention tensor; no shape where the model's settings do not decide it."""
    kind = type(denoiser).__name__
    if kind == "UNet2DConditionModel":
        names = [name for name in denoiser.attn_processors if name.endswith("attn2.processor")]
        layers = [denoiser.get_submodule(name.removesuffix(".processor")).to_k for name in names]
        shapes = {f"{2 * number + 1}": tuple(layer.weight.shape) for number, layer in enumerate(layers)}
        return {f"{name}.to_{x}_ip.weight": shape for name, shape in shapes.items() for x in "kv"}
    width = denoiser.inner_dim
    if kind == "SD3Transformer2DModel":
        blocks, more = len(denoiser.attn_processors), dict.fromkeys(SD3_NORMS, NO_SHAPE)
        shape: tuple[int, ...] = (width, width)
    else:
        blocks, more = len(denoiser.transformer_blocks), {f"to_{x}_ip.bias": (width,) for x in "kv"}
        if is_instantx(attention):
            blocks, more = len(denoiser.attn_processors), {}
        shape = (width, denoiser.config.joint_attention_dim)
    parts = {f"to_{x}_ip.weight": shape for x in "kv"} | more
    return {f"{number}.{part}": size for number in range(blocks) for part, size in parts.items()}


def refuse_foreign_adapters(preset: Preset, family: str) -> None:
    """Raises UserError for an adapter that is not there, is none, or is made for another model.

    Only what is on disk is read; of what is not, the names of the presets' adapters tell the family.
    """
    if FAMILIES[family].image_prompts == "none" or _parts(preset) in map(_parts, PRESETS.values()):
        return
    if preset.adapter is not None:
        _refuse_foreign(preset, family, "--adapter", preset.adapter, preset.adapter_path)
    if preset.second_adapter is not None:
        place, file_there = split_file(preset.second_adapter)
        _refuse_foreign(preset, family, "--model-option second_adapter=", place, str(file_there))


def _parts(preset: Preset) -> tuple[str | None, ...]:
    return (preset.model, preset.adapter, preset.adapter_folder, preset.adapter_file, preset.second_adapter)


def _refuse_foreign(preset: Preset, family: str, option: str, adapter: str, file: str) -> None:
    made_for = {CLASSES_OF_ROWS[row] for row in _rows_with(adapter, file)}
    if made_for and family not in made_for:
        raise UserError(
            f"the adapter '{adapter}' is made for a {' or '.join(sorted(made_for))}, and the model "
            f"'{preset.model}' is a {family}; name another with {option}"
        )
    path = _path_on_disk(adapter, file, option)
    if path is None or path.suffix != ".safetensors":
        return
    denoiser = _denoiser_without_weights(preset, family)
    if denoiser is None:
        return
    shapes = by_part(tensor_shapes(path, "the adapter"))
    try:
        refuse_unfit(shapes["ip_adapter"], denoiser, f"the adapter in '{path}'")
    except UserError as error:
        raise UserError(
            f"{error}, made for '{preset.model}', a {family}, and name it with {option}"
        ) from error


def _rows_with(adapter: str, file: str) -> list[str]:
    """The presets that take an adapter of this folder or Hub id; of its folder in it where any does."""
    name = place_of(adapter).name
    rows = [row for row in CLASSES_OF_ROWS if place_of(PRESETS[row].adapter or "").name == name]
    folder = file.rpartition("/")[0] or "."
    return [row for row in rows if PRESETS[row].adapter_folder == folder] or rows


def _path_on_disk(adapter: str, file: str, option: str) -> Path | None:
    """An adapter's file; None where only the Hub may have it. Raises UserError where it cannot have it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public all the same

    place = place_of(adapter)
    folder = folder_on_disk(adapter)
    try:
        if folder is not None:
            return file_of(folder, file)
        validate_repo_id(place.name)
    except HFValidationError:
        raise UserError(f"'{place.name}' is neither a folder nor a Hub id; fix {option}") from None
    except OSError as error:
        if place.is_local:
            raise UserError(
                f"the adapter '{adapter}' cannot be loaded ({error}); name FOLDER:FILE with {option}"
            ) from None
    if Path(place.name).suffix in SINGLE_FILES:
        raise UserError(f"there is no file '{place.name}'; fix {option}")
    return None


def _denoiser_without_weights(preset: Preset, family: str) -> Any:
    """The UNet or transformer with the settings that are on disk, or shipped; None without any."""
    import diffusers
    from accelerate import init_empty_weights

    place = preset.config or ("" if Path(preset.model).is_file() else preset.model)
    folder = folder_on_disk(place) if place else None
    if folder is None and family in ROWS_OF_FILES:
        folder = f"{SHIPPED}models/configurations/{ROWS_OF_FILES[family]}"
    if folder is None:
        return None
    for part in ("unet", "transformer"):
        path = Path(located(folder)) / part / "config.json"
        with suppress(Exception):  # strange settings make it stumble over anything; loading names the fault
            settings = json.loads(read_text(path))
            if settings["_class_name"] in DENOISERS:
                with init_empty_weights():
                    return getattr(diffusers, settings["_class_name"]).from_config(settings)
    return None
