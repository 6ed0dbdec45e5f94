"""Which models there are, what of them is on this disk, and whether they fit this machine."""

from dalda.config import ModelsConfig
from dalda.device import memory_gigabytes
from dalda.errors import UserError
from dalda.models.catalogue import PUBLISHED, Offload, missing_parts
from dalda.models.download import download_preset
from dalda.models.presets import PRESETS
from dalda.workflows.reports import ModelRow, ModelsReport


def models(config: ModelsConfig) -> ModelsReport:
    """Lists the presets; `get NAME` downloads those first. Raises UserError for another word."""
    downloaded: list[str] = []
    if config.words:
        word, *names = config.words
        if word != "get" or not names:
            raise UserError(
                f"dalda models {' '.join(config.words)} is no command; write dalda models get NAME"
            )
        for name in names:
            downloaded += download_preset(name)
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
    )
