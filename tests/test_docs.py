"""What the pages say works: their commands are commands, their links lead somewhere, and their code runs as written."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_camvid
from documents import PAGES, ROOT, Block, Reader, blocks, rangeseg_words
from test_nuscenes import TRAINVAL, write_nuscenes

import rangeseg
from rangeseg.cli import main, parse
from rangeseg.commands import COMMANDS
from rangeseg.config import read_config
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.trajectory import Trajectory
from rangeseg.weights import shipped

SMALL = shlex.split(
    "data.projection.width=64 data.batch_labelled=2 data.batch_unlabelled=2 network.width=8 "
    "optim.steps=2 evaluation.every=0 runtime.precision=32-true runtime.accelerator=cpu runtime.workers=0"
)
FURTHER = {
    "train": SMALL,
    "predict": ["--partial"],
    "validate": ["--partial"],
    "fit-head": ["--steps", "3"],
    "benchmark": ["--repeats", "1"],
}
"""What made-up data need: a small network, and leave to have fewer scans than the official ones."""

WINDOW = "opens a window"
LARGE = "wants a dataset that cannot be made up here, and a GPU; tests/test_paper_configs.py reads every config"
NOT_RUN = {
    "README.md": {
        "bash tools/setup.sh": "installs everything; its syntax is checked",
        "pip install": "tests/test_packaging.py installs a wheel",
        "rangeseg demo scan.bin": "takes minutes; tests/test_demo.py does",
    },
    "CONTRIBUTING.md": {"bash tools/setup.sh test": "installs everything, and runs these tests"},
    "docs/looking.md": {
        "rangeseg show runs": "of the demo's runs; tests/test_from_afar.py does",
        "rangeseg show": WINDOW,
        "rangeseg report": "of the demo's runs; docs/semantic_kitti.md has the same command",
    },
    "docs/many_machines.md": {
        "rangeseg train": "tests/test_cli.py trains in two processes",
        "torchrun --standalone --nproc-per-node 2 -m rangeseg.cli predict": "tests/test_submission.py does",
        "#!/bin/bash": "needs SLURM; its syntax is checked",
        "rangeseg benchmark-ssl": "trains for an hour; tests/test_benchmark_ssl.py does at a small width",
    },
    "docs/python.md": {"# my_lightning.py": "tests/test_torch_data.py runs it"},
    "docs/networks.md": {
        "rangeseg import-weights": "wants published weights; tests/test_import_weights.py makes some up",
        "rangeseg evaluate runs/rangenet53": "the same",
    },
    "docs/paper_table.md": {"rangeseg": LARGE, "for seed": LARGE},
    "docs/perturbations.md": {"rangeseg show perturbation cutmix cutout": "draws eight pictures: a minute"},
    "docs/security.md": {
        "rangeseg evaluate runs/my_network": "tests/test_trust.py loads such a run",
        "rangeseg export runs/my_network": "the same",
        "from rangeseg import Segmenter": "the same",
    },
    "docs/recipe.md": {
        "rangeseg recipe": "trains for a day; tests/test_recipe.py does at tiny widths",
        "rangeseg reproduce": "trains for days; tests/test_reproduce.py does at tiny widths",
    },
    "docs/semantic_kitti.md": {"rangeseg repeat": "starts six trainings; tests/test_repeat.py does"},
}
"""Page -> first line of a block, or beginning of a command, that no test runs -> why."""
ELSEWHERE = {
    "docs/your_own_sensor.md": "tests/test_your_own_sensor.py",
    "docs/label_a_drive.md": "tests/test_label_a_drive.py",
}
"""Page -> the test that does what it says."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[list[str]]:
    """What follows `rangeseg` in every command of a page."""
    shell = [block for block in blocks(page) if block.language in ("", "bash")]
    found = [rangeseg_words(line) for block in shell for line in block.commands if "rangeseg" in line]
    numbers = [[re.sub(r"\$\w+", "0", word) for word in words if not word.startswith("${")] for words in found if words]
    return [words for words in numbers if words[0] in COMMANDS]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_one(page: Path) -> None:
    for words in commands(page):
        arguments = parse(words)
        configs = {"train": ["config"], "repeat": ["configs"]}.get(words[0], [])
        for config in [one for name in configs for one in np.atleast_1d(getattr(arguments, name))]:
            if not config.isdecimal() and ".yaml" not in config:  # neither a loop's variable nor one's own
                read_config(config, ["data.root=x", "optim.steps=1", *arguments.overrides])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_sentences_have_these_flags(page: Path) -> None:
    for said in re.findall(r"`rangeseg ([^`]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.M)):
        command, *words = said.split()
        assert command in COMMANDS or command.startswith("-"), said
        if command in COMMANDS:
            COMMANDS[command].add_arguments(parser := ArgumentParser())
            assert all(word in parser.format_help() for word in words if word.startswith("--")), said


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_all_code_is_run_or_said_not_to_be() -> None:
    for page in PAGES:
        skipped = NOT_RUN.get(name(page), {})
        code = [block for block in blocks(page) if block.language in ("bash", "python")]
        starts = [line for block in code for line in (block.text.splitlines()[0], *block.commands)]
        for start in skipped:
            assert any(line.startswith(start) for line in starts), f"{page} has no {start!r} any more"
        if name(page) in PREPARED or name(page) in ELSEWHERE or name(page).startswith("results/"):  # these take hours
            continue
        for block in code:
            assert is_skipped(block, skipped), f"{name(page)} has code that is neither run nor in NOT_RUN: {block.text}"


def is_skipped(block: Block, skipped: Mapping[str, str]) -> bool:
    """The whole of it, or each of its commands."""
    starts = tuple(skipped)
    if block.text.startswith(starts):
        return True
    return block.language == "bash" and all(line.startswith(starts) for line in block.commands)


def test_the_readme_has_two_set_up_commands_and_tables_of_all_others() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\nbash tools/setup.sh") == 2
    subprocess.run(["bash", "-n", ROOT / "tools" / "setup.sh"], check=True)
    rows = {
        title: sorted(re.findall(r"^\| `([a-z-]+)[ `]", section, re.MULTILINE))
        for title, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    }
    assert sorted(COMMANDS) == rows["Use"]  # each once
    assert sorted(shipped()) == rows["Weights that ship"]


def test_the_readmes_published_numbers_are_those_of_the_recipe() -> None:
    rows = [
        [cell.strip(" †") for cell in line.split("|")[1:-1]]
        for page in ("README.md", "docs/semantic_kitti.md")
        for line in re.split("^## Published by others$", (ROOT / page).read_text(), flags=re.M)[1].splitlines()
        if re.match(r"\| (supervised only|mean teacher|CutMix-Seg)\W", line)
    ]
    assert rows[:3] == [rows[3], rows[4], rows[5]]


def test_the_site_has_every_guide_and_every_public_name_once() -> None:
    site = runpy.run_path(str(ROOT / "docs" / "build_site.py"))
    assert sorted(site["GUIDES"]) == sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
    names = [name for line in site["PUBLIC"].values() for name in line.split()]
    assert sorted(names) == sorted({*rangeseg.__all__} - {"__version__"})


def test_scripts_for_slurm_are_bash() -> None:
    scripts = [block.text for block in blocks(ROOT / "docs" / "many_machines.md") if block.text.startswith("#!")]
    assert len(scripts) == 1
    subprocess.run(["bash", "-n"], input=scripts[0], text=True, check=True)


def kitti(root: Path) -> dict[str, str]:
    return {"/data/semantic_kitti": str(root), "DATA": str(root)}


def for_python(root: Path) -> dict[str, str]:
    small = ["optim.steps=2", "network.width=8", "runtime.accelerator=cpu", "runtime.log_every=1", "evaluation.every=0"]
    small += ["data.label_fraction=1", "runtime.out=runs/quick"]  # enough labels for a point head
    assert main(["train", "mini_kitti/quick", f"data.root={root}", *small]) == 0
    Path("000000.bin").write_bytes((root / "sequences/08/velodyne/000000.bin").read_bytes())
    return kitti(root) | {"optim.steps=20": "optim.steps=2"}


def for_extending(root: Path) -> dict[str, str]:
    rng = np.random.default_rng(3)
    for split in ("train", "val"):
        Path("mine", split).mkdir(parents=True)
        for number in range(3):
            xyz = rng.normal(size=(1500, 3)) * (20, 20, 2)
            raw = np.where(xyz[:, 2] < 0, 1, rng.choice([0, 2], 1500))
            np.save(f"mine/{split}/{number}.npy", np.column_stack([xyz, rng.uniform(size=1500), raw]))
    return kitti(root)


def for_nuscenes(root: Path) -> dict[str, str]:
    tree = write_nuscenes(Path("nuscenes").absolute(), "v1.0-trainval", TRAINVAL)
    write_nuscenes(tree, "v1.0-test", {"scene-0077": 2}, labels=False)
    Path("train_10pct_scenes").write_text("scene-0002\n")
    return {"/data/nuscenes": str(tree)}


def for_perturbations(root: Path) -> dict[str, str]:
    return {"CAMVID": str(write_camvid(Path("camvid").absolute(), size=(120, 160)))} | kitti(root)


def for_drives(root: Path) -> dict[str, str]:
    made = shutil.copytree(root, Path("kitti").absolute())
    poses = np.tile(np.eye(4), (3, 1, 1))
    write_kitti_poses(made / "sequences" / "00", Trajectory(("000000", "000001", "000002"), poses))
    for name in ("velodyne/000001.bin", "labels/000001.label"):  # the second scan sees what the first one saw
        shutil.copy(made / "sequences/00" / name.replace("1.", "0."), made / "sequences/00" / name)
    return {"/data/semantic_kitti": str(made)}


PREPARED: dict[str, Callable[[Path], dict[str, str]]] = {
    "README.md": for_python,
    "docs/semantic_kitti.md": kitti,
    "docs/nuscenes.md": for_nuscenes,
    "docs/networks.md": for_python,
    "docs/drives.md": for_drives,
    "docs/python.md": for_python,
    "docs/extend.md": for_extending,
    "docs/many_machines.md": kitti,
    "docs/perturbations.md": for_perturbations,
}
"""Page -> what makes its data in the current folder, and tells what its words for them are here."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with nothing in it but lists of labelled scans."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # what `export PYTHONPATH=$PWD` does
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as of many_machines.md's "to the bit"
    for listed in ("train_10pct_uniform", "train_10pct_blocks"):  # the shipped ones name scans that are not here
        (tmp_path / listed).write_text("00/000000\n00/000002\n")
    for module in ("my_dataset", "my_network", "my_perturbation"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")  # made-up scans are of no sensor
@pytest.mark.parametrize("page", PREPARED)
def test_a_page_runs_as_written(page: str, tiny_kitti: Path, folder: Path) -> None:
    reader = Reader(PREPARED[page](tiny_kitti), FURTHER, NOT_RUN.get(page, {}), in_process="machines" not in page)
    left = reader.follow(ROOT / page)
    if page == "docs/python.md":
        check_python(left, tiny_kitti)
    if page == "docs/extend.md":
        check_extending(left, folder)
    if page == "docs/many_machines.md":
        ends = [
            torch.load(folder / "runs" / run / "last.pt", weights_only=True) for run in ("two_devices", "two_machines")
        ]
        assert all(torch.equal(value, ends[1]["teacher"][key]) for key, value in ends[0]["teacher"].items())


def check_python(left: dict, root: Path) -> None:
    assert (np.fromfile("000000.label", "<u4") == left["classes"].to_raw(left["labels"])).all()
    assert sum(left["shares"].values()) == pytest.approx(1)
    assert left["confidence"].max() <= 1
    distance = np.linalg.norm(
        np.fromfile(root / "sequences/08/velodyne/000000.bin", "<f4").reshape(-1, 4)[:, :3], axis=1
    )
    shown = ~left["hidden"]
    assert (left["plain"][shown] == (distance > 20)[shown]).mean() > 0.999
    assert left["loss"].item() >= 0
    assert any(parameter.grad is not None for parameter in left["student"].parameters())


def check_extending(left: dict, folder: Path) -> None:
    from my_dataset import MyDataset
    from my_perturbation import Turn

    for block in blocks(ROOT / "docs" / "extend.md"):
        assert len(block.text.splitlines()) <= 25
    scan, columns = MyDataset("mine", "val").scan(1), np.load("mine/val/1.npy").astype(np.float32)
    assert (scan.xyz == columns[:, :3]).all()
    assert (scan.label == np.array([255, 0, 1])[columns[:, 4].astype(int)]).all()
    valid = torch.ones(2, 4, 40, dtype=torch.bool)
    mask = Turn(share=0.25).draw_mask(torch.Generator().manual_seed(0), valid, torch.zeros(2, 3, 4, 40))
    assert (mask.sum(2) == 10).all()
    assert ((mask != mask.roll(1, 2)).sum(2) == 2).all()  # one run of columns on the cylinder
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert runs == {"my_dataset", "my_network", "my_perturbation", "my_sensor"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_of_prose_are_up_to_120_characters(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE).splitlines()
    assert not [line for line in prose if len(line) > 120 and not line.lstrip().startswith(("|", "!", "<", "#"))]


def test_extras_are_quoted_wherever_they_are_installed_because_zsh_reads_brackets() -> None:
    rooms = ("rangeseg", "docs", "datasets", "results", "configs", "tools")
    files = [*ROOT.glob("*.md"), *(file for room in rooms for file in (ROOT / room).rglob("*"))]
    texts = {file: file.read_text() for file in files if file.suffix in (".py", ".md", ".yaml", ".sh")}
    bare = re.compile(r"install +[^'\"\n]*?\w\[\w.*")
    assert not [f"{file}: {found}" for file, text in texts.items() for found in bare.findall(text)]
