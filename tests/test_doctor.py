"""The doctor: every line has a state and, where it is not ok, something to do; no key is ever shown."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dalda import doctor
from dalda.cli import app
from dalda.doctor import Check, devices, examine, keys, lines_of_checks, model_checks, places, versions
from dalda.models.catalogue import parts_of
from dalda.models.presets import PRESETS

SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no models and no cache but the test's own."""
    for name in ("OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_every_check_says_what_to_do_where_it_is_not_ok() -> None:
    checks = examine()
    assert {check.group for check in checks} == {"versions", "devices", "models", "keys", "disk"}
    assert all(check.found for check in checks)
    assert [check.name for check in checks if (check.state == "ok") == bool(check.do)] == []


def test_keys_are_found_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    (tmp_path / ".env").write_text(f"AZURE_API_KEY={SECRET}\n")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.stderr
    states = {check["name"]: check["state"] for check in json.loads(result.stdout)["checks"]}
    assert states["OPENAI_API_KEY"] == states["AZURE_API_KEY"] == states["HF_TOKEN"] == "ok"
    assert states["AZURE_ENDPOINT"] == "missing"
    assert SECRET not in result.stdout + result.stderr


def test_each_variable_says_where_to_put_it() -> None:
    do = {check.name: check.do for check in keys()}
    assert do["AZURE_ENDPOINT"] == "only for captions by --llm azure:MODEL: set it, or put it into .env"
    assert do["HF_TOKEN"] == "only for models that ask for an account: set it, or hf auth login"


def test_free_memory_is_shown_where_the_system_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\nHugePages_Total: 0\n"
    monkeypatch.setattr(doctor, "read_text", lambda path: text)
    assert devices()[0].found.endswith("cores, 8.2 of 16.4 GB memory free")
    monkeypatch.setattr(doctor, "read_text", lambda path: "")
    assert devices()[0].found.endswith("memory unknown")


def test_an_unreadable_env_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    assert [check.state for check in keys()] == ["warn"]


def test_models_are_missing_until_all_their_parts_are_there(tmp_path: Path) -> None:
    states = {check.name: check.state for check in model_checks()}
    assert states.pop("doodle") == "ok"
    assert set(states.values()) == {"missing"}
    for name, file, weights in parts_of(PRESETS["sd15"]):
        root = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs/main").write_text("abc")
        (root / "snapshots/abc" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / "snapshots/abc" / file).write_text("{}")
        if weights:
            (root / "snapshots/abc" / weights).mkdir(exist_ok=True)
            (root / "snapshots/abc" / weights / "model.safetensors").write_text("")
    assert {check.name: check.state for check in model_checks()}["sd15"] == "ok"
    (tmp_path / "hub/models--openai--clip-vit-base-patch16/snapshots/abc/model.safetensors").unlink()
    (missing,) = [check for check in model_checks() if check.name == "sd15"]
    assert missing.found == "not on disk: openai/clip-vit-base-patch16"


def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "file" / "cache"))
    (cache,) = [check for check in places() if check.name == "cache"]
    assert cache.state == "missing"
    assert "DALDA_CACHE" in cache.do


def test_a_user_without_a_home_gets_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DALDA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert len(places()) == 3


def test_little_room_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LITTLE_ROOM", 1e18)
    assert {check.state for check in places()} == {"warn"}


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "review", ("no-such-package",))
    (review,) = [check for check in versions() if check.name == "extra review"]
    assert review.state == "missing"
    assert "dalda[review]" in review.do


def test_a_package_that_is_gone_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-package"))
    states = {check.name: check.state for check in versions()}
    assert (states["torch"], states["no-such-package"]) == ("ok", "missing")


@pytest.mark.parametrize("harm", [ImportError("No module named 'torch'"), OSError("no libcudart.so")])
def test_a_torch_that_cannot_be_loaded_is_reported(
    monkeypatch: pytest.MonkeyPatch, harm: Exception
) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name == "torch":
            raise harm
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    cpu, torch = devices()
    assert cpu.state == "ok"
    assert (torch.name, torch.state) == ("torch", "missing")
    assert str(harm) in torch.found


def test_folders_that_cannot_be_looked_at_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    assert {check.state for check in places()} == {"missing"}
    found = {check.name: check for check in model_checks()}
    assert (found["doodle"].state, "Permission denied" in found["doodle"].found) == ("warn", True)
    assert all(check.do for check in found.values())


def test_lines_are_grouped() -> None:
    checks = [Check("a", "x", "ok", "fine"), Check("b", "long name", "warn", "bad", "fix it")]
    assert lines_of_checks(checks) == [
        "a",
        "  ok       x          fine",
        "",
        "b",
        "  warn     long name  bad",
        "                      -> fix it",
    ]
