"""The fast engine: one forward and one backward of the activations serve all layers, images and group sizes.

The weights are frozen, so that no weight gradient of the batch is formed. Hooks turn each layer's input and output
gradient into squared norms as the backward reaches it, by the layer's closed form, and keep only those.
"""

import copy
import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from immature_ood.gradients.forms import FORMS, Form, Seen
from immature_ood.gradients.norms import Gradient, squared_norms
from immature_ood.models import DensityModel

__all__ = ["ClosedForm", "uncovered"]

CACHED_NUMBERS = 1 << 20  # of a layer's output worked on at once, so that what is made of it stays in cache


def uncovered(model: DensityModel) -> list[str]:
    """The layers that are not a parameter of exactly one module with a closed form."""
    claims = Counter(
        id(module.get_parameter(name))
        for module in model.modules()
        if (form := FORMS.get(type(module)))
        for name in form.parameters
    )
    return [name for name, parameter in model.layers() if claims[id(parameter)] != 1]


class ClosedForm:
    """The engine for one model, with its weights as they are now, and objective: it works on a frozen copy.

    Called with x (N, C, H, W) and batch sizes b: squared norms (N / b, layers) for each b, and log p (N,) in nats.
    Raises ValueError if the model has a layer without a closed form, RuntimeError if it uses one twice.
    """

    gradient_bytes = 0  # held of each image: none of all layers at once

    def __init__(self, model: DensityModel, objective: str = "log_prob") -> None:
        self._objective = objective
        if without := uncovered(model):
            raise ValueError(f"no closed form covers {', '.join(without)}; take engine='generic'")
        self._layers = [name for name, _ in model.layers()]
        frozen = copy.deepcopy(model).requires_grad_(False)
        self._model = frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._pass = _Pass(self._layers, torch.empty(0), [], objective)
        for name, module in self._model.named_modules():
            if form := FORMS.get(type(module)):
                self._watch(name, module, form)

    def __call__(self, x: Tensor, batch_sizes: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
        run = self._pass = _Pass(self._layers, x, batch_sizes, self._objective)
        try:
            with torch.enable_grad():
                x = x.detach().contiguous(memory_format=torch.channels_last)
                value, log_prob = self._model.objective(x, self._objective)
                torch.autograd.grad(value.sum(), run.sources, allow_unused=True)
        finally:
            run.release()
        return run.squared, log_prob.detach()

    def _watch(self, name: str, module: nn.Module, form: Form) -> None:
        """Tells the current pass of the module's input and output, or of the child's input that counts as output."""
        module.register_forward_pre_hook(lambda _, inputs: self._pass.enter(name, inputs[0]))
        if form.before is None:
            module.register_forward_hook(lambda _, inputs, y: self._pass.leave(name, module, form, y))
        else:
            child = module.get_submodule(form.before)
            child.register_forward_pre_hook(lambda _, inputs: self._pass.leave(name, module, form, inputs[0]))


class _Pass:
    """One forward and backward: activations on the way there, squared norms on the way back.

    squared: for each b (N / b, layers), filled by the backward; zero for a layer that it does not reach.
    sources: the outputs nothing before which needs a gradient; the backward ends there.
    """

    def __init__(self, layers: Sequence[str], x: Tensor, batch_sizes: Sequence[int], objective: str) -> None:
        self.squared = {b: x.new_zeros(len(x) // b, len(layers)) for b in batch_sizes}
        self.sources: list[Tensor] = []
        self._columns = {name: column for column, name in enumerate(layers)}
        self._images = len(x)
        self._log_det = float(objective == "log_prob")
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}

    def enter(self, name: str, a: Tensor) -> None:
        """The layer `name` is given the input a (N or 1, C_in, H, W)."""
        if name in self._inputs:
            raise RuntimeError(f"no closed form covers {name}, which log_prob uses twice; take engine='generic'")
        self._inputs[name] = a.detach().expand(self._images, *a.shape[1:])

    def leave(self, name: str, module: nn.Module, form: Form, y: Tensor) -> Tensor:
        """It puts out y (N or 1, C_out, H, W); returns y so that each image has a gradient of its own."""
        if not y.requires_grad:
            y = y.expand(self._images, *y.shape[1:]).requires_grad_()
            self.sources.append(y)
        self._outputs[name] = y.detach()  # not y itself, which would hold its hook and be held by it
        y.register_hook(lambda g: self._take(name, module, form, g))
        return y

    def release(self) -> None:
        """Lets go of all activations."""
        self.sources.clear()
        self._inputs.clear()
        self._outputs.clear()

    def _take(self, name: str, module: nn.Module, form: Form, g: Tensor) -> None:
        """The backward has come to y with g = ∂ log p / ∂y."""
        seen = Seen(self._inputs.pop(name), self._outputs.pop(name), g, self._log_det)
        with torch.no_grad():
            for start, stop in self._parts(g):
                gradients = form.gradients(module, seen.images(start, stop))
                for parameter, gradient in zip(form.parameters, gradients, strict=True):
                    self._keep(f"{name}.{parameter}", gradient, start, stop)

    def _parts(self, g: Tensor) -> list[tuple[int, int]]:
        """Ranges of images that hold whole groups of every size and are small enough to stay in cache."""
        together = math.lcm(*self.squared)
        step = max(CACHED_NUMBERS // (g[0].numel() * together), 1) * together
        return [(start, min(start + step, len(g))) for start in range(0, len(g), step)]

    def _keep(self, layer: str, gradient: Gradient, start: int, stop: int) -> None:
        for b, norms in squared_norms(gradient, [*self.squared]).items():
            self.squared[b][start // b : stop // b, self._columns[layer]] = norms
