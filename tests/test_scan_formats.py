"""PCD, PLY, NPZ, LAS and LAZ: the same scan through each, other names and types, and damaged files of every format."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scan_writers import EXACT, PLAIN, ROUNDED, npz, pcd, ply, table

from rangeseg.cli import main
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.notices import Notice
from rangeseg.scan_formats import arrays
from rangeseg.scan_formats.bags import Cloud, clouds_of_bag
from rangeseg.scan_formats.lzf import expand
from rangeseg.scan_formats.pcap import check_packets
from rangeseg.scan_formats.times import point_times
from rangeseg.scan_io import READERS, read_labels, read_scan, write_labels
from rangeseg.types import Scan

LIVOX_POINT = "uint32 offset_time\nfloat32 x\nfloat32 y\nfloat32 z\nuint8 reflectivity\nuint8 tag\nuint8 line"
LIVOX_CLOUD = """std_msgs/Header header
uint64 timebase
uint32 point_num
uint8 lidar_id
uint8[3] rsvd
CustomPoint[] points"""
"""As in Livox's README."""

WRITERS = EXACT | PLAIN | ROUNDED
every_exact = pytest.mark.parametrize("name", EXACT)
every_format = pytest.mark.parametrize("name", WRITERS)


def made_up(points: int = 40, rings: int = 8) -> Scan:
    """A scan of `rings` beams, the topmost 0."""
    rng = np.random.default_rng(3)
    ring = np.arange(points) % rings
    inclination = np.radians(5 - 3 * ring + rng.uniform(-0.5, 0.5, points))
    azimuth, distance = rng.uniform(-np.pi, np.pi, points), rng.uniform(3, 60, points)
    across = distance * np.cos(inclination)
    xyz = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), distance * np.sin(inclination)], 1)
    remission = (rng.integers(0, 256, points) / np.float32(255)).astype(np.float32)
    return Scan(xyz.astype(np.float32), remission, ring.astype(np.int32))


def write(folder: Path, name: str, scan: Scan) -> Path:
    if name in ROUNDED:
        pytest.importorskip("lazrs", reason="the extra las is not installed")
    ending, writer = WRITERS[name]
    path = folder / f"scan{ending}"
    path.write_bytes(writer(scan))
    return path


def test_every_ending_is_written_here() -> None:
    assert {ending for ending, _ in WRITERS.values()} == set(READERS)


@every_exact
def test_a_scan_comes_back_bit_for_bit_with_its_order_and_its_no_returns(name: str, tmp_path: Path) -> None:
    scan = made_up()
    scan.xyz[3], scan.xyz[7] = np.nan, 0
    read = read_scan(write(tmp_path, name, scan))
    np.testing.assert_array_equal(read.xyz, scan.xyz)
    np.testing.assert_array_equal(read.remission, scan.remission)
    np.testing.assert_array_equal(read.ring, scan.ring)
    assert read.label is None


@pytest.mark.parametrize("name", ROUNDED)
def test_las_rounds_by_its_scale_and_nothing_else(name: str, tmp_path: Path) -> None:
    scan = made_up()
    read = read_scan(write(tmp_path, name, scan))
    np.testing.assert_allclose(read.xyz, scan.xyz, atol=6e-5)
    np.testing.assert_allclose(read.remission, scan.remission, atol=1e-5)
    np.testing.assert_array_equal(read.ring, scan.ring)


@every_exact
def test_a_real_scan_is_the_same_in_every_format(name: str, scans_root: Path, tmp_path: Path) -> None:
    scan = SemanticKitti(scans_root, "val", labels=False).scan(0)
    few = Scan(scan.xyz[::25], scan.remission[::25])
    read = read_scan(write(tmp_path, name, few))
    np.testing.assert_array_equal(read.xyz, few.xyz)
    np.testing.assert_array_equal(read.remission, few.remission)


@pytest.mark.parametrize("ending", [".pcd", ".ply"])
@pytest.mark.parametrize("ascii_", [True, False])
def test_what_open3d_writes_is_read(ending: str, ascii_: bool, tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d", reason="the extra view is not installed")
    scan = made_up()
    cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(scan.xyz))
    cloud.point["intensity"] = o3d.core.Tensor(scan.remission[:, None])
    path = tmp_path / f"a{ending}"
    assert o3d.t.io.write_point_cloud(str(path), cloud, write_ascii=ascii_)
    read = read_scan(path)
    np.testing.assert_allclose(read.xyz, scan.xyz, rtol=1e-5 if ascii_ else 0)
    np.testing.assert_allclose(read.remission, scan.remission, rtol=1e-5 if ascii_ else 0)


