"""Files: whatever bytes come in, out comes the right scan or an error that names the file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.resources import resource
from rangeseg.scan_io import NAMELESS, read_labels, read_scan, write_labels

CLASSES = LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)


def points(rng: np.random.Generator, count: int = 50) -> np.ndarray:
    return rng.uniform(-20, 20, (count, 4)).astype(np.float32)


def error_of(path: Path, **kwargs: object) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        read_scan(path, **kwargs)
    return str(caught.value)


def test_reads_the_bytes_of_a_bin(tmp_path: Path, rng: np.random.Generator) -> None:
    table = points(rng)
    (tmp_path / "a.bin").write_bytes(table.tobytes())
    scan = read_scan(tmp_path / "a.bin")
    assert np.array_equal(scan.xyz, table[:, :3])
    assert np.array_equal(scan.remission, table[:, 3])
    assert scan.xyz.flags.c_contiguous
    assert scan.remission.flags.c_contiguous
    assert (scan.ring, scan.label) == (None, None)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("columns", [3, 4])
def test_reads_every_floating_npy(
    tmp_path: Path, rng: np.random.Generator, dtype: str, order: str, columns: int
) -> None:
    table = np.asarray(points(rng)[:, :columns], dtype, order=order)
    np.save(tmp_path / "a.npy", table)
    scan = read_scan(tmp_path / "a.npy")
    assert scan.xyz.dtype == scan.remission.dtype == np.float32
    assert np.array_equal(scan.xyz, table[:, :3].astype(np.float32))
    assert np.array_equal(scan.remission, table[:, 3].astype(np.float32) if columns == 4 else np.zeros(len(table)))


def test_bin_and_npy_of_the_same_points_give_the_same_scan(tmp_path: Path, rng: np.random.Generator) -> None:
    table = points(rng)
    (tmp_path / "a.bin").write_bytes(table.tobytes())
    np.save(tmp_path / "a.npy", table)
    a, b = read_scan(tmp_path / "a.bin"), read_scan(tmp_path / "a.npy")
    assert np.array_equal(a.xyz, b.xyz)
    assert np.array_equal(a.remission, b.remission)


def test_remission_outside_its_range_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(np.array([[1, 2, 3, 255], [1, 2, 3, -1]], "<f4").tobytes())
    assert read_scan(tmp_path / "a.bin").remission.tolist() == [255, -1]


@pytest.mark.parametrize("reader", NAMELESS)
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf, 0.0])
def test_points_without_return_are_kept_and_only_all_of_them_are_an_error(
    tmp_path: Path, rng: np.random.Generator, reader: str, nothing: float
) -> None:
    def write(table: np.ndarray) -> Path:
        path = tmp_path / f"a{reader}"
        if reader == ".npy":
            np.save(path, table)
        else:
            rings = np.zeros((len(table), int(reader == ".pcd.bin")), np.float32)
            path.write_bytes(np.concatenate([table, rings], 1).tobytes())
        return path

    table = points(rng, 100)
    table[:99, :3] = nothing
    scan = read_scan(write(table))
    assert np.array_equal(scan.xyz, table[:, :3], equal_nan=True)
    table[99, :3] = nothing
    assert "none of its 100 points is a return" in error_of(write(table))


def test_npy_beyond_float32_is_no_return(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1e300, 0, 0], [1, 1, 1]]))
    assert np.isinf(read_scan(tmp_path / "a.npy").xyz[0, 0])


@pytest.mark.parametrize("ending", NAMELESS)
def test_truncated_files_of_every_length(tmp_path: Path, rng: np.random.Generator, ending: str) -> None:
    table = points(rng, 4)
    if ending == ".pcd.bin":
        table = np.concatenate([table, np.arange(4, dtype=np.float32)[:, None]], 1)
    buffer = io.BytesIO()
    np.save(buffer, table)
    whole = buffer.getvalue() if ending == ".npy" else table.tobytes()
    path = tmp_path / f"a{ending}"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        record = 4 * table.shape[1]
        if ending.endswith(".bin") and length and length % record == 0:
            assert np.array_equal(read_scan(path).xyz, table[: length // record, :3])
        else:
            error_of(path)
    path.write_bytes(whole)
    assert len(read_scan(path)) == 4


@pytest.mark.filterwarnings("ignore::rangeseg.notices.Notice")
@SHARED_FOLDER
@given(content=st.binary(max_size=200), ending=st.sampled_from([*NAMELESS]), numpy_magic=st.booleans())
def test_random_bytes(tmp_path: Path, content: bytes, ending: str, numpy_magic: bool) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"\x93NUMPY\x01\x00" * numpy_magic + content)
    try:
        scan = read_scan(path)
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017 - half of the contents are good scans
    else:
        table = np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 5 if ending == ".pcd.bin" else 4)
        kept = ~np.isnan(scan.xyz).all(axis=1)  # what is told of is nan
        assert np.array_equal(scan.xyz[kept], table[kept, :3], equal_nan=True)


@SHARED_FOLDER
@given(
    header=st.text(max_size=60),
    shape=st.text("0123456789,() -", max_size=30),
    descr=st.sampled_from(["<f4", "<f8", "|O", "<U9", "<i4", "<c8", "V"]),
)
def test_npy_with_a_wrong_header(tmp_path: Path, header: str, shape: str, descr: str) -> None:
    whole = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), {header}}}\n".encode(
        "latin1", "replace"
    )
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(whole).to_bytes(2, "little") + whole + b"\x00\x00\x80\x3f" * 12)
    try:
        assert read_scan(path).xyz.shape[1] == 3
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017 - a few headers are right


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((0, 4), np.float32), "contains no points"),
        (np.ones((5, 5), np.float32), r"float32 of shape (5, 5)"),
        (np.ones(4, np.float32), "shape (4,)"),
        (np.ones((5, 4), np.int32), "int32"),
        (np.ones((5, 4), complex), "complex128"),
        (np.array([["a", "b", "c"]]), "<U1"),
        (np.array([[None, 1, 2]]), "not a complete NumPy array"),
    ],
)
def test_npy_of_another_kind(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "a.npy", array)
    assert said in error_of(tmp_path / "a.npy")


def test_npy_that_is_an_archive(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "a.npz", points(rng))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert "write it again with numpy.save" in error_of(tmp_path / "a.npy")


def test_errors_of_scan_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    (tmp_path / "cut.bin").write_bytes(bytes(33))
    (tmp_path / "folder.bin").mkdir()
    (tmp_path / "scan.pcap").touch()
    assert "contains no points; leave the scan out" in error_of(tmp_path / "empty.bin")
    assert "33 bytes are not a multiple of 16-byte records" in error_of(tmp_path / "cut.bin")
    assert "cannot be read (is a folder, not a file)" in error_of(tmp_path / "folder.bin")
    assert "cannot be read (No such file or directory)" in error_of(tmp_path / "absent.bin")
    assert "cannot be read (No such file or directory)" in error_of(tmp_path / "absent.npy")
    assert "unknown extension '.pcap'; scans end in" in error_of(tmp_path / "scan.pcap")


def test_errors_of_labels_say_what_to_do(tmp_path: Path, rng: np.random.Generator) -> None:
    scan, labels = tmp_path / "a.bin", tmp_path / "a.label"
    scan.write_bytes(points(rng, 5).tobytes())
    write_labels(labels, [10, 10, 40, 40, 0])
    with pytest.raises(ValueError, match=r"a\.label: reading labels needs a label_map"):
        read_scan(scan, labels=labels)

    def error() -> str:
        with pytest.raises(ValueError, match=r"a\.label") as caught:
            read_scan(scan, labels=labels, label_map=CLASSES)
        return str(caught.value)

    write_labels(labels, [10, 10, 40, 40])
    assert "4 labels for 5 points of" in error()
    write_labels(labels, [10, 7, 300, 7, 0])
    assert "3 labels have raw ids that SemanticKITTI does not know: 7, 300 (most often 7, 2 times)" in error()
    labels.write_bytes(bytes(19))
    assert "19 bytes" in error()
    labels.unlink()
    assert "cannot be read (No such file" in error()
    with pytest.raises(ValueError, match=r"a\.bin: unknown extension '\.bin'; .*\.label"):
        read_scan(scan, labels=scan, label_map=CLASSES)


@given(st.lists(st.integers(0, 0xFFFFFFFF), max_size=40), st.sampled_from([np.uint32, np.int64, np.uint64]))
@SHARED_FOLDER
def test_labels_come_back_as_written(tmp_path: Path, raw: list[int], dtype: type) -> None:
    classes = sum(value % 65536 > 0 for value in raw)
    assume(2 * classes > sum(value > 0 for value in raw))  # else the classes seem to be in the upper bits
    write_labels(tmp_path / "a.label", np.array(raw, dtype))
    semantic, instance = read_labels(tmp_path / "a.label")
    assert semantic.tolist() == [value % 65536 for value in raw]
    assert instance.tolist() == [value // 65536 for value in raw]
    assert (tmp_path / "a.label").read_bytes() == b"".join(value.to_bytes(4, "little") for value in raw)


def test_instance_ids_of_32768_and_above_stay_positive_and_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    instance = np.array([0, 1, 32767, 32768, 65535], np.uint32)
    (tmp_path / "a.bin").write_bytes(points(rng, 5).tobytes())
    write_labels(tmp_path / "a.label", instance << 16 | 252)
    assert read_labels(tmp_path / "a.label")[1].tolist() == instance.tolist()
    assert read_scan(tmp_path / "a.bin", labels=tmp_path / "a.label", label_map=CLASSES).label.tolist() == [0] * 5


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([-1], "range from -1"),
        ([1 << 32], "range from 4294967296"),
        ([1.0], "float64"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([True], "bool"),
    ],
)
def test_write_labels_refuses_what_is_no_label(tmp_path: Path, raw: list, said: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.label.*{said}"):
        write_labels(tmp_path / "a.label", raw)
    assert not (tmp_path / "a.label").exists()


def test_write_labels_refuses_another_ending(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.bin: unknown extension '\.bin'; .*\.label"):
        write_labels(tmp_path / "a.bin", [1])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old")

    def fail(file: io.BufferedWriter) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


def test_every_real_scan_reads_as_numpy_reads_it(scans_root: Path) -> None:
    files = sorted(scans_root.glob("sequences/*/velodyne/*.bin"))
    assert len(files) in (8, 40)
    for path in files:
        labels = path.parents[1] / "labels" / f"{path.stem}.label"
        scan = read_scan(path, labels=labels, label_map=CLASSES)
        table, raw = np.fromfile(path, "<f4").reshape(-1, 4), np.fromfile(labels, "<u4")
        assert np.array_equal(np.column_stack([scan.xyz, scan.remission]), table)
        expected = np.array([CLASSES.learning_map[value] for value in range(260) if value in CLASSES.learning_map])
        known = np.array(sorted(CLASSES.learning_map))
        assert np.array_equal(scan.label, expected[np.searchsorted(known, raw & 0xFFFF)])
        semantic, instance = read_labels(labels)
        assert np.array_equal(semantic + instance.astype(np.uint32) * 65536, raw)


def test_nuscenes_sweeps_have_their_rings_from_the_top(data_root: Path) -> None:
    path = next((data_root / "nuscenes_fragments/raw").glob("*.pcd.bin"))
    table, scan = np.fromfile(path, "<f4").reshape(-1, 5), read_scan(path)
    assert np.array_equal(scan.xyz, table[:, :3])
    np.testing.assert_allclose(scan.remission, table[:, 3] / 255, rtol=1e-6)
    assert scan.ring is not None
    far = np.linalg.norm(scan.xyz, axis=1) > 3
    inclination = np.arctan2(scan.xyz[:, 2], np.linalg.norm(scan.xyz[:, :2], axis=1))
    beams = [np.median(inclination[far & (scan.ring == ring)]) for ring in range(32)]
    assert (np.diff(beams) < 0).all()


def test_four_columns_called_pcd_bin_are_no_nuscenes_sweep(tmp_path: Path, rng: np.random.Generator) -> None:
    points(rng, 5).tofile(tmp_path / "a.pcd.bin")
    with pytest.raises(ValueError, match=r"a\.pcd\.bin: the fifth column is not a ring from 0 to 31"):
        read_scan(tmp_path / "a.pcd.bin")
