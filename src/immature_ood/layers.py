"""Which layers, by their names: a layer is one parameter tensor, such as "blocks.0.steps.1.actnorm.bias"."""

from fnmatch import fnmatchcase

__all__ = ["GROUPS", "is_chosen"]

GROUPS = ("all", "weights", "without_weights")  # any other word is a pattern


def is_chosen(layer: str, layers: str) -> bool:
    """Whether a layer is among "all", "weights", "without_weights", or those that a pattern matches.

    Weights are the parameter tensors of that name, of convolutions and linear maps.

    >>> is_chosen("blocks.0.steps.1.actnorm.bias", "blocks.0.*"), is_chosen("top.weight", "without_weights")
    (True, False)
    """
    if layers in GROUPS:
        return layers == "all" or (layer.rpartition(".")[2] == "weight") == (layers == "weights")
    return fnmatchcase(layer, layers)
