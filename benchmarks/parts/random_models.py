"""Models of the real shapes with seeded random weights: they cost the same as the real ones."""

from dataclasses import replace
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
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
    vision = CLIPVisionConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=1024,
        hidden_act="gelu",
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        scaling_factor=0.18215,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**(preset.noise_schedule or {})),
        safety_checker=None,
        feature_extractor=CLIPImageProcessorPil(),
        image_encoder=CLIPVisionModelWithProjection(vision),
        requires_safety_checker=False,
    )
    pipeline.load_ip_adapter(random_adapter(unet, 1024), subfolder="", weight_name="")
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
