from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from immature_ood import registry
from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import POOLED, Kept, Place
from immature_ood.detectors import fit, fit_all, load_fitted, mean_over_group, save_fitted
from immature_ood.features import Features
from immature_ood.layers import is_chosen
from immature_ood.storage import StorageError, load_arrays, save_arrays

CHECKPOINT = CheckpointId("digits", "glow", seed=0, epoch=4, images_seen=12000, run_key="abc")
LAYERS = ("conv.weight", "conv.bias", "prior")
OWN = Place("glow", 0, 4, "digits")
KEPT = Kept(("glow", "background"), (0, 1), (0, 1, 4), ("digits", "photos"))


def detectors(*names, **options):
    """The configs of detectors by name, all with the same options."""
    return {name: registry.parse("detectors", {"detector": name, **options}) for name in names}


def fitted_to(name, *features, **options):
    """The detector of a name fitted on features."""
    return fit(detectors(name, **options)[name], *features)


def fitted_all(*names):
    """Detectors of one checkpoint, b = 1."""
    configs = detectors(*names)
    read = {name: checkpoints(config) for name, config in configs.items()}
    features = {one: {1: each} for config in configs.values() for one, each in of_each(config).items()}
    return fit_all(CHECKPOINT, configs, features, read)


every_detector = pytest.mark.parametrize("name", registry.names("detectors"))


def places(config):
    """What a detector reads in a study of KEPT for the row of OWN."""
    return config.reads(OWN._replace(seed=POOLED) if config.pools_seeds else OWN, KEPT)


def checkpoints(config):
    return [
        replace(CHECKPOINT, id_dataset=place.id, model=place.model, seed=place.seed, epoch=place.epoch)
        for place in places(config)
    ]


def of_each(config, seed=0, **made):
    """By checkpoint that a detector reads, features of the same toy images."""
    return {one: make_features(seed=seed, place=place, **made) for place, one in enumerate(checkpoints(config))}


def seen(name, **made):
    """The features of all checkpoints that a detector reads."""
    return [*of_each(detectors(name)[name], **made).values()]


def make_features(groups=200, b=1, seed=0, shift=0.0, split="fit", layers=LAYERS, place=0):
    """Features of toy images; a shift raises the gradient norms, lowers the likelihood and makes images rougher.

    place: of the checkpoint among those that are read; that of the row, 0, is the surest of shifted images.
    """
    generator = np.random.default_rng(seed + 100 * place)
    norms = generator.normal(shift + np.arange(len(layers)), 1 + np.arange(len(layers)), (groups, len(layers)))
    known = np.random.default_rng((seed, 1)).normal(-900 - 100 * shift / (1 + place), 20, groups)
    log_prob = generator.normal(known, 2)
    smooth = 128 + 20 * generator.normal(size=(groups, b, 1, 1, 1)) + np.linspace(-30, 30, 8)
    rough = (2 + 8 * shift) * generator.normal(size=(groups, b, 1, 8, 8))
    latents = (1 + shift / 2) * generator.normal(size=(groups, b, 64))
    log_singular_values = np.linspace(1, -7, 64) + generator.normal(-shift, 0.5, (groups, b, 1))
    return Features(
        dataset="digits",
        split=split,
        statistics={
            "log_norms": norms.astype(np.float32),
            "log_prob": log_prob,
            "likelihood_regret": (1 + shift) * generator.gamma(4, size=groups),
            "denoising_errors": np.float32((1 + shift) * generator.gamma(4, size=(groups, b, 3))),
            "path_eps": np.float32((1 + shift) * generator.gamma(4, size=(groups, b, 4, 3))),
            "path_rate": np.float32((1 + shift) * generator.gamma(4, size=(groups, b, 3, 3))),
            "log_prior": -0.5 * (latents**2 + np.log(2 * np.pi)).sum(axis=2).mean(axis=1),
            "latents": latents.astype(np.float32),
            "log_singular_values": log_singular_values.astype(np.float32),
            "pixels": np.clip(smooth + rough, 0, 255).astype(np.uint8),
        },
        images=np.arange(groups * b).reshape(groups, b),
        layers=layers,
        dimensions=784,
        units=np.arange(groups),
    )


