"""Argmax over classes, in the memory order of the logits."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 2048
"""Number of pixels processed together; their best logits and classes stay in the fastest cache."""


@njit(cache=True, nogil=True, error_model="numpy")
def best_of_planes(values: NDArray, best: NDArray) -> None:
    """(B, K, N) -> (B, N); a class whose value is nan never wins, unless it is the first."""
    most = np.empty(BLOCK, np.float32)
    winner = np.empty(BLOCK, np.float32)  # float32 like the logits, so that the same SIMD lanes select both
    batch, count, pixels = values.shape
    for b in range(batch):
        for start in range(0, pixels, BLOCK):
            size = min(BLOCK, pixels - start)
            for i in range(size):
                most[i] = values[b, 0, start + i]
                winner[i] = 0
            for k in range(1, count):
                name = np.float32(k)
                row = values[b, k, start : start + size]
                for i in range(size):
                    better = row[i] > most[i]
                    most[i] = row[i] if better else most[i]
                    winner[i] = name if better else winner[i]
            for i in range(size):
                best[b, start + i] = np.uint8(winner[i])


@njit(cache=True, nogil=True, error_model="numpy")
def best_of_pixels(values: NDArray, best: NDArray) -> None:
    """(N, K) -> (N,); a class whose value is nan never wins, unless it is the first."""
    pixels, count = values.shape
    for i in range(pixels):
        most, winner = values[i, 0], 0
        for k in range(1, count):
            better = values[i, k] > most
            most = values[i, k] if better else most
            winner = k if better else winner
        best[i] = winner
