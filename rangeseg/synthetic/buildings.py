"""Houses and blocks: walls with windows, doors, balconies, roofs, garages. The front faces -y, the middle is at 0.

Lengths are metres. Rooms behind windows are not built, because most beams that hit a pane are lost.
"""

from __future__ import annotations

import numpy as np

from rangeseg.synthetic.mesh import Mesh, Shape, box, dress, frustum, join, prism

BUILDING = 50


def building(rng: np.random.Generator, width: float, depth: float, floors: int, *, pitched: bool) -> Mesh:
    """A building.

    Args:
        rng: the only source of randomness.
        width: metres along the street.
        depth: metres away from the street.
        floors: number of floors including the ground floor, at least 1.
        pitched: True for a gabled or hipped roof, False for a flat one.
    """
    floor, albedo = rng.uniform(2.6, 3.3), rng.uniform(0.32, 0.5)
    height = floors * floor + rng.uniform(0.2, 0.8)
    walls: list[Shape] = [box(width, depth, height + 0.6, (0, 0, -0.6))]
    if rng.random() < 0.45:  # a wing or a bay that juts out
        wing = rng.uniform(0.25, 0.45) * width
        out = rng.uniform(0.5, 1.8)
        place = rng.uniform(-0.5, 0.5) * (width - wing)
        walls.append(box(wing, out, height * rng.uniform(0.4, 1.0) + 0.6, (place, -(depth + out) / 2, -0.6)))
    walls += _roof(rng, width, depth, height) if pitched else [box(width + 0.2, depth + 0.2, 0.5, (0, 0, height))]
    parts = [dress(shape, BUILDING, "wall", albedo) for shape in walls]
    parts += _openings(rng, width, depth, floors, floor)
    if floors > 2 and rng.random() < 0.5:
        place = rng.uniform(-0.3, 0.3) * width
        slabs = [box(2.4, 1.3, 0.9, (place, -depth / 2 - 0.65, z * floor)) for z in range(1, floors)]
        parts += [dress(shape, BUILDING, "wall", albedo) for shape in slabs]
    return join(parts)


def _roof(rng: np.random.Generator, width: float, depth: float, height: float) -> list[Shape]:
    rise, over = rng.uniform(0.25, 0.45) * min(width, depth), 0.4
    eaves = ((-width / 2 - over, width / 2 + over), (-depth / 2 - over, depth / 2 + over), height)
    kind = rng.integers(3)
    if kind == 0:  # gable at the sides
        top = (eaves[0], (-0.05, 0.05), height + rise)
    elif kind == 1:  # gable to the street
        top = ((-0.05, 0.05), eaves[1], height + rise)
    else:
        top = ((-width / 4, width / 4), (-0.05, 0.05), height + rise)
    chimney = box(0.6, 0.6, rise + 1.2, (rng.uniform(-0.3, 0.3) * width, 0.1 * depth, height))
    return [frustum(eaves, top), chimney]


def _openings(rng: np.random.Generator, width: float, depth: float, floors: int, floor: float) -> list[Mesh]:
    """A door on the front, and panes on the front and the two sides, which stick out of the walls by 3 cm."""
    wide, tall, step = rng.uniform(0.9, 1.8), rng.uniform(1.1, 1.7), rng.uniform(2.2, 3.6)
    columns = np.arange(-width / 2 + step / 2, width / 2 - wide / 2, step)
    sides = np.arange(-depth / 2 + step, depth / 2 - wide / 2, 1.6 * step)
    panes: list[Shape] = []
    for level in range(floors):
        low = level * floor + 0.9
        panes += [box(wide, 0.06, tall, (x, -depth / 2, low)) for x in columns if rng.random() < 0.9]
        panes += [
            box(0.06, wide, tall, (side, y, low))
            for side in (-width / 2, width / 2)
            for y in sides
            if rng.random() < 0.6
        ]
    door = box(1.1, 0.12, 2.1, (rng.uniform(-0.35, 0.35) * width, -depth / 2, 0))
    return [dress(door, BUILDING, "wood", 0.35), *(dress(pane, BUILDING, "glass", 0.15) for pane in panes)]


def garage(rng: np.random.Generator) -> Mesh:
    """A garage or a shed."""
    width, depth, height = rng.uniform(2.8, 6.0), rng.uniform(4, 6), rng.uniform(2.2, 2.9)
    parts = [dress(box(width, depth, height, (0, 0, -0.2)), BUILDING, "wall", rng.uniform(0.32, 0.48))]
    parts.append(dress(box(width - 0.7, 0.08, 2.0, (0, -depth / 2, 0)), BUILDING, "metal", 0.4))
    if rng.random() < 0.5:
        gable = [(-width / 2 - 0.2, height - 0.25), (width / 2 + 0.2, height - 0.25), (0, height + 0.9)]
        parts.append(dress(prism(gable, depth + 0.3), BUILDING, "wall", 0.35))
    return join(parts)
