"""Simulation of a LiDAR that drives through a mesh: rays are cast and become `Returns`.

    rays    = beams at the poses of the sweep, randomly off their axes     (footprint)
    hits    = Open3D's RaycastingScene                                     (first triangle)
    returns = ranges with noise, remission, lost returns, rays hidden by the vehicle

Shapes: H beams, W firings; R = H * W rays, beam by beam from the topmost, one turn per beam, as in KITTI's files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.kernels.returns import make_rays, mix_edges, receive, to_points
from rangeseg.optional import open3d_or_help
from rangeseg.synthetic.beams import Beams
from rangeseg.synthetic.materials import MATERIALS
from rangeseg.synthetic.mesh import Mesh

TABLE = np.array([[m.spread, m.mirror, m.lost, m.rough_m] for m in MATERIALS.values()], np.float32)

EGO_DEG = (
    (187.0, 26.0, -20.4), (187.0, 20.0, -19.6), (167.5, 5.0, -15.4), (202.5, 3.5, -15.4), (294.0, 9.0, -17.0),
    (0.0, 15.0, -22.6), (132.0, 4.5, -19.8), (232.5, 4.5, -19.8), (332.0, 7.0, -24.4), (35.0, 7.0, -24.4),
)  # fmt: skip
"""Parts of the view that the vehicle hides: (middle azimuth, half the width, inclination below which it is hidden),
degrees, read off SemanticKITTI's empty pixels: the roof behind, the bonnet ahead, masts of cameras and antennas."""


