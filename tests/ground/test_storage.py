from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from disks import Failing, count_operations, in_place
from lenscope.errors import StorageError
from lenscope.storage import Disk, append_file, cut_file, make_directory, remove_file, write_file

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(*_args: object, **_options: object) -> None:
    raise FULL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "some.json"
    file.write_bytes(b"old")
    return file


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def refused(path: Path, caught: pytest.ExceptionInfo[StorageError]) -> bool:
    """Whether the message is one line with the path and the cause."""
    message = str(caught.value)
    return message.startswith(f"{path}: cannot be written: No space left on device; ") and message.isprintable()


def test_a_written_file_holds_the_content_and_nothing_lies_beside(path: Path) -> None:
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    write_file(path, (b"in ", memoryview(b"blocks")))
    assert path.read_bytes() == b"in blocks"
    assert names(path.parent) == [path.name]


def test_the_bytes_are_synced_before_the_rename_and_the_directory_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bytes]] = []

    def look(descriptor: int) -> None:
        beside = f"/proc/self/fd/{descriptor}"
        seen.append(("directory" if Path(beside).is_dir() else "file", path.read_bytes()))
        if seen[-1][0] == "file":
            assert Path(beside).read_bytes() == b"new"  # nothing is left in a buffer

    monkeypatch.setattr(os, "fsync", look)
    write_file(path, b"new")
    assert seen == [("file", b"old"), ("directory", b"new")]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(path: Path) -> None:
    operations = count_operations(lambda: write_file(path, b"old"))
    assert operations == 7  # remove what is beside, open, write, sync, close, rename, sync the directory
    for number in range(1, operations + 1):
        with in_place(Failing(number, errno.ENOSPC, for_good=False)), pytest.raises(StorageError) as caught:
            write_file(path, b"new")
        assert refused(path, caught)
        assert path.read_bytes() == (b"new" if number == operations else b"old")
        assert names(path.parent) == [path.name]


def test_a_write_of_too_little_is_gone_on_with(path: Path) -> None:
    with in_place(Failing(1, None, for_good=True)):
        write_file(path, b"something new")
        append_file(path, b" and more")
    assert path.read_bytes() == b"something new and more"


def test_a_disk_that_writes_nothing_is_given_up(path: Path) -> None:
    with in_place(Disk()) as disk:
        disk.write = lambda *_: 0  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="nothing was written; check the disk"):
            append_file(path, b"x")


@pytest.mark.parametrize("write", [append_file, lambda path, _: cut_file(path, 1)], ids=["append", "cut"])
def test_a_link_is_not_written_through(path: Path, write) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(StorageError, match="Too many levels of symbolic links; replace the link by its target"):
        write(link, b"x")
    assert path.read_bytes() == b"old"


def test_a_link_in_the_way_of_a_temporary_is_removed_not_followed(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"precious")
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to(target)
    write_file(path, b"new")
    assert (path.read_bytes(), target.read_bytes()) == (b"new", b"precious")
    assert names(path.parent) == ["some.json", "target"]


def test_a_named_pipe_is_not_waited_for(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StorageError, match="cannot be written"):
        append_file(path, b"x")


def test_an_interrupt_within_a_write_leaves_nothing_beside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(path.parent) == [path.name]


def test_a_temporary_that_cannot_be_removed_hides_no_cause(path: Path) -> None:
    with in_place(Failing(4, errno.ENOSPC, for_good=True)), pytest.raises(StorageError) as caught:
        write_file(path, b"new")
    assert refused(path, caught)


def test_a_failed_append_names_path_and_cause(path: Path) -> None:
    assert count_operations(lambda: append_file(path, b"")) == 3  # open, sync, close
    assert count_operations(lambda: append_file(path.with_name("new"), b"")) == 4  # and sync the directory
    for number in range(1, 5):  # open, write, sync, close
        with in_place(Failing(number, errno.ENOSPC, for_good=False)), pytest.raises(StorageError) as caught:
            append_file(path, b"new")
        assert refused(path, caught)
        assert path.read_bytes().startswith(b"old")


def test_what_to_do_depends_on_the_cause(path: Path) -> None:
    hints = {errno.EACCES: "check its permissions", errno.EIO: "check the disk", errno.EMFILE: "another --out"}
    for code, hint in hints.items():
        with in_place(Failing(1, code, for_good=True)), pytest.raises(StorageError, match=f"{hint}$"):
            append_file(path, b"new")
    with in_place(Failing(1, errno.EIO, for_good=True)), pytest.raises(StorageError, match=r"error; look elsewhere$"):
        write_file(path, b"new", "look elsewhere")


@pytest.mark.parametrize("write", [write_file, append_file])
def test_a_path_under_a_file_or_a_directory_cannot_be_written(path: Path, write) -> None:
    with pytest.raises(StorageError, match="Not a directory"):
        write(path / "below", b"x")
    (path.parent / "folder").mkdir()
    with pytest.raises(StorageError, match="folder: cannot be written: Is a directory"):
        write(path.parent / "folder", b"x")
    assert names(path.parent) == ["folder", "some.json"]


def test_an_error_without_a_text_of_the_system_is_told_in_its_own_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("the cable is out")))
    with pytest.raises(StorageError, match="cannot be written: the cable is out"):
        append_file(path, b"x")


def test_a_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    make_directory(tmp_path / "a" / "b", exist_ok=True)
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "a" / "b")


def test_a_directory_that_cannot_be_made_durable_is_not_there(tmp_path: Path) -> None:
    with in_place(Failing(2, errno.EIO, for_good=False)), pytest.raises(StorageError, match="Input/output error"):
        make_directory(tmp_path / "a")
    assert not names(tmp_path)


def test_a_directory_that_is_a_file_cannot_be_made(path: Path) -> None:
    with pytest.raises(StorageError, match=r"some\.json: cannot be written: File exists"):
        make_directory(path, exist_ok=True)
    with pytest.raises(StorageError, match="Not a directory"):
        make_directory(path / "below")


def test_where_directories_cannot_be_opened_they_are_not_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        patch.setattr(os, "open", fail)
        Disk().sync_directory(path.parent)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EINVAL, "not for directories")))
        Disk().sync_directory(path.parent)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        Disk().sync_directory(path.parent)


def test_a_file_is_cut_and_one_that_is_not_there_left_so(path: Path) -> None:
    cut_file(path, 2)
    assert path.read_bytes() == b"ol"
    cut_file(path.parent / "none", 2)
    assert names(path.parent) == ["some.json"]


def test_a_file_is_removed_once(path: Path) -> None:
    remove_file(path)
    remove_file(path)
    assert not names(path.parent)


def test_what_cannot_be_cut_or_removed_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"some\.json: cannot be written: No space"):
        cut_file(path, 1)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"some\.json: cannot be written"):
        remove_file(path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_cannot_be_is_a_storage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be written: "):
        write_file(tmp_path / name, b"")
    with pytest.raises(StorageError, match="cannot be written: "):
        make_directory(tmp_path / name)
    with pytest.raises(StorageError, match="File name too long"):
        make_directory(tmp_path / ("a" * 300) / "b")
