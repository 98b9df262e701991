"""Published rows: one place for the numbers, a plan for each, and whole reproductions on made-up layouts."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import test_paper_configs as paper
from documents import ROOT
from PIL import Image
from test_nuscenes import TRAINVAL, write_nuscenes

from rangeseg.apps import reproduce
from rangeseg.apps.published import ROWS, TABLES, Row, Table, find_rows
from rangeseg.apps.reproduce import Reproduction, estimate, speeds, table
from rangeseg.apps.speed import CHECKPOINTS, run_folder_bytes
from rangeseg.cli import main
from rangeseg.config import Config, read_config
from rangeseg.engine.training import train
from rangeseg.registry import ConfigError

DASH = "\N{EN DASH}"
PAGES = {"semantic_kitti": "docs/semantic_kitti.md", "nuscenes": "docs/nuscenes.md"}
METHODS = {
    "supervised only": "supervised", "mean teacher": "mean_teacher", "CBST": "cbst", "CPS": "cps",
    "CutMix-Seg": "cutmix", "LaserMix": "lasermix",
}  # fmt: skip


def numbers(one: Table, method: str) -> list[str]:
    return [Row(one, method, labels).published for labels in one.labels]


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_of_scans_have_these_numbers(name: str) -> None:
    (one,) = (table for table in TABLES if table.name == name)
    text = (ROOT / PAGES[name]).read_text().split("## Published by others")[1].split("FRNet")[0]
    rows = [[cell.strip(" †") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert {METHODS[name]: cells for name, *cells in rows[2:]} == {m: numbers(one, m) for m in one.numbers}


def test_the_page_of_photographs_has_these_rows_numbers_and_overrides() -> None:
    seen = set()
    for folder, _, text in paper.TABLE.findall(paper.PAGE):
        head, *lines = paper.cells(text)
        for method, *found in lines:
            for labels, number in zip(head[1:-1], found, strict=False):
                if number:
                    row = ROWS[f"{folder}/{method}/{labels}"]
                    assert row.published.replace("±", " ± ") == number.replace(DASH, "")
                    words, overrides = paper.ROWS[f"{folder} {method} {labels}"]
                    assert row.words == words
                    assert [one for one in overrides if not one.startswith("data.labelled=")] == [
                        *row.table.further.get(method, ())
                    ]
                    seen.add(row.name)
    colour = paper.PAGE.split("## Colour augmentation")[1]
    for table_text in re.findall(r"(?:\|.*\n)+", colour):
        (title, *labels), *lines = paper.cells(table_text)
        for method, *found in lines:
            network = "deeplab_v3plus" if "v3+" in method else "deeplab_v2"
            name = f"pascal_voc/{network}_color" if title == "Pascal VOC" else "cityscapes_color"
            for label, number in zip(labels, found, strict=True):
                row = ROWS[f"{name}/{method.partition(',')[0]}/{label}"]
                assert row.published == number
                seen.add(row.name)
    lidar = {name for name in ROWS if name.split("/")[0] in ("semantic_kitti", "scribble_kitti", "nuscenes")}
    assert {name for name in ROWS if ROWS[name].published} - lidar <= seen


def plan(rows: list[Row], out: Path, *overrides: str) -> Reproduction:
    return Reproduction(rows, Path("/data"), out, order=Path("split_0.npy"), overrides=overrides)


def test_a_network_of_the_users_own_is_scored(tmp_path: Path) -> None:
    row = ROWS["semantic_kitti/cutmix/10"]
    for overrides, options in (([], 0), (["network.width=8"], 0), (["network={name: 'my_net:Net'}"], 1)):
        words = plan([row], tmp_path, *overrides).scoring(row, 0).words
        assert words.count("--trust") == options


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_a_plan_whose_config_reads(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    mine = plan([row], tmp_path)
    seed = mine.seeds_of(row)[-1]
    config = mine.config(row, seed)
    assert config.runtime.seed == seed
    assert config.data.root == "/data"
    assert (config.consistency.weight == 0) == (row.method == "supervised")
    if row.table.name.endswith("_color"):
        assert config.perturbation["before"] == [{"name": "color"}]
        assert config.perturbation["first"]["name"] == row.method
    if "{lists}" in row.table.labels[row.labels]:
        drawn = Path(config.data.labelled).name
        command = mine.lists()[-1].words
        assert row.labels in row.table.drawn
        assert f"seed{seed}" in drawn or "split_0" in drawn or row.table.name == "nuscenes"
        assert command[:2] == ("split", "--out")
    else:
        assert mine.lists() == []
        assert config.data.labelled == "all" or any((ROOT / "datasets").glob(f"*/splits/{config.data.labelled}.txt"))
    assert len(mine.trainings()) == len(row.table.seeds)


def test_rows_are_found_by_what_they_begin_with() -> None:
    assert [row.name for row in find_rows("semantic_kitti/cutmix")] == [
        f"semantic_kitti/cutmix/{share}" for share in (1, 10, 20, 50)
    ]
    assert len(find_rows("ade20k")) == 2  # nobody published the supervised ones
    assert find_rows("ade20k/supervised/12.5pct")[0].published == ""
    assert all(row.table.name == "pascal_voc/deeplab_v2" for row in find_rows("pascal_voc/deeplab_v2"))
    with pytest.raises(
        ValueError,
        match=r"No published row is named 'semantic_kitti/cutmx/10'. Did you mean 'semantic_kitti/cutmix/10'",
    ):
        find_rows("semantic_kitti/cutmx/10")
    with pytest.raises(ValueError, match="several datasets"):
        plan([ROWS["ade20k/cutmix/6.25pct"], ROWS["nuscenes/cutmix/1"]], Path("x"))
    with pytest.raises(ValueError, match="--order"):
        Reproduction(find_rows("pascal_voc/unet"), Path("x"), Path("y"))
    Reproduction([ROWS["pascal_voc/unet/cutmix/all"]], Path("x"), Path("y"))


@pytest.mark.parametrize("one", TABLES, ids=lambda one: one.name)
def test_a_dry_run_lists_commands_disk_and_hours(
    one: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "unet" in one.config or one.name == "isic2017":
        pytest.importorskip("timm", reason="the encoder is timm's, which is not installed", exc_type=ImportError)
    words = ["reproduce", one.name, "--root", "/data", "--out", str(tmp_path), "--order", "split_0.npy", "--dry-run"]
    rows = find_rows(one.name)
    (tmp_path / "speed.json").write_text(json.dumps({"overrides": [], "seconds": {rows[0].name: 0.5}}))
    assert main(words) == 0
    said = capsys.readouterr().out
    trainings = len(rows) * len(one.seeds)
    assert said.count("rangeseg train ") == said.count("rangeseg evaluate ") == trainings
    assert said.count("rangeseg split ") == (len(one.seeds) if one.drawn else 0)
    steps = read_config(rows[0].words, ["data.root=x"]).optim.steps
    assert f"expected: {len(one.seeds) * steps * 0.5 / 3600:.1f} hours" in said
    assert f"unknown for {trainings - len(one.seeds)} trainings" in said
    assert re.search(r"disk: about [\d.]+ GB", said)
    assert "not yet" in said
    assert not (tmp_path / "done").exists()


def test_the_disk_of_rows_is_the_sum_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPS has two networks."""

    def disk(*names: str) -> float:
        found = estimate(plan([ROWS[f"semantic_kitti/{name}/1"] for name in names], tmp_path))
        return float(re.search(r"about ([\d.]+) GB", "\n".join(found)).group(1))  # type: ignore[union-attr]

    one, two = disk("supervised"), disk("cps")
    assert two > 1.8 * one
    assert disk("supervised", "cps") == pytest.approx(one + two, abs=0.02)
    assert disk("cps", "supervised") == pytest.approx(one + two, abs=0.02)

    def absent(config: Config) -> int:
        raise ConfigError("network: encoder: needs timm")

    monkeypatch.setattr(reproduce, "run_folder_bytes", absent)
    said = "\n".join(estimate(plan([ROWS["semantic_kitti/cps/1"]], tmp_path)))
    assert "rangeseg train" in said
    assert "disk: unknown for 1 trainings (network: encoder: needs timm)" in said


