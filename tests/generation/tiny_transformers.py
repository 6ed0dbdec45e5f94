"""Stable Diffusion 3, FLUX.1 and Chroma of the real classes and layout, tiny and random, with adapters."""

import string
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    ChromaPipeline,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, IPAdapterTimeImageProjection
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from safetensors.torch import save_file
from tests.generation.tiny_image_to_image import letter_tokenizer, save_qwen_image, save_sana_sprint
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from dalda.models.presets import Preset, located

WIDTH, EMBEDS, PATCH_WIDTH, TOKENS, SIZE = 16, 24, 12, 4, 16


def clip_text(kind: type) -> tuple[object, CLIPTokenizer]:
    tokenizer = CLIPTokenizer.from_pretrained(located("shipped:doodles/weights/model") + "/tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    return kind(config), tokenizer


def t5() -> tuple[T5EncoderModel, T5Tokenizer]:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -2.0) for letter in "▁" + string.ascii_lowercase]
    tokenizer = T5Tokenizer(vocab=special + letters, extra_ids=0)
    config = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config), tokenizer


def vae(channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=channels,
        shift_factor=0.06,
        scaling_factor=1.5,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def save_flux(folder: Path, *, guidance: bool = True) -> None:
    text, tokenizer = clip_text(CLIPTextModel)
    second, second_tokenizer = t5()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=WIDTH,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 4, 8),
    )
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guidance),
        vae=vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        text_encoder_2=second,
        tokenizer_2=second_tokenizer,
        transformer=transformer,
    ).save_pretrained(folder / "model")
    save_flux_adapter(folder / "adapter", 2)


def save_chroma(folder: Path) -> None:
    text, tokenizer = t5()
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder / "model")
    save_flux_adapter(folder / "adapter", 2)


def save_flux_adapter(folder: Path, blocks: int) -> None:
    """In XLabs' layout and names."""
    weights: dict[str, Tensor] = {}
    for number in range(blocks):
        part = FluxIPAdapterAttnProcessor(32, 32, num_tokens=(TOKENS,))
        for one in "kv":
            layer = getattr(part, f"to_{one}_ip")[0]
            stem = f"double_blocks.{number}.processor.ip_adapter_double_stream_{one}_proj"
            weights |= {f"{stem}.weight": layer.weight.detach(), f"{stem}.bias": layer.bias.detach()}
    for name, weight in ImageProjection(EMBEDS, 32, TOKENS).state_dict().items():
        weights["ip_adapter_proj_model." + name.replace("image_embeds", "proj")] = weight
    save_adapter(folder, weights)
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=PATCH_WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
            projection_dim=EMBEDS,
        )
    ).save_pretrained(folder / "image_encoder")


def save_siglip(folder: Path, width: int = PATCH_WIDTH, *, whole: bool = False) -> None:
    """An image encoder, alone or in a whole model with its text encoder, as it is published."""
    config = SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    if whole:
        text = SiglipTextConfig(
            vocab_size=8,
            hidden_size=width,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
        SiglipModel(SiglipConfig(text_config=text, vision_config=config)).save_pretrained(folder)
    else:
        SiglipVisionModel(config).save_pretrained(folder)


def save_instantx_adapter(folder: Path, blocks: int) -> dict[str, dict[str, Tensor]]:
    """In InstantX' layout and names, pickled; weights of a size that shows each step of the attention."""
    wide = 2 * PATCH_WIDTH
    shapes = {"proj.0": (wide, PATCH_WIDTH), "proj.2": (32 * TOKENS, wide)}
    projection = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    projection |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    projection |= {"norm.weight": 1 + 0.3 * torch.randn(32), "norm.bias": 0.3 * torch.randn(32)}
    attention = {
        f"{number}.to_{one}_ip.weight": torch.randn(32, 32) for number in range(blocks) for one in "kv"
    }
    weights = {"image_proj": projection, "ip_adapter": attention}
    folder.mkdir()
    torch.save(weights, folder / "ip-adapter.bin")
    save_siglip(folder / "image_encoder")
    return weights


def save_sd3(folder: Path) -> None:
    text, tokenizer = clip_text(CLIPTextModelWithProjection)
    second, _ = clip_text(CLIPTextModelWithProjection)
    third, third_tokenizer = t5()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=2 * WIDTH,
        out_channels=4,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        text_encoder_2=second,
        tokenizer_2=tokenizer,
        text_encoder_3=third,
        tokenizer_3=third_tokenizer,
    ).save_pretrained(folder / "model")
    weights: dict[str, Tensor] = {}
    for number in range(2):
        part = SD3IPAdapterJointAttnProcessor2_0(32, 32, 16, timesteps_emb_dim=16)
        weights |= {f"ip_adapter.{number}.{name}": weight for name, weight in part.state_dict().items()}
    projection = IPAdapterTimeImageProjection(
        embed_dim=PATCH_WIDTH, output_dim=32, hidden_dim=16, heads=1, num_queries=TOKENS, timestep_in_dim=8
    )
    weights |= {f"image_proj.{name}": weight for name, weight in projection.state_dict().items()}
    save_adapter(folder / "adapter", weights)
    save_siglip(folder / "adapter/image_encoder")


def qwen() -> tuple[Qwen3ForCausalLM, Qwen2Tokenizer]:
    """With as many layers as FLUX.2 klein reads."""
    tokenizer = letter_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
    )
    return Qwen3ForCausalLM(config), tokenizer


def save_klein(folder: Path) -> None:
    text, tokenizer = qwen()
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    own = AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    own.bn.running_mean.normal_(std=0.1)
    own.bn.running_var.uniform_(0.5, 2)
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=own,
        text_encoder=text,
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=True,
    ).save_pretrained(folder / "model")


def save_z_image(folder: Path) -> None:
    text, tokenizer = qwen()
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=8,
        axes_dims=[4, 4, 8],
        axes_lens=[1536, 32, 32],
    )
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder / "model")


def save_adapter(folder: Path, weights: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True)
    save_file(
        {name: weight.clone().contiguous() for name, weight in weights.items()}, folder / "tiny.safetensors"
    )


SAVERS = {
    "sd3": save_sd3,
    "flux": save_flux,
    "chroma": save_chroma,
    "klein": save_klein,
    "z-image": save_z_image,
    "qwen-image": save_qwen_image,
    "sana-sprint": save_sana_sprint,
}


def tiny_preset(folder: Path, family: str) -> Preset:
    """A tiny model of a family on disk."""
    torch.manual_seed(0)
    SAVERS[family](folder)
    return Preset(
        model=str(folder / "model"),
        adapter=str(folder / "adapter") if (folder / "adapter").exists() else None,
        adapter_folder=".",
        adapter_file="tiny.safetensors",
        image_encoder="image_encoder",
        clip="",
        size=32 if family == "sana-sprint" else SIZE,
        scheduler="flow-euler",
    )
