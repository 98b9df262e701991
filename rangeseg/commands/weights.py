"""`rangeseg weights`: trained networks by name."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rangeseg.commands.console import OUT, add_trust, table

EXAMPLES = (
    "rangeseg weights",
    "rangeseg weights --pack runs/kitti --name kitti --facts facts.json --out weights",
)


def run(arguments: argparse.Namespace) -> None:
    """List the shipped weights, show the card of some weights, or pack a run as weights with a card."""
    from rangeseg.weights import find_weights, no_such, shipped

    if arguments.pack:
        _pack(arguments)
        return
    if arguments.weights:
        found = find_weights(arguments.weights)
        if found is None:
            raise ValueError(no_such(arguments.weights))
        card, rows = found.card, table("", found.card.name)
        for key in ("summary", "data", "sensors", "scores", "limits", "licence", "made_by", "classes"):
            value = getattr(card, key)
            rows.add_row(key, value if isinstance(value, str) else json.dumps(value, indent=1))
        OUT.print(rows)
        return
    rows = table("name", "summary", "MB", "licence", title="rangeseg predict NAME SCAN, Segmenter.load(NAME)")
    for name, one in shipped().items():
        size = (one.folder / one.card.weights).stat().st_size / 1e6
        rows.add_row(name, one.card.summary, f"{size:.1f}", one.card.licence)
    OUT.print(rows)


def _pack(arguments: argparse.Namespace) -> None:
    from rangeseg.config import write_config
    from rangeseg.engine.checkpoint import stored_classes
    from rangeseg.files import read_whole
    from rangeseg.inference.run import Run
    from rangeseg.weights import pack

    if not (arguments.name and arguments.facts and arguments.out):
        raise ValueError("--pack also needs --name, --facts and --out.")
    try:
        facts = json.loads(read_whole(arguments.facts).decode())
    except ValueError as error:
        raise ValueError(f"{arguments.facts}: cannot be read as JSON ({error}). Repair the file.") from error
    # the stored config must not contain folders of this machine
    overrides = ["data.root=data", "data.labelled_from=[]", "data.unlabelled_from=[]", "data.labelled=all"]
    overrides += ["data.unlabelled=all", "runtime.initialise_from=null", f"runtime.out=runs/{arguments.name}"]
    run = Run.load(arguments.pack, device="cpu", overrides=[*overrides, *arguments.overrides], trust=arguments.trust)
    known: dict[str, Any] = {"config": write_config(run.config), **stored_classes(run.label_map)}
    known |= {"statistics": run.statistics, "temperature": run.temperature}
    made = pack(arguments.name, run.network.state_dict(), arguments.out, known | facts, half=not arguments.single)
    OUT.print(f"{made.card.name}: {made.folder / made.card.weights} and its card", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "weights", nargs="?", help="show the card of these weights: a name, folder, URL or hub:OWNER/REPOSITORY"
    )
    parser.add_argument("--pack", type=Path, metavar="RUN", help="write the weights of a run folder or checkpoint")
    parser.add_argument("--name", help="name of the packed weights")
    parser.add_argument(
        "--facts", type=Path, help="JSON file with summary, data, licence, sensors, scores, limits and made_by"
    )
    parser.add_argument("--out", type=Path, help="output folder for the packed weights")
    parser.add_argument("--single", action="store_true", help="write float32 weights instead of float16")
    add_trust(parser)
