"""`fit-sensor` takes the smallest number of beams that explains the points, says how sure it is, refuses in doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scan_writers import pcd, rows_of

from rangeseg import read_scan
from rangeseg.cli import main
from rangeseg.projection.fit import fit_sensor
from rangeseg.projection.fit_beams import find_peaks, hypotheses, judged, simplest
from rangeseg.projection.ring import RingProjection
from rangeseg.types import Scan


@pytest.fixture(scope="module")
def hdl32(data_root: Path) -> Scan:
    return read_scan(next((data_root / "nuscenes_fragments" / "raw").glob("*.pcd.bin")))


@pytest.fixture(scope="module")
def kitti(kitti_root: Path) -> Scan:
    return read_scan(kitti_root / "sequences" / "00" / "velodyne" / "000000.bin")


def part(scan: Scan, chosen: np.ndarray, ring: bool = False) -> Scan:
    kept = scan.ring[chosen] if ring and scan.ring is not None else None
    return Scan(scan.xyz[chosen], scan.remission[chosen], kept)


def joined(*scans: Scan) -> Scan:
    return Scan(np.concatenate([one.xyz for one in scans]), np.concatenate([one.remission for one in scans]))


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("nearest_m", [2.0, 3.0])
def test_a_real_sweep_without_its_nearest_points_has_32_beams(hdl32: Scan, nearest_m: float, ring: bool) -> None:
    """Without them the points have no place for every pixel any more; 109 beams were found."""
    far = np.flatnonzero(np.linalg.norm(hdl32.xyz, axis=1) > nearest_m)
    fitted = fit_sensor([part(hdl32, far, ring)])
    whole = fit_sensor([hdl32])
    assert fitted.model.height == whole.model.height == 32
    assert np.abs(fitted.inclinations_deg - whole.inclinations_deg).max() < 0.5  # of a spacing of 1.33
    assert fitted.columns == pytest.approx(whole.columns, rel=0.02)
    assert ring or any("Confidence: 87 %" in word for word in fitted.words)


@pytest.mark.parametrize("how", ["upside down", "last point first"])
def test_rows_that_the_order_tells_are_known_upside_down_too(kitti: Scan, how: str) -> None:
    turned = kitti.xyz * np.float32([1, -1, -1]) if how == "upside down" else kitti.xyz[::-1]
    fitted, plain = fit_sensor([Scan(turned, kitti.remission)]), fit_sensor([kitti])
    assert (fitted.model.height, fitted.columns) == (64, plain.columns)
    beams = -plain.inclinations_deg[::-1] if how == "upside down" else plain.inclinations_deg
    np.testing.assert_allclose(fitted.inclinations_deg, beams, atol=0.02)
    assert fitted.model.projection in ("beam", "spherical")


@pytest.mark.slow
def test_kitti_in_any_order_has_64_beams(kitti: Scan) -> None:
    azimuth = np.arctan2(kitti.xyz[:, 1], kitti.xyz[:, 0])
    for order in (np.random.default_rng(0).permutation(len(kitti)), np.argsort(azimuth, kind="stable")):
        assert fit_sensor([part(kitti, order)]).model.height == 64


@pytest.mark.slow
def test_scans_in_doubt_are_refused_unless_somebody_knows_better(kitti: Scan, data_root: Path) -> None:
    panda = read_scan(next(data_root.glob("pandaset/sequences/002/velodyne/*.bin")))
    cells = np.unique(np.floor(kitti.xyz / 0.2).astype(int), axis=0, return_index=True)[1]
    upside_down = Scan(kitti.xyz * np.float32([1, -1, -1]), kitti.remission)
    upside_down = part(upside_down, np.random.default_rng(0).permutation(len(kitti)))
    for scan, said in (
        (upside_down, "number of beams is not clear.*another smoothing shows another number.*--rows N"),
        (joined(panda, kitti), "number of beams is not clear.*would share a pixel"),
        (part(kitti, cells), "number of beams is not clear.*are too many for these points"),
    ):
        with pytest.raises(ValueError, match=said):
            fit_sensor([scan])
    with pytest.raises(ValueError, match=r"No 7 beams can be told apart; the inclinations may show \[.*one of these"):
        fit_sensor([upside_down], rows=7)


def test_thinned_and_repeated_scans_are_refused(kitti: Scan, rng: np.random.Generator) -> None:
    """Their rows can still be told; their columns not."""
    for share in (0.5, 0.1):
        kept = np.sort(rng.choice(len(kitti), int(share * len(kitti)), replace=False))
        with pytest.raises(ValueError, match=r"number of columns cannot be found.*% of the azimuth steps"):
            fit_sensor([part(kitti, kept)])
        assert fit_sensor([part(kitti, kept)], rows=64).model.height == 64


@pytest.mark.slow
def test_two_scans_one_after_the_other_are_no_sensor_of_129_rows(kitti: Scan) -> None:
    other = Scan(kitti.xyz + np.float32([0, 1, 0.2]), kitti.remission)
    with pytest.raises(ValueError, match="beams"):
        fit_sensor([joined(kitti, other)])


# --- hypotheses, on made-up beams


def points_of(
    beams: np.ndarray, columns: int, blur: float, rng: np.random.Generator, kept: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    inclination = np.repeat(beams, columns) + blur * rng.standard_normal(len(beams) * columns)
    azimuth = np.tile((np.arange(columns) + 0.5) * 360 / columns - 180, len(beams))
    chosen = rng.random(len(azimuth)) < kept
    return inclination[chosen], azimuth[chosen]


@pytest.mark.parametrize(("count", "gap"), [(16, 2.0), (32, 1.33), (40, 0.8), (64, 0.42), (128, 0.35)])
def test_the_number_of_blurred_beams_is_found(count: int, gap: float, rng: np.random.Generator) -> None:
    """Blur of an eighth of the gap, as far as 97 % of the points can be told apart."""
    beams = 10 - gap * np.arange(count)
    inclination, azimuth = points_of(beams, 900, gap / 8, rng)
    found = simplest(hypotheses(inclination, azimuth, 256))
    assert found is not None
    np.testing.assert_allclose(found.inclinations_deg, beams, atol=gap / 6)
    assert found.doubts == []
    assert found.crowded == pytest.approx(0.954, abs=0.02)  # of a normal distribution, within two deviations
    assert found.filled == pytest.approx(0.8, abs=0.02)


def test_points_without_beams_are_doubted(rng: np.random.Generator) -> None:
    inclination, azimuth = rng.uniform(-20, 10, 30_000), rng.uniform(-180, 180, 30_000)
    found = simplest(hypotheses(inclination, azimuth, 256))
    assert found is None or found.doubts


def test_too_many_beams_are_doubted_by_their_rows(rng: np.random.Generator) -> None:
    inclination, azimuth = points_of(10 - 2.0 * np.arange(16), 900, 0.3, rng)
    many = judged(inclination, azimuth, find_peaks(inclination, 0.015))
    assert len(many.inclinations_deg) > 60
    assert any("are too many for these points" in doubt for doubt in many.doubts)


# --- rings as files have them


def rings_scan(beams: int, rng: np.random.Generator, silent: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """xyz and the number of each point's beam from the lowest; the topmost `silent` never return anything."""
    ring = np.repeat(np.arange(beams - silent), 300)
    inclination = np.radians(-20 + 30 / beams * ring)
    azimuth, metres = np.tile(np.linspace(-np.pi, np.pi, 300, endpoint=False), beams - silent), rng.uniform(4, 50)
    way = np.stack([np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth), np.sin(inclination)])
    return (metres * way).T.astype(np.float32), ring


