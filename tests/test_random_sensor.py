"""Sensors that nobody built: their bounds, their mounts, and scans of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rangeseg.data.augment import Augmentation
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.notices import Notice
from rangeseg.synthetic.beams import HEIGHT_M, read_beams
from rangeseg.synthetic.random_sensor import BOUNDS, RAYS, RandomSensor, draw_sensor
from rangeseg.synthetic.raycast import Poses, Returns
from rangeseg.types import Scan

DRAWS = [draw_sensor(np.random.default_rng(seed)) for seed in range(300)]


def spread(values: list[float], name: str) -> None:
    """Within the bounds, and over most of them."""
    low, high = BOUNDS[name]
    assert low <= min(values) <= low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) <= max(values) <= high


def test_sensors_fill_their_bounds() -> None:
    spread([sensor.height_m for sensor in DRAWS], "height_m")
    spread([np.rad2deg(sensor.pitch) for sensor in DRAWS], "pitch_deg")
    spread([np.rad2deg(sensor.roll) for sensor in DRAWS], "roll_deg")
    spread([sensor.dropout for sensor in DRAWS], "dropout")
    spread([sensor.gain for sensor in DRAWS], "gain")
    spread([sensor.gamma for sensor in DRAWS], "gamma")
    spread([sensor.beams.noise_m for sensor in DRAWS], "noise_m")
    spread([sensor.beams.reach_m for sensor in DRAWS], "reach_m")
    shares = [sensor.view[1] / sensor.beams.firings * 360 for sensor in DRAWS if sensor.view]
    assert 0.1 < len(shares) / len(DRAWS) < 0.3
    assert 89 < min(shares) < max(shares) < 301


def test_beams_are_many_kinds_of_descending_tables() -> None:
    counts = {len(sensor.beams.inclination) for sensor in DRAWS}
    assert counts >= {16, 32, 64, 128}
    for sensor in DRAWS:
        degrees = np.rad2deg(sensor.beams.inclination)
        assert (np.diff(degrees) < 0).mean() > 0.9  # the HDL-64E's two blocks overlap a little
        assert -55 < degrees.min() < -4
        assert -4 < degrees.max() < 60
        assert len(degrees) * sensor.beams.firings <= RAYS


def test_a_mount_turns_and_lifts_the_sensor_against_an_oracle() -> None:
    beams = replace(read_beams("vlp16"), firings=4)
    poses = Poses.standing(beams, (1.0, 2.0, HEIGHT_M))
    sensor = RandomSensor(beams, height_m=2.5, pitch=0.1, roll=-0.2)
    mounted = sensor.mounted(poses)
    np.testing.assert_allclose(mounted.origin, np.tile([1, 2, 2.5], (4, 1)), rtol=1e-6)
    ahead, left, up = mounted.turn[0].T.astype(np.float64)  # the sensor's axes in the world
    np.testing.assert_allclose(ahead, [np.cos(0.1), 0, -np.sin(0.1)], atol=1e-6)  # nods down
    assert np.arcsin(left[2]) == pytest.approx(np.arcsin(np.cos(0.1) * np.sin(-0.2)), abs=1e-6)
    np.testing.assert_allclose(np.cross(ahead, left), up, atol=1e-6)


def returns(count: int = 4000, firings: int = 100) -> Returns:
    rng = np.random.default_rng(0)
    firing = rng.integers(0, firings, count).astype(np.int32)
    xyz, remission = rng.normal(size=(count, 3)).astype(np.float32), rng.random(count).astype(np.float32)
    return Returns(xyz, remission, np.arange(count, dtype=np.uint32), firing // 10, firing)


def test_lost_returns_fields_of_view_and_remission() -> None:
    beams, perfect = replace(read_beams("vlp16"), firings=100), returns()
    whole = RandomSensor(beams).received(perfect, np.random.default_rng(1))
    assert all(np.array_equal(getattr(whole, name), getattr(perfect, name)) for name in ("xyz", "remission", "raw"))
    sensor = RandomSensor(beams, dropout=0.1, gain=1.4, gamma=0.5, view=(90, 30))
    left = sensor.received(perfect, np.random.default_rng(1))
    assert set(left.firing) == {*range(90, 100), *range(20)}
    inside = np.isin(perfect.firing, [*range(90, 100), *range(20)]).sum()
    assert len(left.raw) / inside == pytest.approx(0.9, abs=0.03)
    expected = np.minimum(1.4 * np.sqrt(perfect.remission[left.raw]), 1)
    np.testing.assert_allclose(left.remission, expected, rtol=1e-6)
    np.testing.assert_array_equal(left.xyz, perfect.xyz[left.raw])


def test_something_always_returns() -> None:
    sensor = RandomSensor(replace(read_beams("vlp16"), firings=100), dropout=1.0)
    assert len(sensor.received(returns(5), np.random.default_rng(0)).raw) == 1


def test_firings_of_random_sensors_cannot_be_given() -> None:
    with pytest.raises(ValueError, match="firings is 512; random sensors have their own, so leave it out"):
        SyntheticStreets(sensor="random", firings=512)


def test_a_sensor_in_a_frame_where_the_streets_are_not_is_told_of() -> None:
    with pytest.warns(Notice, match="pandaset: its origin_m and tilt_deg are for scans that are not in the sensor's"):
        SyntheticStreets(sensor="pandaset")


def test_every_scan_has_its_own_sensor_and_is_the_same_whoever_asks() -> None:
    pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")
    one, other = (
        SyntheticStreets(sensor="random", scans=4, scans_per_street=4, sequences=["00"], seed=3) for _ in range(2)
    )
    first = [one.scan(index) for index in range(3)]
    for index in (2, 0, 1):
        again = other.scan(index)
        for name in ("xyz", "remission", "ring", "label"):
            assert np.array_equal(getattr(again, name), getattr(first[index], name))
    sensors = [one.sensor(index) for index in range(4)]
    assert len({sensor.beams.name for sensor in sensors} | {str(sensor.height_m) for sensor in sensors}) >= 5
    for index, scan in enumerate(first):
        assert scan.ring is not None
        assert scan.ring.max() < len(sensors[index].beams.inclination)
        assert len(scan) > 500
        road = scan.xyz[scan.label == 8]
        near = road[np.hypot(road[:, 0], road[:, 1]) < 8]
        if len(near) > 50 and abs(sensors[index].pitch) < 0.03:
            assert -np.median(near[:, 2]) == pytest.approx(sensors[index].height_m, abs=0.5)


def test_remission_has_one_gain_within_its_bounds_that_changes_no_other_draw() -> None:
    scan = Scan(np.ones((50, 3), np.float32), np.linspace(0, 1, 50, dtype=np.float32))
    gains = []
    for seed in range(400):
        plain = Augmentation(drop=0.3)(scan, np.random.default_rng(seed))
        varied = Augmentation(drop=0.3, remission_gain=(0.5, 2.0))(scan, np.random.default_rng(seed))
        assert np.array_equal(plain.xyz, varied.xyz)
        gains.append(varied.remission[-1] / plain.remission[-1])
        np.testing.assert_allclose(varied.remission, gains[-1] * plain.remission, rtol=1e-5)
    assert 0.5 <= min(gains) < 0.55
    assert 1.8 < max(gains) <= 2
    assert np.median(np.log(gains)) == pytest.approx(0, abs=0.1)  # darker as often as brighter


def test_dropping_remission_is_all_or_nothing_and_changes_no_other_draw() -> None:
    scan = Scan(np.ones((50, 3), np.float32), np.full(50, 0.5, np.float32))
    dark = 0
    for seed in range(200):
        plain = Augmentation(drop=0.3)(scan, np.random.default_rng(seed))
        dropped = Augmentation(drop=0.3, drop_remission=0.3)(scan, np.random.default_rng(seed))
        assert np.array_equal(plain.xyz, dropped.xyz)
        assert set(dropped.remission.tolist()) in ({0.0}, {0.5})
        dark += not dropped.remission.any()
    assert 0.2 < dark / 200 < 0.4
    with pytest.raises(ValueError, match="drop_remission is 2"):
        Augmentation(drop_remission=2)
