"""docs/your_own_sensor.md, command by command, on real scans of two sensors."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scan_writers import pcd, table

from rangeseg.cli import main
from rangeseg.config import read_config
from rangeseg.engine.experiment import Experiment
from rangeseg.resources import resource
from rangeseg.scan_io import read_labels, read_scan

DOCUMENT = Path(__file__).parents[1] / "docs" / "your_own_sensor.md"
SMALL = ["optim.steps=2", "evaluation.every=0", "runtime.accelerator=cpu", "network.width=8", "network.stem=[8,8]"]
SMALL += ["network.blocks=[1,1,1,1]", "runtime.log_every=1"]
SENSORS = {
    "pandaset": ({"train": ["001/{}/000000", "001/{}/000001", "001/{}/000002"], "val": ["002/{}/000000"]}, 2),
    "rellis3d": ({"train": ["00/{}/000104"], "val": ["00/{}/000104"]}, 1),
}
"""Dataset -> scans of each split, and how many of the first have labels."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def write_mine(data: Path, name: str, folder: Path) -> None:
    splits, labelled = SENSORS[name]
    for split, scans in splits.items():
        for kind in ("scans", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number, scan in enumerate(scans):
            target = f"{number + (2001 if split == 'val' else 1):04d}"
            read = read_scan(data / name / "sequences" / f"{scan.format('velodyne')}.bin")
            (folder / "scans" / split / f"{target}.pcd").write_bytes(pcd(table(read), "binary"))
            if split == "val" or number < labelled:
                label = data / name / "sequences" / f"{scan.format('labels')}.label"
                (folder / "labels" / split / f"{target}.label").write_bytes(label.read_bytes())


def run(line: str) -> None:
    """One line of the document; ours within this process, the shell's by the shell."""
    if not line.startswith("rangeseg "):
        subprocess.run(["bash", "-c", line], check=True)
        return
    words = shlex.split(line)[1:]
    extra = SMALL if words[0] == "train" else ["--max-scans", "1"] if words[0] == "export" else []
    assert main([*words, *extra]) == 0, line


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")  # which the document runs
@pytest.mark.parametrize("name", SENSORS)
def test_every_command_of_the_document_runs(
    name: str, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    write_mine(data_root, name, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    files = {block.splitlines()[0].removeprefix("# "): block for block in blocks("yaml")}
    assert list(files) == ["mine/classes.yaml", "mine/data.yaml", "mine/cutmix.yaml"]
    classes = resource("datasets", name, "labels.yaml").read_text()
    head, rest = re.split(r"^splits:$", classes, flags=re.MULTILINE)
    files["mine/classes.yaml"] = f"{head}splits: {{train: [train], val: [val]}}\nclasses:{rest.split('classes:', 1)[1]}"
    for file, content in files.items():
        Path(file).write_text(content)
    for block in blocks("bash"):
        for line in block.splitlines():
            run(line)
    config = read_config("mine/data.yaml", ["runtime.out=.", "optim.steps=1"])
    labelled = Experiment(config).open("train", config.data.labelled)
    assert [labelled.name(k) for k in range(len(labelled))] == [f"{k + 1:04d}" for k in range(SENSORS[name][1])]
    predicted = sorted(Path("mine/predicted").glob("*.label"))
    assert [path.stem for path in predicted] == [f"{k + 1:04d}" for k in range(len(SENSORS[name][0]["train"]))]
    for path in predicted:
        assert len(read_labels(path)[0]) == len(read_scan(f"mine/scans/train/{path.stem}.pcd"))
    for picture in ("mine/sensor.png", "mine/2001.png"):
        with Image.open(picture) as image:
            assert np.asarray(image).std() > 10
    assert Path("mine/network.onnx").is_file()
