"""Inputs of the training loop: cached features of augmented views, or fresh views through the backbone."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone, FeatureExtractor
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.evaluation.feature_cache import release
from dalda.evaluation.features import FeatureStore, ImageFile, batches_of
from dalda.evaluation.transforms import change_colours, flip_and_rotate, mix_batch, shrink
from dalda.evaluation.trial import Schedule, Trial, image_file
from dalda.seeding import generator_of, seed_of

READS_BETWEEN_RELEASES = 64
"""Rows of a memory-mapped table that are read before its memory is freed: each may bring a megabyte."""
BACKBONE_RATES = {"full": 1e-5, "lora": 1e-4}
"""Learning rates of the backbone's own weights; the head keeps the schedule's."""
LORA_RANK = 8


@dataclass(frozen=True)
class Batch:
    """What H heads learn from in one step."""

    features: Tensor
    """[H, batch, d], with gradients where the backbone learns."""
    targets: Tensor
    """Class numbers, [H, batch, k]: k is 2 where images are mixed, else 1."""
    shares: Tensor
    """Of each target's cross-entropy in the head's loss, [H, batch, k]."""


class CachedViews:
    """Features of augmented views that were computed once; any number of trials."""

    def __init__(self, trials: Sequence[Trial], store: FeatureStore, schedule: Schedule) -> None:
        files = [[image_file(item) for item in trial.items] for trial in trials]
        self.table, rows = store.viewed([file for group in files for file in group])
        self.rows = np.split(rows, np.cumsum([len(group) for group in files])[:-1])
        """For each trial the table's row of each of its images."""
        self.store, self.device = store, torch.device("cpu")
        self.moving: Sequence[nn.Parameter] = ()
        """Weights of the backbone that learn along with the heads, at `rate`."""
        self.rate = 0.0
        draws = [trial.draws(schedule) for trial in trials]
        targets, shares = _of_equal_width([trial.targets for trial in trials])
        drawn_targets = [row[draw.images] for row, draw in zip(targets, draws, strict=True)]
        drawn_shares = [row[draw.images] for row, draw in zip(shares, draws, strict=True)]
        self._drawn = np.stack([row[draw.images] for row, draw in zip(self.rows, draws, strict=True)], 1)
        views = (generator_of(trial.seed, "views") for trial in trials)
        self._views = np.stack(
            [view.integers(store.views, size=draws[0].images.shape) for view in views], 1
        )
        weights = np.stack([draw.weights / schedule.batch for draw in draws], 1)
        self._targets = torch.from_numpy(np.stack(drawn_targets, 1))
        self._shares = torch.from_numpy(weights).unsqueeze(3) * torch.from_numpy(np.stack(drawn_shares, 1))
        self._steps_between = max(1, READS_BETWEEN_RELEASES // (len(trials) * schedule.batch))

    def batch(self, step: int) -> Batch:
        if step % self._steps_between == 0:
            release(self.table)
        features = torch.from_numpy(self.table[self._drawn[step], self._views[step]])
        return Batch(features, self._targets[step], self._shares[step])

    def extract(self, files: Sequence[ImageFile]) -> Tensor:
        """Features of images as they are, [n, d], by the backbone as it is now."""
        return torch.from_numpy(self.store.plain(files))

    def trained(self) -> dict[str, Tensor]:
        """The backbone's tensors that training has changed or added, by their names in it."""
        return {}


def _of_equal_width(
    targets: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]],
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]]:
    """Targets and shares [n, k] of several trials with the same k; added columns have no share."""
    width = max(numbers.shape[1] for numbers, _ in targets)
    wide = [np.pad(n, ((0, 0), (0, width - n.shape[1])), mode="edge") for n, _ in targets]
    return wide, [np.pad(s, ((0, 0), (0, width - s.shape[1]))) for _, s in targets]


