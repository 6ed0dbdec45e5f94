"""IP-Adapters of UNets: Stable Diffusion 1.x, XL and Kolors, one or two at once."""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dalda.errors import UserError
from dalda.generation.backends.adapter_files import WHOLE_CLIP, by_part, refuse_unfit, refusing_unfit
from dalda.generation.backends.attention import set_block_scales
from dalda.models.clip import clip_processor
from dalda.models.hub import file_of, loaded
from dalda.models.preset_options import split_file
from dalda.models.presets import Preset
from dalda.models.weights import load_module, load_settings, read_tensors

Parts = dict[str, dict[str, Any]]
"""An adapter's tensors by part: `image_proj` and `ip_adapter`."""
PROJECTIONS = (ImageProjection, IPAdapterFullImageProjection, IPAdapterPlusImageProjection)
"""The kinds of adapter: plain (one embedding), full and plus (patches)."""


def add_adapters(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads the adapters and their image encoder; pickled weights are read as weights only."""
    second = _second_parts(pipeline, preset.second_adapter)

    def load(name: str, **options: Any) -> None:
        # Diffusers would fetch its own choice of these, and needs torchvision for it.
        pipeline.register_modules(feature_extractor=clip_processor(224))
        path = file_of(name, preset.adapter_path, **options)
        where = f"the adapter in '{path}'"
        projections = _put_into(pipeline, [_parts_of_adapter(pipeline, path), *second], where)
        for file, projection in zip((path.name, preset.second_adapter), projections, strict=False):
            if not isinstance(projection, PROJECTIONS):
                raise UserError(
                    f"the adapter '{file}' needs a face recogniser, which dalda has not; choose one that "
                    "reads the whole image, such as ip-adapter_sd15.bin"
                )
        encoder = load_module(
            CLIPVisionModelWithProjection,
            name,
            "the adapter's image encoder",
            may_have=WHOLE_CLIP,
            subfolder=_encoder_folder(name, options, preset, projections[0]),
            dtype=dtype,
            **options,
        )
        for projection in projections[1:]:
            _refuse_other_width(str(preset.second_adapter), projection, encoder.config)
        pipeline.register_modules(
            image_encoder=encoder, feature_extractor=clip_processor(encoder.config.image_size)
        )

    loaded(str(preset.adapter), "--adapter", load)
    if preset.adapter_blocks is not None:
        set_block_scales(pipeline, preset.adapter_blocks)


def _second_parts(pipeline: Any, named: str | None) -> list[Parts]:
    """The tensors of a second adapter, if there is one. Raises UserError where it cannot be read."""
    if named is None:
        return []
    place, file = split_file(named)

    def load(name: str, **options: Any) -> Parts:
        return _parts_of_adapter(pipeline, file_of(name, str(file), **options))

    return [loaded(place, "--model-option second_adapter=", load)]


def _put_into(pipeline: Any, adapters: list[Parts], where: str) -> list[Any]:
    """Puts IP-Adapters into the UNet and returns their projections. Raises WeightsError for unfit ones."""
    none = [""] * len(adapters)
    with refusing_unfit(where):
        pipeline.load_ip_adapter(
            adapters, subfolder=none, weight_name=none, image_encoder_folder=None, low_cpu_mem_usage=False
        )
    return list(pipeline.unet.encoder_hid_proj.image_projection_layers)


def _parts_of_adapter(pipeline: Any, path: Path) -> Parts:
    """An IP-Adapter's tensors by part. Raises UserError where the UNet's are not all there."""
    parts = by_part(read_tensors(path, "the adapter"))
    refuse_unfit(parts["ip_adapter"], pipeline.unet, f"the adapter in '{path}'")
    return parts


def _encoder_folder(name: str, options: dict[str, Any], preset: Preset, projection: Any) -> str:
    """The folder, inside the adapter's folder or repository, of the image encoder that it was trained with.

    h94/IP-Adapter has several, which differ in their width alone; a folder may also have no subfolders.
    Raises UserError if no encoder fits, OSError if there is no encoder or the Hub may have another one.
    """
    wanted = _width_read_by(projection)
    folders = preset.encoder_folders
    widths_by_folder: dict[str, int] = {}
    missing: OSError | None = None
    for folder in folders:
        try:
            # Empty, and no error, where a folder has none; loading that would give a model of defaults.
            settings, _ = CLIPVisionConfig.get_config_dict(name, subfolder=folder, **options)
        except OSError as error:
            missing, settings = error, {}
        if not settings:
            continue
        config = load_settings(CLIPVisionConfig, name, subfolder=folder, **options)
        widths_by_folder[folder] = _width_given(projection, config)
        if widths_by_folder[folder] == wanted:
            return folder
    on_the_hub = options["local_files_only"] and not Path(name).is_dir()
    if not widths_by_folder or (on_the_hub and len(widths_by_folder) < len(folders)):
        raise missing or OSError("it has no image encoder")
    widths = ", ".join(f"{folder} {width}" for folder, width in widths_by_folder.items())
    raise UserError(
        f"the adapter '{preset.adapter_file}' reads images as {wanted} numbers, and no image encoder of "
        f"'{preset.adapter}' gives as many ({widths}); name one with --model-option image_encoder=FOLDER"
    )


def _refuse_other_width(adapter: str, projection: Any, config: Any) -> None:
    wanted, given = _width_read_by(projection), _width_given(projection, config)
    if wanted != given:
        raise UserError(
            f"the second adapter '{adapter}' reads images as {wanted} numbers, and the first one's image "
            f"encoder gives {given}; choose two of the same encoder"
        )


def _width_given(projection: Any, config: Any) -> int:
    """The number of image features, or of features per patch, that an image encoder has for an adapter."""
    return int(config.projection_dim if isinstance(projection, ImageProjection) else config.hidden_size)


def _width_read_by(projection: Any) -> int:
    """The number of image features, or of features per patch, that an adapter's projection takes."""
    if isinstance(projection, ImageProjection):
        first = projection.image_embeds
    elif isinstance(projection, IPAdapterFullImageProjection):
        first = projection.ff.net[0].proj
    else:
        first = projection.proj_in
    return int(first.in_features)
