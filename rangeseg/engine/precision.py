"""Mixed precision where the hardware supports it, otherwise float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rangeseg.notices import notify

DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def usable_precision(wanted: str, accelerator: str) -> str:
    """The precision to train in; shows a notice if it is not the requested one.

    On a CPU without bfloat16 instructions, bfloat16 is many times slower than float32. On a CPU, float16 is not used.

    Args:
        wanted: 32-true, bf16-mixed or 16-mixed.
        accelerator: auto, cpu or cuda.

    Returns:
        `wanted`, or 32-true.
    """
    kind = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    if wanted == "32-true" or _has(wanted, kind):
        return wanted
    notify(f"runtime.precision {wanted}: this hardware does not support it; training in 32-true.")
    return "32-true"


def in_precision(network: Callable[[Tensor], Tensor], wanted: str) -> Callable[[Tensor], Tensor]:
    """Run the network in the given precision if the image's device supports it, else in float32; returns float32.

    Args:
        network: (B, C, H, W) -> (B, K, H, W).
        wanted: 32-true, bf16-mixed or 16-mixed.
    """
    if wanted == "32-true":
        return network

    def call(image: Tensor) -> Tensor:
        kind = image.device.type
        with torch.autocast(kind, DTYPES[wanted], enabled=_has(wanted, kind)):
            return network(image).float()

    return call


def _has(wanted: str, kind: str) -> bool:
    """True if devices of this kind (cuda or cpu) support the precision."""
    if kind == "cuda":
        return wanted == "16-mixed" or torch.cuda.is_bf16_supported(including_emulation=False)
    return wanted == "bf16-mixed" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    # Emulation by AVX-512 does not count. Only private functions of torch report these instructions.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
