"""torchvision, which knows the true formats: what the package reads in its own way is compared with it."""

from immature_ood.datasets._torchvision import import_torchvision

__all__ = ["import_torchvision"]