def test_times_hold_for_the_same_overrides(tmp_path: Path) -> None:
    (tmp_path / "speed.json").write_text(json.dumps({"overrides": ["a=1"], "seconds": {"x": 0.5}}))
    mine = plan([ROWS["semantic_kitti/cps/1"]], tmp_path)
    assert speeds(replace(mine, overrides=("optim.steps=3", "a=1"))) == {"x": 0.5}
    assert speeds(replace(mine, overrides=("a=2",))) == speeds(mine) == {}


def test_the_disk_of_a_run_is_that_of_its_checkpoints(tiny_config: Config) -> None:
    train(tiny_config)
    real = sum((Path(tiny_config.runtime.out) / f"{name}.pt").stat().st_size for name in ("last", "best"))
    assert CHECKPOINTS == 2
    assert 0.3 * real < run_folder_bytes(tiny_config) < 1.2 * real  # files of tiny networks are mostly names


def test_the_table_has_the_mean_the_spread_and_the_published_number(tmp_path: Path) -> None:
    row = ROWS["isic2017/cutmix/50"]
    mine = plan([row], tmp_path)
    scores = {12345: 0.7, 23456: 0.74, 78901: 0.75}
    for seed, score in scores.items():
        run = tmp_path / f"isic2017_cutmix_50_seed{seed}"
        run.mkdir()
        (run / "scores.json").write_text(json.dumps({"mean_iou": 0.1, "iou": {"skin": 0.9, "lesion": score}}))
    line = table(mine).splitlines()[2]
    values = [100 * score for score in scores.values()]
    assert f"| {row.published.replace('±', ' ± ')} | {mean(values):.2f} | ± {stdev(values):.2f} |" in line
    assert "12345: 70.00" in line
    assert "89012: -" in line


