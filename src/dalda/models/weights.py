"""Weights of every model: complete, of the right shapes and finite, or refused. Nothing in them is run."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from dalda.device import quiet_libraries
from dalda.errors import UserError
from dalda.storage import Address, open_binary, read_bytes

MAX_HEADER = 100_000_000
"""Bytes, as safetensors itself has it."""
WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "DataParallel"}
"""Prefixes that these give to the names of a model's tensors."""
RECOMPUTED = re.compile(r"\.(position_ids|inv_freq|masked_bias)$")
"""Constants that old checkpoints hold and that today's classes compute."""
TASK_HEADS = re.compile(r"(^|\.)(classifier|\w*_classifier|head|fc|lm_head|decoder|mask_token)(\.|$)")
"""Parts of a whole image model that its features do not need."""


class WeightsError(UserError):
    """Weights that cannot be used: the part, the fault and the first tensors."""


def load_module(
    kind: Any,
    name: str,
    part: str,
    *,
    may_have: re.Pattern[str] = RECOMPUTED,
    may_lack: str = "",
    **options: Any,
) -> Any:
    """A model of transformers or diffusers by its class's own loader.

    `name` is a folder or Hub id, `part` what messages call it ("the UNet"); `may_have` matches tensors that
    the model has no use for, `may_lack` is a word in the names of those that may be missing and are then
    left as they are. Raises WeightsError for other missing, unexpected, misshapen or non-finite tensors.
    """

    def needed(key: str) -> bool:
        return not may_lack or may_lack not in key

    quiet_libraries()
    model, report = kind.from_pretrained(
        name, output_loading_info=True, ignore_mismatched_sizes=True, trust_remote_code=False, **options
    )
    where = f"{part} in '{name}'"
    unexpected = [key for key in report["unexpected_keys"] if not RECOMPUTED.search(key)]
    refuse_wrapped(unexpected, where)
    misshapen = [entry if isinstance(entry, str) else entry[0] for entry in report["mismatched_keys"]]
    _refuse(where, "has tensors of the wrong shape", misshapen)
    _refuse(where, "lacks tensors", filter(needed, report["missing_keys"]))
    _refuse(
        where, "has tensors that it does not use", (key for key in unexpected if not may_have.search(key))
    )
    refuse_non_finite({key: value for key, value in model.state_dict().items() if needed(key)}, where)
    return model


def load_settings(kind: Any, name: str, **options: Any) -> Any:
    """What holds no weights of its own: a configuration, tokenizer, image processor or pipeline."""
    quiet_libraries()
    return kind.from_pretrained(name, trust_remote_code=False, **options)


def read_tensors(path: Path, part: str) -> dict[str, Any]:
    """The tensors of a safetensors or pickled file by name, on the CPU; nested ones by dotted names.

    Pickled files are read as weights only, and never from an object store. Raises WeightsError for a file
    that holds anything else.
    """
    import torch
    from safetensors.torch import load, load_file

    where = f"{part} in '{path}'"
    try:
        if path.suffix == ".safetensors":
            stored = isinstance(path, Address)
            found: Any = load(read_bytes(path, limit=None)) if stored else load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        tensors = dict(_flat(found))
    except Exception as error:  # a parser fed broken bytes raises anything
        raise WeightsError(f"{where} is no readable file of weights; replace it") from error
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise WeightsError(f"{where} holds something other than tensors; replace it")
    refuse_wrapped(tensors, where)
    refuse_non_finite(tensors, where)
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors; empty for another file."""
    with open_binary(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= MAX_HEADER else b""
    try:
        found = json.loads(header).get("__metadata__")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def tensor_shapes(path: Path, part: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of a safetensors file's tensors; raises WeightsError for another file."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # a parser fed broken bytes raises anything
        raise WeightsError(f"{part} in '{path}' is no readable safetensors file; replace it") from error


def fill(model: Any, tensors: Mapping[str, Any], where: str) -> None:
    """Gives an empty model its tensors. Raises WeightsError for missing, other or misshapen ones."""
    weights = {key: value for key, value in tensors.items() if not RECOMPUTED.search(f".{key}")}
    wanted = model.state_dict()
    refuse_difference(weights, wanted, where)
    refuse_misshapen(weights, wanted, where)
    model.load_state_dict(weights, assign=True)


def refuse_difference(found: Collection[str], wanted: Collection[str], where: str) -> None:
    """Raises WeightsError unless a file holds exactly the tensors that its model needs."""
    _refuse(where, "lacks tensors", set(wanted) - set(found))
    _refuse(where, "has tensors that the model does not use", set(found) - set(wanted))


def refuse_misshapen(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Raises WeightsError for tensors, or shapes, of another shape than wanted."""

    def shape(value: Any) -> tuple[int, ...]:
        return tuple(getattr(value, "shape", value))

    misshapen = (key for key, value in wanted.items() if shape(value) != shape(found[key]))
    _refuse(where, "has tensors of the wrong shape", misshapen)


def refuse_non_finite(tensors: Mapping[str, Any], where: str) -> None:
    """Raises WeightsError for tensors that hold NaN or infinity, or were never filled."""
    unsound = (
        key
        for key, value in tensors.items()
        if value.is_meta or (value.is_floating_point() and not _is_finite(value))
    )
    _refuse(where, "has tensors with NaN or infinity", unsound)


def _is_finite(tensor: Any) -> bool:
    # Torch looks for NaN in no number of eight bits.
    return bool((tensor.float() if tensor.itemsize == 1 else tensor).isfinite().all())


def refuse_wrapped(names: Iterable[str], where: str) -> None:
    """Raises WeightsError for the tensor names of a wrapped model."""
    for name in names:
        for prefix, wrapper in WRAPPERS.items():
            if name.startswith(prefix):
                raise WeightsError(
                    f"{where} was saved inside {wrapper} (its tensors are called '{prefix}...'); save the "
                    "model itself and not its wrapper"
                )


def _refuse(where: str, fault: str, names: Iterable[str]) -> None:
    listed = sorted(names)
    if listed:
        more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
        raise WeightsError(
            f"{where} {fault} ({', '.join(listed[:3])}{more}); take a complete model of its kind"
        )


def _flat(values: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        yield prefix.removesuffix("."), values
        return
    for key, value in values.items():
        yield from _flat(value, f"{prefix}{key}.")
