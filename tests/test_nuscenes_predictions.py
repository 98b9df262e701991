"""nuScenes through training and `predict`: the submission's files, and a validator that finds what is wrong in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from test_nuscenes import POINTS, SWEEPS_BETWEEN, write_nuscenes

from rangeseg.cli import main
from rangeseg.config import Config, config_from, write_config
from rangeseg.data.nuscenes import NuScenes
from rangeseg.data.nuscenes_predictions import META, NuScenesPredictions, read_predictions
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData
from rangeseg.inference.predict import check_predictions, find_tasks, write_zip
from rangeseg.inference.submission import check_zip
from rangeseg.types import IGNORE, Scan

FILES = NuScenesPredictions(NuScenes.read_label_map())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Mini and test; of mini's val, which no official total is known of, three keyframes."""
    root = write_nuscenes(tmp_path / "nuscenes", "v1.0-mini", {"scene-0061": 2, "scene-0103": 2, "scene-0916": 1})
    return write_nuscenes(root, "v1.0-test", {"scene-0077": 2}, labels=False)


@pytest.fixture
def config(tiny_config: Config, root: Path) -> Config:
    data = {
        "root": str(root),
        "dataset": {"name": "nuscenes"},
        "projection": {"name": "spherical", "height": 16, "width": 64, "fov_up_deg": 10.0, "fov_down_deg": -30.0},
    }
    return config_from([OmegaConf.create(OmegaConf.to_container(OmegaConf.structured(tiny_config))), {"data": data}])


@pytest.fixture
def run(config: Config, tmp_path: Path) -> str:
    (tmp_path / "config.yaml").write_text(write_config(config))
    assert main(["train", str(tmp_path / "config.yaml"), "optim.steps=1", "evaluation.every=0"]) == 0
    return config.runtime.out


def whole_submission(root: Path, out: Path) -> NuScenes:
    """A submission of mini_val written without a network: every point is a car, class 4 of the benchmark."""
    source = NuScenes(root, "mini_val", labels=False)
    for file, target in FILES.of_split(source):
        FILES.write(out / target, np.full(POINTS, 3, np.uint8), FILES.read(file), file)
    assert FILES.finish(out, source) == [Path("mini_val/submission.json")]
    return source


def wrong(out: Path, source: NuScenes) -> list[str]:
    return check_predictions(find_tasks([], FILES, source), out, FILES) + FILES.problems(out, source)


