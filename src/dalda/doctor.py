"""What this machine has, and what to do about what it lacks."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Literal

from dalda.cache import cache_folder
from dalda.captions.providers import PROVIDERS, Settings
from dalda.errors import UserError, first_line
from dalda.models.catalogue import PUBLISHED, missing_parts
from dalda.models.hub import revision_on_disk
from dalda.models.presets import PRESETS
from dalda.storage import read_text

State = Literal["ok", "warn", "missing"]
GB = 1e9
LITTLE_ROOM = 10 * GB
"""A preset for photographs is several gigabytes, and so are its images."""
MEMORY = ("MemAvailable", "MemTotal")
NEEDED = ("torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "numpy", "Pillow")
EXTRAS = {
    "review": ("fastapi", "uvicorn"),
    "llm": ("httpx2", "openai"),
    "local-llm": ("cyllama",),
    "hf": ("datasets",),
    "lora": ("peft",),
    "download": ("pooch",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "kolors": ("sentencepiece",),
    "ray": ("ray",),
    "stores": ("obstore",),
}
"""The packages of each extra that dalda itself imports."""


@dataclass(frozen=True)
class Check:
    """The state of one thing."""

    group: str
    name: str
    state: State
    found: str
    do: str = ""
    """What to do, where it is not ok."""


def examine() -> list[Check]:
    """Every check; none needs the network, and no key is ever part of one."""
    return [*versions(), *devices(), *model_checks(), *keys(), *places()]


def lines_of_checks(checks: list[Check]) -> list[str]:
    """The checks by group, aligned, with what to do about what is missing."""
    width = max(len(check.name) for check in checks)
    lines: list[str] = []
    for group, of_group in groupby(checks, key=lambda check: check.group):
        lines += ["", group]
        for check in of_group:
            lines.append(f"  {check.state:<8} {check.name:<{width}}  {check.found}")
            if check.do:
                lines.append(f"  {'':<8} {'':<{width}}  -> {check.do}")
    return lines[1:]


def versions() -> list[Check]:
    """Python, the libraries, and the packages of each extra."""
    python = f"{platform.python_version()}, {platform.platform(terse=True)}"
    reinstall = "pip install --force-reinstall dalda: without it nothing runs"
    return [
        Check("versions", "python", "ok", python),
        *(_packages(name, (name,), reinstall) for name in ("dalda", *NEEDED)),
        *(
            _packages(f"extra {extra}", packages, f"pip install 'dalda[{extra}]', if you need it")
            for extra, packages in EXTRAS.items()
        ),
    ]


def _packages(name: str, packages: tuple[str, ...], do: str) -> Check:
    installed, missing = [], []
    for package in packages:
        try:
            installed.append(f"{package} {version(package)}".removeprefix(f"{name} "))
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Check("versions", name, "missing", f"{', '.join(missing)} not installed", do)
    return Check("versions", name, "ok", ", ".join(installed))


def devices() -> list[Check]:
    """The processor and every accelerator that torch sees, with memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    checks = [Check("devices", "cpu", "ok", f"{cores} cores, {_memory()}")]
    try:
        import torch
    except (ImportError, OSError) as error:  # it is not installed, or a library that it needs is not
        do = "install torch for this machine: pytorch.org says how"
        return [
            *checks,
            Check("devices", "torch", "missing", f"cannot be loaded ({first_line(error)})", do),
        ]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        name = f"cuda:{number}"
        try:
            free, total = torch.cuda.mem_get_info(number)
        except RuntimeError as error:
            do = "end other programs that use it, or choose another with --device"
            checks.append(Check("devices", name, "warn", first_line(error), do))
            continue
        room = f"{torch.cuda.get_device_name(number)}, {free / GB:.1f} of {total / GB:.1f} GB free"
        checks.append(Check("devices", name, "ok", room))
    if torch.backends.mps.is_available():
        checks.append(Check("devices", "mps", "ok", "Apple GPU, shares the memory"))
    if len(checks) == 1:
        do = "the demo runs well on the CPU; for photographs use a GPU and a torch that is built for it"
        checks.append(Check("devices", "gpu", "warn", "torch sees none", do))
    return checks


def _memory() -> str:
    """Free and total memory, where the system tells it as Linux does."""
    try:
        lines = [line.split() for line in read_text(Path("/proc/meminfo")).splitlines()]
        free, total = (int(dict(x[:2] for x in lines)[f"{name}:"]) * 1024 / GB for name in MEMORY)
    except (UserError, ValueError, KeyError):
        return "memory unknown"
    return f"{free:.1f} of {total:.1f} GB memory free"


def model_checks() -> list[Check]:
    """For each preset, which of its parts are on disk; nothing is asked of the network."""
    checks = []
    for name, preset in PRESETS.items():
        try:
            missing = missing_parts(preset)
        except OSError as error:
            do = "make it readable, or set HF_HOME to a folder of yours"
            checks.append(Check("models", name, "warn", f"cannot be read ({error})", do))
            continue
        if missing:
            known = PUBLISHED[name]
            do = (
                f"dalda models get {name} downloads it ({known.download_gigabytes:.1f} GB, {known.licence})"
            )
            checks.append(Check("models", name, "missing", f"not on disk: {', '.join(missing)}", do))
        else:
            checks.append(Check("models", name, "ok", _on_disk(name)))
    return checks


def _on_disk(name: str) -> str:
    known = PUBLISHED.get(name)
    if known is None:
        return "shipped with dalda"
    revision = revision_on_disk(PRESETS[name].model)
    return f"on disk, {known.licence}{f', revision {revision[:10]}' if revision else ''}"


def keys() -> list[Check]:
    """Which keys, and addresses without a default, are set; their values are not looked at."""
    from huggingface_hub import get_token

    try:
        settings = Settings.read()
    except UserError as error:
        return [Check("keys", ".env", "warn", str(error), "fix the file, or take it away")]
    dotenv = "set it, or put it into .env"
    keys = {
        variable: (settings.find(variable) is not None, f"captions by --llm {name}:MODEL", dotenv)
        for name, provider in PROVIDERS.items()
        for variable in (provider.key, *([] if provider.url else [provider.address]))
        if provider.needs_key
    }
    keys["HF_TOKEN"] = (
        get_token() is not None,
        "models that ask for an account",
        "set it, or hf auth login",
    )
    return [
        Check("keys", name, "ok", "set")
        if is_set
        else Check("keys", name, "missing", "not set", f"only for {purpose}: {how}")
        for name, (is_set, purpose, how) in keys.items()
    ]


def places() -> list[Check]:
    """The caches and the working folder: writable, and with room."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return [
        _place("cache", cache_folder, "set DALDA_CACHE to a folder of yours"),
        _place("models' cache", lambda: Path(HF_HUB_CACHE), "set HF_HOME to a folder of yours"),
        _place("this folder", Path.cwd, "go to a folder of yours, or name one with -o"),
    ]


def _place(name: str, find: Callable[[], Path], do: str) -> Check:
    try:
        path = find()
        existing = next(x for x in (path, *path.absolute().parents) if x.exists())
    except (OSError, RuntimeError) as error:  # another user's folder, or a user without a home
        return Check("disk", name, "missing", f"cannot be read ({first_line(error)})", do)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("disk", name, "missing", f"'{path}' cannot be written", do)
    free = shutil.disk_usage(existing).free
    room = f"{path}, writable, {free / GB:.1f} GB free"
    if free < LITTLE_ROOM:
        advice = f"free some: a model for photographs takes several GB; or {do}"
        return Check("disk", name, "warn", room, advice)
    return Check("disk", name, "ok", room)
