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

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.generation.executors.noise import COUNT, EXECUTOR, Generator, Render, open_image, plan_of, render

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.generation.executors.base import Batches
from dalda.generation.executors.local import LocalExecutor
from dalda.generation.image_encoding import FORMATS
from dalda.generation.plan import with_next_seed
from dalda.generation.sink import ATTEMPTS, ATTEMPTS_ON_RETRY, DatasetSink
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import Progress
from dalda.types import GenerationPlan, GenerationRequest


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut during these tests."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def plan() -> GenerationPlan:
    return plan_of()


def finish(
    plan: GenerationPlan,
    folder: Path,
    how: Render = render,
    batch_size: int | None = 4,
    *,
    executor: LocalExecutor = EXECUTOR,
    counted: bool = False,
    retry_dropped: bool = False,
) -> SyntheticDataset:
    dataset = SyntheticDataset.open(folder, {"seed": 0})
    with dataset.held():
        missing = dataset.missing(plan.requests, retry_dropped=retry_dropped)
        wanted = {request.id for request in missing}
        attempts = ATTEMPTS_ON_RETRY if retry_dropped else ATTEMPTS
        bar = Progress("generate", len(missing))
        with DatasetSink(dataset, wanted, bar, attempts=attempts) as sink:
            executor.run(Generator(how, counted=counted), Batches(plan.requests, wanted, batch_size), sink)
        dataset.settle(plan.requests)
    return dataset


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
    assert len(SyntheticDataset.open(broken.folder, {"seed": 0}).missing(plan.requests)) == 2 * COUNT - 6
    finish(plan, broken.folder)
    assert contents(broken.folder) == contents(whole.folder)


def test_lost_images_are_made_again_as_they_were(plan: GenerationPlan, tmp_path: Path) -> None:
    store = finish(plan, tmp_path)
    before = contents(tmp_path)
    for sample in store.synthetic_images()[2:5]:
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


