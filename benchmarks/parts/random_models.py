"""Models of the real shapes with seeded random weights: they cost the same as the real ones."""

from dataclasses import replace
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from dalda.models.clip import Clip
from dalda.models.presets import PRESETS, Preset, located

TOKENS = 4
"""Of a plain image prompt adapter."""


def benchmark_preset(model: str, device: str, steps: int | None, size: int | None) -> Preset:
    """The row that is measured, `doodle` or `sd15-random`; the latter is reduced on a CPU."""
    cpu = device == "cpu"
    preset = PRESETS["doodle"]
    if model != "doodle":
        preset = replace(PRESETS["sd15"], size=size or (128 if cpu else 512), steps=4 if cpu else 30)
    return replace(preset, steps=steps or preset.steps)


def random_pipeline(preset: Preset, dtype: torch.dtype) -> Any:
    """Stable Diffusion 1.5 and its IP-Adapter in every shape, with seeded random weights."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    tokenizer = CLIPTokenizer.from_pretrained(located(PRESETS["doodle"].model) + "/tokenizer")
    text = CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = random_vae(4, toy=False, scaling_factor=0.18215)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**(preset.noise_schedule or {})),
        safety_checker=None,
        feature_extractor=CLIPImageProcessorPil(),
        image_encoder=CLIPVisionModelWithProjection(vision_config()),
        requires_safety_checker=False,
    )
    pipeline.load_ip_adapter(random_adapter(unet, 1024), subfolder="", weight_name="")
    return _frozen(pipeline)


def random_sdxl(dtype: torch.dtype, *, toy: bool) -> Any:
    """Stable Diffusion XL and its IP-Adapter in every shape; toy has the same blocks, but narrow ones."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    tokenizer = CLIPTokenizer.from_pretrained(located(PRESETS["doodle"].model) + "/tokenizer")
    widths = ((64, 64) if toy else (768, 1280)), (32 if toy else 1280)

    def text(width: int) -> CLIPTextConfig:
        return CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=2 if toy else 12 if width == 768 else 32,
            num_attention_heads=width // 64,
            projection_dim=width,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
        )

    first, second = widths[0]
    unet = UNet2DConditionModel(
        sample_size=8 if toy else 128,
        block_out_channels=(32, 64, 64) if toy else (320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 2, 2) if toy else (5, 10, 20),
        transformer_layers_per_block=(1, 1, 1) if toy else (1, 2, 10),
        cross_attention_dim=first + second,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=6 * 256 + second,
        use_linear_projection=True,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=random_vae(4, toy=toy, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(text(first)),
        text_encoder_2=CLIPTextModelWithProjection(text(second)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False),
        feature_extractor=CLIPImageProcessorPil(),
        image_encoder=CLIPVisionModelWithProjection(vision_config(toy=toy)),
        add_watermarker=False,
    )
    pipeline.load_ip_adapter(random_adapter(unet, 64 if toy else 1024), subfolder="", weight_name="")
    return _frozen(pipeline)


def random_flux(dtype: torch.dtype, *, toy: bool) -> Any:
    """FLUX.1 dev reduced: the real width with 4 of 19 double and 8 of 38 single blocks; toy is narrow."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    tokenizer = CLIPTokenizer.from_pretrained(located(PRESETS["doodle"].model) + "/tokenizer")
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters += [(letter, -2.0) for letter in "\u2581abcdefghijklmnopqrstuvwxyz0123456789"]
    second_tokenizer = T5Tokenizer(vocab=letters, extra_ids=0)
    width = 64 if toy else 4096
    second = T5Config(
        vocab_size=len(second_tokenizer),
        d_model=width,
        d_kv=64,
        d_ff=64 if toy else 10240,
        num_layers=1 if toy else 2,
        num_heads=1 if toy else 64,
    )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=random_vae(16, toy=toy, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=64 if toy else 768,
                intermediate_size=64 if toy else 3072,
                num_attention_heads=1 if toy else 12,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=tokenizer.bos_token_id,
            )
        ),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(second),
        tokenizer_2=second_tokenizer,
        transformer=FluxTransformer2DModel(
            num_layers=1 if toy else 4,
            num_single_layers=1 if toy else 8,
            attention_head_dim=128,
            num_attention_heads=1 if toy else 24,
            joint_attention_dim=width,
            pooled_projection_dim=64 if toy else 768,
            guidance_embeds=True,
        ),
    )
    return _frozen(pipeline)


def random_vae(channels: int, *, toy: bool, **scaling: float) -> AutoencoderKL:
    """An autoencoder of eight pixels a latent."""
    return AutoencoderKL(
        block_out_channels=(32,) * 4 if toy else (128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1 if toy else 2,
        latent_channels=channels,
        **scaling,
    )


def vision_config(*, toy: bool = False) -> CLIPVisionConfig:
    """The image encoder of IP-Adapter (ViT-H/14); toy is narrow."""
    if toy:
        return CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=1,
            patch_size=32,
            projection_dim=64,
        )
    return CLIPVisionConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=1024,
        hidden_act="gelu",
    )


def _frozen(pipeline: Any) -> Any:
    torch.set_default_dtype(torch.float32)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipeline


def random_adapter(unet: Any, embedding: int) -> dict[str, dict[str, torch.Tensor]]:
    """A plain adapter's weights under h94/IP-Adapter's names."""
    width = unet.config.cross_attention_dim
    projection = {
        "proj.weight": torch.randn(TOKENS * width, embedding) * 0.02,
        "proj.bias": torch.zeros(TOKENS * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    attention = {}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            size = unet.get_submodule(name.removesuffix(".processor")).to_q.in_features
            part = IPAdapterAttnProcessor2_0(size, width)
            attention[f"{index}.to_k_ip.weight"] = part.to_k_ip[0].weight.detach()
            attention[f"{index}.to_v_ip.weight"] = part.to_v_ip[0].weight.detach()
    return {"image_proj": projection, "ip_adapter": attention}


def random_scorer(device: str) -> Clip:
    """CLIP ViT-B/16 with seeded random weights."""
    torch.manual_seed(1)
    tokenizer = CLIPTokenizer.from_pretrained(located(PRESETS["doodle"].clip))
    text = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={"patch_size": 16}))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    return Clip(model.eval().to(device), tokenizer, processor, device)
