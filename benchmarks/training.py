"""The ways to train a Glow that are compared: each a function that makes one optimiser step on x (N, C, H, W)."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from public_glow import PublicGlow
from torch import Tensor, nn

from immature_ood.density import bits_per_dim
from immature_ood.models._glow import Glow
from immature_ood.models.glow import Config as GlowConfig

Step = Callable[[Tensor], None]


def own(model: Glow, config: GlowConfig, dtype: torch.dtype | None = None) -> Step:
    """This project's Glow, folded, channels_last; with a dtype, its coupling networks compute in that."""
    model = model.to(memory_format=torch.channels_last)

    def log_prob(x: Tensor) -> Tensor:
        with model.networks_in(dtype) if dtype else nullcontext():
            return model.log_prob(x)

    return _stepper(model, log_prob, model.dimensions)


def own_bf16(model: Glow, config: GlowConfig) -> Step:
    """The same with bf16 inside the couplings."""
    return own(model, config, torch.bfloat16)


def public(model: Glow, config: GlowConfig) -> Step:
    """The public Glow, operation by operation."""
    plain = PublicGlow(model)
    return _stepper(plain, plain.log_prob, plain.dimensions)


def normflows(model: Glow, config: GlowConfig) -> Step:
    """normflows' Glow of the same size; it does less work, having no actnorm inside its networks."""
    import normflows as nf

    channels, height, width = model.shape
    blocks, bases, flows, merges = config.blocks, [], [], []
    for i in range(blocks):
        inner = channels * 2 ** (blocks + 1 - i)
        flows.append([nf.flows.GlowBlock(inner, config.hidden_channels) for _ in range(config.steps)])
        flows[-1].append(nf.flows.Squeeze())
        sides = (height // 2 ** (blocks - i), width // 2 ** (blocks - i))
        if i > 0:
            merges.append(nf.flows.Merge())
        bases.append(nf.distributions.DiagGaussian((inner // (2 if i else 1), *sides)))
    flow = nf.MultiscaleFlow(bases, flows, merges)
    return _stepper(flow, lambda x: -flow.forward_kld(x), model.dimensions)


METHODS = {"own": own, "own, bf16-coupling": own_bf16, "public Glow": public, "normflows": normflows}


def _stepper(model: nn.Module, log_prob: Callable[[Tensor], Tensor], dimensions: int) -> Step:
    optimizer = torch.optim.Adamax(model.parameters(), lr=1e-6, weight_decay=5e-5, foreach=True)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        bits_per_dim(log_prob(x), dimensions).mean().backward()
        optimizer.step()

    return step
