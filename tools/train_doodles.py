"""Makes the doodle models again: `python tools/train_doodles.py --work DIR [--out DIR]`.

Every stage leaves its result in the work folder and is skipped when that is there, and the long
stage saves its state, so a stopped run resumes. Figures go to DIR/metrics.json.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from dalda.doodles.patch_autoencoder import PatchAutoencoder
from doodle_training.clip import measure_clip, train_clip
from doodle_training.denoiser import (
    Stage,
    adapter_file,
    averaged,
    new_scheduler,
    prepare,
    train_denoiser,
    without_adapter,
)
from doodle_training.encoder import train_encoder
from doodle_training.images import make_images
from doodle_training.tokenizer import make_tokenizer
from doodle_training.vision import measure_vision, train_vision

TRAIN_SEED, TEST_SEED = 1_000_000, 9_000_000
SHIPPED = Path(__file__).parent.parent / "src/dalda/doodles/weights"

PARTS = {
    "_class_name": "StableDiffusionPipeline",
    "vae": ["dalda.doodles.patch_autoencoder", "PatchAutoencoder"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
}
"""The model index of a diffusers folder."""
OTHER_SHARE = "the share of image prompts that are another drawing of the same thing"
ONLY_ADAPTER = "trains the shipped adapter and UNet on; CLIP and the image encoder are the shipped ones"
SHIPPED_ADAPTER = SHIPPED / "ip_adapter/models/ip-adapter_doodle.safetensors"


def export(work: Path, out: Path) -> None:
    """Writes the models as a Stable Diffusion folder, a CLIP and an IP-Adapter, in half precision."""
    unet = averaged(work / "adapter")
    (out / "ip_adapter/models").mkdir(parents=True, exist_ok=True)
    adapter = {name: weight.half() for name, weight in adapter_file(unet).items()}
    save_file(adapter, out / "ip_adapter/models/ip-adapter_doodle.safetensors")
    without_adapter(unet).half().save_pretrained(out / "model/unet")
    new_scheduler().save_pretrained(out / "model/scheduler")
    PatchAutoencoder.from_pretrained(work / "vae").save_pretrained(out / "model/vae")
    forget_origin(out / "model/vae/config.json")
    clip = CLIPModel.from_pretrained(work / "clip").half()
    clip.save_pretrained(out / "clip")
    vision = CLIPVisionModelWithProjection.from_pretrained(work / "image_encoder").half()
    vision.save_pretrained(out / "ip_adapter/models/image_encoder")
    CLIPTextModel.from_pretrained(work / "clip").half().save_pretrained(out / "model/text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(work / "clip")
    for folder in ("clip", "model/tokenizer"):
        tokenizer.save_pretrained(out / folder)
    (out / "model/model_index.json").write_text(json.dumps(PARTS, indent=2) + "\n")


def export_vision(work: Path, out: Path) -> None:
    """Copies the backbone without text, and prints the ceiling of a linear probe on it."""
    shutil.copytree(work / "vision/export", out / "vision", dirs_exist_ok=True)
    figures = json.dumps(measure_vision(out / "vision"), indent=2)
    (out / "vision/metrics.json").write_text(figures + "\n")
    print(figures)


def adopt_shipped(work: Path) -> None:
    """Puts the shipped models in place of the stages before the adapter's."""
    if not (work / "clip/tokenizer.json").exists():
        # The type named, so that the configurations of its halves say it too.
        clip = CLIPModel.from_pretrained(SHIPPED / "clip", dtype=torch.float32)
        clip.save_pretrained(work / "clip")
        CLIPTokenizer.from_pretrained(SHIPPED / "clip").save_pretrained(work / "clip")
    if not (work / "image_encoder").exists():
        encoder = CLIPVisionModelWithProjection.from_pretrained(SHIPPED / "ip_adapter/models/image_encoder")
        encoder.float().save_pretrained(work / "image_encoder")
    if not (work / "denoiser/unet").exists():
        unet = UNet2DConditionModel.from_pretrained(SHIPPED / "model/unet").float()
        unet.save_pretrained(work / "denoiser/unet")


def forget_origin(config: Path) -> None:
    """Takes the folder out in which a model was trained."""
    settings = json.loads(config.read_text())
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where unfinished stages are kept")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the models go")
    parser.add_argument("--images", type=int, default=80_000)
    parser.add_argument("--clip-samples", type=int, default=115_200)
    parser.add_argument("--encoder-samples", type=int, default=153_600)
    parser.add_argument("--denoiser-samples", type=int, default=192_000)
    parser.add_argument("--adapter-samples", type=int, default=96_000)
    parser.add_argument("--other-share", type=float, default=0.5, help=OTHER_SHARE)
    parser.add_argument("--only-adapter", action="store_true", help=ONLY_ADAPTER)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-vision", action="store_true", help="the backbone without text alone")
    parser.add_argument("--export-only", action="store_true", help="write out what the last save holds")
    asked = parser.parse_args()
    work: Path = asked.work
    work.mkdir(parents=True, exist_ok=True)
    if asked.only_adapter:
        adopt_shipped(work)
    elif not (work / "vision/export/config.json").exists() and not asked.export_only:
        train_vision(work / "vision", asked.processes, asked.seed)
    if asked.only_vision:
        export_vision(work, asked.out)
        return
    train, test, clip = work / "train.npz", work / "test.npz", work / "clip"
    cache = work / "cache.safetensors"
    if not asked.export_only:
        if not train.exists():
            make_images(train, asked.images, TRAIN_SEED)
        if not test.exists():
            make_images(test, 4000, TEST_SEED, uniform=True)
        if not (clip / "tokenizer.json").exists():
            torch.set_num_threads(asked.processes)
            tokenizer = make_tokenizer(work / "tokenizer")
            train_clip(train, clip, tokenizer, asked.clip_samples, asked.seed)
        if not (work / "image_encoder").exists():
            torch.set_num_threads(asked.processes)
            train_encoder(train, work / "image_encoder", asked.encoder_samples, asked.seed)
        if not cache.exists():
            prepare(train, work / "image_encoder", work / "vae", cache)
        shared = {"batch": asked.batch, "seed": asked.seed, "processes": asked.processes}
        unet = work / "denoiser/unet"
        if not unet.exists():
            steps = asked.denoiser_samples // asked.batch
            words = Stage(work / "denoiser", steps, rate=1.2e-3, image_share=0, **shared)
            train_denoiser(train, clip, cache, words)
            without_adapter(averaged(words.folder)).save_pretrained(unet)
        steps = asked.adapter_samples // asked.batch
        images = Stage(
            work / "adapter",
            steps,
            rate=8e-4,
            image_share=0.75,
            other_share=asked.other_share,
            start=unet,
            adapter=SHIPPED_ADAPTER if asked.only_adapter else None,
            **shared,
        )
        train_denoiser(train, clip, cache, images)
    export(work, asked.out)
    if asked.only_adapter:
        return
    export_vision(work, asked.out)
    metrics = measure_clip(clip, test)
    (work / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    shutil.copy(work / "metrics.json", asked.out / "metrics.json")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
