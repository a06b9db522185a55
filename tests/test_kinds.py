"""What every kind of data promises; and one that is no images, from its data set to scores and a figure."""

import json
import math
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from immature_ood import datasets, detectors, plots, registry, training
from immature_ood.checkpoints import Run, load_model
from immature_ood.density import bits_per_dim
from immature_ood.detectors.likelihood import Config as Likelihood
from immature_ood.extraction import Split, extract
from immature_ood.kinds.images import Config as Images
from immature_ood.metrics import auroc
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.sampling import draw
from immature_ood.storage import StorageError, load_split
from immature_ood.study import FeatureConfig, Study, StudyError, TrainingConfig

OWN = Path(__file__).parent / "tokens"
KIND, SOURCE, MODEL = (f"own/{name}.py" for name in ("tokens", "counting", "bigram"))
LENGTH = 16
SIZES = {"train": 200, "fit": 40, "test": 40}
STUDY = {
    "name": "tokens",
    "data": {"kind": KIND, "length": LENGTH, "vocabulary": 7},
    "datasets": {"ones": {"source": SOURCE, **SIZES}, "threes": {"source": SOURCE, "step": 3, **SIZES}},
    "models": {"bigram": {"architecture": MODEL, "vocabulary": 7}},
    "epochs": [0, 1, 3],
    "training": {"batch_size": 20, "learning_rate": 0.1, "warmup_epochs": 0},
    "features": {"batch_sizes": [1, 5], "fit_images": 40, "test_images": 40},
}


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """The files of one's own lie beside where the process runs, as a study names them."""
    shutil.copytree(OWN, tmp_path / "own", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)


def kind(name):
    if name == "tokens":
        return registry.parse("kinds", {"kind": KIND, "length": LENGTH, "vocabulary": 7})
    if name == "text":
        return registry.parse("kinds", {"kind": "tokens", "length": LENGTH})
    return Images(channels=3 if name == "colour" else 1, side=4)


every_kind = pytest.mark.parametrize("data", ["grey", "colour", "tokens", "text"], indirect=True)


@pytest.fixture
def data(request, own):
    return kind(request.param)


def some(data, number=5):
    drawn = np.random.default_rng(0).integers(0, data.levels, (number, *data.shape))
    return drawn.astype(data.storage)


# What every kind promises --------------------------------------------------------------------------------------------


@every_kind
def test_what_is_stored_comes_back_from_what_a_model_takes(data):
    stored = torch.from_numpy(some(data))
    noise = torch.full(stored.shape, 2**16 - 1, dtype=torch.int32) if data.noisy else None
    for given in (None, noise):
        back, outside = data.to_stored(data.to_input(stored, given))
        assert (back.dtype, outside) == (stored.dtype, 0)
        assert torch.equal(back, stored)


@every_kind
def test_numbers_out_of_range_are_brought_in_and_counted(data):
    x = data.to_input(torch.from_numpy(some(data)))
    back, outside = data.to_stored(x + 1000)
    assert outside == x.numel()
    assert (back == data.levels - 1).all()


@every_kind
def test_the_uniform_density_has_the_logarithm_of_the_levels_in_bits(data):
    nats = torch.tensor(-data.dimensions * math.log(data.levels))
    assert bits_per_dim(nats, data.dimensions).item() == pytest.approx(math.log2(data.levels))


@every_kind
@pytest.mark.parametrize("wrong", ["type", "shape", "one number", "no samples' axis"])
def test_what_is_not_of_the_kind_is_refused(data, wrong):
    stored = some(data)
    data.check(stored)
    data.check(stored[:0])
    faulty = {
        "type": stored.astype(np.float32),
        "shape": np.concatenate([stored, stored], axis=-1),
        "one number": stored.ravel()[0],
        "no samples' axis": stored[0],
    }[wrong]
    with pytest.raises(ValueError, match="must be uint8"):
        data.check(faulty)


def test_tokens_that_are_not_of_the_vocabulary_are_refused(tmp_path):
    data = kind("tokens")
    np.save(tmp_path / "test.npy", np.full((3, LENGTH), 7, np.uint8))
    with pytest.raises(StorageError, match=r"test\.npy: must be in 0 … 6, not in 7 … 7; delete it and rerun"):
        load_split(tmp_path / "test.npy", data.check)


