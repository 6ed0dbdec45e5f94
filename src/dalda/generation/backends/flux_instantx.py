"""InstantX' IP-Adapter for FLUX.1: the attention of every block, single ones too, reads image prompts.

As InstantX' code has it (`IPAFluxAttnProcessor2_0`): keys are normalised, values are not; the query is
the block's before its rotary embedding; what is read is added before the output projection, to image tokens
in double blocks, to all tokens in single ones.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import MultiIPAdapterImageProjection, apply_rotary_emb
from torch import Tensor, nn

from dalda.models.weights import fill, refuse_difference

KEY_EPSILON = 1e-5


class InstantXProjection(nn.Module):
    """Image features [n, features] as tokens [n, tokens, width]."""

    def __init__(self, features: int, tokens: int, width: int) -> None:
        super().__init__()
        wide = 2 * features
        self.proj = nn.Sequential(nn.Linear(features, wide), nn.GELU(), nn.Linear(wide, tokens * width))
        self.norm = nn.LayerNorm(width)
        self.width = width

    def forward(self, features: Tensor) -> Tensor:
        tokens: Tensor = self.norm(self.proj(features).unflatten(-1, (-1, self.width)))
        return tokens


class InstantXAttention(nn.Module):
    """Attention of a FLUX.1 block, plus what its queries read in image prompts times a scale."""

    def __init__(self, width: int, token_width: int) -> None:
        super().__init__()
        self.scale: Any = 1.0
        self.to_k_ip = nn.Linear(token_width, width, bias=False)
        self.to_v_ip = nn.Linear(token_width, width, bias=False)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        *,
        ip_hidden_states: list[Tensor],
    ) -> Tensor | tuple[Tensor, Tensor]:
        """States of the image tokens and of the text's in a double block, of both in a single one."""
        text = encoder_hidden_states

        def heads(layer: nn.Module, states: Tensor) -> Tensor:
            split: Tensor = layer(states).unflatten(-1, (attn.heads, -1))
            return split

        query = attn.norm_q(heads(attn.to_q, hidden_states))
        key, value = attn.norm_k(heads(attn.to_k, hidden_states)), heads(attn.to_v, hidden_states)
        read: Tensor = self.scale * self._read(query, ip_hidden_states[0])
        if text is not None:
            query = torch.cat([attn.norm_added_q(heads(attn.add_q_proj, text)), query], 1)
            key = torch.cat([attn.norm_added_k(heads(attn.add_k_proj, text)), key], 1)
            value = torch.cat([heads(attn.add_v_proj, text), value], 1)
        query, key = (apply_rotary_emb(one, image_rotary_emb, sequence_dim=1) for one in (query, key))
        states: Tensor = dispatch_attention_fn(query, key, value, attn_mask=attention_mask).flatten(2)
        if text is None:
            return states + read
        of_text, of_image = states[:, : text.shape[1]], states[:, text.shape[1] :]
        return attn.to_out[1](attn.to_out[0](of_image + read)), attn.to_add_out(of_text.contiguous())

    def _read(self, query: Tensor, prompts: Tensor) -> Tensor:
        """What queries [rows, length, heads, channels] read in prompts [rows, images, tokens, width]."""
        tokens = prompts.flatten(1, 2)
        key, value = (one(tokens).unflatten(-1, query.shape[2:]) for one in (self.to_k_ip, self.to_v_ip))
        key = F.rms_norm(key, key.shape[-1:], eps=KEY_EPSILON)
        read: Tensor = dispatch_attention_fn(query, key, value).flatten(2)
        return read


def add_instantx(transformer: Any, parts: Mapping[str, Mapping[str, Tensor]], where: str) -> None:
    """Puts an adapter, whose attention fits, into a transformer; raises WeightsError for other tensors."""
    refuse_difference(parts, ("image_proj", "ip_adapter"), where)
    found, width = parts["image_proj"], transformer.config.joint_attention_dim
    refuse_difference(found, InstantXProjection(1, 1, 1).state_dict(), where)
    with torch.device("meta"):
        tokens = len(found["proj.2.weight"]) // width
        projection = InstantXProjection(found["proj.0.weight"].shape[-1], tokens, width)
    fill(projection, found, where)
    transformer.encoder_hid_proj = MultiIPAdapterImageProjection([projection])
    blocks = (*transformer.transformer_blocks, *transformer.single_transformer_blocks)
    for number, block in enumerate(blocks):
        with torch.device("meta"):
            attention = InstantXAttention(transformer.inner_dim, width)
        names = attention.state_dict()
        fill(attention, {name: parts["ip_adapter"][f"{number}.{name}"] for name in names}, where)
        block.attn.set_processor(attention)
