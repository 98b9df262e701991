"""The simulated LiDAR against plain geometry: planes, walls, a vehicle on the move."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rangeseg.kernels.returns import mix_edges
from rangeseg.synthetic.beams import Beams, read_beams
from rangeseg.synthetic.materials import MATERIALS
from rangeseg.synthetic.mesh import Mesh, Shape, box, cards, cylinder, dress, ellipsoid, frustum, join, prism
from rangeseg.synthetic.raycast import Lidar, Poses, Returns, World, hidden_by_vehicle

pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")

CLOSED: dict[str, Shape] = {
    "box": box(2, 3, 4, (1, 1, 1)),
    "frustum": frustum(((-1, 1), (-2, 2), 0), ((-0.5, 0.5), (-1, 1), 1)),
    "prism": prism([(0, 0), (2, 0), (2, 1), (0.5, 1.5)], 2.0),
    "cylinder": cylinder(0.5, 2.0, (1, 2, 3), 7, "x"),
}


def plain(beams: int = 16, firings: int = 360, lift: float = 0.0, noise: float = 0.0) -> Beams:
    inclination = np.deg2rad(np.linspace(2, -25, beams)).astype(np.float32)
    return Beams(
        "plain", inclination, np.full(beams, lift, np.float32), firings, 80.0, divergence_rad=0.0, noise_m=noise
    )


def ground(z: float = -1.73) -> Mesh:
    return dress(box(300, 300, 1, (0, 0, z - 1)), 40, "asphalt", 0.3)


def wall_ahead(x: float = 20.0) -> Mesh:
    return dress(box(1, 300, 60, (x + 0.5, 0, -30)), 50, "wall", 0.4)


def sweep(beams: Beams, speed: float) -> Poses:
    standing = Poses.standing(beams)
    seconds = 0.1 * ((np.arange(beams.firings) + 0.5) / beams.firings - 0.5)
    origin = np.stack([speed * seconds, 0 * seconds, 0 * seconds], 1).astype(np.float32)
    return Poses(origin, standing.turn, beams.firings // 2)


def test_returns_of_a_plane_are_where_geometry_has_them(rng: np.random.Generator) -> None:
    beams = plain(lift=0.2)
    seen = Lidar(beams, ego=False).scan(World(ground()), Poses.standing(beams), rng)
    down = beams.inclination.astype(np.float64)[seen.ring]
    metres = (1.73 + 0.2) / np.sin(-down)
    assert (down < 0).all()
    expected = np.stack(
        [metres * np.cos(down) * np.cos(beams.azimuth[seen.ring, seen.firing]),
         metres * np.cos(down) * np.sin(beams.azimuth[seen.ring, seen.firing]), np.full_like(metres, -1.73)], 1
    )  # fmt: skip
    np.testing.assert_allclose(seen.xyz, expected, atol=2e-3)
    reachable = beams.firings * np.count_nonzero((beams.inclination < 0) & (1.93 / np.sin(-beams.inclination) < 30))
    assert len(seen.xyz) > 0.98 * reachable


def test_points_lie_on_their_beams_and_within_reach(rng: np.random.Generator) -> None:
    beams = replace(plain(noise=0.02), divergence_rad=1e-3)
    seen = Lidar(beams).scan(World(join([ground(), wall_ahead()])), Poses.standing(beams), rng)
    metres = np.linalg.norm(seen.xyz.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.arcsin(seen.xyz[:, 2] / metres), beams.inclination[seen.ring], atol=1e-5)
    turned = np.arctan2(seen.xyz[:, 1], seen.xyz[:, 0]) % (2 * np.pi)
    np.testing.assert_allclose(turned, beams.azimuth[seen.ring, seen.firing], atol=1e-5)
    assert metres.min() >= beams.near_m - 1e-4
    assert metres.max() <= beams.reach_m + 1e-4
    assert (seen.remission >= 0).all()
    assert (seen.remission <= 1).all()


def test_beams_come_one_after_the_other_each_a_turn(rng: np.random.Generator) -> None:
    beams = plain()
    seen = Lidar(beams).scan(World(ground()), Poses.standing(beams), rng)
    order = seen.ring.astype(np.int64) * beams.firings + seen.firing
    assert (np.diff(order) > 0).all()


def test_nothing_returns_from_where_the_vehicle_is(rng: np.random.Generator) -> None:
    beams = read_beams("hdl64e", firings=720)
    hidden = hidden_by_vehicle(beams)
    world, poses = World(ground()), Poses.standing(beams)
    seen = Lidar(beams).scan(world, poses, rng)
    assert not hidden[seen.ring * beams.firings + seen.firing].any()
    free = Lidar(beams, ego=False).scan(world, poses, rng)
    assert hidden[free.ring * beams.firings + free.firing].sum() > 0.9 * hidden.sum() > 0
    assert 0.01 < hidden.mean() < 0.12


def test_some_beams_at_an_edge_return_a_place_in_between_and_no_others(rng: np.random.Generator) -> None:
    firings = 20
    hit = np.tile(np.repeat([10.0, 11.0], 10), 200).astype(np.float32)
    mixed = hit.copy()
    mix_edges(mixed, rng.random(len(hit), np.float32), firings)
    changed = np.flatnonzero(mixed != hit)
    assert set((changed % firings).tolist()) == {9}
    assert 0.15 < len(changed) / 200 < 0.45
    assert ((mixed[changed] > 10) & (mixed[changed] < 11)).all()
    apart = np.repeat([10.0, 30.0], 10).astype(np.float32)
    far = apart.copy()
    mix_edges(far, np.zeros(20, np.float32), firings)
    np.testing.assert_array_equal(far, apart)


def test_standing_still_compensates_nothing() -> None:
    beams, world = plain(noise=0.02), World(join([ground(), wall_ahead()]))
    scans = [
        Lidar(beams, compensated=given).scan(world, sweep(beams, 0.0), np.random.default_rng(3))
        for given in (True, False)
    ]
    np.testing.assert_allclose(scans[0].xyz, scans[1].xyz, atol=1e-4)
    np.testing.assert_array_equal(scans[0].raw, scans[1].raw)


def test_a_wall_ahead_is_flat_when_compensated_and_slanted_when_not(rng: np.random.Generator) -> None:
    beams, speed = plain(), 20.0
    world, poses = World(wall_ahead(20.0)), sweep(beams, speed)
    flat = Lidar(beams, ego=False).scan(world, poses, rng)
    np.testing.assert_allclose(flat.xyz[:, 0], 20.0 - poses.origin[poses.still, 0], atol=5e-3)
    slanted = Lidar(beams, ego=False, compensated=False).scan(world, poses, rng)
    seconds = 0.1 * ((slanted.firing + 0.5) / beams.firings - 0.5)
    np.testing.assert_allclose(slanted.xyz[:, 0], 20.0 - speed * seconds, atol=5e-3)


@pytest.mark.parametrize("speed", [0.0, 25.0])
def test_what_moves_is_seen_as_if_it_stood_there(speed: float) -> None:
    beams = plain(firings=720)
    near = dress(box(4, 2, 1.5, (3, 3, -1.73)), 252, "wall", 0.4)
    behind = dress(box(4, 2, 1.5, (24, 0, -1.73)), 257, "wall", 0.4)
    across = dress(box(3, 30, 3, (-9, 0, -1.73)), 258, "wall", 0.4)
    movers = join([near, behind, across])
    still = join([ground(), wall_ahead(20.0)])
    poses = sweep(beams, speed)

    def scan(world: World, moving: World | None) -> Returns:
        return Lidar(beams, ego=False).scan(world, poses, np.random.default_rng(1), moving)

    apart, together = scan(World(still), World(movers)), scan(World(join([still, movers])), None)
    np.testing.assert_allclose(apart.xyz, together.xyz, atol=1e-4)
    np.testing.assert_array_equal(apart.raw, together.raw)
    assert {252, 258} < set(apart.raw.tolist())
    assert 257 not in apart.raw


def test_glass_swallows_most_beams_and_dark_things_far_away_vanish(rng: np.random.Generator) -> None:
    beams, poses = plain(), Poses.standing(plain())

    def points(material: str, albedo: float, x: float) -> int:
        mesh = dress(box(1, 300, 60, (x + 0.5, 0, -30)), 50, material, albedo)
        return len(Lidar(beams, ego=False).scan(World(mesh), poses, rng).xyz)

    wall = points("wall", 0.4, 10.0)
    assert points("glass", 0.4, 10.0) < 0.2 * wall
    assert points("wall", 0.0005, 60.0) < points("wall", 0.0005, 5.0)


def test_remission_falls_with_distance_and_angle(rng: np.random.Generator) -> None:
    beams = plain()
    ahead = [
        Lidar(beams, ego=False).scan(World(wall_ahead(x)), Poses.standing(beams), rng).remission.mean()
        for x in (15.0, 60.0)
    ]
    assert ahead[0] > 1.5 * ahead[1]
    flat = Lidar(beams, ego=False).scan(World(ground()), Poses.standing(beams), rng)
    far = np.linalg.norm(flat.xyz, axis=1) > 30
    assert flat.remission[far].mean() < flat.remission[~far].mean()


@pytest.mark.parametrize("name", CLOSED)
def test_solid_shapes_are_closed(name: str) -> None:
    _, triangles = CLOSED[name]
    edges = Counter(tuple(sorted(edge)) for a, b, c in triangles.tolist() for edge in ((a, b), (b, c), (c, a)))
    assert set(edges.values()) == {2}


def test_shapes_have_their_measures(rng: np.random.Generator) -> None:
    vertices, _ = ellipsoid((1, 2, 3), (5, 5, 5), rings=8, sides=16)
    np.testing.assert_allclose((((vertices - 5) / [1, 2, 3]) ** 2).sum(1), 1, atol=1e-5)
    middles = rng.normal(size=(50, 3))
    leaves, triangles = cards(middles, (0.1, 0.2), rng)
    away = np.linalg.norm(leaves[triangles] - middles[:, None], axis=2)
    assert away.min() > 0.09
    assert away.max() < 0.21


def test_placing_turns_and_moves_and_keeps_the_rest() -> None:
    mesh = dress(box(2, 1, 1), 10, "paint", 0.4).placed((5, 6, 7), np.pi / 2, instance=3)
    np.testing.assert_allclose(mesh.vertices.min(0), (4.5, 5, 7), atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(0), (5.5, 7, 8), atol=1e-6)
    assert set(mesh.label.tolist()) == {10 | 3 << 16}
    again = mesh.placed((0, 0, 0), instance=9)
    assert set(again.label.tolist()) == {10 | 9 << 16}
    both = join([mesh, again])
    assert len(both) == 2 * len(mesh)
    np.testing.assert_array_equal(both.vertices[both.triangles[len(mesh) :]], again.vertices[again.triangles])
    with pytest.raises(ValueError, match="at least one"):
        join([])


def test_materials_are_shares_and_fit_a_byte() -> None:
    assert len(MATERIALS) < 256
    for name, material in MATERIALS.items():
        assert 0 <= material.lost < 1, name
        assert 0 <= material.mirror < 1, name


@pytest.mark.parametrize("sensor", ["hdl64e", "hdl32e", "os1_64", "vlp16", "pandar128"])
def test_every_sensor_has_beams_from_the_top_down(sensor: str) -> None:
    beams = read_beams(sensor)
    assert len(beams.inclination) in (16, 32, 64, 128)
    assert (np.diff(beams.inclination) < 0).all()
    assert (np.diff(beams.azimuth) > 0).all()
    assert 0 <= beams.azimuth.min() < beams.azimuth.max() < 2 * np.pi
    assert beams.gains.shape == beams.inclination.shape


FRONT = """sensor: front
source: a test
height: 4
width: 120
projection: beam
beam: {inclinations_deg: [1.0, -1.0, -3.0, -5.0], fov_left_deg: LEFT, fov_right_deg: RIGHT}
"""


@pytest.mark.parametrize(("left", "right"), [(60.0, -60.0), (240.0, 120.0)])
def test_a_sensor_that_sees_a_part_of_the_turn_has_its_columns_there(tmp_path: Path, left: float, right: float) -> None:
    path = tmp_path / "front.yaml"
    path.write_text(FRONT.replace("LEFT", str(left)).replace("RIGHT", str(right)))
    beams = read_beams(str(path))
    assert beams.firings == 360
    assert np.count_nonzero(~beams.beyond_view, axis=1).tolist() == [120] * 4
    hidden = Lidar(beams, ego=False)._hidden.reshape(4, 360)
    azimuth = np.rad2deg(beams.azimuth)[~hidden]
    off = (azimuth - (left + right) / 2 + 180) % 360 - 180
    assert np.abs(off).max() == pytest.approx(59.5, abs=1e-3)


def test_beams_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no_such"):
        read_beams("no_such")
    with pytest.raises(ValueError, match="give at least one of each"):
        replace(plain(), inclination=np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="beyond the near"):
        replace(plain(), reach_m=0.5)
