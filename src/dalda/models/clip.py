"""CLIP: image features, text features and class probabilities, in one place."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from dalda.device import quiet_libraries
from dalda.models.hub import loaded
from dalda.models.weights import load_module, load_settings

BATCH = 64
READERS = 4
"""Images that are decoded at a time; each may be large, what CLIP reads of it is small."""
SPECIAL_TOKENS = 2
"""Transformers 5 makes a tokenizer of these alone where a folder has none."""


def class_probabilities(images: ArrayLike, texts: ArrayLike, scale: float) -> NDArray[np.float64]:
    """CLIP class probabilities [images, classes]: the softmax over classes of scaled cosines.

    `images` [n, d] and `texts` [classes, d] are features of any length, `scale` is CLIP's logit scale.
    """
    rows, columns = (
        F.normalize(torch.as_tensor(part, dtype=torch.float64), dim=1) for part in (images, texts)
    )
    probabilities: NDArray[np.float64] = (scale * rows @ columns.T).softmax(dim=1).numpy()
    return probabilities


def clip_processor(side: int) -> CLIPImageProcessorPil:
    """CLIP's standard preprocessing for a side in pixels."""
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


@dataclass(frozen=True)
class Clip:
    """A CLIP model in eval mode and float32, with its own preprocessing and tokenizer."""

    model: Any
    tokenizer: Any
    processor: Any
    device: str

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        device: str = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> "Clip":
        """A local folder or Hub id; a folder without its own preprocessing gets CLIP's standard one.

        Raises UserError for weights that are not complete, OSError for a part that is not there.
        """
        where = str(name)
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        model = load_module(CLIPModel, where, "the CLIP", dtype=torch.float32, **options)
        try:
            processor = load_settings(CLIPImageProcessorPil, where, **options)
        except OSError:
            if not Path(where).is_dir() and local_files_only:
                raise  # the cache may hold a part of the model only
            processor = clip_processor(model.config.vision_config.image_size)
        tokenizer = load_settings(CLIPTokenizer, where, **options)
        if not SPECIAL_TOKENS < len(tokenizer) <= model.config.text_config.vocab_size:
            raise OSError(f"its tokenizer has {len(tokenizer)} tokens")
        return cls(model.eval().requires_grad_(False).to(device), tokenizer, processor, device)

    @property
    def size(self) -> int:
        """Side in pixels of the square that the model reads."""
        side: int = self.model.config.vision_config.image_size
        return side

    @property
    def scale(self) -> float:
        """What multiplies a cosine to give a logit."""
        return float(self.model.logit_scale.exp())

    def pixels(self, image: Image.Image) -> Tensor:
        """An image of any size, preprocessed: [3, side, side]."""
        prepared: Tensor = self.processor(image, return_tensors="pt")["pixel_values"][0]
        return prepared

    @torch.no_grad()
    def image_features(self, pixels: Tensor) -> Tensor:
        """Projected, unnormalised features [n, d] of preprocessed images [n, 3, side, side]."""
        states = self.model.vision_model(pixel_values=pixels.to(self.device)).pooler_output
        features: Tensor = self.model.visual_projection(states)
        return features

    @torch.no_grad()
    def text_features(self, class_names: Sequence[str]) -> Tensor:
        """Projected, unnormalised features [classes, d] of `a photo of a {name}` (arXiv 2103.00020)."""
        prompts = [f"a photo of a {name}" for name in class_names]
        parts = []
        for start in range(0, len(prompts), BATCH):
            tokens = self.tokenizer(
                prompts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt"
            ).to(self.device)
            parts.append(self.model.text_projection(self.model.text_model(**tokens).pooler_output))
        return torch.cat(parts)

    def scores(
        self,
        images: Iterable[tuple[Path, int]],
        class_names: Sequence[str],
        open_image: Callable[[Path], Image.Image],
    ) -> Iterator[float]:
        """The class probability of each (image, number of its class), in order, rounded to 5 decimals.

        Images are read ahead; no more than READERS are there in full at a time.
        """
        texts = self.text_features(class_names).cpu()

        def read(path: Path) -> Tensor:
            return self.pixels(open_image(path))

        with ThreadPoolExecutor(READERS) as pool:
            # A batch is read while the model computes the one before it.
            waiting = deque[tuple[Future[Tensor], int]]()
            unread = iter(images)
            while True:
                more = islice(unread, 2 * BATCH - len(waiting))
                waiting += [(pool.submit(read, path), number) for path, number in more]
                batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                if not batch:
                    return
                features = self.image_features(torch.stack([pixels.result() for pixels, _ in batch])).cpu()
                for row, (_, number) in zip(
                    class_probabilities(features, texts, self.scale), batch, strict=True
                ):
                    yield round(float(row[number]), 5)


def load_clip(name: str, device: str) -> Clip:
    """A folder or Hub id, from the disk or else from the Hub. Raises UserError if it cannot be loaded."""
    quiet_libraries()

    def load(name: str, **place: Any) -> Clip:
        return Clip.load(name, device=device, **place)

    return loaded(name, "--model-option clip=", load)