SMALL = ["optim.steps=2", "evaluation.every=1", "runtime.accelerator=cpu", "runtime.workers=0", "runtime.threads=1"]
SMALL += ["runtime.precision=32-true", "data.batch_labelled=2", "data.batch_unlabelled=2", "optim.accumulate=1"]
NARROW = ["network.width=8", "network.blocks=[1,1]", "data.projection.width=64", "data.projection.height=16"]


def full_kitti(tmp_path: Path, tiny: Path) -> Path:
    """The official training sequences with all 19,130 scans, all the same three, and two scans to score."""
    from rangeseg.data.semantic_kitti import SemanticKitti

    root, label_map = tmp_path / "kitti", SemanticKitti.read_label_map()
    for sequence in label_map.splits["train"]:
        for kind, ending in (("velodyne", "bin"), ("labels", "label")):
            folder = root / "sequences" / sequence / kind
            folder.mkdir(parents=True)
            for frame in range(label_map.scan_counts[sequence]):
                os.link(tiny / f"sequences/00/{kind}/{frame % 3:06d}.{ending}", folder / f"{frame:06d}.{ending}")
    (root / "sequences" / "08").symlink_to(tiny / "sequences" / "08")
    return root


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
def test_rows_of_kitti_on_a_full_training_split(tmp_path: Path, tiny_kitti: Path) -> None:
    root, out = full_kitti(tmp_path, tiny_kitti), tmp_path / "rows"
    cutmix, supervised = ("semantic_kitti/cutmix/1", "semantic_kitti/supervised/1")
    words = ["reproduce", cutmix, supervised, "--root", str(root), "--out", str(out)]
    assert main([*words, *SMALL, *NARROW]) == 0
    run = out / "semantic_kitti_cutmix_1_seed0"
    score = json.loads((run / "scores.json").read_text())["pixels"]["mean_iou"]
    text = (out / "table.md").read_text()
    assert f"| {cutmix} | {ROWS[cutmix].published} | {100 * score:.2f} |" in text
    last = run / "last.pt"
    config = read_config(run / "config.yaml")
    assert config.data.labelled == "train_1pct_uniform"
    before = last.stat().st_mtime_ns
    assert main([*words, *SMALL, *NARROW]) == 0  # all is done
    assert last.stat().st_mtime_ns == before
    assert main([*words, *SMALL, *NARROW, "optim.lr=1.0"]) == 1  # done with other words
    assert last.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.filterwarnings("ignore:.*rangeseg fit-sensor")
def test_rows_of_nuscenes_draw_their_lists_and_go_on_where_they_were(tmp_path: Path) -> None:
    root, out = write_nuscenes(tmp_path / "nuscenes", "v1.0-trainval", TRAINVAL), tmp_path / "rows"
    words = ["reproduce", "nuscenes/cutmix/50", "--root", str(root), "--out", str(out), *SMALL, *NARROW]
    assert main([*words, "--measure"]) == 0
    assert json.loads((out / "speed.json").read_text())["seconds"]["nuscenes/cutmix/50"] > 0
    assert main([*words, "data.channels=[nothing]"]) == 1  # the training fails
    assert (out / "lists" / "train_50pct_uniform.txt").is_file()
    listed = (out / "lists" / "train_50pct_uniform.txt").stat().st_mtime_ns
    assert main(words) == 0
    assert (out / "lists" / "train_50pct_uniform.txt").stat().st_mtime_ns == listed
    assert "pixels" in json.loads((out / "nuscenes_cutmix_50_seed0" / "scores.json").read_text())


