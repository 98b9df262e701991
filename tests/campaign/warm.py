"""What the fork server imports once, and how a command is run in a process that it forks.

The server runs two small commands itself, without threads of ours, so that compiled kernels are loaded once.
"""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

MODULE = "campaign.warm"
CPU = ("--device", "cpu")
SEEN_BY_DEFAULT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Python shows none of these outside of `__main__`."""


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code (None: an exception got out), what it printed, and how long it took."""

    code: int | None
    out: str
    err: str
    seconds: float


def context() -> ForkServerContext:
    """The server, started with one thread for each library."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the server starts
    here = str(Path(__file__).parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([MODULE])
    return found


def import_all() -> None:
    """Everything that commands import, so that forked processes need not."""
    import rangeseg

    for module in pkgutil.walk_packages(rangeseg.__path__, "rangeseg."):
        if module.name not in ("rangeseg.__main__", "rangeseg.apps.rclpy_node"):
            with suppress(ImportError):  # an extra is not installed
                importlib.import_module(module.name)
    for name in ("laspy", "lazrs", "mcap.reader", "onnxruntime", "pandas", "PIL.PngImagePlugin", "scipy.spatial",
                 "rosbags.highlevel", "rosbags.rosbag1", "rosbags.rosbag2", "rosbags.typesys", "tensorboard.summary",
                 "torch.utils.tensorboard", "velodyne_decoder"):  # fmt: skip
        with suppress(ImportError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def warm_up() -> None:
    """Label and score a small scan, which loads the kernels from Numba's cache."""
    from conftest import make_tiny_config, write_tiny_kitti

    from campaign.workspace import write_run

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        config = make_tiny_config(write_tiny_kitti(root / "kitti"), root)
        write_run(config, root / "run")
        run_command(["predict", root / "run", root / "kitti", *CPU, "--out", root / "out", "--workers", "0"])
        run_command(["evaluate", root / "run", *CPU])


def run_command(words: Sequence[str | Path]) -> Outcome:
    """Run one command in this process, with the filters of warnings that Python has for a user."""
    from rangeseg.cli import main

    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    code: int | None = None
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.resetwarnings()
        for kind in SEEN_BY_DEFAULT:
            warnings.simplefilter("ignore", kind)
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except Exception:
            traceback.print_exc(file=err)
    return Outcome(code, out.getvalue(), err.getvalue(), time.monotonic() - began)


def command_to_files(words: Sequence[str], log: str, memory_mb: int = 0) -> None:
    """The body of a process: run a command as the console script does; what it prints goes to ``log``.

    Args:
        words: of the command.
        log: file of both streams.
        memory_mb: so much address space may be added; 0: any.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if memory_mb:
        limit_memory(memory_mb)
    outcome: int = 70
    try:
        from rangeseg.cli import main

        outcome = main(list(words))
    except SystemExit as ended:
        outcome = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(outcome)


def limit_memory(megabytes: int) -> None:
    """Let this process map so much more memory, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == MODULE and "multiprocessing.forkserver" in sys.modules and "pytest" not in sys.modules:
    import_all()
    warm_up()
