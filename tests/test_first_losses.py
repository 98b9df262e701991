"""The first 100 losses of every method, perturbation family and modality, recorded before the core was rewritten.

A refactor must not change a number. The recorded losses hold to the last bit on the machine type they were recorded
on (same processor model, same torch). Elsewhere float32 kernels round differently, so only the first steps are
compared, with a tolerance. To record again, after a change that is meant to change numbers:
`python tests/test_first_losses.py`.
"""

from __future__ import annotations

import base64
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_photo_config, make_tiny_config, write_tiny_kitti

from rangeseg.config import Config, config_from
from rangeseg.engine.run_logger import read_metrics
from rangeseg.engine.training import train

RECORD = Path(__file__).parent / "first_losses.json"
STEPS = 100
FIRST = 3
"""Steps that are compared with a tolerance on other machines."""

PSEUDO = {"kind": "ce", "threshold": 0.3, "confidence": "pixel"}
SCANS: dict[str, dict[str, Any]] = {
    "supervised": {"consistency": {"weight": 0.0}},
    "mean_teacher": {"perturbation": {"name": "identity"}},
    "reference": {"preset": "reference", "perturbation": {"name": "cutmix", "boxes": 3}},
    "fixmatch": {"method": {"name": "fixmatch"}, "consistency": PSEUDO},
    "cps": {"method": {"name": "cps"}, "consistency": PSEUDO},
    "cbst": {"method": {"name": "cbst"}, "consistency": PSEUDO},
    "cutmix": {"perturbation": {"name": "cutmix", "complement": True}, "teacher": {"warmup": True}},
    "cutout": {"perturbation": {"name": "cutout"}, "consistency": {"kind": "kld", "rampup": 30}},
    "cowmix": {"perturbation": {"name": "cowmix"}, "consistency": {"kind": "logits_var"}},
    "cowout": {"perturbation": {"name": "cowout"}, "consistency": {"kind": "bce"}},
    "lasermix": {"perturbation": {"name": "lasermix"}, "consistency": {"pair": "labelled"}},
    "frustummix": {"perturbation": {"name": "frustummix"}, "optim": {"accumulate": 2}},
    "polarmix": {"perturbation": {"name": "polarmix", "copies": 3}, "consistency": {"pair": "labelled"}},
    "classmix": {"perturbation": {"name": "classmix"}, "teacher": {"joint": False, "mode": "train"}},
    "ict": {"perturbation": {"name": "ict"}, "consistency": {"kind": "logits_smoothl1"}},
    "vat": {"perturbation": {"name": "vat"}},
    "geometric": {"perturbation": {"name": "geometric"}},
    "jitter": {"perturbation": {"name": "jitter"}},
    "combined": {
        "perturbation": {
            "name": "compose",
            "before": [{"name": "jitter"}],
            "first": {"name": "cutmix"},
            "then": [{"name": "cutout"}],
        }
    },
    "one_of": {"perturbation": {"name": "one_of", "parts": [{"name": "cutmix"}, {"name": "cutout"}, {"name": "ict"}]}},
    "several": {"perturbation": {"name": "all_of", "parts": [{"name": "lasermix", "bands": [3]}, {"name": "cutmix"}]}},
    "auxiliary": {
        "network": {"name": "cenet", "width": 8, "blocks": [1, 1, 1, 1]},
        "supervised": {"auxiliary": 0.4, "boundary": 1.0},
    },
    "dropout": {"network": {"name": "salsanext", "width": 4}},
}
PHOTOS: dict[str, dict[str, Any]] = {
    "photo_cutmix": {"perturbation": {"name": "cutmix"}},
    "photo_affine": {"perturbation": {"name": "affine"}},
    "photo_color": {"perturbation": {"name": "compose", "before": [{"name": "color"}], "first": {"name": "cutmix"}}},
}


def config_of(case: str, folder: Path) -> Config:
    """The experiment of a case, on made-up data."""
    base = make_photo_config(folder) if case in PHOTOS else make_tiny_config(write_tiny_kitti(folder / "kitti"), folder)
    rest: dict[str, Any] = {
        "optim": {"steps": STEPS},
        "runtime": {"checkpoint_every": STEPS, "threads": 1},
        "teacher": {"decay": 0.9},
        "consistency": {"threshold": 0.12},
    }
    if case not in PHOTOS:
        rest["data"] = {"augmentation": {"rotate_deg": 180.0, "flip_y": 0.5, "scale": [0.95, 1.05], "shift_m": 0.1}}
    return config_from([asdict(base), rest, PHOTOS.get(case) or SCANS[case]])


def losses_of(case: str, folder: Path) -> dict[str, str]:
    """Loss name -> its values at all steps: little-endian float32 in base64."""
    config = config_of(case, folder)
    train(config)
    values: dict[str, list[float]] = {}
    for _, name, value in read_metrics(Path(config.runtime.out) / "metrics.csv"):
        values.setdefault(name, []).append(value)
    kept = ("supervised", "consistency", "confidence", "mean_iou", "accuracy")
    return {name: pack(values[name]) for name in kept if name in values}


def pack(values: list[float]) -> str:
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def unpack(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def machine() -> str:
    """What decides the bits of float32 kernels: the libraries, and the processor that they choose kernels for."""
    features = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {features} on {processor()}, NumPy {np.__version__}"


def processor() -> str:
    """Maker, family and model, where the system tells."""
    facts = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    wanted = ("vendor_id", "cpu family", "model")
    found = [value.strip() for key, _, value in (line.partition(":") for line in facts) if key.strip() in wanted]
    return " ".join([platform.machine(), *found[: len(wanted)]])


@pytest.mark.parametrize("case", [*SCANS, *PHOTOS])
def test_the_first_losses_stay(case: str, tmp_path: Path) -> None:
    record = json.loads(RECORD.read_text())
    losses = losses_of(case, tmp_path)
    assert losses.keys() == record["losses"][case].keys()
    if machine() == record["machine"] and losses == record["losses"][case]:
        return
    for name, text in losses.items():
        before, now = unpack(record["losses"][case][name]), unpack(text)
        assert len(now) == len(before)
        if machine() == record["machine"]:
            differ = np.flatnonzero(now != before)
            pytest.fail(f"{name} differs from step {differ[0]} on: {now[differ[0]]!r}, recorded {before[differ[0]]!r}")
        assert now[:FIRST] == pytest.approx(before[:FIRST], rel=2e-2, abs=2e-3)


if __name__ == "__main__":
    recorded = {}
    for case in [*SCANS, *PHOTOS]:
        with tempfile.TemporaryDirectory() as folder:
            recorded[case] = losses_of(case, Path(folder))
    RECORD.write_text(json.dumps({"machine": machine(), "losses": recorded}, indent=1) + "\n")
