"""The data card of an exported set: README.md as the Hugging Face Hub reads it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dalda.config.methods import METHODS
from dalda.generation.set_settings import section_in, with_extent
from dalda.methods.base import method_named
from dalda.models.catalogue import PUBLISHED
from dalda.models.presets import SHIPPED
from dalda.reporting.export_folder import ExportImage
from dalda.reporting.text import harmless, is_path
from dalda.storage import to_yaml

CARD = "README.md"
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
"""The Hub's size categories, by the number of images that they end at."""
MOST_CLASSES = 200
"""Classes in the table."""
LOADING = """```python
from datasets import load_dataset

images = load_dataset("PATH_OR_NAME", split="train")
```"""


def data_card(name: str, settings: Mapping[str, Any], images: Sequence[ExportImage]) -> str:
    """Markdown with a YAML header: method, model, licence of the model, counts, and how to load."""
    synthetic = [image for image in images if image.metadata.get("origin") != "real"]
    real = len(images) - len(synthetic)
    sources = {str(image.metadata.get("source_sha256")) for image in synthetic}
    licence = licence_of(settings)
    header = {
        "pretty_name": harmless(name),
        "license": "other",
        "license_name": re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-"),
        "task_categories": ["image-classification"],
        "tags": ["synthetic", "ai-generated", "data-augmentation", "dalda"],
        "size_categories": [next((word for most, word in SIZES.items() if len(images) < most), "n>1M")],
    }
    beside = f", beside {real} real images" if real else ""
    lines = [
        "---",
        to_yaml(header).rstrip(),
        "---",
        "",
        f"# {_text(name)}",
        "",
        f"{len(synthetic)} synthetic images, generated from {len(sources)} real images with "
        f"[dalda](https://arxiv.org/abs/2409.16949){beside}. A diffusion model made them: do not take them "
        "for photographs, and validate on real images alone. Each file says so too (IPTC Digital Source "
        "Type `trainedAlgorithmicMedia`).",
        "",
        *_table(("setting", "value"), _settings(settings)),
        "",
        f"The model's licence covers what may be done with its images: {_text(licence)}. The real images "
        "have a licence of their own, which this page does not know; their owner may name it here.",
        "",
        "## Classes",
        "",
        *_class_table(images),
        "",
        "## Loading",
        "",
        LOADING,
        "",
        "The metadata of an image are its caption (`prompt`), IP-Adapter scale (how strongly it follows "
        "its source), seed, and the hash of its source.",
        "",
        "## Limits",
        "",
        "The images have the biases of the diffusion model. Some may not show their class, and some may be "
        "near-duplicates of a real image; `dalda report` and `dalda evaluate` list both.",
    ]
    return "\n".join(lines) + "\n"


def licence_of(settings: Mapping[str, Any]) -> str:
    """The licence of the diffusion model, or where it is to be looked up."""
    known = PUBLISHED.get(str(settings.get("model")))
    if str(section_in(settings, "preset").get("model", "")).startswith(SHIPPED):
        return "Apache-2.0"
    return known.licence if known else "that of the model, which its own page says"


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a reader of the card asks first."""
    settings, preset = with_extent(settings), section_in(settings, "preset")
    method = settings.get("method")
    paper = method_named(method).paper if isinstance(method, str) and method in METHODS else None
    rows = {
        "method": f"{method} ({paper})" if paper else method,
        "model": preset.get("model") or settings.get("model"),
        "adapter": preset.get("adapter"),
        "steps": preset.get("steps"),
        "guidance scale": preset.get("guidance_scale"),
        "IP-Adapter scale": settings.get("ip_adapter_scale"),
        "seed": settings.get("seed"),
        "data set": str(settings.get("dataset", "")).replace("\\", "/").rstrip("/").rpartition("/")[2],
    }
    return [
        (name, Path(value).name if isinstance(value, str) and is_path(value) else value)
        for name, value in rows.items()
        if value is not None
    ]


def _class_table(images: Sequence[ExportImage]) -> list[str]:
    """Images by class and origin; of very many classes the first."""
    kinds = Counter((image.label, str(image.metadata.get("origin", "synthetic"))) for image in images)
    labels = list(dict.fromkeys(image.label for image in images))
    rows = [(label, kinds[label, "synthetic"], kinds[label, "real"]) for label in labels[:MOST_CLASSES]]
    more = [f"\nand {len(labels) - MOST_CLASSES} more classes"] if len(labels) > MOST_CLASSES else []
    return [*_table(("class", "synthetic", "real"), rows), *more]


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [heading, ["---"] * len(heading), *[[_text(cell) for cell in row] for row in rows]]
    return [f"| {' | '.join(line)} |" for line in lines]


def _text(value: object) -> str:
    """A stranger's text, as Markdown shows it and never obeys it."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", " ".join(harmless(str(value)).split()))
