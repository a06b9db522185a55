"""The fast engine: one forward and one backward of the activations serve all layers, images and group sizes.

The weights are frozen, so that no weight gradient of the batch is formed. Hooks turn each layer's input and output
gradient into squared norms as the backward reaches it, by the layer's closed form, and keep only those.
"""

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from immature_ood.density import DensityModel
from immature_ood.gradients.forms import FORMS, Form, Seen
from immature_ood.gradients.norms import Gradient, added, squared_norms

__all__ = ["ClosedForm", "uncovered"]

CACHED_NUMBERS = 1 << 20  # of a layer's output worked on at once, so that what is made of it stays in cache


def uncovered(model: DensityModel) -> list[str]:
    """The layers that are not a parameter of exactly one module with a closed form."""
    claims = Counter(
        id(module.get_parameter(name))
        for module in model.modules()
        if (form := form_of(module))
        for name in form.parameters
    )
    return [name for name, parameter in model.layers() if claims[id(parameter)] != 1]


def form_of(module: nn.Module) -> Form | None:
    """The closed form of a module, if there is one and the module has all parameters that it is for."""
    form = FORMS.get(type(module))
    return form if form and {*form.parameters} <= {name for name, _ in module.named_parameters()} else None


class ClosedForm:
    """The engine for one model, with its weights as they are now, and objective: it works on a frozen copy.

    Called with x (N, C, H, W) and batch sizes b: squared norms (N / b, layers) for each b, and log p (N,) in nats.
    Raises ValueError if the model has a layer without a closed form, RuntimeError if it does not call one, or with
    anything but one input an image.
    """

    gradient_bytes = 0  # held of each image: none of all layers at once

    def __init__(self, model: DensityModel, objective: str = "log_prob") -> None:
        self._objective = objective
        if without := uncovered(model):
            raise ValueError(f"no closed form covers {', '.join(without)}; take engine='generic'")
        self._layers = [name for name, _ in model.layers()]
        frozen = copy.deepcopy(model).requires_grad_(False)
        self._model = frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        modules = self._model.named_modules()
        self._watched = {name: (module, form) for name, module in modules if (form := form_of(module))}
        self._pass = self._new_pass(torch.empty(0), [])
        for name, (module, form) in self._watched.items():
            self._watch(name, module, form)

    def __call__(self, x: Tensor, batch_sizes: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
        run = self._pass = self._new_pass(x, batch_sizes)
        try:
            with torch.enable_grad():
                x = x.detach().contiguous(memory_format=torch.channels_last)
                value, log_prob = self._model.objective(x, self._objective)
                run.check_all_called()
                torch.autograd.grad(value.sum(), run.sources, allow_unused=True)
            run.finish()
        finally:
            run.release()
        return run.squared, log_prob.detach()

    def _new_pass(self, x: Tensor, batch_sizes: Sequence[int]) -> "_Pass":
        return _Pass(self._layers, self._watched, x, batch_sizes, self._objective)

    def _watch(self, name: str, module: nn.Module, form: Form) -> None:
        """Tells the current pass of the module's input and output, or of the child's input that counts as output."""
        module.register_forward_pre_hook(lambda _, inputs: self._pass.enter(name, inputs[0]))
        if form.before is None:
            module.register_forward_hook(lambda _, inputs, y: self._pass.leave(name, y))
        else:
            child = module.get_submodule(form.before)
            child.register_forward_pre_hook(lambda _, inputs: self._pass.leave(name, inputs[0]))


class _Pass:
    """One forward and backward: activations on the way there, squared norms on the way back.

    A layer may be used several times, as where steps of a flow share their weights: its gradient is the sum of those
    of its uses, and its norms are taken when the backward has come to the last of them.

    squared: for each b (N / b, layers), filled by the backward; zero for a layer that it does not reach.
    sources: the outputs nothing before which needs a gradient; the backward ends there.
    """

    def __init__(
        self,
        layers: Sequence[str],
        watched: Mapping[str, tuple[nn.Module, Form]],
        x: Tensor,
        batch_sizes: Sequence[int],
        objective: str,
    ) -> None:
        self.squared = {b: x.new_zeros(len(x) // b, len(layers)) for b in batch_sizes}
        self.sources: list[Tensor] = []
        self._watched = watched
        self._columns = {name: column for column, name in enumerate(layers)}
        self._images = len(x)
        self._log_det = float(objective == "log_prob")
        self._entered: dict[str, Tensor] = {}
        self._uses: Counter[str] = Counter()
        self._activations: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self._seen: dict[str, list[Seen]] = {}

    def enter(self, name: str, a: Tensor) -> None:
        """The module `name` is given the input a (N or 1, ...)."""
        if len(a) not in (1, self._images):
            raise RuntimeError(f"{name} is given {len(a)} inputs for {self._images} images; take engine='generic'")
        self._entered[name] = a.detach().expand(self._images, *a.shape[1:])

    def leave(self, name: str, y: Tensor) -> Tensor:
        """It puts out y (N or 1, ...); returns y so that each image has a gradient of its own."""
        if not y.requires_grad:
            y = y.expand(self._images, *y.shape[1:]).requires_grad_()
            self.sources.append(y)
        use = self._uses[name]
        self._uses[name] += 1
        # y detached, for y itself would hold its hook and be held by it
        self._activations[name, use] = self._entered.pop(name), y.detach()
        y.register_hook(lambda g: self._take(name, use, g))
        return y

    def check_all_called(self) -> None:
        """Raises RuntimeError if a module was not called, so that nothing is known of its parameters' gradients."""
        if missing := [name for name in self._watched if not self._uses[name]]:
            raise RuntimeError(f"the model does not call {', '.join(missing)}; take engine='generic'")

    def finish(self) -> None:
        """Takes the norms of layers with uses that the backward did not come to, whose gradients are zero."""
        for name in [*self._seen]:
            self._measure(name)

    def release(self) -> None:
        """Lets go of all activations."""
        self.sources.clear()
        self._entered.clear()
        self._activations.clear()
        self._seen.clear()

    def _take(self, name: str, use: int, g: Tensor) -> None:
        """The backward has come to the output of one use, with g the gradient of the objective there."""
        self._seen.setdefault(name, []).append(Seen(*self._activations.pop((name, use)), g, self._log_det))
        if len(self._seen[name]) == self._uses[name]:
            self._measure(name)

    @torch.no_grad()
    def _measure(self, name: str) -> None:
        """Squared norms of the gradients of a module's parameters, from all that it saw."""
        module, form = self._watched[name]
        uses = self._seen.pop(name)
        for start, stop in self._parts(uses):
            each = [form.gradients(module, seen.images(start, stop)) for seen in uses]
            for parameter, gradients in zip(form.parameters, zip(*each, strict=True), strict=True):
                self._keep(f"{name}.{parameter}", added(gradients), start, stop)

    def _parts(self, uses: Sequence[Seen]) -> list[tuple[int, int]]:
        """Ranges of images that hold whole groups of every size and are small enough to stay in cache."""
        together = math.lcm(*self.squared)
        numbers = sum(seen.g[0].numel() for seen in uses)
        step = max(CACHED_NUMBERS // (numbers * together), 1) * together
        return [(start, min(start + step, self._images)) for start in range(0, self._images, step)]

    def _keep(self, layer: str, gradient: Gradient, start: int, stop: int) -> None:
        for b, norms in squared_norms(gradient, [*self.squared]).items():
            self.squared[b][start // b : stop // b, self._columns[layer]] = norms
