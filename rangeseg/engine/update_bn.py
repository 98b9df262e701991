"""Recomputation of BatchNorm's running statistics for averaged weights, which no training step used.

Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def update_bn(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Replace the running mean and variance of every BatchNorm by their mean over some batches.

    Meanwhile all other modules (such as dropout) are in eval mode, in which the statistics will be used. A frozen
    BatchNorm is changed, too, because it looks like any other BatchNorm in eval mode. A BatchNorm that the forward pass
    does not reach (auxiliary heads, the second network of a pair) keeps its statistics.

    Args:
        network: its statistics are changed; each module is put back into its mode.
        images: batches of (B, C, H, W) training images; without any batch, the statistics stay as they are.

    Raises:
        ValueError: a BatchNorm gets only one value for each channel.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    before = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in norms]
    statistics = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    network.eval()
    started = False
    try:
        with torch.no_grad():
            for image in images:
                if not started:
                    for norm in norms:
                        norm.reset_running_stats()
                        norm.momentum = None  # in torch: the mean over all batches
                        norm.train()
                    started = True
                network(image)
    finally:
        for norm, momentum, earlier in zip(norms, momenta, statistics, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked == 0:
                for buffer, value in zip(norm.buffers(), earlier, strict=True):
                    buffer.copy_(value)
        for module, training in before:
            module.training = training
