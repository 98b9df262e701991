"""Damaged files of every format: the right scan, as many points as there were, or an error that names the file."""

from __future__ import annotations

import importlib.util
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scan_writers import EXACT, PLAIN, las

from rangeseg.scan_io import read_scan
from rangeseg.types import Scan

pytestmark = pytest.mark.filterwarnings("ignore::rangeseg.notices.Notice")  # damaged values are told of, and read

POINTS = 60
MEMORY_MB, SECONDS = 300, 2.0
"""No damaged file may take more than this to refuse; a whole one takes milliseconds."""

NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"59",
    b"61",
    b"4294967295",
    b"4294967296",
    b"99999999999999",
    b"9" * 400,
    b"1e9",
    b"nan",
    b"",
)
WORDS = (
    b"x",
    b"\n",
    b"\r\n",
    b" ",
    b"\0",
    b"\xff\xfe",
    b"#",
    b"element vertex 9\n",
    b"DATA ascii\n",
    b"()",
    b"'",
    b"_",
)


def whole_files() -> dict[str, bytes]:
    """One small file of each format whose library is there, by name."""
    rng = np.random.default_rng(5)
    xyz = rng.uniform(-9, 9, (POINTS, 3)).astype(np.float32)
    xyz[::7] = np.nan
    scan = Scan(xyz, rng.uniform(0, 1, POINTS).astype(np.float32), np.arange(POINTS) % 32)
    files = {f"{name.replace(' ', '_')}{ending}": write(scan) for name, (ending, write) in (EXACT | PLAIN).items()}
    if all(importlib.util.find_spec(library) for library in ("laspy", "lazrs")):
        there = replace(scan, xyz=np.nan_to_num(xyz))
        for point_format in (3, 6):
            for ending in ("las", "laz"):
                content = las(there, compressed=ending == "laz", point_format=point_format)
                files[f"format{point_format}.{ending}"] = content
    return files


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, flipped, overwritten, or with another number, word or line in its header."""
    header = max(1, min(len(content), 420))
    at = int(rng.integers(header if rng.random() < 0.7 else len(content)))
    match rng.integers(8):
        case 0:
            return content[: int(rng.integers(len(content)))]
        case 1:
            return content[: -int(rng.integers(1, 40))]
        case 2:
            return content + rng.bytes(int(rng.integers(1, 40)))
        case 3:
            return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]
        case 4:
            return content[:at] + rng.choice([b"\0", b"\xff", b"\x7f"]) * int(rng.choice([1, 4, 8])) + content[at + 1 :]
        case 5:
            spans = [found.span() for found in re.finditer(rb"\d+", content[:header])] or [(at, at)]
            start, end = spans[int(rng.integers(len(spans)))]
            return content[:start] + NUMBERS[int(rng.integers(len(NUMBERS)))] + content[end:]
        case 6:
            return content[:at] + WORDS[int(rng.integers(len(WORDS)))] + content[at:]
        case _:
            lines = content[:header].split(b"\n")
            del lines[int(rng.integers(len(lines)))]
            return b"\n".join(lines) + content[header:]


def try_file(path: Path, content: bytes) -> int | None:
    """The number of points, or None for an error that names the file."""
    path.write_bytes(content)
    start = time.process_time()
    try:
        count = len(read_scan(path))
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017 - a few are still whole
        count = None
    assert time.process_time() - start < SECONDS
    return count


@pytest.fixture(scope="module", autouse=True)
def memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_MB * 1024


def check_damaged(tmp_path: Path, name: str, seed: int, cases: int) -> None:
    rng = np.random.default_rng(seed)
    whole = whole_files()[name]
    assert try_file(tmp_path / name, whole) == POINTS
    refused = 0
    for case in range(cases):
        content = damaged(whole, rng)
        count = try_file(tmp_path / name, content)
        refused += count is None
        record = {".bin": 20 if name.endswith(".pcd.bin") else 16}.get(Path(name).suffix)
        if record and count is not None:
            assert count == len(content) // record  # these have no header that could tell
        elif count is not None and Path(name).suffix != ".laz":  # of a LAZ, the header's count is all there is
            assert count == POINTS, f"case {case} of seed {seed}"
    assert refused > cases // 5


@pytest.mark.parametrize("name", whole_files())
def test_damaged_scans(tmp_path: Path, name: str) -> None:
    check_damaged(tmp_path, name, 0, 120)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", whole_files())
def test_many_more_damaged_scans(tmp_path: Path, name: str, seed: int) -> None:
    check_damaged(tmp_path, name, seed, 1000)
