"""Several processes give the folder of one, whatever becomes of them."""

from pathlib import Path

import pytest
from tests.generation.executors.faulty import BATCH, REQUESTS, Faulty, check
from tests.generation.executors.noise import EXECUTOR

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.generation.executors.base import Batches, Executor
from dalda.generation.executors.processes import HUNG, ProcessExecutor
from dalda.generation.executors.worker import DIED, Worker
from dalda.generation.sink import DatasetSink
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import Progress


def finish(out: Path, executor: Executor, generator: Faulty) -> SyntheticDataset:
    dataset = SyntheticDataset.open(out, {})
    wanted = {request.id for request in dataset.missing(REQUESTS)}
    with dataset.held():
        with DatasetSink(dataset, wanted, Progress("generate", len(wanted))) as sink:
            executor.run(generator, Batches(REQUESTS, wanted, BATCH), sink)
        dataset.settle(REQUESTS)
    return dataset


def images(dataset: SyntheticDataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.folder.glob("train/*/*.png")}


def processes(generator: Faulty, patience: float = 600) -> ProcessExecutor:
    return ProcessExecutor(Worker(generator, EXECUTOR, check), workers=2, patience=patience)


def test_a_worker_that_dies_is_replaced(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, dies_once_at=9)
    dataset = finish(tmp_path / "out", processes(generator), generator)
    assert (tmp_path / "die").exists()
    assert images(dataset) == whole
    assert not dataset.dropped()
    assert len(list(dataset.lines())) == len(REQUESTS)


@pytest.mark.slow
def test_a_batch_that_cannot_be_generated_is_dropped_and_the_rest_goes_on(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    generator = Faulty(tmp_path, raises_at=5, dies_at=13)
    dataset = finish(tmp_path / "out", processes(generator), generator)
    reasons = {line["request_id"]: line["reason"] for line in dataset.dropped()}
    raised = {request.id: "ValueError: a strange prompt" for request in REQUESTS[4:8]}
    assert reasons == raised | {request.id: DIED for request in REQUESTS[12:16]}
    rest = {f"{request.id}.png" for request in (*REQUESTS[:4], *REQUESTS[8:12], *REQUESTS[16:])}
    assert images(dataset) == {name: whole[name] for name in rest}


@pytest.mark.slow
def test_a_model_that_breaks_in_the_middle_stops_the_run(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, raises_from=4)
    with pytest.raises(UserError, match=r"16 images in a row are invalid, .* ValueError: a strange prompt"):
        finish(tmp_path / "out", processes(generator), generator)
    dataset = SyntheticDataset.existing(tmp_path / "out")
    assert not dataset.dropped()
    assert images(dataset) == {f"{x.id}.png": whole[f"{x.id}.png"] for x in REQUESTS[:4]}


@pytest.mark.slow
def test_what_the_user_can_fix_is_one_sentence_and_the_same_command_resumes(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    generator = Faulty(tmp_path, refuses_at=10)
    with pytest.raises(UserError, match="server is gone"):
        finish(tmp_path / "out", processes(generator), generator)
    fixed = Faulty(tmp_path)
    assert images(finish(tmp_path / "out", processes(fixed), fixed)) == whole


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, hangs_once_at=9)
    dataset = finish(tmp_path / "out", processes(generator, patience=40), generator)
    assert (tmp_path / "hang").exists()
    assert images(dataset) == whole
    assert HUNG not in dataset.reasons()[1]


@pytest.mark.slow
@pytest.mark.usefixtures("doodle_cache")
def test_the_command_gives_the_same_folder_with_workers(tmp_path: Path) -> None:
    """The whole way: the method, the model and its options reach the workers."""
    from dalda.workflows.augment import augment

    config = AugmentConfig(
        dataset="doodles", out=tmp_path / "one", shots=1, per_image=1, steps=2, batch_size=4, device="cpu"
    )
    augment(config)
    augment(config.model_copy(update={"out": tmp_path / "two", "workers": 2}))
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("one", "two")
    )
    assert one.pop("dalda.yaml") != two.pop("dalda.yaml"), "how many workers there were is recorded"
    assert one == two
    assert len(one) > 10