class FreshViews:
    """Augmented views that are drawn at each step, through a backbone that may learn; one trial."""

    resample = Image.Resampling.BILINEAR
    """Of rotations."""

    def __init__(
        self,
        trial: Trial,
        store: FeatureStore,
        schedule: Schedule,
        *,
        backbone: FeatureExtractor | None = None,
        finetune: str = "head",
        batch_augment: str = "none",
    ) -> None:
        """`backbone` stands in for the store's. Raises UserError where it cannot learn, or mix pixels."""
        self.store, self.finetune, self.batch_augment = store, finetune, batch_augment
        self.backbone = backbone or store.backbone
        if finetune != "head":
            whole = _torch_model(self.backbone, f"--finetune {finetune}")
            self.backbone = trainable_copy(whole, finetune, trial.seed)
        if batch_augment != "none":
            _torch_model(self.backbone, f"--batch-augment {batch_augment}")
        model = self.backbone.model if isinstance(self.backbone, Backbone) else None
        self.device = self.backbone.device if isinstance(self.backbone, Backbone) else torch.device("cpu")
        weights = model.parameters() if model else ()
        self.moving: Sequence[nn.Parameter] = [weight for weight in weights if weight.requires_grad]
        recipe = getattr(self.backbone, "recipe", HeadRecipe())
        self.rate = recipe.backbone_rate or BACKBONE_RATES.get(finetune, 0.0)
        self._items, self._seed = trial.items, trial.seed
        self._draws = trial.draws(schedule)
        self._targets, self._label_shares = map(torch.from_numpy, trial.targets)
        self._view_generator = generator_of(trial.seed, "exact views")
        self._mix_generator = generator_of(trial.seed, "mix")
        self._opened: dict[int, Image.Image] = {}

    def batch(self, step: int) -> Batch:
        images, weights = self._draws.images[step], self._draws.weights[step]
        views = [self._view(number, step, slot) for slot, number in enumerate(images.tolist())]
        if not isinstance(self.backbone, Backbone):
            features = self.backbone.extract(views)
            partner, share = list[int](), 1.0
        else:
            pixels = self.backbone.pixels(views)
            pixels, partner, share = mix_batch(pixels, self.batch_augment, self._mix_generator)
            with torch.set_grad_enabled(self.finetune != "head"):
                features = self.backbone.embed(pixels)
        targets = self._targets[images]
        shares = torch.from_numpy(weights / len(weights)).unsqueeze(1) * self._label_shares[images]
        if share < 1:
            targets = torch.cat([targets, targets[partner]], 1)
            shares = torch.cat([share * shares, (1 - share) * shares], 1)
        device = features.device
        return Batch(features.unsqueeze(0), targets.unsqueeze(0).to(device), shares.unsqueeze(0).to(device))

    def extract(self, files: Sequence[ImageFile]) -> Tensor:
        if isinstance(self.backbone, Backbone):
            self.backbone.model.eval()
        batches = batches_of(files, lambda file: [self.store.open(file)])
        features = torch.cat([self.backbone.extract(images) for _, images in batches])
        if isinstance(self.backbone, Backbone) and self.moving:
            self.backbone.model.train()
        return features

    def trained(self) -> dict[str, Tensor]:
        before = self.store.backbone
        if not self.moving or not isinstance(self.backbone, Backbone) or not isinstance(before, Backbone):
            return {}
        return trained_tensors(self.backbone.model, before.model)

    def _view(self, number: int, step: int, slot: int) -> Image.Image:
        if number not in self._opened:
            file = image_file(self._items[number])
            self._opened[number] = self.open(file)
        turned = flip_and_rotate(self._opened[number], self._view_generator, self.resample)
        return change_colours([turned], self.store.transforms, self._seed, step, slot)[0]

    def open(self, file: ImageFile) -> Image.Image:
        """An image as small as it may be kept for the backbone."""
        return shrink(self.store.open(file), self.backbone.size)


def _torch_model(backbone: FeatureExtractor, option: str) -> Backbone:
    if not isinstance(backbone, Backbone):
        raise UserError(f"{option} needs a torch model, which the backbone {backbone.name!r} is not.")
    return backbone


def trainable_copy(backbone: Backbone, finetune: str, seed: int) -> Backbone:
    """A copy whose weights may move (`full`), or LoRA's beside them (`lora`)."""
    if finetune not in BACKBONE_RATES:
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


def trained_tensors(model: nn.Module, before: nn.Module) -> dict[str, Tensor]:
    """The tensors of a trained model that are not in it as it was before."""
    known = before.state_dict()
    return {
        name: value
        for name, value in model.state_dict().items()
        if (name not in known and ".base_layer." not in name)
        or (name in known and not torch.equal(value, known[name]))
    }
