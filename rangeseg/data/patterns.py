"""Datasets whose files are found by glob patterns.

``*`` matches any name and ``**`` any folders. The name of a sample is the part of its path from the first to the last
star, without suffix. ``{split}`` is replaced by each folder of a split, and ``{name}`` in the pattern of the labels by
the name. If a split has several folders, the names in lists and reports begin with the folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rangeseg.data.file_pairs import FilePairs, Pair
from rangeseg.files import inside
from rangeseg.labels import LabelMap
from rangeseg.resources import resource


@dataclass(frozen=True)
class Patterns:
    """Patterns for the paths of scans or photographs and of their labels.

    Args:
        files: pattern of the scans' or photographs' files.
        labels: pattern of their labels' files.
        key: key of the first pattern in a config, for errors.
        example: an example of each pattern, for errors.

    Raises:
        ValueError: `files` has no star, or `labels` has no ``{name}``.
    """

    files: str
    labels: str
    key: str
    example: tuple[str, str]

    def __post_init__(self) -> None:
        if "*" not in self.files or "{name}" not in self.labels:
            one, other = self.example
            raise ValueError(
                f"{self.key} is {self.files!r} and label_{self.key} {self.labels!r}; give patterns like {one!r} and "
                f"{other!r}."
            )

    def find(
        self, root: Path, split: str, splits: Mapping[str, Sequence[str]], suffixes: tuple[str, ...], kind: str
    ) -> list[Pair]:
        """The files of a split, in the order of their names.

        Args:
            root: the folder that the patterns start from.
            split: name of the split.
            splits: split -> its folders.
            suffixes: suffixes of the files to find, in lower case; files with others are skipped.
            kind: scan or photograph, for errors.

        Raises:
            ValueError: the pattern is the same for several splits, two files have the same name, or a folder of the
                split is not inside `root`.
        """
        if "{split}" not in self.files and len(splits) > 1:
            raise ValueError(
                f"{self.key}: {self.files!r} is the same for splits {', '.join(splits)}, so they would share all "
                f"{kind}s. Use {{split}} in it, or name one split in the YAML of the classes."
            )
        parts = splits[split]
        pairs = [pair for part in parts for pair in self._part(root, part, suffixes, prefixed=len(parts) > 1)]
        names = [pair.name for pair in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
            raise ValueError(f"{root}: several {kind}s have the name {', '.join(twice[:5])}; keep one of each.")
        return sorted(pairs, key=lambda pair: pair.name)

    def _part(self, root: Path, part: str, suffixes: tuple[str, ...], *, prefixed: bool) -> list[Pair]:
        inside(root, Path(part, "file"))
        pattern = self.files.replace("{split}", part)
        head, tail = pattern.index("*"), len(pattern) - 1 - pattern.rindex("*")
        pairs = []
        for file in root.glob(pattern):
            suffix = next((end for end in suffixes if file.name.lower().endswith(end)), None)
            if suffix is None:
                continue
            place = file.relative_to(root).as_posix()
            name = place[head : len(place) - (tail or len(suffix))]
            label = self.labels.replace("{split}", part).replace("{name}", name)
            pairs.append(Pair(f"{part}/{name}" if prefixed else name, file, root / label))
        return pairs


class OwnClasses(FilePairs):
    """Base class for a user's folder, with classes from a YAML, and splits from that YAML or the config.

    Subclasses set `_classes` and `_splits` before they call the constructor.
    """

    _classes: str
    _splits: Mapping[str, Sequence[str]] | None

    def classes_by(self) -> dict[str, Any]:
        """`classes` and `splits`."""
        return {"classes": self._classes, "splits": self._splits}

    @classmethod
    def read_label_map(cls, classes: str | None = None, splits: Mapping[str, Sequence[str]] | None = None) -> LabelMap:
        """The classes.

        Args:
            classes: a YAML like `datasets/camvid/labels.yaml`, or the name of a shipped dataset with the same classes.
            splits: split -> its folders; replaces the splits of the YAML.

        Raises:
            ValueError: no classes are given, they cannot be read, or the splits are not lists of names.
        """
        if classes is None:
            raise ValueError(f"{cls.folder} has no built-in classes; set classes to the path of a labels.yaml.")
        shipped = resource("datasets") / classes / "labels.yaml"
        label_map = LabelMap.read(shipped if shipped.is_file() else classes)
        if splits is None:
            return label_map
        if not splits or not all(
            isinstance(parts, Sequence) and not isinstance(parts, str) for parts in splits.values()
        ):
            raise ValueError(f"splits is {splits!r}; give lists of folders, for example {{train: [a, b], val: [c]}}.")
        return replace(label_map, splits={name: tuple(map(str, parts)) for name, parts in splits.items()})
