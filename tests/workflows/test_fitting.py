"""Fitting within `dalda augment`: done once, kept, and used by another folder without a second training."""

import json
from pathlib import Path

import pytest

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.methods.fitting import trainer
from dalda.workflows.augment import augment


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


def test_memory_that_runs_out_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(trainer, "fit", no_memory)
    with pytest.raises(UserError, match="not enough memory for training"):
        augment(config_of(tmp_path / "out", fit_steps=3))
