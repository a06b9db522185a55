"""Images, (C, H, W) uint8. Pictures are made into them by the sources of data sets; see datasets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from immature_ood.config import AugmentationConfig, DatasetConfig, Positive, Real, Whole, whole
from immature_ood.kinds import KindOfData

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["Config", "ImageAugmentationConfig", "ImageDatasetConfig"]

LOSSY = {"AVIF", "JPEG", "JPEG2000", "MPO", "WEBP"}  # what Pillow calls formats that leave traces, or may


class ImageAugmentationConfig(AugmentationConfig):
    """Random changes of the training images, fresh at every step; images that are scored are never changed."""

    translation: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    """An image is shifted by up to this share of its side, each way; zeros come in."""
    flip: bool = False
    """Left and right change places in half of the images."""

    @property
    def changes(self) -> bool:
        """Whether any image may be changed."""
        return bool(self.translation or self.flip)


class ImageDatasetConfig(DatasetConfig):
    """A data set of images: where it comes from and what is done to them."""

    inverted: bool = False
    """Dark becomes bright: each pixel is 255 minus what it was."""
    jpeg_quality: Annotated[Whole, Field(ge=1, le=100)] | None = None
    """Images are stored as JPEG of this quality, 1 to 100, and read again; by default they are not."""
    augmentation: ImageAugmentationConfig = ImageAugmentationConfig()
    """Training images are changed at random."""


class Config(KindOfData):
    """The one shape all data sets of a study share: square images of 8 bits a channel."""

    kind: str = "images"
    channels: Annotated[Literal[1, 3], BeforeValidator(whole)] = 1
    """Images have one channel, which is grey, or three, which are red, green and blue."""
    side: Positive = 28
    """Images have so many rows and columns of pixels."""
    resize: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    """Images of another size are brought to this one by this filter, antialiased."""

    samples: ClassVar[str] = "images"
    unit: ClassVar[str] = "bits/dim"
    noisy: ClassVar[bool] = True
    dataset: ClassVar[type[DatasetConfig]] = ImageDatasetConfig
    augmentation: ClassVar[type[AugmentationConfig]] = ImageAugmentationConfig

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.side, self.side

    @property
    def levels(self) -> int:
        """256, of 8 bits."""
        return 256

    def changed(self, stored: "np.ndarray", dataset: DatasetConfig) -> "np.ndarray":
        """The images as the section asks for them: inverted, then stored as JPEG and read again."""
        from immature_ood.kinds.images.pictures import through_jpeg

        if not isinstance(dataset, ImageDatasetConfig):
            return stored
        pixels = 255 - stored if dataset.inverted else stored
        return pixels if dataset.jpeg_quality is None else through_jpeg(pixels, dataset.jpeg_quality)

    def described(self, dataset: DatasetConfig, formats: Mapping[str, int]) -> dict[str, Any]:
        """Inverted or not, the quality of the JPEG that images were put through, and whether any has such traces."""
        changes = {"inverted": False, "jpeg_quality": None}
        changes |= dataset.model_dump(include={*changes})
        stored_with_loss = not LOSSY.isdisjoint(stored.split()[0] for stored in formats)
        return {**changes, "lossy": stored_with_loss or changes["jpeg_quality"] is not None}

    def packages(self, dataset: DatasetConfig) -> tuple[str, ...]:
        """Pillow, which stores images as JPEG."""
        return ("pillow",) if getattr(dataset, "jpeg_quality", None) is not None else ()

    def augment(self, stored: "Tensor", augmentation: AugmentationConfig, *key: object) -> "Tensor":
        """A copy of images, each shifted and flipped by draws of its own, which follow from the key and N alone."""
        from immature_ood.kinds.images.tensors import augment

        return augment(stored, augmentation, *key) if isinstance(augmentation, ImageAugmentationConfig) else stored

    def to_input(self, stored: "Tensor", noise: "Tensor | None" = None) -> "Tensor":
        """Pixels, dequantised: x in [−0.5, 0.5), float32."""
        from immature_ood.kinds.images.tensors import dequantise

        return dequantise(stored, noise)

    def to_stored(self, x: "Tensor") -> "tuple[Tensor, int]":
        """The pixels of x, and how many fell outside 0 … 255 and were set to the nearer end."""
        from immature_ood.kinds.images.tensors import quantise

        return quantise(x)

    def draw(self, axes: "Axes", stored: "np.ndarray", columns: int) -> None:
        """The images side by side on white."""
        from immature_ood.kinds.images.drawing import draw

        draw(axes, stored, columns)
