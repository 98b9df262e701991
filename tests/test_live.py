"""Labels for clouds as they come: what is dropped, what is refused, and two processes that talk through DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan
from recordings import CLOUD, Cdr, cloud_message

from rangeseg import Segmenter
from rangeseg.apps import live
from rangeseg.apps.live import Counts, LatestCloud, run_live
from rangeseg.apps.predict_recording import Labelling
from rangeseg.cli import main
from rangeseg.notices import Notice
from rangeseg.scan_formats.cdr import Message, decode_cloud, encode_cloud
from rangeseg.scan_formats.fields import FieldNames, Fields
from rangeseg.scan_formats.point_cloud2 import Layout, points_of_cloud, points_of_columns
from rangeseg.types import Scan

FIELDS = (("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("intensity", 12, 7, 1))


def rows_of(scan: Scan) -> np.ndarray:
    rows = np.zeros(len(scan), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])
    for k, axis in enumerate("xyz"):
        rows[axis] = scan.xyz[:, k]
    rows["intensity"] = scan.remission
    return rows


def message(scan: Scan, stamp: int) -> bytes:
    return cloud_of(rows_of(scan), stamp)


def cloud_of(rows: np.ndarray, stamp: int) -> bytes:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    return bytes(store.serialize_cdr(cloud_message(store, rows, stamp), CLOUD))


def of_beams(count: int) -> Scan:
    """The lowest beams of a sensor of 16, which are numbered from the lowest."""
    ring, azimuth = np.divmod(np.arange(count * 1000), 1000)
    slope, azimuth = np.deg2rad(2.0 * ring - 15), azimuth * (2 * np.pi / 1000)
    xyz = 10 * np.stack([np.cos(slope) * np.cos(azimuth), np.cos(slope) * np.sin(azimuth), np.sin(slope)], 1)
    return Scan(xyz.astype(np.float32), np.full(len(xyz), 0.3, np.float32), ring.astype(np.int32))


class Line:
    """A transport that is a list of (answers to wait for, seconds to wait, what then comes together)."""

    def __init__(self, coming: list[tuple[int, float, list[bytes]]], *, answers: int = 0) -> None:
        self.coming, self.sent, self.told, self.closed = coming, [], [], False
        self._end, self._answers = time.monotonic() + 60, answers

    def receive(self, wait_s: float) -> list[bytes]:
        if self.coming and len(self.sent) >= self.coming[0][0]:
            _, seconds, clouds = self.coming.pop(0)
            time.sleep(seconds)
            return clouds
        time.sleep(min(wait_s, 0.01))
        return []

    def keep_running(self) -> bool:
        return len(self.sent) < self._answers and time.monotonic() < self._end

    def send(self, cloud: bytes) -> None:
        self.sent.append(cloud)

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        self.told.append((level, message, values))

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("frame", ["lidar", "", "a/longer name"])
def test_messages_are_written_and_read_as_ros_does(rng: np.random.Generator, frame: str) -> None:
    """rosbags' CDR, and CDR read by hand, are the oracles."""
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    from rosbags.typesys import Stores, get_typestore

    scan = random_scan(rng, 33)
    raw = message(scan, 1_700_000_000_000_000_007)
    told = decode_cloud(raw)
    assert (told.stamp_ns, told.frame_id, told.height, told.width) == (1_700_000_000_000_000_007, "velodyne_top", 1, 33)
    assert points_of_cloud(told).data.tobytes() == rows_of(scan).tobytes()
    points = points_of_columns(
        Layout(FIELDS, 16), {name: rows_of(scan)[name] for name in rows_of(scan).dtype.names}, (1, 33)
    )  # type: ignore[union-attr]
    again = encode_cloud(replace(told, frame_id=frame), points)
    by_hand = Cdr(again).cloud()
    assert (by_hand["stamp"], by_hand["frame"], by_hand["shape"]) == (told.stamp_ns, frame, (1, 33))
    assert by_hand["points"].tobytes() == rows_of(scan).tobytes()
    by_rosbags = get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr(again, CLOUD)
    assert by_rosbags.header.frame_id == frame
    assert by_rosbags.is_dense
    assert np.asarray(by_rosbags.data).tobytes() == rows_of(scan).tobytes()


def test_damaged_messages_are_refused(rng: np.random.Generator) -> None:
    raw = message(random_scan(rng, 5), 7)
    for cut in range(0, len(raw) - 1, 3):
        with pytest.raises(ValueError, match=r"The message is no PointCloud2 \("):
            decode_cloud(raw[:cut])
    for _ in range(200):
        flipped = bytearray(raw)
        flipped[int(rng.integers(0, 120))] ^= 1 << int(rng.integers(0, 8))
        try:
            points_of_cloud(decode_cloud(bytes(flipped)))
        except ValueError:
            continue


