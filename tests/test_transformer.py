"""The Transformer of tokens, against torch's own and against sums over all sequences."""

import itertools
import math

import pytest
import torch
from torch import nn

from immature_ood.gradients.closed_form import uncovered
from immature_ood.models import make_model
from immature_ood.models.transformer import Config
from immature_ood.study import Study, StudyError

SMALL = Config(width=12, depth=2, heads=3, vocabulary=5)
LENGTH = 4


def made(config=SMALL, length=LENGTH, moved=0.3):
    """In float64, its weights moved so that nothing is as it starts."""
    generator = torch.Generator().manual_seed(0)
    model = make_model(config, (length,), generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += moved * torch.randn(parameter.shape, generator=generator)
    return model


def every_sequence(vocabulary=5, length=LENGTH):
    return torch.tensor([*itertools.product(range(vocabulary), repeat=length)])


def test_the_probabilities_of_all_sequences_add_up_to_one():
    assert made().log_prob(every_sequence()).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_log_prob_is_that_of_torchs_own_transformer():
    model, x = made(), every_sequence()[::7]
    layer = nn.TransformerEncoderLayer(12, 3, 48, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double()
    for block, copy in zip(model.blocks, theirs.layers, strict=True):
        attention = block.attention
        parts = [attention.query, attention.key, attention.value]
        bias = [attention.query.bias, torch.zeros(12), attention.value.bias]
        state = {
            "self_attn.in_proj_weight": torch.cat([part.weight for part in parts]),
            "self_attn.in_proj_bias": torch.cat(bias),
        }
        named = {"self_attn.out_proj": attention.out, "linear1": block.wide, "linear2": block.narrow}
        named |= {"norm1": block.before_attention, "norm2": block.before_network}
        for name, module in named.items():
            state |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
        copy.load_state_dict(state)
    before = torch.cat([torch.full((len(x), 1), 5), x[:, :-1]], dim=1)
    embedded = model.tokens.weight[before] + model.places.weight
    hidden = theirs(embedded, mask=nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64))
    nats = nn.CrossEntropyLoss(reduction="none")(model.output(model.before_output(hidden)).transpose(1, 2), x)
    torch.testing.assert_close(model.log_prob(x), -nats.sum(dim=1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("place", range(LENGTH))
def test_what_comes_later_changes_nothing_before(place):
    model = made()
    before = torch.tensor([[5, 1, 2, 3]])
    changed = before.clone()
    changed[0, place] = 0
    ours, theirs = model.logits(before)[0], model.logits(changed)[0]
    assert torch.equal(ours[:place], theirs[:place])
    assert (ours[place:] != theirs[place:]).any(dim=1).all()  # and all that comes after knows of it


def test_its_layers_have_closed_forms_and_none_is_dead():
    model = made(Config(width=8, depth=1, heads=2), 6)
    assert uncovered(model) == []
    assert model.dead_layers == frozenset()
    assert not [name for name, _ in model.layers() if name.endswith("key.bias")]


def test_an_untrained_model_is_nearly_uniform():
    model = make_model(Config(), (16,), torch.Generator().manual_seed(0))
    x = model.example(20, torch.Generator().manual_seed(1))
    assert -model.log_prob(x).mean().item() / 16 == pytest.approx(math.log(256), rel=0.01)


def test_samples_are_as_frequent_as_they_are_likely():
    model = made(Config(width=4, depth=1, heads=1, vocabulary=3), 3)
    number = 4000
    drawn = model.sample(number, torch.Generator().manual_seed(0))
    places = (drawn * torch.tensor([9, 3, 1])).sum(dim=1)
    found = torch.bincount(places, minlength=27).double()
    expected = number * model.log_prob(every_sequence(3, 3)).exp().detach()
    assert ((found - expected) ** 2 / expected).sum() < 60  # of chi-squared with 26 degrees of freedom: 0.02 %


def test_samples_without_temperature_take_the_likeliest_token():
    model = made()
    drawn = model.sample(2, torch.Generator().manual_seed(0), temperature=0)
    before = torch.cat([torch.full((2, 1), 5), drawn[:, :-1]], dim=1)
    assert torch.equal(model.logits(before).argmax(dim=2), drawn)


@pytest.mark.parametrize(
    ("model", "length", "message"),
    [
        ({"width": 10, "heads": 4}, 8, "models.transformer.heads: the width, 10, is not a multiple of 4"),
        ({}, 1, "models.transformer.architecture: a transformer attends to what came before, but data.length is 1"),
        (
            {"vocabulary": 128},
            8,
            "transformer.vocabulary: the data has 256 tokens, a model of 128 not all",
        ),
        ({"vocabulary": 1}, 8, "models.transformer.vocabulary: Input should be greater than or equal to 2"),
    ],
)
def test_a_size_that_cannot_be_is_refused(model, length, message):
    study = {
        "name": "s",
        "data": {"kind": "tokens", "length": length},
        "datasets": {"python_source": {}, "python_docs": {}},
        "models": {"transformer": model},
        "epochs": [0],
    }
    with pytest.raises(StudyError) as said:
        Study.parse(study)
    assert message in str(said.value)
