"""The original code's loop, step by step: fresh views of every image, and whole models where they are
tuned.

Hours where `fit` takes seconds. It is here to check `fit`, and to train what has no fixed features:
`full` fine-tuning, and `lora`.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.evaluation.backbones import BATCH, Backbone
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.heads import optimizer_of, start_of
from dalda.evaluation.transforms import recoloured, shrunk, turned
from dalda.evaluation.trial import Schedule, Trial, check, image_of, labels_of, result_of
from dalda.progress import progress
from dalda.seeding import generator_of, seed_of
from dalda.types import FewShotSplit, TrialResult

TUNE_RATES = {"full": 1e-5, "lora": 1e-4}
"""Learning rates of the backbone's own weights; the head keeps the schedule's."""
LORA_RANK = 8
MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}
"""Of the Beta distribution of shares, as in arXiv 1710.09412 (ImageNet) and arXiv 1905.04899."""

Mixed = tuple[Tensor, list[int], float]


def run_exact(
    trial: Trial,
    validation: FewShotSplit,
    store: FeatureStore,
    schedule: Schedule | None = None,
    *,
    finetune: str = "head",
    mix: str = "none",
) -> TrialResult:
    """Trains one classifier on fresh views; `finetune` is head, full or lora, `mix` none, mixup or cutmix.

    The store gives the backbone and opens images; of its features only plain ones are used. Raises
    `UserError` where the trial cannot be trained or compared.
    """
    schedule = schedule or Schedule()
    check(trial, validation)
    backbone = tunable(store.backbone, finetune, trial.seed)
    head = head_for(trial, store, schedule)
    history = []
    with progress(f"training {trial.arm}", schedule.epochs) as bar:
        for step, _ in enumerate(exact_steps(trial, store, schedule, backbone, head, finetune, mix), 1):
            if step % schedule.iterations == 0:
                bar.advance()
                if finetune == "head" or step == schedule.epochs * schedule.iterations:
                    history.append(_probabilities(validation, store, backbone, head, finetune))
    final = history[-1] if history else _probabilities(validation, store, backbone, head, finetune)
    truth = labels_of(validation.images, validation.classes)
    return result_of(
        trial, validation, final, [float((found.argmax(1) == truth).mean()) for found in history]
    )


def exact_steps(
    trial: Trial,
    store: FeatureStore,
    schedule: Schedule,
    backbone: Backbone,
    head: nn.Linear,
    finetune: str = "head",
    mix: str = "none",
) -> Iterator[float]:
    """Trains `head`, and the backbone's model where it is tuned, in place; yields each step's loss."""
    optimizer = optimizer_of(_groups(backbone, head, finetune), schedule, backbone)
    items, labels, draws = trial.items, torch.from_numpy(trial.labels), trial.draws(schedule)
    views, mixings = generator_of(trial.seed, "exact views"), generator_of(trial.seed, "mix")
    opened: dict[int, Image.Image] = {}
    # Dropout draws from torch's own generator: seeded here, and given back as it was.
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(trial.seed, "dropout"))
        for step, (images, weights) in enumerate(zip(draws.images, draws.weights, strict=True)):
            for number in images:
                if number not in opened:
                    image = store.open_image(items[number].path).convert("RGB")
                    opened[number] = shrunk(image, backbone.size)
            fresh = [
                recoloured([turned(opened[number], views)], store.transforms, trial.seed, step, slot)[0]
                for slot, number in enumerate(images)
            ]
            pixels = backbone.pixels(fresh)
            pixels, partner, share = _mixed(pixels, mix, mixings)
            with torch.set_grad_enabled(finetune != "head"):
                features = backbone.embed(pixels)
            logits = head(features)
            wanted = labels[images].to(logits.device)
            each = share * nn.functional.cross_entropy(logits, wanted, reduction="none")
            if share < 1:
                other = nn.functional.cross_entropy(logits, wanted[partner], reduction="none")
                each = each + (1 - share) * other
            loss = (each * torch.from_numpy(weights).to(logits.device)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield loss.item()


def tunable(backbone: Backbone, finetune: str, seed: int) -> Backbone:
    """The backbone itself for `head`; else a copy whose weights, or LoRA's beside them, may move."""
    if finetune == "head":
        return backbone
    if finetune not in TUNE_RATES:
        raise UserError(f"There is nothing to finetune called {finetune!r}: use head, full or lora.")
    model = copy.deepcopy(backbone.model)
    if finetune == "full":
        model = model.requires_grad_(True).train()
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(seed, "lora"))
            model = _with_lora(model)
    return replace(backbone, model=model)


