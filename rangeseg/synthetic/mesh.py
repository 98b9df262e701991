"""Labelled triangle meshes, and the shapes of which streets are made.

A shape is only geometry, (vertices, triangles); a `Mesh` also has each triangle's raw id, material and albedo.
Shapes: V vertices (float32, metres; x forward, y left, z up), T triangles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rangeseg.synthetic.materials import MATERIALS

Shape = tuple[NDArray[np.float32], NDArray[np.int32]]
"""(V, 3) float32 vertices and (T, 3) int32 triangles."""

Range = tuple[float, float]

BOX_CORNERS = np.array([[x, y, z] for z in (0.0, 1.0) for y in (-0.5, 0.5) for x in (-0.5, 0.5)], np.float32)
BOX_TRIANGLES = np.array(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6],
     [1, 3, 5], [3, 7, 5]], np.int32,
)  # fmt: skip


@dataclass(frozen=True)
class Mesh:
    """Triangles with the properties that a LiDAR measures.

    Args:
        vertices: (V, 3) float32, metres.
        triangles: (T, 3) int32, indices into `vertices`.
        label: (T,) uint32, SemanticKITTI's raw ids, with the instance's number in the upper 16 bits.
        material: (T,) uint8, indices into `MATERIALS`.
        albedo: (T,) float32, remission of a near surface at normal incidence, about.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    label: NDArray[np.uint32]
    material: NDArray[np.uint8]
    albedo: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.triangles)

    def placed(
        self, at: ArrayLike, heading: float = 0.0, scale: ArrayLike = (1.0, 1.0, 1.0), instance: int = 0
    ) -> Mesh:
        """The mesh, scaled, then turned about the vertical, then moved.

        Args:
            at: (3,) new position of its origin, metres.
            heading: radians, counter-clockwise.
            scale: (3,) factors along x, y, z before the turn.
            instance: number for the upper 16 bits of its labels; 0 leaves the labels unchanged.
        """
        cos, sin = np.cos(heading), np.sin(heading)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) * np.asarray(scale)
        vertices = self.vertices @ turn.T.astype(np.float32) + np.asarray(at, np.float32)
        label = self.label if instance == 0 else (self.label & np.uint32(0xFFFF)) | np.uint32(instance << 16)
        return Mesh(vertices, self.triangles, label, self.material, self.albedo)


def dress(shape: Shape, raw_id: int, material: str, albedo: float) -> Mesh:
    """Make a mesh of one class and material from a shape.

    Args:
        shape: the geometry.
        raw_id: raw id of SemanticKITTI.
        material: a name of `MATERIALS`.
        albedo: remission of a near surface at normal incidence, about; 0 to 1.
    """
    vertices, triangles = shape
    count = len(triangles)
    kind = list(MATERIALS).index(material)
    return Mesh(
        vertices, triangles, np.full(count, raw_id, np.uint32), np.full(count, kind, np.uint8),
        np.full(count, albedo, np.float32),
    )  # fmt: skip


def join(meshes: Iterable[Mesh]) -> Mesh:
    """Join several meshes to one.

    Raises:
        ValueError: no meshes.
    """
    parts = list(meshes)
    if not parts:
        raise ValueError("No meshes to concatenate; give at least one.")
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    triangles = [part.triangles + np.int32(offset) for part, offset in zip(parts, offsets, strict=True)]
    rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("label", "material", "albedo"))
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(triangles), *rest)


def box(length: float, width: float, height: float, at: Sequence[float] = (0.0, 0.0, 0.0)) -> Shape:
    """A box; `at` is the middle of its bottom."""
    size = np.array([length, width, height], np.float32)
    return BOX_CORNERS * size + np.asarray(at, np.float32), BOX_TRIANGLES


def frustum(bottom: tuple[Range, Range, float], top: tuple[Range, Range, float]) -> Shape:
    """Two level rectangles and the four sides between them: a car's cabin, a roof, a bonnet.

    Args:
        bottom: ((x from, x to), (y from, y to), z), metres.
        top: as `bottom`; a range of almost no length makes a ridge.
    """
    corners = [(x, y, z) for (xs, ys, z) in (bottom, top) for y in ys for x in xs]
    return np.array(corners, np.float32), BOX_TRIANGLES


