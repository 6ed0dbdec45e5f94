"""The presets' published models: licence, size, mirrors, and how much memory and time they take."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dalda.device import memory_gigabytes
from dalda.models.hub import place_of, revision_on_disk
from dalda.models.presets import Preset, encoder_place

HALF = 2
"""Bytes of a number in fp16 and bf16."""
WORKING_SPACE = 1.5
"""Gigabytes for one image's activations, its decoding and the library itself, about."""
WEIGHTS = (".safetensors", ".bin")
PEAK_TERAFLOPS = {
    "H100": 790,
    "H200": 790,
    "A100": 312,
    "L40": 181,
    "4090": 165,
    "L4": 121,
    "3090": 71,
    "T4": 65,
}
"""Dense half precision, by what the card's name holds."""
UTILISATION = 0.4
"""Share of the peak that a denoiser reaches, about."""
Offload = Literal["none", "model", "sequential"]


@dataclass(frozen=True)
class Published:
    """A base model. Parameters are in millions, counted from the published configurations."""

    licence: str
    denoiser: float
    text: tuple[float, ...]
    """Each text encoder."""
    teraflops: float
    """Of one pass of the denoiser for one image of the preset's size."""
    vae: float = 83.7
    adapter: float = 0.0
    encoder: float = 0.0
    """The adapter's image encoder."""
    encoder_gigabytes: float = 0.0
    """Its file, which may hold more, or be in single precision."""
    stored: int = HALF
    """Bytes of a number in the base model's files."""
    clip: float = 149.6
    largest_layer: float = 60.0
    unrounded: float = 0.0
    """Of the denoiser and the encoders: outside linear layers, which alone are held in eight bits."""
    guidance_built_in: bool = False
    """Whether guidance costs no second pass."""
    mirrors: tuple[str, ...] = ()
    """Other repositories with the same weights: base models have left the Hub before."""

    @property
    def parts(self) -> tuple[float, ...]:
        return (self.denoiser + self.adapter, *self.text, self.vae, self.encoder)

    @property
    def download_gigabytes(self) -> float:
        """Of all files: the base model as it is stored, the adapter in half precision, CLIP in single."""
        base = self.denoiser + sum(self.text) + self.vae
        files = base * self.stored + self.adapter * HALF + self.clip * 2 * HALF
        return files / 1000 + self.encoder_gigabytes

    def memory_gigabytes(self, offload: Offload = "none") -> float:
        """What generating one image at a time takes in half precision."""
        held = {"none": sum(self.parts), "model": max(self.parts), "sequential": self.largest_layer}
        return held[offload] * HALF / 1000 + WORKING_SPACE

    def memory_gigabytes_in_eight_bits(self) -> float:
        """The same with `--dtype int8`."""
        rounded = sum(self.parts) - self.vae - self.unrounded
        return self.memory_gigabytes() - rounded / 1000

    def images_per_second(self, preset: Preset, card: str) -> float | None:
        """An estimate, from the card's peak; None for a card that is not in the table."""
        peak = peak_teraflops(card)
        return None if peak is None else 1 / self.seconds_per_image(preset, peak)

    def seconds_per_image(self, preset: Preset, teraflops: float) -> float:
        """An estimate, from the TFLOP/s of a device."""
        passes = preset.steps * (2 if preset.guidance_scale > 1 and not self.guidance_built_in else 1)
        return passes * self.teraflops / (teraflops * UTILISATION)


def peak_teraflops(card: str) -> float | None:
    """By a card's name; None for one that is not in the table."""
    return next((value for name, value in PEAK_TERAFLOPS.items() if name in card), None)


def machine_teraflops() -> tuple[str, float]:
    """The name of this machine's device and its TFLOP/s: the card's peak, else of a product of matrices."""
    import torch

    name, _ = memory_gigabytes()
    known = peak_teraflops(name)
    if known is not None:
        return name, known
    device, dtype, side = ("cpu", torch.float32, 1024) if name == "cpu" else ("cuda", torch.half, 8192)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _turn in range(4):  # the first one warms up
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        best = min(best, time.perf_counter() - started)
    return name, 2 * side**3 / best / 1e12


