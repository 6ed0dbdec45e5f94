"""A Stable Diffusion of the real classes and layout, tiny and with random weights, on disk."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from dalda.synthesis.presets import located

WIDTH, TOKENS, EMBEDS = 16, 4, 24


def save_tiny(folder: Path) -> tuple[Path, Path]:
    """Writes FOLDER/model and FOLDER/adapter; returns both."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(located("shipped:doodles/weights/model") + "/tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model")
    save_adapter(unet, folder / "adapter" / "models")
    return folder / "model", folder / "adapter"


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """An adapter file under h94/IP-Adapter's names, and its image encoder."""
    weights = {}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            size = unet.get_submodule(name.removesuffix(".processor")).to_q.in_features
            part = IPAdapterAttnProcessor2_0(size, WIDTH, num_tokens=(TOKENS,))
            weights[f"ip_adapter.{index}.to_k_ip.weight"] = part.to_k_ip[0].weight.detach().clone()
            weights[f"ip_adapter.{index}.to_v_ip.weight"] = part.to_v_ip[0].weight.detach().clone()
    for name, weight in ImageProjection(EMBEDS, WIDTH, TOKENS).state_dict().items():
        weights["image_proj." + name.replace("image_embeds", "proj")] = weight.clone()
    folder.mkdir(parents=True)
    save_file(weights, folder / "tiny.safetensors")
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=EMBEDS,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
