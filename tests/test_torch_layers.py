"""Layers of torch itself: the closed forms against the gradient of every image by torch.func, and what they refuse."""

import logging
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from immature_ood.density import DensityModel
from immature_ood.gradients import make_engine
from immature_ood.gradients.closed_form import ClosedForm, Uncovered
from immature_ood.gradients.generic import Generic

SHAPE = (4, 6, 5)
SIZES = (1, 2, 3)


class Plain(DensityModel):
    """A density of one module and what is made of its output; its weights are drawn anew, so that none is zero."""

    def __init__(self, layer, forward=lambda layer, x: layer(x), shape=SHAPE, seed=0):
        super().__init__(shape)
        self.layer, self._forward = layer.double(), forward
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter.data, std=0.5, generator=generator)

    def log_prob(self, x):
        y = self._forward(self.layer, x)
        return torch.tanh(y + 0.3 * y**2).flatten(1).sum(dim=1)

    def sample(self, number, generator, temperature=1.0):
        raise NotImplementedError


def images(number=6, shape=SHAPE, seed=1):
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5


def tokens(x, words=5):
    """Numbers in [−0.5, 0.5) → whole numbers 0…words − 1."""
    return ((x + 0.5) * words).long()


def assert_exact(model, x=None):
    """The model takes the closed forms, and they say what torch.func says; all layers are alive."""
    x = images(shape=model.shape) if x is None else x
    engine = make_engine(model)
    assert isinstance(engine, ClosedForm)
    found = engine(x, SIZES)
    expected = Generic(model)(x, SIZES)
    torch.testing.assert_close(found.evaluated.value, expected.evaluated.value, rtol=1e-10, atol=1e-12)
    for b in SIZES:
        assert expected.squared[b].any(dim=0).all()
        torch.testing.assert_close(found.squared[b], expected.squared[b], rtol=1e-9, atol=1e-24)


def in_order(*calls):
    """A function of a layer and x that does nothing but what the calls do one after another."""

    def forward(layer, x):
        for call in calls:
            x = call(layer, x)
        return x

    return forward


CONVOLUTIONS = {
    "same": {"kernel_size": 3, "padding": "same"},
    "same, even kernel": {"kernel_size": (2, 4), "padding": "same"},
    "same, dilation": {"kernel_size": (3, 2), "padding": "same", "dilation": (2, 3)},
    "valid": {"kernel_size": (3, 1), "padding": "valid"},
    "1×1": {"kernel_size": 1},
    "1×1, padding": {"kernel_size": 1, "padding": 1},
    "plain": {"kernel_size": 5, "padding": 2},
    "stride": {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0)},
    "dilation": {"kernel_size": 2, "dilation": (3, 1), "stride": 2, "padding": 2},
    "groups": {"kernel_size": 3, "groups": 2, "stride": 2, "padding": 1},
    "depthwise": {"kernel_size": 3, "groups": 4, "padding": "same"},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("channels", [8, 4], ids=["more out", "no more out"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions(options, bias, channels):
    assert_exact(Plain(nn.Conv2d(4, channels, bias=bias, **options)))


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.sampled_from([1, 2]),
    channels=st.sampled_from([2, 6]),
    transposed=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_convolutions_of_any_settings(transposed, channels, seed, **options):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    model = Plain(
        kind(4, channels, **{"kernel_size" if k == "kernel" else k: v for k, v in options.items()}), seed=seed
    )
    assert_exact(model, images(seed=seed))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": (2, 3), "stride": 1, "dilation": 3, "output_padding": 2, "padding": 1},
        {"kernel_size": 2, "groups": 2, "bias": False},
    ],
    ids=["output padding", "more output padding than stride", "groups"],
)
def test_transposed_convolutions(options):
    assert_exact(Plain(nn.ConvTranspose2d(4, 6, **options)))


def test_the_size_of_a_transposed_convolution_may_be_given_at_the_call():
    layer = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1)
    assert_exact(Plain(layer, lambda layer, x: layer(x, output_size=(12, 10))))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 3, padding="same"),
        nn.Conv1d(4, 6, 4, stride=2, padding=1, dilation=2, groups=2),
        nn.Conv1d(4, 6, 1, bias=False),
        nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1),
    ],
    ids=str,
)
def test_convolutions_of_sequences(layer):
    assert_exact(Plain(layer, lambda layer, x: layer(x.flatten(2))))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("start", [0, 1, 2], ids=["(N, F)", "(N, P, F)", "(N, P, Q, F)"])
def test_linear_layers(start, bias):
    """Of inputs with any number of positions."""
    features = {0: 120, 1: 30, 2: 5}[start]
    assert_exact(Plain(nn.Linear(features, 7, bias=bias), lambda layer, x: layer(x.flatten(start + 1))))


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 30), (120,)], ids=str)
def test_group_norm(number, shape):
    layer = nn.GroupNorm(number, shape[0], eps=0.01)
    assert_exact(Plain(layer, lambda layer, x: layer(x.reshape(len(x), *shape))))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [(4, 6, 5), (6, 5), (5,)], ids=str)
