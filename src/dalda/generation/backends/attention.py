"""A weight per image for the image prompt: IP-Adapter's attention with lambda as a tensor.

In every cross-attention layer, hidden = text_attention + lambda * image_attention
(IP-Adapter, arXiv 2308.06721). Stock diffusers keeps lambda as one Python float for a whole batch;
here it travels with each call as a tensor of shape [batch, references, 1], through the UNet's
`cross_attention_kwargs={"ip_adapter_scale": ...}`, so nothing is stored in the model. Several references
are summed, each with its own scale.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from diffusers.models.attention_processor import (
    Attention,
    AttnProcessor2_0,
    IPAdapterAttnProcessor2_0,
)
from torch import Tensor, nn

from dalda.errors import UserError, first_line


def _attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention of [batch, length, channels] tensors."""
    batch, _, channels = query.shape
    heads = attn.heads

    def split(states: Tensor) -> Tensor:
        return states.view(batch, -1, heads, channels // heads).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(split(query), split(key), split(value))
    return mixed.transpose(1, 2).reshape(batch, -1, channels)


class TextAttention(nn.Module):
    """Stock attention that lets the weight of the image prompt pass by."""

    def __init__(self, stock: AttnProcessor2_0) -> None:
        super().__init__()
        self.stock = stock

    def __call__(
        self, attn: Attention, *args: Any, ip_adapter_scale: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        result: Tensor = self.stock(attn, *args, **kwargs)
        return result


class TextAndImageAttention(nn.Module):
    """Cross-attention to the text, plus the image prompt's times its weight.

    Uses the weights of the stock processor it is made from, which it does not change.
    """

    def __init__(self, stock: IPAdapterAttnProcessor2_0, weights: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        if len(stock.to_k_ip) != len(weights):
            raise ValueError(
                f"{len(weights)} image prompt adapters have a weight, {len(stock.to_k_ip)} are loaded"
            )
        self.weights = weights
        self.stock = stock

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Tensor, list[Tensor]],
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        ip_adapter_scale: Tensor | None = None,
    ) -> Tensor:
        if ip_adapter_scale is None:
            raise ValueError(
                "cross_attention_kwargs must hold ip_adapter_scale, of shape [batch, references, 1]"
            )
        text, images = encoder_hidden_states
        query = attn.to_q(hidden_states)
        mixed = _attend(attn, query, attn.to_k(text), attn.to_v(text))
        references = ip_adapter_scale.shape[1]
        for adapter, image in enumerate(images):
            to_key, to_value = self.stock.to_k_ip[adapter], self.stock.to_v_ip[adapter]
            weight = self.weights[adapter]
            scale = ip_adapter_scale if weight == 1 else ip_adapter_scale * weight
            # [batch, references, tokens, channels], without the references where it is one.
            image = image.flatten(1, -2)
            image = image.view(len(image), references, -1, image.shape[-1])
            for number in range(references):
                key, value = to_key(image[:, number]), to_value(image[:, number])
                mixed = mixed + scale[:, number : number + 1] * _attend(attn, query, key, value)
        out: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return out


def set_block_scales(pipeline: Any, blocks: dict[str, Any]) -> None:
    """Scales of an adapter by block. Raises UserError for a block that this model has not."""
    reason = ""
    levels = {"down": pipeline.unet.down_blocks, "up": pipeline.unet.up_blocks, "mid": ()}
    for side, scales in blocks.items():
        known = [f"block_{n}" for n, one in enumerate(levels.get(side, ())) if hasattr(one, "attentions")]
        unknown = sorted(set(scales) - set(known)) if isinstance(scales, dict) else []
        if side not in levels or unknown:
            reason = (
                f"there is no {' '.join([side, *unknown[:1]])}; {side} has {', '.join(known) or 'none'}"
            )
    try:
        pipeline.set_ip_adapter_scale(blocks)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        reason = reason or first_line(error)
    if reason:
        raise UserError(
            f"--model-option adapter_blocks cannot be used ({reason}); write scales of blocks as diffusers "
            "does, such as {up: {block_0: [0.0, 1.0, 0.0]}}"
        )


def install(unet: Any, *, by_block: bool = False, adapters: Sequence[float] = (1.0,)) -> dict[str, Any]:
    """Gives a UNet with loaded IP-Adapters a weight per image; returns its stock processors.

    `adapters` multiply it, one number each; `by_block` multiplies it with the scales that each stock
    processor has (InstantStyle, arXiv 2404.02733).
    """
    stock = dict(unet.attn_processors)
    if not any(isinstance(processor, IPAdapterAttnProcessor2_0) for processor in stock.values()):
        raise ValueError("no image prompt adapter is loaded into this model")
    unet.set_attn_processor(
        {name: _wrapped(processor, by_block, adapters) for name, processor in stock.items()}
    )
    return stock


def _wrapped(processor: Any, by_block: bool, adapters: Sequence[float]) -> nn.Module:
    if isinstance(processor, IPAdapterAttnProcessor2_0):
        blocks = [float(scale) for scale in processor.scale] if by_block else [1.0] * len(adapters)
        weights = [block * weight for block, weight in zip(blocks, adapters, strict=True)]
        return TextAndImageAttention(processor, weights)
    return TextAttention(processor)
