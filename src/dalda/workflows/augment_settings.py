"""What a synthetic folder records of its making: settings, extent, versions, and provenance."""

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from dalda.config import AugmentConfig
from dalda.config.roles import content_of, defaults_of, digest_of, names_of
from dalda.generation.set_settings import CONTENTS
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.models.presets import Preset
from dalda.workflows.augment_plan import AugmentPlan, shared_options

SETTING_DEFAULTS = {**defaults_of(AugmentConfig), "preset": defaults_of(Preset)}
"""What a setting was in a folder that was begun before there was such an option."""
_VERSIONED = ("dalda", "torch", "diffusers", "transformers", "numpy", "Pillow")


def generation_settings(config: AugmentConfig, planned: AugmentPlan) -> dict[str, Any]:
    """What is saved beside the images; all but versions, execution and extent must stay on resuming."""
    execution = config.model_dump(mode="json", include=set(names_of(AugmentConfig, "execution")))
    content = {**defaults_of(config, extents=False), **content_of(config, extents=False)}
    foreign = shared_options() - planned.method.Options.model_fields.keys()
    generator = {} if planned.fingerprint is None else {"generator": dict(planned.fingerprint)}
    return {
        "folder_format": 1,
        "dataset": planned.split.dataset,
        "model": config.model,
        **{name: value for name, value in content.items() if name not in foreign},
        **generator,
        "preset": json.loads(json.dumps(asdict(planned.preset))),
        **({CONTENTS: dict(planned.contents)} if planned.contents else {}),
        "extent": _extent_settings(config, planned),
        "execution": {**execution, "batch_size": config.batch_size or "auto"},
        "versions": {name: version(name) for name in _VERSIONED},
    }


def extent_of(config: AugmentConfig, planned: AugmentPlan, dataset: SyntheticDataset) -> dict[str, Any]:
    """How much there is: what may grow from one run to the next."""
    ids = dataset.finished() | {request.id for request in planned.plan.requests}
    before = dataset.extent().get("planned")
    return {
        **_extent_settings(config, planned),
        "planned": max(len(ids), before if isinstance(before, int) else 0),
    }


def _extent_settings(config: AugmentConfig, planned: AugmentPlan) -> dict[str, Any]:
    sources = [[image.label, image.sha256] for image in planned.split.images]
    return {
        "per_image": config.per_image,
        "shots": config.shots,
        "seed": config.seed,
        "real_images": len(sources),
        "real_images_sha256": digest_of(sources),
        "captions_sha256": digest_of(planned.captions),
    }


def provenance_of(config: AugmentConfig, planned: AugmentPlan) -> dict[str, Any]:
    """What each record says of the generator."""
    if planned.fingerprint is not None:
        plain = {
            name: value
            for name, value in planned.fingerprint.items()
            if value is None or isinstance(value, str | int | float)
        }
        return {"model": type(planned.loader.load()).__name__, **plain}
    preset = planned.preset
    return {
        "model": config.model,
        "scheduler": preset.scheduler,
        "guidance_interval": list(preset.guidance_interval),
        "adapter": f"{preset.adapter}:{preset.adapter_file}" if preset.adapter else None,
        **({"second_adapter": preset.second_adapter} if preset.second_adapter else {}),
        "vae": preset.vae,
        "lora": preset.lora,
    }
