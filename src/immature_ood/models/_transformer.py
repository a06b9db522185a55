"""The network of transformer.py: GPT-2 (Radford et al. 2019) without dropout, its output weights its own.

    h = E[x_{t−1}] + P[t],  then for each block  h ← h + attention(norm(h)),  h ← h + network(norm(h)),
    log p(x) = Σ_t log softmax(W norm(h_t) + b)[x_t],

where x_{−1} is a start token and place t attends to places up to t alone. Weights start as in GPT-2: normal with
deviation 0.02, those that end a branch divided by √(2·depth). Keys have no bias: it would add the same to all that a
place attends to, which softmax takes away, and its gradient is zero.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.density import DensityModel
from immature_ood.models.transformer import Config

__all__ = ["Attention", "Block", "Transformer"]

DEVIATION = 0.02


class Attention(nn.Module):
    """Causal self-attention of several heads: (N, T, width) → (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        query, key, value = (self._of_heads(layer(h)) for layer in (self.query, self.key, self.value))
        logits = query @ key.mT / math.sqrt(query.shape[-1])  # (N, heads, T, T)
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=h.device).triu(1)
        attended = torch.softmax(logits.masked_fill(later, -math.inf), dim=-1) @ value
        attended_to: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return attended_to

    def _of_heads(self, h: Tensor) -> Tensor:
        """(N, T, width) → (N, heads, T, width / heads)."""
        return h.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a network at each place, both added to what comes in: (N, T, width) → (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.before_network = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.attention(self.before_attention(h))
        added: Tensor = h + self.narrow(F.gelu(self.wide(self.before_network(h))))
        return added

    @property
    def ends(self) -> tuple[nn.Linear, nn.Linear]:
        """The last layers of both branches."""
        return self.attention.out, self.narrow


class Transformer(DensityModel):
    """p(x) = Π_t p(x_t | x_0 … x_{t−1}) over tokens x (N, T), whole numbers."""

    blocks: Sequence[Block]

    def __init__(self, config: Config, shape: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__(shape)
        self.vocabulary = config.vocabulary  # also the number of the start token
        self.tokens = nn.Embedding(config.vocabulary + 1, config.width)
        self.places = nn.Embedding(shape[0], config.width)
        blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.blocks = cast(Sequence[Block], blocks)
        self.before_output = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.vocabulary)
        self._draw_weights(generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-probability of the tokens in nats, exact: (N, T) → (N,)."""
        of_all = torch.log_softmax(self.logits(self._before(x)), dim=-1)
        return of_all.gather(2, x[:, :, None]).squeeze(2).sum(dim=1)

    def logits(self, before: Tensor) -> Tensor:
        """The start token and those after it, (N, t ≤ T) → logits of the token that follows each, (N, t, V)."""
        places = torch.arange(before.shape[1], device=before.device).expand(before.shape)
        h = self.tokens(before) + self.places(places)
        for block in self.blocks:
            h = block(h)
        found: Tensor = self.output(self.before_output(h))
        return found

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample; logits are divided by temperature, and with 0 the likeliest token is taken."""
        before = torch.full((number, 1), self.vocabulary, device=self.output.weight.device)
        for _ in range(*self.shape):
            drawn = _drawn(self.logits(before)[:, -1], generator, temperature)
            before = torch.cat([before, drawn.to(before)], dim=1)
        return before[:, 1:]

    def example(self, number: int, generator: torch.Generator) -> Tensor:
        """See DensityModel.example: any tokens."""
        return torch.randint(0, self.vocabulary, (number, *self.shape), generator=generator)

    def _before(self, x: Tensor) -> Tensor:
        """What each token comes after: the start token, and all but the last."""
        return torch.cat([torch.full_like(x[:, :1], self.vocabulary), x[:, :-1]], dim=1)

    def _draw_weights(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=DEVIATION, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for end in (end for block in self.blocks for end in block.ends):
                end.weight /= math.sqrt(2 * len(self.blocks))


def _drawn(logits: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    """One token of each row of logits, (N, V) → (N, 1)."""
    if temperature == 0:
        return logits.argmax(dim=1, keepdim=True)
    return torch.multinomial(torch.softmax(logits.cpu() / temperature, dim=1), 1, generator=generator)