def test_a_split_is_predicted_as_the_benchmark_takes_it(config: Config, run: str, root: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "out", Experiment(config).open("val", labels=False)
    assert isinstance(source, NuScenes)
    arguments = ["predict", run, "--split", "val", "--out", str(out), "--device", "cpu"]
    assert main([*arguments, "--zip", str(tmp_path / "s.zip")]) == 0
    expected = {Path("lidarseg", "mini_val", f"{source.token(i)}_lidarseg.bin") for i in range(3)}
    expected.add(Path("mini_val", "submission.json"))
    assert {path.relative_to(out) for path in out.rglob("*") if path.name[0] != "." and path.is_file()} == expected
    assert json.loads((out / "mini_val" / "submission.json").read_text()) == {"meta": META}
    for index in range(3):
        written = np.fromfile(out / "lidarseg" / "mini_val" / f"{source.token(index)}_lidarseg.bin", np.uint8)
        assert len(written) == POINTS
        assert set(written) <= set(range(1, 17))
    assert wrong(out, source) == []
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert {Path(name) for name in archive.namelist() if not name.endswith("/")} == expected
        assert {"lidarseg/", "lidarseg/mini_val/", "mini_val/"} < set(archive.namelist())


def test_confidence_files_beside_the_predictions_are_no_problem(run: str, tmp_path: Path) -> None:
    arguments = ["predict", run, "--split", "val", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*arguments, "--confidence", "--zip", str(tmp_path / "s.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".npz")]
    assert main([*arguments, "--zip", str(tmp_path / "s.zip")]) == 0


def test_predicting_goes_on_where_it_stopped(run: str, root: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "out", NuScenes(root, "mini_val", labels=False)
    arguments = ["predict", run, "--split", "val", "--out", str(out), "--device", "cpu"]
    assert main(arguments) == 0
    targets = [out / target for _, target in FILES.of_split(source)]
    content = targets[1].read_bytes()
    targets[0].write_bytes(bytes([4] * POINTS))  # whole: it stays
    targets[1].write_bytes(bytes(POINTS))  # zeros, which the benchmark does not take
    json_path = out / "mini_val" / "submission.json"
    json_path.write_text(json.dumps({"meta": META | {"use_external": True}}))
    assert main(arguments) == 0
    assert targets[0].read_bytes() == bytes([4] * POINTS)
    assert targets[1].read_bytes() == content
    assert json.loads(json_path.read_text())["meta"]["use_external"]


def test_no_zip_is_made_of_a_part_of_the_test_split(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, packed = tmp_path / "out", tmp_path / "s.zip"
    arguments = ["predict", run, "--split", "test", "--out", str(out), "--device", "cpu"]
    assert main([*arguments, "--zip", str(packed)]) != 0
    assert "split test: 2 scans; the official count is 6008" in capsys.readouterr().err
    assert not packed.exists()
    assert main([*arguments, "--zip", str(packed), "--partial"]) == 0
    assert len(list((out / "lidarseg" / "test").iterdir())) == 2
    assert "test/submission.json" in zipfile.ZipFile(packed).namelist()


def test_foreign_files_beside_predictions_are_told(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "lidarseg" / "test").mkdir(parents=True)
    (out / "lidarseg" / "test" / "other_lidarseg.bin").touch()
    assert main(["predict", run, "--split", "test", "--out", str(out), "--device", "cpu"]) != 0
    assert "other_lidarseg.bin: unexpected file" in capsys.readouterr().err.replace("\n", "")


def test_sweeps_are_unlabelled_data(config: Config) -> None:
    data = TrainingData.open(Experiment(config))
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (2, 2, 3)
    config.data.unlabelled = "none"
    config.data.unlabelled_from = [{"root": config.data.root, "dataset": {"name": "nuscenes"}, "split": "train_sweeps"}]
    data = TrainingData.open(Experiment(config))
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (2, 2 * (1 + SWEEPS_BETWEEN), 3)
    view = data.unlabelled.view(1, np.random.default_rng(0))
    assert (view.label == IGNORE).all()
    assert view.valid.any()


def test_other_files_keep_their_place(config: Config, run: str, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["predict", run, str(root / "sweeps"), "--out", str(out), "--device", "cpu"]) == 0
    scans = sorted((root / "sweeps" / "LIDAR_TOP").iterdir())
    written = sorted((out / "LIDAR_TOP").iterdir())
    assert [path.name for path in written] == [p.name.replace(".pcd.bin", "_lidarseg.bin") for p in scans]
    assert isinstance(Experiment(config).prediction_files, NuScenesPredictions)
    source, picture = NuScenes(root, "mini_val"), tmp_path / "p.png"
    keyframe = ["show", str(source.scan_path(0)), "--labels", str(source.pair(0).label), "--dataset", "nuscenes"]
    assert main([*keyframe, "--png", str(tmp_path / "labels.png")]) == 0
    arguments = ["show", str(scans[0]), "--prediction", str(written[0]), "--dataset", "nuscenes"]
    assert main([*arguments, "--png", str(picture)]) == 0
    assert picture.stat().st_size > 1000


def test_what_is_written_is_the_train_id_and_one(tmp_path: Path) -> None:
    labels = np.array([0, 15, IGNORE, 3], np.uint8)
    scan = Scan(np.ones((4, 3), np.float32), np.zeros(4, np.float32))
    FILES.write(tmp_path / "a_lidarseg.bin", labels, scan, tmp_path / "a.bin")
    driveable = NuScenes.read_label_map().names.index("driveable_surface")
    assert list((tmp_path / "a_lidarseg.bin").read_bytes()) == [1, 16, 1 + driveable, 4]
    assert list(read_predictions(tmp_path / "a_lidarseg.bin")) == [0, 15, driveable, 3]
    (tmp_path / "a_lidarseg.bin").write_bytes(bytes([0, 16]))
    assert list(read_predictions(tmp_path / "a_lidarseg.bin")) == [IGNORE, 15]
    with pytest.raises(ValueError, match="none: cannot be read"):
        read_predictions(tmp_path / "none")


def bin_file(out: Path) -> Path:
    return min((out / "lidarseg" / "mini_val").glob("*.bin"))


def write_meta(meta: object) -> Callable[[Path], object]:
    return lambda out: (out / "mini_val" / "submission.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda out: bin_file(out).unlink(), "missing"),
        (
            lambda out: bin_file(out).write_bytes(bytes([4] * (POINTS - 1))),
            "399 labels of one byte each for 400 points",
        ),
        (lambda out: bin_file(out).write_bytes(bytes([4] * (POINTS - 1) + [0])), r"values \[0\] are not in 1 to 16"),
        (
            lambda out: bin_file(out).write_bytes(bytes([4] * (POINTS - 2) + [17, 255])),
            r"values \[17, 255\] are not in",
        ),
        (lambda out: (out / "lidarseg" / "mini_val" / ".x.tmp").touch(), r"\.x\.tmp: unexpected"),
        (lambda out: (out / "mini_val" / "notes.txt").touch(), r"notes\.txt: unexpected"),
        (lambda out: (out / "mini_val" / "submission.json").unlink(), r"submission\.json: missing"),
        (lambda out: (out / "mini_val" / "submission.json").write_text("{"), r"submission\.json: not JSON"),
        (write_meta([]), "its meta must hold use_camera, use_lidar"),
        (write_meta({"meta": {"use_lidar": True}}), "its meta must hold"),
        (write_meta({"meta": META | {"more": True}}), "its meta must hold"),
        (write_meta({"meta": META | {"use_map": 0}}), "each true or false"),
        (write_meta({"meta": META | {"use_lidar": False}}), "its meta has use_lidar = false"),
    ],
)
def test_the_validator_finds(root: Path, tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    out = tmp_path / "out"
    source = whole_submission(root, out)
    assert wrong(out, source) == []
    damage(out)
    with pytest.raises(ValueError, match=said):
        raise ValueError("\n".join(wrong(out, source)))


def test_a_packed_submission_is_read_again(root: Path, tmp_path: Path) -> None:
    out, packed = tmp_path / "out", tmp_path / "s.zip"
    source = whole_submission(root, out)
    tasks, beside = find_tasks([], FILES, source), [Path("mini_val/submission.json")]
    write_zip(out, tasks, packed, beside=beside)
    assert check_zip(packed, tasks, FILES, beside=beside) == []
    write_zip(out, tasks, packed)
    assert check_zip(packed, tasks, FILES, beside=beside) == [
        "mini_val/: missing",
        "mini_val/submission.json: missing",
    ]


def test_the_devkit_takes_the_submission_and_scores_it_the_same(root: Path, tmp_path: Path) -> None:
    devkit = pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed", exc_type=ImportError)
    from nuscenes.eval.lidarseg.evaluate import LidarSegEval
    from nuscenes.eval.lidarseg.validate_submission import validate_submission

    out, rng = tmp_path / "out", np.random.default_rng(0)
    source = whole_submission(root, out)
    matrix = np.zeros((16, 16))
    for index, (file, target) in enumerate(FILES.of_split(source)):
        truth = NuScenes(root, "mini_val").scan(index).label
        assert truth is not None
        guess = np.where((rng.random(POINTS) < 0.5) & (truth != IGNORE), truth, rng.integers(0, 16, POINTS))
        FILES.write(out / target, guess, FILES.read(file), file)
        np.add.at(matrix, (truth[truth != IGNORE], guess[truth != IGNORE]), 1)
    tables = devkit.NuScenes("v1.0-mini", str(root), verbose=False)
    validate_submission(tables, str(out), "mini_val")
    iou = matrix.diagonal() / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal())
    score = LidarSegEval(tables, str(out), "mini_val").evaluate()
    assert score["miou"] == pytest.approx(iou.mean())
    bin_file(out).write_bytes(bytes(POINTS))
    with pytest.raises(AssertionError, match="must be between 1 and 16"):
        validate_submission(tables, str(out), "mini_val")
