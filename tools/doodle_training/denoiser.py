"""The doodle UNet, trained from nothing on captions, then together with its IP-Adapter.

Two processes of one thread each share every batch: on a few cores that is faster than one process
of many threads, and other work on the machine slows it only in proportion.
Each step draws its images and noise from (seed, step), so a stopped run resumes.
"""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from dalda.doodles.patch_autoencoder import PatchAutoencoder
from dalda.generation.backends.attention import install
from doodle_training.clip import PROJECTION, WIDTH
from doodle_training.encoder import embed, even_chances
from doodle_training.images import NAMELESS, NAMES

TOKENS = 4
NO_CAPTION = 0.10
NO_IMAGE = 0.07
"""Shares with an empty caption, and with the image embedding zeroed, for guidance."""
EMA = 0.998
SAVE_EVERY = 200


@dataclass(frozen=True)
class Stage:
    """One training: how long, how fast, and how many samples see an image prompt at lambda 1."""

    folder: Path
    steps: int
    rate: float
    image_share: float
    other_share: float = 0.0
    """Of the samples with an image prompt, those whose prompt is another drawing of the same thing: so the
    adapter learns to carry a shape into another place and colour."""
    start: Path | None = None
    """The folder of a UNet to go on from."""
    adapter: Path | None = None
    """The file of an adapter to go on from; without one it is untrained."""
    batch: int = 64
    seed: int = 0
    processes: int = 2

    def rate_at(self, step: int) -> float:
        """Warm-up, flat for 30 %, then cosine to nearly zero."""
        done = step / self.steps
        tail = 1.0 if done < 0.3 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.3) / 0.7)
        return self.rate * min(1.0, (step + 1) / 150) * tail + 2e-6


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=12,
        out_channels=12,
        block_out_channels=(64, 112),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def add_adapter(unet: UNet2DConditionModel) -> None:
    """An untrained IP-Adapter, exactly as diffusers would have loaded it."""
    processors = {}
    for name, old in unet.attn_processors.items():
        if name.endswith("attn2.processor"):
            size = unet.get_submodule(name.removesuffix(".processor")).to_q.in_features
            processors[name] = IPAdapterAttnProcessor2_0(size, WIDTH, num_tokens=(TOKENS,))
        else:
            processors[name] = AttnProcessor2_0() if old is not None else None
    unet.set_attn_processor(processors)
    projection = ImageProjection(PROJECTION, WIDTH, TOKENS)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([projection])
    unet.config.encoder_hid_dim_type = "ip_image_proj"