def having(features, **statistics):
    return replace(features, statistics={**features.statistics, **statistics})


def with_column(features, layer, values):
    norms = features.log_norms.copy()
    norms[:, features.layers.index(layer)] = values
    return having(features, log_norms=norms)


@every_detector
def test_scores_are_finite_and_one_a_group(name):
    detector = fitted_to(name, *seen(name))
    for groups in (1, 50):
        score = detector.score(*seen(name, groups=groups, seed=1, split="test"))
        assert score.shape == (groups,)
        assert score.dtype == np.float64
        assert np.isfinite(score).all()


@every_detector
def test_shifted_data_scores_higher(name):
    detector = fitted_to(name, *seen(name))
    usual = detector.score(*seen(name, seed=1, split="test"))
    shifted = detector.score(*seen(name, seed=2, shift=6.0, split="test"))
    assert (shifted[:, None] > usual).mean() > 0.9  # that is AUROC


@every_detector
def test_a_group_is_scored_on_its_own(name):
    test = seen(name, seed=1, split="test")
    detector = fitted_to(name, *seen(name))
    few = [one.taken(np.arange(7, 9)) for one in test]
    np.testing.assert_array_equal(detector.score(*few), detector.score(*test)[7:9])


@every_detector
def test_saved_detectors_score_exactly_alike(name, tmp_path):
    configs = detectors(name)
    features = [of_each(configs[name], b=b, seed=b) for b in (1, 5)]
    by_size = {one: dict(zip((1, 5), [each[one] for each in features], strict=True)) for one in features[0]}
    read = tuple(checkpoints(configs[name]))
    fitted = fit_all(CHECKPOINT, configs, by_size, {name: read})
    save_fitted(tmp_path / "fitted.safetensors", fitted)
    loaded = load_fitted(tmp_path / "fitted.safetensors")
    assert (loaded.checkpoint, loaded.reads) == (CHECKPOINT, {name: read})
    assert loaded.detectors.keys() == fitted.detectors.keys() == {(name, 1), (name, 5)}
    for (_, b), detector in fitted.detectors.items():
        again = loaded.detectors[name, b]
        test = seen(name, b=b, seed=9, split="test")
        np.testing.assert_array_equal(again.score(*test), detector.score(*test))
        assert again.dead_layers == detector.dead_layers


@every_detector
def test_fitting_twice_gives_the_same_bytes(name, tmp_path):
    for path in ("one", "two"):
        save_fitted(tmp_path / path, fitted_all(name))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@every_detector
def test_nan_features_are_refused(name):
    broken = seen(name, split="test")
    numbers = [need for need in detectors(name)[name].needs() if need != "pixels"]
    for one in broken:
        for need in numbers:
            one.statistics[need][3] = np.nan
    if numbers:
        with pytest.raises(ValueError, match=r"digits/test.*NaN|NaN.*digits/test"):
            fitted_to(name, *seen(name)).score(*broken)
        with pytest.raises(ValueError, match="digits/test"):
            fitted_to(name, *broken)


def test_a_file_is_laid_out_as_documented(tmp_path):
    path = tmp_path / "fitted.safetensors"
    fitted = fitted_all(*registry.names("detectors"))
    save_fitted(path, fitted)
    arrays, metadata = load_arrays(path, "detectors/3")
    np.testing.assert_array_equal(arrays["gradient_norms/b=1/mean"], fitted.detectors["gradient_norms", 1].mean)
    entries = {entry["name"]: entry for entry in metadata["detectors"]}
    assert entries["gradient_norms"]["values"]["layers"] == [*LAYERS]


