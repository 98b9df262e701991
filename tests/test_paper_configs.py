"""The paper's table: every row of docs/paper_table.md has its command, which builds and takes real steps."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rangeseg.config import Config, read_config
from rangeseg.config.shipped import shipped_configs
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.fabric import make_fabric
from rangeseg.engine.trainer import Trainer
from rangeseg.engine.training_data import TrainingData
from rangeseg.types import View

PAGE = (Path(__file__).parents[1] / "docs" / "paper_table.md").read_text(encoding="utf-8")
TABLE = re.compile(
    r"^`rangeseg train ([\w/]+)\+METHOD data\.root=\w+ data\.labelled=(\S+)`\n\n((?:\|.*\n)+)", re.MULTILINE
)
"""Above each table stands the command of its cells."""


def cells(table: str) -> list[list[str]]:
    """The cells of a table in Markdown, without the line under its head."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]
    return [row for row in rows if not set("".join(row)) <= set("- ")]


def further() -> dict[tuple[str, str], list[str]]:
    """(column, method) -> the overrides that a method needs in addition to the row's command, as the page says."""
    head, *rows = cells(PAGE.split("in addition to the row's command:\n\n")[1].split("\n\n")[0])
    return {
        (name, row[0]): row[column].strip("`").split()
        for row in rows
        for column, name in enumerate(head)
        if column and row[column]
    }


DATASETS = {"pascal_voc": "Pascal VOC", "isic2017": "ISIC 2017"}


def rows() -> dict[str, tuple[str, list[str]]]:
    """Every cell of the page: ``FOLDER METHOD LABELS`` -> what is joined, and the overrides."""
    found = {}
    for folder, labelled, table in TABLE.findall(PAGE):
        head, *lines = cells(table)
        for line in lines:
            for label, number in zip(head[1:-1], line[1:-1], strict=False):
                if not number:
                    continue
                words = [] if label == "all" else [f"data.labelled={labelled.replace('LABELS', label)}"]
                words += further().get((DATASETS.get(folder.partition("/")[0], ""), line[0]), [])
                found[f"{folder} {line[0]} {label}"] = (f"{folder}+{line[0]}", words)
    return found


ROWS = rows()
FOLDERS = sorted({row.split()[0] for row in ROWS})
every_row = pytest.mark.parametrize("row", ROWS)
every_folder = pytest.mark.parametrize("folder", FOLDERS)

ADAM: dict[str, Any] = {"name": "adam", "weight_decay": 0.0, "schedule": "constant", "steps": 40_000, "clip": None}
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], int, list[int]]] = {
    "pascal_voc/deeplab_v2": (
        ADAM | {"lr": 3e-5, "lr_multipliers": {"backbone": 0.3}},
        {"branches": 2, "freeze_batchnorm": "all"},
        10,
        [321, 321],
    ),
    "pascal_voc/deeplab_v3plus": (
        ADAM | {"lr": 1e-5, "lr_multipliers": {}},
        {"output_stride": 8, "freeze_batchnorm": "backbone"},
        10,
        [321, 321],
    ),
    "cityscapes": (
        ADAM | {"lr": 3e-5, "lr_multipliers": {"backbone": 0.3}},
        {"branches": 2, "freeze_batchnorm": "all"},
        4,
        [256, 512],
    ),
    "isic2017": (
        {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "schedule": "poly", "steps": 40_000, "clip": None}
        | {"lr": 0.1, "lr_multipliers": {"backbone": 0.1}},
        {"encoder": "timm:densenet161", "freeze_batchnorm": "none"},
        10,
        [224, 224],
    ),
}
"""Where the published runs' own are known: optimiser, network, batch, crop."""

WEIGHTS = {
    "pascal_voc": {"affine": 0.003, "vat": 0.1, "ict": 0.01},
    "isic2017": {"affine": 0.1, "vat": 0.001, "ict": 0.0003},
}
"""Of the consistency loss, where it is not 1 (or, supervised, 0)."""

SIZES = {
    "pascal_voc/deeplab_v2": 44_048_532,
    "cityscapes": 43_901_068,
    "pascal_voc/deeplab_v3plus": 59_344_309,
    "ade20k": 59_377_462,
    "pascal_voc/pspnet": 65_584_725,
    "pascal_voc/unet": 49_527_669,
    "isic2017": 49_526_434,
}
"""Parameters of each folder's network, the U-nets' with timm 1.0."""


@cache
def read(words: str, *overrides: str) -> Config:
    return read_config(words, ["data.root=somewhere", *overrides])


