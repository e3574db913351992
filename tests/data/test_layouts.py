"""Layouts of folders of pictures that are found in public, and what becomes of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from fixtures_data import picture
from lenscope.data import packs
from lenscope.data.folders.folder import load_folder
from lenscope.errors import DataError

if TYPE_CHECKING:
    from lenscope.data.dataset import Splits


class Row(NamedTuple):
    """A layout: its name, its files (`path=content`, or pictures), and what happens."""

    name: str
    tree: str
    result: str


LAYOUTS = (
    Row(
        "torchvision ImageFolder, train and val (hymenoptera)",
        "train/ants/1.jpg train/bees/2.jpg val/ants/3.jpg val/bees/4.jpg",
        "train: ants 1, bees 1; validation: ants 1, bees 1",
    ),
    Row(
        "Keras image_dataset_from_directory (flower_photos, unpacked)",
        "flower_photos/LICENSE.txt=x flower_photos/daisy/1.jpg flower_photos/tulips/2.jpg",
        "train: daisy 1, tulips 1",
    ),
    Row("EuroSAT", "2750/Forest/Forest_1.jpg 2750/River/River_1.jpg", "train: Forest 1, River 1"),
    Row(
        "Caltech-101",
        "101_ObjectCategories/BACKGROUND_Google/image_0001.jpg 101_ObjectCategories/accordion/image_0001.jpg",
        "train: BACKGROUND_Google 1, accordion 1",
    ),
    Row(
        "Kaggle chest-xray, in capitals",
        "chest_xray/Train/NORMAL/1.jpg chest_xray/Train/PNEUMONIA/2.jpg chest_xray/VAL/NORMAL/3.jpg "
        "chest_xray/Test/NORMAL/4.jpg chest_xray/Test/PNEUMONIA/5.jpg",
        "train: NORMAL 1, PNEUMONIA 1; validation: NORMAL 1, PNEUMONIA 0; test: NORMAL 1, PNEUMONIA 1",
    ),
    Row(
        "Kaggle Intel image classification",
        "seg_train/seg_train/sea/1.jpg seg_test/seg_test/sea/2.jpg seg_pred/seg_pred/3.jpg",
        "train: sea 1; test: sea 1",
    ),
    Row(
        "fast.ai Imagenette",
        "imagenette2/noisy_imagenette.csv=path,noisy_labels_0,is_valid;train/n01/1.JPEG,n01,False "
        "imagenette2/train/n01/1.JPEG imagenette2/val/n01/2.JPEG",
        "train: n01 1; validation: n01 1",
    ),
    Row(
        "Kaggle train.csv of ids without endings, unlabelled test",
        "train.csv=id,breed;1,collie;2,pug train/1.jpg train/2.jpg test/3.jpg sample_submission.csv=id,breed;3,pug",
        "train: collie 1, pug 1",
    ),
    Row(
        "Kaggle images/ and a CSV",
        "images/1.png images/2.png labels.csv=filename,label;1.png,0;2.png,1",
        "train: 0 1, 1 1",
    ),
    Row(
        "Kaggle HAM10000, folders part_1 and part_2",
        "HAM10000_metadata.csv=lesion_id,image_id,dx,age;L1,1,nv,40;L2,2,mel,50 HAM10000_images_part_1/1.jpg "
        "HAM10000_images_part_2/2.jpg",
        "train: mel 1, nv 1",
    ),
    Row(
        "Hugging Face imagefolder with metadata.csv",
        "train/metadata.csv=file_name,label;1.png,cat;2.png,dog train/1.png train/2.png "
        "test/metadata.csv=file_name,label;3.png,cat test/3.png",
        "train: cat 1, dog 1; test: cat 1, dog 0",
    ),
    Row(
        "Roboflow classification, _classes.csv",
        "train/_classes.csv=filename, cat, dog;1.jpg,1,0;2.jpg,0,1 train/1.jpg train/2.jpg "
        "valid/_classes.csv=filename, cat, dog;3.jpg,0,1 valid/3.jpg",
        "train: cat 1, dog 1; validation: cat 0, dog 1",
    ),
    Row(
        "CVAT ImageNet export, Teachable Machine",
        "synsets.txt=x cat/1.png dog/2.png",
        "train: cat 1, dog 1",
    ),
    Row(
        "CVAT export for Ultralytics classification",
        "train/labels.json={} train/cat/1.jpg train/dog/2.jpg val/labels.json={} val/cat/3.jpg val/dog/4.jpg",
        "train: cat 1, dog 1; validation: cat 1, dog 1",
    ),
    Row("Kaggle cats and dogs, one folder", "train/cat.0.jpg train/dog.0.jpg", "pictures without class folders"),
    Row("Food-101", "food-101/images/pie/1.jpg food-101/meta/train.json={}", "its folder images has the class folders"),
    Row("COCO", "annotations/instances.json={} train/1.jpg", "COCO annotations of objects"),
    Row("YOLO", "data.yaml=x train/images/1.jpg train/labels/1.txt=0", "YOLO labels of objects"),
    Row("Hugging Face metadata.jsonl", "train/metadata.jsonl={} train/1.png", "save them as metadata.csv"),
    Row("Parquet shards", "data/train-00000-of-00001.parquet=x", "pictures in Parquet files"),
    Row("WebDataset", "shard-000000.tar=x", "a tar archive; unpack it"),
    Row("MedMNIST", "pathmnist.npz=x", "NumPy arrays"),
    Row("Oxford flowers", "jpg/image_00001.jpg imagelabels.mat=x setid.mat=x", "labels in a MATLAB file"),
)


def build(root: Path, tree: str) -> Path:
    """Write the files of a row; content is put on lines at `;`, and other files are pictures."""
    words, files = tree.split(" "), list[str]()
    for word in words:  # a header such as `filename, cat` has spaces
        if files and files[-1].endswith(","):
            files[-1] += word
        else:
            files.append(word)
    for file in files:
        path, _, content = file.partition("=")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.replace(";", "\n").encode(errors="surrogateescape") if content else picture())
    return root


def counts(splits: Splits) -> str:
    """The number of pictures of each class, of each split."""
    return "; ".join(
        f"{split}: "
        + ", ".join(f"{name} {int(np.sum(data.labels == label))}" for label, name in enumerate(data.classes))
        for split in packs.SPLITS
        if (data := getattr(splits, split))
    )


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: row.name)
def test_a_public_layout_is_taken_or_refused_in_one_line(row: Row, tmp_path: Path) -> None:
    root = build(tmp_path / "data", row.tree)
    if row.result.startswith("train: "):
        assert counts(load_folder(root)) == row.result
        return
    with pytest.raises(DataError, match=row.result) as raised:
        load_folder(root)
    assert "\n" not in str(raised.value)


def test_the_documents_show_the_same_layouts() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    shown = [line for line in text.splitlines() if line.startswith("| ") and line.count("|") == 4]
    assert shown[2:] == [f"| {row.name} | `{row.tree}` | {row.result} |" for row in LAYOUTS]


REFUSALS = (
    ("train/a/1.png Train/a/2.png", "two folders for one split, Train and train; move one away"),
    ("train/a/1.png cat/2.png", "cat: expected only folders of splits, train, val and test; move it away"),
    ("test/a/1.png", "no folder 'train' in it"),
    ("README=x", "no folder 'train' and no class folder in it; expected <class>"),
    ("train/1.png labels.csv=name,kind;1,x", "labels.csv has the columns name, kind; expected a file column"),
    ("train/1.png labels.csv=file,label", "its tables have no rows"),
    ("train/1.png labels.csv=file,label;../1.png,x", "labels.csv row 2: its file is outside the folder"),
    ("train/1.png labels.csv=file,label;2.png,x;1.png,a", "labels.csv row 2: no picture 2.png; remove the row or add"),
    (
        "images_1/1.png images_2/2.png about.csv=image_id,sex,age;1,a,b",
        "about.csv has the columns image_id, sex, age; expected",
    ),
    ("train/1.png labels.csv=file,label;1.png,x;1.png,y", "row 3: another label for train/1.png; keep one"),
    ("c0.png labels.csv=file,label;C0.PNG,x", "row 2: no picture C0.PNG; c0.png differs in capitals, rename one"),
    ("train/a/1.png train/a/more/2.png", "train/a/more: a folder in a class; move its pictures up"),
    ("train/a/1.png train/a/2.heic=0000ftypheic", "train/a/2.heic: HEIC, which is not read; save it as PNG or JPEG"),
    ("1.png labels.csv=file,label,split;1.png,x,holdout", "row 2: split holdout; expected train, val or test"),
    ("a/1.png b/1.png 2.png labels.csv=file,label;2.png,x;1.png,y", "1.png is in several folders, such as a/1.png and"),
    ("images/1.png images/1.jpg labels.csv=file,label;1,x", "two files are called images/1, apart from their endings"),
    (
        "images/1.png train.csv=file,label;1.png,x test.csv=file,label;1.png,x",
        "another split for images/1.png; keep one",
    ),
    (
        "train/1.png train/2.png test/1.png labels.csv=file,label,split;2.png,a,test",
        "row 2: no picture 2.png; remove the row or add the picture",
    ),
    ("train/1.png labels.csv=file,label;;;1.png,a;3.png,a", "labels.csv row 5: no picture 3.png; remove"),
    ("part1/1.png part2/1.png labels.csv=file,label;0.png,a;1.png,b", "row 3: 1.png is in several folders"),
    ("images/cat/1.png readme.csv=a,b;1,2", "its folder images has the class folders; give"),
    ("images/1.png test_labels.csv=file,label;1.png,a", "its tables have no rows of train; expected"),
    ("images/1.png images/2.png", "pictures without class folders or a CSV"),
    ("train/1.png train/_classes.csv=filename,a,b;1.png,1,1", "_classes.csv row 2: not exactly one label"),
    ("1.png 2.png labels.csv=file,label,split;1.png,x,train;2.png,y,test", "2.png: class y only in test"),
    ('train/1.png labels.csv=file,label;"1.png,x', "labels.csv row 2: no picture"),
    ("train/a/1.png test/readme.txt=x", "test: no class folder in it; add pictures or remove the folder"),
)


@pytest.mark.parametrize(("tree", "message"), REFUSALS)
def test_what_cannot_be_read_says_what_to_do(tree: str, message: str, tmp_path: Path) -> None:
    root = build(tmp_path / "data", tree)
    with pytest.raises(DataError) as raised:
        load_folder(root)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("tree", "expected", "notes"),
    [
        # The picture of a row is in the folder of its split, also where another split has one of the same name.
        (
            "train/1.png train/2.png test/1.png labels.csv=file,label,split;1.png,a,train;2.png,b,train;1.png,b,test",
            "train: a 1, b 1; test: a 0, b 1", ("test has no pictures of a; its accuracy is measured without them",),
        ),
        ("images/1.png images/2.png masks/1.png masks/2.png l.csv=file,label;1.png,a;2.png,b", "train: a 1, b 1", ()),
        ("train/1.png test/s/3.png l.csv=id,label,partition;1,a,train;test/s/3,a,", "train: a 1; test: a 1", ()),
        ("data/images/1.png data/images/2.png labels.csv=file,label;1.png,a;images/2.png,b", "train: a 1, b 1", ()),
        ("images/cat/1.png images/dog/2.png l.csv=file,label;1,tom;dog/2.png,rex", "train: rex 1, tom 1", ()),
        ("train/images/1.png train/images/2.png labels.csv=file,label;1.png,a;2.png,b", "train: a 1, b 1", ()),
        # A table that does not say what the pictures are does not replace the classes.
        *(
            (f"cat/1.png dog/1.png {table}", "train: cat 1, dog 1",
             (f"{table.split('=')[0]} does not say what the pictures are; the folders are the classes",))
            for table in ("scores.csv=id,score;1,0.5", "p.csv=file,prediction,probability;cat/1.png,cat,1",
                          "x.csv=id,label;77,a", "n.csv=file\udcfflabel;1,a")
        ),
        ("cat/1.png dog/2.png t.csv=path,class;cat/1.png,tom;dog/2.png,rex", "train: rex 1, tom 1", ()),
        # Names that could mean something else.
        ("train/bus/1.png train/train/2.png", "train: bus 1, train 1", ()),
        ("dev/1.png prod/2.png", "train: dev 1, prod 1", ()),
        ("train/a/1.png train/b/2.png imagelabels.mat=x data.yaml=x", "train: a 1, b 1", ()),
    ],
)  # fmt: skip
def test_what_could_be_meant_in_two_ways_has_one_meaning(
    tree: str, expected: str, notes: tuple[str, ...], tmp_path: Path
) -> None:
    splits = load_folder(build(tmp_path / "data", tree))
    assert (counts(splits), splits.notes) == (expected, notes)


def test_a_thousand_folders_in_one_another_have_no_class(tmp_path: Path) -> None:
    folders = [tmp_path / "a"]
    for _ in range(1100):
        folders.append(folders[-1] / "a")
    for folder in folders:
        folder.mkdir()
    try:
        with pytest.raises(DataError, match="a: no image in it; add pictures"):
            load_folder(folders[0])
    finally:  # pytest would remove them by recursion
        for folder in reversed(folders):
            folder.rmdir()


def test_tables_are_read_as_people_write_them(tmp_path: Path) -> None:
    """Semicolons, other names of columns and files, two columns, folders that are no classes."""
    tree = "train_labels.tsv=x train_images/1.png train_images/2.png train_images/3.png test_images/4.png"
    root = build(tmp_path / "data", tree)
    (root / "Training_set.csv").write_text('Image ID;Kind\n1;"a;b"\n2;c\n', encoding="utf-8")
    splits = load_folder(root)
    assert counts(splits) == "train: a;b 1, c 1"
    assert splits.notes == ("1 picture has no label in the table, such as train_images/3.png; not used",)


def test_another_name_for_a_class_in_the_table_is_seen_in_spite_of_the_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    root = build(tmp_path / "data", "1.png 2.png labels.csv=file,label;1.png,cat;2.png,dog")
    assert load_folder(root, pack=True).classes == ("cat", "dog")
    (root / "labels.csv").write_text("file,label\n1.png,cow\n2.png,dog\n", encoding="utf-8")
    assert load_folder(root, pack=True).classes == ("cow", "dog")


def test_a_table_with_a_bom_is_read_and_one_of_other_bytes_or_too_long_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build(tmp_path / "data", "1.png")
    (root / "labels.csv").write_bytes("\ufefffile,label\n1.png,\u00e9t\u00e9\n".encode())
    assert load_folder(root).classes == ("\u00e9t\u00e9",)
    (root / "labels.csv").write_bytes(b"file,label\n1.png,\xff\n")
    with pytest.raises(DataError, match=r"labels\.csv: not a CSV in UTF-8: .*; save it as one"):
        load_folder(root)
    monkeypatch.setattr("lenscope.data.folders.labels.MAX_BYTES", 3)
    with pytest.raises(DataError, match=r"labels\.csv: more than 3 bytes"):
        load_folder(root)


def test_a_picture_of_a_table_that_is_a_link_out_of_the_folder_is_a_defect(tmp_path: Path) -> None:
    root = build(tmp_path / "data", "1.png labels.csv=file,label;1.png,a;2.png,a")
    (tmp_path / "2.png").write_bytes(picture())
    (root / "2.png").symlink_to(tmp_path / "2.png")
    with pytest.raises(DataError, match=r"2\.png: a link that leaves the folder"):
        load_folder(root)
    (root / "labels.csv").rename(tmp_path / "labels.csv")
    (root / "labels.csv").symlink_to(tmp_path / "labels.csv")
    with pytest.raises(DataError, match=r"labels\.csv: a link that leaves the folder"):
        load_folder(root)


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    splits = load_folder(build(tmp_path / "data", "train/a/1.png train/b/1.png val/a/1.png test/1.png"))
    assert splits.notes == (
        "test has no class folders, so its pictures have no labels; it is ignored",
        "validation has no pictures of b; its accuracy is measured without them",
    )


@pytest.mark.parametrize("pack", [False, True])
def test_pictures_that_are_not_square_are_fitted_or_noted(
    pack: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    root = build(tmp_path / "data", "train/a/1.png train/a/2.png val/a/1.png")
    (root / "train/a/1.png").write_bytes(picture(np.zeros((6, 9), np.uint8)))
    for _ in range(2):  # the second time from the pack
        [note] = load_folder(root, pack=pack).notes
        assert note == (
            "1 of 3 pictures are not square, such as train/a/1.png (9×6), and are squeezed to a square; --fit pad or "
            "--fit crop keeps their shape"
        )
    cropped = load_folder(root, pack=pack, fit="crop")
    assert cropped.train.images.shape == (2, 1, 6, 6)
    assert cropped.notes == ()
    assert cropped.validation is not None
    assert cropped.resized(8).validation is not None