def test_layer_norm(shape, bias):
    assert_exact(Plain(nn.LayerNorm(shape, eps=0.01, bias=bias)))


@pytest.mark.parametrize("padding", [None, 0, -1])
@pytest.mark.parametrize("positions", [(), (3,), (4, 6, 5)], ids=str)
def test_embeddings(positions, padding):
    def forward(layer, x):
        numbers = tokens(x).flatten(1)[:, : torch.Size(positions).numel()]
        return layer(numbers.reshape(len(x), *positions)) + 0.1

    assert_exact(Plain(nn.Embedding(5, 3, padding_idx=padding), forward), images(12))


def test_norms_without_parameters_are_no_layers():
    layers = nn.Sequential(
        nn.GroupNorm(2, 4, affine=False), nn.Conv2d(4, 3, 1), nn.LayerNorm(5, elementwise_affine=False)
    )
    assert_exact(Plain(layers))


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        (nn.Conv2d(4, 4, 3, padding="same", groups=2), lambda layer, x: torch.sin(layer(x))),
        (nn.ConvTranspose2d(4, 4, 3, padding=1), lambda layer, x: torch.sin(layer(x))),
        (nn.Linear(5, 5), lambda layer, x: torch.sin(layer(x))),
        (nn.GroupNorm(2, 4), lambda layer, x: layer(x + x**2)),
        (nn.LayerNorm(5), lambda layer, x: layer(x + x**2)),
        (nn.Embedding(5, 5), lambda layer, x: x + layer(tokens(torch.tanh(x) / 2)).mean(dim=4)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("uses", [2, 3])
def test_a_layer_used_several_times(layer, call, uses):
    """The embedding's numbers change from use to use, with the sign of what it put out."""
    assert_exact(Plain(layer, in_order(*[call] * uses)))


def test_a_layer_may_be_called_by_name_and_with_what_all_images_share():
    def forward(layer, x):
        return layer["weight"](input=x.flatten(1, 2)) + layer["place"](torch.arange(24)[None])

    assert_exact(Plain(nn.ModuleDict({"place": nn.Embedding(24, 3), "weight": nn.Linear(5, 3)}), forward))


def test_hooks_of_the_model_are_kept():
    """A pre-hook's input is what the layer is given; a hook's output is no longer the layer's."""
    layer = nn.Linear(5, 3)
    layer.register_forward_pre_hook(lambda layer, inputs: (inputs[0] ** 2,))
    layer.register_forward_hook(lambda layer, inputs, y: 3 * y**3)
    assert_exact(Plain(layer))


def test_frozen_parameters_are_layers_as_any_other():
    """The norms are of all of a model's parameters, whether they are trained or not."""
    model = Plain(nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)))
    model.layer[0].requires_grad_(False)
    assert_exact(model)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]