@pytest.mark.parametrize("ending", [".npz", ".pcd"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("beams", [8, 16, 20, 32, 40, 64, 128])
def test_rings_are_counted_from_the_top_of_as_many_as_there_are(
    beams: int, first: int, ending: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    xyz, ring = rings_scan(beams, rng)
    for turned in (ring, beams - 1 - ring):  # counted from the lowest, and from the top
        columns = {axis: xyz[:, k].copy() for k, axis in enumerate("xyz")} | {
            "ring": (turned + first).astype(np.uint16)
        }
        path = tmp_path / f"{'up' if turned is ring else 'down'}" / f"a{ending}"
        path.parent.mkdir()
        np.savez(path, **columns) if ending == ".npz" else path.write_bytes(pcd(rows_of(columns)))
        scan = read_scan(path)
        np.testing.assert_array_equal(scan.ring, beams - 1 - ring)
        assert RingProjection(beams, 256)(scan).valid.any(axis=1).all()
        fitted = fit_sensor([scan])
        assert (fitted.model.height, "ring" in fitted.model.sections) == (beams, True)


def test_beams_that_return_nothing_do_not_move_the_others(tmp_path: Path, rng: np.random.Generator) -> None:
    """A folder's scans are counted alike, whichever of the upper beams each of them has; and none is dropped."""
    for number, silent in enumerate((3, 0, 25)):
        xyz, ring = rings_scan(40, rng, silent)
        columns = {axis: xyz[:, k].copy() for k, axis in enumerate("xyz")} | {"ring": ring.astype(np.uint16)}
        np.savez(tmp_path / f"{number}.npz", **columns)
    for number, silent in enumerate((3, 0, 25)):
        scan = read_scan(tmp_path / f"{number}.npz")
        assert scan.ring is not None
        assert (scan.ring.min(), scan.ring.max()) == (silent, 39)
    fitted = fit_sensor([read_scan(tmp_path / "0.npz")])
    assert fitted.model.height == 40
    np.testing.assert_allclose(fitted.inclinations_deg, -20 + 30 / 40 * np.arange(39, -1, -1), atol=0.01)


def test_the_command_refuses_says_why_and_takes_rows(
    kitti_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = np.fromfile(kitti_root / "sequences" / "00" / "velodyne" / "000000.bin", "<f4").reshape(-1, 4)
    kept = np.sort(np.random.default_rng(0).choice(len(table), len(table) // 3, replace=False))
    (table[kept] * np.float32([1, 1, 1, 255])).tofile(tmp_path / "a.bin")
    words = ["fit-sensor", str(tmp_path / "a.bin"), "--out", str(tmp_path / "s.yaml")]
    words += ["--fields", "remission=remission/255"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "error: The number of columns cannot be found from these scans" in captured.err
    assert "warning" not in captured.err
    assert not (tmp_path / "s.yaml").exists()
    assert main([*words, "--rows", "64"]) == 0
    assert (tmp_path / "s.yaml").exists()
