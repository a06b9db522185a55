"""The fast engine: one forward and one backward of the activations serve all layers, images and group sizes.

These are per-example gradient norms (Goodfellow 2015, arXiv 1510.01799; ghost norms, Li et al. 2021, arXiv 2110.05679),
of every layer apart and also of sums over groups. The weights are frozen, so that no weight gradient of the batch is
formed. Hooks turn each layer's input and output gradient into squared norms as the backward reaches it, by the layer's
closed form (see forms), and keep only those.

A closed form sees what goes through its layer, and nothing else. What would make it wrong is looked for in every pass,
and refused: a layer that is not called, or with what is not one input an image; weights that log p depends on by
another way, such as a log-determinant or an embedding that is also used as a matrix; an input changed in place.
"""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from immature_ood.density import DensityModel, Evaluated
from immature_ood.gradients.engine import BF16_NORMS, FP32, Measured, chosen_layers
from immature_ood.gradients.forms import FORMS, Form, Seen
from immature_ood.gradients.in_place import overwrite
from immature_ood.gradients.independence import alike, trial
from immature_ood.gradients.norms import Gradient, added, in_bfloat16, squared_norms
from immature_ood.layers import is_chosen

__all__ = ["ClosedForm", "Uncovered", "uncovered"]

CACHED_NUMBERS = 1 << 20  # of a layer's output worked on at once, so that what is made of it stays in cache
TRIALS = (2, 3)  # images tried at first: what is not one input an image, but as many by chance, is so in one of them


class Uncovered(ValueError):
    """The closed forms are not exact for a model; says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; take engine='generic'")
        self.why = why


def uncovered(model: DensityModel, layers: str = "all") -> list[str]:
    """The layers, of those chosen, that are not a parameter of exactly one module with a closed form."""
    modules = ((module, form_of(module)) for module in model.modules())
    claims = Counter(id(parameter) for module, form in modules if form for parameter in form.of(module).values())
    return [name for name, parameter in chosen_layers(model, layers).items() if claims[id(parameter)] != 1]


def form_of(module: nn.Module) -> Form | None:
    """The closed form of a module, if there is one for its settings and the module has parameters that it is for.

    There is none where the module was given another forward than that of its type.
    """
    form = FORMS.get(type(module))
    return form if form and "forward" not in vars(module) and form.holds(module) and form.of(module) else None


@dataclass(frozen=True)
class Watched:
    """A module with a closed form, and those of its parameters whose norms are asked for."""

    module: nn.Module
    form: Form
    asked: frozenset[str]

    @property
    def reads_input(self) -> bool:
        """Whether what is asked for reads the module's input."""
        return not self.asked.isdisjoint(self.form.input_for)

    @property
    def reads_output(self) -> bool:
        """Whether it reads the module's output."""
        return not self.asked.isdisjoint(self.form.output_for)


def watched(model: nn.Module, layers: str) -> dict[str, Watched]:
    """By name, the modules with a closed form that have any of the layers chosen."""
    found = {}
    for name, module in model.named_modules():
        if form := form_of(module):
            asked = frozenset(p for p in form.of(module) if is_chosen(f"{name}.{p}", layers))
            found[name] = Watched(module, form, asked)
    return {name: each for name, each in found.items() if each.asked}


