"""A model of another library in one file: zuko's neural spline flow over the pixels (https://zuko.readthedocs.io)."""

from collections.abc import Iterator

from immature_ood.config import ModelConfig, Positive


class Config(ModelConfig):
    """The size of zuko's flow."""

    architecture: str = "tests/plugins/zuko_flow.py"
    transforms: Positive = 2
    """So many autoregressive transforms."""
    hidden: Positive = 16
    """Each of their networks has two layers of so many numbers."""

    @classmethod
    def examples(cls) -> Iterator[tuple["Config", tuple[int, ...]]]:
        """See ModelConfig.examples."""
        yield cls(transforms=1, hidden=8), (1, 3, 3)


def make(config, shape, generator):
    """Pixels in a row, spread from [−0.5, 0.5) to the range on which the splines bend."""
    import math

    import torch
    import zuko

    from immature_ood import Wrapped

    dimensions, scale = math.prod(shape), 8.0

    def build():
        hidden = [config.hidden] * 2
        return zuko.flows.NSF(dimensions, transforms=config.transforms, hidden_features=hidden)

    def log_prob(flow, x):
        return flow().log_prob(scale * x.flatten(1)) + dimensions * math.log(scale)

    def sample(flow, number, temperature):
        z = temperature * torch.randn(number, dimensions).to(next(flow.parameters()))
        return flow().transform.inv(z).unflatten(1, shape) / scale

    return Wrapped(build, shape, generator, log_prob=log_prob, sample=sample)
