"""`rangeseg weights`: trained networks by name."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangeseg.commands.console import OUT, add_trust, table

if TYPE_CHECKING:
    from rangeseg.config import Config

NO_LABELS = "none"
"""Value of `data.carried` without carried labels."""

REPLACED = ("data.root", "runtime.out")
"""Keys whose values were replaced in the config of a card."""

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
    from rangeseg.weights import SUFFIX, pack

    if not (arguments.name and arguments.facts and arguments.out):
        raise ValueError("--pack also needs --name, --facts and --out.")
    try:
        facts = json.loads(read_whole(arguments.facts).decode())
    except ValueError as error:
        raise ValueError(f"{arguments.facts}: cannot be read as JSON ({error}). Repair the file.") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{arguments.facts}: is not a JSON object of facts. Give a summary, data and so on by name.")
    # the stored config must not contain folders of this machine
    overrides = ["data.root=data", "data.labelled_from=[]", "data.unlabelled_from=[]", "data.labelled=all"]
    overrides += ["data.unlabelled=all", "runtime.initialise_from=null", f"runtime.out=runs/{arguments.name}"]
    run = Run.load(arguments.pack, device="cpu", overrides=[*overrides, *arguments.overrides], trust=arguments.trust)
    config, data = run.config, run.config.data
    config = replace(config, data=replace(data, carried=data.carried if data.carried == NO_LABELS else "carried"))
    known: dict[str, Any] = {"config": write_config(config), **stored_classes(run.label_map)}
    known |= {"statistics": run.statistics, "temperature": run.temperature}
    made = pack(arguments.name, run.network.state_dict(), arguments.out, known | facts, half=not arguments.single)
    OUT.print(f"{made.card.name}: {made.folder / made.card.weights} and its card", soft_wrap=True)
    _tell_of_places(made.folder / f"{made.card.name}{SUFFIX}", config)


def _tell_of_places(card: Path, config: Config) -> None:
    """Give a notice of each file or folder of this machine that the stored config names."""
    from rangeseg.engine.run_logger import flatten
    from rangeseg.notices import notify

    for key, value in flatten(asdict(config)).items():
        if key not in REPLACED and isinstance(value, str) and (Path(value).is_absolute() or Path(value).is_file()):
            notify(f"{card}: its config names {key}={value}, which others do not have. Pack again with {key}=VALUE.")


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