class TestFields:
    """Names, types and scales."""

    def read(self, folder: Path, columns: dict[str, np.ndarray], **fields: str | None) -> Scan:
        scan = made_up()
        rows = dict(zip("xyz", scan.xyz.T, strict=True)) | columns
        np.savez(folder / "a.npz", **rows)
        return read_scan(folder / "a.npz", fields=fields)

    @pytest.mark.parametrize("name", ["remission", "Intensity", "reflectivity", "scalar_intensity", "I"])
    def test_remission_is_found_by_its_usual_names(self, tmp_path: Path, name: str) -> None:
        scan = self.read(tmp_path, {name: np.full(40, 0.25, np.float32)})
        assert (scan.remission == 0.25).all()

    @pytest.mark.parametrize(
        ("dtype", "most", "expected"),
        [("u1", 51, 0.2), ("u2", 13107, 0.2), ("f4", 51, 0.2), ("f8", 0.5, 0.5), ("i4", 13107, 0.2), ("u4", 51, 0.2)],
    )
    def test_remission_is_scaled_by_its_type_else_by_the_smallest_scale_that_holds_it(
        self, tmp_path: Path, dtype: str, most: float, expected: float
    ) -> None:
        scan = self.read(tmp_path, {"intensity": np.full(40, most).astype(dtype)})
        np.testing.assert_allclose(scan.remission, expected, rtol=1e-6)

    def test_names_may_be_given(self, tmp_path: Path) -> None:
        columns = {"intensity": np.full(40, 9, "u1"), "power": np.full(40, 200, "f4"), "ring": np.full(40, 99, "u1")}
        scan = self.read(tmp_path, columns, remission="power/400", ring=None)
        assert (scan.remission == 0.5).all()
        assert scan.ring is None
        assert (self.read(tmp_path, columns, remission=None, ring=None).remission == 0).all()
        with pytest.raises(ValueError, match=r"a\.npz: has no light for remission; it has x, y, z, intensity"):
            self.read(tmp_path, columns, remission="light")
        with pytest.raises(ValueError, match="fields names colour; allowed are x, y, z"):
            self.read(tmp_path, columns, colour="power")

    def test_an_intensity_without_a_known_scale_is_asked_for(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"reaches 1e\+06 and its full scale is unknown; give it: fields="):
            self.read(tmp_path, {"intensity": np.full(40, 1e6)})

    def test_rings_that_rise_are_turned_around(self, tmp_path: Path) -> None:
        ring = made_up().ring
        assert ring is not None
        np.testing.assert_array_equal(self.read(tmp_path, {"ring": ring}).ring, ring)
        np.testing.assert_array_equal(self.read(tmp_path, {"channel": 15 - ring}).ring, ring)
        np.testing.assert_array_equal(self.read(tmp_path, {"line": 7 - ring}, ring="line/8").ring, ring)
        np.testing.assert_array_equal(self.read(tmp_path, {"line": 7 - ring}, ring="line/top").ring, 7 - ring)
        with pytest.raises(ValueError, match="is not a column of rings"):
            self.read(tmp_path, {"ring": ring - 4})

    def test_columns_without_names_have_their_usual_ones(self, tmp_path: Path) -> None:
        path = write(tmp_path, "kitti", made_up())
        with pytest.raises(ValueError, match="has no i for remission; it has x, y, z, remission"):
            read_scan(path, fields={"remission": "i"})
        assert (read_scan(path, fields={"remission": None}).remission == 0).all()


