"""Records in an object store: pieces until they are put in order."""

from typing import Any

import pytest

from dalda.storage import jsonl, list_folder, path_of, read_text, write


def record(number: int) -> dict[str, Any]:
    text = dict.fromkeys(("label", "source", "source_sha256", "prompt"), "a")
    return {
        "request_id": str(number),
        **text,
        "index": 0,
        "ip_adapter_scale": 0.5,
        "source_clip_probability": 1,
    }


def test_records_are_pieces_until_they_are_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "PIECE", 3)
    path = path_of("memory://tests/pieces/train/metadata.jsonl")
    jsonl.append(path, [])
    assert list_folder(path.parent) == []
    for number in (4, 0, 3, 1):
        jsonl.append(path, [record(number), record(number + 10)])
    assert [file.name for file in jsonl.pieces_of(path)] == ["000001.jsonl", "000002.jsonl"]
    assert [line["request_id"] for line in jsonl.read(path)] == ["4", "14", "0", "10", "3", "13", "1", "11"]
    place = {str(number): number for number in range(20)}
    assert not jsonl.are_in_order(path, place)
    jsonl.put_in_order(path, place)
    assert list_folder(path.parent) == ["metadata.jsonl"]
    assert jsonl.are_in_order(path, place)
    assert [line["request_id"] for line in jsonl.read(path)] == ["0", "1", "3", "4", "10", "11", "13", "14"]


def test_a_stop_while_they_are_joined_is_harmless() -> None:
    path = path_of("memory://tests/pieces/stopped/metadata.jsonl")
    jsonl.append(path, [record(1), record(0)])
    (piece,) = jsonl.pieces_of(path)
    text = read_text(piece)
    place = {"0": 0, "1": 1}
    jsonl.put_in_order(path, place)
    whole = read_text(path)
    write(piece, text)  # the piece is still there
    assert not jsonl.are_in_order(path, place)
    jsonl.put_in_order(path, place)
    assert read_text(path) == whole
    assert list_folder(path.parent) == ["metadata.jsonl"]
