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
    names = ("labels", "run", "prediction", "dataset", "png", "overrides")
    work(Path(first), **{name: getattr(arguments, name) for name in names})
    if arguments.png:
        OUT.print(f"picture: {arguments.png}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("scan", nargs="+", help="a file; or the word perturbation, then names or configs to draw")
    parser.add_argument("--config", type=Path, help="of a perturbation: whose data it is drawn on")
    parser.add_argument("--seed", type=int, default=0, help="of a perturbation's drawing")
    parser.add_argument("--labels", type=Path, help="its label file; a scan's is found in the official layout")
    parser.add_argument("--run", type=Path, help="predict with this run")
    parser.add_argument("--prediction", type=Path, help="draw this label file as the prediction")
    parser.add_argument("--dataset", default="semantic_kitti", help="whose classes and colours, where no run tells")
    parser.add_argument("--png", type=Path, help="write a picture instead of opening a window")