def photograph(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def copies(source: Path, targets: list[Path]) -> None:
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


def full_voc(root: Path) -> list[str]:
    """10,582 photographs to train on, by their list, and four to score."""
    rng = np.random.default_rng(0)
    voc = root / "VOCdevkit" / "VOC2012"
    train_names, val_names = [f"2008_{n:06d}" for n in range(10582)], [f"2009_{n:06d}" for n in range(4)]
    image = photograph(root / "one.jpg", rng.integers(0, 256, (70, 80, 3)).astype(np.uint8))
    label = photograph(root / "one.png", rng.integers(0, 21, (70, 80)).astype(np.uint8))
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, listed in (("train", train_names[:1464]), ("train_aug", train_names), ("val", val_names)):
        (lists / f"{name}.txt").write_text("\n".join(listed) + "\n")
    for name in (*train_names, *val_names):
        copies(image, [voc / "JPEGImages" / f"{name}.jpg"])
        copies(label, [voc / folder / f"{name}.png" for folder in ("SegmentationClass", "SegmentationClassAug")])
    order = root / "split_0.npy"
    np.save(order, np.random.default_rng(1).permutation(10582))
    return ["pascal_voc/deeplab_v2_color/ict/106", "--order", str(order)]


def full_cityscapes(root: Path) -> list[str]:
    rng = np.random.default_rng(0)
    image = photograph(root / "one.png", rng.integers(0, 256, (128, 256, 3)).astype(np.uint8))
    label = photograph(root / "label.png", rng.integers(0, 34, (128, 256)).astype(np.uint8))
    for split, count in (("train", 2975), ("val", 2)):
        for number in range(count):
            name = f"aachen_{number:06d}_000019"
            copies(image, [root / "leftImg8bit" / split / "aachen" / f"{name}_leftImg8bit.png"])
            copies(label, [root / "gtFine" / split / "aachen" / f"{name}_gtFine_labelIds.png"])
    return ["cityscapes/cutmix/100", "--seeds", "12345", "23456", "data.augmentation.crop=[32,64]"]


def full_isic(root: Path) -> list[str]:
    rng = np.random.default_rng(0)
    image = photograph(root / "one.jpg", rng.integers(0, 256, (60, 80, 3)).astype(np.uint8))
    mask = photograph(root / "one.png", 255 * rng.integers(0, 2, (60, 80)).astype(np.uint8))
    for name, count in (("Training", 2000), ("Validation", 3)):
        images, masks = root / f"ISIC-2017_{name}_Data", root / f"ISIC-2017_{name}_Part1_GroundTruth"
        for number in range(count):
            copies(image, [images / f"ISIC_{number:07d}.jpg"])
            copies(mask, [masks / f"ISIC_{number:07d}_segmentation.png"])
    return ["isic2017/cutmix/50", "--seeds", "12345", "data.dataset.side=72"]


LAYOUTS = {"deeplab_v2": full_voc, "cityscapes": full_cityscapes, "isic2017": full_isic}
NETWORKS = {"cityscapes": "deeplab_v2", "isic2017": "unet", "deeplab_v2": "deeplab_v2"}


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_of_photographs_on_full_layouts(name: str, tmp_path: Path) -> None:
    words, out = LAYOUTS[name](tmp_path / "data"), tmp_path / "rows"
    narrow = [word for word in paper.REDUCED[NETWORKS[name]] if "crop" not in word or "crop" not in " ".join(words)]
    call = ["reproduce", *words, "--root", str(tmp_path / "data"), "--out", str(out)]
    assert main([*call, *SMALL, *narrow, "network.weights=none"]) == 0, (out / "logs").glob("*")
    text = (out / "table.md").read_text()
    assert "not yet" not in text
    assert re.search(r"\| \d+\.\d\d \|", text)
    counts = {"deeplab_v2": 106, "cityscapes": 100, "isic2017": 50}
    for listed in (out / "lists").glob(f"train_{counts.get(name)}_*.txt"):
        lines = [line for line in listed.read_text().splitlines() if line and not line.startswith("#")]
        assert len(lines) == counts[name]
    assert sum(1 for _ in out.glob("*/scores.json")) == {"cityscapes": 2}.get(name, 1)