class TestFiles:
    """What the configs hold."""

    def test_the_page_has_every_row_of_the_paper(self) -> None:
        assert len(ROWS) == 30 + 15 + 10 + 10 + 12 + 7 + 4
        assert set(FOLDERS) == set(SIZES)

    @every_row
    def test_methods_differ_in_nothing_but_the_method(self, row: str) -> None:
        folder, method, label = row.split()
        one, base = read(ROWS[row][0], *ROWS[row][1]), deepcopy(read(folder))
        assert (one.data.labelled == "all") == (label == "all")
        nesterov = folder == "isic2017" and method not in ("cutout", "cutmix")
        assert one.optim.nesterov == nesterov
        base.data.labelled, base.optim.nesterov = one.data.labelled, nesterov
        for section in ("data", "network", "optim", "teacher", "supervised", "evaluation", "method"):
            assert getattr(one, section) == getattr(base, section)
        weight = WEIGHTS.get(folder.partition("/")[0], {}).get(method, 1.0)
        assert one.consistency.weight == (0.0 if method == "supervised" else weight)
        assert one.consistency.kind == ("kld" if method == "vat" else "var")
        assert one.perturbation["name"] == ("cutmix" if method == "supervised" else method)

    def test_every_row_has_a_run_folder_of_its_own(self) -> None:
        assert len({read(words, *further).runtime.out for words, further in ROWS.values()}) == len(ROWS)

    @pytest.mark.parametrize("folder", SETTINGS)
    def test_settings_are_those_of_the_published_runs(self, folder: str) -> None:
        optim, network, batch, crop = SETTINGS[folder]
        config = read(f"{folder}+cutmix")
        assert {name: getattr(config.optim, name) for name in optim} == optim
        assert {name: config.network[name] for name in network} == network
        assert config.network["weights"] == "imagenet"
        assert (config.data.batch_labelled, config.data.batch_unlabelled) == (batch, batch)
        assert config.data.augmentation["crop"] == crop
        assert config.data.unlabelled == "all"
        assert (config.teacher.decay, config.teacher.mode, config.teacher.joint) == (0.99, "train", False)
        loss = config.consistency
        assert (loss.threshold, loss.confidence, loss.normalise, loss.rampup) == (0.97, "mean", "all", 0)
        assert (config.supervised.cross_entropy, config.supervised.lovasz) == (1.0, 0.0)

    @every_folder
    def test_lists_that_are_not_shipped_come_with_their_command(self, folder: str) -> None:
        text = shipped_configs()[folder].read_text()
        command = re.search(r"rangeseg split --out splits .*", text)
        assert (command is not None) == (folder != "ade20k")
        if command is not None:
            counts = [row.split()[2] for row in ROWS if row.startswith(f"{folder} supervised ")]
            assert f"--dataset {folder.partition('/')[0]} " in command[0]
            assert "--by permutation" in command[0]
            assert f"--counts {' '.join(counts).removesuffix(' all')}" in command[0]

    def test_the_page_names_a_config_for_colour(self) -> None:
        assert "+cutmix_color " in PAGE
        assert Experiment(read("pascal_voc/deeplab_v2+cutmix_color")).perturbation.first.area == 0.5


def write_isic(root: Path) -> Path:
    """Four photographs of a disc, and its mask, as ISIC has them."""
    rows, columns = np.indices((60, 80))
    images, masks = root / "ISIC-2017_Training_Data", root / "ISIC-2017_Training_Part1_GroundTruth"
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for number in range(4):
        lesion = (rows - 30) ** 2 + (columns - 30 - 5 * number) ** 2 < 300
        image = np.where(lesion[..., None], (120, 60, 50), (220, 180, 170)).astype(np.uint8)
        Image.fromarray(image).save(images / f"ISIC_{number:07d}.jpg")
        Image.fromarray(255 * lesion.astype(np.uint8)).save(masks / f"ISIC_{number:07d}_segmentation.png")
    return root


