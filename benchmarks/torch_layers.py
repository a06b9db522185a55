"""Gradient norms of models made of torch's own layers: closed forms, torch.func and the loop, side by side.

python benchmarks/torch_layers.py prints a table a model; the methods take turns as in run.py. --rounds N, 7 by default.
"""

import argparse
import math
from itertools import pairwise

import pandas as pd
import torch
from run import interleaved
from torch import Tensor, nn

from immature_ood import runtime
from immature_ood.density import DensityModel
from immature_ood.gradients.closed_form import ClosedForm
from immature_ood.gradients.generic import Generic

SHAPE, IMAGES = (1, 28, 28), 20


class RowByRow(DensityModel):
    """Each row of an image given those above: Gaussians whose means and deviations a residual network says.

    Convolutions that see nothing below, layer norms over the channels, an embedding of the row, and a linear layer.
    """

    def __init__(self, width: int = 64, depth: int = 3) -> None:
        super().__init__(SHAPE)
        self.first = nn.Conv2d(1, width, 3)
        self.rows = nn.Embedding(SHAPE[1], width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3) for _ in range(depth))
        self.last = nn.Linear(width, 2)

    def log_prob(self, x: Tensor) -> Tensor:
        above = nn.functional.pad(x, (0, 0, 1, 0))[:, :, :-1]
        h = self.first(padded(above)) + self.rows(torch.arange(SHAPE[1])[None]).mT[..., None]
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = h + convolution(padded(torch.relu(norm(h.movedim(1, 3)).movedim(3, 1))))
        mean, logs = self.last(h.movedim(1, 3)).unbind(dim=3)
        density = -0.5 * ((x[:, 0] - mean) ** 2 * torch.exp(-2 * logs) + math.log(2 * math.pi)) - logs
        return density.flatten(1).sum(dim=1) - self.dimensions * math.log(256)

    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        raise NotImplementedError


class Pyramid(DensityModel):
    """log p but for its constant: strided convolutions with group norm between them, and linear layers on top."""

    def __init__(self, width: int = 64) -> None:
        super().__init__(SHAPE)
        widths = [1, width, 2 * width, 4 * width, 4 * width]
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, stride=2, padding=1) for pair in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for channels in widths[1:])
        self.hidden, self.last = nn.Linear(4 * 4 * width, 512), nn.Linear(512, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu(norm(convolution(x)))
        return self.last(torch.relu(self.hidden(x.flatten(1)))).squeeze(1)

    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        raise NotImplementedError


MODELS = {"row by row": RowByRow, "pyramid": Pyramid}


def padded(x: Tensor) -> Tensor:
    """Zeros left, right and above, so that a 3×3 convolution sees nothing below."""
    return nn.functional.pad(x, (1, 1, 2, 0))


def loop(model: DensityModel, x: Tensor) -> None:
    """A backward pass an image."""
    for image in x.split(1):
        gradients = torch.autograd.grad(model.log_prob(image).sum(), [*model.parameters()])
        torch.stack([gradient.square().sum() for gradient in gradients])


def measured(model: DensityModel, rounds: int) -> pd.DataFrame:
    """A row a method: CPU time in that of forward+backward, median and quartiles over rounds, and images a second."""
    x = torch.rand(IMAGES, *SHAPE) - 0.5
    own, generic = ClosedForm(model), Generic(model)
    methods = {
        "forward+backward": lambda: model.log_prob(x).mean().backward(),
        "own, b = 1": lambda: own(x, [1]),
        "own, b = 1 and 5": lambda: own(x, [1, 5]),
        "vmap, b = 1": lambda: generic(x, [1]),
        "vmap, b = 1 and 5": lambda: generic(x, [1, 5]),
        "loop, b = 1": lambda: loop(model, x),
    }
    seconds = pd.DataFrame(interleaved(methods, rounds))
    ratios = seconds.div(seconds["forward+backward"], axis=0).quantile([0.5, 0.25, 0.75]).T
    return ratios.assign(images_per_second=IMAGES / seconds.median())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    runtime.prepare(1, keep_memory=True)
    torch.manual_seed(0)
    for name, make in MODELS.items():
        print(name, measured(make(), options.rounds).to_markdown(floatfmt=".3g"), sep="\n")


if __name__ == "__main__":
    main()