def _with_lora(model: nn.Module) -> nn.Module:
    """LoRA (arXiv 2106.09685) on every linear layer, by `peft`."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("--finetune lora needs peft: install dalda[lora].") from error
    # Where there is a text tower only the vision tower learns.
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    targets = [name for name in names if not name.startswith("text_")]
    if not targets:
        raise UserError(
            "--finetune lora needs a backbone with linear layers, and this one has none: use full."
        )
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=targets)
    adapted: nn.Module = inject_adapter_in_model(config, model)
    return adapted.train()


def mixup(pixels: Tensor, generator: np.random.Generator) -> Mixed:
    """MixUp: pixels [n, 3, h, w] averaged with a partner's; also the partners, and the share kept."""
    share = float(generator.beta(MIX_ALPHA["mixup"], MIX_ALPHA["mixup"]))
    partner: list[int] = generator.permutation(len(pixels)).tolist()
    return share * pixels + (1 - share) * pixels[partner], partner, share


def cutmix(pixels: Tensor, generator: np.random.Generator) -> Mixed:
    """CutMix: a box of each image comes from a partner; also the partners, and the share of area kept."""
    share = float(generator.beta(MIX_ALPHA["cutmix"], MIX_ALPHA["cutmix"]))
    partner: list[int] = generator.permutation(len(pixels)).tolist()
    height, width = pixels.shape[2:]
    half = np.sqrt(1 - share) / 2
    y, x = generator.integers(height), generator.integers(width)
    top, bottom = max(0, round(y - half * height)), min(height, round(y + half * height))
    left, right = max(0, round(x - half * width)), min(width, round(x + half * width))
    mixed = pixels.clone()
    mixed[:, :, top:bottom, left:right] = pixels[partner][:, :, top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


MIXES: dict[str, Callable[[Tensor, np.random.Generator], Mixed]] = {"mixup": mixup, "cutmix": cutmix}


def _mixed(pixels: Tensor, mix: str, generator: np.random.Generator) -> Mixed:
    if mix == "none":
        return pixels, list(range(len(pixels))), 1.0
    if mix not in MIXES:
        raise UserError(f"There is no mix called {mix!r}: use none, {' or '.join(MIXES)}.")
    return MIXES[mix](pixels, generator)


def head_for(trial: Trial, store: FeatureStore, schedule: Schedule) -> nn.Linear:
    """The head before training, as `fit` starts it, on plain views of the real images."""
    real = store.plain([image_of(example) for example in trial.split.images])
    weight, bias = start_of(trial, real, np.arange(len(real)), store.backbone, schedule)
    # Without torch's own start, which would draw from the global generator.
    head = nn.utils.skip_init(nn.Linear, *weight.shape[::-1])  # type: ignore[no-untyped-call]
    head.load_state_dict({"weight": weight, "bias": bias})
    moved: nn.Linear = head.to(store.backbone.device)
    return moved


def _groups(backbone: Backbone, head: nn.Linear, finetune: str) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = [{"params": list(head.parameters())}]
    if finetune != "head":
        moving = [weight for weight in backbone.model.parameters() if weight.requires_grad]
        groups.append({"params": moving, "lr": TUNE_RATES[finetune]})
    return groups


@torch.no_grad()
def _probabilities(
    validation: FewShotSplit, store: FeatureStore, backbone: Backbone, head: nn.Linear, finetune: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """What the classifier says of every validation image, [images, classes]."""
    examples = validation.images
    if finetune == "head":
        features = torch.from_numpy(store.plain([image_of(example) for example in examples]))
    else:
        backbone.model.eval()
        features = torch.cat(
            [
                backbone.features([store.open_image(one.path) for one in examples[start : start + BATCH]])
                for start in range(0, len(examples), BATCH)
            ]
        )
        backbone.model.train()
    found: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    found = head(features.to(backbone.device)).double().softmax(1).cpu().numpy()
    return found