def test_an_incomplete_file_is_refused(tmp_path):
    path = tmp_path / "fitted.safetensors"
    save_fitted(path, fitted_all("gradient_norms"))
    arrays, metadata = load_arrays(path, "detectors/3")
    save_arrays(path, "detectors/3", {}, metadata)
    with pytest.raises(StorageError, match=r"fitted\.safetensors: incomplete detectors .*mean"):
        load_fitted(path)
    for no_detector in ("np", "fit", "Config"):  # a file can name nothing else of the module to be called
        metadata["detectors"][0]["class"] = no_detector
        save_arrays(path, "detectors/3", arrays, metadata)
        with pytest.raises(StorageError, match=r"fitted\.safetensors: .* has no detector"):
            load_fitted(path)


def test_gradient_norms_is_the_negative_log_density():
    fit, test = make_features(), make_features(seed=1, shift=1.0, split="test")
    norms = fit.log_norms.astype(np.float64)
    expected = -norm.logpdf(test.log_norms, norms.mean(axis=0), norms.std(axis=0)).sum(axis=1)
    np.testing.assert_allclose(fitted_to("gradient_norms", fit).score(test), expected, rtol=1e-12)


@pytest.mark.parametrize("dead_values", [-np.inf, np.inf, 0.1, [-np.inf, *np.zeros(199)]])
def test_a_dead_layer_is_left_out_and_named(dead_values):
    fit, test = make_features(), make_features(seed=1, split="test")
    detector = fitted_to("gradient_norms", with_column(fit, "conv.bias", dead_values))
    assert detector.dead_layers == ("conv.bias",)
    alive = fitted_to("gradient_norms", without_layer(fit, "conv.bias"))
    np.testing.assert_allclose(detector.score(test), alive.score(without_layer(test, "conv.bias")))
    np.testing.assert_array_equal(np.isnan(detector.terms(test)).all(axis=0), [False, True, False])


def without_layer(features, layer):
    kept = [place for place, name in enumerate(features.layers) if name != layer]
    layers = tuple(features.layers[place] for place in kept)
    return replace(having(features, log_norms=features.log_norms[:, kept]), layers=layers)


def test_the_least_variation_of_float32_keeps_a_layer_alive():
    values = np.full(200, 0.1, dtype=np.float32)
    values[0] = np.nextafter(values[0], np.float32(1))
    detector = fitted_to("gradient_norms", with_column(make_features(), "conv.bias", values))
    assert detector.dead_layers == ()
    assert np.isfinite(detector.score(make_features(seed=1))).all()


def test_no_live_layer_is_an_error():
    with pytest.raises(ValueError, match="digits/fit: none of the 3 layers"):
        fitted_to("gradient_norms", having(make_features(), log_norms=np.zeros((200, 3), dtype=np.float32)))


def test_a_zero_gradient_in_a_live_layer_is_outside_the_support():
    test = make_features(3, seed=1, split="test")
    test.log_norms[1, 2] = -np.inf
    score = fitted_to("gradient_norms", make_features()).score(test)
    assert score[1] == np.inf
    assert np.isfinite(score[[0, 2]]).all()


def test_nan_names_its_layer_even_if_it_is_dead():
    detector = fitted_to("gradient_norms", with_column(make_features(), "conv.bias", 0.0))
    with pytest.raises(ValueError, match=r"layer 'conv\.bias' is NaN on digits/test"):
        detector.score(with_column(make_features(split="test"), "conv.bias", np.nan))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("conv.weight", "conv.scale", "prior"), "layer 1 is 'conv.scale', but .* with 'conv.bias'"),
        (("conv.weight", "conv.bias"), "layer 2 is None, but .* with 'prior'"),
        ((*LAYERS, "extra"), "layer 3 is 'extra', but .* with None"),
    ],
)
def test_other_layers_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        fitted_to("gradient_norms", make_features()).score(make_features(layers=layers))


def test_likelihood_is_the_negative_log_probability():
    test = make_features(split="test")
    np.testing.assert_array_equal(fitted_to("likelihood", make_features()).score(test), -test.log_prob)
    impossible = having(test, log_prob=np.full(200, -np.inf))
    assert (fitted_to("likelihood", make_features()).score(impossible) == np.inf).all()


