"""`Trajectory`: the sensor poses of the scans of a drive.

Shapes: N scans. A pose is a (4, 4) rigid motion from the sensor's frame to the world, in metres.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROTATION_TOLERANCE = 1e-3
"""Maximum deviation of a rotation from orthonormal. Files with six digits deviate by 1e-6, a wrong column by 1."""

HALF_TURN = 1e-2
"""Near half a turn, the sine is below this, and the skew part of a rounded rotation hardly shows the axis."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The poses of the scans of a drive, in the order of time.

    Args:
        names: unique names of the N scans.
        poses: (N, 4, 4) float64, sensor -> world, metres.
        times: (N,) float64 seconds that never decrease, with any origin; None: unknown.

    Raises:
        ValueError: a shape is wrong, a pose is not a finite rigid motion, a name is not unique, or times decrease.
    """

    names: tuple[str, ...]
    poses: NDArray[np.float64]
    times: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.poses.shape != (count, 4, 4):
            raise ValueError(f"{count} scans have poses of shape {self.poses.shape}; give ({count}, 4, 4).")
        if self.times is not None and self.times.shape != (count,):
            raise ValueError(f"{count} scans have time stamps of shape {self.times.shape}; give ({count},).")
        if len(set(self.names)) != count:
            raise ValueError("Two scans of a trajectory have the same name. Give each scan its own name.")
        turn = self.poses[:, :3, :3]
        right = np.isfinite(self.poses).all(axis=(1, 2)) & (self.poses[:, 3] == (0, 0, 0, 1)).all(axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            right &= (np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)) < ROTATION_TOLERANCE).all(axis=(1, 2))
            right &= np.linalg.det(np.where(right[:, None, None], turn, 0)) > 0
        if not right.all():
            raise ValueError(
                f"The pose of scan {self.names[int(right.argmin())]} is not a rigid motion. Repair its file."
            )
        if self.times is not None and not (np.diff(self.times) >= 0).all():
            raise ValueError("The time stamps of a trajectory decrease or are not finite. Sort them by time.")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(N, 3) positions of the sensor, metres."""
        return self.poses[:, :3, 3]

    def travelled(self) -> NDArray[np.float64]:
        """(N,) length of the path from the first scan to each scan, metres."""
        steps = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])[: len(self)]

    def digest(self, *, times: bool) -> str:
        """SHA-256 of the poses and, if `times`, of the time stamps, as hexadecimal digits."""
        found = hashlib.sha256(np.ascontiguousarray(self.poses, "<f8").tobytes())
        if times and self.times is not None:
            found.update(np.ascontiguousarray(self.times, "<f8").tobytes())
        return found.hexdigest()

    def select(self, names: Iterable[str]) -> Trajectory:
        """The trajectory of some scans, in the order of `names`.

        Raises:
            ValueError: a scan has no pose.
        """
        place, wanted = {name: index for index, name in enumerate(self.names)}, tuple(names)
        if missing := [name for name in wanted if name not in place]:
            raise ValueError(
                f"{len(missing)} of {len(wanted)} scans have no pose; the first is {missing[0]}. There are poses "
                f"of {len(self)} scans, {_ends(self.names)}. Run `rangeseg poses` on this drive."
            )
        index = [place[name] for name in wanted]
        return Trajectory(wanted, self.poses[index], None if self.times is None else self.times[index])

    def at(self, times: ArrayLike, names: Sequence[str], *, beyond_s: float = 0.0) -> Trajectory:
        """Interpolated poses: positions linearly, rotations along the shortest rotation.

        Args:
            times: (M,) seconds, with the origin of `self.times`.
            names: M names.
            beyond_s: extrapolate for at most this many seconds before the first pose and after the last.

        Returns:
            M poses.

        Raises:
            ValueError: the trajectory has no time stamps, or a time lies more than `beyond_s` before the first pose or
                after the last.
        """
        wanted = np.asarray(times, np.float64)
        if self.times is None or not len(self):
            raise ValueError("A trajectory without time stamps cannot be interpolated.")
        first, last = self.times[0] - beyond_s, self.times[-1] + beyond_s
        if outside := int(((wanted < first) | (wanted > last)).sum()):
            raise ValueError(
                f"{outside} of {len(wanted)} scans were taken before the first pose ({self.times[0]:.3f} s) or after "
                f"the last ({self.times[-1]:.3f} s). Leave them out."
            )
        after = np.clip(np.searchsorted(self.times, wanted), 1, max(1, len(self) - 1))
        before, after = np.minimum(after - 1, len(self) - 1), np.minimum(after, len(self) - 1)
        span = self.times[after] - self.times[before]
        share = np.divide(wanted - self.times[before], span, out=np.zeros_like(wanted), where=span > 0)
        return Trajectory(tuple(names), between(self.poses[before], self.poses[after], share), wanted)


def between(first: NDArray, second: NDArray, share: NDArray) -> NDArray[np.float64]:
    """Interpolated rigid motions between pairs of them; shares outside [0, 1] extrapolate.

    Args:
        first: (M, 4, 4), the result for share 0.
        second: (M, 4, 4), the result for share 1.
        share: (M,).
    """
    relative = first[:, :3, :3].transpose(0, 2, 1) @ second[:, :3, :3]
    axis, angle = _axis_and_angle(relative)
    result = first.astype(np.float64)
    result[:, :3, :3] = first[:, :3, :3] @ _turn(axis, angle * share)
    result[:, :3, 3] += share[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    return result


def _axis_and_angle(turn: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(M, 3, 3) rotations, perhaps rounded -> (M, 3) unit axes and (M,) radians in [0, pi], accurate at both ends."""
    skew = turn - turn.transpose(0, 2, 1)
    axis = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)  # 2 sin(angle) times the unit axis
    length = np.linalg.norm(axis, axis=1)
    cosine = np.trace(turn, axis1=1, axis2=2) - 1  # 2 cos(angle)
    half_turn = (length < HALF_TURN) & (cosine < 0)
    if half_turn.any():  # the symmetric part is about 2 a a^T - I there; it gives the unit axis a up to its sign
        outer = (turn + turn.transpose(0, 2, 1))[half_turn] + 2 * np.eye(3)
        longest = outer[np.arange(len(outer)), np.diagonal(outer, axis1=1, axis2=2).argmax(1)]
        axis[half_turn] = longest * np.where((longest * axis[half_turn]).sum(1) < 0, -1, 1)[:, None]
    norm = np.linalg.norm(axis, axis=1, keepdims=True)
    return np.divide(axis, norm, out=np.zeros_like(axis), where=norm > 1e-12), np.arctan2(length, cosine)


def _turn(axis: NDArray, angle: NDArray) -> NDArray[np.float64]:
    """Rodrigues' formula: (M, 3) unit axes, (M,) radians -> (M, 3, 3)."""
    cross = np.zeros((len(axis), 3, 3))
    cross[:, 2, 1], cross[:, 0, 2], cross[:, 1, 0] = axis.T
    cross -= cross.transpose(0, 2, 1)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross))


def rigid(quaternion: Sequence[float], position: Sequence[float]) -> NDArray[np.float64]:
    """The (4, 4) pose with a quaternion (w, x, y, z) and a position in metres.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    length = float(np.linalg.norm(quaternion))
    if not 0 < length < np.inf:
        raise ValueError(f"the quaternion {list(quaternion)} is not a rotation")
    w, x, y, z = np.asarray(quaternion, np.float64) / length
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = position
    return pose


def _ends(names: Sequence[str]) -> str:
    return f"{names[0]} to {names[-1]}" if names else "none"
