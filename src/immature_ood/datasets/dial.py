"""The images of another data set of the study, changed in one thing by a dial; what each dial does: dials.py.

`{source: dial, of: photos, dial: blur, amount: 0.5}`: as many images as that set has, the same in the same order, as it
stores them (inverted, through JPEG), each changed by itself. At amount 0 they are the same bytes. What belongs together
there belongs together here: the unit is that of the original.

So ID and OOD are not drawn apart where a model of `of` is tested on a dial of it: each unit is on both sides. Intervals
of one AUROC (intervals) take no account of that. Where scores of an image and of the same image changed rise and fall
together, the AUROC varies less than the interval allows for, which is then too wide: of 300 normal scores, 95 %
intervals held the truth in .99 of simulations at a correlation of .5, in all at .9. Where one rises as the other falls,
they are too narrow (.89 to .93 at −.5). Means over pairs (means) do add up what a unit contributes on both sides.

An image takes the noise of dequantisation of the set that it is from: at amount 0 its scores are the same, and the
AUROC is exactly one half.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, unquote

from pydantic import Field

from immature_ood import registry
from immature_ood.config import ChangedConfig, DatasetConfig, Real
from immature_ood.datasets import SPLITS, Images, unit_of
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig

__all__ = ["EXAMPLE", "PACKAGES", "UNITS", "Config", "load"]

PACKAGES = ("scipy", "pillow")  # of the dials; those of the images are in the original's manifest
EXAMPLE = {"of": "photos", "dial": "contrast", "amount": 0.5, "section": {"source": "photos"}}
MARK = " unit="


def _unit_of(origin: str) -> str:
    """What an image belongs to in the data set that it is from.

    >>> _unit_of("skimage/data/coins.png@y=96,x=16 unit=skimage/data/coins.png%40y%3D80%2Cx%3D0")
    'skimage/data/coins.png@y=80,x=0'
    """
    return unquote(origin.rpartition(MARK)[2])


UNITS = {"of the original": _unit_of}


class Config(ImageDatasetConfig, ChangedConfig):
    """Images of another data set, changed in one thing."""

    source: str = "dial"
    dial: Literal[
        "blur",
        "contrast",
        "brightness",
        "grey_levels",
        "patch_shuffle",
        "phase",
        "noise",
        "occlusion",
        "rotation",
        "inversion",
        "jpeg",
        "resize",
    ]
    """Images are changed by this function of dials.py."""
    amount: Annotated[Real, Field(ge=0, le=1)]
    """Images are changed by so much, from 0, nothing, to 1, the most."""

    def original(self) -> DatasetConfig:
        """The config of the other data set."""
        alike = {key: getattr(self, key) for key in self.ALIKE}
        found: DatasetConfig = registry.parse("datasets", {**self.section, **alike}, ImageDatasetConfig)
        return found

    def contents(self) -> str | None:
        """That of the original."""
        return self.original().contents()


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<that of the original> unit=<its unit, quoted>"; raises what the original's source raises."""
    original = config.original()
    given = registry.load("datasets", original.source).load(original, image, data_dir)
    return {split: _turned(given[split], original, config, image) for split in SPLITS}


def _turned(images: Images, original: DatasetConfig, config: Config, image: ImageConfig) -> Images:
    """The images as the original stores them, turned."""
    from immature_ood.dials import turn

    _, name_of = unit_of(original)
    lossy = config.dial == "jpeg" and config.amount > 0
    return replace(
        images,
        pixels=turn(image.changed(images.pixels, original), config.dial, config.amount),
        origins=[f"{origin}{MARK}{quote(name_of(origin))}" for origin in images.origins],
        formats=["JPEG (dial)"] * len(images.formats) if lossy else images.formats,
        resized=images.resized or (config.dial == "resize" and config.amount > 0),
    )
