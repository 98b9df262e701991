"""Labels that are less sure than asked are left out, in every form that labels are written in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_photo_config
from test_predict_drive import tiny_drive  # noqa: F401 - a fixture

from rangeseg import IGNORE, LabelMap, Segmenter, read_scan
from rangeseg.apps.predict_recording import Labelling
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.training import train
from rangeseg.inference.labelled_files import least_sure
from rangeseg.inference.pseudo_labels import BINS, Balance, pseudo_label
from rangeseg.inference.segmentation import Segmentation
from rangeseg.resources import resource
from rangeseg.scan_formats.arrays import read_arrays
from rangeseg.scan_formats.point_cloud2 import AUTOWARE, points_of_columns
from rangeseg.scan_io import read_labels

KITTI = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))


def expected(found: Segmentation, least: float, road: float) -> np.ndarray:
    """Element by element."""
    assert found.confidence is not None
    index = found.label_map.names.index("road")
    wanted = np.array([road if label == index else least for label in found.labels.tolist()], np.float32)
    return np.where(found.confidence >= wanted, found.labels, IGNORE)


def test_the_words_are_thresholds_of_classes() -> None:
    assert least_sure([], KITTI) is None
    least = least_sure(["car=0.5,road=0.9", "0.6"], KITTI)
    assert least is not None
    wanted = {name: 0.6 for name in KITTI.names} | {"car": 0.5, "road": 0.9}
    np.testing.assert_allclose(least, list(wanted.values()))
    only = least_sure(["car=1"], KITTI)
    assert only is not None
    assert only.sum() == 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cra=0.5", "no class 'cra'.*car"),
        ("1.5", "not a number in"),
        ("car=x", "not a number in"),
        ("nan", "not a number in"),
    ],
)
def test_bad_words_are_named(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        least_sure([word], KITTI)


def test_predict_leaves_them_out_and_notices_another_threshold(
    tiny_kitti: Path, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_kitti / "sequences/08/velodyne/000000.bin"
    words = ["predict", "first-answer", str(path), "--out", str(tmp_path), "--device", "cpu"]
    found = segmenter(read_scan(path))
    wanted = expected(found, 0.5, 0.7)
    assert 0.05 < (wanted == IGNORE).mean() < 0.95
    assert main([*words, "--unsure", "0.5,road=0.7"]) == 0
    assert f"{(wanted == IGNORE).mean():.1%} of all have no label" in " ".join(capsys.readouterr().out.split())
    folder = tmp_path / "sequences/08/predictions"
    np.testing.assert_array_equal(read_labels(folder / "000000.label")[0], KITTI.to_raw(wanted))
    assert main(words) == 1  # what lies there is not what is asked
    assert "unsure differ" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--overwrite", "--confidence", "--unsure", "0.5,road=0.7", "--format", "npz"]) == 0
    table = read_arrays(folder / "000000.npz")
    np.testing.assert_array_equal(table["label"], KITTI.to_raw(wanted))
    np.testing.assert_allclose(table["confidence"], found.confidence, atol=1e-5)  # of the labels left out, too


def test_a_drive_is_told_with_confidence_and_without_the_unsure(
    tiny_drive: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["predict", "--drive", str(tiny_drive), "--votes", "1", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "all"), "--confidence"]) == 0
    assert main([*words, "--out", str(tmp_path / "sure"), "--unsure", "0.6"]) == 0
    assert main([*words, "--out", str(tmp_path / "all"), "--filter", "car"]) == 1
    assert "--filter: not with --drive" in capsys.readouterr().err
    for number in range(3):
        place = f"sequences/00/predictions/00000{number}"
        labels, kept = (read_labels(tmp_path / out / f"{place}.label")[0] for out in ("all", "sure"))
        confidence = read_arrays(tmp_path / "all" / f"{place}_confidence.npz")["confidence"]
        np.testing.assert_array_equal(kept, np.where(confidence >= np.float32(0.6), labels, 0))
        assert 0 < (kept != labels).mean() < 1


def test_a_cloud_tells_the_unsure_as_unknown_and_keeps_them_when_it_is_filtered(
    segmenter: Segmenter, tiny_kitti: Path
) -> None:
    found = segmenter(read_scan(tiny_kitti / "sequences/08/velodyne/000000.bin"))
    points = points_of_columns(AUTOWARE, {name: np.zeros(len(found)) for name, *_ in AUTOWARE.fields}, (1, len(found)))
    plain, careful = (
        Labelling(KITTI, class_ids="train", without=["road"], unsure=least)
        for least in (None, least_sure(["0.7"], KITTI))
    )
    wanted = expected(found, 0.7, 0.7)
    np.testing.assert_array_equal(careful.labelled(points, found).columns()["class_id"], wanted)
    np.testing.assert_array_equal(plain.labelled(points, found).columns()["class_id"], found.labels)
    road = KITTI.names.index("road")
    assert len(careful.filtered(points, found).data) == (wanted != road).sum()
    assert len(plain.filtered(points, found).data) == (found.labels != road).sum()


def test_pseudo_labels_by_threshold(tiny_config: Config, tiny_kitti: Path, tmp_path: Path) -> None:
    train(tiny_config)
    run, out = tiny_config.runtime.out, tmp_path / "pseudo"
    segmenter = Segmenter.load(run, device="cpu")
    source = SemanticKitti(tiny_kitti, "train", labels=False)
    answers = [segmenter(source.scan(index)) for index in range(3)]
    sure = np.concatenate([one.confidence for one in answers])  # type: ignore[arg-type]
    least = round(float(np.median(sure)), 3)
    assert main(["pseudo-label", run, "--out", str(out), "--unsure", str(least), "--device", "cpu"]) == 0
    for index, found in enumerate(answers):
        written = read_labels(out / f"sequences/00/predictions/00000{index}.label")[0]
        assert found.confidence is not None
        kept = np.floor(found.confidence.astype(float) * BINS) >= round(least * BINS)
        np.testing.assert_array_equal(written, KITTI.to_raw(np.where(kept, found.labels, IGNORE)))
    pseudo_label(segmenter, source, tmp_path / "both", Balance(0.5), least=least)
    pseudo_label(segmenter, source, tmp_path / "share", Balance(0.5))
    both, share, limit = (
        np.concatenate([read_labels(tmp_path / kind / f"sequences/00/predictions/00000{i}.label")[0] for i in range(3)])
        for kind in ("both", "share", "pseudo")
    )
    np.testing.assert_array_equal(both, np.where(limit > 0, share, 0))


def test_where_all_needs_a_label_it_is_refused(
    tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = str(tiny_kitti / "sequences/08/velodyne")
    assert main(["predict", scans, "--out", str(tmp_path), "--unsure", "0.5", "--zip", str(tmp_path / "a.zip")]) == 1
    assert "a submission (--zip) needs all of them" in " ".join(capsys.readouterr().err.split())
    config = make_photo_config(tmp_path)
    train(config)
    photos = ["predict", config.runtime.out, str(Path(config.data.root) / "test"), "--out", str(tmp_path / "out")]
    assert main([*photos, "--unsure", "0.5"]) == 1
    assert "must have a label for every element" in " ".join(capsys.readouterr().err.split())


def test_labels_without_confidence_cannot_be_asked(segmenter: Segmenter, tiny_kitti: Path) -> None:
    scan = read_scan(tiny_kitti / "sequences/08/velodyne/000000.bin")
    with pytest.raises(ValueError, match="have no confidence"):
        segmenter(scan, confidence=False).sure(0.5)
