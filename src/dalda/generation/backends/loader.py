"""Loading a preset's parts: the pipeline, its autoencoder, a LoRA, the image prompt adapter."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from dalda.errors import UserError
from dalda.generation.backends.attention import set_block_scales
from dalda.generation.backends.autoencoders import AUTOENCODERS
from dalda.generation.backends.lora import merge_lora
from dalda.generation.backends.pipeline_parts import variant_in
from dalda.generation.backends.single_file import parts_of_file
from dalda.models.clip import SPECIAL_TOKENS
from dalda.models.hub import file_of, loaded
from dalda.models.presets import Preset
from dalda.models.single_file import class_of_file
from dalda.models.weights import WeightsError, load_module, load_settings, read_tensors, refuse_difference

PIPELINES: dict[str, tuple[Any, dict[str, Any]]] = {
    "StableDiffusionPipeline": (
        StableDiffusionPipeline,
        {"safety_checker": None, "requires_safety_checker": False},
    ),
    "StableDiffusionXLPipeline": (StableDiffusionXLPipeline, {"add_watermarker": False}),
}
"""The kinds of model, and what each of them is loaded without."""
PROJECTIONS = (ImageProjection, IPAdapterFullImageProjection, IPAdapterPlusImageProjection)
"""The kinds of adapter: plain (one embedding), full and plus (patches)."""


def load_pipeline(preset: Preset, dtype: torch.dtype) -> Any:
    """The preset's model with all its parts, on the CPU. Raises UserError for what cannot be loaded."""
    half = dtype == torch.float16
    own = None if preset.vae is None else _load_vae(preset.vae, torch.float32 if half else dtype)

    def load(name: str, **options: Any) -> Any:
        kind, without = _kind_of(name, options)
        exact = _decoding(kind, dtype)
        if own is None:
            variant = preset.variant or variant_in(name, "vae")
            vae = _vae(name, exact, subfolder="vae", variant=variant, **options)
        else:
            vae = own.to(exact if own.config.get("force_upcast") else dtype)
        parts = {
            part: load_module(
                part_kind,
                name,
                f"the {part}",
                subfolder=part,
                dtype=dtype,
                variant=preset.variant or variant_in(name, part),
                **options,
            )
            for part, part_kind in _modules_of(kind).items()
        }
        return load_settings(
            kind,
            name,
            vae=vae,
            dtype=dtype,
            variant=preset.variant,
            **parts,
            feature_extractor=None,
            image_encoder=None,
            **without,
            **options,
        )

    if Path(preset.model).is_file():
        pipeline = _of_file(preset, dtype, own)
    else:
        pipeline = loaded(preset.model, "--model", load)
    _check(pipeline, preset)
    if preset.lora is not None:
        merge_lora(pipeline, preset.lora, preset.lora_scale)
    _add_adapter(pipeline, preset, dtype)
    return pipeline


def _of_file(preset: Preset, dtype: torch.dtype, own: Any) -> Any:
    """The pipeline of a checkpoint in one file, with another autoencoder where there is one."""
    kind, without = PIPELINES[class_of_file(Path(preset.model))]
    parts = {"vae": own, **parts_of_file(preset, dtype)}
    exact = own is None or own.config.get("force_upcast")
    parts["vae"].to(_decoding(kind, dtype) if exact else dtype)
    return kind(**parts, feature_extractor=None, image_encoder=None, **without)


def _decoding(kind: Any, dtype: torch.dtype) -> torch.dtype:
    """As stock diffusers decodes: XL's own autoencoder overflows in half precision."""
    return torch.float32 if dtype == torch.float16 and kind is StableDiffusionXLPipeline else dtype


