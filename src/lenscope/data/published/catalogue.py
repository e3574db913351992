"""The data sets that are known by name: files, sources, hashes, licences and citations.

Sources of the hashes. MNIST: computed from the bundled copy (compressed again) and, for the mirrors' files, recorded by
TensorFlow Datasets. Fashion-MNIST: the content computed from Debian's package dataset-fashion-mnist, whose MD5s are
those that others publish for the uncompressed files; the compressed files recorded by TensorFlow Datasets. KMNIST and
EMNIST's archive: recorded by TensorFlow Datasets. QMNIST: the MD5s in its authors' loader in torchvision. CIFAR-10's
archive: recorded by TensorFlow Datasets; others state this SHA-256 together with the MD5 on its site,
c32a1d4ab5d03f1284b67883e8d87530. SVHN: recorded by TensorFlow Datasets and torchvision.
"""

from __future__ import annotations

import string
from dataclasses import replace
from functools import partial
from pathlib import Path

from lenscope.data.formats.cifar import read_cifar
from lenscope.data.formats.coloured import read_coloured
from lenscope.data.formats.idx_reader import read_idx_files
from lenscope.data.formats.svhn import read_svhn
from lenscope.data.published.entry import DataFile, Entry
from lenscope.errors import unknown_name

BUNDLED = Path(__file__).parents[1] / "bundled"


def find_entry(name: str) -> Entry:
    """The catalogue's entry of this name, in any case; raises UsageError with the closest known name."""
    try:
        return CATALOGUE[name.lower()]
    except KeyError:
        raise unknown_name("data set", name, CATALOGUE) from None


_DIGITS = tuple(string.digits)


def _file(name: str, *packed: str, content: str = "") -> DataFile:
    """A file from the hexadecimal hashes of its compressed forms and its content; 32 digits are MD5, 64 are SHA-256."""
    hashes = tuple(f"{'md5' if len(known) == 32 else 'sha256'}:{known}" for known in packed)
    return DataFile(name, hashes, (f"sha256:{content}",) if content else ())


def _plain(name: str, content: str) -> DataFile:
    """A file that is read as published, from its SHA-256."""
    return DataFile(name, content=(f"sha256:{content}",), gzipped=False)


def _four_files(*packed: tuple[str, ...], contents: tuple[str, ...] = ("",) * 4) -> tuple[DataFile, ...]:
    """Files with MNIST's names, from the hashes of their compressed forms and of their contents."""
    names = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return tuple(_file(name, *known, content=own) for name, known, own in zip(names, packed, contents, strict=True))


_MNIST = Entry(
    name="mnist",
    title="MNIST",
    read=read_idx_files,
    files=_four_files(
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
        ),
        (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
        ),
        (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
        ),
        (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
        ),
        contents=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    classes=_DIGITS,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    home="http://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, "
    "Proceedings of the IEEE 86(11), 2278–2324, 1998",
    torchvision="MNIST",
    bundled=True,
)

_COLOURED = replace(
    _MNIST,
    name="coloured-mnist",
    title="Coloured MNIST",
    read=read_coloured,
    licence="CC BY-SA 3.0 (derived from MNIST)",
    citation=f"made by Lenscope, each digit tinted and on coloured noise, from MNIST: {_MNIST.citation}",
)

_FASHION = Entry(
    name="fashion-mnist",
    title="Fashion-MNIST",
    read=read_idx_files,
    files=_four_files(
        ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",),
        ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",),
        ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",),
        ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",),
        contents=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    home="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine "
    "learning algorithms, arXiv:1708.07747, 2017",
    torchvision="FashionMNIST",
    system_folders=(Path("/usr/share/datasets/fashion-mnist"),),
)

_KMNIST = Entry(
    name="kmnist",
    title="Kuzushiji-MNIST",
    read=read_idx_files,
    files=_four_files(
        ("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",),
        ("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",),
        ("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",),
        ("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",),
    ),
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    mirrors=("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    home="https://github.com/rois-codh/kmnist",
    licence="CC BY-SA 4.0",
    citation="T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto and D. Ha, Deep learning for classical "
    'Japanese literature, arXiv:1812.01718, 2018; "KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" '
    "(created by NIJL and others), doi:10.20676/00000341",
    torchvision="KMNIST",
)

# Its test split is all 60,000 test digits; labels are rows of eight numbers, and column 0 is the class.
_QMNIST = Entry(
    name="qmnist",
    title="QMNIST",
    read=read_idx_files,
    files=(
        _file("qmnist-train-images-idx3-ubyte.gz", "ed72d4157d28c017586c42bc6afe6370"),
        _file("qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
        _file("qmnist-test-images-idx3-ubyte.gz", "1394631089c404de565df7b7aeaf9412"),
        _file("qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
    ),
    classes=_DIGITS,
    mirrors=(
        "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
        "https://github.com/facebookresearch/qmnist/raw/master/",
    ),
    home="https://github.com/facebookresearch/qmnist",
    licence="BSD-3-Clause (its README's words: BSD-style)",
    citation="C. Yadav and L. Bottou, Cold case: the lost MNIST digits, NeurIPS 2019, arXiv:1905.10498",
    torchvision="QMNIST",
)

_EMNIST_ARCHIVE = _file("emnist-gzip.zip", "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e")
# For the other fifteen letters, upper and lower case look alike and are one class in these two sets.
_MERGED = (*_DIGITS, *string.ascii_uppercase, *"abdefghnqrt")
_EMNIST_CLASSES = {
    "byclass": (*_DIGITS, *string.ascii_uppercase, *string.ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(string.ascii_lowercase),
    "digits": _DIGITS,
    "mnist": _DIGITS,
}


def _emnist(split: str) -> Entry:
    """One of EMNIST's sets; NIST publishes all in one archive, letters numbered from 1, images transposed."""
    return Entry(
        name=f"emnist-{split}",
        title=f"EMNIST {split}",
        read=partial(read_idx_files, first_label=1 if split == "letters" else 0, transposed=True),
        files=tuple(
            _file(f"emnist-{split}-{part}-{kind}-ubyte.gz")
            for part in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ),
        classes=_EMNIST_CLASSES[split],
        mirrors=(
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
        ),
        home="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        licence="none stated; made from NIST Special Database 19, a work of the US government",
        citation="G. Cohen, S. Afshar, J. Tapson and A. van Schaik, EMNIST: an extension of MNIST to handwritten "
        "letters, arXiv:1702.05373, 2017",
        torchvision="EMNIST",
        archive=_EMNIST_ARCHIVE,
    )


_CIFAR10 = Entry(
    name="cifar-10",
    title="CIFAR-10",
    read=read_cifar,
    files=(_plain("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    home="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated",
    citation="A. Krizhevsky, Learning multiple layers of features from tiny images, technical report, University of "
    "Toronto, 2009",
)

_SVHN = Entry(
    name="svhn",
    title="Street View House Numbers, cropped digits",
    read=read_svhn,
    files=(
        _plain("train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        _plain("test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    ),
    classes=_DIGITS,
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),  # without https; docs/decisions.md says why that is safe
    home="http://ufldl.stanford.edu/housenumbers/",
    licence="non-commercial use only (its page's words)",
    citation="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, Reading digits in natural images with "
    "unsupervised feature learning, NIPS Workshop on Deep Learning and Unsupervised Feature Learning, 2011",
)

_EMNIST = tuple(_emnist(split) for split in _EMNIST_CLASSES)
CATALOGUE = {entry.name: entry for entry in (_MNIST, _COLOURED, _FASHION, _KMNIST, _QMNIST, *_EMNIST, _CIFAR10, _SVHN)}
