"""Recomputation of BatchNorm's running statistics for averaged weights, which no training step ever used.

Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def update_bn(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Replace the running mean and variance of every BatchNorm by their mean over some batches.

    All else is in eval mode meanwhile, dropout above all, as it will be where the statistics are used. A BatchNorm
    that is in eval mode because it is frozen cannot be told from others and is counted, too.

    Args:
        network: is changed, but for its modes.
        images: (B, C, H, W) each, as the network is trained to read; none leaves the statistics as they are.

    Raises:
        ValueError: a BatchNorm meets a single value.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    before = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    started = False
    try:
        with torch.no_grad():
            for image in images:
                if not started:
                    for norm in norms:
                        norm.reset_running_stats()
                        norm.momentum = None  # torch's word for the mean over all batches
                        norm.train()
                    started = True
                network(image)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in before:
            module.training = training
