"""Record of the numbered scans that a command writes into a folder, so that no scans of an earlier call stay there.

RECORD.json     made_of: what determines the scans; scans: all their numbers are below this, null if it is unknown
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from rangeseg.files import write_atomically


def begin_scans(
    record: Path, made_of: Mapping[str, Any], patterns: Sequence[str], count: int | None, *, keep: bool = False,
    cure: str = "",
) -> None:  # fmt: skip
    """Record the scans that are about to be written, and remove those that the record lists so far.

    Args:
        record: the JSON file.
        made_of: what determines the scans.
        patterns: patterns of the files ``NNNNNN.*``, relative to the folder of the record. Other names are left alone.
        count: number of scans; None: unknown.
        keep: keep existing scans, which must be made of the same.
        cure: advice for the error about scans that are made of something else.

    Raises:
        ValueError: a file is not one of the recorded scans, or `keep` is set and the scans are made of something else.
    """
    now: dict[str, Any] = json.loads(json.dumps({"made_of": made_of, "scans": count}))  # with lists for tuples
    before = _read(record)
    present = [path for pattern in patterns for path in sorted(record.parent.glob(pattern)) if _number(path) >= 0]
    most = 0 if before is None else _most(before["scans"])
    if foreign := [path for path in present if _number(path) >= most]:
        raise ValueError(
            f"{foreign[0]}: {record} does not list it, so it may belong to other scans, of which {len(foreign)} files "
            "are here. Choose another output folder, or remove these files."
        )
    if not keep:
        for path in present:
            path.unlink()
    elif before is not None and (differing := _differing(before, now)):
        raise ValueError(f"{record}: the existing scans differ in {', '.join(differing)}. {cure}")
    write_record(record, made_of, count)


def write_record(record: Path, made_of: Mapping[str, Any], count: int | None) -> None:
    """Write a record.

    Args:
        record: the JSON file.
        made_of: what determines the scans.
        count: number of scans; None: unknown.
    """
    write_atomically(record, (json.dumps({"scans": count, "made_of": made_of}, indent=1) + "\n").encode())


def _read(record: Path) -> dict[str, Any] | None:
    if not record.is_file():
        return None
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return {"made_of": dict(content["made_of"]), "scans": content["scans"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record}: cannot be read ({error}). Choose another output folder.") from error


def _number(path: Path) -> int:
    """The number of a file ``NNNNNN.*``; -1 for other names."""
    number = int(path.stem) if path.stem.isdecimal() else -1
    return number if path.stem == f"{number:06d}" else -1


def _most(count: int | None) -> float:
    return inf if count is None else count


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of what differs, with plain values."""
    old, new = before["made_of"], now["made_of"]
    if _most(now["scans"]) < _most(before["scans"]):
        old, new = old | {"number of scans": before["scans"]}, new | {"number of scans": now["scans"]}
    pairs = {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}
    plain = {name: not any(isinstance(value, list | dict) for value in pair) for name, pair in pairs.items()}
    return [f"{name} ({pair[0]}; now {pair[1]})" if plain[name] else name for name, pair in pairs.items()]
