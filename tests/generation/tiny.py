"""Stable Diffusion 1.x and XL of the real classes and layout, tiny and with random weights, on disk."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, IPAdapterFullImageProjection
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from dalda.models.presets import located

WIDTH, TOKENS, EMBEDS, PATCH_WIDTH, POOLED = 16, 4, 24, 12, 8


def save_tiny(folder: Path, kind: str = "plain", *, xl: bool = False) -> tuple[Path, Path]:
    """Writes FOLDER/model and FOLDER/adapter, of one of KINDS; returns both."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(located("shipped:doodles/weights/model") + "/tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=POOLED,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
    }
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=2 * WIDTH if xl else WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
        **(more if xl else {}),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    parts = {
        "vae": vae,
        "text_encoder": CLIPTextModel(text),
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "feature_extractor": None,
    }
    if xl:
        second = CLIPTextModelWithProjection(text)
        pipeline = StableDiffusionXLPipeline(**parts, text_encoder_2=second, tokenizer_2=tokenizer)
    else:
        pipeline = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder / "model")
    save_adapter(unet, folder / "adapter" / "models", kind)
    return folder / "model", folder / "adapter"


def plain_projection(width: int) -> dict[str, Tensor]:
    weights = ImageProjection(EMBEDS, width, TOKENS).state_dict()
    return {name.replace("image_embeds", "proj"): weight for name, weight in weights.items()}


def full_projection(width: int) -> dict[str, Tensor]:
    names = {"ff.net.0.proj": "proj.0", "ff.net.2": "proj.2", "norm": "proj.3"}
    weights = {}
    for name, weight in IPAdapterFullImageProjection(PATCH_WIDTH, width).state_dict().items():
        stem, _, last = name.rpartition(".")
        weights[f"{names[stem]}.{last}"] = weight
    return weights


def plus_projection(width: int) -> dict[str, Tensor]:
    """Diffusers takes heads of 64 channels and four layers for granted."""
    inner, heads = 32, 64
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, TOKENS, inner),
        "proj_in.weight": (inner, PATCH_WIDTH),
        "proj_in.bias": (inner,),
        "proj_out.weight": (width, inner),
        "proj_out.bias": (width,),
        "norm_out.weight": (width,),
        "norm_out.bias": (width,),
    }
    for layer in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"layers.{layer}.{norm}.{part}": (inner,) for part in ("weight", "bias")}
        shapes |= {
            f"layers.{layer}.0.to_q.weight": (heads, inner),
            f"layers.{layer}.0.to_kv.weight": (2 * heads, inner),
            f"layers.{layer}.0.to_out.weight": (inner, heads),
            f"layers.{layer}.1.1.weight": (4 * inner, inner),
            f"layers.{layer}.1.3.weight": (inner, 4 * inner),
        }
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def face_projection(width: int) -> dict[str, Tensor]:
    """The FaceID kind, which reads a face recogniser's embedding."""
    shapes = {"proj.0": (EMBEDS, EMBEDS), "proj.2": (TOKENS * width, EMBEDS)}
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    return weights | {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}


KINDS = {
    "plain": plain_projection,
    "full": full_projection,
    "plus": plus_projection,
    "face": face_projection,
}


def save_adapter(unet: UNet2DConditionModel, folder: Path, kind: str) -> None:
    """An adapter file under h94/IP-Adapter's names, and its image encoder."""
    width, weights = unet.config.cross_attention_dim, {}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            size = unet.get_submodule(name.removesuffix(".processor")).to_q.in_features
            part = IPAdapterAttnProcessor2_0(size, width, num_tokens=(TOKENS,))
            weights[f"ip_adapter.{index}.to_k_ip.weight"] = part.to_k_ip[0].weight.detach().clone()
            weights[f"ip_adapter.{index}.to_v_ip.weight"] = part.to_v_ip[0].weight.detach().clone()
    weights |= {f"image_proj.{name}": weight.clone() for name, weight in KINDS[kind](width).items()}
    folder.mkdir(parents=True)
    save_file(weights, folder / "tiny.safetensors")
    vision = CLIPVisionConfig(
        hidden_size=PATCH_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=EMBEDS,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
