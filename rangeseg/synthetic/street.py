"""A street: the ground, all objects beside and on it, and the poses of a sensor on a vehicle that drives along it.

A street is built once and scanned from many places. Moving objects are a separate mesh, placed anew for each scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.synthetic.beams import HEIGHT_M
from rangeseg.synthetic.ground import Path, lay_ground, winding_path
from rangeseg.synthetic.kinds import KINDS
from rangeseg.synthetic.layout import Layout, plan
from rangeseg.synthetic.mesh import Mesh, join
from rangeseg.synthetic.planting import furnish
from rangeseg.synthetic.raycast import Poses
from rangeseg.synthetic.traffic import Mover, make_traffic

MARGIN_M = 70.0
"""Length of the street before the place of the first scan and after that of the last, metres."""

TURN_S = 0.1
"""Duration of one turn of the sensor, seconds."""


@dataclass(frozen=True)
class Street:
    """A street and the drive along it.

    Args:
        kind: a name of `KINDS`.
        path: its middle line.
        layout: its plan.
        mesh: the ground and all static objects.
        movers: all moving objects.
        speed: speed of the vehicle, metres per second.
        lane: where the vehicle drives, metres left of the middle.
    """

    kind: str
    path: Path
    layout: Layout
    mesh: Mesh
    movers: tuple[Mover, ...]
    speed: float
    lane: float

    def poses(self, travelled: float, firings: int, rng: np.random.Generator, speed: float | None = None) -> Poses:
        """The sensor's poses over one turn, which begins and ends behind the vehicle, as KITTI's turns do.

        Args:
            travelled: metres from the place of the first scan, at the moment when the sensor looks ahead.
            firings: firings per turn.
            rng: source of the vehicle's random tilt, heading, height and offset in its lane.
            speed: metres per second; None for the street's.
        """
        along = ((np.arange(firings) + 0.5) / firings + 0.5) % 1 - 0.5
        s = MARGIN_M + travelled + along * TURN_S * (self.speed if speed is None else speed)
        lane = self.lane + rng.normal(0, 0.15)
        lean, nod, sway, height = rng.normal(0, (0.008, 0.006, 0.02, 0.015))
        ahead, behind = self.path.at(s + 1.4, lane), self.path.at(s - 1.4, lane)
        heading = self.path.heading_at(s) + sway
        pitch = np.arctan2(ahead[:, 2] - behind[:, 2], 2.8) + nod
        origin = self.path.at(s, lane, HEIGHT_M + height)
        turn = _turns(heading, pitch, np.full(firings, lean))
        return Poses(origin.astype(np.float32), turn.astype(np.float32), 0)

    def moving(self, travelled: float) -> Mesh | None:
        """The moving objects near the vehicle after `travelled` metres; None if there are none."""
        seconds, position = travelled / max(self.speed, 0.5), MARGIN_M + travelled
        meshes = [mover.at(self.path, seconds, self.layout.length, (position, self.lane)) for mover in self.movers]
        near = [mesh for mesh in meshes if mesh is not None]
        return join(near) if near else None


def check_drive(drive: float, kind: str | None = None) -> None:
    """Check the arguments of `build_street`.

    Raises:
        ValueError: an unknown kind, or a drive that is not 0 to 2000 m.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of street; use {', '.join(KINDS)}.")
    if not 0 <= drive <= 2000:
        raise ValueError(f"A drive of {drive} m cannot be built; give 0 to 2000.")


def build_street(seed: int | tuple[int, ...], *, kind: str | None = None, drive: float = 80.0) -> Street:
    """Build a street.

    Args:
        seed: the same seed builds the same street.
        kind: a name of `KINDS`; None to draw one by the weights.
        drive: metres that the vehicle will travel, 0 to 2000.

    Raises:
        ValueError: an unknown kind, or a drive that is not 0 to 2000 m.
    """
    check_drive(drive, kind)
    rng = np.random.default_rng(seed)
    if kind is None:
        weights = np.array([one.weight for one in KINDS.values()])
        kind = list(KINDS)[rng.choice(len(KINDS), p=weights / weights.sum())]
    facts = KINDS[kind]
    layout = plan(facts, rng, drive + 2 * MARGIN_M)
    edge = max(side.walk for side in layout.sides)
    path = winding_path(rng, layout.length, facts.bend, facts.slope, edge, facts.bank)
    parts = [lay_ground(path, *layout.cells(), rng), *furnish(facts, layout, path, rng)]
    speed = float(rng.uniform(*facts.speed))
    lane = -max(0.4, layout.half / 2 - 0.6)
    movers = make_traffic(facts, layout, rng, speed, lane)
    return Street(kind, path, layout, join(parts), tuple(movers), speed, lane)


def _turns(heading: NDArray[np.float64], pitch: NDArray[np.float64], roll: NDArray[np.float64]) -> NDArray[np.float64]:
    """(W, 3, 3) vehicle -> world: rolled about x, pitched up about y, turned about z."""
    ch, sh, cp, sp, cr, sr = (f(v) for v in (heading, pitch, roll) for f in (np.cos, np.sin))
    rows = [
        [ch * cp, -ch * sp * sr - sh * cr, -ch * sp * cr + sh * sr],
        [sh * cp, -sh * sp * sr + ch * cr, -sh * sp * cr - ch * sr],
        [sp, cp * sr, cp * cr],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
