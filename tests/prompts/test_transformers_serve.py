"""The author `openai:` against a server that others wrote: `transformers serve`, on loopback.

It serves the tiny random model of the transformers author's tests: the model of the extra local-llm is a
base model without a chat template, in a GGUF file that transformers reads for minutes. What is shown is
that author and server understand each other, whatever is said.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.prompts.test_transformers_author import tiny_model

from dalda.prompts.ask import PATIENCE
from dalda.prompts.author import Message, Question
from dalda.prompts.book import meta_path
from dalda.prompts.keys import Keys
from dalda.prompts.openai_author import openai_author
from dalda.prompts.write import write_captions


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a server, and the model that it serves."""
    folder = tiny_model(tmp_path / "model", chat=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        until = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.llm
@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs transformers[serving]")
def test_a_server_of_others_answers(served: tuple[str, str], tmp_path: Path) -> None:
    url, model = served
    author = openai_author(model, url, Keys())
    question = Question(author.name, model, (Message("user", "say pug"),), (("pug", 1),), 1.0, 8, 5)
    answer = author.ask(question)
    assert answer.text
    assert answer.tokens_in > 0
    assert 0 < answer.tokens_out <= 8
    path = tmp_path / "captions.json"
    report = write_captions(["pug"], path, llm=f"openai:{model}", base_url=url, per_class=1)
    assert [entry.label for entry in report.missing] == ["pug"], "the model says noise"
    assert report.questions == PATIENCE["chat"]
    assert report.tokens_in > 4 * answer.tokens_in
    assert json.loads(meta_path(path).read_text())["answers"] == report.questions
