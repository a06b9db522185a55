"""Images and the tensors that a model takes: uniform dequantisation (Theis et al. 2016), and augmentation."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from immature_ood.dequantisation import NOISE_LEVELS, derive_seed
from immature_ood.kinds.images import ImageAugmentationConfig

__all__ = ["augment", "dequantise", "quantise"]


def dequantise(pixels: Tensor, noise: Tensor | None) -> Tensor:
    """8-bit pixels and noise in [0, 1) become x = (pixels + noise) / 256 − 0.5, in [−0.5, 0.5).

    Pixels uint8 and 16-bit noise as int32, both (N, C, H, W) → float32. Without noise x is pixels / 256 − 0.5, as in
    the grey model released with arXiv 2502.00820.
    """
    values = pixels.float() if noise is None else pixels.float() + noise.float() / NOISE_LEVELS
    return values / 256 - 0.5


def quantise(x: Tensor) -> tuple[Tensor, int]:
    """The inverse: x (N, C, H, W) → uint8, and how many of its numbers are outside [−0.5, 0.5).

    These become the nearer end, NaN grey.
    """
    pixels = torch.floor((torch.nan_to_num(x) + 0.5) * 256).clamp(0, 255).to(torch.uint8)
    return pixels, int((~((x >= -0.5) & (x < 0.5))).sum())


def augment(images: Tensor, config: ImageAugmentationConfig, *key: object) -> Tensor:
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