class ClosedForm:
    """An Engine for a model's weights as they are now: it works on a frozen copy.

    precision: of PRECISIONS, of the products that norms of weights are made of, also where the device has no
    instructions for it: the same numbers are then had from float32.

    Raises Uncovered if the model has a layer without a closed form, or, when it is made or called, uses one in a way
    that the closed form does not see.
    """

    gradient_bytes = 0  # held of each image: none of all layers at once

    def __init__(
        self, model: DensityModel, objective: str = "log_prob", layers: str = "all", precision: str = FP32
    ) -> None:
        self._objective = model.objective(objective)
        self._precision = precision
        if without := uncovered(model, layers):
            raise Uncovered(f"no closed form covers {', '.join(without)}")
        self.layers = tuple(chosen_layers(model, layers))
        frozen = copy.deepcopy(model).requires_grad_(False)
        self._model = frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        overwrite(self._model)
        self._watched = watched(self._model, layers)
        self._exposed = {
            f"{name}.{parameter}": value
            for name, each in self._watched.items()
            if not each.form.log_det
            for parameter, value in expose(each.module)
            if parameter in each.asked
        }
        self._pass = self._new_pass(torch.empty(0), [])
        for name, each in self._watched.items():
            self._watch(name, each.module, each.form)
        for number in TRIALS:
            self._try(model, *trial(model, self._objective, number))

    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        return self._run(x, batch_sizes, noise)

    def _try(self, model: DensityModel, x: Tensor, noise: Tensor | None) -> None:
        """Raises Uncovered if the model, watched, fails or says something else of x than unwatched.

        So it may where it puts a layer of what all images share to use, since that is repeated for every image.
        """
        with torch.no_grad():
            expected = self._objective(model, x, noise).value
        try:
            value = self._run(x, [1], noise).evaluated.value
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise Uncovered(f"{type(model).__name__} fails where its layers are watched ({error})") from error
        if not alike(value, expected, torch.finfo(expected.dtype).eps ** 0.5, model):
            raise Uncovered(f"{type(model).__name__} says something else where its layers are watched")

    def _run(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None) -> Measured:
        run = self._pass = self._new_pass(x, batch_sizes)
        try:
            with torch.enable_grad():
                x = x.detach().contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.detach()
                value, statistics = self._objective(self._model, x, noise)
                run.check_uses()
                leaves = [*self._exposed.values(), *run.sources]
                gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
            self._check_exposed(gradients)
            run.finish()
        finally:
            run.release()
        statistics = {name: statistic.detach() for name, statistic in statistics.items()}
        return Measured(run.squared, Evaluated(value.detach(), statistics))

    def _new_pass(self, x: Tensor, batch_sizes: Sequence[int]) -> "_Pass":
        weight = next(self._model.parameters())  # of whose type norms are: x may be whole numbers
        squared = {b: weight.new_zeros(len(x) // b, len(self.layers)) for b in batch_sizes}
        return _Pass(self.layers, self._watched, len(x), squared, self._objective.log_det, self._precision)

    def _watch(self, name: str, module: nn.Module, form: Form) -> None:
        """Tells the current pass of the module's input and output, or of the child's input that counts as output."""
        module.register_forward_pre_hook(lambda _, *inputs: self._pass.enter(name, given(*inputs)), with_kwargs=True)
        if form.before is None:
            module.register_forward_hook(lambda _, inputs, y: self._pass.leave(name, y), prepend=True)
        else:
            child = module.get_submodule(form.before)
            child.register_forward_pre_hook(lambda _, inputs: self._pass.leave(name, inputs[0]))

    def _check_exposed(self, gradients: Sequence[Tensor | None]) -> None:
        """Raises Uncovered if there is a gradient of an exposed parameter."""
        known = zip(self._exposed, gradients, strict=False)  # the first of them
        if found := [name for name, gradient in known if gradient is not None]:
            raise Uncovered(f"log p depends on {', '.join(found)} other than through what the layer puts out")


def given(inputs: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> Tensor:
    """What a layer is called with, by place or by name."""
    return next(iter([*inputs, *named.values()]))


def expose(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters of a frozen module, of which log p then has a gradient only by other ways than the module's forward.

    Its forward is that of a twin with the same weights, frozen, and the module's own parameters are frozen no more.
    """
    frozen = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    twin = copy.deepcopy(module, frozen)
    module.forward = twin.forward
    return module.requires_grad_(True).named_parameters()


def made(gradient: Gradient | Callable[[], Gradient]) -> Gradient:
    """A gradient, from what a closed form gives."""
    return gradient() if callable(gradient) else gradient


class _Pass:
    """One forward and backward: activations on the way there, squared norms on the way back.

    A layer may be used several times, as where steps of a flow share their weights: its gradient is the sum of those
    of its uses, and its norms are taken when the backward has come to the last of them.

    squared: for each b (N / b, layers), zeros, filled by the backward; zero for a layer that it does not reach.
    sources: the outputs nothing before which needs a gradient; the backward ends there.
    """

    def __init__(
        self,
        layers: Sequence[str],
        watched: Mapping[str, Watched],
        images: int,
        squared: dict[int, Tensor],
        log_det: float,
        precision: str,
    ) -> None:
        self.squared = squared
        self.sources: list[Tensor] = []
        self._watched = watched
        self._columns = {name: column for column, name in enumerate(layers)}
        self._images = images
        self._log_det = log_det
        self._in_bfloat16 = precision == BF16_NORMS
        self._entered: dict[str, tuple[Tensor, int]] = {}
        self._uses: Counter[str] = Counter()
        self._activations: dict[tuple[str, int], tuple[Tensor, int, Tensor]] = {}
        self._seen: dict[str, list[Seen]] = {}

    def enter(self, name: str, a: Tensor) -> None:
        """The module `name` is given the input a (N or 1, ...)."""
        if a.shape[:1] not in ((1,), (self._images,)):
            raise Uncovered(f"{name} is given {len(a) if a.ndim else 0} inputs for {self._images} images")
        kept = a.detach().expand(self._images, *a.shape[1:]) if self._watched[name].reads_input else self._nothing(a)
        self._entered[name] = kept, a._version if self._watched[name].reads_input else 0

    def leave(self, name: str, y: Tensor) -> Tensor:
        """It puts out y (N or 1, ...); returns y so that each image has a gradient of its own."""
        if not y.requires_grad:
            y = y.expand(self._images, *y.shape[1:]).requires_grad_()
            self.sources.append(y)
        use = self._uses[name]
        self._uses[name] += 1
        # y detached, for y itself would hold its hook and be held by it
        kept = y.detach() if self._watched[name].reads_output else self._nothing(y)
        self._activations[name, use] = *self._entered.pop(name), kept
        y.register_hook(lambda g: self._take(name, use, g))
        return y

    def _nothing(self, like: Tensor) -> Tensor:
        """What stands for an activation that is not kept."""
        return like.new_empty(self._images, 0)

    def check_uses(self) -> None:
        """Raises Uncovered if a module was not called, so that nothing is known of its parameters' gradients, or if its
        input is no longer what it was."""
        if missing := [name for name in self._watched if not self._uses[name]]:
            raise Uncovered(f"the model does not call {', '.join(missing)}")
        for (name, _), (a, version, _) in self._activations.items():
            if a._version != version:
                raise Uncovered(f"the input of {name} is changed in place after it")

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
        a, _, y = self._activations.pop((name, use))
        self._seen.setdefault(name, []).append(Seen(a, y, g, self._log_det))
        if len(self._seen[name]) == self._uses[name]:
            self._measure(name)

    @torch.no_grad()
    def _measure(self, name: str) -> None:
        """Squared norms of the gradients of a module's parameters, from all that it saw."""
        watched, uses = self._watched[name], self._seen.pop(name)
        form = watched.form
        for start, stop in self._parts(uses):
            each = [form.gradients(watched.module, seen.images(start, stop)) for seen in uses]
            for parameter, gradients in zip(form.parameters, zip(*each, strict=True), strict=True):
                if parameter in watched.asked:
                    self._keep(f"{name}.{parameter}", added([*map(made, gradients)]), start, stop)

    def _parts(self, uses: Sequence[Seen]) -> list[tuple[int, int]]:
        """Ranges of images that hold whole groups of every size and are small enough to stay in cache."""
        together = math.lcm(*self.squared)
        numbers = sum(seen.g[0].numel() for seen in uses)
        step = max(CACHED_NUMBERS // (numbers * together), 1) * together
        return [(start, min(start + step, self._images)) for start in range(0, self._images, step)]

    def _keep(self, layer: str, gradient: Gradient, start: int, stop: int) -> None:
        gradient = in_bfloat16(gradient) if self._in_bfloat16 else gradient
        for b, norms in squared_norms(gradient, [*self.squared]).items():
            self.squared[b][start // b : stop // b, self._columns[layer]] = norms
