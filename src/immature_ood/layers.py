"""Which layers, by their names: a layer is one parameter tensor, such as "blocks.0.steps.1.actnorm.bias"."""

import re
from fnmatch import fnmatchcase

__all__ = ["GROUPS", "WEIGHT", "is_chosen", "may_be_weights"]

WEIGHT = "weight"  # the last part of their names
GROUPS = ("all", "weights", "without_weights")  # any other word is a pattern


def is_chosen(layer: str, layers: str) -> bool:
    """Whether a layer is among "all", "weights", "without_weights", or those that a pattern matches.

    Weights are the parameter tensors of that name, of convolutions and linear maps.

    >>> is_chosen("blocks.0.steps.1.actnorm.bias", "blocks.0.*"), is_chosen("top.weight", "without_weights")
    (True, False)
    """
    if layers in GROUPS:
        return layers == "all" or (layer.rpartition(".")[2] == WEIGHT) == (layers == "weights")
    return fnmatchcase(layer, layers)


def may_be_weights(layers: str) -> bool:
    """Whether any weight can be among the layers, of whatever model; of a pattern it is told by what its end says.

    >>> [may_be_weights(each) for each in ("all", "without_weights", "*.logs", "blocks.0.*", "*.actnorm.[bl]*")]
    [True, False, False, True, True]
    """
    if layers in GROUPS:
        return layers != "without_weights"
    end = re.split(r"[*?\]]", layers)[-1]
    return WEIGHT.endswith(end) or end.endswith(WEIGHT)