def adapter_file(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The adapter's weights under the names of h94/IP-Adapter's files."""
    weights = {}
    for index, processor in enumerate(unet.attn_processors.values()):
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            weights[f"ip_adapter.{index}.to_k_ip.weight"] = processor.to_k_ip[0].weight
            weights[f"ip_adapter.{index}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    for name, weight in projection.state_dict().items():
        weights["image_proj." + name.replace("image_embeds", "proj")] = weight
    return {name: weight.detach().contiguous().clone() for name, weight in weights.items()}


@torch.no_grad()
def load_adapter(unet: UNet2DConditionModel, weights: dict[str, Tensor]) -> None:
    """Puts the weights of `adapter_file` into a UNet that has an adapter."""
    for index, processor in enumerate(unet.attn_processors.values()):
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            processor.to_k_ip[0].weight.copy_(weights[f"ip_adapter.{index}.to_k_ip.weight"])
            processor.to_v_ip[0].weight.copy_(weights[f"ip_adapter.{index}.to_v_ip.weight"])
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    for name, weight in projection.state_dict().items():
        weight.copy_(weights["image_proj." + name.replace("image_embeds", "proj")])


@torch.no_grad()
def prepare(data: Path, encoder: Path, vae: Path, cache: Path) -> None:
    """Fits the autoencoder, and keeps the latents and image embeddings of all images."""
    images = np.load(data)["images"]
    autoencoder = PatchAutoencoder()
    autoencoder.fit(_scaled(images[:4000]))
    autoencoder.save_pretrained(vae)
    parts = np.array_split(images, len(images) // 500)
    factor = autoencoder.config.scaling_factor
    latents = [(autoencoder.encode(_scaled(part)).latents * factor).half() for part in parts]
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(encoder).eval()
    embeds = [embed(image_encoder, part) for part in parts]
    partial = cache.with_suffix(".partial")
    stored = {"latents": torch.cat(latents).contiguous(), "embeds": torch.cat(embeds).contiguous()}
    save_file(stored, partial)
    partial.rename(cache)


def _scaled(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class Batches:
    """Batch number `step`, share `rank`: a pure function of the seed."""

    def __init__(self, data: Path, clip: Path, cache: Path, stage: Stage, rank: int) -> None:
        archive, stored = np.load(data), load_file(cache)
        self.latents, self.embeds = stored["latents"], stored["embeds"]
        self.captions = archive["captions"]
        things = archive["labels"][:, 0]
        self.chances = even_chances(things)
        self.alike = {int(thing): np.flatnonzero(things == thing) for thing in np.unique(things)}
        # No nameless shape is there twice.
        self.alike.pop(NAMES.index(NAMELESS), None)
        self.things = things
        self.tokenizer = CLIPTokenizer.from_pretrained(clip)
        self.text_encoder = CLIPTextModel.from_pretrained(clip).eval()
        self.stage, self.rank = stage, rank
        self.size = stage.batch // stage.processes

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.stage.seed, step, self.rank])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        prompted = rng.random(self.size) < self.stage.image_share
        # With an image prompt every thing is drawn equally often, known by name or not.
        chosen = np.where(
            prompted,
            rng.choice(len(self.latents), size=self.size, p=self.chances),
            rng.integers(len(self.latents), size=self.size),
        )
        spoken = self.captions[chosen, rng.integers(self.captions.shape[1], size=self.size)]
        spoken = np.where(rng.random(self.size) < NO_CAPTION, "", spoken)
        embeds = self.embeds[self._prompts(chosen, step)].clone()
        embeds[torch.from_numpy(rng.random(self.size) < NO_IMAGE)] = 0
        latents = self.latents[chosen].float()
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=noise),
            "times": torch.from_numpy(rng.integers(1000, size=self.size)),
            "text": self.texts(list(spoken)),
            "image": embeds,
            "scale": torch.from_numpy(prompted).float()[:, None, None],
        }

    def _prompts(self, chosen: np.ndarray, step: int) -> np.ndarray:
        """The image whose embedding each sample sees: itself, or another drawing of the same thing."""
        # A generator of its own, so that a share of 0 draws as before.
        rng = np.random.default_rng([self.stage.seed, step, self.rank, 1])
        swapped = rng.random(len(chosen)) < self.stage.other_share
        return np.array(
            [
                rng.choice(self.alike[int(self.things[image])])
                if swap and int(self.things[image]) in self.alike
                else image
                for image, swap in zip(chosen, swapped, strict=True)
            ]
        )

    def texts(self, captions: list[str]) -> Tensor:
        distinct, place = np.unique(captions, return_inverse=True)
        tokens = self.tokenizer(list(distinct), padding="max_length", truncation=True, return_tensors="pt")
        states: Tensor = self.text_encoder(tokens.input_ids)[0]
        return states[torch.from_numpy(place)]


def loss_of(unet: UNet2DConditionModel, scheduler: DDIMScheduler, batch: dict[str, Tensor]) -> Tensor:
    noisy = scheduler.add_noise(batch["latents"], batch["noise"], batch["times"])
    velocity = scheduler.get_velocity(batch["latents"], batch["noise"], batch["times"])
    guess = unet(
        noisy,
        batch["times"],
        batch["text"],
        added_cond_kwargs={"image_embeds": [batch["image"][:, None]]},
        cross_attention_kwargs={"ip_adapter_scale": batch["scale"]},
    ).sample
    return F.mse_loss(guess, velocity)


def _share_gradients(parameters: list[nn.Parameter]) -> None:
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters])  # type: ignore[union-attr]
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for parameter in parameters:
        count = parameter.numel()
        parameter.grad = flat[start : start + count].view_as(parameter)
        start += count


def _save_state(path: Path, state: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.rename(path)


def _work(rank: int, data: Path, clip: Path, cache: Path, stage: Stage) -> None:
    torch.set_num_threads(1)
    store = stage.folder.resolve() / "rendezvous"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=stage.processes)
    torch.manual_seed(stage.seed)
    unet = new_unet() if stage.start is None else UNet2DConditionModel.from_pretrained(stage.start)
    add_adapter(unet.train())
    if stage.adapter is not None:
        load_adapter(unet, load_file(stage.adapter))
    install(unet)
    parameters = list(unet.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(
        parameters, lr=stage.rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True
    )
    scheduler, batches = new_scheduler(), Batches(data, clip, cache, stage, rank)
    state, first = stage.folder / "state.pt", 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        unet.load_state_dict(kept["unet"])
        optimizer.load_state_dict(kept["optimizer"])
        average, first = kept["average"], kept["step"]
    dist.barrier()
    started, losses = time.time(), []
    for step in range(first, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.rate_at(step)
        loss = loss_of(unet, scheduler, batches(step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        _share_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        keep = min(EMA, (1 + step) / (20 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - keep)
        losses.append(loss.item())
        done = step + 1
        if rank == 0 and (done % SAVE_EVERY == 0 or done == stage.steps):
            pace = (time.time() - started) / (done - first)
            line = {
                "step": done,
                "of": stage.steps,
                "loss": sum(losses[-SAVE_EVERY:]) / len(losses[-SAVE_EVERY:]),
            }
            print(json.dumps({**line, "eta_seconds": round(pace * (stage.steps - done))}), flush=True)
            kept = {"unet": unet.state_dict(), "optimizer": optimizer.state_dict()}
            _save_state(state, {**kept, "average": average, "step": done})
    dist.barrier()
    dist.destroy_process_group()


def train_denoiser(data: Path, clip: Path, cache: Path, stage: Stage) -> None:
    """Trains, or goes on training, until `stage.steps`."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    (stage.folder / "rendezvous").unlink(missing_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    mp.spawn(_work, (data, clip, cache, stage), nprocs=stage.processes)  # type: ignore[attr-defined,no-untyped-call]


def averaged(folder: Path) -> UNet2DConditionModel:
    """The UNet with its adapter as of the last saved step, with averaged weights."""
    unet = new_unet()
    add_adapter(unet)
    stock = install(unet)
    kept = torch.load(folder / "state.pt", weights_only=True)
    with torch.no_grad():
        for parameter, value in zip(unet.parameters(), kept["average"], strict=True):
            parameter.copy_(value)
    unet.set_attn_processor(stock)
    return unet.eval()


def without_adapter(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy with the weights of the UNet alone."""
    plain = new_unet()
    missing = plain.load_state_dict(unet.state_dict(), strict=False).missing_keys
    if missing:
        raise ValueError(f"the trained model lacks {missing}")
    return plain
