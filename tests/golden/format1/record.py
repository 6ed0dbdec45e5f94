"""Writes the fixtures of format 1 again: `python -m tests.golden.format1.record`.

Only for a new format, whose fixtures then lie beside these: what is here must be readable for ever.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from dalda import AugmentConfig, augment, run_experiment
from dalda.config.experiment import ArmConfig, Study
from dalda.doodles.dataset import doodle_of
from dalda.doodles.draw import draw_doodle

HERE = Path(__file__).parent
CLASSES = ("boat", "chevron")


def draw_images(root: Path) -> None:
    """Two classes, two training and two validation images each."""
    for part in ("train", "val"):
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(draw_doodle(*doodle_of(part, name, number))).save(folder / f"{number}.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        draw_images(Path("images"))
        captions = {
            name: [f"a photo of a {name} at sunset", f"a red {name} on wet grass"] for name in CLASSES
        }
        Path("captions.json").write_text(json.dumps(captions, indent=2) + "\n", encoding="utf-8")
        shared: dict[str, Any] = {
            "per_image": 1,
            "steps": 2,
            "captions": "captions.json",
            "model": "doodle",
        }
        augment(AugmentConfig(dataset="images", out=Path("synthetic"), shots=2, device="cpu", **shared))
        study = Study(
            dataset="images",
            shots=(1,),
            seeds=(0, 1),
            augment=shared,
            train={"backbone": "doodle", "epochs": 1, "iterations": 2, "feature_views": 1},
            arms=(ArmConfig(name="real", method="real"), ArmConfig(name="dalda")),
            out=Path("run"),
            device="cpu",
        )
        run_experiment(study)
        for name in ("synthetic", "captions.json", "run"):
            target = HERE / name
            shutil.rmtree(target, ignore_errors=True)
            if Path(name).is_dir():
                shutil.copytree(name, target, ignore=shutil.ignore_patterns(".*", "synthetic"))
            else:
                shutil.copy(name, target)
        for path in HERE.rglob("*"):
            if path.suffix in {".json", ".jsonl", ".yaml", ".csv"}:
                text = path.read_text(encoding="utf-8").replace(os.path.realpath(work), "/data")
                path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
