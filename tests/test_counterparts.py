"""Which studies may be compared with which, told before any job."""

import pytest

from immature_ood.counterparts import audit_faults, choice, counterparts, published_names
from immature_ood.study import Study

EPSILON = {"gradient_norms_epsilon": {"detector": "gradient_norms", "epsilon": 1e-10}}
MODEL = {"architecture": "glow", "blocks": 2}


def study(name="audit", datasets=("digits", "photos"), models=("glow",), **keys):
    given = datasets if isinstance(datasets, dict) else dict.fromkeys(datasets)
    return Study.parse({"name": name, "datasets": given, "epochs": [1], "models": dict.fromkeys(models, MODEL), **keys})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("audit-a", "audit-a", "audit-c"), "audits: 0.yaml and 1.yaml are both called a"),
        (("audit-a", "audit-c", "a"), "audits: 0.yaml and 2.yaml are both called a"),
    ],
)
def test_two_studies_of_one_name_cannot_be_told_apart(names, said):
    audits = [(f"{place}.yaml", study(name)) for place, name in enumerate(names)]
    assert audit_faults(study(), audits) == [said]
    assert [choice(study(), other) for _, other in audits][2] in ("a", "c")


def test_the_same_file_twice_is_refused():
    twice = [("a.yaml", study("audit-a"))] * 2
    assert audit_faults(study(), twice) == ["audits: a.yaml and a.yaml are both called a"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"detectors": EPSILON},
            "baselines.gradient_norms_epsilon: audit has no 'gradient_norms_epsilon' among its detectors; "
            "did you mean 'gradient_norms'?",
        ),
        (
            {"detectors": EPSILON, "baselines": {"gradient_norms_epsilon": "gradient_norm"}},
            "baselines.gradient_norms_epsilon: audit has no 'gradient_norm' among its detectors; "
            "did you mean 'gradient_norms'?",
        ),
        ({"models": ["flow"]}, "baselines.flow: audit has no 'flow' among its models; did you mean 'glow'?"),
        (
            {"datasets": {"digits": None, "photos": None, "copy": {"source": "photos", "stands_for": "photos"}}},
            "datasets: 2 of them stand for photos; which is to be compared with it?",
        ),
    ],
)
def test_what_has_no_counterpart_is_named(changed, said):
    assert audit_faults(study(), [("a.yaml", study("audit-a", **changed))]) == [f"audits: a.yaml: {said}"]


def test_what_is_called_otherwise_is_found():
    other = study(
        "audit-a",
        datasets={"digits": None, "copy": {"source": "photos", "stands_for": "photos"}},
        models=("flow",),
        baselines={"flow": "glow"},
    )
    assert audit_faults(study(), [("a.yaml", other)]) == []
    assert counterparts(other) == {"copy": "photos"}


@pytest.mark.parametrize(
    ("datasets", "names"),
    [
        ({"mine": {"stands_for": "cifar10"}}, {"mine": "cifar10"}),
        ({"cifar10": {"stands_for": "cifar10"}}, {"cifar10": "cifar10"}),  # its own name
        ({"cifar10": {}}, {"cifar10": "array"}),  # a name alone says nothing
        ({"mine": {"stands_for": "cifar10"}, "jpeg": {"stands_for": "mine"}}, {"mine": "cifar10", "jpeg": "cifar10"}),
        ({"a": {"stands_for": "b"}, "b": {"stands_for": "a"}}, {"a": "a", "b": "b"}),
    ],
)
def test_published_tables_know_a_file_by_what_it_stands_for(datasets, names):
    arrays = {name: {"source": "array", "path": f"{name}.npz", **options} for name, options in datasets.items()}
    assert published_names(study(datasets={**arrays, "digits": None})) == {**names, "digits": "digits"}
