"""`dalda models get`: what is downloaded, what is checked, and the message where it cannot be."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from dalda.errors import UserError
from dalda.models import download
from dalda.models.download import download_preset
from dalda.models.hub import place_of

NEWEST = "a" * 40


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A Hub that has the same files in every repository, by path; it gives each asked-for pattern's."""
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    files = {"model_index.json": b"{}", "unet/model.safetensors": b"weights"}

    def snapshot(
        name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        folder = tmp_path / name / (revision or NEWEST)
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        return str(folder)

    def info(self: object, name: str, **more: object) -> SimpleNamespace:
        lfs = SimpleNamespace(sha256=hashlib.sha256(b"weights").hexdigest())
        rows = [SimpleNamespace(rfilename="unet/model.safetensors", lfs=lfs)]
        return SimpleNamespace(siblings=[*rows, SimpleNamespace(rfilename="model_index.json", lfs=None)])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    return files


def test_every_repository_of_a_preset_is_downloaded(repository: dict[str, bytes]) -> None:
    assert download_preset("sd15") == [
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "h94/IP-Adapter",
        "stabilityai/sd-vae-ft-mse",
        "openai/clip-vit-base-patch16",
    ]
    assert download_preset("doodle") == []


def test_what_was_downloaded_is_used_until_it_is_updated(
    repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert place_of(name).revision is None
    download_preset("sd15")
    assert place_of(name).revision == place_of("h94/IP-Adapter").revision == NEWEST
    assert place_of(f"{name}@v1").revision == "v1"
    monkeypatch.setitem(globals(), "NEWEST", "b" * 40)
    download_preset("sd15")
    assert place_of(name).revision == "a" * 40
    with monkeypatch.context() as offline:
        offline.setattr(download, "ask_hub", unreachable)
        with pytest.raises(UserError, match="cannot be reached"):
            download_preset("sd15", newest=True)
    assert place_of(name).revision == "a" * 40
    download_preset("sd15", newest=True)
    assert place_of(name).revision == "b" * 40


def unreachable(*arguments: object) -> None:
    raise UserError("the Hub cannot be reached")


def test_other_bytes_than_the_hubs_are_refused(repository: dict[str, bytes]) -> None:
    repository["unet/model.safetensors"] = b"weight"
    with pytest.raises(UserError, match="is not what the Hub has; remove it"):
        download_preset("sd15")


def test_a_model_that_left_the_hub_names_its_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*arguments: object) -> None:
        raise UserError("there is no public model of that name")

    monkeypatch.setattr(download, "ask_hub", gone)
    with pytest.raises(UserError, match="may be at sd-legacy/stable-diffusion-v1-5") as refused:
        download_preset("sd15")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="no preset 'sd99'; `dalda models` lists them"):
        download_preset("sd99")
