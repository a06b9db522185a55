"""torchvision, which knows the true formats; only tests use it."""

import sys
import warnings

import torch

_SCHEMAS = []


def import_torchvision():
    """The package, also where its compiled operators do not suit the torch that is here; none of them is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision.datasets
        except RuntimeError:  # operator torchvision::nms does not exist
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            _SCHEMAS.append(torch.library.Library("torchvision", "DEF"))  # ends with the last reference to it
            _SCHEMAS[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _SCHEMAS[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import torchvision.datasets
    return torchvision
