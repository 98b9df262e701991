"""The published rows: their configs and their numbers. Tests compare the numbers in the docs with this table.

The name of a row is ``TABLE/METHOD/LABELS``: ``semantic_kitti/cutmix/10``, ``pascal_voc/deeplab_v2/cutmix/106``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rangeseg.registry import did_you_mean

LASERMIX = "LaserMix (Kong et al., CVPR 2023, arXiv 2207.00026), table 1, range view"
FRENCH = "French et al., BMVC 2020, by their repository"


@dataclass(frozen=True)
class Table:
    """Rows that share a dataset, a network and a way of scoring.

    Args:
        name: the table's name.
        config: the config that a row joins with the config of its method.
        labels: `data.labelled` of each column. {seed}, {lists} and {stem} stand for the seed, the folder of drawn lists
            and the name of the order's file.
        numbers: the numbers of each method, one for each column, some with a spread (``44.41±1.11``). A ``-`` stands
            for a number that nobody published.
        score: the keys that lead to the number in the file of `rangeseg evaluate --json`.
        source: the publication.
        joined: the config of a method whose config has another name than the method.
        further: further overrides of a method.
        seeds: the seeds of the published mean, or one seed.
        draw: the arguments of ``rangeseg split`` that draw the lists. {root}, {order} and {seed} are filled in.
        drawn: the columns that need drawn lists.
        best: the best checkpoint on the scored split counts. If false, the last checkpoint counts.
        level: the level of the score.
    """

    name: str
    config: str
    labels: Mapping[str, str]
    numbers: Mapping[str, str]
    score: tuple[str, ...]
    source: str
    joined: Mapping[str, str] = field(default_factory=dict)
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    draw: str = ""
    drawn: tuple[str, ...] = ()
    best: bool = False
    level: str = "original pixels"


@dataclass(frozen=True)
class Row:
    """One number of a table."""

    table: Table
    method: str
    labels: str

    @property
    def name(self) -> str:
        """``TABLE/METHOD/LABELS``."""
        return f"{self.table.name}/{self.method}/{self.labels}"

    @property
    def published(self) -> str:
        """The number in %, with its spread if it has one. Empty if nobody published it."""
        place = list(self.table.labels).index(self.labels)
        return self.table.numbers[self.method].split()[place].replace("-", "")

    @property
    def words(self) -> str:
        """The config in the words of `rangeseg train`."""
        return f"{self.table.config}+{self.table.joined.get(self.method, self.method)}"


LIDAR = {"cbst": "cbst+identity", "cps": "cps+identity", "lasermix": "lasermix_loop"}
SHARES = {share: f"train_{share}pct_uniform" for share in ("1", "10", "20", "50")}
PIXELS = ("pixels", "mean_iou")
VOC_LABELS = {n: f"{{lists}}/train_{n}_{{stem}}.txt" for n in ("106", "212", "529", "1323")} | {"all": "all"}
VOC_DRAW = "--dataset pascal_voc --root {root} --by permutation --order {order} --counts 106 212 529 1323"
CITY_LABELS = {n: f"{{lists}}/train_{n}_seed{{seed}}.txt" for n in ("100", "372", "744")} | {"all": "all"}
CITY_DRAW = "--dataset cityscapes --root {root} --by permutation --counts 100 372 744 --seed {seed}"
CITY_SEEDS = (12345, 23456, 34567, 45678, 56789)
VOC_WEIGHTS = {
    "affine": ("consistency.weight=0.003",),
    "vat": (
        "consistency.kind=kld",
        "consistency.weight=0.1",
    ),
    "ict": ("consistency.weight=0.01",),
}
COLOR = {
    method: (f"perturbation={{name: compose, before: [{{name: color}}], first: {{name: {method}}}}}",)
    for method in ("affine", "vat", "ict", "cutout")
}


def _voc(
    network: str,
    numbers: Mapping[str, str],
    joined: Mapping[str, str] | None = None,
    further: Mapping[str, tuple[str, ...]] | None = None,
) -> Table:
    """A table of Pascal VOC. It has one split, therefore one seed."""
    return Table(
        f"pascal_voc/{network}", f"pascal_voc/{network.removesuffix('_color')}", VOC_LABELS, numbers, ("mean_iou",),
        FRENCH, joined=joined or {}, further=further or VOC_WEIGHTS, draw=VOC_DRAW,
        drawn=("106", "212", "529", "1323"),
    )  # fmt: skip


TABLES = (
    Table(
        "semantic_kitti", "semantic_kitti/published", SHARES,
        {
            "supervised": "36.2 52.2 55.9 57.2",
            "mean_teacher": "37.5 53.1 56.1 57.4",
            "cbst": "39.9 53.4 56.1 56.9",
            "cps": "36.5 52.3 56.3 57.4",
            "cutmix": "37.4 54.3 56.6 57.6",
            "lasermix": "43.4 58.8 59.4 61.4",
        },
        PIXELS, LASERMIX, joined=LIDAR, best=True, level="pixels of the range image",
    ),
    Table(
        "scribble_kitti", "scribble_kitti/published", SHARES,
        {
            "supervised": "33.1 47.7 49.9 52.5",
            "mean_teacher": "34.2 49.8 51.6 53.3",
            "cbst": "35.7 50.7 52.7 54.6",
            "cps": "33.7 50.0 52.8 54.6",
            "cutmix": "36.7 50.7 52.9 54.3",
            "lasermix": "38.3 54.4 55.6 58.7",
        },
        PIXELS, LASERMIX, joined=LIDAR, best=True, level="pixels of the range image",
    ),
    Table(
        "nuscenes", "nuscenes/published", {share: f"{{lists}}/{listed}.txt" for share, listed in SHARES.items()},
        {
            "supervised": "38.3 57.5 62.7 67.6",
            "mean_teacher": "42.1 60.4 65.4 69.4",
            "cbst": "40.9 60.5 64.3 69.3",
            "cps": "40.7 60.8 64.9 68.0",
            "cutmix": "43.8 63.9 64.8 69.8",
            "lasermix": "49.5 68.2 70.6 73.0",
        },
        PIXELS, LASERMIX, joined=LIDAR, draw="--dataset nuscenes --root {root} --by frame --seed 0",
        drawn=tuple(SHARES), best=True, level="pixels of the range image",
    ),
    _voc("deeplab_v2", {
        "supervised": "33.09 43.15 52.05 60.56 72.59",
        "affine": "32.40 42.81 53.37 60.66 72.24",
        "vat": "38.81 48.55 58.50 62.93 72.18",
        "ict": "35.82 46.28 53.17 59.63 71.50",
        "cutout": "48.73 58.26 64.37 66.79 72.03",
        "cutmix": "53.79 64.81 66.48 67.60 72.54",
    }),
    _voc("deeplab_v3plus", {
        "supervised": "37.95 48.35 59.19 66.58 76.70",
        "cutout": "- - - - -",
        "cutmix": "59.52 67.05 69.57 72.45 76.73",
    }),
    _voc("unet", {"supervised": "29.22 39.92 50.31 60.65 72.30", "cutmix": "54.19 63.81 66.57 66.78 72.02"}),
    _voc("pspnet", {"supervised": "36.69 46.96 59.02 66.67 77.59", "cutmix": "67.20 68.80 73.33 74.11 77.42"}),
    _voc(
        "deeplab_v2_color",
        {
            "affine": "46.42 49.97 57.17 65.88 73.21",
            "vat": "40.05 49.52 57.60 63.05 72.29",
            "ict": "49.14 57.52 64.06 66.68 72.91",
            "cutout": "52.43 60.15 65.78 67.71 73.20",
            "cutmix": "53.19 65.19 67.65 69.08 73.29",
        },
        joined={"cutmix": "cutmix_color"},
        further={
            **COLOR,
            "affine": (*COLOR["affine"], "consistency.weight=1.0"),
            "vat": (*COLOR["vat"], *VOC_WEIGHTS["vat"]),
            "ict": (*COLOR["ict"], "consistency.weight=1.0"),
        },
    ),
    _voc("deeplab_v3plus_color", {"cutmix": "60.02 66.84 71.62 72.96 77.67"}, joined={"cutmix": "cutmix_color"}),
    Table(
        "cityscapes", "cityscapes", CITY_LABELS,
        {
            "supervised": "44.41±1.11 55.25±0.66 60.57±1.13 67.53±0.35",
            "cutout": "47.21±1.74 57.72±0.83 61.96±0.99 67.47±0.68",
            "cutmix": "51.20±2.29 60.34±1.24 63.87±0.71 67.68±0.37",
        },
        ("mean_iou",), FRENCH, seeds=CITY_SEEDS, draw=CITY_DRAW, drawn=("100", "372", "744"),
        level="pixels at 1024 x 512",
    ),
    Table(
        "cityscapes_color", "cityscapes", CITY_LABELS,
        {"cutout": "48.28 58.30 62.59 67.93", "cutmix": "51.98 61.08 64.61 68.11"},
        ("mean_iou",), FRENCH, joined={"cutmix": "cutmix_color"}, further=COLOR, seeds=CITY_SEEDS, draw=CITY_DRAW,
        drawn=("100", "372", "744"), level="pixels at 1024 x 512",
    ),
    Table(
        "isic2017", "isic2017", {"50": "{lists}/train_50_seed{seed}.txt", "all": "all"},
        {
            "supervised": "67.64±1.83 78.61±0.36",
            "affine": "71.40±2.34 -",
            "vat": "69.09±1.38 -",
            "ict": "65.45±3.50 -",
            "cutout": "68.76±4.30 -",
            "cutmix": "74.57±1.03 -",
        },
        ("iou", "lesion"), FRENCH, seeds=(12345, 23456, 78901, 89012, 90123),
        further={
            "supervised": ("optim.nesterov=true",),
            "affine": ("consistency.weight=0.1", "perturbation.scale=[1.0,1.0]", "optim.nesterov=true",),
            "vat": ("consistency.kind=kld", "consistency.weight=0.001", "optim.nesterov=true",),
            "ict": ("consistency.weight=0.0003", "optim.nesterov=true",),
        },
        draw="--dataset isic2017 --root {root} --by permutation --counts 50 --seed {seed}", drawn=("50",),
        level="IoU of the lesion, pixels at 248 x 248, holes filled",
    ),
    Table(
        "ade20k", "ade20k", {share: f"train_{share}_uniform" for share in ("6.25pct", "12.5pct")},
        {"supervised": "- -", "cutmix": "26.2 29.8"}, ("mean_iou",), "a third party, as a baseline of later papers",
    ),
)  # fmt: skip

ROWS = {
    row.name: row
    for table in TABLES
    for method in table.numbers
    for row in (Row(table, method, labels) for labels in table.labels)
}
"""All rows by their names."""


def find_rows(word: str) -> list[Row]:
    """The row of this name, or all rows whose names begin with it and a slash.

    A row without a published number is found by its full name only.

    Args:
        word: ``semantic_kitti``, ``semantic_kitti/cutmix`` or ``semantic_kitti/cutmix/10``.

    Raises:
        ValueError: no row has such a name.
    """
    if word in ROWS:
        return [ROWS[word]]
    found = [row for name, row in ROWS.items() if name.startswith(f"{word}/") and row.published]
    if not found:
        known = [*dict.fromkeys(table.name for table in TABLES), *ROWS]
        raise ValueError(f"No published row is named {word!r}. {did_you_mean(word, known)}")
    return found
