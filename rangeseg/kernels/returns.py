"""Preparation of rays before ray-casting, and returns after it.

Shapes: H beams, W firings; R = H * W rays, beam by beam from the topmost, with one turn per beam; M materials.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

EDGE_M = (0.25, 2.5)
"""If the ranges of two neighbouring firings differ by more than the first and less than the second value, metres, a
firing may return a range in between."""

MIXED = 0.3
"""Share of these firings that return a range in between."""

STANDS_OUT = 4.0
"""A difference of neighbouring ranges is an edge if it is more than this many times the difference before it."""


@njit(cache=True, nogil=True)
def make_rays(
    inclination: Floats, azimuth: Floats, lift: Floats, origin: Floats, turn: Floats, spread: Floats, rays: Floats
) -> None:
    """Write the rays in the world, each slightly off the middle of its beam.

    Args:
        inclination: (H,) radians.
        azimuth: (H, W) radians.
        lift: (H,) offset of each beam along the sensor's z axis, metres.
        origin: (W, 3) position of the sensor in the world at each firing, metres.
        turn: (W, 3, 3) sensor -> world.
        spread: (R, 2) offsets in azimuth and inclination, radians.
        rays: (R, 6), written: origin and unit direction.
    """
    firings = azimuth.shape[1]
    for beam in range(len(inclination)):
        for firing in range(firings):
            ray = beam * firings + firing
            up, side = inclination[beam] + spread[ray, 1], azimuth[beam, firing] + spread[ray, 0]
            level = math.cos(up)
            x, y, z = level * math.cos(side), level * math.sin(side), math.sin(up)
            for axis in range(3):
                rays[ray, axis] = origin[firing, axis] + turn[firing, axis, 2] * lift[beam]
                rays[ray, 3 + axis] = turn[firing, axis, 0] * x + turn[firing, axis, 1] * y + turn[firing, axis, 2] * z


@njit(cache=True, nogil=True)
def mix_edges(hit: Floats, draw: Floats, firings: int) -> None:
    """Replace some ranges at edges between two firings of a beam by a range in between, in place.

    Args:
        hit: (R,) metres, infinite if nothing is hit.
        draw: (R,) uniform in [0, 1).
        firings: W.
    """
    before = 0.0  # the previous gap: on a slanting surface, all gaps are similar; at an edge, one is much larger
    for ray in range(len(hit) - 1):
        gap = hit[ray + 1] - hit[ray]
        alone = abs(gap) > STANDS_OUT * abs(before)
        before = gap
        if alone and EDGE_M[0] < abs(gap) < EDGE_M[1] and draw[ray] < MIXED and (ray + 1) % firings:
            hit[ray] += gap * (draw[ray] / MIXED)


@njit(cache=True, nogil=True)
def receive(
    hit: Floats,
    normals: Floats,
    rays: Floats,
    albedo: Floats,
    material: NDArray[np.uint8],
    table: Floats,
    limits: tuple[float, float, float],
    normal: Floats,
    draw: Floats,
    remission: Floats,
) -> None:
    """Simulate the measurement of each hit: a noisy range and a remission, or range 0 and remission 0 for no return.

    Args:
        hit: (R,) metres along the ray, infinite if nothing is hit; overwritten with the measured range.
        normals: (R, 3) unit normals of the surfaces, with any sign.
        rays: (R, 6) origin and unit direction.
        albedo: (R,) albedo of the surface that is hit.
        material: (R,) index of its material.
        table: (M, 4) spread, mirror, lost, rough_m of each material.
        limits: least range, greatest range, and standard deviation of the sensor's range noise, metres.
        normal: (R, 2) standard normal numbers, for the noise of range and of remission.
        draw: (R, 2) uniform numbers in [0, 1), for lost beams and for the greatest range at which a return is seen.
        remission: (R,), written.
    """
    near, reach, noise = limits
    for ray in range(len(hit)):
        metres, kind = hit[ray], material[ray]
        remission[ray] = 0.0
        if not near <= metres <= reach:
            hit[ray] = 0.0
            continue
        a, b = normals[ray], rays[ray]
        angle = min(1.0, abs(a[0] * b[3] + a[1] * b[4] + a[2] * b[5]))
        spread, mirror, lost, rough = table[kind, 0], table[kind, 1], table[kind, 2], table[kind, 3]
        shine = 1.0 - mirror * (1.0 - angle) * (1.0 - angle)
        strength = albedo[ray] * shine * angle
        visible = 120.0 * math.sqrt(strength / 0.03) * (0.75 + 0.5 * draw[ray, 1])
        if metres > visible or draw[ray, 0] < lost:
            hit[ray] = 0.0
            continue
        measured = metres + noise * normal[ray, 0] + rough * normal[ray, 0]
        hit[ray] = min(max(measured, near), reach)
        remission[ray] = returned(albedo[ray] * shine, angle, metres, spread * normal[ray, 1])


@njit(cache=True, nogil=True)
def to_points(
    hit: Floats, inclination: Floats, azimuth: Floats, lift: Floats, turn: Floats, shift: Floats, xyz: Floats
) -> int:
    """Convert ranges along the middles of the beams to points, without the rays that have no return.

    Args:
        hit: (R,) metres, 0 for no return.
        inclination: (H,) radians.
        azimuth: (H, W) radians.
        lift: (H,) offset of each beam along the sensor's z axis, metres.
        turn: (W, 3, 3) the sensor's frame at each firing -> the scan's frame.
        shift: (W, 3) position of the sensor in the scan's frame at each firing, metres.
        xyz: (R, 3); the first rows are written.

    Returns:
        Number of points.
    """
    firings, count = azimuth.shape[1], 0
    for beam in range(len(inclination)):
        level, up = math.cos(inclination[beam]), math.sin(inclination[beam])
        for firing in range(firings):
            metres = hit[beam * firings + firing]
            if metres == 0.0:
                continue
            x = metres * level * math.cos(azimuth[beam, firing])
            y = metres * level * math.sin(azimuth[beam, firing])
            z = metres * up + lift[beam]
            for axis in range(3):
                way = turn[firing, axis]
                xyz[count, axis] = way[0] * x + way[1] * y + way[2] * z + shift[firing, axis]
            count += 1
    return count


@njit(cache=True, nogil=True)
def returned(albedo: float, angle: float, metres: float, noise: float) -> float:
    """Remission as KITTI's sensor gives it, in steps of 0.01: lower at glancing angles, below 8 m, and at long range.

    Args:
        albedo: remission at normal incidence, from about 12 m.
        angle: cosine of the angle between ray and surface normal.
        metres: range.
        noise: relative noise of this point.
    """
    optics = min(1.0, 0.68 + 0.04 * metres) if metres < 14.0 else 1.0 / (1.0 + ((metres - 14.0) / 32.0) ** 2)
    value = albedo * optics * (angle / (angle + 0.03)) * (1.0 + noise)
    value = 1.15 * value - 0.03
    step = 0.01
    return min(0.99, max(0.0, math.floor(value / step + 0.5) * step))
