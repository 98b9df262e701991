"""Which file is damaged, which command reads it, and what a reader of the format could notice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from campaign.damage import STRUCTURE


class Format(Enum):
    """What a reader could notice of damage.

    CHECKED: everything, by checksums. BINARY: missing and added bytes, and absurd counts. RECORDS: bytes that are no
    whole number of records; the format has no header. TEXT: what does not parse; a file that ends early is a file.
    """

    CHECKED = "checksums"
    BINARY = "structure"
    RECORDS = "size of a record"
    TEXT = "syntax"


@dataclass(frozen=True)
class Route:
    """One file of the workspace and the command that reads it.

    Args:
        name: of the row in the table.
        tree: folder of the workspace that each case has a copy of.
        file: in it, that is damaged.
        words: of the command; ``{tree}`` and ``{out}`` are the case's, ``{root}`` is the workspace.
        format: what could be noticed.
        record: bytes of one record, of `Format.RECORDS`.
        cost: how much longer than a scan a case takes; so much fewer cases there are.
        called: what errors name; empty: the file.
        also: regular expression of what else tells the user where to look.
        counts: its first bytes are a header with counts, not names, times and values.
    """

    name: str
    tree: str
    file: str
    words: tuple[str, ...]
    format: Format = Format.BINARY
    record: int = 1
    cost: float = 1.0
    called: str = ""
    counts: bool = True
    also: str = "(?!)"

    def must_notice(self, kind: str, before: bytes, after: bytes) -> bool:
        """Damage of a kind may not pass in silence with another result."""
        if self.format is Format.CHECKED:
            return True
        if self.format is Format.BINARY:
            if kind == "huge count":
                return self.counts
            return kind in STRUCTURE and not _only_header(before, after)
        if self.format is Format.RECORDS:
            return len(after) % self.record != 0
        return not after.strip()


def _only_header(before: bytes, after: bytes) -> bool:
    """The damage is within the words of a PCD's or PLY's header, as in a text; the points are as they were."""
    ends = [before.find(word) + len(word) for word in (b"end_header\n", b"DATA binary\n") if word in before[:600]]
    return bool(ends) and len(after) > len(before) - ends[0] and after.endswith(before[ends[0] :])


PREDICT = ("predict", "{tree}/{file}", "--run", "{root}/run", "--out", "{out}", "--device", "cpu", "--workers", "0")
SCORE = ("evaluate", "{root}/run", "--device", "cpu", "--json", "{out}/scores.json", "data.root={tree}")
PHOTO = ("predict", "{tree}/test/v_0000.png", "--run", "{root}/photo_run", "--out", "{out}", "--device", "cpu",
         "--workers", "0")  # fmt: skip
PHOTO_SCORE = ("evaluate", "{root}/photo_run", "--device", "cpu", "--json", "{out}/scores.json", "data.root={tree}")
SCAN = "kitti/sequences/08/velodyne/000000.bin"
UNPACK = ("unpack", "{tree}/{file}", "--out", "{out}")

KEY = r"error: \S+: "
"""An error of a config names the key."""

SCANS: dict[str, tuple[Format, int]] = {
    "ascii.pcd": (Format.TEXT, 1), "binary.pcd": (Format.BINARY, 1), "compressed.pcd": (Format.BINARY, 1),
    "ascii.ply": (Format.TEXT, 1), "little.ply": (Format.BINARY, 1), "big.ply": (Format.BINARY, 1),
    "savez.npz": (Format.CHECKED, 1), "plain.npy": (Format.BINARY, 1), "kitti.bin": (Format.RECORDS, 16),
    "sweep.pcd.bin": (Format.RECORDS, 20), "format3.las": (Format.BINARY, 1), "format6.las": (Format.BINARY, 1),
    "format3.laz": (Format.BINARY, 1), "format6.laz": (Format.BINARY, 1),
}  # fmt: skip
"""Scans alone: what could be noticed."""


def scan_route(name: str) -> Route:
    """A scan that is predicted alone."""
    return Route(name, f"scans/{name.replace('.', '_')}", name, PREDICT, *SCANS[name])


ALL = [
    *map(scan_route, SCANS),
    Route("bin with labels", "kitti", "sequences/08/velodyne/000000.bin", SCORE, counts=False),
    Route("label", "kitti", "sequences/08/labels/000000.label", SCORE, Format.BINARY),
    Route("bag", "recordings/rec_of_bag", "rec.bag", UNPACK),
    Route("mcap", "recordings/rec_mcap", "rec_mcap/rec_mcap.mcap", UNPACK, cost=2),
    Route("db3", "recordings/rec_db3", "rec_db3/rec_db3.db3", ("unpack", "{tree}/rec_db3", "--out", "{out}"), cost=2,
          called="rec_db3"),
    Route("metadata.yaml", "recordings/rec_db3", "rec_db3/metadata.yaml", ("unpack", "{tree}/rec_db3", "--out",
          "{out}"), Format.TEXT, cost=2, called="rec_db3"),
    Route("pcap", "recordings/capture", "turn.pcap", UNPACK, cost=2, counts=False),
    Route("pt (run)", "run", "last.pt", ("predict", f"{{root}}/{SCAN}", "--run", "{tree}/last.pt", "--out", "{out}",
          "--device", "cpu", "--workers", "0"), cost=8),
    Route("pt (weights)", "pt", "w.pt", ("import-weights", "{tree}/w.pt", "--config", "{root}/texts/config.yaml",
          "--out", "{out}/run"), cost=8),
    Route("safetensors", "packed", "tiny.safetensors", ("predict", f"{{root}}/{SCAN}", "--run", "{tree}", "--out",
          "{out}", "--device", "cpu", "--workers", "0"), Format.CHECKED, cost=4),
    Route("card.json", "packed", "tiny.card.json", ("predict", f"{{root}}/{SCAN}", "--run", "{tree}", "--out",
          "{out}", "--device", "cpu", "--workers", "0"), Format.TEXT, cost=8, also="tiny.safetensors"),
    Route("onnx", "onnx", "w.onnx", ("predict", f"{{root}}/{SCAN}", "--run", "{tree}/w.onnx", "--out", "{out}",
          "--workers", "0"), cost=8, also="the network's output contains nan"),
    Route("png (photograph)", "camvid", "test/v_0000.png", PHOTO, Format.CHECKED),
    Route("png (labels)", "camvid", "val" + "annot/v_0000.png", PHOTO_SCORE, Format.CHECKED),
    Route("poses.txt", "kitti", "sequences/00/poses.txt", ("predict", "--drive", "{tree}/sequences/00", "--run",
          "{root}/run", "--out", "{out}", "--device", "cpu", "--workers", "0"), Format.TEXT, cost=2),
    Route("calib.txt", "kitti", "sequences/00/calib.txt", ("predict", "--drive", "{tree}/sequences/00", "--run",
          "{root}/run", "--out", "{out}", "--device", "cpu", "--workers", "0"), Format.TEXT, cost=2),
    Route("config.yaml", "texts", "config.yaml", ("stats", "{tree}/config.yaml", "--out", "{out}/s.yaml"),
          Format.TEXT, cost=6, also=KEY),
    Route("frames.txt", "texts", "frames.txt", ("stats", "{root}/texts/config.yaml", "--subset", "{tree}/frames.txt",
          "--out", "{out}/s.yaml"), Format.TEXT, cost=6),
    Route("sample_data.json", "nuscenes", "v1.0-mini/sample_data.json", ("split", "--out", "{out}", "--dataset",
          "nuscenes", "--root", "{tree}", "--options", "version=v1.0-mini", "--fractions", "0.5", "1"), Format.TEXT,
          cost=2, also="samples/|v1.0-mini"),
]  # fmt: skip
"""Every format that a command reads."""

ROUTES = {route.name: route for route in ALL}


def words_of(route: Route, root: Path, tree: Path, out: Path) -> list[str]:
    """The command of a case."""
    return [word.format(tree=tree, out=out, root=root, file=route.file) for word in route.words]