def test_a_late_scan_is_dropped_and_the_newest_is_labelled(segmenter: Segmenter, rng: np.random.Generator) -> None:
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    scans = [random_scan(rng, 700) for _ in range(4)]
    line = Line([(0, 0, [message(scan, number) for number, scan in enumerate(scans)])], answers=1)
    counts = run_live(
        segmenter, line, Labelling(segmenter.label_map, class_ids="train"), keep_running=line.keep_running
    )
    assert counts.dropped == 3
    assert len(counts.latencies_ms) == 1
    (answer,) = (Cdr(raw).cloud() for raw in line.sent)
    assert answer["stamp"] == 3
    np.testing.assert_array_equal(answer["points"]["class_id"], segmenter(scans[3]).labels)
    assert line.closed
    assert line.told[0][0] in (0, 1)
    assert "1 scans labelled, 3 dropped; latency p50" in str(counts)


def test_what_is_no_scan_is_counted_and_the_next_is_labelled(segmenter: Segmenter, rng: np.random.Generator) -> None:
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    scan = random_scan(rng, 300)
    empty = Scan(np.zeros((4, 3), np.float32), np.zeros(4, np.float32))
    good, none = message(scan, 1), cloud_of(np.zeros(0, np.dtype([])), 0)  # none: without fields
    junk = (0, 0, [b"\0\1\0\0nonsense"])
    line = Line([junk, (0, 1.5, [none]), (1, 0, [message(empty, 2)]), (2, 0, [good])], answers=3)
    counts = run_live(segmenter, line, Labelling(segmenter.label_map), keep_running=line.keep_running)
    assert counts.refused == 1
    assert "The message is no PointCloud2" in counts.reason
    answers = [Cdr(raw).cloud() for raw in line.sent]
    assert [len(one["points"]) for one in answers] == [0, 4, 300]
    assert set(answers[1]["points"]["class_id"]) == {255}
    assert {level for level, *_ in line.told} <= {0, 1, 2}


@pytest.mark.filterwarnings("ignore:.*does not fit this run")
def test_beams_that_the_first_clouds_lacked_are_labelled(segmenter: Segmenter) -> None:
    """In an open field, the beams above the horizon have no returns."""

    def cloud(rings: int, stamp: int) -> bytes:
        scan = of_beams(rings)
        columns = dict(zip("xyz", scan.xyz.T, strict=True)) | {"intensity": scan.remission, "ring": scan.ring}
        points = points_of_columns(Layout((*FIELDS, ("ring", 16, 4, 1)), 18), columns, (1, len(scan)))
        return encode_cloud(Message(stamp, "lidar", *points.shape, [], False, 18, 0, points.data), points)

    line = Line([(0, 0, [cloud(8, 1)]), (1, 0, [cloud(16, 2)]), (2, 0, [cloud(8, 3)])], answers=3)
    counts = run_live(segmenter, line, Labelling(segmenter.label_map), keep_running=line.keep_running)
    assert (counts.labelled, counts.refused, counts.reason) == (3, 0, "")
    columns = {"x": 1, "y": 1, "z": 1, "intensity": 1, "ring": np.arange(16).repeat(2)}
    columns = {name: np.broadcast_to(values, 32) for name, values in columns.items()}
    found = Fields("x", "y", "z", "intensity", "ring", beams=16)
    assert live._fields_of(columns, segmenter, found, {}) is found


def test_clouds_that_do_not_fit_the_run_give_one_notice(segmenter: Segmenter) -> None:
    scan = of_beams(16)
    line = Line([(number, 0, [message(scan, number)]) for number in range(3)], answers=3)
    labelling = Labelling(segmenter.label_map)
    with pytest.warns(Notice, match="does not fit this run") as told:
        run_live(segmenter, line, labelling, limit_ms=np.inf, keep_running=line.keep_running)
    assert sum("does not fit" in str(one.message) for one in told) == 1
    assert (1, "a scan does not fit the run, so labels are probably wrong") in [status[:2] for status in line.told]


