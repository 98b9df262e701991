"""Preparation of rays before ray-casting, and returns after it.

Shapes: H beams, W firings; R = H * W rays, beam by beam from the topmost, each a turn; M materials.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

EDGE_M = (0.25, 2.5)
"""Neighbouring firings whose ranges differ by this much may return a place in between."""

MIXED = 0.3
"""Share of such firings that do."""

STANDS_OUT = 4.0
"""An edge is a gap this many times the one before it."""


@njit(cache=True, nogil=True)
def make_rays(
    inclination: Floats, azimuth: Floats, lift: Floats, origin: Floats, turn: Floats, spread: Floats, rays: Floats
) -> None:
    """Rays in the world, each a little off its beam's middle.

    Args:
        inclination: (H,) radians.
        azimuth: (H, W) radians.
        lift: (H,) metres.
        origin: (W, 3) where the sensor is at each firing.
        turn: (W, 3, 3) sensor -> world.
        spread: (R, 2) radians, off in azimuth and inclination.
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
    """At an edge between two firings of a beam some ranges become one in between, in place.

    Args:
        hit: (R,) metres, infinite where nothing is hit.
        draw: (R,) uniform in [0, 1).
        firings: W.
    """
    before = 0.0  # the last gap: a slanting surface has gaps of about one size, an edge has one that stands out
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
    """What the sensor makes of each hit: a noisy range, a remission, or nothing. `hit` is 0 where nothing returns.

    Args:
        hit: (R,) metres along the ray, infinite where nothing is hit; overwritten with the measured range.
        normals: (R, 3) of the surfaces, either way round.
        rays: (R, 6) origin and unit direction.
        albedo: (R,) of what is hit.
        material: (R,) of what is hit.
        table: (M, 4) spread, mirror, lost, rough_m of each material.
        limits: nearest and farthest range and the sensor's noise, metres.
        normal: (R, 2) standard normal, of range and remission.
        draw: (R, 2) uniform, of lost beams and of faint ones.
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
    """Ranges along the beams' middles as points, those without a return left out.

    Args:
        hit: (R,) metres, 0 where nothing returned.
        inclination: (H,) radians.
        azimuth: (H, W) radians.
        lift: (H,) metres.
        turn: (W, 3, 3) the sensor's frame at each firing -> the scan's frame.
        shift: (W, 3) metres, where the sensor is at each firing in the scan's frame.
        xyz: (R, 3), its first rows are written.

    Returns:
        How many points there are.
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
    """Remission as KITTI's sensor writes it: weaker at a glancing angle, too near for its optics, and far away.

    Args:
        albedo: straight on from about 12 m.
        angle: cosine between ray and surface.
        metres: range.
        noise: relative, of this point.
    """
    optics = min(1.0, 0.68 + 0.04 * metres) if metres < 14.0 else 1.0 / (1.0 + ((metres - 14.0) / 32.0) ** 2)
    value = albedo * optics * (angle / (angle + 0.03)) * (1.0 + noise)
    value = 1.15 * value - 0.03
    step = 0.01
    return min(0.99, max(0.0, math.floor(value / step + 0.5) * step))
