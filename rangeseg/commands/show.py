"""`rangeseg show`: pictures of scans, photographs and perturbations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, add_trust, progress, values_of, whole
from rangeseg.commands.fields import add_fields, requested_fields, with_fields

if TYPE_CHECKING:
    from rangeseg.vis.explorer import Explorer

EXAMPLES = (
    "rangeseg show 000000.bin --png picture.png",
    "rangeseg show perturbation cutmix lasermix --png pictures data.root=/data/semantic_kitti",
)


MOST, MOST_ON_A_PAGE = 100, 5
"""Maximum number of scans in an animation or for Rerun, and on a page."""


def run(arguments: argparse.Namespace) -> None:
    """Draw range, label, prediction, error and bird's-eye view of a scan, or the same of a photograph."""
    from rangeseg.apps.show import show as work
    from rangeseg.apps.show_perturbation import show_perturbations

    first, *others = arguments.scan
    if first == "perturbation" and others:
        if not arguments.png:
            raise ValueError(
                "show perturbation writes PNG files. Give --png FILE, or a folder for several perturbations."
            )
        chosen = values_of(arguments, "config", "run", "seed", "overrides", "trust")
        for path in show_perturbations(others, arguments.png, **chosen):
            OUT.print(f"picture: {path}", soft_wrap=True)
        return
    if others:
        raise ValueError(
            f"show draws one scan at a time, or `show perturbation NAME`; got {len(arguments.scan)} words."
        )
    if not Path(first).exists():
        raise ValueError(f"{first}: no such file or folder. Give a scan, a folder of scans, a run or a dataset.")
    if arguments.overrides and not (arguments.run or is_run(Path(first))):
        raise ValueError(f"{arguments.overrides[0]}: changes the config of a run, but no run is given. Add --run RUN.")
    if not (arguments.png or arguments.video or arguments.html or arguments.rerun):
        from rangeseg.vis.window import require_display

        require_display()  # before the work, not after it
    if first_is_folder(first) or arguments.video or arguments.html or arguments.rerun:
        look(Path(first), arguments)
        return
    options = values_of(arguments, "labels", "run", "prediction", "dataset", "png", "overrides", "trust")
    work(Path(first), fields=requested_fields(arguments), **options)
    if arguments.png:
        OUT.print(f"picture: {arguments.png}", soft_wrap=True)


def first_is_folder(word: str) -> bool:
    """Whether the path is a folder or a checkpoint, so that several scans are shown."""
    return Path(word).is_dir() or word.endswith(".pt")


def is_run(path: Path) -> bool:
    """Whether the path is a run folder or a checkpoint."""
    return path.suffix == ".pt" or (path / "config.yaml").is_file()


def look(path: Path, arguments: argparse.Namespace) -> None:
    """Show the scans of a file, folder, run or dataset in a window, on a page or as an animation."""
    from rangeseg.vis.window import KEYS, show_window

    if arguments.png:
        raise ValueError(f"{path}: --png draws one scan; name its file, or leave --png out.")
    explorer = open_scans(path, arguments)
    if arguments.video:
        write_video(explorer, arguments.video, arguments.max_scans or MOST)
        return
    if arguments.html or arguments.rerun:
        from_afar(explorer, arguments, path.resolve().name)
        return
    OUT.print(KEYS)
    show_window(explorer, title=f"rangeseg: {path}")


