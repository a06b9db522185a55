"""Windows of text, (T,) uint8: the bytes of a file one after another, whatever its language or encoding.

A likelihood is then in bits a byte, which texts of any alphabet share; letters outside ASCII take two bytes of UTF-8 or
more. Text is made into windows by the sources of data sets; see datasets._text.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from immature_ood.config import DatasetConfig, Positive, Real
from immature_ood.kinds import KindOfData

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["LEVELS", "Config", "TokenDatasetConfig"]

LEVELS = 256


class TokenDatasetConfig(DatasetConfig):
    """A data set of windows of text: where it comes from and what is done to them."""

    shuffled: bool = False
    """The bytes of each window change places at random: what they are stays, what follows what goes."""
    swapped: Annotated[Real, Field(ge=0, le=1)] = 0.0
    """Of neighbouring letters a to z and A to Z, taken two by two, this share change places."""
    repeated: Positive | None = None
    """The first so many bytes of each window are written again and again; by default they are not."""


class Config(KindOfData):
    """The one length that all windows of a study have."""

    kind: str = "tokens"
    length: Positive = 128
    """Windows have so many bytes."""

    samples: ClassVar[str] = "windows"
    unit: ClassVar[str] = "bits/byte"
    dataset: ClassVar[type[DatasetConfig]] = TokenDatasetConfig

    @property
    def shape(self) -> tuple[int]:
        """(T,)."""
        return (self.length,)

    @property
    def levels(self) -> int:
        """256, of bytes."""
        return LEVELS

    def changed(self, stored: "np.ndarray", dataset: DatasetConfig) -> "np.ndarray":
        """The windows as the section asks for them: letters swapped, the beginning repeated, all bytes shuffled."""
        from immature_ood.kinds.tokens.changes import repeated, shuffled, swapped

        if not isinstance(dataset, TokenDatasetConfig):
            return stored
        changed = swapped(stored, dataset.swapped) if dataset.swapped else stored
        changed = repeated(changed, dataset.repeated) if dataset.repeated else changed
        return shuffled(changed) if dataset.shuffled else changed

    def to_input(self, stored: "Tensor", noise: "Tensor | None" = None) -> "Tensor":
        """The bytes as int64, as embeddings take them; noise is not looked at."""
        return stored.long()

    def to_stored(self, x: "Tensor") -> "tuple[Tensor, int]":
        """Numbers outside 0 … 255 become the nearer end, and are counted."""
        import torch

        inside = x.clamp(0, LEVELS - 1)
        return inside.to(torch.uint8), int((inside != x).sum())

    def draw(self, axes: "Axes", stored: "np.ndarray", columns: int) -> None:
        """The text of the first few windows, so large that it can be read."""
        from immature_ood.kinds.tokens.drawing import draw

        draw(axes, stored, columns)
