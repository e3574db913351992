from __future__ import annotations

import os

import pytest

from lenscope.data.folders import layout
from lenscope.data.folders.below import has_class_folders, pictures_below


@pytest.fixture
def folder(tmp_path):
    """A folder in which every kind of entry occurs, beside a folder with one picture."""
    for name in ("in/b/2.png", "in/b/10.jpeg", "in/a.webp", "in/c.txt", "in/.x.png", "in/__MACOSX/d.png", "out/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path / "in"


def test_pictures_are_found_at_every_depth_in_sorted_order(folder):
    deep = folder / "d/d/d"
    deep.mkdir(parents=True)
    (deep / "z.tif").write_bytes(b"")
    expected = [folder / "a.webp", folder / "b/10.jpeg", folder / "b/2.png", deep / "z.tif"]
    assert list(pictures_below(folder)) == [(path, None) for path in expected]


def test_links_are_followed_to_pictures_of_the_folder_alone(folder):
    (folder / "b/again.png").symlink_to(folder / "a.webp")
    (folder / "b/circle").symlink_to(folder)
    (folder / "b/text").symlink_to(folder.parent / "out/e.png")  # not called a picture
    (folder / "b/away.png").symlink_to(folder.parent / "out/e.png")
    (folder / "away").symlink_to(folder.parent / "out")
    found = list(pictures_below(folder))
    assert [path.relative_to(folder).as_posix() for path, error in found if not error] == [
        "a.webp", "b/10.jpeg", "b/2.png", "b/again.png",
    ]  # fmt: skip
    assert [str(error) for _, error in found if error] == [
        f"{folder / name}: a link that leaves the folder; predict its target by its own path"
        for name in ("away", "b/away.png")
    ]


def test_a_folder_without_pictures_is_named(folder):
    (folder / "empty/.git").mkdir(parents=True)
    [(path, error)] = pictures_below(folder / "empty")
    assert path == folder / "empty"
    assert str(error).startswith(f"{path}: no picture in it; expected .png, ")


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_searched(folder, monkeypatch):
    scan = layout.os.scandir

    def scandir(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(layout.os, "scandir", scandir)
    picture, (path, error) = pictures_below(folder)
    assert picture == (folder / "a.webp", None)
    assert path == folder / "b"
    assert str(error).startswith(f"{folder / 'b'}: cannot be read: Permission denied")


def test_a_folder_with_class_folders_is_recognised(folder, tmp_path):
    assert has_class_folders(folder, ("b",))
    assert not has_class_folders(folder, ("a", "b"))
    assert not has_class_folders(folder / "a.webp", ("b",))
    (tmp_path / "raw").mkdir()
    os.mkdir(os.fsencode(tmp_path / "raw") + b"/\xff")  # noqa: PTH102 - a name in bytes
    assert has_class_folders(tmp_path / "raw", ("\\xff",))
