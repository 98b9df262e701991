"""Mixed precision where the hardware has it, a warning and float32 where it has not."""

from __future__ import annotations

import warnings

import torch


def usable_precision(wanted: str, accelerator: str) -> str:
    """The precision to train in.

    On a CPU without instructions for it bfloat16 is many times slower than float32, and float16 has no use.

    Args:
        wanted: 32-true, bf16-mixed or 16-mixed.
        accelerator: auto, cpu or cuda.

    Returns:
        `wanted`, or 32-true after a warning.
    """
    if wanted == "32-true":
        return wanted
    if accelerator != "cpu" and torch.cuda.is_available():
        has = wanted == "16-mixed" or torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = wanted == "bf16-mixed" and _cpu_has_bf16()
    if has:
        return wanted
    warnings.warn(
        f"runtime.precision {wanted}: this hardware has no instructions for it; training in 32-true.", stacklevel=2
    )
    return "32-true"


def _cpu_has_bf16() -> bool:
    return (
        bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        and "avx512_bf16" in torch.backends.cpu.get_cpu_capability().lower()
    )