class TestPCD:
    """What PCD files may have besides."""

    def test_fields_of_several_numbers_and_padding_are_stepped_over(self, tmp_path: Path) -> None:
        scan = made_up()
        plain = table(scan)
        rows = np.zeros(len(scan), [("_", "u1", (4,)), *plain.dtype.descr, ("normal", "<f4", (3,)), ("time", "<f8")])
        for name in plain.dtype.names or ():
            rows[name] = plain[name]
        for data in ("ascii", "binary", "binary_compressed"):
            (tmp_path / "a.pcd").write_bytes(pcd(rows, data))
            read = read_scan(tmp_path / "a.pcd")
            np.testing.assert_array_equal(read.xyz, scan.xyz)
            np.testing.assert_array_equal(read.ring, scan.ring)

    def test_organised_clouds_keep_their_rows(self, tmp_path: Path) -> None:
        scan = made_up()
        scan.xyz[5:15] = np.nan
        (tmp_path / "a.pcd").write_bytes(pcd(table(scan), "binary", width=8))
        np.testing.assert_array_equal(read_scan(tmp_path / "a.pcd").xyz, scan.xyz)

    @pytest.mark.parametrize("data", ["binary", "binary_compressed"])
    @pytest.mark.parametrize("padding", [b"\n", bytes(3906)], ids=["newline", "page"])
    def test_padding_after_the_data_is_ignored(self, tmp_path: Path, data: str, padding: bytes) -> None:
        scan, path = made_up(), tmp_path / "a.pcd"
        path.write_bytes(pcd(table(scan), data) + padding)
        read = read_scan(path)
        np.testing.assert_array_equal(read.xyz, scan.xyz)
        np.testing.assert_array_equal(read.ring, scan.ring)

    @pytest.mark.parametrize("data", ["binary", "binary_compressed"])
    @pytest.mark.parametrize("page", [4096, 65536])
    def test_whatever_is_in_the_page_that_older_pcl_leaves_is_ignored(
        self, tmp_path: Path, data: str, page: int
    ) -> None:
        scan, path = made_up(), tmp_path / "a.pcd"
        content = pcd(table(scan), data)
        head = content.index(b"DATA " + data.encode()) + len(data) + 6
        tail = np.random.default_rng(0).bytes(page - head)
        path.write_bytes(content + tail)  # the file is one page longer than the data
        np.testing.assert_array_equal(read_scan(path).xyz, scan.xyz)
        path.write_bytes(content + tail[1:])
        with pytest.raises(ValueError, match=r"a\.pcd: not a complete PCD file"):
            read_scan(path)

    def test_bytes_after_the_data_are_ignored_only_where_no_wrong_header_explains_them(self, tmp_path: Path) -> None:
        scan, path = made_up(), tmp_path / "a.pcd"
        content = pcd(table(scan), "binary")
        path.write_bytes(content + b"other data")
        with pytest.warns(
            Notice, match=r"a\.pcd: ignored 10 bytes after the 40 points, which the header does not explain"
        ):
            np.testing.assert_array_equal(read_scan(path).xyz, scan.xyz)
        for wrong in (
            content.replace(b"SIZE 4 4 4 4 2", b"SIZE 4 4 4 4 1"),  # a byte a point too many
            content.replace(b"COUNT 1 1 1 1 1", b"COUNT 1 1 1 1 0"),
            content.replace(b"WIDTH 40", b"WIDTH 39").replace(b"POINTS 40", b"POINTS 39"),  # a point too many
            content.replace(b"\n", b"\r\n"),  # as a transfer in text mode does
            content + bytes(range(1, 60)),
        ):
            assert wrong != content
            path.write_bytes(wrong)
            with pytest.raises(ValueError, match=r"a\.pcd: not a complete PCD file"):
                read_scan(path)

    @pytest.mark.parametrize("name", ["pcd ascii", "ply ascii"])
    def test_a_nan_in_a_column_of_integers_is_0(self, tmp_path: Path, name: str) -> None:
        scan = made_up()
        scan.xyz[3] = np.nan
        path = write(tmp_path, name, scan)
        lines = path.read_bytes().split(b"\n")
        at = next(k for k, line in enumerate(lines) if line.startswith(b"nan nan nan"))
        lines[at] = b"nan nan nan nan nan"
        path.write_bytes(b"\n".join(lines))
        read = read_scan(path)
        assert read.ring is not None
        assert (read.ring[3], read.remission[3]) == (0, 0)
        np.testing.assert_array_equal(read.xyz, scan.xyz)

    @pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
    @pytest.mark.parametrize(
        "changes",
        [
            {b"WIDTH 40\nHEIGHT 1": b"WIDTH 0\nHEIGHT 1"},
            {b"FIELDS x": b"FIELDS _ x", b"SIZE 4": b"SIZE 1 4", b"TYPE F": b"TYPE U F", b"COUNT 1": b"COUNT 0 1"},
        ],
        ids=["width 0", "count 0"],
    )
    def test_width_0_and_fields_of_no_bytes_are_read(
        self, tmp_path: Path, data: str, changes: dict[bytes, bytes]
    ) -> None:
        scan = made_up()
        content = pcd(table(scan), data)
        for old, new in changes.items():
            assert content.count(old) == 1
            content = content.replace(old, new)
        (tmp_path / "a.pcd").write_bytes(content)
        read = read_scan(tmp_path / "a.pcd")
        np.testing.assert_array_equal(read.xyz, scan.xyz)
        np.testing.assert_array_equal(read.ring, scan.ring)

    @pytest.mark.parametrize("name", ["pcd ascii", "ply ascii"])
    @pytest.mark.parametrize("word", [b"-1.#IND", b"1.#QNAN", b"1.#QNAN0", b"nan(ind)", b"-nan(snan)"])
    def test_other_spellings_of_nan_are_no_returns(self, tmp_path: Path, name: str, word: bytes) -> None:
        scan = made_up()
        scan.xyz[3] = np.nan
        path = write(tmp_path, name, scan)
        content = path.read_bytes()
        assert b"nan nan nan" in content
        path.write_bytes(content.replace(b"nan nan nan", b" ".join([word] * 3)))
        np.testing.assert_array_equal(read_scan(path).xyz, scan.xyz)

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (b"POINTS 40", b"POINTS 41", "41 points are not 40 x 1"),
            (b"WIDTH 40", b"WIDTH -40", "WIDTH is '-40'"),
            (b"WIDTH 40\nHEIGHT 1\n", b"WIDTH 4000000000000\nHEIGHT 1000000\n", "are not"),
            (b"SIZE 4", b"SIZE 3", "field x is 1 times F of 3 bytes"),
            (b"TYPE F F F F U", b"TYPE F F F F", "types"),
            (b"DATA binary", b"DATA zip", "DATA is 'zip'"),
            (b"FIELDS", b"FILEDS", "unexpected header line 'FILEDS"),
        ],
    )
    def test_a_header_that_contradicts_is_refused(self, tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
        content = pcd(table(made_up()), "binary")
        assert old in content
        (tmp_path / "a.pcd").write_bytes(content.replace(old, new))
        with pytest.raises(ValueError, match=rf"a\.pcd: not a complete PCD file .*{said}"):
            read_scan(tmp_path / "a.pcd")

    def test_counts_are_compared_with_the_file_before_memory_is_taken(self, tmp_path: Path) -> None:
        content = pcd(table(made_up()), "binary_compressed")
        huge = content.replace(b"WIDTH 40", b"WIDTH 400000000000").replace(b"POINTS 40", b"POINTS 400000000000")
        (tmp_path / "a.pcd").write_bytes(huge)
        with pytest.raises(ValueError, match=r"a\.pcd: not a complete PCD file"):
            read_scan(tmp_path / "a.pcd")
        with pytest.raises(ValueError, match="cannot hold"):
            expand(b"\x00a", 10**12)


class TestPLY:
    """What PLY files may have besides."""

    def with_lists(self, rows: np.ndarray, layout: str, lengths: np.ndarray, *, signed: bool) -> bytes:
        """Faces before the vertices; each vertex has a list between y and z, and one at its end."""
        order, wide = (">" if "big" in layout else "<"), ("i2" if signed else "u1")
        names = [f"property float {name}\n" for name in ("x", "y", "z", "remission")]
        one = f"property list {'short' if signed else 'uchar'} int neighbours\n"
        head = f"ply\nformat {layout} 1.0\nelement face 2\nproperty list uchar int vertex_indices\n"
        head += f"element vertex {len(rows)}\n{''.join(names[:2])}{one}{''.join(names[2:])}property ushort ring\n"
        head += f"{one.replace('neighbours', 'more')}end_header\n"
        if layout == "ascii":
            lines = ["3 0 1 2", "4 0 1 2 3"]
            for row, length in zip(rows.tolist(), lengths, strict=True):
                some = " ".join(map(str, [length, *range(length)]))
                x, y, z, remission, ring = row
                lines.append(f"{x!r} {y!r} {some} {z!r} {remission!r} {ring} {some}")
            return (head + "\n".join(lines) + "\n").encode()
        out = bytearray(head.encode())
        for indices in ([0, 1, 2], [0, 1, 2, 3]):
            out += bytes([len(indices)]) + np.array(indices, order + "i4").tobytes()
        for row, length in zip(rows, lengths, strict=True):
            some = np.array(length, order + wide).tobytes() + np.arange(length, dtype=order + "i4").tobytes()
            x, y, z, remission = (np.array(row[name], order + "f4").tobytes() for name in ("x", "y", "z", "remission"))
            out += x + y + some + z + remission + np.array(row["ring"], order + "u2").tobytes() + some
        return bytes(out)

    @pytest.mark.parametrize("layout", ["ascii", "binary_little_endian", "binary_big_endian"])
    @pytest.mark.parametrize("signed", [True, False])
    def test_lists_in_and_before_the_vertices_are_stepped_over(self, tmp_path: Path, layout: str, signed: bool) -> None:
        scan, path = made_up(), tmp_path / "a.ply"
        lengths = np.random.default_rng(0).integers(0, 5, len(scan))
        content = self.with_lists(table(scan), layout, lengths, signed=signed)
        path.write_bytes(content)
        read = read_scan(path)
        np.testing.assert_array_equal(read.xyz, scan.xyz)
        np.testing.assert_array_equal(read.remission, scan.remission)
        np.testing.assert_array_equal(read.ring, scan.ring)
        path.write_bytes(content.replace(b"element vertex 40", b"element vertex 400000000000"))
        with pytest.raises(ValueError, match=r"a\.ply: not a complete PLY file"):
            read_scan(path)
        path.write_bytes(content[:-9])
        with pytest.raises(ValueError, match=r"a\.ply: not a complete PLY file"):
            read_scan(path)

    @pytest.mark.parametrize("layout", ["binary_little_endian", "binary_big_endian"])
    def test_lists_of_no_length_and_of_a_negative_are_refused(self, tmp_path: Path, layout: str) -> None:
        content = self.with_lists(table(made_up()), layout, np.full(40, -1), signed=True)
        (tmp_path / "a.ply").write_bytes(content)
        with pytest.raises(ValueError, match="a list of its vertex does not fit"):
            read_scan(tmp_path / "a.ply")
        (tmp_path / "a.ply").write_bytes(content.replace(b"list short int", b"list float int"))
        with pytest.raises(ValueError, match="unexpected header line 'property list float"):
            read_scan(tmp_path / "a.ply")

    @pytest.mark.parametrize("layout", ["ascii", "binary_little_endian", "binary_big_endian"])
    @pytest.mark.parametrize("tail", [b"\n", bytes(3906), b"\x1a", b"other data"])
    def test_bytes_after_the_data_are_ignored(self, tmp_path: Path, layout: str, tail: bytes) -> None:
        scan, path = made_up(), tmp_path / "a.ply"
        content = ply(table(scan), layout)
        path.write_bytes(content.replace(b"element face 0\nproperty list uchar int vertex_indices\n", b"") + tail)
        if layout == "ascii" and tail == b"other data":  # a line is a point
            with pytest.raises(ValueError, match=r"a\.ply: not a complete PLY file"):
                read_scan(path)
        else:
            told = pytest.warns(Notice, match="ignored 10 bytes") if tail == b"other data" else nullcontext()
            with told:
                np.testing.assert_array_equal(read_scan(path).xyz, scan.xyz)


@pytest.mark.parametrize("name", ["pcd binary", "ply little"])
def test_bytes_that_were_put_among_the_points_or_into_a_name_are_not_silent(tmp_path: Path, name: str) -> None:
    """The points behind them are scrambled; a column of another name would be no column."""
    path = write(tmp_path, name, made_up())
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"\x01\x00\x01" + content[-2:])
    with pytest.warns(Notice, match="ignored 3 bytes after the 40 points"):
        read_scan(path)
    path.write_bytes(content.replace(b"remission", b"remi\xffssion", 1))
    with pytest.raises(ValueError, match="unexpected header line"):
        read_scan(path)


