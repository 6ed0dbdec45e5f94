"""A cache of features larger than what a trial may keep in memory, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.feature_cache import SMALL, FeatureTable
from dalda.evaluation.transforms import recipe_of

IMAGES, VIEWS, WIDTH = 20_000, 8, 512
TRIAL = """
import sys
from dataclasses import replace
from pathlib import Path

from dalda.types import RealImage, FewShotSplit
from dalda.evaluation.backbones.load import load_backbone
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.training import run_trials
from dalda.evaluation.trial import Schedule, Trial

IMAGES, WIDTH = int(sys.argv[3]), int(sys.argv[4])
backbone = replace(load_backbone(sys.argv[1]), dimensions=WIDTH)
store = FeatureStore(backbone, lambda path, **_: 1 / 0, views=8, folder=Path(sys.argv[2]))
schedule = Schedule(epochs=3, iterations=200, batch=32, head_init="random")


def split(images):
    examples = tuple(RealImage(Path("gone"), "ab"[one % 2], f"{one:064x}") for one in range(images))
    return FewShotSplit("large", Path(), "train", 0, None, ("a", "b"), examples)


def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


for images in (100, IMAGES):
    run_trials([Trial("real", 0, split(images))], split(10), store, schedule)
    print(peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_trial_on_a_large_cache_keeps_it_on_disk(
    clip_folder: Path, backbone: ClipBackbone, tmp_path: Path
) -> None:
    cache = tmp_path / backbone.fingerprint
    viewed = FeatureTable(VIEWS * WIDTH, cache / f"{recipe_of('standard')}-{VIEWS}.sqlite")
    for start in range(0, IMAGES, 1000):
        noise = np.random.default_rng(start).random((1000, VIEWS * WIDTH), np.float32)
        viewed.add([f"{start + number:064x}" for number in range(1000)], noise)
    FeatureTable(WIDTH, cache / "plain.sqlite").add(
        [f"{number:064x}" for number in range(10)], noise[:10, :WIDTH]
    )
    size = 4 * IMAGES * VIEWS * WIDTH
    assert size > SMALL
    command = [sys.executable, "-c", TRIAL, clip_folder, tmp_path, IMAGES, WIDTH]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    # Most of the table was read. What is touched between two releases may bring a hundred megabytes along,
    # whatever the table's size (ROWS_AT_ONCE), and the records of so many images take some memory, too.
    assert many - few < 0.6 * size
