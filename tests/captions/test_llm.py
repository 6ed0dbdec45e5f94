"""Language models: the documented example as an object and as an entry point, bugs, Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.captions.chat_server import ChatServer

import dalda
from dalda.captions.llm import Completion, LanguageModel, language_model
from dalda.errors import UserError

ROOT = Path(__file__).parents[2]
EXAMPLE = next(
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/captions.md").read_text(), re.DOTALL)
    if "def complete" in block
)


def example() -> LanguageModel:
    names: dict[str, type[LanguageModel]] = {}
    exec(EXAMPLE, names)
    return names["Parrot"]()


def config(folder: Path, llm: str = "templates") -> dalda.CaptionConfig:
    (folder / "names.txt").write_text("pug\nrose\n")
    return dalda.CaptionConfig(
        out=folder / "captions.json", classes=folder / "names.txt", llm=llm, per_class=2, model="doodle"
    )


def test_the_documented_example_writes_captions(tmp_path: Path) -> None:
    report = dalda.write_captions(config(tmp_path), llm=example())
    assert (report.llm, report.missing) == ("parrot-1", ())
    assert all(name in text for name, texts in report.captions.items() for text in texts)
    assert report.tokens_out > 0
    assert dalda.write_captions(config(tmp_path), llm=example()).questions == 0


def test_a_package_brings_a_language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parrots.py").write_text(EXAMPLE + "\n\ndef load(model):\n    return Parrot()\n")
    information = tmp_path / "parrots-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[dalda.language_models]\nparrot = parrots:load\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert dalda.write_captions(config(tmp_path, "parrot:any")).llm == "parrot-1"


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"unknown language model 'x'; use one of templates, local, .*openai:MODEL"
    ):
        language_model("x")


class Faulty:
    name = "faulty"

    def complete(self, *arguments: object, **settings: object) -> Completion:
        raise ZeroDivisionError("a bug")


def test_a_bug_of_a_model_is_not_a_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        dalda.write_captions(config(tmp_path), llm=Faulty())


def start(server: ChatServer, folder: Path, questions: int) -> "subprocess.Popen[str]":
    """The command, in a process of its own, with so many questions of five classes each."""
    folder.mkdir()
    (folder / "names.txt").write_text("\n".join(f"class number {index}" for index in range(5 * questions)))
    words = ["captions", "--classes", "names.txt", "-o", "c.json", "--llm", "openai:tiny"]
    words += ["--base-url", server.url, "--model", "doodle"]
    # A process of a shell's background ignores the signal, and those that it starts do so too.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import sys; sys.argv = ['dalda', *{words!r}]; from dalda.cli import main; main()"
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ})


def test_ctrl_c_is_heard_while_a_server_hangs(chat_server: ChatServer, tmp_path: Path) -> None:
    """With one question under way, and with two; both commands at a time, since they start slowly."""
    chat_server.configure(latency=60.0)
    processes = [start(chat_server, tmp_path / str(questions), questions) for questions in (1, 2)]
    until = time.monotonic() + 240
    while len(chat_server.asked()) < 3:
        assert time.monotonic() < until
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGINT)
    started = time.monotonic()
    for process in processes:
        _, errors = process.communicate(timeout=50)
        assert time.monotonic() - started < 20  # 2 seconds of grace, on a busy machine
        assert process.returncode != 0
        assert "Traceback" not in errors
