"""docs/trials.md: its example runs, and its tables name what there is."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dalda.records import Sample, Split
from dalda.trials.backbones import ROWS
from dalda.trials.blend import WAYS
from dalda.trials.quality import Quality

PAGE = (Path(__file__).parents[2] / "docs" / "trials.md").read_text(encoding="utf-8")


def test_the_example_runs(
    make_split: Callable[..., Split],
    make_samples: Callable[..., tuple[Sample, ...]],
    open_image: Callable[[Path], Image.Image],
) -> None:
    split = make_split("train", 2)
    shown: list[torch.Tensor] = []
    names: dict[str, object] = {
        "split": split,
        "samples": make_samples(split, 1),
        "open_image": open_image,
        "to_tensor": lambda image: torch.from_numpy(np.array(image)),
        "model": shown.append,
    }
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(example, names)
    assert len(shown) == 2 * len(split.examples)


def test_the_tables_name_what_there_is() -> None:
    first_cells = set(re.findall(r"^\| `([\w-]+)`", PAGE, re.MULTILINE))
    counts = {"real_images", "synthetic_images"}
    assert {*ROWS, *WAYS, *({field.name for field in fields(Quality)} - counts)} <= first_cells
