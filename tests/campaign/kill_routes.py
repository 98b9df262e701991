"""The commands that are killed: every one that writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Killed:
    """A command that writes.

    Args:
        name: of the row in the table.
        words: of it; ``{root}`` is the workspace, ``{out}`` the case's folder.
        again: what goes on after a kill; None: the same words.
        before: folder of the workspace that the output folder begins with.
        evolving: files change while it runs, as checkpoints do; only their end is the same.
        weight: of its number of kills.
    """

    name: str
    words: tuple[str, ...]
    again: tuple[str, ...] | None = None
    before: str | None = None
    evolving: bool = False
    weight: float = 1.0


RUN = ("{root}/run", "--device", "cpu")
TRAIN = ("train", "{root}/texts/config.yaml", "runtime.out={out}/run", "runtime.checkpoint_every=1", "optim.steps=3")
CPU = ("--device", "cpu", "--workers", "0")
BAG, MCAP = "{root}/recordings/rec_of_bag/rec.bag", "{root}/recordings/rec_mcap/rec_mcap"
DRIVE = "{root}/kitti/sequences/00"
SCAN = "{root}/kitti/sequences/08/velodyne/000000.bin"
CONFIG = "{root}/texts/config.yaml"

KILLED = [
    Killed("train", TRAIN, (*TRAIN, "--resume", "auto"), evolving=True, weight=2),
    Killed("train --resume", (*TRAIN, "--resume"), (*TRAIN, "--resume", "auto"), before="begun", evolving=True),
    Killed("predict", ("predict", "{root}/run", "{root}/kitti", *CPU, "--out", "{out}/p", "--zip", "{out}/s.zip",
           "--partial"), weight=2),
    Killed("predict --format", ("predict", "{root}/run", "{root}/kitti", *CPU, "--out", "{out}/p", "--format", "npz")),
    Killed("predict --drive", ("predict", "{root}/run", *CPU, "--drive", DRIVE, "--out", "{out}/p"), weight=2),
    Killed("predict of a bag", ("predict", "{root}/run", BAG, *CPU, "--out", "{out}/labelled.bag"), weight=1.5),
    Killed("predict of an MCAP", ("predict", "{root}/run", MCAP, *CPU, "--out", "{out}/labelled"), weight=1.5),
    Killed("evaluate --json", ("evaluate", *RUN, "--json", "{out}/scores.json")),
    Killed("export to .pt", ("export", *RUN, "--out", "{out}/w.pt")),
    Killed("export to .onnx", ("export", *RUN, "--out", "{out}/w.onnx"), weight=0.15),
    Killed("unpack a bag", ("unpack", BAG, "--out", "{out}/scans")),
    Killed("unpack an MCAP", ("unpack", MCAP, "--out", "{out}/scans")),
    Killed("unpack a capture", ("unpack", "{root}/recordings/capture/turn.pcap", "--out", "{out}/scans")),
    Killed("synthesise", ("synthesise", "--out", "{out}/streets", "--sequences", "00", "--scans", "2", "--sensor",
           "vlp16"), weight=0.6),
    Killed("propagate", ("propagate", DRIVE, "--labelled", "000000", "--out", "{out}/carried", "--json",
           "{out}/c.json", "--workers", "0"), weight=1.5),
    Killed("poses", ("poses", DRIVE, "--out", "{out}/poses", "--png", "{out}/path.png")),
    Killed("pseudo-label", ("pseudo-label", *RUN, "--out", "{out}/pseudo"), weight=1.5),
    Killed("report", ("report", *RUN, "--out", "{out}/r.html")),
    Killed("split", ("split", "--out", "{out}/lists", "--dataset", "nuscenes", "--root", "{root}/nuscenes",
           "--options", "version=v1.0-mini", "--fractions", "0.5", "1")),
    Killed("stats", ("stats", CONFIG, "--out", "{out}/s.yaml")),
    Killed("fit-sensor", ("fit-sensor", "{root}/sensor/scan.bin", "--out", "{out}/s.yaml", "--png", "{out}/s.png"),
           weight=0.6),
    Killed("fit-head", ("fit-head", "{root}/run", "--steps", "3", "--out", "{out}/h.pt")),
    Killed("weights --pack", ("weights", "--pack", "{root}/run", "--name", "tiny", "--facts", "{root}/facts.json",
           "--out", "{out}/packed")),
    Killed("import-weights", ("import-weights", "{root}/pt/w.pt", "--config", CONFIG, "--out", "{out}/run")),
    Killed("show --png", ("show", SCAN, "--run", "{root}/run", "--png", "{out}/s.png")),
    Killed("show --html", ("show", SCAN, "--run", "{root}/run", "--html", "{out}/s.html")),
    Killed("validate --json", ("validate", CONFIG, "--json", "{out}/v.json")),
    Killed("analyse", ("analyse", "patch-distance", CONFIG, "--out", "{out}/d", "--patches", "1", "3"), weight=0.6),
    Killed("benchmark --json", ("benchmark", "--photos", "{root}/photo_run/config.yaml", "--repeats", "1", "--json",
           "{out}/b.json")),
    Killed("repeat", ("repeat", CONFIG, "--seeds", "0", "--out", "{out}/seeds", "optim.steps=1"), evolving=True,
           weight=0.1),
]  # fmt: skip
"""Commands, in the order of the README."""
