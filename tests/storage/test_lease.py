import platform
import time

import pytest

from dalda.errors import UserError
from dalda.storage import lease as leases
from dalda.storage import list_folder, lock, path_of, write
from dalda.storage.lease import PREFIX, lease
from dalda.storage.object_store import object_at


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


def test_of_several_that_create_one_object_one_does() -> None:
    place = object_at(path_of("memory://tests/lease/five"))
    assert place.create(b"a")
    assert not place.create(b"b")
    assert place.create(b"a")  # a request that was sent twice
    assert place.read() == b"a"
