"""Datasets whose files are found by glob patterns.

``*`` matches any name and ``**`` any folders. The name of a sample is the part of its path from the first to the last
star, without suffix; ``?`` and ``[0-9]`` count as stars. ``{split}`` is replaced by each folder of a split, and
``{name}`` in the pattern of the labels by the name. If a split has several folders, the names in lists and reports
begin with the folder. Links to folders are followed.

No file may be in two splits, unless the name of one split contains that of the other, as mini_train and train.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rangeseg.data.file_pairs import FilePairs, Pair
from rangeseg.labels import LabelMap, read_splits
from rangeseg.notices import notify
from rangeseg.paths import inside
from rangeseg.resources import resource

WILD = re.compile(r"[*?]|\[!?.[^]]*\]")
"""Stars and what counts as one."""


@dataclass(frozen=True)
class Patterns:
    """Patterns for the paths of scans or photographs and of their labels.

    Args:
        files: pattern of the scans' or photographs' files.
        labels: pattern of their labels' files.
        key: key of the first pattern in a config, for errors.
        example: an example of each pattern, for errors.

    Raises:
        ValueError: `files` has no star, is absolute or has ``**`` within a name, or `labels` has no ``{name}``.
    """

    files: str
    labels: str
    key: str
    example: tuple[str, str]

    def __post_init__(self) -> None:
        one, other = self.example
        if "*" not in self.files or "{name}" not in self.labels:
            raise ValueError(
                f"{self.key} is {self.files!r} and label_{self.key} {self.labels!r}; give patterns like {one!r} and "
                f"{other!r}."
            )
        if Path(self.files).is_absolute() or any("**" in part and part != "**" for part in self.files.split("/")):
            raise ValueError(
                f"{self.key} is {self.files!r}; give a pattern relative to the root like {one!r}, in which ** is only "
                "used alone between slashes."
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
            ValueError: the split shares a file with another one or has it twice, also through links, the pattern is the
                same for several splits, two files have the same name, or a folder of a split is not inside `root`.
        """
        if "{split}" not in self.files and len(splits) > 1:
            raise ValueError(
                f"{self.key}: {self.files!r} is the same for splits {', '.join(splits)}, so they would share all "
                f"{kind}s. Use {{split}} in it, or name one split in the YAML of the classes."
            )
        own: dict[str, Path] = {}
        pairs = []
        for part in splits[split]:
            for pair, real in self._part(root, part, suffixes, prefixed=len(splits[split]) > 1):
                if real in own:
                    raise ValueError(
                        f"{root}: split {split} has the same {kind} twice, as {own[real]} and as {pair.file}. Name its "
                        "folder once, or remove the link."
                    )
                own[real] = pair.file
                pairs.append(pair)
        counts = Counter(pair.name for pair in pairs)
        if twice := sorted(name for name in counts if counts[name] > 1):
            raise ValueError(f"{root}: several {kind}s have the name {', '.join(twice[:5])}; keep one of each.")
        for other in (name for name in splits if name not in split and split not in name):
            files = (found for part in splits[other] for found in self._files(root, part, suffixes))
            if shared := next((own[real] for _, _, real in files if real in own), None):
                raise ValueError(
                    f"{root}: splits {split} and {other} share {kind}s, for example {shared}. Put each {kind} into one "
                    "split only."
                )
        return sorted(pairs, key=lambda pair: pair.name)

    def _part(self, root: Path, part: str, suffixes: tuple[str, ...], *, prefixed: bool) -> Iterator[tuple[Pair, str]]:
        """The files of a folder of a split, and the real path of each."""
        pattern, part = self._pattern(part), Path(part).as_posix()
        stars = list(WILD.finditer(pattern))
        head, tail = stars[0].start(), pattern[stars[-1].end() :]
        for place, suffix, real in self._files(root, part, suffixes):
            name = place[head : len(place) - len(tail if "." in tail else suffix)]
            label = self.labels.replace("{split}", part).replace("{name}", name)
            yield Pair(f"{part}/{name}" if prefixed else name, root / place, root / label), real

    def _pattern(self, part: str) -> str:
        """The pattern for a folder of a split, without ``./`` and superfluous slashes, as in the paths of files."""
        return Path(self.files.replace("{split}", Path(part).as_posix())).as_posix()

    def _files(self, root: Path, part: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        """The path in `root`, the suffix and the real path of each file in a folder of a split."""
        inside(root, Path(part, "file"))
        for place, real in dict(_glob(root, self._pattern(part).split("/"))).items():
            if suffix := next((end for end in suffixes if place.lower().endswith(end)), None):
                yield place, suffix, real


def _glob(root: Path, parts: Sequence[str], place: str = "", way: str = "") -> Iterator[tuple[str, str]]:
    """The path in `root` and the real path of each file that a pattern finds.

    Links to folders are followed, except by ``**`` to a folder on the way or its parents, which would never end.

    Args:
        root: the folder that the pattern starts from.
        parts: the pattern from here on.
        place: path in `root` of the folder to search; ends in a slash.
        way: real paths of the folders on the way of the same ``**``, each after a NUL and with a slash at its end.
    """
    first, rest, folder = parts[0], parts[1:], root / place
    if first == "**":
        yield from _glob(root, rest or ["*"], place)
    elif not WILD.search(first):
        if rest:
            yield from _glob(root, rest, f"{place}{first}/")
        elif os.path.lexists(folder / first) and not (folder / first).is_dir():
            yield f"{place}{first}", os.path.realpath(folder / first)
        return
    real = os.path.realpath(folder)
    way = f"{way}\0{real}{os.sep}"
    for entry in _entries(folder):
        if first == "**":
            if entry.is_dir() and f"\0{os.path.realpath(entry.path)}{os.sep}" not in way:
                yield from _glob(root, parts, f"{place}{entry.name}/", way)
        elif fnmatch(entry.name, first) and entry.is_dir() == bool(rest):
            if rest:
                yield from _glob(root, rest, f"{place}{entry.name}/")
            else:
                whole = os.path.realpath(entry.path) if entry.is_symlink() else f"{real}{os.sep}{entry.name}"
                yield f"{place}{entry.name}", whole


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The content of a folder; nothing if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        notify(f"{folder}: {error.strerror}; what is in it is left out. Make it readable, or leave it out of the root.")
        return []


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
        if not splits:
            raise ValueError("splits is empty; give lists of folders, for example {train: [a, b], val: [c]}.")
        return replace(label_map, splits=read_splits(splits))
