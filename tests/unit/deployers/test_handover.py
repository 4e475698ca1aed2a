import os

import pytest

from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable
from continuous_training.deployers.handover import ServingFolder, Status
from served_model import MODEL, pointer


@pytest.fixture
def folder(tmp_path):
    folder = ServingFolder(tmp_path, MODEL)
    folder.path.mkdir(parents=True)
    return folder


def test_what_is_written_is_read_back_and_nothing_else_is_left(folder, tmp_path):
    wanted = pointer(tmp_path, 3)
    status = Status(pid=1, url="http://127.0.0.1:1", port=1, state="ready", model=MODEL)
    folder.write_pointer(wanted)
    folder.write_status(status)
    assert (folder.read_pointer(), folder.read_status()) == (wanted, status)
    assert sorted(os.listdir(folder.path)) == ["pointer.json", "status.json"]


def test_nothing_written_is_nothing(folder):
    assert (folder.read_pointer(), folder.read_status(), folder.supervisor()) == (None, None, None)


def test_writing_the_same_release_again_makes_another_ticket(tmp_path):
    assert pointer(tmp_path, 1).ticket != pointer(tmp_path, 1).ticket


def test_a_half_written_pointer_is_an_error_and_a_half_written_status_is_none(folder):
    for name in ("pointer.json", "status.json"):
        (folder.path / name).write_text('{"model": "fl')
    assert folder.read_status() is None
    with pytest.raises(ArtefactCorrupt, match=r"pointer\.json does not hold a pointer"):
        folder.read_pointer()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(folder, tmp_path, monkeypatch):
    old = pointer(tmp_path, 1)
    folder.write_pointer(old)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match=r"No space left on device.*a retry"):
        folder.write_pointer(pointer(tmp_path, 2))
    assert os.listdir(folder.path) == ["pointer.json"]
    assert folder.read_pointer() == old


def test_a_home_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "serving").write_text("a file")
    with pytest.raises(StoreUnavailable, match="cannot make the folder"):
        ServingFolder(tmp_path, MODEL).supervise()


def test_one_supervisor_at_a_time_holds_the_lock_and_its_process_is_known(folder):
    with folder.supervise() as lock:
        lock.write(b"4711")
        lock.flush()
        assert folder.supervisor() == 4711
        assert folder.supervise() is None
        assert folder.supervisor() == 4711
    assert folder.supervisor() is None
    with folder.supervise():
        assert folder.supervisor() is None  # the number of the one before is gone
