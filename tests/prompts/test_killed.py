"""Killed anywhere and started again, a job asks nothing twice and ends as if it had never been broken."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.prompts.chat_server import ChatServer

from dalda.prompts.answers import AnswerStore
from dalda.prompts.author import Answer, Message, Question
from dalda.prompts.write import write_captions

CLASSES = [f"thing number {index}" for index in range(150)]
KILLS = 20
# The child reads one line before it begins, so that the clock starts after its imports.
COMMAND = """
import sys
import time
from pathlib import Path
import openai
from dalda.prompts.write import write_captions
print("ready", flush=True)
sys.stdin.readline()
settings = {"llm": "openai:tiny", "base_url": sys.argv[2], "per_class": 4, "concurrency": 2}
write_captions(sys.argv[3:], Path(sys.argv[1]), **settings)
print("done", flush=True)
"""


def start(server: ChatServer, path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COMMAND, str(path), server.url, *CLASSES]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def begin(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def await_questions(server: ChatServer, count: int, process: "subprocess.Popen[str]") -> None:
    """Until the server has been asked so often, or the job is done."""
    while len(server.asked()) < count and process.poll() is None:
        time.sleep(0.01)


def as_asked(body: dict[str, Any]) -> str:
    return json.dumps([body["messages"], body["seed"]])


def stored_questions(folder: Path) -> set[str]:
    """What has an answer on disk, as the server sees it: the messages and the seed."""
    found = [json.loads(path.read_text())["question"] for path in folder.glob("captions.answers/??/*.json")]
    return {json.dumps([question["messages"], question["seed"]]) for question in found}


@pytest.mark.slow
def test_twenty_kills_change_nothing(chat_server: ChatServer, tmp_path: Path) -> None:
    """Some answers are bad, and which they are depends on the question alone, as with a real model."""
    chat_server.tell(latency=0.06, spoil=4)
    whole = tmp_path / "whole" / "captions.json"
    write_captions(CLASSES, whole, llm="openai:tiny", base_url=chat_server.url, per_class=4, concurrency=2)
    asked_whole = len(chat_server.asked())
    broken = tmp_path / "broken" / "captions.json"
    rng = random.Random(7)
    seen, twice, killed = asked_whole, 0, 0
    waiting = start(chat_server, broken)
    for _ in range(KILLS):
        process, waiting = waiting, start(chat_server, broken)
        kept = stored_questions(broken.parent)
        begin(process)
        await_questions(chat_server, seen + rng.randrange(3), process)
        time.sleep(rng.uniform(0, 0.1))
        killed += process.poll() is None
        process.kill()
        process.wait()
        asked = chat_server.asked()[seen:]
        seen += len(asked)
        twice += sum(as_asked(request["body"]) in kept for request in asked)
    kept = stored_questions(broken.parent)
    begin(waiting)
    assert waiting.wait(timeout=120) == 0
    twice += sum(as_asked(request["body"]) in kept for request in chat_server.asked()[seen:])
    assert twice == 0
    assert killed >= KILLS / 2, "the job is too short to be killed so often"
    assert broken.read_bytes() == whole.read_bytes()
    account = broken.with_suffix(".meta.json")
    assert account.read_bytes() == whole.with_suffix(".meta.json").read_bytes()


def test_any_answer_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers")
    question = Question("a", "m", (Message("user", "写\ud800{}"),), (("猫", 1),), 1.0, 10, 3)
    assert store.get(question) is None
    answer = Answer("line\n\u2028\ud800\x00 猫", "stop", 1, 2)
    store.put(question, answer)
    assert store.get(question) == answer
    assert [path.suffix for path in (tmp_path / "answers").rglob("*") if path.is_file()] == [".json"]