def prism(outline: Sequence[Sequence[float]], width: float, at: Sequence[float] = (0.0, 0.0, 0.0)) -> Shape:
    """A convex outline in x and z, extruded along y.

    Args:
        outline: (P, 2) metres, x and z of a convex polygon.
        width: metres along y, half to each side.
        at: (3,) position of the outline's origin, metres.
    """
    points = np.asarray(outline, np.float32)
    count = len(points)
    sides = [np.insert(points, 1, y, axis=1) for y in (-width / 2, width / 2)]
    first = np.arange(count, dtype=np.int32)
    second = (first + 1) % count
    around = np.concatenate(
        [np.stack([first, second, first + count], 1), np.stack([second, second + count, first + count], 1)]
    )
    fan = np.stack([np.zeros(count - 2, np.int32), first[1:-1], first[2:]], 1)
    return np.concatenate(sides).astype(np.float32) + np.asarray(at, np.float32), np.concatenate(
        [around, fan, fan + count]
    )


def cylinder(
    radius: float | Range, height: float, at: Sequence[float] = (0.0, 0.0, 0.0), sides: int = 8, axis: str = "z"
) -> Shape:
    """A closed cylinder from `at` along an axis.

    Args:
        radius: metres; (at the bottom, at the top) for a cone.
        height: metres.
        at: (3,) middle of its first end, metres.
        sides: number of sides of its outline.
        axis: x, y or z.
    """
    low, high = radius if isinstance(radius, tuple) else (radius, radius)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    ends = [np.insert(ring * r, 2, z, axis=1) for r, z in ((low, 0.0), (high, height))]
    vertices = np.concatenate(ends).astype(np.float32)
    first = np.arange(sides, dtype=np.int32)
    second = (first + 1) % sides
    around = [np.stack([first, second, first + sides], 1), np.stack([second, second + sides, first + sides], 1)]
    fan = np.stack([np.zeros(sides - 2, np.int32), first[1:-1], first[2:]], 1)
    turned = np.roll(vertices, {"z": 0, "x": 1, "y": 2}[axis], axis=1)
    return turned + np.asarray(at, np.float32), np.concatenate([*around, fan, fan + sides])


def ellipsoid(radii: Sequence[float], at: Sequence[float], rings: int = 4, sides: int = 8) -> Shape:
    """An ellipsoid about `at`.

    Args:
        radii: (3,) metres.
        at: (3,) its middle, metres.
        rings: number of bands from pole to pole.
        sides: number of sides of its outline.
    """
    polar = np.linspace(0, np.pi, rings + 1)[:, None]
    angle = (np.arange(sides) * (2 * np.pi / sides))[None]
    unit = np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar) + 0 * angle], -1)
    vertices = unit.reshape(-1, 3) * np.asarray(radii) + np.asarray(at)
    row, column = np.meshgrid(np.arange(rings), np.arange(sides), indexing="ij")
    a, b = (row * sides + column).ravel(), (row * sides + (column + 1) % sides).ravel()
    triangles = np.concatenate([np.stack([a, a + sides, b], 1), np.stack([b, a + sides, b + sides], 1)])
    return vertices.astype(np.float32), triangles.astype(np.int32)


def cards(middles: NDArray[np.floating], size: Range, rng: np.random.Generator) -> Shape:
    """Leaves: separate triangles in random directions, with gaps that rays pass through.

    Args:
        middles: (T, 3) metres.
        size: smallest and largest distance from middle to corner, metres.
        rng: the only source of randomness.
    """
    count = len(middles)
    corners = rng.normal(size=(count, 3, 3))
    corners -= corners.mean(axis=1, keepdims=True)
    corners /= np.linalg.norm(corners, axis=2, keepdims=True) + 1e-6
    corners *= rng.uniform(*size, (count, 1, 1))
    vertices = (middles[:, None] + corners).reshape(-1, 3)
    return vertices.astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
