"""nuScenes in its official layout: a made-up tree in the documented format, real fragments, the devkit as oracle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rangeseg.cli import main
from rangeseg.data.nuscenes import SWEEPS, VERSIONS, NuScenes
from rangeseg.data.nuscenes_tables import read_records
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE

CLASSES = NuScenes.read_label_map()
MINI = {"scene-0061": 3, "scene-0103": 2, "scene-0916": 1}
TRAINVAL = {"scene-0001": 3, "scene-0002": 2, "scene-0003": 2, "scene-0012": 1}
SWEEPS_BETWEEN = 2
POINTS = 400


def token(*words: object) -> str:
    return md5(" ".join(map(str, words)).encode()).hexdigest()


def cloud(seed: int, points: int = POINTS) -> np.ndarray:
    """(points, 5) float32 as the files have it: ring 0 is the lowest beam of 32, from -30.67 to 10.67 degrees."""
    rng = np.random.default_rng(seed)
    ring = rng.integers(0, 32, points)
    inclination, azimuth = np.deg2rad(-30.67 + ring * 41.34 / 31), rng.uniform(-np.pi, np.pi, points)
    distance = rng.uniform(2, 60, points)
    horizontal = distance * np.cos(inclination)
    x, y, z = horizontal * np.cos(azimuth), horizontal * np.sin(azimuth), distance * np.sin(inclination)
    return np.stack([x, y, z, rng.integers(0, 256, points), ring], axis=1).astype(np.float32)


def write_nuscenes(root: Path, version: str, scenes: dict[str, int], *, labels: bool = True) -> Path:
    """Tables and files of some scenes of so many keyframes each, `SWEEPS_BETWEEN` sweeps after every one."""
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("attribute", "visibility", "instance", "ego_pose", "sample_annotation")
    }
    tables["map"] = [{"token": token("map"), "log_tokens": [token("log")], "filename": "maps/map.png"}]
    (root / "maps").mkdir(parents=True, exist_ok=True)
    (root / "maps" / "map.png").touch()
    tables["sensor"] = [{"token": token(name), "channel": name, "modality": "x"} for name in ("LIDAR_TOP", "CAM_FRONT")]
    tables["calibrated_sensor"] = [
        {"token": token("calibrated", row["channel"]), "sensor_token": row["token"]} for row in tables["sensor"]
    ]
    tables["log"] = [{"token": token("log"), "logfile": "n015"}]
    tables["category"] = [
        {"token": token(name), "name": name, "description": ""} | ({"index": raw} if labels else {})
        for raw, name in CLASSES.raw_names.items()
    ]
    tables |= {name: [] for name in ("scene", "sample", "sample_data", "lidarseg")}
    for number, (scene, keyframes) in enumerate(scenes.items()):
        samples = [token(scene, frame) for frame in range(keyframes)]
        tables["scene"].append(
            {"token": token(scene), "log_token": token("log"), "nbr_samples": keyframes, "name": scene}
            | {"first_sample_token": samples[0], "last_sample_token": samples[-1], "description": "a [street], wet"}
        )
        for frame, sample in enumerate(samples):
            start = 1532402900000000 + 10_000_000 * number + 500_000 * frame
            following = samples[frame + 1] if frame + 1 < keyframes else ""
            tables["sample"].append(
                {"token": sample, "timestamp": start, "scene_token": token(scene), "next": following}
            )
            for step in range(1 + SWEEPS_BETWEEN):
                for channel in ("CAM_FRONT", "LIDAR_TOP"):
                    tables["sample_data"].append(sample_data(root, sample, channel, start + 50_000 * step, step == 0))
            row = tables["sample_data"][-2 * SWEEPS_BETWEEN - 1]
            if labels:
                write_labels(root, version, tables["lidarseg"], row["token"], number * 100 + frame)
    if not labels:
        del tables["lidarseg"]
    (root / version).mkdir(parents=True)
    for name, rows in tables.items():
        (root / version / f"{name}.json").write_text(json.dumps(rows, indent=0))
    return root


def sample_data(root: Path, sample: str, channel: str, timestamp: int, key: bool) -> dict[str, Any]:
    kind, ending = ("pcd", "pcd.bin") if channel == "LIDAR_TOP" else ("jpg", "jpg")
    file = f"{'samples' if key else 'sweeps'}/{channel}/n015__{channel}__{timestamp}.{ending}"
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pcd":
        cloud(timestamp % 2**32).tofile(path)
    return {"token": token(channel, timestamp), "sample_token": sample, "ego_pose_token": ""} | {
        "calibrated_sensor_token": token("calibrated", channel), "timestamp": timestamp, "fileformat": kind,
        "is_key_frame": key, "height": 0, "width": 0, "filename": file,
    }  # fmt: skip


def write_labels(root: Path, version: str, table: list[dict[str, Any]], of: str, seed: int) -> None:
    file = f"lidarseg/{version}/{of}_lidarseg.bin"
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    np.random.default_rng(seed).integers(0, 32, POINTS).astype(np.uint8).tofile(root / file)
    table.append({"token": of, "sample_data_token": of, "filename": file})


def label_path(source: NuScenes, index: int) -> Path:
    path = source.pair(index).label
    assert path is not None
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that no test may change."""
    root = write_nuscenes(tmp_path_factory.mktemp("nuscenes"), "v1.0-mini", MINI)
    write_nuscenes(root, "v1.0-trainval", TRAINVAL)
    return write_nuscenes(root, "v1.0-test", {"scene-0077": 2}, labels=False)


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A tree to break."""
    return write_nuscenes(tmp_path / "nuscenes", "v1.0-mini", MINI)


def test_lists_of_tokens_are_read_as_they_are(tree: Path, tmp_path: Path) -> None:
    names = NuScenes(tree, "train").names
    path = tmp_path / "labelled_list.txt"
    for tokens in (
        [token("scene-0001", 2), token("scene-0002", 0)],  # of sample.json
        [token("LIDAR_TOP", name.split("/")[1]) for name in (names[2], names[3])],  # of sample_data.json
        [names[3], token("scene-0001", 2)],
    ):
        path.write_text("".join(f"{one}\n" for one in tokens))
        for split in ("train", "train_sweeps"):
            assert NuScenes(tree, split, subset=path).names == (names[2], names[3])
    path.write_text(token("scene-0003", 0))  # of val
    with pytest.raises(ValueError, match=r"1 of 1 listed scans do not exist: [0-9a-f]{32}"):
        NuScenes(tree, "train", subset=path)


@pytest.mark.parametrize(
    ("split", "version", "scenes"),
    [
        ("train", "v1.0-trainval", {"scene-0001": 3, "scene-0002": 2}),
        ("val", "v1.0-trainval", {"scene-0003": 2, "scene-0012": 1}),
        ("test", "v1.0-test", {"scene-0077": 2}),
        ("mini_train", "v1.0-mini", {"scene-0061": 3}),
        ("mini_val", "v1.0-mini", {"scene-0103": 2, "scene-0916": 1}),
    ],
)
def test_a_split_is_the_keyframes_of_its_scenes(tree: Path, split: str, version: str, scenes: dict[str, int]) -> None:
    source = NuScenes(tree, split)
    assert (source.version, source.split) == (version, split)
    assert [name.split("/")[0] for name in source.names] == [s for s, frames in scenes.items() for _ in range(frames)]
    assert list(source.names) == sorted(source.names)
    assert all("/samples/LIDAR_TOP/" in source.scan_path(index).as_posix() for index in range(len(source)))


@pytest.mark.parametrize("split", VERSIONS)
def test_sweeps_lie_between_the_keyframes_and_have_no_labels(tree: Path, split: str) -> None:
    keyframes, source = NuScenes(tree, split), NuScenes(tree, split + SWEEPS)
    assert len(source) == (1 + SWEEPS_BETWEEN) * len(keyframes)
    assert source.names[:: 1 + SWEEPS_BETWEEN] == keyframes.names
    assert list(source.names) == sorted(source.names)
    for index in range(len(source)):
        labelled = source.scan(index).label is not None
        assert labelled == (source.name(index) in keyframes.names and split != "test")
    if split == "test":
        with pytest.raises(ValueError, match=r"none of the .* scans of split test_sweeps has a label file"):
            source.with_labels()
    else:
        assert source.with_labels().names == keyframes.names


def test_train_and_val_of_mini_are_its_own(tree: Path, mini: Path) -> None:
    for split in ("train", "val", "train_sweeps"):
        for source in (NuScenes(tree, split, version="v1.0-mini"), NuScenes(mini, split)):
            assert source.split == f"mini_{split}"
            assert source.names == NuScenes(tree, f"mini_{split}").names


def test_a_scan_is_what_the_files_hold(tree: Path) -> None:
    source = NuScenes(tree, "train")
    for index in range(len(source)):
        table = np.fromfile(source.scan_path(index), np.float32).reshape(-1, 5)
        raw = np.fromfile(label_path(source, index), np.uint8)
        scan = source.scan(index)
        np.testing.assert_array_equal(scan.xyz, table[:, :3])
        np.testing.assert_array_equal(scan.remission, table[:, 3] / np.float32(255))
        np.testing.assert_array_equal(scan.ring, 31 - table[:, 4])
        np.testing.assert_array_equal(scan.label, [CLASSES.learning_map[int(one)] for one in raw])
        assert source.token(index) in label_path(source, index).name
        hidden = NuScenes(tree, "train", labels=False).scan(index)
        assert hidden.label is None
        np.testing.assert_array_equal(hidden.xyz, scan.xyz)


def test_scans_are_kept_by_name_and_by_scene(tree: Path, tmp_path: Path) -> None:
    source = NuScenes(tree, "train")
    (tmp_path / "list.txt").write_text(f"# two\nscene-0002\n{source.names[1]}  # the second\n")
    kept = (source.names[1], *source.names[3:])
    assert NuScenes(tree, "train", subset=tmp_path / "list.txt").names == kept
    assert NuScenes(tree, "train", subset=[kept[0], "scene-0002"]).names == kept
    some = NuScenes(tree, "train", subset=["scene-0002"])
    assert [some.token(index) for index in range(2)] == [source.token(3), source.token(4)]
    with pytest.raises(ValueError, match=r"1 of 2 listed scans do not exist: scene-0003\. Name scans of split train"):
        NuScenes(tree, "train", subset=["scene-0001", "scene-0003"])


def test_lists_are_drawn_by_frame_and_by_scene(tree: Path, tmp_path: Path) -> None:
    names = NuScenes(tree, "train").names
    for by, kind, count in (("frame", "uniform", 5), ("scene", "scenes", 2)):
        arguments = ["--dataset", "nuscenes", "--root", str(tree), "--by", by, "--fractions", "0.4", "1"]
        assert main(["split", "--out", str(tmp_path), *arguments]) == 0
        half, whole = (tmp_path / f"train_{percent}pct_{kind}.txt" for percent in (40, 100))
        assert f"of {count} training {'scans' if by == 'frame' else 'scenes'}" in half.read_text()
        kept = NuScenes(tree, "train", subset=half).names
        assert 0 < len(kept) < len(names)
        assert set(kept) < set(NuScenes(tree, "train", subset=whole).names) == set(names)
    assert main(["split", "--out", str(tmp_path), *arguments[:4], "--options", "version=v1.0-mini"]) == 0
    assert NuScenes(tree, "mini_train", subset=tmp_path / "train_50pct_uniform.txt").split == "mini_train"


def test_the_splits_are_complete_and_apart() -> None:
    counts = {split: len(scenes) for split, scenes in CLASSES.splits.items()}
    assert counts == {"train": 700, "val": 150, "test": 150, "mini_train": 8, "mini_val": 2}
    train, val, test = (set(CLASSES.splits[split]) for split in ("train", "val", "test"))
    assert len(train | val | test) == 1000
    for split, scenes in CLASSES.splits.items():
        assert list(scenes) == sorted(scenes)
        assert all(re.fullmatch(r"scene-\d{4}", scene) for scene in scenes)
        assert split in VERSIONS
    assert set(CLASSES.splits["mini_train"] + CLASSES.splits["mini_val"]) <= train | val


def test_the_learning_map_is_the_benchmarks() -> None:
    benchmark = {9: 1, 14: 2, 15: 3, 16: 3, 17: 4, 18: 5, 21: 6, 2: 7, 3: 7, 4: 7, 6: 7, 12: 8, 22: 9, 23: 10}
    benchmark |= {24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 30: 16}
    assert CLASSES.num_classes == 16
    assert dict(CLASSES.learning_map) == {raw: benchmark.get(raw, IGNORE + 1) - 1 for raw in range(32)}
    assert CLASSES.raw_names[26] == "flat.sidewalk"  # the devkit's page of instructions numbers 25 to 30 differently


def test_partly_unpacked_blobs(mini: Path) -> None:
    whole = NuScenes(mini, "mini_val_sweeps")
    sweep = whole.scan_path(1)
    content = sweep.read_bytes()
    sweep.unlink()
    assert len(NuScenes(mini, "mini_val")) == 3  # which needs no sweeps
    with pytest.raises(
        ValueError,
        match=rf"{sweep.name}: missing; 1 scans of 1 scenes are missing, but other scans of these scenes exist",
    ):
        NuScenes(mini, "mini_val_sweeps")
    sweep.write_bytes(content)
    for index in range(6):
        whole.scan_path(index).unlink()
    assert whole.name(5).startswith("scene-0103")
    rest = NuScenes(mini, "mini_val")
    assert rest.names == whole.names[6:7]
    rest.scan_path(0).unlink()
    with pytest.raises(ValueError, match=r"missing, like all 3 scans in the tables\. Unpack nuScenes' blobs"):
        NuScenes(mini, "mini_val")


def test_labels_that_are_missing_or_do_not_fit(mini: Path) -> None:
    source = NuScenes(mini, "mini_train")
    label_path(source, 0).write_bytes(bytes(POINTS - 1))
    with pytest.raises(ValueError, match=rf"_lidarseg\.bin: {POINTS - 1} labels for {POINTS} points of .*pcd\.bin"):
        source.scan(0)
    label_path(source, 1).write_bytes(bytes([32] * POINTS))
    with pytest.raises(ValueError, match=r"_lidarseg\.bin: 400 labels have raw ids .* does not know: 32"):
        source.scan(1)
    label_path(source, 2).unlink()
    with pytest.raises(ValueError, match=r"_lidarseg\.bin: the labels of .* are missing\. Unpack them there"):
        source.scan(2)
    assert NuScenes(mini, "mini_train", labels=False).scan(2).label is None


def test_what_is_not_there_says_what_to_do(tree: Path, mini: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no split 'training'; use train, val, test, mini_train, mini_val"):
        NuScenes(tree, "training")
    with pytest.raises(ValueError, match=r"split test needs the tables of v1\.0-test; found v1\.0-mini\."):
        NuScenes(mini, "test")
    with pytest.raises(ValueError, match=r"found no folder of tables\. Give the folder that holds"):
        NuScenes(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no LIDAR_TOP scan of split test\. Leave `version` out, or .* v1\.0-test\."):
        NuScenes(mini, "test", version="v1.0-mini")
    with pytest.raises(ValueError, match=r"v1\.0/scene\.json: cannot be read \(No such file"):
        NuScenes(mini, "train", version="v1.0", labels=False)


def break_row(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    """A table whose last row is changed."""

    def broken(text: str) -> str:
        rows = json.loads(text)
        change(rows[-1])
        return json.dumps(rows)

    return broken


@pytest.mark.parametrize("table", ["scene", "sample", "sample_data", "category"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: "", "empty|not complete JSON"),
        (lambda text: text[: len(text) // 2], "does not end|not complete JSON"),
        (lambda text: text.replace(": ", " "), "not complete JSON"),
        (lambda text: '{"LIDAR_TOP": 3}', "not a list|does not end"),
        (lambda text: '["LIDAR_TOP"]', "does not have nuScenes'|no complete row"),
        (break_row(lambda row: row.clear() or row.update(filename="LIDAR_TOP")), "a row has no entry"),
    ],
)
def test_broken_tables_are_named(mini: Path, table: str, damage: Callable[[str], str], said: str) -> None:
    path = mini / "v1.0-mini" / f"{table}.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=rf"{table}\.json: cannot be read \(.*({said}).*Unpack nuScenes' metadata"):
        NuScenes(mini, "mini_train")


def test_other_numbers_for_the_classes(mini: Path) -> None:
    path = mini / "v1.0-mini" / "category.json"
    rows = json.loads(path.read_text())
    rows[25]["index"], rows[26]["index"] = 26, 25
    path.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"category\.json: its raw ids are not those .*flat\.other"):
        NuScenes(mini, "mini_train")
    assert len(NuScenes(mini, "mini_train", labels=False)) == 3


def test_tables_are_read_once_and_again_when_they_change(mini: Path) -> None:
    first = read_records(mini / "v1.0-mini")
    assert read_records(mini / "v1.0-mini") is first
    path = mini / "v1.0-mini" / "scene.json"
    path.write_text(path.read_text().replace("scene-0061", "scene-0553"))
    assert {record.scene for record in read_records(mini / "v1.0-mini")} == {"scene-0553", "scene-0103", "scene-0916"}


def test_tables_however_they_are_spaced(mini: Path) -> None:
    before = read_records(mini / "v1.0-mini")
    for indent in (None, 4):
        path = mini / "v1.0-mini" / "sample_data.json"
        path.write_text(json.dumps(json.loads(path.read_text()), indent=indent) + "\n")
        assert read_records(mini / "v1.0-mini") == before


def test_real_labels_of_keyframes(data_root: Path) -> None:
    folder = data_root / "nuscenes_fragments"
    files = sorted((folder / "lidarseg").glob("*_lidarseg.bin"))
    assert len(files) == 16
    for file in files:
        raw = np.fromfile(file, np.uint8)
        name = file.name.removesuffix("_lidarseg.bin")
        scan = NuScenes.read(folder / "samples" / f"{name}__LIDAR_TOP.pcd.bin", file, label_map=CLASSES)
        assert scan.label is not None
        assert len(scan) == len(raw)
        assert (scan.label == IGNORE).sum() == np.isin(
            raw, [r for r, t in CLASSES.learning_map.items() if t == IGNORE]
        ).sum()


def test_a_real_sweep_in_a_tree(data_root: Path, mini: Path) -> None:
    (sweep,) = (data_root / "nuscenes_fragments" / "raw").iterdir()
    source = NuScenes(mini, "mini_train", labels=False)
    source.scan_path(0).write_bytes(sweep.read_bytes())
    scan = source.scan(0)
    assert len(scan) == 34688
    assert scan.ring is not None
    assert set(scan.ring) == set(range(32))


def test_the_devkit_reads_the_same(tree: Path) -> None:
    devkit = pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed", exc_type=ImportError)
    from nuscenes.eval.lidarseg.utils import LidarsegClassMapper
    from nuscenes.utils.splits import create_splits_scenes

    scenes = create_splits_scenes()
    assert {split: sorted(scenes[split]) for split in VERSIONS} == {s: list(n) for s, n in CLASSES.splits.items()}
    for version, split in (("v1.0-mini", "mini_val"), ("v1.0-trainval", "train")):
        other = devkit.NuScenes(version, str(tree), verbose=False)
        mapper = LidarsegClassMapper(other)
        names = {index: name for name, index in mapper.coarse_name_2_coarse_idx_mapping.items()}
        assert tuple(names[1 + train] for train in range(16)) == CLASSES.names
        assert [mapper.coarse_colormap[name] for name in CLASSES.names] == list(map(tuple, CLASSES.colors))
        source = NuScenes(tree, split)
        for index in range(len(source)):
            row = other.get("sample_data", source.token(index))
            assert (row["channel"], row["is_key_frame"]) == ("LIDAR_TOP", True)
            assert other.get("scene", other.get("sample", row["sample_token"])["scene_token"])["name"] in source.name(
                index
            )
            assert source.scan_path(index) == tree / row["filename"]
            label = other.get("lidarseg", source.token(index))["filename"]
            assert label_path(source, index) == tree / label
            classes = mapper.convert_label(np.fromfile(tree / label, np.uint8))
            np.testing.assert_array_equal(source.scan(index).label, np.where(classes == 0, IGNORE, classes - 1))


def test_frequencies_are_shares_of_all_points() -> None:
    assert isinstance(CLASSES, LabelMap)
    assert CLASSES.frequencies is not None
    assert 0.7 < CLASSES.frequencies.sum() < 1 - 0.28  # 28 % of all points hit the car that carries the sensor
    weights = CLASSES.class_weights()
    assert weights.argmin() == CLASSES.names.index("driveable_surface")
    assert weights.argmax() == CLASSES.names.index("bicycle")
