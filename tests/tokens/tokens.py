"""A kind of data of one's own in one file: sequences of tokens, (T,) uint8."""

from typing import Annotated

from pydantic import Field

from immature_ood.config import Positive, Whole
from immature_ood.kinds import KindOfData


class Config(KindOfData):
    """Sequences of one length from one vocabulary."""

    kind: str = "tokens"
    length: Positive = 8
    """Sequences have so many tokens."""
    vocabulary: Annotated[Whole, Field(ge=2, le=256)] = 10
    """Tokens are 0 to this, less one."""

    samples = "sequences"
    unit = "bits/token"

    @property
    def shape(self):
        """(T,)."""
        return (self.length,)

    @property
    def levels(self):
        """The size of the vocabulary."""
        return self.vocabulary

    def to_input(self, stored, noise=None):
        """int64, as embeddings take them."""
        return stored.long()

    def to_stored(self, x):
        """Tokens that are not of the vocabulary become its nearer end."""
        import torch

        inside = x.clamp(0, self.vocabulary - 1)
        return inside.to(torch.uint8), int((inside != x).sum())

    def draw(self, axes, stored, columns):
        """Four numbers a line."""
        for place, tokens in enumerate(stored):
            lines = "\n".join(" ".join(map(str, tokens[start : start + 4])) for start in range(0, len(tokens), 4))
            text = axes.text((place + 0.5) / columns, 0.5, lines, ha="center", va="center", fontsize=3)
            text.set_in_layout(False)  # rows keep their height
