"""What a model in a folder or file of the user's is: its content, wherever that lies.

Hub ids and shipped models are known by their names.
"""

import hashlib
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from dalda.models.hub import place_of
from dalda.models.preset_options import split_file
from dalda.models.presets import SHIPPED, Preset, encoder_place
from dalda.storage import open_binary

KINDS = frozenset({".json", ".txt", ".model", ".safetensors", ".bin"})
"""What models are read from; a page about them changes nothing."""
SAMPLES, SAMPLE = 256, 16_384
"""Places, and bytes at each, at which large files are read: training moves weights everywhere."""


def contents_of(model: str, preset: Preset) -> dict[str, str]:
    """A hash of what each local folder holds, by its setting (`model`, `preset.adapter`, ...)."""
    adapter = Path(preset.adapter or "")
    place, folder = encoder_place(preset)
    lora, lora_file = split_file(preset.lora) if preset.lora else ("", None)
    second, second_file = split_file(preset.second_adapter or "")
    named: dict[str, tuple[str | None, Iterable[Path]]] = {
        "model": (model, _under(Path(model))),
        "preset.model": (preset.model, _under(Path(preset.model))),
        "preset.adapter": (
            preset.adapter,
            chain(
                [adapter / preset.adapter_path],
                (path for name in preset.encoder_folders for path in _under(adapter / name)),
            ),
        ),
        "preset.second_adapter": (second, [Path(second) / (second_file or "")]),
        "preset.image_encoder": (
            place if ":" in preset.image_encoder else None,
            _under(Path(place) / folder),
        ),
        "preset.vae": (preset.vae, _under(Path(preset.vae or ""))),
        "preset.lora": (lora, [Path(lora) / lora_file] if lora_file else _under(Path(lora))),
        "preset.clip": (preset.clip, _under(Path(preset.clip))),
        "preset.config": (preset.config, _under(Path(preset.config or ""))),
    }
    return {
        setting: _hash(Path(folder), files)
        for setting, (folder, files) in named.items()
        if folder and not folder.startswith(SHIPPED) and place_of(folder).is_local
    }


def content_of_folder(folder_or_id: str) -> str | None:
    """A hash of what a model's local folder holds; None for a model that is known by its name."""
    place = place_of(folder_or_id)
    return _hash(Path(place.name), _under(Path(place.name))) if place.is_local else None


def _under(folder: Path) -> Iterable[Path]:
    """A file, or a folder's files that a model may be read from but for hidden ones; else none."""
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in KINDS and not hidden:
            yield path


def _hash(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            size = path.stat().st_size
            digest.update(b"%s %d\n" % (os.fsencode(os.path.relpath(path, folder)), size))
            _read(path, size, digest)
    return f"content {digest.hexdigest()[:20]}"


def _read(path: Path, size: int, digest: "hashlib._Hash") -> None:
    """A small file whole, a large one (gigabytes of weights) in places."""
    with open_binary(path) as file:
        if size <= SAMPLES * SAMPLE:
            digest.update(file.read())
            return
        for number in range(SAMPLES):
            file.seek((size - SAMPLE) * number // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