class Conditioned(Plain):
    """A residual network whose channels are shifted by what an embedding of the image's brightness says."""

    def __init__(self, shape=SHAPE, width=8):
        layers = {
            "enter": nn.Conv2d(shape[0], width, 3, padding=1),
            "norm": nn.GroupNorm(2, width),
            "inner": nn.Conv2d(width, width, 3, padding=1, groups=2, bias=False),
            "brightness": nn.Embedding(8, 6),
            "shift": nn.Linear(6, width),
            "down": nn.Conv2d(width, 2 * width, 2, stride=2),
            "up": nn.ConvTranspose2d(2 * width, shape[0], 2, stride=2),
            "leave": nn.LayerNorm(2 * (shape[2] // 2)),
        }
        super().__init__(nn.ModuleDict(layers), None, shape)

    def log_prob(self, x):
        layer = self.layer
        brightness = (4 + 40 * x.mean(dim=(1, 2, 3))).long().clamp(0, 7)
        h = layer["enter"](x) + layer["shift"](layer["brightness"](brightness))[:, :, None, None]
        for _ in range(2):
            h = h + layer["inner"](torch.relu(layer["norm"](h)))
        y = layer["leave"](layer["up"](torch.tanh(layer["down"](h))))
        return torch.tanh(y).flatten(1).sum(dim=1)


def test_a_model_of_many_layers():
    assert_exact(Conditioned().double())


def test_single_precision_differs_by_rounding():
    """The bias before the layer norm moves nothing: its gradient is rounding alone."""
    model, x = Conditioned().double(), images()
    exact = ClosedForm(model)(x, SIZES).squared
    single = ClosedForm(model.float())(x.float(), SIZES).squared
    for b in SIZES:
        torch.testing.assert_close(single[b].double(), exact[b], rtol=1e-4, atol=1e-10)


def plainly(layer, x):
    return layer(x)


def with_volume(layer, x):
    return layer(x).flatten(1) + torch.linalg.slogdet(layer.weight).logabsdet


def with_another_forward(layer):
    layer.forward = lambda x: (x @ layer.weight.mT + layer.bias) ** 2
    return layer


def tied(layer, x):
    return layer(tokens(x)) @ layer.weight.mT


REFUSED = {
    "another padding": (
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        plainly,
        "no closed form covers layer.w",
    ),
    "embedding with a greatest norm": (
        nn.Embedding(5, 3, max_norm=1.0),
        lambda layer, x: torch.nn.functional.embedding(tokens(x), layer.weight),
        "no closed form covers layer.weight",
    ),
    "subclass": (type("Mine", (nn.Linear,), {})(5, 5), plainly, "no closed form covers layer.weight, layer.bias"),
    "another forward": (
        with_another_forward(nn.Linear(5, 5)),
        plainly,
        "no closed form covers layer.weight, layer.bias",
    ),
    "parametrised": (
        nn.utils.parametrizations.weight_norm(nn.Linear(5, 5)),
        plainly,
        "no closed form covers layer.bias, layer.parametrizations",
    ),
    "batch norm": (nn.BatchNorm2d(4).eval(), plainly, "no closed form covers layer.weight, layer.bias"),
    "attention": (
        nn.MultiheadAttention(5, 1, batch_first=True),
        lambda layer, x: layer(x.flatten(1, 2), x.flatten(1, 2), x.flatten(1, 2))[0],
        "no closed form covers layer.in_proj_weight",
    ),
    "log-determinant": (nn.Linear(5, 5), with_volume, "log p depends on layer.weight other than through"),
    "tied embedding": (nn.Embedding(5, 3), tied, "log p depends on layer.weight other than through"),
    "not called": (nn.Linear(5, 5), lambda layer, x: x @ layer.weight.mT + layer.bias, "does not call layer"),
    "positions as images": (
        nn.Embedding(4, 5),
        lambda layer, x: x * layer(torch.arange(4))[:, None],
        "layer is given 4 inputs for 2 images",
    ),
    "2 positions": (
        nn.Embedding(2, 5),
        lambda layer, x: x[:, :2] * layer(torch.arange(2))[:, None],
        "layer is given 2 inputs for 3 images",
    ),
    "shared by all images, of another order": (
        nn.Embedding(1, 5),
        lambda layer, x: x * layer(torch.arange(1)),
        "Plain fails where its layers are watched",
    ),
    "shared by all images, of another order, with one row": (
        nn.Embedding(1, 5),
        lambda layer, x: x[:, :, :1] * layer(torch.arange(1)),
        "Plain says something else where its layers are watched",
    ),
    "images in several rows": (
        nn.Linear(5, 5),
        lambda layer, x: layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
        "layer is given 8 inputs for 2 images",
    ),
}


@pytest.mark.parametrize(("layer", "forward", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_exact_takes_the_generic_engine_and_says_why(layer, forward, message, caplog):
    model, x = Plain(layer, forward), images()
    with caplog.at_level(logging.WARNING):
        engine = make_engine(model)
    assert isinstance(engine, Generic)
    assert re.search(rf"Plain takes the generic engine, which is slower: .*{message}", caplog.text)
    parameters = [parameter for _, parameter in model.layers()]
    for b, squared in engine(x, SIZES).squared.items():
        gradients = [torch.autograd.grad(model.log_prob(group).sum(), parameters) for group in x.split(b)]
        expected = torch.stack([torch.stack([g.square().sum() for g in of_group]) for of_group in gradients])
        torch.testing.assert_close(squared, expected, rtol=1e-9, atol=1e-20)
    with pytest.raises(Uncovered, match=f"{message}.*; take engine='generic'"):
        make_engine(model, "closed-form")


def test_an_input_that_is_changed_in_place_is_refused():
    """As it is in training, by torch; the weights of the closed forms are frozen, so that torch would not see it."""

    def forward(layer, x):
        h = x + 1
        y = layer(h)
        return h.mul_(2) + y

    model = Plain(nn.Linear(5, 5), forward)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model.log_prob(images()).sum().backward()
    with pytest.raises(Uncovered, match="the input of layer is changed in place after it; take engine='generic'"):
        ClosedForm(model)


@pytest.mark.parametrize("engine", [None, "closed-form", "generic"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False)),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval(),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout()),
    ],
    ids=["batch norm", "batch norm without weights", "batch norm without running statistics", "dropout"],
)
def test_a_model_that_does_not_treat_images_one_by_one_is_refused(layer, engine):
    """By every engine: what the gradient of one image is depends on the batch, which changes with the chunk."""
    with pytest.raises(ValueError, match="Plain: log_prob of an image changes with the images beside it"):
        make_engine(Plain(layer), engine)


def test_batch_norm_and_dropout_do_no_harm_in_eval_mode():
    assert_exact(Plain(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False), nn.Dropout())).eval())