def spoiling(invalid: Mapping[int, Image.Image | None]) -> Render:
    """Renders as always, but requests with these seeds come out as the given image."""

    def spoilt(
        requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        return [
            invalid.get(request.seed, one)
            for request, one in zip(requests, render(requests, sources), strict=True)
        ]

    return spoilt


BLACK = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(("image", "reason"), [(BLACK, "of one colour"), (None, "not a number")])
def test_invalid_images_are_generated_again_with_the_next_seed(
    plan: GenerationPlan, tmp_path: Path, image: Image.Image | None, reason: str
) -> None:
    request = plan.requests[3]
    store = finish(plan, tmp_path, spoiling({request.seed: image}))
    assert store.dropped() == []
    (line,) = [line for line in store.lines() if line["retried_for"]]
    other = with_next_seed(request)
    assert (line["request_id"], line["seed"], line["retried_for"]) == (request.id, other.seed, reason)
    assert other.seed != request.seed
    (expected,) = render([other], [BLACK])[:1]
    assert Image.open(store.synthetic_images()[3].path).size == expected.size
    assert {line["seed"] for line in store.lines()} >= {one.seed for one in plan.requests if one != request}


def test_blank_images_are_dropped_with_a_reason_and_counted(plan: GenerationPlan, tmp_path: Path) -> None:
    request = plan.requests[3]
    invalid = {request.seed: None, with_next_seed(request).seed: BLACK}
    store = finish(plan, tmp_path, spoiling(invalid))
    assert [(line["request_id"], line["reason"]) for line in store.dropped()] == [
        (request.id, "of one colour")
    ]
    assert len(store.synthetic_images()) == len(plan.requests) - 1
    assert store.missing(plan.requests) == []


def black(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
    return [BLACK for _ in requests]


@pytest.mark.parametrize("earlier", [0, 4])
def test_a_broken_model_is_stopped_early_also_on_a_folder_with_images(
    plan: GenerationPlan, tmp_path: Path, earlier: int
) -> None:
    finish(GenerationPlan(plan.requests[:earlier]), tmp_path)
    with pytest.raises(UserError, match=r"the last 1[68] images in a row .* of one colour.*--dtype fp32"):
        finish(plan, tmp_path, black)
    store = SyntheticDataset.existing(tmp_path)
    assert store.missing(plan.requests) == list(plan.requests[earlier:])
    assert store.dropped() == []
    assert finish(plan, tmp_path).missing(plan.requests) == []


def test_dropped_requests_can_be_tried_again(plan: GenerationPlan, tmp_path: Path) -> None:
    """With the same seeds first, so that a repaired model ends as one that was never broken."""
    some = plan.requests[3:5]
    broken = {seed: None for one in some for seed in (one.seed, with_next_seed(one).seed)}
    finish(plan, tmp_path / "whole")
    store = finish(plan, tmp_path / "broken", spoiling(broken))
    assert len(store.dropped()) == 2
    assert store.missing(plan.requests) == []
    finish(plan, tmp_path / "broken", retry_dropped=True)
    assert contents(tmp_path / "broken") == {**contents(tmp_path / "whole"), "dropped.jsonl": b""}
    # And with more seeds, since these two are bad with this model.
    store = finish(plan, tmp_path / "seeds", spoiling(broken))
    store = finish(plan, tmp_path / "seeds", spoiling(broken), retry_dropped=True)
    third = with_next_seed(with_next_seed(some[0]))
    assert third.seed in {line["seed"] for line in store.lines()}
    assert store.dropped() == []


def test_a_model_without_any_image_drops_none_however_small_the_plan(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    small = GenerationPlan(plan.requests[:5])
    with pytest.raises(UserError, match=r"the last 5 images in a row .* not a number.*--dtype fp32"):
        finish(small, tmp_path, lambda requests, sources: [None for _ in requests])
    assert SyntheticDataset.existing(tmp_path).dropped() == []
    assert len(finish(small, tmp_path).synthetic_images()) == 5


def test_a_repeated_image_is_retried_for_wherever_the_first_one_is(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    """Within one batch (0 and 1), in a later one (9), and where the second try is no better (13)."""
    one = Image.effect_noise((4, 4), 80).convert("RGB")
    numbers = (0, 1, 9, 13)
    invalid = {plan.requests[number].seed: one for number in numbers}
    invalid[with_next_seed(plan.requests[13]).seed] = one
    store = finish(plan, tmp_path / "whole", spoiling(invalid))
    again = [line["request_id"] for line in store.lines() if line["retried_for"]]
    assert again == [plan.requests[1].id, plan.requests[9].id]
    assert [line["request_id"] for line in store.dropped()] == [plan.requests[13].id]
    assert len({line["sha256"] for line in store.lines()}) == len(plan.requests) - 1
    assert store.reasons()[0] == {"the same as another image": 2}


@settings(max_examples=15, deadline=None)
@given(invalid=st.sets(st.integers(0, 2 * COUNT - 1)), kept=st.integers(0, 2 * COUNT), torn=st.booleans())
def test_a_broken_run_with_invalid_images_ends_as_an_unbroken_one(
    invalid: set[int], kept: int, torn: bool
) -> None:
    """Whatever number of lines was written when it stopped."""
    plan = plan_of()
    one = Image.linear_gradient("L").resize((4, 4)).convert("RGB")
    bad: dict[int, Image.Image | None] = {
        plan.requests[number].seed: one if number % 2 else BLACK for number in invalid
    }
    bad |= {with_next_seed(plan.requests[number]).seed: None for number in invalid if number % 3 == 0}
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

    def marked(path: Path, sha256: str) -> Image.Image:
        return Image.new("RGB", (4, 4), (int(path.stem), 0, 0))

    finish(plan, tmp_path, spy, 5, executor=LocalExecutor(open_image=marked))
    assert len(seen) == len(plan.requests)
    assert all(source.getpixel((0, 0)) == (int(path.stem), 0, 0) for path, source in seen)


def test_a_source_that_changed_since_the_plan_is_never_used(tmp_path: Path) -> None:
    source = tmp_path / "car.png"
    Image.effect_noise((8, 8), 80).save(source)
    planned = replace(plan_of().requests[0], source=source, source_sha256=sha256_of(source))
    finish(GenerationPlan((planned,)), tmp_path / "same", executor=LocalExecutor())
    Image.effect_noise((8, 8), 80).save(source)
    with pytest.raises(UserError, match=r"car\.png has changed since this command began"):
        finish(GenerationPlan((planned,)), tmp_path / "changed", executor=LocalExecutor())
    assert SyntheticDataset.existing(tmp_path / "changed").synthetic_images() == []


def test_an_error_while_writing_is_one_sentence(plan: GenerationPlan, tmp_path: Path) -> None:
    SyntheticDataset.open(tmp_path, {"seed": 0})
    (tmp_path / "train" / "car").write_text("in the way")
    with pytest.raises(UserError, match=r"car' is there already and is not overwritten"):
        finish(plan, tmp_path)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("os.fsync", errno.ENOSPC, "the disk is full; free some space"),
        ("os.open", errno.EROFS, "the disk is read-only; choose another place"),
        ("os.replace", errno.EROFS, "the disk is read-only; choose another place"),
    ],
)
def test_a_disk_that_fills_up_or_turns_read_only_ends_in_one_sentence_and_goes_on_later(
    plan: GenerationPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    error: int,
    message: str,
) -> None:
    """From some moment in the middle of the run on, each such call fails."""
    finish(plan, tmp_path / "whole")
    left = [20]
    usual = operator.attrgetter(call.partition(".")[2])(importlib.import_module(call.partition(".")[0]))

    def refuse(*arguments: Any, **settings: Any) -> Any:
        writes = call != "os.open" or arguments[1] & (os.O_WRONLY | os.O_RDWR)
        left[0] -= bool(writes)
        if writes and left[0] < 0:
            raise OSError(error, os.strerror(error))
        return usual(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(call, refuse)
        with pytest.raises(UserError, match=message):
            finish(plan, tmp_path / "broken")
    there = len(SyntheticDataset.existing(tmp_path / "broken").finished())
    assert 0 < there < len(plan.requests)
    assert [path.name for path in (tmp_path / "broken").rglob("*.partial")] == []
    finish(plan, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_images_of_the_same_sources_made_otherwise_are_never_joined(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    finish(plan, tmp_path)
    other = GenerationPlan(
        tuple(
            replace(request, ip_adapter_scale=request.ip_adapter_scale + 1e-6) for request in plan.requests
        )
    )
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds images of the same sources with ip_adapter_scale = "):
        finish(other, tmp_path)
    assert contents(tmp_path) == before


def test_a_folder_that_grew_equals_one_made_at_once(plan: GenerationPlan, tmp_path: Path) -> None:
    """First one image per source, then two; running the smaller plan again changes nothing."""
    finish(plan, tmp_path / "at once", batch_size=1)
    few = GenerationPlan(tuple(request for request in plan.requests if request.index == 0))
    finish(few, tmp_path / "grown", batch_size=1)
    store = finish(plan, tmp_path / "grown", batch_size=1)
    once = SyntheticDataset.existing(tmp_path / "at once")
    assert [line["request_id"] for line in store.lines()] == [request.id for request in plan.requests]
    assert [line["sha256"] for line in store.lines()] == [line["sha256"] for line in once.lines()]
    before = contents(tmp_path / "grown")
    finish(few, tmp_path / "grown", batch_size=1)
    assert contents(tmp_path / "grown") == before


def with_memory_for(most: int, calls: list[int]) -> Render:
    def tight(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
        calls.append(len(requests))
        if len(requests) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return render(requests, sources)

    return tight


def test_out_of_memory_halves_the_batch_and_is_reported_once(
    plan: GenerationPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    store = finish(plan, tmp_path / "tight", with_memory_for(2, calls), batch_size=11)
    assert calls[:3] == [11, 5, 2]
    assert set(calls[3:]) == {2}
    assert store.missing(plan.requests) == []
    assert capsys.readouterr().err.count("fit into memory") == 1
    assert store.execution()["batch_size"] == 2
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
    assert store.missing(plan.requests) == []
    assert len({line["request_id"] for line in store.lines()}) == len(plan.requests)
    assert [line["request_id"] for line in store.lines()] == [request.id for request in plan.requests]


def test_memory_that_runs_out_on_the_second_try_makes_no_image_a_repeated_one(
    plan: GenerationPlan, tmp_path: Path
) -> None:
    """The batch has one invalid image, and is rendered whole again at half the size."""
    invalid = plan.requests[3]
    calls: list[int] = []

    def tight(
        requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        calls.append(len(requests))
        if len(requests) > 2 and with_next_seed(invalid).seed in [request.seed for request in requests]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(spoiling({invalid.seed: BLACK})(requests, sources))

    store = finish(plan, tmp_path, tight)
    assert min(calls) == 2
    assert dict(store.reasons()[0]) == {"of one colour": 1}
    assert store.dropped() == []


def test_the_execution_is_in_each_record(plan: GenerationPlan, tmp_path: Path) -> None:
    store = finish(plan, tmp_path, with_memory_for(2, []), None, counted=True)
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
    store = finish(plan, tmp_path, executor=LocalExecutor(FORMATS[name], open_image=open_image))
    for line in store.lines():
        path = tmp_path / "train" / line["file_name"]
        assert path.suffix == FORMATS[name].suffix
        assert hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]
        with Image.open(path) as image:
            assert (image.format, image.size) == (kind, (4, 4))