def test_a_topic_is_read_by_the_columns_of_the_run(rng: np.random.Generator) -> None:
    """What the user asks for with --fields comes first."""
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    dataset = "data.dataset={name: scan_folder, classes: semantic_kitti, fields: {remission: reflectivity, unit: cm}}"
    run = Segmenter.load("first-answer", device="cpu", overrides=[dataset])
    scan = random_scan(rng, 700)
    scan = replace(scan, xyz=100 * scan.xyz)

    def answered(fields: FieldNames) -> tuple[Counts, list[bytes]]:
        line = Line([(0, 0, [message(scan, 1)])], answers=1)
        line._end = time.monotonic() + 2
        counts = run_live(run, line, Labelling(run.label_map, class_ids="train"), fields=fields,
                          keep_running=lambda: line.keep_running() and not counts_of(line))  # fmt: skip
        return counts, line.sent

    def counts_of(line: Line) -> bool:
        return any(level == 2 for level, *_ in line.told)

    counts, _ = answered({})
    assert "has no reflectivity for remission" in counts.reason
    assert "--fields" in counts.reason
    _, (raw,) = answered({"remission": "intensity"})
    expected = run(replace(scan, xyz=scan.xyz / np.float32(100)))
    found = Cdr(raw).cloud()["points"]["class_id"]
    assert (found == expected.labels).mean() > 0.99


def test_a_status_is_an_error_only_while_messages_are_refused() -> None:
    line, counts = Line([]), Counts(labelled=9, refused=1, reason="nonsense")
    live._diagnose(line, counts, 100.0, failing=True, unlike=False)
    live._diagnose(line, counts, 100.0, failing=False, unlike=False)
    live._diagnose(line, counts, 100.0, failing=False, unlike=True)
    assert [told[0] for told in line.told] == [2, 0, 1]
    counts.latencies_ms.extend([500.0] * 5 * live.RECENT)
    counts.latencies_ms.extend([1.0] * live.RECENT)
    assert len(counts.latencies_ms) == live.RECENT
    assert counts.percentiles()["max"] == 1.0  # of recent scans, not of the whole session


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input", ""], "need the names of topics"),
        (["--fields", "foo=bar"], "fields names foo"),
        (["--domain", "233"], "give --domain from 0 to 232"),
        (["--domain", "-1"], "give --domain from 0 to 232"),
    ],
)
def test_options_that_cannot_work_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    assert main(["live", "first-answer", "--device", "cpu", *words]) == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_whether_points_are_finite_is_passed_on() -> None:
    scan = random_scan(np.random.default_rng(0), 20)
    points = points_of_columns(Layout(FIELDS, 16), {name: rows_of(scan)[name] for name, *_ in FIELDS}, (1, 20))
    for dense in (False, True):
        first = Message(1, "lidar", *points.shape, [], False, 16, 0, points.data, dense)
        assert decode_cloud(encode_cloud(first, points)).is_dense is dense


def test_taking_waits_for_no_longer_than_asked() -> None:
    counts = Counts()
    newest = LatestCloud(Line([]), counts)
    start = time.monotonic()
    assert newest.take(0.1) is None
    assert time.monotonic() - start < 5
    newest.stop()
    assert str(counts) == "0 scans labelled, 0 dropped; latency unknown"


def test_a_transport_that_fails_ends_the_command_instead_of_waiting_for_ever() -> None:
    class Broken(Line):
        def receive(self, wait_s: float) -> list[bytes]:
            raise OSError("the context is shut down")

    newest = LatestCloud(Broken([]), Counts())
    with pytest.raises(RuntimeError, match="No more clouds can be received: the context is shut down"):
        newest.take(30)
    newest.stop()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reliable", "best effort"])
def test_two_processes_talk_at_10_hz(mode: str, data_root: Path, tmp_path: Path) -> None:
    """Real scans there, labels back; SIGINT ends it with its figures."""
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    files = sorted((data_root / "kitti_unlabelled/sequences/33/velodyne").glob("*.bin"))[:8]
    domain = str(100 + os.getpid() % 100)
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{here.parent}:{here}"}
    words = [sys.executable, "-m", "rangeseg", "live", "first-answer"]
    words += ["--domain", domain, "--device", "cpu", *(["--reliable"] if mode == "reliable" else [])]
    live = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        best = [] if mode == "reliable" else ["--best"]
        peer = [sys.executable, str(here / "live_peer.py"), domain, "4", str(tmp_path / "out.json"), *map(str, files)]
        subprocess.run([*peer, *best], env=environment, check=True, timeout=120)
    finally:
        live.send_signal(signal.SIGINT)
        said, problem = live.communicate(timeout=60)
    assert live.returncode == 0, problem
    assert "Traceback" not in problem
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["sent"] == 40
    assert 0 < result["answered"] <= 40
    assert result["problems"] == 0  # each answer has the points of the scan of its stamp
    assert sorted({name for name, _ in result["told"]}) == ["rangeseg live"]
    words_said = " ".join(said.split())
    labelled, dropped = (int(words_said.split(word)[0].split()[-1]) for word in (" scans labelled", " dropped"))
    assert result["answered"] <= labelled <= labelled + dropped <= 40
    assert "latency p50" in words_said