def test_an_npz_that_expands_enormously_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 10_000)
    np.savez_compressed(tmp_path / "a.npz", xyz=np.ones((1000, 3)))
    with pytest.raises(ValueError, match=r"a\.npz: .*its arrays claim \d+ bytes; no scan has so many"):
        read_scan(tmp_path / "a.npz")


def test_a_bag_that_does_not_begin_as_one_is_not_searched_for_its_first_line(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    with (tmp_path / "a.bag").open("wb") as file:
        file.truncate(2**40)  # a hole
    with pytest.raises(ValueError, match=r"a\.bag: not a complete recording .*does not begin as a bag does"):
        clouds_of_bag(tmp_path / "a.bag")


def test_npz_arrays_of_other_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", xyz=np.ones((5, 3)), remission=np.ones(4))
    with pytest.raises(ValueError, match=r"the arrays differ in length \(x 5, y 5, z 5, remission 4\)"):
        read_scan(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", xyz=np.array([None]))
    with pytest.raises(ValueError, match=r"b\.npz: not a complete archive"):
        read_scan(tmp_path / "b.npz")


@pytest.mark.parametrize("ending", ["xyz", "x"])
def test_an_npz_array_of_one_column_is_that_column(tmp_path: Path, ending: str) -> None:
    scan = made_up()
    columns: dict[str, Any] = {axis: scan.xyz[:, k : k + 1] for k, axis in enumerate("xyz")}
    columns = {"xyz": scan.xyz} if ending == "xyz" else columns
    one = np.s_[:, None]
    np.savez(tmp_path / "a.npz", **columns, remission=scan.remission[one], Ring=scan.ring[one])
    read = read_scan(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.xyz, scan.xyz)
    np.testing.assert_array_equal(read.remission, scan.remission)
    np.testing.assert_array_equal(read.ring, scan.ring)


@pytest.mark.parametrize("wrong", [np.ones((5, 3)), np.ones((1, 5)), np.ones(5, bool), np.array(1.0)])
def test_an_npz_array_of_a_known_name_is_not_left_out(tmp_path: Path, wrong: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", xyz=np.ones((5, 3)), Intensity=wrong, mine=np.full(5, 0.5), colour=np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"a\.npz: Intensity is .* of shape .*; give one number per point"):
        read_scan(tmp_path / "a.npz")
    assert (read_scan(tmp_path / "a.npz", fields={"remission": "mine"}).remission == 0.5).all()
    assert (read_scan(tmp_path / "a.npz", fields={"remission": None}).remission == 0).all()
    with pytest.raises(ValueError, match=r"a\.npz: colour is float64 of shape \(5, 3\)"):
        read_scan(tmp_path / "a.npz", fields={"remission": "colour/255"})


def damaged(content: bytes, cases: int, seed: int) -> list[bytes]:
    """A third cut off, a third with flipped bits, a third with bytes put in, taken out or repeated."""
    rng, made = np.random.default_rng(seed), []
    for case in range(cases):
        at = int(rng.integers(0, len(content)))
        if case % 3 == 0:
            made.append(content[:at])
        elif case % 3 == 1:
            changed = bytearray(content)
            for place in rng.integers(0, len(content), int(rng.integers(1, 4))):
                changed[place] ^= 1 << int(rng.integers(0, 8))
            made.append(bytes(changed))
        else:
            piece = content[at : at + int(rng.integers(1, 30))]
            kept = at + (len(piece) if rng.random() < 0.5 else 0)
            put = rng.bytes(int(rng.integers(0, 20))) if rng.random() < 0.5 else piece
            made.append(content[:at] + put + content[kept:])
    return made


def survives(path: Path, scan: Scan, read: Callable[[Path], int]) -> str:
    """What reading a damaged file comes to: an error that names it, or as many points as it can hold."""
    try:
        points = read(path)
    except ValueError as error:
        assert path.name in str(error), error  # noqa: PT017 - most cases are refused, some are read
        return "refused"
    assert 0 < points <= max(len(scan), path.stat().st_size)
    return "read"


@pytest.mark.filterwarnings("ignore::rangeseg.notices.Notice")
@every_format
def test_damaged_files_are_refused_by_name_or_read(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, cases=120, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rangeseg.notices.Notice")
@every_format
def test_many_more_damaged_files(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, cases=1500, seed=1)


def fuzz(name: str, folder: Path, *, cases: int, seed: int) -> None:
    scan = made_up()
    path = write(folder, name, scan if name not in ("kitti", "npy") else replace(scan, ring=None))
    contents = damaged(path.read_bytes(), cases, seed)
    ends = [survives(changed(path, content), scan, lambda file: len(read_scan(file))) for content in contents]
    assert ends.count("refused") > cases // 10


def changed(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.filterwarnings("ignore::rangeseg.notices.Notice")
@every_exact
def test_a_flipped_bit_among_the_values_leaves_the_number_of_points(name: str, tmp_path: Path) -> None:
    if name == "npz":
        return  # its check sums find it
    scan = made_up()
    content = write(tmp_path, name, scan).read_bytes()
    rng = np.random.default_rng(0)
    start = content.index({"ply": b"end_header", "npy": b"\n"}.get(name.partition(" ")[0], b"DATA")) + 40
    for place in rng.integers(start, len(content), 100):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(0, 8))
        ending = EXACT[name][0]
        try:
            assert len(read_scan(changed(tmp_path / f"b{ending}", bytes(flipped)))) == len(scan)
        except ValueError as error:
            assert f"b{ending}" in str(error)  # noqa: PT017 - a ring or a number that is none


def test_damaged_labels_are_refused_by_name_or_read(tmp_path: Path) -> None:
    path = tmp_path / "a.label"
    write_labels(path, np.arange(40))
    scan = made_up()
    for content in damaged(path.read_bytes(), 100, 0):
        if content:
            survives(changed(path, content), scan, lambda file: len(read_labels(file)[0]))


def test_wrong_endings_are_refused(tmp_path: Path) -> None:
    for name, (ending, writer) in (EXACT | PLAIN).items():
        content = writer(made_up())
        for other in {".pcd", ".ply", ".npz", ".npy"} - {ending}:
            path = changed(tmp_path / f"a{other}", content)
            with pytest.raises(ValueError, match=rf"a\{other}"):
                read_scan(path)
        assert npz(made_up())[:2] == b"PK", name


def test_a_recording_with_fewer_clouds_than_it_declares_is_refused_and_its_scans_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rows = table(made_up())
    clouds = [Cloud({name: rows[name] for name in rows.dtype.names or ()})] * 2
    monkeypatch.setattr("rangeseg.scan_formats.unpack.clouds_of_bag", lambda *_: (3, iter(clouds)))
    out = tmp_path / "out"
    assert main(["unpack", str(tmp_path / "cut.mcap"), "--out", str(out)]) == 1
    said = capsys.readouterr().err.replace("\n", " ")
    assert "declares 3 clouds but contains 2" in said
    assert sorted(file.name for file in out.glob("*.npz")) == ["000000.npz", "000001.npz"]


class TestRecordings:
    """`rangeseg unpack`, on bags that rosbags writes."""

    @pytest.fixture
    def bag(self, tmp_path: Path) -> Path:
        pytest.importorskip("rosbags", reason="the extra bags is not installed")
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_HUMBLE)
        types = {name.rsplit("/", 1)[1]: kind for name, kind in store.types.items()}
        kind = "sensor_msgs/msg/PointCloud2"
        with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            lidar, other = (writer.add_connection(topic, kind, typestore=store) for topic in ("/lidar", "/rear"))
            for number in range(3):
                scan = self.scan(number)
                rows = table(scan, "reflectivity")
                codes = {"<f4": 7, "<u2": 4}
                fields = [
                    types["PointField"](name, rows.dtype.fields[name][1], codes[rows.dtype[name].str], 1)  # type: ignore[index]
                    for name in rows.dtype.names or ()
                ]
                head = types["Header"](types["Time"](number, 0), "lidar")
                data = np.frombuffer(rows.tobytes(), np.uint8)
                cloud = types["PointCloud2"](head, 1, len(rows), fields, False, rows.itemsize, data.size, data, True)
                raw = store.serialize_cdr(cloud, kind)
                writer.write(lidar, number * 10**8, raw)
                if number == 0:
                    writer.write(other, 5, raw)
        return tmp_path / "bag"

    def scan(self, number: int) -> Scan:
        scan = made_up()
        return replace(scan, xyz=scan.xyz + np.float32(0.01 * number))

    def recording(self, folder: Path, topic: str, kind: str, message: Callable[[Any, dict[str, Any]], Any]) -> Path:
        """A ROS 1 bag and a ROS 2 bag of one message each, which `message` makes of a typestore and its classes."""
        pytest.importorskip("rosbags", reason="the extra bags is not installed")
        from rosbags import rosbag1, rosbag2
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        folder.mkdir()
        for store, one in ((get_typestore(Stores.ROS1_NOETIC), True), (get_typestore(Stores.ROS2_HUMBLE), False)):
            if "livox" in kind:
                store.register(get_types_from_msg(LIVOX_POINT, kind.replace("Msg", "Point")))
                store.register(get_types_from_msg(LIVOX_CLOUD, kind))
            types = {name.rsplit("/", 1)[1]: cls for name, cls in store.types.items() if name != "std_msgs/msg/Time"}
            sequence = {"seq": 0} if one else {}
            header = types["Header"](stamp=types["Time"](1, 2), frame_id="lidar", **sequence)
            made = message(header, types)
            with rosbag1.Writer(folder / "a.bag") if one else rosbag2.Writer(folder / "b", version=9) as writer:
                connection = writer.add_connection(topic, kind, typestore=store)
                raw = (store.serialize_ros1 if one else store.serialize_cdr)(made, kind)
                writer.write(connection, 10**8, raw)
        return folder

    def unpacked(self, recording: Path, out: Path) -> Scan:
        assert main(["unpack", str(recording), "--out", str(out)]) == 0
        return read_scan(out / "000000.npz")

    @pytest.mark.parametrize("name", ["a.bag", "b"])
    @pytest.mark.parametrize("package", ["livox_ros_driver", "livox_ros_driver2"])
    def test_livox_own_message_is_read(self, tmp_path: Path, name: str, package: str) -> None:
        scan = made_up()

        def message(header: Any, types: dict[str, Any]) -> Any:
            rows = zip(scan.xyz, np.rint(255 * scan.remission), scan.ring, strict=True)  # type: ignore[arg-type]
            points = [
                types["CustomPoint"](10**7 * number, *map(float, xyz), int(light), 16, int(line))
                for number, (xyz, light, line) in enumerate(rows)
            ]
            return types["CustomMsg"](header, 5, len(points), 1, np.zeros(3, np.uint8), points)

        kind = f"{package}/msg/CustomMsg"
        read = self.unpacked(self.recording(tmp_path / "r", "/livox/lidar", kind, message) / name, tmp_path / "o")
        np.testing.assert_array_equal(read.xyz, scan.xyz)
        np.testing.assert_array_equal(read.remission, scan.remission)
        np.testing.assert_array_equal(read.ring, scan.ring)
        times = point_times(tmp_path / "o" / "000000.npz", np.ones(len(scan), bool))
        np.testing.assert_allclose(times, 0.01 * np.arange(len(scan)))  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["a.bag", "b"])
    def test_a_cloud_whose_row_step_is_0_is_read(self, tmp_path: Path, name: str) -> None:
        scan = made_up()
        rows = table(scan)

        def message(header: Any, types: dict[str, Any]) -> Any:
            codes, offsets = {"<f4": 7, "<u2": 4}, dict(rows.dtype.fields or {})
            fields = [
                types["PointField"](n, offsets[n][1], codes[rows.dtype[n].str], 1) for n in rows.dtype.names or ()
            ]
            data = np.frombuffer(rows.tobytes(), np.uint8)
            return types["PointCloud2"](header, 4, 10, fields, False, rows.itemsize, 0, data, True)

        kind = "sensor_msgs/msg/PointCloud2"
        read = self.unpacked(self.recording(tmp_path / "r", "/lidar", kind, message) / name, tmp_path / "o")
        np.testing.assert_array_equal(read.xyz, scan.xyz)
        np.testing.assert_array_equal(read.ring, scan.ring)

    def test_a_recording_without_clouds_tells_what_it_has(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        recording = self.recording(tmp_path / "r", "/say", "std_msgs/msg/String", lambda _, types: types["String"]("a"))
        assert main(["unpack", str(recording / "a.bag"), "--out", str(tmp_path / "o")]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "its topics are: /say (std_msgs/msg/String)" in said

    def test_every_cloud_of_a_topic_becomes_a_scan(self, bag: Path, tmp_path: Path) -> None:
        out = tmp_path / "scans"
        assert main(["unpack", str(bag), "--out", str(out), "--topic", "/lidar"]) == 0
        assert sorted(path.name for path in out.glob("*.npz")) == ["000000.npz", "000001.npz", "000002.npz"]
        for number in range(3):
            read, expected = read_scan(out / f"{number:06d}.npz"), self.scan(number)
            np.testing.assert_array_equal(read.xyz, expected.xyz)
            np.testing.assert_array_equal(read.remission, expected.remission)
            np.testing.assert_array_equal(read.ring, expected.ring)

    @pytest.mark.parametrize("name", ["a.bag", "a.mcap", "a/a.db3", "a/metadata.yaml"])
    def test_a_pipe_in_place_of_a_recording_is_not_waited_for(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
        with pytest.raises(ValueError, match=r"not a complete recording .*is a pipe, not a file"):
            clouds_of_bag(tmp_path / name.partition("/")[0])

    def test_what_is_wrong_is_said(self, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def error(*words: str) -> str:
            assert main(["unpack", *words, "--out", str(tmp_path / "o")]) == 1
            return " ".join(capsys.readouterr().err.split())

        assert "has 2 topics of point clouds; choose a topic of /lidar, /rear" in error(str(bag))
        assert "no point clouds on /front" in error(str(bag), "--topic", "/front")
        assert "--fields takes NAME=COLUMN" in error(str(bag), "--topic", "/lidar", "--fields", "ring")
        assert "not a complete recording" in error(str(tmp_path / "absent.mcap"))
        (file,) = bag.glob("*.mcap")
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        assert "bag" in error(str(bag), "--topic", "/lidar")


class TestCaptures:
    """Packets of a made-up turn, and what Ouster's own library writes."""

    def velodyne(self, path: Path, packets: int = 200) -> Path:
        """VLP-16: 12 blocks of 2 x 16 returns a packet; channel c at 10 + 0.2 c metres, intensity 10 c."""
        returns = b"".join(struct.pack("<HB", 5000 + 100 * channel, 10 * channel) for channel in range(16)) * 2
        out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for number in range(packets):
            azimuths = [(480 * number + 40 * block) % 36000 for block in range(12)]
            body = b"".join(b"\xff\xee" + struct.pack("<H", azimuth) + returns for azimuth in azimuths)
            body += struct.pack("<IBB", 1_000_000 + 1327 * number, 0x37, 0x22)
            udp = struct.pack(">HHHH", 2368, 2368, 8 + len(body), 0) + body
            source, target = bytes([192, 168, 1, 201]), bytes([255] * 4)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, target) + udp
            frame = bytes([255] * 6) + bytes(6) + b"\x08\x00" + ip
            seconds, rest = divmod(1_600_000_001_000_000 + 1327 * number, 10**6)
            out += struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame
        path.write_bytes(out)
        return path

    def test_a_velodyne_capture(self, tmp_path: Path) -> None:
        pytest.importorskip("velodyne_decoder", reason="the extra velodyne is not installed")
        capture = self.velodyne(tmp_path / "a.pcap")
        assert main(["unpack", str(capture), "--out", str(tmp_path / "o")]) == 0
        written = sorted((tmp_path / "o").glob("*.npz"))
        assert len(written) == 3
        scan = read_scan(written[1])
        assert scan.ring is not None
        inclination = np.degrees(np.arctan2(scan.xyz[:, 2], np.hypot(scan.xyz[:, 0], scan.xyz[:, 1])))
        for ring in range(16):  # 0 is the topmost of 15, 13, ... -15 degrees
            assert inclination[scan.ring == ring].mean() == pytest.approx(15 - 2 * ring, abs=0.3)
        np.testing.assert_allclose(np.unique(scan.remission), np.arange(16) * 10 / 255, rtol=1e-5)
        assert np.linalg.norm(scan.xyz, axis=1).max() == pytest.approx(13, abs=0.3)

    @pytest.mark.parametrize("size", [24 + 10, 24 + 16 + 500, -7])
    def test_a_capture_that_was_cut_off_is_told_of(self, tmp_path: Path, size: int) -> None:
        whole = self.velodyne(tmp_path / "a.pcap", 20).read_bytes()
        check_packets(tmp_path / "a.pcap")
        (tmp_path / "a.pcap").write_bytes(whole[:size])
        with pytest.warns(Notice, match=r"a\.pcap: \d+ packets are complete, but the last \d+ of its"):
            check_packets(tmp_path / "a.pcap")
        (tmp_path / "a.pcap").write_bytes(whole[:32] + b"\xff" * 4 + whole[36:])
        with pytest.warns(Notice, match="0 packets are complete"):
            check_packets(tmp_path / "a.pcap")

    def test_a_pcapng_that_was_cut_off_is_told_of(self, tmp_path: Path) -> None:
        def block(kind: int, body: bytes) -> bytes:
            length = 12 + len(body)
            return struct.pack("<II", kind, length) + body + struct.pack("<I", length)

        head = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, struct.pack("<HHI", 1, 0, 0))
        packet = block(6, struct.pack("<IIIII", 0, 0, 0, 8, 8) + bytes(8))
        path = tmp_path / "a.pcapng"
        path.write_bytes(head + 3 * packet)
        check_packets(path)
        path.write_bytes(head + 3 * packet[:-2])
        with pytest.warns(Notice, match="2 packets are complete"):
            check_packets(path)

    def test_an_ouster_recording(self, tmp_path: Path) -> None:
        core = pytest.importorskip("ouster.sdk.core", reason="the extra ouster is not installed")
        from ouster.sdk import osf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info = core.SensorInfo.from_default(core.LidarMode._512x10)
            frame = core.LidarScan(info)
            distance, reflectivity = frame.field("RANGE"), frame.field("REFLECTIVITY")
            distance[:] = np.arange(distance.size).reshape(distance.shape) + 2000
            reflectivity[:] = np.arange(64, dtype=np.uint8)[:, None]
            frame.status[:], frame.frame_id = 1, 7
            frame.timestamp[:], frame.measurement_id[:] = 10**9 + 200_000 * np.arange(512), np.arange(512)
            writer = osf.Writer(str(tmp_path / "a.osf"), info)
            writer.save(0, frame)
            writer.close()
            expected = core.destagger(info, core.XYZLut(info)(frame))
            seconds = core.destagger(info, np.tile(2e-4 * np.arange(512), (64, 1)))
        assert main(["unpack", str(tmp_path / "a.osf"), "--out", str(tmp_path / "o")]) == 0
        scan = read_scan(tmp_path / "o" / "000000.npz")
        assert len(scan) == 64 * 512
        assert scan.ring is not None
        np.testing.assert_array_equal(scan.ring, np.repeat(np.arange(64), 512))
        np.testing.assert_allclose(scan.xyz.reshape(64, 512, 3), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(scan.remission, np.repeat(np.arange(64), 512) / 255, rtol=1e-5)
        times = point_times(tmp_path / "o" / "000000.npz", np.ones(len(scan), bool))
        np.testing.assert_allclose(times, seconds.reshape(-1), atol=1e-9)  # type: ignore[arg-type]

    def test_an_ouster_recording_of_two_sensors_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        core = pytest.importorskip("ouster.sdk.core", reason="the extra ouster is not installed")
        from ouster.sdk import osf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            infos = [core.SensorInfo.from_default(core.LidarMode._512x10) for _ in range(2)]
            infos[1].sn = infos[0].sn + 1
            writer = osf.Writer(str(tmp_path / "a.osf"), infos)
            for number, info in enumerate(infos):
                frame = core.LidarScan(info)
                frame.status[:], frame.frame_id, frame.timestamp[:] = 1, 7, np.arange(512) + 1
                writer.save(number, frame)
            writer.close()
        assert main(["unpack", str(tmp_path / "a.osf"), "--out", str(tmp_path / "o")]) == 1
        assert "contains 2 sensors, but rangeseg reads one" in " ".join(capsys.readouterr().err.split())

    def test_what_is_wrong_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("velodyne_decoder", reason="the extra velodyne is not installed")

        def error(path: Path, *more: str) -> str:
            assert main(["unpack", str(path), "--out", str(tmp_path / "o"), *more]) == 1
            return " ".join(capsys.readouterr().err.split())

        capture = self.velodyne(tmp_path / "a.pcap")
        assert "a capture has no topics" in error(capture, "--topic", "/x")
        assert "b.pcap: no such file" in error(tmp_path / "b.pcap")
        whole = capture.read_bytes()
        for content in (b"", whole[:20], b"no capture at all, only text" * 10):
            assert "a.pcap" in error(changed(capture, content))
