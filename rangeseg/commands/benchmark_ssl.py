"""Semi-supervised methods, compared on streets that everybody can make again."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg benchmark-ssl --out runs/ssl --jobs 2",
    "rangeseg benchmark-ssl --out runs/ssl --only supervised cutmix --labelled 1% --seed 0",
)


def run(arguments: argparse.Namespace) -> None:
    """Train semi-supervised methods on a fixed synthetic benchmark and tabulate them; what is done is used again."""
    from rangeseg.apps.benchmark_ssl import cells, write_results
    from rangeseg.apps.repeat import run_jobs
    from rangeseg.apps.ssl_streets import TINY, Streets, count, make_streets, verdict

    wanted = cells(arguments.only, arguments.labelled, arguments.seed)
    streets, out = TINY if arguments.tiny else Streets(), arguments.out
    data = arguments.data or out / "streets"
    for _ in progress(make_streets(streets, data, arguments.jobs), "driving through streets", count(streets)):
        pass
    OUT.print(f"{count(streets)} scans below {data}: {verdict(streets, data)}", soft_wrap=True)
    jobs = [cell.job(out, data) for cell in wanted]
    for _ in progress(run_jobs(jobs, arguments.overrides, parallel=arguments.jobs), "training", len(jobs)):
        write_results(out, data)
    for path in write_results(out, data):
        OUT.print(path.read_text() if path.suffix == ".md" else f"curves: {path}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("--out", type=Path, required=True, help="holds the streets and a run folder for each cell")
    parser.add_argument("--only", nargs="+", default=[], metavar="METHOD", help="these rows; all if not given")
    parser.add_argument("--labelled", nargs="+", default=[], metavar="SHARE", help="of 1%% 10%% 20%% 50%%; all")
    parser.add_argument("--seed", type=int, nargs="+", help="three at 1%% and 10%%, one elsewhere if not given")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--data", type=Path, help="folder of the streets; OUT/streets if not given")
    parser.add_argument("--tiny", action="store_true", help="24 scans, to see it work; the numbers mean nothing")