def write_ade(root: Path) -> Path:
    """Four photographs of blocks of classes, as ADE20K has them."""
    rng = np.random.default_rng(3)
    images, labels = (root / "ADEChallengeData2016" / kind / "training" for kind in ("images", "annotations"))
    for folder in (images, labels):
        folder.mkdir(parents=True)
    for number in range(1, 5):
        label = rng.integers(0, 151, (6, 8)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
        Image.fromarray(np.stack([label, label, 255 - label], 2)).save(images / f"ADE_train_{number:08d}.jpg")
        Image.fromarray(label).save(labels / f"ADE_train_{number:08d}.png")
    return root


@pytest.fixture(scope="module")
def small(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Dataset -> overrides: where its few photographs are, and which are labelled."""
    tmp = tmp_path_factory.mktemp("small")
    voc = [f"2007_0000{number}" for number in (32, 33, 39, 42)]
    city = [f"aachen_{number:06d}_000019" for number in range(6)]
    for name, names in (("voc", voc), ("voc_labelled", voc[:2]), ("city_labelled", city[:2])):
        (tmp / f"{name}.txt").write_text("\n".join(names) + "\n")
    (tmp / "isic_labelled.txt").write_text("ISIC_0000000\nISIC_0000002\n")
    (tmp / "ade_labelled.txt").write_text("ADE_train_00000001\nADE_train_00000003\n")
    return {
        "pascal_voc": [
            f"data.root={data_root / 'voc'}",
            f"data.dataset.train_list={tmp / 'voc.txt'}",
            f"data.labelled={tmp / 'voc_labelled.txt'}",
        ],
        "cityscapes": [f"data.root={data_root / 'cityscapes'}", f"data.labelled={tmp / 'city_labelled.txt'}"],
        "isic2017": [
            f"data.root={write_isic(tmp / 'isic')}",
            f"data.labelled={tmp / 'isic_labelled.txt'}",
            "data.dataset.side=72",
        ],
        "ade20k": [f"data.root={write_ade(tmp / 'ade')}", f"data.labelled={tmp / 'ade_labelled.txt'}"],
    }


REDUCED = {
    "deeplab_v2": ["network.layers=50", "network.width=4", "data.augmentation.crop=[65,65]"],
    "deeplab_v3plus": ["network.layers=50", "network.width=4", "data.augmentation.crop=[65,65]"],
    "pspnet": ["network.encoder=resnet18", "network.width=4", "data.augmentation.crop=[65,65]"],
    "unet": ["network.encoder=resnet18", "network.width=8", "data.augmentation.crop=[64,64]"],
}
FEW = [
    "network.weights=none",
    "data.batch_labelled=2",
    "data.batch_unlabelled=2",
    "optim.steps=2",
    "runtime.out=unused",
]
FEW += ["consistency.threshold=0", "evaluation.split=train", "runtime.accelerator=cpu", "runtime.threads=1"]


@every_row
def test_a_row_takes_two_real_steps(row: str, small: dict[str, list[str]]) -> None:
    folder, method, label = row.split()
    dataset = folder.partition("/")[0]
    network = str(read(folder).network["name"])
    overrides = [part for part in small[dataset] if label != "all" or not part.startswith("data.labelled=")]
    config = read_config(ROWS[row][0], [*ROWS[row][1], *FEW, *REDUCED[network], *overrides])
    data = TrainingData.open(Experiment(config))
    everything = {"cityscapes": 6}.get(dataset, 4)
    assert (len(data.labelled), len(data.unlabelled)) == (everything if label == "all" else 2, everything)
    experiment = Experiment(config)
    assert experiment.back_projection is not None
    trainer = Trainer(make_fabric(config.runtime), experiment.make_network(), experiment.perturbation, config)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    rng = np.random.default_rng(0)
    labelled = View.stack([data.labelled.view(index, rng) for index in (0, 1)])
    a, b = (View.stack([data.unlabelled.view(index, rng) for index in pair]) for pair in ((0, 1), (2, 3)))
    for step in range(2):
        trainer.step = step
        losses = trainer.train_step(labelled, None if method == "supervised" else (a, b))
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert losses["supervised"] > 0
        assert ("consistency" in losses) == (method != "supervised")
        if method not in ("supervised", "vat"):  # an untrained network hardly feels VAT: zero within rounding
            assert losses["consistency"] > 0
    trained = [name for name, value in trainer.network.named_parameters() if value.requires_grad]
    moved = {name for name in trained if not torch.equal(before[name], trainer.network.get_parameter(name))}
    unused = {f"head.{branch}.{kind}" for branch in (2, 3) for kind in ("weight", "bias")}  # of DeepLab v2's four
    assert moved == set(trained) - (unused if network == "deeplab_v2" else set())


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@every_folder
def test_the_full_network_has_its_size_and_gives_logits(folder: str) -> None:
    config = read(folder, "network.weights=none")
    if str(config.network.get("encoder", "")).startswith("timm:"):
        pytest.importorskip("timm", reason="the encoder is timm's, which is not installed", exc_type=ImportError)
    classes = Experiment(config).label_map.num_classes
    with torch.device("meta"):
        assert count(Experiment(config).make_network(classes)) == SIZES[folder]
    network = Experiment(config).make_network(classes).eval()
    side = 65 if network.stride == (1, 1) else 64
    with torch.inference_mode():
        logits = network(torch.zeros(1, 3, side, side))
    assert logits.shape == (1, classes, side, side)
    assert logits.isfinite().all()
