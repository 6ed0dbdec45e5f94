"""What this machine has, and what to do about what it lacks."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from dalda.cache import cache_folder
from dalda.captions.keys import read_keys
from dalda.errors import UserError, first_line
from dalda.models.hub import place_of
from dalda.models.presets import PRESETS, SHIPPED, Preset

State = Literal["ok", "warn", "missing"]
GB = 1e9
LITTLE_ROOM = 10 * GB
"""A preset for photographs is several gigabytes, and so are its images."""
WEIGHTS = (".safetensors", ".bin")
NEEDED = ("torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "numpy", "Pillow")
EXTRAS = {
    "review": ("fastapi", "uvicorn"),
    "llm": ("openai",),
    "local-llm": ("cyllama",),
    "hf": ("datasets",),
    "lora": ("peft",),
    "download": ("pooch",),
}
"""The packages of each extra that dalda itself imports."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    group: str
    name: str
    state: State
    found: str
    do: str = ""
    """What to do, where it is not ok."""


def examine() -> list[Check]:
    """Every check; none needs the network, and no key is ever part of one."""
    return [*versions(), *devices(), *models(), *keys(), *places()]


def lines_of_checks(checks: list[Check]) -> list[str]:
    """The checks by group, aligned, with what to do about what is missing."""
    width = max(len(check.name) for check in checks)
    lines: list[str] = []
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            lines += [*([""] if lines else []), group]
        lines.append(f"  {check.state:<8} {check.name:<{width}}  {check.found}")
        if check.do:
            lines.append(f"  {'':<8} {'':<{width}}  -> {check.do}")
    return lines


def versions() -> list[Check]:
    """Python, the libraries, and what each extra needs."""
    group = "versions"
    found = [Check(group, "python", "ok", f"{platform.python_version()}, {platform.platform(terse=True)}")]
    found += [_needed(name) for name in ("dalda", *NEEDED)]
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        name = f"extra {extra}"
        if missing:
            do = f"pip install 'dalda[{extra}]', if you need it"
            found.append(Check(group, name, "missing", f"no {', '.join(missing)}", do))
        else:
            there = ", ".join(f"{one} {_version(one)}" for one in packages)
            found.append(Check(group, name, "ok", there))
    return found


def _needed(package: str) -> Check:
    found = _version(package)
    if found is None:
        do = "pip install --force-reinstall dalda: without it nothing runs"
        return Check("versions", package, "missing", "not installed", do)
    return Check("versions", package, "ok", found)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def devices() -> list[Check]:
    """The processor and every accelerator that torch sees, with free memory."""
    group = "devices"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = [Check(group, "cpu", "ok", f"{cores} cores, {_memory()}")]
    try:
        import torch
    except (ImportError, OSError) as error:  # it is not there, or a library that it needs is not
        do = "install torch for this machine: pytorch.org says how"
        return [*found, Check(group, "torch", "missing", f"cannot be loaded ({first_line(error)})", do)]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        try:
            free, total = torch.cuda.mem_get_info(number)
        except RuntimeError as error:
            do = "end what else uses it, or choose another with --device"
            found.append(Check(group, f"cuda:{number}", "warn", first_line(error), do))
            continue
        room = f"{torch.cuda.get_device_name(number)}, {free / GB:.1f} of {total / GB:.1f} GB free"
        found.append(Check(group, f"cuda:{number}", "ok", room))
    if torch.backends.mps.is_available():
        found.append(Check(group, "mps", "ok", "Apple GPU, shares the memory"))
    if len(found) == 1:
        do = "doodles run well on the CPU; for photographs use a machine with a GPU and torch built for it"
        found.append(Check(group, "gpu", "warn", "torch sees none", do))
    return found


