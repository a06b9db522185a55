"""A logistic distribution over the levels of a pixel (Salimans et al. 2017, arXiv 1701.05517, eq. 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["discretised_logistic"]


def discretised_logistic(lower: Tensor, width: float, log_scales: Tensor, darkest: Tensor, brightest: Tensor) -> Tensor:
    """log P of levels in nats, each from an edge `lower`, less the mean, to `lower` + width; shapes broadcast.

    P = σ(u) − σ(l), u and l the upper and lower edge over the scale; the darkest level (where `darkest`) goes down to
    −∞, the brightest up to +∞. As σ(u) − σ(l) = σ(u) σ(−l) (1 − exp(l − u)), it is exact however far away the mean is.
    """
    rates = torch.exp(-log_scales)
    of_edges = ~brightest * F.logsigmoid((lower + width) * rates) + ~darkest * F.logsigmoid(-lower * rates)
    return of_edges + ~(darkest | brightest) * torch.log(-torch.expm1(-width * rates))
