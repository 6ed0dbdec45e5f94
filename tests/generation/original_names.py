"""Stable Diffusion's parts written as one file under the names of the original code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = (
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm", "ln_final"),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("self_attn.out_proj", "attn.out_proj"),
)


def save_single_file(pipeline: Any, path: Path) -> None:
    save_file({name: weight.contiguous() for name, weight in single_file_of(pipeline).items()}, path)


def single_file_of(pipeline: Any) -> dict[str, torch.Tensor]:
    """All tensors of a pipeline of Stable Diffusion 1.x or XL by their original names."""
    tensors = {
        f"model.diffusion_model.{unet_name(name, pipeline.unet)}": weight
        for name, weight in pipeline.unet.state_dict().items()
    }
    blocks = len(pipeline.vae.config.block_out_channels)
    for name, weight in pipeline.vae.state_dict().items():
        linear = re.search(r"attentions.*(to_\w+|to_out\.0)\.weight", name)
        tensors[f"first_stage_model.{vae_name(name, blocks)}"] = (
            weight[..., None, None] if linear else weight
        )
    second = getattr(pipeline, "text_encoder_2", None)
    first = "conditioner.embedders.0." if second is not None else "cond_stage_model."
    for name, weight in pipeline.text_encoder.state_dict().items():
        tensors[f"{first}transformer.text_model.{name.removeprefix('text_model.')}"] = weight
    if second is not None:
        tensors |= {
            f"conditioner.embedders.1.model.{name}": w for name, w in open_clip(second.state_dict())
        }
    return tensors


def unet_name(name: str, unet: Any) -> str:
    for new, old in TOP.items():
        if name.startswith(f"{new}."):
            return name.replace(new, old)
    for new, old in RESNET.items():
        name = re.sub(rf"(resnets\.\d+)\.{new}\.", rf"\1.{old}.", name)
    per_block = unet.config.layers_per_block + 1

    def down(match: re.Match[str]) -> str:
        number = 1 + int(match[1]) * per_block + int(match[3])
        return f"input_blocks.{number}.{'0' if match[2] == 'resnets' else '1'}"

    def up(match: re.Match[str]) -> str:
        number = int(match[1]) * per_block + int(match[3])
        return f"output_blocks.{number}.{'0' if match[2] == 'resnets' else '1'}"

    def upsampled(match: re.Match[str]) -> str:
        block = int(match[1])
        crossed = "CrossAttn" in unet.config.up_block_types[block]
        return f"output_blocks.{(block + 1) * per_block - 1}.{2 if crossed else 1}.conv"

    name = re.sub(
        r"down_blocks\.(\d+)\.downsamplers\.0\.conv",
        lambda match: f"input_blocks.{(int(match[1]) + 1) * per_block}.0.op",
        name,
    )
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", upsampled, name)
    name = re.sub(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)", down, name)
    name = re.sub(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)", up, name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda match: f"middle_block.{2 * int(match[1])}", name)
    return name.replace("mid_block.attentions.0", "middle_block.1")


def vae_name(name: str, blocks: int) -> str:
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_shortcut", "nin_shortcut")
    name = (
        name.replace("group_norm", "norm")
        .replace("to_out.0", "proj_out")
        .replace("conv_norm_out", "norm_out")
    )
    name = re.sub(r"\.to_([qkv])\.", r".\1.", name)
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets", lambda match: f"up.{blocks - 1 - int(match[1])}.block", name
    )
    return re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0",
        lambda match: f"up.{blocks - 1 - int(match[1])}.upsample",
        name,
    )


def open_clip(weights: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """The names of OpenCLIP, which has queries, keys and values in one tensor."""
    for name, weight in weights.items():
        if name == "text_projection.weight":
            yield "text_projection", weight.T
        elif "q_proj" in name:
            parts = [weights[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            layer = re.search(r"layers\.(\d+)\.", name)
            assert layer is not None
            kind = name.rpartition(".")[2]
            yield f"transformer.resblocks.{layer[1]}.attn.in_proj_{kind}", torch.cat(parts)
        elif "k_proj" not in name and "v_proj" not in name:
            for new, old in OPEN_CLIP:
                name = name.replace(new, old)
            yield name, weight