_CLIP_L, _CLIP_G, _T5_XXL, _QWEN3_4B = 123.1, 694.7, 4762.3, 4022.5
_QWEN25_VL_7B, _GEMMA2_2B = 8292.2, 2614.3
_CHATGLM3_6B = 6243.6
_VIT_H, _VIT_L, _VIT_L_336, _SIGLIP = 632.1, 304.0, 304.3, 428.2
_SD15 = Published(
    "CreativeML OpenRAIL-M",
    859.5,
    (_CLIP_L,),
    0.68,
    adapter=22.3,
    encoder=_VIT_H,
    encoder_gigabytes=2.53,
    stored=2 * HALF,
    largest_layer=20.0,
    unrounded=629.2,
)
_SDXL = Published(
    "CreativeML OpenRAIL++-M",
    2567.5,
    (_CLIP_L, _CLIP_G),
    6.0,
    adapter=349.2,
    encoder=_VIT_H,
    encoder_gigabytes=2.53,
    unrounded=438.4,
)
_FLUX = Published(
    "FLUX.1 dev non-commercial (the adapter too)",
    11901.4,
    (_CLIP_L, _T5_XXL),
    110.0,
    vae=83.8,
    adapter=490.9,
    encoder=_VIT_L,
    encoder_gigabytes=1.71,
    largest_layer=340.0,
    unrounded=174.2,
    guidance_built_in=True,
)
_ADAPTER = "; its adapter: FLUX.1 dev non-commercial"
PUBLISHED = {
    "sd14": _SD15,
    "sd15": replace(_SD15, mirrors=("sd-legacy/stable-diffusion-v1-5",)),
    "sd15-hyper": _SD15,
    "lcm": _SD15,
    "sdxl": _SDXL,
    "sdxl-turbo": replace(_SDXL, licence="Stability non-commercial", teraflops=1.5),
    "kolors": replace(
        _SDXL,
        licence="Kolors: commercial use by registration; outputs may not improve other models",
        denoiser=2579.5,
        text=(_CHATGLM3_6B,),
        adapter=506.5,
        encoder=_VIT_L_336,
        encoder_gigabytes=1.71,
        largest_layer=270.0,
        unrounded=603.0,
    ),
    "sd35": replace(
        _FLUX,
        licence="Stability Community (below $1 M of revenue)",
        denoiser=8056.6,
        text=(_CLIP_L, _CLIP_G, _T5_XXL),
        teraflops=71.0,
        adapter=797.9,
        encoder=_SIGLIP,
        encoder_gigabytes=3.51,
        guidance_built_in=False,
        largest_layer=220.0,
        unrounded=242.6,
    ),
    "flux-dev": _FLUX,
    "flux-schnell": replace(_FLUX, licence="Apache-2.0" + _ADAPTER, denoiser=11891.2),
    "chroma": replace(
        _FLUX,
        licence="Apache-2.0" + _ADAPTER,
        denoiser=8900.0,
        text=(_T5_XXL,),
        teraflops=82.0,
        unrounded=135.1,
        guidance_built_in=False,
    ),
    "klein": Published(
        "Apache-2.0", 3875.5, (_QWEN3_4B,), 43.0, vae=84.0, largest_layer=400.0, unrounded=0.2
    ),
    "z-image": Published(
        "Apache-2.0", 6154.9, (_QWEN3_4B,), 57.0, vae=83.8, largest_layer=400.0, unrounded=1.2
    ),
    "qwen-image": Published(
        "Apache-2.0", 20430.4, (_QWEN25_VL_7B,), 70.0, vae=126.9, largest_layer=550.0, unrounded=553.0
    ),
    "sana-sprint": Published(
        "NVIDIA, non-commercial",
        1610.2,
        (_GEMMA2_2B,),
        3.3,
        vae=312.3,
        largest_layer=590.0,
        unrounded=1346.0,
        guidance_built_in=True,
    ),
}
"""Preset -> its published model. Shipped ones are not here."""


UNWANTED = ("*.non_ema.*", "safety_checker/*", "*.bin.index*", "*/*.fp16.*", "*/*.fp16-*")
"""Of a base model's files; the last two where the preset takes the plain ones."""


def unwanted_of(preset: Preset) -> tuple[str, ...]:
    """What is left out of a download, as patterns of file names."""
    return UNWANTED if preset.variant is None else UNWANTED[:3]


def files_of(preset: Preset) -> dict[str, tuple[str, ...]]:
    """What a preset needs of each repository, as patterns of file names."""
    variant = f".{preset.variant}" if preset.variant else ""
    weights = (f"*/*{variant}.safetensors", f"*/*{variant}-*.safetensors")
    files: dict[str, tuple[str, ...]] = {
        preset.model: ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", *weights)
    }
    if preset.adapter is not None:
        files[preset.adapter] = (preset.adapter_path,)
        place, folder = encoder_place(preset)
        at = f"{folder}/" if folder else ""
        files[place] = (*files.get(place, ()), f"{at}config.json", f"{at}model.safetensors")
    if preset.second_adapter is not None:
        name, _, file = preset.second_adapter.partition(":")
        files[name] = (*files.get(name, ()), file)
    if preset.vae is not None:
        files[preset.vae] = ("config.json", "*.safetensors")
    if preset.lora is not None:
        name, _, file = preset.lora.partition(":")
        files[name] = (file or "*.safetensors",)
    if preset.config is not None:
        files[preset.config] = ("*/*.json", "*/*.txt")
    files[preset.clip] = (*files.get(preset.clip, ()), "*.json", "*.txt", "*.safetensors", "*model.bin")
    return files


def parts_of(preset: Preset) -> list[tuple[str, str, str]]:
    """The parts of a preset: model, a file of it, and the folder with its weights."""
    weights = "transformer" if preset.scheduler == "flow-euler" else "unet"
    parts = [(preset.model, "model_index.json", weights), (preset.clip, "config.json", ".")]
    if preset.adapter is not None:
        place, folder = encoder_place(preset)
        parts.append((preset.adapter, preset.adapter_path, ""))
        parts.append((place, f"{folder}/config.json".removeprefix("/"), folder or "."))
    return parts if preset.vae is None else [*parts, (preset.vae, "config.json", ".")]


def revisions_of(preset: Preset) -> dict[str, str]:
    """The commit of each of a preset's models that is in the Hub's cache, by name."""
    found = {place: revision_on_disk(place) for place in files_of(preset) if place}
    return {place: commit for place, commit in found.items() if commit is not None}


def missing_parts(preset: Preset) -> list[str]:
    """The models of a preset that are not on disk; nothing is asked of the network."""
    return list(dict.fromkeys(part[0] for part in parts_of(preset) if not _on_disk(*part)))


def _on_disk(model: str, file: str, weights: str) -> bool:
    """Whether the file and, in that folder of the model, some weights are on disk."""
    from huggingface_hub import try_to_load_from_cache

    place = place_of(model)
    path: Path | str | object = Path(place.name) / file
    if not place.is_local:
        path = try_to_load_from_cache(place.name, file, revision=place.revision)
    if not isinstance(path, str | Path) or not Path(path).is_file():
        return False
    folder = Path(path).parents[len(Path(file).parts) - 1] / weights
    return not weights or (folder.is_dir() and any(x.suffix in WEIGHTS for x in folder.iterdir()))