@every_kind
def test_samples_are_drawn_and_the_figure_is_the_same_twice(data, tmp_path):
    written = []
    for name in ("first.png", "second.png"):
        figure = plots.samples(data, some(data), {0: some(data, 3), 2: some(data, 4)}, "set")
        assert isinstance(figure, Figure)
        plots.save(figure, tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    titles = "".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
    assert f"training {data.samples}" in titles.replace("\n", " ")


# The study's section -------------------------------------------------------------------------------------------------

PICTURES = {"name": "s", "datasets": {"digits": {}, "glyphs": {}}, "epochs": [1]}


@pytest.mark.parametrize("key", ["data", "image"])
def test_the_section_has_two_names(key):
    section = {"channels": 3, "side": 32}
    assert Study.parse({**PICTURES, key: section}).data == Images(**section)
    assert Study.parse(PICTURES).data == Images()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**PICTURES, "image": {"sid": 3}}, "image.sid: unknown key; did you mean 'side'?"),
        ({**PICTURES, "data": {"sid": 3}}, "data.sid: unknown key; did you mean 'side'?"),
        ({**PICTURES, "data": {"side": 0}}, "data.side: Input should be greater than 0, got 0"),
        ({**PICTURES, "image": {"side": 0}}, "image.side: Input should be greater than 0, got 0"),
        ({**PICTURES, "image": {}, "data": {}}, "image: is another name of data, which is there; leave one out"),
        ({**PICTURES, "data": {"kind": "imges"}}, "data.kind: unknown name 'imges'; did you mean 'images'?"),
        ({**PICTURES, "data": {"kind": "a/b.py"}}, "data.kind: there is no file a/b.py"),
        ({**PICTURES, "data": {"kind": 3}}, "data.kind: Input should be a valid string"),
        ({**PICTURES, "imag": {}}, "imag: unknown key; did you mean 'image'?"),
        ({**STUDY, "data": {"kind": KIND, "lenght": 6}}, "data.lenght: unknown key; did you mean 'length'?"),
        ({**STUDY, "data": {"kind": KIND, "vocabulary": 1}}, "data.vocabulary: Input should be greater than or equal"),
        ({**STUDY, "models": {"glow": {}}}, f"models.glow.architecture: glow is for images, but data.kind is {KIND}"),
        (
            {**STUDY, "datasets": {**STUDY["datasets"], "digits": {}}},
            f"datasets.digits.source: digits is for images, but data.kind is {KIND}",
        ),
        (
            {**PICTURES, "datasets": {**PICTURES["datasets"], **STUDY["datasets"]}},
            f"datasets.ones.source: {SOURCE} is for tokens, but data.kind is images",
        ),
    ],
)
def test_what_is_wrong_is_said_by_the_key(config, message):
    with pytest.raises(StudyError) as said:
        Study.parse(config)
    assert message in str(said.value)


@pytest.mark.parametrize(
    "change", [{"jpeg_quality": 75}, {"inverted": True}, {"augmentation": {"flip": True}}], ids=str
)
@pytest.mark.parametrize(
    "section",
    [{"source": SOURCE}, {"samples_of": {"dataset": "ones", "model": "bigram", "epoch": 1}}],
    ids=["read", "drawn"],
)
def test_tokens_cannot_be_changed_as_images_are(section, change):
    study = {**STUDY, "datasets": {**STUDY["datasets"], "more": {**section, **change, "train": 200}}}
    with pytest.raises(StudyError, match=rf"datasets\.more\.{next(iter(change))}.*: unknown key"):
        Study.parse(study)


def test_planning_a_study_of_tokens_imports_no_torch():
    program = f"import sys; from immature_ood.study import Study; Study.parse({STUDY!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# From a data set to scores and a figure ------------------------------------------------------------------------------


