"""Which points a scan saw through, and which clicks of a scan lie in one direction. The loops release the GIL.

Shapes: M points of the map, N of a scan, K neighbours, S scans; H, W rows and columns.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def seen_through(
    points: NDArray, index: NDArray, source: NDArray, depth_images: tuple[NDArray, NDArray, NDArray], margin: tuple
) -> NDArray:
    """Find the neighbours from scans that saw through the point: all beams around it went farther.

    Args:
        points: (N, 3) float32 in the map's frame.
        index: (N, K) indices into the map's points, -1 if there is none.
        source: (M,) scan of each of the map's points.
        depth_images: for each scan, (S, 4, 4) map's frame -> sensor; (S, H, W) result of `depth_image`; and (S, 3) its
            view: inclination of the lower edge and height, radians, and number of used rows.
        margin: metres, and share of the range, by which the beams must have gone farther.

    Returns:
        (N, K) bool, True for these neighbours.
    """
    through = np.zeros(index.shape, np.bool_)
    for n in range(len(points)):
        last, verdict = -1, False
        for place in range(index.shape[1]):
            if index[n, place] >= 0:
                scan = source[index[n, place]]
                if scan != last:
                    last, verdict = scan, _sees_beyond(points[n], scan, depth_images, margin)
                through[n, place] = verdict
    return through


@njit(cache=True, nogil=True)
def _sees_beyond(point: NDArray, scan: int, depth_images: tuple, margin: tuple) -> bool:
    poses, images, views = depth_images
    pose, image = poses[scan], images[scan]
    down, span, height = views[scan, 0], views[scan, 1], int(views[scan, 2])
    x = pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2] + pose[0, 3]
    y = pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2] + pose[1, 3]
    z = pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2] + pose[2, 3]
    metres = math.sqrt(x * x + y * y + z * z)
    if not (metres > 0 and metres < 1e6):
        return False
    row = math.floor(height * (1 - (math.asin(z / metres) - down) / span))
    if row < 0 or row >= height:
        return False
    col = int(image.shape[1] * (1 - math.atan2(y, x) / math.pi) / 2) % image.shape[1]
    return image[row, col] > metres * (1 + margin[1]) + margin[0]


@njit(cache=True, nogil=True)
def depth_image(xyz: NDArray, shape: tuple[int, int]) -> tuple[NDArray, float, float]:
    """The least range of a scan around each direction.

    Args:
        xyz: (N, 3) float32 in the sensor's frame.
        shape: H, W.

    Returns:
        (H, W) float32 least range of the 3 x 3 pixels around each pixel, metres, 0 if fewer than half of them have a
        return; inclination of the image's lower edge; and height of the image, radians, both from the scan's returns.
    """
    height, width = shape
    count = len(xyz)
    metres, rise = np.zeros(count, np.float32), np.zeros(count, np.float32)
    down, up = math.inf, -math.inf
    for n in range(count):
        x, y, z = np.float64(xyz[n, 0]), np.float64(xyz[n, 1]), np.float64(xyz[n, 2])
        length = math.sqrt(x * x + y * y + z * z)
        if length > 0 and length < 1e6:
            metres[n], rise[n] = length, math.asin(z / length)
            down, up = min(down, rise[n]), max(up, rise[n])
    span = max(up - down, 1e-6) * (1 + 1e-6)
    near = np.zeros((height, width), np.float32)
    for n in range(count):
        if metres[n] > 0:
            row = min(height - 1, max(0, int(height * (1 - (rise[n] - down) / span))))
            col = int(width * (1 - math.atan2(xyz[n, 1], xyz[n, 0]) / math.pi) / 2) % width
            if near[row, col] == 0 or metres[n] < near[row, col]:
                near[row, col] = metres[n]
    return _least_around(near), down, span


@njit(cache=True, nogil=True)
def _least_around(near: NDArray) -> NDArray:
    height, width = near.shape
    around = np.zeros((height, width), np.float32)
    for row in range(height):
        for col in range(width):
            least, filled, looked = np.float32(math.inf), 0, 0
            for a in range(max(0, row - 1), min(height, row + 2)):
                for b in range(col - 1, col + 2):
                    value, looked = near[a, b % width], looked + 1
                    if value > 0:
                        least, filled = min(least, value), filled + 1
            around[row, col] = least if 2 * filled >= looked else 0
    return around


@njit(cache=True, nogil=True)
def merge_clicks(xyz: NDArray, label: NDArray, order: NDArray, radius: float, metres: float) -> NDArray:
    """Select labelled points: of points of one class at one place, only the first in `order` is kept.

    Args:
        xyz: (M, 3) float32 in the sensor's frame, none at the origin.
        label: (M,) uint8.
        order: (M,) the order in which points are considered; with the nearest first, points hidden behind a kept point
            are left out.
        radius: points within this angle are at one place, radians; 0: angles do not count.
        metres: points nearer to each other than this are also at one place.

    Returns:
        (M,) bool, True for kept points.
    """
    count, close = 0, math.cos(radius)
    kept, free = np.empty(len(xyz), np.int64), np.zeros(len(xyz), np.bool_)
    length = np.sqrt((xyz.astype(np.float64) ** 2).sum(axis=1))
    for m in order:
        alone = True
        for k in range(count):
            other = kept[k]
            if label[other] != label[m]:
                continue
            x, y, z = np.float64(xyz[m, 0]), np.float64(xyz[m, 1]), np.float64(xyz[m, 2])
            along = x * xyz[other, 0] + y * xyz[other, 1] + z * xyz[other, 2]
            apart = length[m] ** 2 + length[other] ** 2 - 2 * along
            if (radius > 0 and along > close * length[m] * length[other]) or apart < metres * metres:
                alone = False
                break
        if alone:
            free[m] = True
            kept[count] = m
            count += 1
    return free