def _kind_of(name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    named = DiffusionPipeline.load_config(name, **options).get("_class_name")
    if named not in PIPELINES:
        raise UserError(
            f"the model '{name}' is a {named}; dalda renders with Stable Diffusion 1.x and XL, "
            "choose one of these with --model"
        )
    return PIPELINES[named]


def _modules_of(kind: Any) -> dict[str, Any]:
    """The classes of a pipeline's parts with weights, but for its autoencoder."""
    parts: dict[str, Any] = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    if kind is StableDiffusionXLPipeline:
        parts["text_encoder_2"] = CLIPTextModelWithProjection
    return parts


def _load_vae(named: str, dtype: torch.dtype) -> Any:
    return loaded(named, "--vae", lambda name, **options: _vae(name, dtype, **options))


def _vae(name: str, dtype: torch.dtype, **options: Any) -> Any:
    """An autoencoder of whichever kind its settings name."""
    settings = {key: value for key, value in options.items() if key != "variant"}
    named = AutoencoderKL.load_config(name, **settings).get("_class_name")
    if named not in AUTOENCODERS:
        raise UserError(
            f"the autoencoder of '{name}' is a {named}; one of {', '.join(AUTOENCODERS)} is needed, "
            "name one with --vae"
        )
    return load_module(AUTOENCODERS[named](), name, "the autoencoder", dtype=dtype, **options)


def _check(pipeline: Any, preset: Preset) -> None:
    """Raises UserError for parts that do not go together."""
    wanted, had = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
    if wanted != had:
        raise UserError(
            f"the autoencoder '{preset.vae or preset.model}' has {had} channels, the model "
            f"'{preset.model}' works on {wanted}; name another with --vae"
        )
    if preset.size is not None and (preset.size < 1 or preset.size % pipeline.vae_scale_factor):
        raise UserError(
            f"the model '{preset.model}' cannot make images of {preset.size} pixels; "
            f"choose a multiple of {pipeline.vae_scale_factor} with --model-option size=..."
        )
    if preset.size is None and not isinstance(pipeline.unet.config.sample_size, int):
        raise UserError(
            f"the model '{preset.model}' does not say how large its images are; "
            "name their side in pixels with --model-option size=512"
        )
    tokenizers = [getattr(pipeline, part, None) for part in ("tokenizer", "tokenizer_2")]
    if any(tokenizer is not None and len(tokenizer) <= SPECIAL_TOKENS for tokenizer in tokenizers):
        raise UserError(f"the model '{preset.model}' has no tokenizer; name a complete one with --model")
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise UserError(
            f"the model '{preset.model}' has its guidance built in, which leaves none to choose; "
            "take the plain model and a LoRA of the same kind with --lora and --scheduler lcm"
        )


def _add_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads the adapter and its image encoder; pickled weights are read as weights only."""

    def load(name: str, **options: Any) -> None:
        # Diffusers would fetch its own choice of these, and needs torchvision for it.
        pipeline.register_modules(feature_extractor=_processor(224))
        folder = "" if preset.adapter_folder == "." else f"{preset.adapter_folder}/"
        path = file_of(name, folder + preset.adapter_file, **options)
        _read_adapter(pipeline, path)
        (projection,) = pipeline.unet.encoder_hid_proj.image_projection_layers
        if not isinstance(projection, PROJECTIONS):
            raise UserError(
                f"the adapter '{preset.adapter_file}' needs a face recogniser, which dalda has not; "
                "choose one that reads the whole image, such as ip-adapter_sd15.bin"
            )
        encoder = load_module(
            CLIPVisionModelWithProjection,
            name,
            "the adapter's image encoder",
            subfolder=_encoder_folder(name, options, preset, projection),
            dtype=dtype,
            **options,
        )
        pipeline.register_modules(
            image_encoder=encoder, feature_extractor=_processor(encoder.config.image_size)
        )

    loaded(str(preset.adapter), "--adapter", load)
    if preset.adapter_blocks is not None:
        set_block_scales(pipeline, preset.adapter_blocks)


def _read_adapter(pipeline: Any, path: Path) -> None:
    """Puts an IP-Adapter's tensors into the UNet, all of them. Raises UserError where they do not fit."""
    where = f"the adapter in '{path}'"
    tensors = read_tensors(path, "the adapter")
    parts: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        parts.setdefault(part, {})[rest] = value
    cross = [name for name in pipeline.unet.attn_processors if name.endswith("attn2.processor")]
    wanted = {f"{2 * number + 1}.to_{part}_ip.weight" for number in range(len(cross)) for part in "kv"}
    # Adapters of faces hold LoRA tensors too; they are refused by their projection.
    refuse_difference({key for key in parts["ip_adapter"] if "_lora" not in key}, wanted, where)
    try:
        pipeline.load_ip_adapter(
            parts, subfolder="", weight_name="", image_encoder_folder=None, low_cpu_mem_usage=False
        )
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{where} lacks tensors, or they do not fit this model ({reason}); take one made for it"
        ) from error


def _processor(side: int) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def _encoder_folder(name: str, options: dict[str, Any], preset: Preset, projection: Any) -> str:
    """The folder, inside the adapter's folder or repository, of the image encoder that it was trained with.

    h94/IP-Adapter has several, which differ in their width alone; a folder may also have no subfolders.
    Raises UserError if no encoder fits, OSError if there is no encoder or the Hub may have another one.
    """
    wanted = _width_read_by(projection)
    folders = dict.fromkeys(
        (preset.image_encoder, f"{preset.adapter_folder}/image_encoder", "image_encoder")
    )
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
        plain = isinstance(projection, ImageProjection)
        widths_by_folder[folder] = config.projection_dim if plain else config.hidden_size
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


def _width_read_by(projection: Any) -> int:
    """The number of image features, or of features per patch, that an adapter's projection takes."""
    if isinstance(projection, ImageProjection):
        first = projection.image_embeds
    elif isinstance(projection, IPAdapterFullImageProjection):
        first = projection.ff.net[0].proj
    else:
        first = projection.proj_in
    return int(first.in_features)
