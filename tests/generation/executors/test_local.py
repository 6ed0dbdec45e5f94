import errno
import hashlib
import importlib
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dalda.errors import UserError
from dalda.generation.executors.local import Render, generate, missing_requests
from dalda.generation.image_encoding import FORMATS
from dalda.generation.plan import Recipe, make_plan, with_next_seed
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import Progress
from dalda.types import FewShotSplit, GenerationPlan, GenerationRequest, RealImage, ScaleDraw

COUNT = 11


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut during these tests."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def plan() -> GenerationPlan:
    return plan_of()


def plan_of() -> GenerationPlan:
    examples = tuple(RealImage(Path(f"{n}.png"), "car", f"hash{n}") for n in range(COUNT))
    split = FewShotSplit("folder", Path(), "train", 0, None, ("car",), examples)
    recipe = Recipe("dalda", "doodle", "", "", 2.0, 20, per_image=2, seed=0)
    return make_plan(
        split,
        {"car": ["a car"]},
        None,
        lambda score, shots, rng: ScaleDraw(float(rng.random()), None),
        lambda captions, count, rng: [captions[0]] * count,
        recipe,
    )


def render(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
    """Noise that depends, like floating point on a batch, on a request's place in it too."""
    return [
        Image.fromarray(np.random.default_rng([request.seed, place]).integers(0, 255, (4, 4, 3), np.uint8))
        for place, request in enumerate(requests)
    ]


def open_image(path: Path) -> Image.Image:
    return Image.new("RGB", (4, 4))


def finish(
    plan: GenerationPlan, folder: Path, how: Render = render, batch_size: int = 4
) -> SyntheticDataset:
    store = SyntheticDataset.open(folder, {"seed": 0})
    with store.held():
        missing = missing_requests(plan, store)
        generate(plan, missing, store, how, open_image, batch_size, Progress("generate", len(missing)))
        store.settle(plan.requests)
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def stopping_after(calls: int, how: Render = render) -> Render:
    left = [calls]

    def stop(
        requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> Sequence[Image.Image | None]:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return how(requests, sources)

    return stop


@pytest.mark.parametrize("calls", range(6))
def test_a_stopped_run_ends_as_an_unbroken_one(plan: GenerationPlan, tmp_path: Path, calls: int) -> None:
    finish(plan, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        finish(plan, tmp_path / "broken", stopping_after(calls))
    finish(plan, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_stop_within_a_batch_leaves_no_trace(plan: GenerationPlan, tmp_path: Path) -> None:
    whole, broken = finish(plan, tmp_path / "whole"), finish(plan, tmp_path / "broken")
    metadata = broken.folder / "train" / "metadata.jsonl"
    lines = metadata.read_text().splitlines(keepends=True)
    metadata.write_text("".join(lines[:6]) + lines[6][:20])
    assert len(missing_requests(plan, SyntheticDataset.open(broken.folder, {"seed": 0}))) == 2 * COUNT - 6
    finish(plan, broken.folder)
    assert contents(broken.folder) == contents(whole.folder)


def test_lost_images_are_made_again_as_they_were(plan: GenerationPlan, tmp_path: Path) -> None:
    store = finish(plan, tmp_path)
    before = contents(tmp_path)
    for sample in store.samples()[2:5]:
        sample.path.unlink()
    finish(plan, tmp_path)
    assert contents(tmp_path) == before


def test_a_finished_folder_is_left_alone(plan: GenerationPlan, tmp_path: Path) -> None:
    finish(plan, tmp_path)

    def never(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        raise AssertionError("nothing is missing")

    before = contents(tmp_path)
    finish(plan, tmp_path, never)
    assert contents(tmp_path) == before


def spoiling(sick: Mapping[int, Image.Image | None]) -> Render:
    """Renders as always, but requests with these seeds come out as the given image."""

    def spoilt(
        requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        return [
            sick.get(request.seed, one)
            for request, one in zip(requests, render(requests, sources), strict=True)
        ]

    return spoilt


BLACK = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(("image", "reason"), [(BLACK, "of one colour"), (None, "not a number")])
def test_sick_images_are_rendered_again_with_the_next_seed(
    plan: GenerationPlan, tmp_path: Path, image: Image.Image | None, reason: str
) -> None:
    request = plan.requests[3]
    store = finish(plan, tmp_path, spoiling({request.seed: image}))
    assert store.dropped() == []
    (line,) = [line for line in store.lines() if line["rendered_again"]]
    other = with_next_seed(request)
    assert (line["request_id"], line["seed"], line["rendered_again"]) == (request.id, other.seed, reason)
    assert other.seed != request.seed
    (expected,) = render([other], [BLACK])[:1]
    assert Image.open(store.samples()[3].path).size == expected.size
    assert {line["seed"] for line in store.lines()} >= {one.seed for one in plan.requests if one != request}


def test_blank_images_are_dropped_with_a_reason_and_counted(plan: GenerationPlan, tmp_path: Path) -> None:
    request = plan.requests[3]
    sick = {request.seed: None, with_next_seed(request).seed: BLACK}
    store = finish(plan, tmp_path, spoiling(sick))
    assert [(line["request_id"], line["reason"]) for line in store.dropped()] == [
        (request.id, "of one colour")
    ]
    assert len(store.samples()) == len(plan.requests) - 1
    assert missing_requests(plan, store) == []


def test_a_model_that_generates_nothing_is_stopped_early_and_leaves_nothing(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    def black(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        return [BLACK for _ in requests]

    with pytest.raises(UserError, match=r"none of the first 16 images .* of one colour.*--dtype fp32"):
        finish(plan, tmp_path, black)
    assert missing_requests(plan, SyntheticDataset.existing(tmp_path)) == list(plan.requests)
    finish(plan, tmp_path)
    assert missing_requests(plan, SyntheticDataset.existing(tmp_path)) == []


def test_a_small_plan_without_any_image_says_why(plan: GenerationPlan, tmp_path: Path) -> None:
    small = GenerationPlan(plan.requests[:5])
    store = finish(small, tmp_path, lambda requests, sources: [None for _ in requests])
    assert [line["reason"] for line in store.dropped()] == ["not a number"] * 5


def test_a_repeated_image_is_rendered_again_wherever_the_first_one_is(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    """Within one batch (0 and 1), in a later one (9), and where the second try is no better (13)."""
    one = Image.effect_noise((4, 4), 80).convert("RGB")
    numbers = (0, 1, 9, 13)
    sick = {plan.requests[number].seed: one for number in numbers}
    sick[with_next_seed(plan.requests[13]).seed] = one
    store = finish(plan, tmp_path / "whole", spoiling(sick))
    again = [line["request_id"] for line in store.lines() if line["rendered_again"]]
    assert again == [plan.requests[1].id, plan.requests[9].id]
    assert [line["request_id"] for line in store.dropped()] == [plan.requests[13].id]
    assert len({line["sha256"] for line in store.lines()}) == len(plan.requests) - 1
    assert store.faults()[0] == {"the same as another image": 2}


@settings(max_examples=15, deadline=None)
@given(sick=st.sets(st.integers(0, 2 * COUNT - 1)), kept=st.integers(0, 2 * COUNT), torn=st.booleans())
def test_a_broken_run_with_sick_images_ends_as_an_unbroken_one(
    sick: set[int], kept: int, torn: bool
) -> None:
    """Whatever number of lines was written when it stopped."""
    plan = plan_of()
    one = Image.linear_gradient("L").resize((4, 4)).convert("RGB")
    bad: dict[int, Image.Image | None] = {
        plan.requests[number].seed: one if number % 2 else BLACK for number in sick
    }
    bad |= {with_next_seed(plan.requests[number]).seed: None for number in sick if number % 3 == 0}
    with TemporaryDirectory() as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        finish(plan, whole, spoiling(bad))
        store = SyntheticDataset.open(broken, {"seed": 0})
        with pytest.raises(KeyboardInterrupt):
            finish(plan, broken, stopping_after(min(5, kept // 4 + 1), spoiling(bad)))
        metadata = store.folder / "train" / "metadata.jsonl"
        lines = metadata.read_text().splitlines(keepends=True)
        metadata.write_text("".join(lines[:kept]) + ("{" if torn else ""))
        finish(plan, broken, spoiling(bad))
        assert contents(broken) == contents(whole)


def test_every_batch_gets_its_own_sources(plan: GenerationPlan, tmp_path: Path) -> None:
    seen: list[tuple[Path, Image.Image]] = []

    def spy(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        seen.extend(zip((request.source for request in requests), sources, strict=True))
        return render(requests, sources)

    def marked(path: Path) -> Image.Image:
        return Image.new("RGB", (4, 4), (int(path.stem), 0, 0))

    store = SyntheticDataset.open(tmp_path, {})
    generate(plan, plan.requests, store, spy, marked, 5, Progress("generate", len(plan.requests)))
    assert len(seen) == len(plan.requests)
    assert all(source.getpixel((0, 0)) == (int(path.stem), 0, 0) for path, source in seen)


def test_an_error_while_writing_is_one_sentence(plan: GenerationPlan, tmp_path: Path) -> None:
    store = SyntheticDataset.open(tmp_path, {})
    (tmp_path / "train" / "car").write_text("in the way")
    sentence = r"car' cannot be written.*run the same command again"
    with pytest.raises(UserError, match=sentence), store.held():
        generate(plan, plan.requests, store, render, open_image, 4, Progress("generate", 22))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("os.fsync", errno.ENOSPC, "No space left on device"),
        ("pathlib.Path.open", errno.EROFS, "Read-only file system"),
        ("pathlib.Path.replace", errno.EROFS, "Read-only file system"),
    ],
)
def test_a_disk_that_fills_up_or_turns_read_only_ends_in_one_sentence_and_goes_on_later(
    plan: GenerationPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int, said: str
) -> None:
    """From some moment in the middle of the run on, each such call fails."""
    finish(plan, tmp_path / "whole")
    left = [20]
    usual = operator.attrgetter(call.partition(".")[2])(importlib.import_module(call.partition(".")[0]))

    def refuse(*arguments: Any, **settings: Any) -> Any:
        writes = call != "pathlib.Path.open" or {"wb", "ab"} & {*arguments[1:], *settings.values()}
        left[0] -= bool(writes)
        if writes and left[0] < 0:
            raise OSError(error, os.strerror(error))
        return usual(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(call, refuse)
        with pytest.raises(UserError, match=rf"{said}.*what is finished is kept"):
            finish(plan, tmp_path / "broken")
    there = len(SyntheticDataset.existing(tmp_path / "broken").finished())
    assert 0 < there < len(plan.requests)
    assert [path.name for path in (tmp_path / "broken").rglob("*.partial")] == []
    finish(plan, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_images_of_another_plan_are_never_joined(plan: GenerationPlan, tmp_path: Path) -> None:
    finish(plan, tmp_path)
    other = GenerationPlan(
        tuple(
            replace(request, ip_adapter_scale=request.ip_adapter_scale + 1e-6) for request in plan.requests
        )
    )
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds 22 images that this command does not make"):
        finish(other, tmp_path)
    assert contents(tmp_path) == before


def with_memory_for(most: int, calls: list[int]) -> Render:
    def tight(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        calls.append(len(requests))
        if len(requests) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return render(requests, sources)

    return tight


def test_out_of_memory_halves_the_batch_and_is_said_once(
    plan: GenerationPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    store = finish(plan, tmp_path / "tight", with_memory_for(2, calls), batch_size=11)
    assert calls[:3] == [11, 5, 2]
    assert set(calls[3:]) == {2}
    assert missing_requests(plan, store) == []
    assert capsys.readouterr().err.count("fit into memory") == 1
    assert store.rendering()["batch_size"] == 2
    finish(plan, tmp_path / "two", batch_size=2)
    assert contents(tmp_path / "tight") == contents(tmp_path / "two")


def test_out_of_memory_late_in_a_run_loses_nothing(plan: GenerationPlan, tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []

    def late(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        if len(seen) >= 12 and len(requests) > 2:
            raise torch.OutOfMemoryError
        seen.extend(requests)
        return render(requests, sources)

    store = finish(plan, tmp_path, late)
    assert missing_requests(plan, store) == []
    assert len({line["request_id"] for line in store.lines()}) == len(plan.requests)
    assert [line["request_id"] for line in store.lines()] == [request.id for request in plan.requests]


def test_memory_that_runs_out_on_the_second_try_makes_no_image_a_repeated_one(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    """The batch has one sick image, and is rendered whole again at half the size."""
    sick = plan.requests[3]
    calls: list[int] = []

    def tight(
        requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        calls.append(len(requests))
        if len(requests) > 2 and with_next_seed(sick).seed in [request.seed for request in requests]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(spoiling({sick.seed: BLACK})(requests, sources))

    store = finish(plan, tmp_path, tight)
    assert min(calls) == 2
    assert dict(store.faults()[0]) == {"of one colour": 1}
    assert store.dropped() == []


def test_how_each_image_was_made_is_in_its_record(plan: GenerationPlan, tmp_path: Path) -> None:
    calls: list[int] = []
    tight = with_memory_for(2, calls)
    store = SyntheticDataset.open(tmp_path, {})
    with store.held():
        generate(
            plan,
            plan.requests,
            store,
            tight,
            open_image,
            4,
            Progress("generate", len(plan.requests)),
            made_with=lambda: {"calls": len(calls)},
        )
    lines = list(store.lines())
    assert {line["batch_size"] for line in lines} == {2}
    assert [line["calls"] for line in lines] == [2 + place // 2 for place in range(len(lines))]


def test_too_little_memory_for_one_image_is_one_sentence(plan: GenerationPlan, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not enough memory for a single image"):
        finish(plan, tmp_path, with_memory_for(0, []))


def test_any_other_error_of_the_renderer_comes_through(plan: GenerationPlan, tmp_path: Path) -> None:
    def broken(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        finish(plan, tmp_path, broken)


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
def test_images_are_written_in_the_format_that_is_asked_for(
    plan: GenerationPlan, tmp_path: Path, name: str, kind: str
) -> None:
    store = SyntheticDataset.open(tmp_path, {})
    progress = Progress("generate", len(plan.requests))
    generate(plan, plan.requests, store, render, open_image, 8, progress, form=FORMATS[name])
    for line in store.lines():
        path = tmp_path / "train" / line["file_name"]
        assert path.suffix == FORMATS[name].suffix
        assert hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]
        with Image.open(path) as image:
            assert (image.format, image.size) == (kind, (4, 4))