def open_scans(path: Path, arguments: argparse.Namespace) -> Explorer:
    """The scans of a file, of a run, of a folder of scans, or of a dataset."""
    from rangeseg.apps.explore import explore_dataset, explore_file, explore_folder, explore_run

    given, own = {"predictions": arguments.prediction}, values_of(arguments, "overrides", "trust")
    scans = {"fields": requested_fields(arguments), "run": arguments.run, "dataset": arguments.dataset}
    if not first_is_folder(str(path)):
        if arguments.split:
            raise ValueError(f"{path}: --split is for a run or a dataset. Leave it out for a single scan.")
        return explore_file(path, labels=arguments.labels, prediction=arguments.prediction, **scans, **own)
    if arguments.labels:
        raise ValueError(f"{path}: --labels is for a single scan. Name its file, or leave --labels out.")
    if is_run(path):
        if arguments.run:
            raise ValueError(f"{path}: is a run itself. Leave --run out.")
        own["overrides"] = with_fields(arguments)
        return explore_run(path, split=arguments.split, **given, **own)
    if arguments.split is None and (arguments.run or holds_scans(path)):
        return explore_folder(path, **given, **scans, **own)
    if arguments.run:
        raise ValueError(
            f"{path}: --split with --run needs the run in place of the folder: rangeseg show RUN --split "
            f"{arguments.split} data.root={path}. Without --split, all scans of the folder are shown."
        )
    options = {"dataset": arguments.dataset, "split": arguments.split or "val", "fields": scans["fields"]}
    return explore_dataset(path, **options, **given)


def holds_scans(folder: Path) -> bool:
    """Whether a folder itself contains scans, not only its sub-folders."""
    from rangeseg.scan_io import READERS

    return any(child.name.endswith(tuple(READERS)) and child.is_file() for child in folder.iterdir())


def from_afar(explorer: Explorer, arguments: argparse.Namespace, title: str) -> None:
    """Write scans as a page, or send them to Rerun's viewer."""
    from rangeseg.vis.rerun import write_rerun
    from rangeseg.vis.web_page import write_page

    count = min(explorer.count, arguments.max_scans or (MOST_ON_A_PAGE if arguments.html else MOST))
    frames = list(progress(explorer.frames(count), "reading", count)) if arguments.html else None
    if arguments.html:
        write_page(arguments.html, frames or (), explorer.label_map, title)
        OUT.print(f"page: {arguments.html}", soft_wrap=True)
    if arguments.rerun:
        scans = frames or progress(explorer.frames(count), "logging", count)
        write_rerun(arguments.rerun, scans, explorer.label_map)
        OUT.print(f"{count} scans for Rerun: {arguments.rerun}", soft_wrap=True)
    explorer.close()


def write_video(explorer: Explorer, path: Path, most: int) -> None:
    """Write a sequence of scans, or a single rotating scan, in the colours of the predictions or labels."""
    from rangeseg.vis.animation import write_gif

    count = min(explorer.count, most)
    clouds = []
    for _ in progress(range(count), "drawing", count):
        clouds.append((explorer.frame.image.given.xyz, explorer.colors(explorer.coloring)))
        if len(clouds) < count:
            explorer.step(1)
    write_gif(path, clouds, turns=1 if count > 1 else 60)
    explorer.close()
    OUT.print(f"animation: {path}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "scan",
        nargs="+",
        help="a scan, a folder of scans, a run or a dataset; or the word perturbation, followed by names or configs",
    )
    parser.add_argument("--config", help="for a perturbation: the config whose data it is drawn on")
    parser.add_argument("--seed", type=int, default=0, help="for a perturbation: seed of the random numbers")
    parser.add_argument("--labels", type=Path, help="the label file; default: found by the official layout")
    add_fields(parser)
    parser.add_argument("--run", type=Path, help="predict with this run")
    parser.add_argument("--prediction", type=Path, help="a label file, or a folder of label files")
    parser.add_argument("--split", help="split of the run or dataset")
    parser.add_argument(
        "--dataset", default="semantic_kitti", help="the dataset whose classes and colours are used without a run"
    )
    parser.add_argument(
        "--video", type=Path, help="write an animation FILE.gif of several scans, or of one rotating scan"
    )
    parser.add_argument(
        "--html", type=Path, help="write a page FILE.html with points that you can rotate; it opens offline"
    )
    parser.add_argument("--rerun", metavar="FILE.rrd|connect", help="write a file for Rerun, or send to its viewer")
    parser.add_argument(
        "--max-scans", type=whole(), help=f"maximum number of scans; default: {MOST_ON_A_PAGE} on a page, else {MOST}"
    )
    parser.add_argument("--png", type=Path, help="write a picture instead of opening a window")
    add_trust(parser)
