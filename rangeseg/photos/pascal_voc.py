"""Pascal VOC 2012 in its official layout, with the annotations of SBD if they are unpacked.

root/VOCdevkit/VOC2012/JPEGImages/NAME.jpg              root may also be VOCdevkit/ or VOC2012/ itself
                       SegmentationClass/NAME.png       labels: palette or grey, raw ids 0..20, 255 is void
                       SegmentationClassAug/NAME.png    SBD's labels in the same ids
                       ImageSets/Segmentation/SPLIT.txt the names of a split, one a line
                       ImageSets/SegmentationAug/       may hold train_aug.txt instead, as in the CutMix paper's code

The name of a photograph is ``NAME``, e.g. ``2007_000032``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from rangeseg.data.lists import without_comment
from rangeseg.paths import inside
from rangeseg.photos.pairs import Pair, PhotoPairs

HIDDEN_SPLIT = "test"
"""The split whose labels are not public."""
AUGMENTED = "train_aug"
"""Name of the list of the augmented training split if `train_list` is None."""
LISTS = ("ImageSets/Segmentation", "ImageSets/SegmentationAug")
"""Folders of lists: VOC's own, and that of augmented lists in the CutMix paper's code."""


class PascalVOC(PhotoPairs):
    """The photographs of one split, in the order of its list, which published permutations require.

    Args:
        root: the dataset's folder.
        split: train, val or test.
        train_list: the list of split train: a name in one of `LISTS`, or a file. Lines may also name the two files, as
            ``/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png``. Default: `AUGMENTED` (10,582 names) if this list
            and SegmentationClassAug exist, ``train`` (1,464) if neither does.
        subset: only these photographs: their names, or a list file of them.
        labels: read labels. With False, no label file is needed or opened.

    Raises:
        ValueError: a folder, list or photograph does not exist, or only one of the augmented list and its labels
            exists.
    """

    folder: ClassVar[str] = "pascal_voc"
    palette: ClassVar[bool] = True

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        train_list: str | None = None,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
    ) -> None:
        self._train_list = train_list
        super().__init__(root, split, subset=subset, labels=labels)

    def find(self, root: Path, split: str) -> Sequence[Pair]:
        """The files of a split; labels are SBD's if the list is augmented and SBD has that label, else VOC's.

        Raises:
            ValueError: JPEGImages or the split's list does not exist, or the list names a photograph twice.
        """
        home = find_home(root, "VOC2012")
        names, augmented = self._names(home, split)
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"{home}: the list of split {split} names {', '.join(twice[:5])} twice; keep one of each.")
        folder = home / "SegmentationClassAug"
        in_aug = {path.name for path in folder.iterdir()} if augmented and folder.is_dir() else set()
        pairs = []
        for name in names:
            label = (folder if f"{name}.png" in in_aug else home / "SegmentationClass") / f"{name}.png"
            pairs.append(Pair(name, home / "JPEGImages" / f"{name}.jpg", None if split == HIDDEN_SPLIT else label))
        return pairs

    def _names(self, home: Path, split: str) -> tuple[list[str], bool]:
        """The names of a split, and whether its list is augmented, so that SBD's labels are used."""
        if split != "train":
            return read_split_list(_list(home, split)), False
        if self._train_list is not None:
            named = Path(self._train_list)
            path = named if named.is_file() else _list(home, self._train_list.removesuffix(".txt"))
            official = home / LISTS[0] / "train.txt"
            return read_split_list(path), not (official.is_file() and path.samefile(official))
        labels, named = home / "SegmentationClassAug", _list(home, AUGMENTED)
        if labels.is_dir() != named.is_file():
            missing = f"its list {AUGMENTED}.txt in {' or '.join(LISTS)}" if labels.is_dir() else labels.name
            raise ValueError(
                f"{home}: has {'SegmentationClassAug' if labels.is_dir() else named.name}, but not {missing}; see "
                "datasets/pascal_voc/README.md for both. Without SBD's labels: data.dataset.train_list=train."
            )
        return read_split_list(named if labels.is_dir() else _list(home, "train")), labels.is_dir()


def _list(home: Path, name: str) -> Path:
    """The file of a list; if no folder of `LISTS` has it, its path in VOC's own folder."""
    paths = [home / folder / f"{name}.txt" for folder in LISTS]
    return next((path for path in paths if path.is_file()), paths[0])


def find_home(root: Path, edition: str) -> Path:
    """The folder of an edition of VOC, e.g. VOC2012: in `VOCdevkit/`, in `root`, or `root` itself.

    Raises:
        ValueError: none of them holds JPEGImages.
    """
    candidates = (root / "VOCdevkit" / edition, root / edition, root)
    for home in candidates:
        if (home / "JPEGImages").is_dir():
            return home
    looked_in = ", ".join(str(home) for home in candidates)
    raise ValueError(f"{root}: no JPEGImages in {looked_in}; give the folder that holds VOCdevkit/.")


def read_split_list(path: Path) -> list[str]:
    """Read a list: each line is a name, or the paths of a photograph and its label. Comments as in `read_names`.

    Raises:
        ValueError: the file cannot be read, or a name is not valid as a file name.
    """
    try:
        lines = [without_comment(line) for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        lists = ", ".join(sorted(other.name for other in path.parent.glob("*.txt"))) or "no list"
        raise ValueError(f"{path}: cannot be read ({error}). {path.parent} has {lists}; unpack VOC's lists.") from error
    names = [Path(line.split()[0]).stem for line in lines if line]
    for name in names:
        inside(path.parent, f"{name}.jpg")
    return names
