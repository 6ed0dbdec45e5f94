"""`dalda captions`, killed anywhere and started again, asks nothing twice and ends as if never broken."""

import json
import multiprocessing
import random
import signal
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import ChatServer

from dalda.captions.llm import Completion, Message, Usage
from dalda.captions.response_cache import Question, ResponseCache

CLASSES = [f"thing number {index}" for index in range(150)]
KILLS = 20
LIMIT = 120
# Every run is a process of its own, forked from one that has done the slow imports.
RUNS = multiprocessing.get_context("forkserver")
IMPORTS = [
    "dalda.cli",
    "dalda.evaluation.features",
    "dalda.captions.openai_api",
    "openai",
    "torch",
    "transformers",
]


def run_command(words: list[str]) -> None:
    from dalda.cli import main

    sys.argv = ["dalda", *words]
    main()


def start(server: ChatServer, out: Path) -> ForkServerProcess:
    """The whole command: files and options only."""
    out.parent.mkdir(exist_ok=True)
    names = out.with_name("names.txt")
    names.write_text("\n".join(CLASSES))
    words = [
        "captions",
        "--classes",
        str(names),
        "-o",
        str(out),
        "--llm",
        "openai:tiny",
        "--per-class",
        "4",
    ]
    words += ["--base-url", server.url, "--concurrency", "2", "--model", "doodle"]
    process = RUNS.Process(target=run_command, args=(words,))
    process.start()
    return process


def finish(server: ChatServer, out: Path) -> None:
    process = start(server, out)
    process.join(LIMIT)
    assert process.exitcode == 0


def await_questions(server: ChatServer, count: int, process: ForkServerProcess) -> None:
    """Until the server has been asked so often, or the request is done."""
    until = time.monotonic() + LIMIT
    while server.number_asked() < count and process.is_alive():
        assert time.monotonic() < until
        time.sleep(0.005)


def as_asked(body: dict[str, Any]) -> str:
    return json.dumps([body["messages"], body["seed"]])


def stored_questions(folder: Path) -> set[str]:
    """What has an answer on disk, as the server sees it: the messages and the seed."""
    found = [json.loads(path.read_text())["question"] for path in folder.glob("captions.answers/??/*.json")]
    return {json.dumps([question["messages"], question["seed"]]) for question in found}


def await_write(file: Path, process: ForkServerProcess) -> None:
    """Until the file is there, or is another than it was, or the request is done."""
    before, until = stamp(file), time.monotonic() + LIMIT
    while stamp(file) == before and process.is_alive():
        assert time.monotonic() < until


def stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


@pytest.mark.slow
def test_twenty_kills_change_nothing(chat_server: ChatServer, tmp_path: Path) -> None:
    """Some answers are bad, and which they are depends on the question alone, as with a real model.

    The first kills come within the first questions, the next at the last ones, the rest between the writes
    at the end: of the captions, of their account, and of the note that both are there.
    """
    RUNS.set_forkserver_preload(IMPORTS)
    chat_server.configure(latency=0.06, spoil=4)
    whole, broken = tmp_path / "whole" / "captions.json", tmp_path / "broken" / "captions.json"
    account = broken.with_suffix(".meta.json")
    finish(chat_server, whole)
    seen = asked_whole = len(chat_server.asked())
    rng = random.Random(7)
    twice, killed, torn = 0, 0, 0
    for _ in range(3 * KILLS):  # on a busy machine a run may end before it is killed
        if killed == KILLS:
            break
        kill, kept = killed, stored_questions(broken.parent)
        if broken.exists() and is_noted(broken):  # a kill came too late: it is written again
            broken.unlink()
            account.unlink()
        process = start(chat_server, broken)
        if kill < KILLS // 2:
            await_questions(chat_server, seen + rng.randrange(4), process)
            time.sleep(rng.uniform(0, 0.1))
        elif kill < KILLS // 2 + 3:
            await_questions(chat_server, seen + asked_whole - len(kept) - rng.randrange(1, 4), process)
        else:
            await_write(rng.choice([broken, account]), process)
            time.sleep(rng.choice([0, 0.001]))
        process.kill()
        process.join(LIMIT)
        killed += process.exitcode == -signal.SIGKILL
        torn += broken.exists() and not (account.exists() and is_noted(broken))
        asked = chat_server.asked()[seen:]
        seen += len(asked)
        twice += sum(as_asked(request["body"]) in kept for request in asked)
    assert killed == KILLS, "the request is too short to be killed so often"
    assert torn, "no kill came between the writes at the end"
    finish(chat_server, broken)
    kept = stored_questions(broken.parent)
    assert twice == 0
    assert len(kept) == asked_whole
    assert seen == len(chat_server.asked()), "the last run had everything on disk"
    assert broken.read_bytes() == whole.read_bytes()
    assert account.read_bytes() == whole.with_suffix(".meta.json").read_bytes()


def is_noted(book: Path) -> bool:
    """Whether the request's record says that the captions are in their file."""
    (record,) = (book.with_suffix(".answers") / "requests").glob("*.json")
    return bool(json.loads(record.read_text())["done"])


def test_any_answer_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    store = ResponseCache(tmp_path / "answers")
    question = Question("m", (Message("user", "写\ud800{}"),), (("猫", 1),), 1.0, 10, 3)
    assert store.get(question) is None
    answer = Completion("line\n\u2028\ud800\x00 猫", "stop", Usage(1, 2))
    store.put(question, answer)
    assert store.get(question) == answer
    assert [path.suffix for path in (tmp_path / "answers").rglob("*") if path.is_file()] == [".json"]
