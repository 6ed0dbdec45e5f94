"""The worked examples of docs/methods.md and docs/generators.md, as objects and as entry points."""

import base64
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dalda
from dalda.errors import UserError
from dalda.generation.set_settings import read_settings
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.base import method_named

DOCS = Path(__file__).parent.parent / "docs"


def example(page: str, most: int) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= most
    return str(code)


class Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pixels = np.random.default_rng(question["seed"]).integers(0, 255, (8, 8, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(base64.b64encode(stream.getvalue()))

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """A tiny installed package with both examples and their entry points."""
    site = tmp_path / "site"
    (site / "seams-1.0.dist-info").mkdir(parents=True)
    (site / "seams-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: seams\nVersion: 1.0\n")
    (site / "seams-1.0.dist-info/entry_points.txt").write_text(
        "[dalda.methods]\njitter = seams:Jitter\n[dalda.generators]\nmy-server = seams:load\n"
    )
    load = f"\n\ndef load(spec):\n    return HttpGenerator({url!r})\n"
    (site / "seams.py").write_text(example("methods.md", 40) + example("generators.md", 25) + load)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "seams", raising=False)
    return "seams"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("car", "tree")):
        (tmp_path / "set" / name).mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "set" / name / "0.png")
    return tmp_path / "set"


def config_for(photos: Path, **more: Any) -> dalda.AugmentConfig:
    settings: dict[str, Any] = {"per_image": 2, "method": "text", **more}
    return dalda.AugmentConfig(dataset=str(photos), out=photos.parent / "out", **settings)


def test_a_generator_as_an_object_with_its_provenance(photos: Path, package: str, url: str) -> None:
    from importlib import import_module

    generator = import_module(package).HttpGenerator(url)
    report = dalda.augment(config_for(photos), generator=generator)
    assert report.generated == 4
    lines = list(SyntheticDataset.existing(photos.parent / "out").lines())
    assert {(line["model"], line["url"]) for line in lines} == {("http", url)}
    assert read_settings(photos.parent / "out")["generator"] == {"model": "http", "url": url}
    generator.fingerprint = {"model": "http", "url": "elsewhere"}
    with pytest.raises(UserError, match="elsewhere"):
        dalda.augment(config_for(photos), generator=generator)
    generator.fingerprint = {}
    with pytest.raises(UserError, match="HttpGenerator has an empty fingerprint"):
        dalda.augment(config_for(photos), generator=generator)


def test_a_generator_that_lacks_what_the_method_needs_is_refused(photos: Path, package: str) -> None:
    with pytest.raises(UserError, match="real-guidance needs init-image, which the model 'my-server'"):
        dalda.augment(config_for(photos, model="my-server", method="real-guidance"))


def test_a_generator_as_an_entry_point(photos: Path, package: str) -> None:
    assert dalda.augment(config_for(photos, model="my-server")).generated == 4
    assert dalda.augment(config_for(photos, model="my-server", per_image=3)).generated == 2


def test_a_method_as_an_entry_point(photos: Path, package: str) -> None:
    assert method_named("jitter").name == "jitter"
    config = config_for(photos, model="doodle", method="jitter", method_option={"low": "0.6"}, steps=2)
    assert dalda.augment(config).generated == 4
    strengths = [line["strength"] for line in SyntheticDataset.existing(photos.parent / "out").lines()]
    assert len(set(strengths)) == 4
    assert all(0.6 <= strength <= 0.7 for strength in strengths)
    with pytest.raises(UserError, match="'high' of the method jitter is wrong"):
        dalda.augment(config_for(photos, model="doodle", method="jitter", method_option={"high": 7}))


def test_the_package_of_a_method_can_be_installed(tmp_path: Path) -> None:
    """The two files of docs/methods.md, as somebody puts them into a folder."""
    (project,) = re.findall(
        r"```toml\n(.*?)```", (DOCS / "methods.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "dalda_jitter.py").write_text(example("methods.md", 40))
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", "site", "."]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options], cwd=tmp_path, check=True)
    (found,) = distributions(path=[str(tmp_path / "site")])
    (point,) = found.entry_points.select(group="dalda.methods")
    assert (point.name, point.value) == ("jitter", "dalda_jitter:Jitter")
    assert (tmp_path / "site/dalda_jitter.py").is_file()
