"""The gradient of bilinear interpolation for channels_last memory, where the channels of a pixel are adjacent.

Torch's own gradient for this order of memory adds values one by one; this one adds whole pixels.
Shapes: B views, C channels, H rows, W columns of the small image, H', W' of the large one.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, error_model="numpy")
def gather_bilinear(large: NDArray[np.float32], wrap: bool, small: NDArray[np.float32]) -> None:
    """Sum up, for each pixel of the small image, the weighted gradients of the pixels that were interpolated from it.

    Args:
        large: (B, H', W', C) float32, the gradient of the interpolated image.
        wrap: column j of the large image is at column j * W / W' of the small one, and column W is column 0. False: the
            corners are aligned, as always for rows.
        small: (B, H, W, C) float32 zeros, out.
    """
    views, rows, columns, channels = large.shape
    _, height, width, _ = small.shape
    down = np.float32(height - 1) / np.float32(max(1, rows - 1))
    across = (
        np.float32(width) / np.float32(columns) if wrap else np.float32(width - 1) / np.float32(max(1, columns - 1))
    )
    line = np.empty((width, channels), np.float32)
    for b in range(views):
        for y in range(rows):
            line[:] = 0
            for x in range(columns):
                at = np.float32(x) * across
                left = min(int(at), width - 1)
                part = at - np.float32(left)
                right = (left + 1) % width if wrap else min(left + 1, width - 1)
                near, far, pixel = line[left], line[right], large[b, y, x]
                for c in range(channels):
                    near[c] += (np.float32(1) - part) * pixel[c]
                if part > 0:
                    for c in range(channels):
                        far[c] += part * pixel[c]
            at = np.float32(y) * down
            top = min(int(at), height - 1)
            part = at - np.float32(top)
            small[b, top] += (np.float32(1) - part) * line
            if part > 0:
                small[b, min(top + 1, height - 1)] += part * line
