"""Which models there are, what of them is on this disk, and whether they fit this machine."""

from dataclasses import dataclass

from dalda.config import ModelsConfig
from dalda.device import memory_gigabytes
from dalda.errors import UserError
from dalda.models.catalogue import PUBLISHED, Offload, missing_parts
from dalda.models.download import download_preset, refuse_unknown
from dalda.models.hub import revision_on_disk
from dalda.models.presets import PRESETS


@dataclass(frozen=True)
class ModelRow:
    """A preset, as `dalda models` lists it. Sizes are in gigabytes."""

    name: str
    model: str
    licence: str
    on_disk: bool
    download: float
    memory: float
    """For one image at a time in half precision."""
    fits: str | None
    """The least offloading with which it fits this machine; None: it does not."""
    images_per_second: float | None
    """An estimate from the card's peak; None where that is not known, as on a CPU."""
    revision: str | None = None
    """The commit of the base model on this disk."""


@dataclass(frozen=True)
class ModelsReport:
    """What `dalda models` answers."""

    device: str
    memory: float | None
    models: tuple[ModelRow, ...]
    downloaded: tuple[str, ...] = ()


def list_models(config: ModelsConfig) -> ModelsReport:
    """Lists the presets; `get NAME` or `update NAME` downloads first. Raises UserError for other words."""
    downloaded: list[str] = []
    if config.words:
        word, *names = config.words
        if word not in ("get", "update") or not names:
            raise UserError(
                f"dalda models {' '.join(config.words)} is no command; write dalda models get NAME, or "
                "dalda models update NAME for the newest revision"
            )
        refuse_unknown(names)
        for name in names:
            downloaded += download_preset(name, newest=word == "update")
    device, memory = memory_gigabytes()
    chosen = [name for name in PRESETS if not config.words or name in config.words]
    rows = [_row(name, device, memory) for name in chosen]
    return ModelsReport(device, memory, tuple(rows), tuple(downloaded))


def _row(name: str, device: str, memory: float | None) -> ModelRow:
    preset, known = PRESETS[name], PUBLISHED.get(name)
    if known is None:
        return ModelRow(name, "shipped with dalda", "Apache-2.0", True, 0.0, 0.5, "none", None)
    offloads: tuple[Offload, ...] = ("none", "model", "sequential")
    fitting = (offload for offload in offloads if memory and known.memory_gigabytes(offload) <= memory)
    speed = known.images_per_second(preset, device)
    return ModelRow(
        name,
        preset.model,
        known.licence,
        not missing_parts(preset),
        round(known.download_gigabytes, 1),
        round(known.memory_gigabytes(), 1),
        next(fitting, None),
        None if speed is None else round(speed, 2),
        revision_on_disk(preset.model),
    )