@dataclass(frozen=True)
class Poses:
    """The pose of the sensor at each firing of a turn.

    Args:
        origin: (W, 3) float32, metres in the world.
        turn: (W, 3, 3) float32, rotation sensor -> world.
        still: index of the firing whose sensor frame is the frame of a compensated scan.
    """

    origin: NDArray[np.float32]
    turn: NDArray[np.float32]
    still: int

    @staticmethod
    def standing(beams: Beams, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Poses:
        """Poses of a level sensor that does not move."""
        origin = np.tile(np.asarray(at, np.float32), (beams.firings, 1))
        return Poses(origin, np.tile(np.eye(3, dtype=np.float32), (beams.firings, 1, 1)), 0)


@dataclass(frozen=True)
class Returns:
    """A scan with SemanticKITTI's raw ids.

    Args:
        xyz: (N, 3) float32, metres in the sensor's frame.
        remission: (N,) float32, 0 to 1.
        raw: (N,) uint32 raw ids, with the instance's number in the upper 16 bits.
        ring: (N,) int32, 0 is the topmost beam.
        firing: (N,) int32, 0 is just left of straight ahead.
    """

    xyz: NDArray[np.float32]
    remission: NDArray[np.float32]
    raw: NDArray[np.uint32]
    ring: NDArray[np.int32]
    firing: NDArray[np.int32]


class World:
    """A mesh at which rays can be cast.

    Args:
        mesh: all triangles.

    Raises:
        ImportError: Open3D is not installed.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._o3d = open3d_or_help()
        self._scene = self._o3d.t.geometry.RaycastingScene(nthreads=1)
        core = self._o3d.core
        self._scene.add_triangles(
            core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, np.float32)),
            core.Tensor.from_numpy(mesh.triangles.astype(np.uint32)),
        )
        self.cast(np.zeros((1, 6), np.float32) + np.float32(1))  # builds the search tree now, not in the first scan

    def cast(self, rays: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32]]:
        """Find the first triangle that each ray hits.

        Args:
            rays: (R, 6) float32, origins and unit directions.

        Returns:
            (R,) metres, infinite if nothing is hit; (R,) triangle indices; (R, 3) unit normals.
        """
        answer = self._scene.cast_rays(self._o3d.core.Tensor.from_numpy(rays), nthreads=1)
        metres, triangle, normal = (answer[key].numpy() for key in ("t_hit", "primitive_ids", "primitive_normals"))
        return metres, triangle, normal


class Lidar:
    """A sensor on a vehicle.

    Args:
        beams: its beams and firings.
        ego: True to leave out the rays that hit KITTI's vehicle.
        compensated: True to give all points in the sensor's frame at one moment, as KITTI's files do. False to give
            each point in the sensor's frame at its firing, which distorts the scene while the vehicle moves.
    """

    def __init__(self, beams: Beams, *, ego: bool = True, compensated: bool = True) -> None:
        self.beams = beams
        self.compensated = compensated
        self._azimuth = beams.azimuth
        self._gains = np.repeat(beams.gains, beams.firings)
        self._hidden = hidden_by_vehicle(beams) if ego else np.zeros(len(beams.inclination) * beams.firings, np.bool_)
        if beams.view_deg is not None:
            self._hidden = self._hidden | beams.beyond_view.ravel()

    def scan(self, world: World, poses: Poses, rng: np.random.Generator, movers: World | None = None) -> Returns:
        """Simulate one turn.

        Args:
            world: static objects.
            poses: the sensor's pose at each firing.
            rng: the only source of randomness.
            movers: moving objects, at their places in this scan; None if there are none.

        Returns:
            The returns, beam by beam from the topmost.
        """
        beams, count = self.beams, len(self._hidden)
        normal, draw = rng.standard_normal((count, 2), np.float32), rng.random((count, 5), np.float32)
        rays = np.empty((count, 6), np.float32)
        spread = (2 * draw[:, :2] - 1) * np.float32(beams.divergence_rad)
        make_rays(beams.inclination, self._azimuth, beams.lift, poses.origin, poses.turn, spread, rays)
        seen = _seen(world, rays)
        if movers is not None:
            _put_before(seen, movers, rays, poses)
        hit, normals, raw, material, albedo = seen
        mix_edges(hit, np.ascontiguousarray(draw[:, 2]), beams.firings)
        hit[self._hidden] = np.inf
        albedo *= self._gains
        remission = np.empty(count, np.float32)
        limits = (beams.near_m, beams.reach_m, beams.noise_m)
        receive(hit, normals, rays, albedo, material, TABLE, limits, normal, draw[:, 3:], remission)
        hits = np.flatnonzero(hit)
        ring, firing = np.divmod(hits.astype(np.int32), np.int32(beams.firings))
        return Returns(self._points(hit, poses), remission[hits], raw[hits], ring, firing)

    def _points(self, hit: NDArray[np.float32], poses: Poses) -> NDArray[np.float32]:
        """(R,) ranges, 0 without a return -> (N, 3) points in the sensor's frame."""
        beams = self.beams
        turn, shift = np.tile(np.eye(3, dtype=np.float32), (beams.firings, 1, 1)), np.zeros_like(poses.origin)
        if self.compensated:
            home = poses.turn[poses.still].T
            turn = np.ascontiguousarray(home @ poses.turn)
            shift = (poses.origin - poses.origin[poses.still]) @ home.T
        xyz = np.empty((len(hit), 3), np.float32)
        return xyz[: to_points(hit, beams.inclination, self._azimuth, beams.lift, turn, shift, xyz)].copy()


def hidden_by_vehicle(beams: Beams) -> NDArray[np.bool_]:
    """(R,) bool, True for rays that hit the vehicle that carries the sensor."""
    inclination, azimuth = np.rad2deg(beams.inclination)[:, None], np.rad2deg(beams.azimuth)
    hidden = np.zeros((len(beams.inclination), beams.firings), np.bool_)
    ragged = np.random.default_rng(0).normal(0, 0.8, (len(EGO_DEG), len(beams.inclination), 2))
    for (middle, half, below), rough in zip(EGO_DEG, ragged, strict=True):
        off = np.abs((azimuth - middle + rough[:, :1] + 180) % 360 - 180) / (half + rough[:, 1:])
        hidden |= (off < 1) & (inclination < below - 1.2 * off**3)
    return hidden.ravel()


def _seen(world: World, rays: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    """Metres, normal, raw id, material and albedo of each ray's first triangle."""
    hit, triangle, normals = world.cast(rays)
    mesh = world.mesh
    place = np.minimum(triangle, len(mesh) - 1)
    return hit.copy(), normals.copy(), mesh.label[place], mesh.material[place], mesh.albedo[place]


def _put_before(seen: tuple[NDArray[Any], ...], movers: World, rays: NDArray[np.float32], poses: Poses) -> None:
    """Overwrite `seen`, in place, where a moving object is nearer; only rays towards moving objects are cast."""
    towards = np.flatnonzero(np.tile(_towards(movers.mesh, poses, rays), len(rays) // len(poses.origin)))
    if not len(towards):
        return
    nearer = _seen(movers, rays[towards])
    mine = nearer[0] < seen[0][towards]
    for field, new in zip(seen, nearer, strict=True):
        field[towards[mine]] = new[mine]


def _towards(mesh: Mesh, poses: Poses, rays: NDArray[np.float32], bins: int = 720) -> NDArray[np.bool_]:
    """(W,) bool, True for firings whose rays may hit a triangle, from anywhere in the sweep; True in doubt."""
    firings, flags = len(poses.origin), np.zeros(2 * bins + 1, np.int64)
    for origin in poses.origin[[0, firings // 2 - 1, firings // 2]]:
        corners = mesh.vertices[mesh.triangles][:, :, :2] - origin[:2]
        angle = np.arctan2(corners[..., 1], corners[..., 0])
        off = (angle - angle[:, :1] + np.pi) % (2 * np.pi) - np.pi
        ends = angle[:, :1] + np.stack([off.min(1), off.max(1)], 1)
        first, last = (np.floor((ends + np.pi) * (bins / (2 * np.pi))).astype(int) + np.array([-3, 4])).T
        round_ = first // bins * bins
        np.add.at(flags, first - round_, 1)
        np.add.at(flags, np.minimum(last - round_, 2 * bins), -1)
    open_ = np.cumsum(flags[:-1]) > 0
    looked = open_[:bins] | open_[bins:]
    side = np.arctan2(rays[:firings, 4], rays[:firings, 3])
    return looked[np.minimum(((side + np.pi) * (bins / (2 * np.pi))).astype(int), bins - 1)]
