"""A density of tokens in one file: each token depends on the one before."""

from immature_ood.config import ModelConfig, Positive

KINDS = ("tokens",)


class Config(ModelConfig):
    """A table of logits."""

    vocabulary: Positive = 10
    """Tokens are 0 to this, less one, as those of the data."""


def make(config, shape, generator):
    """log p(x) = Σ_t log softmax(transition[x_{t−1}] + bias)[x_t], and x_0 by the bias alone."""
    import torch
    from torch import nn

    from immature_ood.density import DensityModel

    class Bigram(DensityModel):
        def __init__(self):
            super().__init__(shape)
            size = config.vocabulary
            self.bias = nn.Parameter(0.1 * torch.randn(size, generator=generator))
            self.transition = nn.Parameter(0.1 * torch.randn(size, size, generator=generator))

        def log_prob(self, x):
            following = torch.log_softmax(self.transition[x[:, :-1]] + self.bias, dim=-1)  # (N, T − 1, V)
            later = following.gather(2, x[:, 1:, None]).squeeze(2).sum(dim=1)
            return torch.log_softmax(self.bias, dim=0)[x[:, 0]] + later

        def example(self, number, generator):
            return torch.randint(0, config.vocabulary, (number, *shape), generator=generator)

        @torch.no_grad()
        def sample(self, number, generator, temperature=1.0):
            logits, drawn = self.bias.expand(number, -1), []
            for _ in range(shape[0]):
                drawn.append(torch.multinomial(torch.softmax(logits / temperature, dim=1), 1, generator=generator))
                logits = self.transition[drawn[-1][:, 0]] + self.bias
            return torch.cat(drawn, dim=1)

    return Bigram()