def test_typicality_suspects_likelihoods_too_high_as_much_as_too_low():
    fit = make_features()
    centre = fit.log_prob.mean()
    test = having(make_features(3), log_prob=centre + np.array([-50.0, 0.0, 50.0]))
    np.testing.assert_allclose(fitted_to("typicality", fit).score(test), [50, 0, 50], atol=1e-9)


def test_typicality_needs_a_finite_mean():
    with pytest.raises(ValueError, match="mean log-likelihood of digits/fit is -inf"):
        fitted_to("typicality", having(make_features(2), log_prob=np.array([-np.inf, -900.0])))


def test_epsilon_is_added_to_squared_norms_and_variances():
    """The small constants of the released code: no layer is dead, and variances are unbiased."""
    fit, test = (with_column(make_features(seed=seed), "prior", -np.inf) for seed in (0, 1))
    norms, seen = (np.log(np.exp(features.log_norms.astype(np.float64)) + 1e-3) for features in (fit, test))
    deviation = np.sqrt(norms.var(axis=0, ddof=1) + 1e-3)
    detector = fitted_to("gradient_norms", fit, epsilon=1e-3)
    np.testing.assert_allclose(detector.score(test), -norm.logpdf(seen, norms.mean(axis=0), deviation).sum(axis=1))
    assert detector.dead_layers == ()


@pytest.mark.parametrize(("layers", "summed"), [("weights", [0]), ("without_weights", [1, 2]), ("all", [0, 1, 2])])
def test_gradient_norms_sum_the_layers_that_are_chosen(layers, summed):
    test = make_features(seed=1)
    detector = fitted_to("gradient_norms", make_features(), layers=layers)
    terms = fitted_to("gradient_norms", make_features()).terms(test)
    np.testing.assert_array_equal(detector.score(test), terms[:, summed].sum(axis=1))
    assert detector.dead_layers == ()


def test_the_score_of_a_group_is_the_mean_of_its_images():
    samples = np.arange(24).reshape(4, 3, 2)
    np.testing.assert_array_equal(mean_over_group(samples, lambda each: each.sum(axis=1)), [5, 17, 29, 41])


@every_detector
def test_a_detector_reads_no_more_than_it_says_it_needs(name):
    """Features without the rest are fitted and scored alike; without what it needs, they are refused by name."""
    features = seen(name)
    needs = detectors(name)[name].needs()
    least = [replace(one, statistics={need: one.of(need) for need in needs}) for one in features]
    fitted = fitted_to(name, *least)
    np.testing.assert_array_equal(fitted.score(*least), fitted_to(name, *features).score(*features))
    for need in needs:
        without = {other: each for other, each in features[0].statistics.items() if other != need}
        with pytest.raises(ValueError, match=rf"digits/fit: the features hold .*, but no {need}"):
            fitted_to(name, *(replace(one, statistics=without) for one in features))


@every_detector
def test_scores_without_weights_are_alike_on_features_with_and_without_them(name):
    """So that features which are there, of all layers, serve a detector that does not read weights."""
    config = detectors(name)[name]
    if "layers" not in type(config).model_fields:
        assert config.reads_weights() == ("log_norms" in config.needs())
        return
    config = detectors(name, layers="without_weights")[name]
    assert not config.reads_weights()
    of_fit, of_test = seen(name), seen(name, seed=1, split="test")
    expected = fit(config, *of_fit).score(*of_test)
    found = fit(config, *map(without_weights, of_fit)).score(*map(without_weights, of_test))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def without_weights(features):
    """Features as they are extracted of all layers but weights."""
    kept = [place for place, layer in enumerate(features.layers) if is_chosen(layer, "without_weights")]
    narrowed = having(features, log_norms=features.log_norms[:, kept])
    return replace(narrowed, layers=tuple(features.layers[place] for place in kept))
