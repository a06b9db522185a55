"""Out-of-distribution detection with immature likelihood-based generative models (arXiv 2502.00820).

What is named here is the package's face for Python; each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from immature_ood.checkpoints import load_model
    from immature_ood.density import DensityModel
    from immature_ood.detector_file import ImageDetector
    from immature_ood.estimator import ImmatureDetector
    from immature_ood.face import FittedDetector, auroc, extract, fit, make_model, train
    from immature_ood.features import Features
    from immature_ood.intervals import Estimate
    from immature_ood.study import Study, StudyError
    from immature_ood.wrapping import Wrapped

__all__ = [
    "DensityModel",
    "Estimate",
    "Features",
    "FittedDetector",
    "ImageDetector",
    "ImmatureDetector",
    "Study",
    "StudyError",
    "Wrapped",
    "auroc",
    "extract",
    "fit",
    "load_model",
    "make_model",
    "train",
]

HOMES = {
    "density": ["DensityModel"],
    "checkpoints": ["load_model"],
    "detector_file": ["ImageDetector"],
    "estimator": ["ImmatureDetector"],
    "face": ["FittedDetector", "auroc", "extract", "fit", "make_model", "train"],
    "features": ["Features"],
    "intervals": ["Estimate"],
    "study": ["Study", "StudyError"],
    "wrapping": ["Wrapped"],
}


if not TYPE_CHECKING:  # who would take any name for one

    def __getattr__(name: str) -> Any:
        """The name's value, from its module (PEP 562); raises AttributeError if it is none of `__all__`."""
        for module, names in HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