def _memory() -> str:
    """Free and total memory, where the system says so in Linux's way."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if ":" in line}
        free, total = (kilobytes[name] * 1024 / GB for name in ("MemAvailable", "MemTotal"))
    except (OSError, ValueError, KeyError, IndexError):
        return "memory unknown"
    return f"{free:.1f} of {total:.1f} GB memory free"


def models() -> list[Check]:
    """For each preset, which of its parts are on disk; nothing is asked of the network."""
    found = []
    for name, preset in PRESETS.items():
        try:
            missing = list(dict.fromkeys(part for part in parts_of(preset) if not _there(*part)))
        except OSError as error:
            do = "make it readable, or set HF_HOME to a folder of yours"
            found.append(Check("models", name, "warn", f"cannot be looked at ({error})", do))
            continue
        if not missing:
            shipped = preset.model.startswith(SHIPPED)
            found.append(Check("models", name, "ok", "shipped with dalda" if shipped else "on disk"))
            continue
        names = ", ".join(dict.fromkeys(named for named, _, _ in missing))
        do = f"the first dalda augment --model {name} fetches it, online; or hf download, beforehand"
        found.append(Check("models", name, "missing", f"not on disk: {names}", do))
    return found


def parts_of(preset: Preset) -> list[tuple[str, str, str]]:
    """The parts of a preset: model, the file that shows it is there, and the folder with its weights."""
    adapter = f"{preset.adapter_folder}/{preset.adapter_file}".removeprefix("./")
    encoder = preset.image_encoder
    parts = [
        (preset.model, "model_index.json", "unet"),
        (preset.adapter, adapter, ""),
        (preset.adapter, f"{encoder}/config.json", encoder),
        (preset.clip, "config.json", "."),
    ]
    return parts if preset.vae is None else [*parts, (preset.vae, "config.json", ".")]


def _there(named: str, file: str, weights: str) -> bool:
    """Whether the file and, in that folder of the model, some weights are on disk."""
    from huggingface_hub import try_to_load_from_cache

    place = place_of(named)
    if place.is_folder:
        path = Path(place.name) / file
    else:
        cached = try_to_load_from_cache(place.name, file, revision=place.revision)
        if not isinstance(cached, str):
            return False
        path = Path(cached)
    if not path.is_file() or not weights:
        return path.is_file()
    folder = path.parents[len(Path(file).parts) - 1] / weights
    return folder.is_dir() and any(one.suffix in WEIGHTS for one in folder.iterdir())


def keys() -> list[Check]:
    """Which keys are set; their values are not looked at."""
    group = "keys"
    try:
        found = read_keys()
    except UserError as error:
        return [Check(group, ".env", "warn", str(error), "fix the file, or take it away")]
    env = "set it, or put it into .env"
    told = {
        "OPENAI_API_KEY": (found.openai_api_key is not None, "captions by --llm openai:MODEL", env),
        "AZURE_API_KEY": (found.azure_api_key is not None, "captions by --llm azure:DEPLOYMENT", env),
        "AZURE_ENDPOINT": (found.azure_endpoint is not None, "captions by --llm azure:DEPLOYMENT", env),
        "HF_TOKEN": (_hub_token(), "models that ask for an account", "set it, or hf auth login"),
    }
    checks = []
    for name, (there, purpose, how) in told.items():
        if there:
            checks.append(Check(group, name, "ok", "set"))
        else:
            checks.append(Check(group, name, "missing", "not set", f"only for {purpose}: {how}"))
    return checks


def _hub_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def places() -> list[Check]:
    """The caches and the folder one is in: writable, and with room."""
    from huggingface_hub.constants import HF_HUB_CACHE

    named = {
        "cache": (cache_folder(), "set DALDA_CACHE to a folder of yours"),
        "models' cache": (Path(HF_HUB_CACHE), "set HF_HOME to a folder of yours"),
        "this folder": (Path.cwd(), "go to a folder of yours, or name one with -o"),
    }
    return [_place(name, path, do) for name, (path, do) in named.items()]


def _place(name: str, path: Path, do: str) -> Check:
    try:
        there = next(one for one in (path, *path.absolute().parents) if one.exists())
    except OSError as error:  # as in a folder of somebody else's
        return Check("disk", name, "missing", f"'{path}' cannot be looked at ({error.strerror})", do)
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Check("disk", name, "missing", f"'{path}' cannot be written", do)
    free = shutil.disk_usage(there).free
    if free < LITTLE_ROOM:
        more = f"make room: a model for photographs takes several GB; or {do}"
        return Check("disk", name, "warn", f"{path}, writable, {free / GB:.1f} GB free", more)
    return Check("disk", name, "ok", f"{path}, writable, {free / GB:.1f} GB free")
