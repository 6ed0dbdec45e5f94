"""Fitting within `dalda augment`: done once, kept, and used by another folder without a second training."""

import json
from pathlib import Path

import pyarrow.json
import pytest

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.evaluation.mixing import pool_of
from dalda.methods.fitting import trainer
from dalda.workflows.augment import augment
from dalda.workflows.real_images import split_of
from dalda.workflows.synthetic_sets import synthetic_set


def config_of(out: Path, **options: object) -> AugmentConfig:
    options = {"scope": "dataset", "fit_steps": 2, **options}
    return AugmentConfig(
        dataset="doodles", out=out, shots=1, per_image=1, steps=2, method="datadream", method_option=options
    )


@pytest.mark.slow
def test_a_training_is_done_once_for_all_that_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = augment(config_of(tmp_path / "data")).out  # draws the data set in the usual cache
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    assert data.is_dir()
    first = augment(config_of(tmp_path / "one"))
    (artefact,) = (tmp_path / "one/concepts").glob("*.safetensors")
    assert (tmp_path / "cache/concepts" / artefact.name).read_bytes() == artefact.read_bytes()

    def never(*_: object) -> bytes:
        raise AssertionError("trained again")

    monkeypatch.setattr(trainer, "fit", never)
    second = augment(config_of(tmp_path / "two"))
    assert (second.generated, second.fitting_seconds) == (12, first.fitting_seconds)
    names = [sorted(x.name for x in (tmp_path / out / "train").rglob("*.png")) for out in ("one", "two")]
    assert names[0] == names[1]
    lines = (tmp_path / "one/train/metadata.jsonl").read_text().splitlines()
    assert {json.loads(line)["concept"] for line in lines} == {f'{{"loras": [["{artefact.stem}", 1.0]]}}'}


@pytest.mark.slow
def test_soft_labels_come_back_from_the_folder(tmp_path: Path) -> None:
    """And the metadata is one that Arrow, and so `datasets`, reads."""
    config = AugmentConfig(
        dataset="doodles",
        out=tmp_path / "out",
        shots=1,
        per_image=2,
        steps=2,
        method="diff-mix",
        method_option={"fit_steps": 1, "fit_batch_size": 1, "rank": 1, "gamma": 1.0},
    )
    augment(config)
    images = synthetic_set(config.out).images
    assert len(images) == 24
    for image in images:
        assert sum(share for _, share in image.soft_label) == pytest.approx(1)
        assert max(image.soft_label, key=lambda part: part[1])[0] == image.label
        assert image.source_class in dict(image.soft_label)
    table = pyarrow.json.read_json(config.out / "train/metadata.jsonl")
    assert table.column("soft_label")[0].as_py()[0].keys() == {"label", "share"}
    pool, used = pool_of(split_of(config).images, images)
    assert (pool.synthetic, len(used)) == (24, 24)


def test_memory_that_runs_out_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(trainer, "fit", no_memory)
    with pytest.raises(UserError, match="not enough memory for training"):
        augment(config_of(tmp_path / "out", fit_steps=3))
