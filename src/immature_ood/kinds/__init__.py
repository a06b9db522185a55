"""Kinds of data: what is true of one kind alone, such as images, behind what every kind promises.

A kind is one file or folder of this folder, found by its name, or a file of one's own (see registry). It has `Config`,
a KindOfData, which the section `data` of a study is read with: the options that fix the shape of a sample, and all that
differs from kind to kind. Needs neither torch nor numpy, which a kind imports inside its methods.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from immature_ood.config import AugmentationConfig, Config, DatasetConfig

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["KindOfData"]


class KindOfData(Config):
    """The kind of a study's data and the shape of its samples; a kind's own Config adds its options and promises.

    A sample lies in the data set's files as an array of whole numbers, of `shape` and of the type `storage`, each
    smaller than `levels`. A model takes it as a tensor, which `to_input` makes, with noise if the kind is `noisy`. An
    element of the array is one dimension of the likelihood, whose unit is bits per dimension.
    """

    kind: str
    """Data are of the kind of this file of kinds/, or of one of your own at this path."""

    samples: ClassVar[str]
    """What samples are called, in the plural, such as "images"."""
    unit: ClassVar[str]
    """What bits per dimension are called, such as "bits/dim"."""
    storage: ClassVar[str] = "uint8"
    """The name of the type of stored numbers, as NumPy has it."""
    noisy: ClassVar[bool] = False
    """Whether stored numbers are dequantised: a model then takes them with noise."""
    dataset: ClassVar[type[DatasetConfig]] = DatasetConfig
    """What a data set's section may ask for, where its source has no options of its own."""
    augmentation: ClassVar[type[AugmentationConfig]] = AugmentationConfig
    """What the section `augmentation` of a data set may ask for."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample as stored, such as (C, H, W)."""

    @property
    @abstractmethod
    def levels(self) -> int:
        """How many values a stored number may have: 0 … levels − 1."""

    @property
    def dimensions(self) -> int:
        """D, the number of elements of a sample."""
        return math.prod(self.shape)

    def check(self, stored: "np.ndarray") -> None:
        """Raises ValueError if an array does not hold samples of this kind, (N, *shape) of numbers below `levels`."""
        if stored.dtype != self.storage or stored.shape[1:] != self.shape or not stored.ndim:
            shape = ", ".join(map(str, ("N", *self.shape)))
            raise ValueError(f"must be {self.storage} ({shape}), not {stored.dtype} {stored.shape}")
        type_has_more = self.levels < 2 ** (8 * stored.itemsize)
        if type_has_more and stored.size and not 0 <= stored.min() <= stored.max() < self.levels:
            raise ValueError(f"must be in 0 … {self.levels - 1}, not in {stored.min()} … {stored.max()}")

    def changed(self, stored: "np.ndarray", dataset: DatasetConfig) -> "np.ndarray":
        """Samples (N, *shape) as a data set's section asks for them before they are stored; here, as they are."""
        return stored

    def described(self, dataset: DatasetConfig, formats: Mapping[str, int]) -> dict[str, Any]:
        """What the manifest says of the changes that a data set's section asks for; here, nothing.

        formats: how many samples the source has in each file format.
        """
        return {}

    def packages(self, dataset: DatasetConfig) -> tuple[str, ...]:
        """The distributions that `changed` needs for a data set."""
        return ()

    def augment(self, stored: "Tensor", augmentation: AugmentationConfig, *key: object) -> "Tensor":
        """A copy of training samples (N, *shape) with random changes that follow from the key; here, as they are."""
        return stored

    @abstractmethod
    def to_input(self, stored: "Tensor", noise: "Tensor | None" = None) -> "Tensor":
        """Samples (N, *shape) as stored → what a model takes.

        noise: (N, *shape) int32 in [0, 65536), or None: without.
        """

    @abstractmethod
    def to_stored(self, x: "Tensor") -> "tuple[Tensor, int]":
        """What a model draws → samples (N, *shape) as stored, and how many of its numbers were out of range."""

    @abstractmethod
    def draw(self, axes: "Axes", stored: "np.ndarray", columns: int) -> None:
        """Shows samples (n, *shape) side by side, where `columns` ≥ n would fit.

        The axes are about `columns` times as wide as high; ticks and frame are taken away afterwards.
        """
