"""Random changes of training images: a shift by whole pixels, and left and right exchanged."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from immature_ood.config import AugmentationConfig
from immature_ood.dequantisation import derive_seed

__all__ = ["augment"]


def augment(images: Tensor, config: AugmentationConfig, *key: object) -> Tensor:
    """A copy of images (N, C, H, W) uint8, each changed by draws of its own, which depend on the key and N alone.

    Each is shifted by whole pixels, uniform in ±⌊translation·H⌋ and ±⌊translation·W⌋, and zeros come in; every second
    time, at random, it is flipped left to right. As torchvision's RandomAffine(translate) and RandomHorizontalFlip,
    except that RandomAffine rounds a real number, so that its two furthest shifts have another probability.
    """
    n, _, height, width = images.shape
    generator = torch.Generator().manual_seed(derive_seed("augmentation", *key))
    furthest_down, furthest_right = (int(config.translation * side) for side in (height, width))
    down = torch.randint(-furthest_down, furthest_down + 1, (n, 1), generator=generator)
    right = torch.randint(-furthest_right, furthest_right + 1, (n, 1), generator=generator)
    flipped = torch.randint(2, (n, 1), generator=generator).bool() & config.flip
    # Of the image with a frame of zeros around it, the rows and columns that are seen.
    rows = furthest_down - down + torch.arange(height)
    columns = furthest_right - right + torch.arange(width)
    columns = torch.where(flipped, columns.flip(1), columns)
    framed = pad(images, [furthest_right, furthest_right, furthest_down, furthest_down])
    seen = framed[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return seen.permute(0, 3, 1, 2).contiguous()