def test_tokens_go_all_the_way(tmp_path):
    study = Study.parse(STUDY)
    assert json.loads(json.dumps(study.model_dump()))["data"] == {"kind": KIND, "length": LENGTH, "vocabulary": 7}
    stored = {name: made(study, name, tmp_path) for name in study.datasets}
    for split, array in stored["ones"].items():  # some sequences are in two splits by chance, and left out
        assert array.shape[1:] == (LENGTH,)
        assert 0.9 * SIZES[split] < len(array) <= SIZES[split]

    run = Run("ones", "bigram", study.models["bigram"], study.training, study.data, 0, 1, "hash", {})
    state = training.start(run, stored["ones"]["train"])
    rows = []
    training.train(
        state,
        3,
        stored["ones"]["train"],
        stored["ones"]["fit"],
        tmp_path / "scratch",
        rows.append,
        lambda state: training.save(state, tmp_path / "kept"),
    )
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["fit_bits_per_dim"] == pytest.approx(math.log2(7), abs=0.1)  # nearly uniform
    assert 1.15 < rows[-1]["fit_bits_per_dim"] < 2  # the source's entropy is 1.21
    model, _ = load_model(tmp_path / "kept/weights.safetensors")

    of_fit, of_test, of_ood = (
        features(study, model, stored[name][split], name, split)
        for name, split in (("ones", "fit"), ("ones", "test"), ("threes", "test"))
    )
    expected = bigram_log_prob(model, stored["ones"]["test"])
    np.testing.assert_allclose(of_test[1].log_prob, expected, rtol=1e-5)
    for config in (*study.detectors.values(), Likelihood()):
        for b in (1, 5):
            fitted = detectors.fit(config, of_fit[b])
            assert auroc(fitted.score(of_test[b]), fitted.score(of_ood[b])) > 0.95

    drawn = draw(model, study.data, 500, 1.0, "drawn")
    assert drawn.clipped == 0
    study.data.check(drawn.stored)
    counted = np.mean((drawn.stored[:, 1:].astype(int) - drawn.stored[:, :-1]) % 7 == 1)
    assert counted > 0.6  # as in four of five transitions, and one of seven at random
    plots.save(plots.dataset_samples(study.data, {"ones": stored["ones"]["test"]}), tmp_path / "ones.png")
    plots.save(plots.samples(study.data, stored["ones"]["train"], {3: drawn.stored}, "ones"), tmp_path / "drawn.png")


def made(study, name, folder):
    """The splits of a data set as `make` writes them."""
    datasets.make(name, study.datasets[name], study.data, folder / name, folder)
    manifest = json.loads((folder / name / "manifest.json").read_text())
    assert manifest["shape"] == [LENGTH]
    assert not {"lossy", "inverted", "jpeg_quality"} & manifest.keys()
    return {split: load_split(folder / name / f"{split}.npy", study.data.check) for split in datasets.SPLITS}


def features(study, model, stored, name, split):
    found = extract(model, Split(stored, study.data, name, split), study.features, ("log_norms", "log_prob"))
    return {each.batch_size: each for each in found}


def bigram_log_prob(model, stored):
    """Token by token."""
    bias, transition = (parameter.detach().numpy() for parameter in (model.bias, model.transition))

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum())

    return [
        log_softmax(bias)[tokens[0]]
        + sum(log_softmax(transition[before] + bias)[after] for before, after in pairwise(tokens))
        for tokens in stored
    ]


def test_training_on_tokens_is_a_chain_too(tmp_path):
    """The bytes of two jobs are those of one."""
    study = Study.parse(STUDY)
    stored = made(study, "ones", tmp_path)
    run = Run("ones", "bigram", study.models["bigram"], TrainingConfig(batch_size=20), study.data, 0, 1, "hash", {})

    def train(state, epoch, folder):
        keep = lambda state: training.save(state, folder)  # noqa: E731
        return training.train(state, epoch, stored["train"], stored["fit"], tmp_path / "scratch", keep=keep)

    train(training.start(run, stored["train"]), 1, tmp_path / "1")
    train(training.restore(run, tmp_path / "1"), 2, tmp_path / "2")
    train(training.start(run, stored["train"]), 2, tmp_path / "once")
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("2", "once")]
    assert weights[0] == weights[1]


def test_a_run_of_other_data_has_another_key():
    def key(data):
        return Run("a", "glow", GlowConfig(), TrainingConfig(), data, 0, 1, "hash", {}).key

    assert len({key(Images()), key(Images(side=32)), key(Images(channels=3)), key(kind("tokens"))}) == 4


def test_features_of_tokens_take_no_noise():
    study = Study.parse(STUDY)
    model = registry.load("models", MODEL).make(study.models["bigram"], (LENGTH,), torch.Generator().manual_seed(0))
    stored = some(study.data, 10)
    found = [
        extract(model, Split(stored, study.data, "ones", "test"), FeatureConfig(batch_sizes=[1], noise=noise))[0]
        for noise in ("fixed", "fresh", "none")
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.log_norms, found[0].log_norms)
