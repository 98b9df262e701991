"""Pictures of scans, photographs and perturbations."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT


def run(arguments: argparse.Namespace) -> None:
    """Draw a scan: range, label, prediction, error, and from above; or a photograph with the same."""
    from rangeseg.engine.show import show as work
    from rangeseg.engine.show_perturbation import show_perturbations

    first, *others = arguments.scan
    if first == "perturbation" and others:
        if not arguments.png:
            raise ValueError("Perturbations are drawn to files: give --png FILE, or with several of them a folder.")
        chosen = {name: getattr(arguments, name) for name in ("config", "run", "seed", "overrides")}
        for path in show_perturbations(others, arguments.png, **chosen):
            OUT.print(f"picture: {path}", soft_wrap=True)
        return
    if others:
        raise ValueError(
            f"show draws one scan at a time, or `show perturbation NAME`; got {len(arguments.scan)} words."
        )
    if first_is_folder(first):
        window(Path(first), arguments)
        return
    names = ("labels", "run", "prediction", "dataset", "png", "overrides")
    work(Path(first), **{name: getattr(arguments, name) for name in names})
    if arguments.png:
        OUT.print(f"picture: {arguments.png}", soft_wrap=True)


def first_is_folder(word: str) -> bool:
    """A run, a checkpoint or a dataset, whose scans are looked at one after the other."""
    return Path(word).is_dir() or word.endswith(".pt")


def window(path: Path, arguments: argparse.Namespace) -> None:
    """Look at the scans of a run's split, or of a dataset's, in a window."""
    from rangeseg.engine.explore import explore_dataset, explore_run
    from rangeseg.vis.window import KEYS, show_window

    if arguments.png:
        raise ValueError(f"{path}: --png draws one scan; name its file, or leave --png out for the window.")
    if path.is_file() or (path / "config.yaml").is_file():
        explorer = explore_run(
            path, split=arguments.split, predictions=arguments.prediction, overrides=arguments.overrides
        )
    else:
        chosen = {"dataset": arguments.dataset, "split": arguments.split or "val"}
        explorer = explore_dataset(path, predictions=arguments.prediction, **chosen)
    OUT.print(KEYS)
    show_window(explorer, title=f"rangeseg: {path}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument(
        "scan",
        nargs="+",
        help="a file, a run or a dataset's folder; or the word perturbation, then names or configs to draw",
    )
    parser.add_argument("--config", type=Path, help="of a perturbation: whose data it is drawn on")
    parser.add_argument("--seed", type=int, default=0, help="of a perturbation's drawing")
    parser.add_argument("--labels", type=Path, help="its label file; a scan's is found in the official layout")
    parser.add_argument("--run", type=Path, help="predict with this run")
    parser.add_argument("--prediction", type=Path, help="a label file, or of a folder's scans a folder of them")
    parser.add_argument("--split", help="of a run or a dataset that is looked at")
    parser.add_argument("--dataset", default="semantic_kitti", help="whose classes and colours, where no run tells")
    parser.add_argument("--png", type=Path, help="write a picture instead of opening a window")
