"""`rangeseg benchmark-ssl`: semi-supervised methods, compared on reproducible synthetic streets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, progress, whole

if TYPE_CHECKING:
    from rangeseg.apps.benchmark_ssl import Cell
    from rangeseg.apps.ssl_results import Results
    from rangeseg.apps.ssl_streets import Streets

EXAMPLES = (
    "rangeseg benchmark-ssl --out runs/ssl --jobs 2",
    "rangeseg benchmark-ssl --out runs/ssl --cells supervised:1:0,cutmix:1:0 --results results/ssl/cells.json",
)


def run(arguments: argparse.Namespace) -> None:
    """Train semi-supervised methods on a fixed synthetic benchmark and tabulate their scores; reuse finished cells."""
    from rangeseg.apps.benchmark_ssl import cells, collect, parse_cells, shared_settings, write_pages
    from rangeseg.apps.ssl_results import Results
    from rangeseg.apps.ssl_streets import TINY, Streets

    out, path = arguments.out, arguments.results or arguments.out / "results.json"
    chosen = arguments.only, arguments.labelled, arguments.seed
    if arguments.cells and any(one not in (None, []) for one in chosen):
        raise ValueError("--cells selects all cells. Remove --only, --labelled and --seed.")
    wanted = parse_cells(arguments.cells) if arguments.cells else cells(*chosen)
    streets = TINY if arguments.tiny else Streets()
    if arguments.merge is None:
        known = collect(out, path, Results(streets.version, shared_settings(arguments.overrides)))
        todo = [cell for cell in wanted if cell.key not in known.cells]
        OUT.print(f"{path} holds {len(known.cells)} cells; to train: {len(todo)}", soft_wrap=True)
        if todo:
            _train(arguments, streets, todo, known, path)
    else:
        known = _merged(path, arguments.merge)
    for file in write_pages(collect(out, path, known), path.parent):
        OUT.print(file.read_text() if file.suffix == ".md" else f"curves: {file}", soft_wrap=True)


def _train(arguments: argparse.Namespace, streets: Streets, todo: Sequence[Cell], known: Results, path: Path) -> None:
    """Train the cells that the results lack, and add each when it is finished."""
    from rangeseg.apps.benchmark_ssl import collect, write_pages
    from rangeseg.apps.repeat import run_jobs
    from rangeseg.apps.ssl_streets import count, make_streets, verdict

    data = arguments.data or arguments.out / "streets"
    for _ in progress(make_streets(streets, data, arguments.jobs), "making streets", count(streets)):
        pass
    OUT.print(f"{count(streets)} scans below {data}: {verdict(streets, data)}", soft_wrap=True)
    jobs = [cell.job(arguments.out, data) for cell in todo]
    for _ in progress(run_jobs(jobs, arguments.overrides, parallel=arguments.jobs), "training", len(jobs)):
        write_pages(collect(arguments.out, path, known), path.parent)


def _merged(path: Path, others: Sequence[Path]) -> Results:
    """The results of a file and of other files, merged."""
    from rangeseg.apps.ssl_results import read_results

    first, *others = [*([path] if path.is_file() or not others else []), *others]
    known = read_results(first)
    for other in others:
        OUT.print(f"{other}: {known.add(read_results(other), other)} further cells", soft_wrap=True)
    return known


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--out", type=Path, required=True, help="output folder for the streets and one run folder per cell"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="METHOD", help="train only these methods; default: all"
    )
    parser.add_argument(
        "--labelled", nargs="+", default=[], metavar="SHARE", help="some of 1%% 10%% 20%% 50%%; default: all"
    )
    parser.add_argument(
        "--seed", type=int, nargs="+", help="seeds; default: three at 1%% and 10%%, one at the other shares"
    )
    parser.add_argument(
        "--cells",
        nargs="+",
        default=[],
        metavar="METHOD:SHARE:SEED",
        help="train only these cells, for example supervised:1:0,cutmix:1:0",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="JSON file of finished cells, with the table and the curves next to it; its cells are not trained again; "
        "default: OUT/results.json",
    )
    parser.add_argument(
        "--merge", type=Path, nargs="*", metavar="FILE", help="add the cells of other JSON files; do not train"
    )
    parser.add_argument("--jobs", type=whole(), default=1, help="number of parallel trainings")
    parser.add_argument("--data", type=Path, help="folder of the streets; default: OUT/streets")
    parser.add_argument("--tiny", action="store_true", help="use 24 scans for a quick test; the scores have no meaning")
