import platform
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.storage import lease as leases
from dalda.storage import list_folder, lock, path_of, write
from dalda.storage.lease import PREFIX, lease
from dalda.storage.object_store import StoredObject, object_at


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.05)
    monkeypatch.setattr(leases, "PAUSE", 0.02)
    monkeypatch.setattr(leases, "STALE", 0.6)


def test_one_process_at_a_time_and_nothing_is_left() -> None:
    folder = path_of("memory://tests/lease/one")
    with lock(folder, "busy"):
        with pytest.raises(UserError, match="busy"), lock(folder, "busy"):
            pass
        with lock(folder, "busy", shared=True):  # shards have leases of their own parts
            pass
    with lock(folder, "busy"):
        pass
    assert list_folder(folder) == []


def test_a_lease_that_nobody_renews_is_taken_over_after_a_while() -> None:
    folder = path_of("memory://tests/lease/two")
    write(folder / f"{PREFIX}000004", "another-machine 12 345")
    start = time.monotonic()
    with lease(folder, "busy"):
        assert time.monotonic() - start >= 0.6
        assert list_folder(folder) == [f"{PREFIX}000005"]


def test_a_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once() -> None:
    folder = path_of("memory://tests/lease/three")
    write(folder / f"{PREFIX}000001", f"{platform.node()} 4194304999 1")
    start = time.monotonic()
    with lease(folder, "busy"):
        assert time.monotonic() - start < 0.5


def test_who_was_taken_over_writes_no_more() -> None:
    folder = path_of("memory://tests/lease/four")
    with lease(folder, "busy"):
        write(folder / "a", "1")
        assert object_at(folder / f"{PREFIX}000002").create(b"another-machine 1 1")
        time.sleep(0.5)
        with pytest.raises(UserError, match="another process has taken over"):
            write(folder / "b", "2")
    assert list_folder(folder) == [f"{PREFIX}000001", f"{PREFIX}000002", "a"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_write_waits_while_nobody_knows_who_has_the_lease(
    taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = path_of(f"memory://tests/lease/silent-{taken}")
    answers = threading.Event()
    renewal = StoredObject.write

    def silent(self: StoredObject, data: bytes) -> None:
        if PREFIX in self.path:
            answers.wait()
        renewal(self, data)

    with lease(folder, "busy"):
        monkeypatch.setattr(StoredObject, "write", silent)
        time.sleep(0.8)
        written = threading.Thread(target=lambda: write_or_not(folder / "a"))
        written.start()
        time.sleep(0.3)
        assert "a" not in list_folder(folder)
        if taken:
            assert object_at(folder / f"{PREFIX}000002").create(b"another-machine 1 1")
        answers.set()
        written.join()
        assert ("a" in list_folder(folder)) is not taken


def write_or_not(place: Path) -> None:
    with suppress(UserError):
        write(place, "1")


def test_of_several_that_create_one_object_one_does() -> None:
    place = object_at(path_of("memory://tests/lease/five"))
    assert place.create(b"a")
    assert not place.create(b"b")
    assert place.create(b"a")  # a request that was sent twice
    assert place.read() == b"a"


def test_a_lease_that_goes_between_listing_and_reading_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = path_of("memory://tests/lease/six")
    old, new = folder / f"{PREFIX}000004", folder / f"{PREFIX}000005"
    write(old, "another-machine 12 345")
    read = StoredObject.read

    def taken_over_now(self: StoredObject) -> bytes:
        if self.path == object_at(old).path and list_folder(folder) == [old.name]:
            write(new, "a-third-machine 1 1")
            object_at(old).remove()
        return read(self)

    monkeypatch.setattr(StoredObject, "read", taken_over_now)
    with pytest.raises(UserError, match="busy"), lease(folder, "busy"):
        pass
    assert list_folder(folder) == [new.name]


def test_a_lease_of_the_same_number_is_another_ones_after_all_have_ended() -> None:
    folder = path_of("memory://tests/lease/seven")
    with lease(folder, "busy"):
        write(folder / f"{PREFIX}000001", "another-machine 1 1")
        time.sleep(0.3)
        with pytest.raises(UserError, match="another process has taken over"):
            write(folder / "b", "2")
    assert list_folder(folder) == [f"{PREFIX}000001"]


def test_a_listing_that_comes_late_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = path_of("memory://tests/lease/eight")
    with lease(folder, "busy"):
        monkeypatch.setattr(StoredObject, "entries", lambda self: [])
        time.sleep(0.3)
        write(folder / "a", "1")
    monkeypatch.undo()
    assert list_folder(folder) == ["a"]


def test_another_file_of_such_a_name_is_no_lease() -> None:
    folder = path_of("memory://tests/lease/nine")
    write(folder / f"{PREFIX}of-mine", "1")
    with lease(folder, "busy"):
        time.sleep(0.2)
        write(folder / "a", "1")
    assert list_folder(folder) == [f"{PREFIX}of-mine", "a"]
