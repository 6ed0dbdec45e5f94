"""The CLIP class probability: how surely CLIP sees an image's own class among the data set's classes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

BATCH = 64
READERS = 4
"""Images that are decoded at a time, each of which may be large; what CLIP sees of them is small."""
BYTES = 256
"""A byte-level vocabulary has an entry for each byte at least."""


def probabilities(images: Tensor, texts: Tensor, scale: float) -> Tensor:
    """Softmax over the classes of CLIP's logits: [images, classes] from unit embeddings."""
    return (scale * images @ texts.T).softmax(dim=-1)


@dataclass(frozen=True)
class ClipScorer:
    """A CLIP model with its own preprocessing; text features are computed once per class list."""

    model: Any
    tokenizer: Any
    processor: Any
    device: str

    @classmethod
    def load(
        cls,
        folder_or_id: str | Path,
        *,
        device: str = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> "ClipScorer":
        """From a local folder or a Hub id; `doodle` models lack a processor file and get CLIP's own."""
        place = {"revision": revision, "local_files_only": local_files_only}
        model = CLIPModel.from_pretrained(folder_or_id, dtype=torch.float32, **place)
        size = model.config.vision_config.image_size
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder_or_id, **place)
        # Where there is none, transformers 5 raises nothing and gives one that knows no words.
        if len(tokenizer) <= BYTES:
            raise OSError("no tokenizer lies beside the model")
        return cls(model.eval().to(device), tokenizer, processor, device)

    @torch.no_grad()
    def text_features(self, names: Sequence[str]) -> Tensor:
        """Unit embeddings [classes, width] of `a photo of a {name}`."""
        prompts = [f"a photo of a {name}" for name in names]
        parts = []
        for start in range(0, len(prompts), BATCH):
            tokens = self.tokenizer(
                prompts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt"
            ).to(self.device)
            states = self.model.text_model(**tokens).pooler_output
            parts.append(F.normalize(self.model.text_projection(states), dim=-1))
        return torch.cat(parts)

    def pixels(self, image: Image.Image) -> Tensor:
        """What CLIP sees of a image of any size: [3, side, side]."""
        seen: Tensor = self.processor(image, return_tensors="pt")["pixel_values"][0]
        return seen

    @torch.no_grad()
    def image_features(self, pixels: Tensor) -> Tensor:
        """Unit embeddings [images, width] of [images, 3, side, side]."""
        states = self.model.vision_model(pixel_values=pixels.to(self.device)).pooler_output
        return F.normalize(self.model.visual_projection(states), dim=-1)

    def scores(
        self,
        images: Iterable[tuple[Path, str]],
        names: Sequence[str],
        open_image: Callable[[Path], Image.Image],
    ) -> Iterator[float]:
        """The score of each (image, class name), in order, rounded to 5 decimals.

        Images are read ahead; no more than READERS are there in full at a time.
        """
        texts = self.text_features(names)
        scale = self.model.logit_scale.exp().item()
        place = {name: index for index, name in enumerate(names)}

        def read(path: Path) -> Tensor:
            return self.pixels(open_image(path))

        with ThreadPoolExecutor(READERS) as pool:
            # A batch is read while the one before it is looked at.
            waiting = deque[tuple[Future[Tensor], str]]()
            unread = iter(images)
            while True:
                more = islice(unread, 2 * BATCH - len(waiting))
                waiting += [(pool.submit(read, path), name) for path, name in more]
                batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                if not batch:
                    return
                seen = self.image_features(torch.stack([pixels.result() for pixels, _ in batch]))
                for row, (_, name) in zip(probabilities(seen, texts, scale), batch, strict=True):
                    yield round(float(row[place[name]]), 5)
