"""`rangeseg split`: lists of labelled scans or photographs, drawn by seed and nested (1 % within 10 %).

Scans are drawn in the order of SHA-256(seed, name). This order uses no random generator, so it is the same for all
versions and machines. The order of two scans does not depend on the others. ``permutation`` is the exception: it draws
as the code of the CutMix paper does, to get the lists of published rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.catalog import DATASETS
from rangeseg.config.checks import SET_ELSEWHERE
from rangeseg.config.overrides import read_options
from rangeseg.data.lists import without_comment
from rangeseg.data.pickles import read_pickled_array
from rangeseg.files import read_whole, write_atomically
from rangeseg.labels import LabelMap
from rangeseg.registry import build
from rangeseg.resources import resource

FRACTIONS = (0.01, 0.1, 0.2, 0.5)
"""The shares of labelled scans that semi-supervised LiDAR papers report."""

BLOCK_FRAMES = 50
"""Number of frames in a block: 5 s at 10 Hz. With longer blocks, 1 % (191 scans) comes from fewer than four places;
with shorter blocks, more unlabelled scans are near-duplicates of labelled ones."""

FRAME_DIGITS = 6
"""Maximum length of a frame number. Longer ones are times, not counts: each frame would be a separate block."""

KINDS = {"frame": "uniform", "block": "blocks", "scene": "scenes", "permutation": "permuted"}
"""Value of `by` -> word in the name of the list."""


def draw_nested_lists(
    names: Sequence[str], fractions: Sequence[float] = FRACTIONS, seed: int = 0, by: str = "frame"
) -> dict[float, tuple[str, ...]]:
    """Draw the labelled scans of each fraction.

    Args:
        names: all scans, as ``SS/FFFFFF``, or all photographs.
        fractions: shares in (0, 1].
        seed: another seed draws other scans.
        by: ``frame`` draws scans one by one, uniformly over all sequences. ``block`` draws blocks of `BLOCK_FRAMES`
            successive frames of one sequence (k * BLOCK_FRAMES and following); the last block is cut when the count is
            reached, so that both kinds give equal counts. Few unlabelled scans are then neighbours of labelled ones.
            ``scene`` draws whole scenes; `names` are the names of scenes. Photographs are drawn one by one only.
            ``permutation`` takes the first names of `permuted`.

    Returns:
        fraction -> round(fraction * len(names)) names, at least one, sorted. Smaller lists are within larger ones.

    Raises:
        ValueError: a fraction outside (0, 1], an unknown `by`, names without blocks or scenes, or no names.
    """
    order = _drawing_order(names, seed, by, None)
    return {
        fraction: tuple(sorted(order[:size]))
        for fraction, size in zip(fractions, _sizes(len(names), fractions, ()), strict=True)
    }


def permuted(names: Sequence[str], seed: int) -> list[str]:
    """All names in the order of ``numpy.random.RandomState(seed).permutation``, whose stream NumPy guarantees.

    Args:
        names: in the order of the published lists: for Cityscapes and ISIC sorted, for VOC as in its list.
        seed: for the paper's rows of Cityscapes 12345, 23456, 34567, 45678 and 56789.

    Source:
        French et al., BMVC 2020, by its code: the first n of this order are labelled.
    """
    return [names[place] for place in np.random.RandomState(seed).permutation(len(names))]


def read_permutation(path: str | Path, size: int) -> NDArray[np.int64]:
    """Read a published order of a training list: the places 0..size-1, each once.

    Args:
        path: ``.npy``, ``.pkl`` of an array or a list, or text with one integer per line.
        size: number of names in the training list.

    Returns:
        (size,) int64.

    Raises:
        ValueError: the file cannot be read, or is not a permutation of that size.
    """
    try:
        if Path(path).suffix == ".npy":
            order = np.load(path, allow_pickle=False)
        elif Path(path).suffix in (".pkl", ".pickle"):
            order = read_pickled_array(Path(path))
        else:
            order = np.array([int(line) for line in Path(path).read_text(encoding="utf-8-sig").split()])
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: cannot be read ({error}); give .npy, .pkl, or text with one integer per line."
        ) from error
    if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(size)):
        raise ValueError(
            f"{path}: {order.dtype} of shape {order.shape} is not a permutation of 0 to {size - 1} for the {size} "
            "names of "
            "the training list; give the one that was drawn for this list."
        )
    return order.astype(np.int64)


def write_lists(
    out_dir: str | Path,
    *,
    fractions: Sequence[float] = FRACTIONS,
    counts: Sequence[int] = (),
    seed: int = 0,
    by: str = "frame",
    order: str | Path | None = None,
    dataset: str = "semantic_kitti",
    root: str | Path | None = None,
    options: Sequence[str] = (),
) -> list[Path]:
    """Draw the lists of a training split and write each as ``train_<percent>pct_<uniform|blocks|scenes>.txt``.

    With `by` scene, a list contains scenes or sequences, each of which stands for all its scans. With `by` permutation,
    the names are ``train_<percent>pct_seed<seed>.txt``, or have the name of the permutation's file in place of the
    seed. With `counts`, the count replaces ``<percent>pct``.

    Args:
        out_dir: the output folder.
        fractions: see `draw_nested_lists`.
        counts: number of names in each list, instead of `fractions`.
        seed: see `draw_nested_lists`.
        by: see `draw_nested_lists`.
        order: file of a published permutation, instead of `seed`; see `read_permutation`.
        dataset: name of the dataset in a config.
        root: folder of the dataset, to draw from its files; default: draw from the complete dataset, without files.
        options: ``key=value``, further arguments of the dataset. The values are YAML, as in overrides of a config.

    Returns:
        The files, in the order of `fractions` or `counts`.

    Raises:
        ValueError: as for `draw_nested_lists`, `read_permutation`, `official_names` and the dataset; a count is out of
            range; `options` are not readable as YAML, are given without `root`, or set the root or the split; or a
            file exists and lists other names.
    """
    if root is None and options:
        raise ValueError(f"--options {options[0]}: is not used without --root. Name the folder of the dataset.")
    if root is None:
        label_map = LabelMap.read(resource("datasets", dataset, "labels.yaml"))
        names = label_map.splits["train"] if by == "scene" else official_names(label_map, "train")
        what = "photographs" if label_map.sensor is None else "scans"
    else:
        source = build(
            DATASETS, {"name": dataset} | _options(options), "dataset", root=root, split="train", labels=False
        )
        label_map, what, names = source.label_map, f"{source.kind}s", tuple(map(source.name, range(len(source))))
        names = tuple(dict.fromkeys(name.rpartition("/")[0] for name in names)) if by == "scene" else names
    what = "scenes" if by == "scene" else what
    drawn = _drawing_order(names, seed, by, order)
    drawing = {"permutation": f"seed{seed}" if order is None else Path(order).stem}.get(by, KINDS[by])
    shares = [f"{n}" for n in counts] or [f"{100 * fraction:g}pct" for fraction in fractions]
    given = f"--counts {_words(counts)}" if counts else f"--fractions {_words(fractions)}"
    drawn_by = f"--seed {seed}" if order is None else f"--order {order}"
    command = f"rangeseg split --out OUT --by {by} {given} {drawn_by} --dataset {dataset}{_of_folder(root, options)}"
    lists = {}
    for share, size in zip(shares, _sizes(len(names), fractions, counts), strict=True):
        header = f"# {label_map.dataset}: {size} of {len(names)} training {what}, labelled.\n# {command}\n"
        lists[Path(out_dir) / f"train_{share}_{drawing}.txt"] = header + "\n".join(sorted(drawn[:size])) + "\n"
    _refuse_other_lists(lists)
    for path, text in lists.items():
        write_atomically(path, text.encode())
    return [*lists]


def _of_folder(root: str | Path | None, options: Sequence[str]) -> str:
    """The end of a command that draws from the files of a dataset; empty without files."""
    words = [] if root is None else ["--root", str(root), *(["--options", *options] if options else [])]
    return "".join(f" {quote(word)}" for word in words)


def _refuse_other_lists(lists: Mapping[Path, str]) -> None:
    """Refuse to replace a list by other names; comments may differ."""
    for path, text in lists.items():
        if path.is_file() and _listed(read_whole(path).decode("utf-8-sig", errors="replace")) != _listed(text):
            raise ValueError(
                f"{path}: exists and lists other names, for example of another seed. Choose another --out, or remove "
                "this file."
            )


def _listed(text: str) -> list[str]:
    return [name for line in text.splitlines() if (name := without_comment(line))]


def _drawing_order(names: Sequence[str], seed: int, by: str, order: str | Path | None) -> list[str]:
    """All names, in the order in which they are drawn."""
    if by not in KINDS:
        raise ValueError(f"by={by!r} is unknown; draw labelled lists by frame, block, scene or permutation.")
    if order is not None and by != "permutation":
        raise ValueError(f"--order {order} needs --by permutation, not --by {by}.")
    if not names:
        raise ValueError("No scans to draw from; give their names.")
    if order is not None:
        return [names[place] for place in read_permutation(order, len(names))]
    if by == "permutation":
        return permuted(names, seed)
    if by == "scene" and not all(names):
        raise ValueError("These scans have no scenes, because their names contain no /; draw by frame.")
    key: Callable[[str, int], bytes] = _block_key if by == "block" else _frame_key
    return sorted(names, key=lambda name: (key(name, seed), name))


def _sizes(total: int, fractions: Sequence[float], counts: Sequence[int]) -> list[int]:
    if outside := [count for count in counts if not 0 < count <= total]:
        raise ValueError(f"Counts {outside} are out of range; there are {total} names, so give 1 to {total}.")
    if outside_share := [fraction for fraction in fractions if not 0 < fraction <= 1]:
        raise ValueError(f"Fractions {outside_share} are not in (0, 1]; 0.1 is 10 %.")
    return list(counts) or [max(1, round(fraction * total)) for fraction in fractions]


def _options(words: Sequence[str]) -> dict[str, Any]:
    found = read_options(words)
    if taken := sorted({*found} & {*SET_ELSEWHERE}):
        raise ValueError(
            f"--options {taken[0]}: cannot be set. Lists are drawn from the whole training split of the folder --root."
        )
    return found


def _words(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)


def official_names(label_map: LabelMap, split: str) -> tuple[str, ...]:
    """The name of every scan of a split of the complete dataset.

    Raises:
        ValueError: the numbers of scans are unknown.
    """
    if not label_map.scan_counts:
        raise ValueError(f"{label_map.dataset} has no scan_counts, so its names are unknown; give the dataset's root.")
    if unknown := [sequence for sequence in label_map.splits[split] if sequence not in label_map.scan_counts]:
        raise ValueError(
            f"{label_map.dataset}: scan_counts has no {', '.join(unknown)}, so the names of these scans are unknown; "
            "give the dataset's root."
        )
    return tuple(
        f"{sequence}/{frame:06d}"
        for sequence in label_map.splits[split]
        for frame in range(label_map.scan_counts[sequence])
    )


def _frame_key(name: str, seed: int) -> bytes:
    return sha256(f"{seed}:{name}".encode()).digest()


def _block_key(name: str, seed: int) -> bytes:
    sequence, _, frame = name.rpartition("/")
    if not (sequence and frame.isdecimal() and len(frame) <= FRAME_DIGITS):
        raise ValueError(f"{name} is not a scan of a sequence; draw by frame or by scene.")
    return sha256(f"{seed}:{sequence}:{int(frame) // BLOCK_FRAMES}".encode()).digest()
