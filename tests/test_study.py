"""A bad config is refused with one line a fault: key path, what is wrong, the nearest valid name."""

import copy
from pathlib import Path

import pytest
import yaml

from immature_ood import registry
from immature_ood.study import Study, StudyError, retired

ROOT = Path(__file__).parents[1]
OVERLAYS = sorted((ROOT / "studies").glob("*-arrays.yaml"))  # each goes with the study without the end of its name
CONFIGS = [ROOT / "config.yaml", *sorted({*(ROOT / "studies").glob("*.yaml")} - {*OVERLAYS})]
GOOD = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path, value):
    """The default config with the value at a dotted path set, or taken out if it is ..."""
    config = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    section = config
    for part in parents:
        section = section.setdefault(part, {})
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return config


def faults(config):
    with pytest.raises(StudyError) as raised:
        Study.parse(config)
    return str(raised.value).splitlines()


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_committed_studies_are_valid(file):
    config = yaml.safe_load(file.read_text())
    assert Study.parse(config).name == config["name"]


@pytest.mark.parametrize("file", OVERLAYS, ids=lambda file: file.stem)
def test_an_overlay_reads_the_same_sets_from_arrays(file):
    base = yaml.safe_load((file.parent / f"{file.stem.removesuffix('-arrays')}.yaml").read_text())
    overlay = yaml.safe_load(file.read_text())
    assert [*overlay] == ["datasets"]
    merged = copy.deepcopy(base)
    for name, section in overlay["datasets"].items():
        merged["datasets"][name] |= section
    official, of_arrays = Study.parse(base), Study.parse(merged)
    of_its_own = {name: dataset for name, dataset in official.datasets.items() if name not in official.changed}
    assert {of_arrays.datasets[name].source for name in of_its_own} == {"array"}
    for name, dataset in of_its_own.items():
        if dataset.chooses_classes:  # it is no published set
            assert of_arrays.datasets[name].chooses_classes
            assert of_arrays.datasets[name].stands_for is None
        else:
            assert of_arrays.stands_for(name) == dataset.source == name
        assert of_arrays.datasets[name].model_dump(include={"train", "fit", "test"}) == dataset.model_dump(
            include={"train", "fit", "test"}
        )


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("epoch", [1], "epoch: unknown key; did you mean 'epochs'?"),
        ("training.learning_rte", 1, "training.learning_rte: unknown key; did you mean 'learning_rate'?"),
        ("datasets.digits.trian", 1, "datasets.digits.trian: unknown key; did you mean 'train'?"),
        ("models.glow.step", 1, "models.glow.step: unknown key; did you mean 'steps'?"),
        ("training.batch_size", "many", "training.batch_size: Input should be a valid integer, got 'many'"),
        ("training.batch_size", 6.5, "training.batch_size: Input should be a valid integer, got 6.5"),
        ("training.batch_size", True, "training.batch_size: Input should be a valid integer, got True"),
        ("training.learning_rate", "fast", "training.learning_rate: Input should be a valid number"),
        ("training.learning_rate", float("nan"), "training.learning_rate: Input should be a finite number"),
        ("training.learning_rate", float("inf"), "training.learning_rate: Input should be a finite number"),
        ("training.learning_rate", 0, "training.learning_rate: Input should be greater than 0"),
        ("training", 3, "training: Input should be a valid dictionary"),
        ("datasets", ["digits"], "datasets: Input should be a valid dictionary"),
        ("datasets", {}, "datasets: Dictionary should have at least 1 item"),
        ("models", None, "models: Input should be a valid dictionary"),
        ("models.glow.architecture", "glwo", "models.glow.architecture: unknown name 'glwo'; did you mean 'glow'?"),
        ("datasets.digits.source", "digist", "datasets.digits.source: unknown name 'digist'; did you mean 'digits'?"),
        ("datasets.mnst", None, "datasets.mnst.source: unknown name 'mnst'; did you mean 'mnist'?"),
        (
            "detectors",
            ["likelyhood"],
            "detectors.likelyhood.detector: unknown name 'likelyhood'; did you mean",
        ),
        ("detectors", [], "detectors: Dictionary should have at least 1 item"),
        ("detectors", ["likelihood"] * 2, "detectors: holds a value twice"),
        (
            "baselines",
            {"gradient_norm": "x"},
            "baselines: unknown name 'gradient_norm'; did you mean 'gradient_norms'?",
        ),
        ("baselines", {"glow": 1}, "baselines.glow: Input should be a valid string, got 1"),
        ("id_datasets", ["digit"], "id_datasets.0: unknown name 'digit'; did you mean 'digits'?"),
        ("id_datasets", [], "id_datasets: name at least one data set"),
        ("epochs", [0, 2, 1], "epochs: must increase, got [0, 2, 1]"),
        ("epochs", [1, 1], "epochs: must increase, got [1, 1]"),
        ("epochs", [-1], "epochs.0: Input should be greater than or equal to 0, got -1"),
        ("epochs", 16, "epochs: Input should be a valid list, got 16"),
        ("seeds", [0, 0], "seeds: holds a value twice, got [0, 0]"),
        ("features.fit_images", 999, "features.fit_images: 999 is not a multiple of batch size 5"),
        ("features.test_images", 501, "features.test_images: 501 is not a multiple of batch size 5"),
        ("features.batch_sizes", [0], "features.batch_sizes.0: Input should be greater than 0, got 0"),
        ("datasets.digits.test", -5, "datasets.digits.test: Input should be greater than 0, got -5"),
        ("datasets.digits.test", 100, "datasets.digits.test: 100 images, but the study uses 500"),
        ("datasets.digits.fit", 100, "datasets.digits.fit: 100 images, but the study uses 1000"),
        ("datasets.digits.train", 10, "datasets.digits.train: 10 images, but the study uses 64"),
        (
            "datasets.digits.augmentation.flipp",
            1,
            "datasets.digits.augmentation.flipp: unknown key; did you mean 'flip'?",
        ),
        (
            "datasets.digits.augmentation.translation",
            1,
            "datasets.digits.augmentation.translation: Input should be less",
        ),
        (
            "datasets.digits.jpeg_quality",
            101,
            "datasets.digits.jpeg_quality: Input should be less than or equal to 100",
        ),
        ("datasets.digits.path", "pictures", "datasets.digits.path: unknown key"),
        ("datasets.mine", {"source": "folder"}, "datasets.mine.path: is missing"),
        (
            "datasets.more",
            {"samples_of": {"dataset": "digist", "epoch": 16}},
            "datasets.more.samples_of.dataset: unknown",
        ),
        (
            "datasets.more",
            {"samples_of": {"dataset": "digits", "epoch": 3}},
            "datasets.more.samples_of.epoch: 3 is not",
        ),
        ("datasets.more", {"samples_of": {"dataset": "digits"}}, "datasets.more.samples_of.epoch: is missing"),
        (
            "models.flow",
            {"architecture": "tied_flow", "step": 2},
            "models.flow.step: unknown key; did you mean 'steps'?",
        ),
        ("models.tied_flow", {"step": 2}, "models.tied_flow.step: unknown key; did you mean 'steps'?"),
        ("models.flow", 3, "models.flow: Input should be a valid dictionary"),
        ("models.glow.blocks", 3, "models.glow.blocks: 3 blocks halve the side 3 times, but image.side is 28"),
        ("features.noise", "none", "features.noise: none goes with training.dequantisation: none, and only with it"),
        ("training.dequantisation", "none", "features.noise: none goes with training.dequantisation: none"),
        ("evaluation.confidence", 95, "evaluation.confidence: Input should be less than 1, got 95"),
        (
            "evaluation.controls",
            ["gradient_norm"],
            "evaluation.controls.0: unknown name 'gradient_norm'; did you mean 'gradient_norms'?",
        ),
        ("evaluation.reference", "typicallity", "evaluation.reference: unknown name 'typicallity'; did you mean"),
        ("name", "../up", "name: a name has letters, digits, _, . and -, begins with"),
        (
            "name",
            "ends.",
            "name: a name has letters, digits, _, . and -, begins with a letter or digit and does not end",
        ),
        ("name", "n" * 65, "name: a name has at most 64 letters, got 'nnn"),
        ("name", "all", "name: a name is not all or mean, which mean something else in tables, got 'all'"),
        ("datasets.Mean", {"source": "digits"}, "datasets.Mean: a name is not all or mean"),
        ("datasets.my set", {"source": "digits"}, "datasets.my set: a name has letters"),
        (
            "datasets",
            {False: None, "digits": None},
            "datasets.False: Input should be a valid string, got False; write",
        ),
        (
            "datasets",
            {2024: None, "digits": None},
            "datasets.2024: Input should be a valid string, got 2024; write",
        ),
        ("datasets.Digits", {"source": "digits"}, "datasets: digits and Digits differ in case alone"),
        ("models.GLOW", {}, "models: glow and GLOW differ in case alone"),
        ("models.datasets/png", {}, "models.datasets/png: a name has letters"),
        ("name", 12, "name: Input should be a valid string, got 12; write it in quotes if it is a name"),
        ("training.weight_decay", True, "training.weight_decay: Input should be a valid number, got True"),
        ("training.learning_rate", "1_0", "training.learning_rate: Input should be a valid number, got '1_0'"),
        ("training.learning_rate", 1e40, "training.learning_rate: a number is at most 1e+09, got 1e+40"),
        ("training.batch_size", "1_0", "training.batch_size: Input should be a valid integer, got '1_0'"),
        ("training.batch_size", "010", "training.batch_size: Input should be a valid integer, got '010'"),
        ("seeds", [10**40], "seeds.0: Input should be less than or equal to 2147483647, got 1000"),
        ("training.compile", "yes", "training.compile: Input should be a valid boolean, got 'yes'"),
        (
            "features.objective",
            "logprob",
            "features.objective: model 'glow' has no 'logprob'; did you mean 'log_prob'?",
        ),
        ("features.objective", 3, "features.objective: a name, or a list of names, is asked for, got 3"),
        ("features.objective", [], "features.objective: a name, or a list of names, is asked for, got []"),
        ("features.objective", ["sum_z", "sum_z"], "features.objective: holds a value twice, got ['sum_z', 'sum_z']"),
        ("features.objective", "elbo", "features.objective: model 'glow' has no 'elbo'; valid names: log_prob, sum_z"),
        ("models.glow.training", {"learning_rat": 1}, "models.glow.training.learning_rat: unknown key; did you"),
        ("models.glow.training", {"learning_rate": 0}, "models.glow.training.learning_rate: Input should be greater"),
        ("models.glow.training", {"dequantisation": "none"}, "models.glow.training.dequantisation: is the same for"),
        ("features.noise", "Fixed", "features.noise: Input should be 'fixed', 'fresh' or 'none', got 'Fixed'; did you"),
        (
            "training.dequantisation",
            "uniforn",
            "training.dequantisation: Input should be 'uniform' or 'none', got 'unif",
        ),
        ("name", ..., "name: is missing"),
        ("datasets", ..., "datasets: is missing"),
        ("epochs", ..., "epochs: is missing"),
    ],
)
def test_a_bad_config_is_one_line_that_names_the_key(path, value, line):
    found = faults(changed(path, value))
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize("config", [None, [], "pocket", 3])
def test_what_is_no_mapping_is_no_study(config):
    assert faults(config) == [f"a study is a mapping of keys to values, such as name: mine; got {config!r}"]


@pytest.mark.parametrize(
    "datasets", [{"digits": None}, {"digits": None, "more": {"samples_of": {"dataset": "digits", "epoch": 16}}}]
)
def test_a_study_without_an_ood_set_is_refused(datasets):
    found = faults(changed("datasets", datasets))
    assert found == ["datasets: name at least two with images of their own, or nothing is out of distribution"]


def test_detectors_need_two_groups():
    assert faults(changed("features", {"batch_sizes": [1, 40], "fit_images": 40, "test_images": 40})) == [
        "features.batch_sizes: 40 leaves 1 fit group; 2 are needed"
    ]


def test_detectors_fitted_on_the_test_set_need_two_groups_of_it():
    config = changed("features.batch_sizes", [500]) | {"fit_set": "test"}
    assert faults(config) == ["features.batch_sizes: 500 leaves 1 fit group; 2 are needed"]
    assert Study.parse(config | {"fit_set": "held_out"}).features.batch_sizes == [500]


def with_calibration(**changes):
    """A study whose fit images are half fitted on and half for calibration."""
    return changed("features.fit_images", 500) | {"evaluation": {"calibration_images": 500}} | changes


def test_calibration_images_need_detectors_that_see_neither_them_nor_the_test_images():
    assert Study.parse(with_calibration()).images_needed("digits")["fit"] == 1000
    (fault,) = [line for line in faults(with_calibration(evaluation={"calibration_images": 7})) if "batch" in line]
    assert fault == "evaluation.calibration_images: 7 is not a multiple of batch size 5"
    more = faults(with_calibration(evaluation={"calibration_images": 505}))
    assert more[0] == "datasets.digits.fit: 1000 images, but the study uses 1005"
    (fault,) = faults(with_calibration(fit_set="test"))
    assert fault.startswith("evaluation.calibration_images: p-values of the test images say nothing")
    pooled = {"pooled": {"detector": "waic"}}
    assert faults(with_calibration(detectors=pooled, seeds=[0, 1])) == [
        "evaluation.calibration_images: no detector reads one checkpoint alone; add one, or leave the key out"
    ]
    study = Study.parse(with_calibration(detectors={"likelihood": {}, **pooled}, seeds=[0, 1]))
    assert {(place.seed, *study.calibrated(place)) for place in study.places()} == {
        (0, "likelihood"),
        (1, "likelihood"),
        ("all",),
    }


@pytest.mark.parametrize(
    ("drift", "line"),
    [
        (
            {"of": "digts", "through": ["glyphs"]},
            "evaluation.drift.font.of: unknown name 'digts'; did you mean 'digits'?",
        ),
        (
            {"of": "digits", "through": ["glyps"]},
            "evaluation.drift.font.through.0: unknown name 'glyps'; did you mean 'glyphs'?",
        ),
        ({"of": "digits", "through": []}, "evaluation.drift.font.through: List should have at least 1 item"),
    ],
)
def test_a_drift_names_an_id_set_and_others(drift, line):
    (found,) = faults(with_calibration(evaluation={"calibration_images": 500, "drift": {"font": drift}}))
    assert found.startswith(line)


def test_a_drift_goes_through_other_sets_and_needs_calibration_images():
    itself = {"font": {"of": "digits", "through": ["digits"]}}
    (found,) = faults(with_calibration(evaluation={"calibration_images": 500, "drift": itself}))
    assert found.startswith("evaluation.drift.font.through.0: unknown name 'digits'; valid names: ")
    (found,) = faults(with_calibration(evaluation={"drift": {"font": {"of": "digits", "through": ["glyphs"]}}}))
    assert found.startswith("evaluation.calibration_images: evaluation.drift has alarms by p-values; give so many")


@pytest.mark.parametrize("name", ["NA", "None", "null", "True", "1e3", "inf", "007", "2024", "test", "train", "n" * 64])
def test_a_name_may_look_like_anything_else(name):
    config = changed(f"datasets.{name}", {"source": "digits"}) | {"models": {name: {}}}
    assert name in Study.parse(config).id_datasets


def test_all_faults_are_told_at_once():
    config = changed("detectors", ["likelyhood"]) | {"epochs": [2, 1]}
    assert {line.split(":")[0] for line in faults(config)} == {"detectors.likelyhood.detector", "epochs"}


def test_an_empty_config_names_what_is_missing():
    assert faults({}) == ["name: is missing", "datasets: is missing", "epochs: is missing"]


def test_defaults():
    study = Study.parse({"name": "x", "datasets": {"digits": None, "numbers": {"source": "digits"}}, "epochs": [0, 3]})
    assert study.id_datasets == ["digits", "numbers"]
    assert study.datasets["digits"].source == "digits"
    assert study.ood_datasets("numbers") == ["digits"]
    assert [study.previous_epoch(epoch) for epoch in (0, 3)] == [None, 0]
    assert {*study.detectors} <= {*registry.names("detectors")}


def test_an_ood_set_needs_neither_training_nor_fit_images():
    config = changed("id_datasets", ["digits", "glyphs"])
    config["datasets"]["photos"] = {"train": 0, "fit": 0, "test": 500}
    assert Study.parse(config).ood_datasets("digits") == ["photos", "glyphs"]


def test_numbers_from_the_command_line_are_strings():
    study = Study.parse(changed("epochs", ["0", "16"]) | {"training": {"learning_rate": "1e-3", "batch_size": "32"}})
    assert (study.epochs, study.training.learning_rate, study.training.batch_size) == ([0, 16], 1e-3, 32)
    assert faults(changed("epochs", ["-1"])) == ["epochs.0: Input should be a valid integer, got '-1'"]


def test_true_false_and_null_from_the_command_line_are_strings():
    config = changed("training", {"compile": "true", "gradient_clip": "null"}) | {"epochs_per_job": "null"}
    config["datasets"]["digits"] |= {"inverted": "false", "jpeg_quality": "null"}
    study = Study.parse(config)
    assert (study.training.compile, study.training.gradient_clip, study.epochs_per_job) == (True, None, None)
    assert (study.datasets["digits"].inverted, study.datasets["digits"].jpeg_quality) == (False, None)


def test_a_name_that_is_not_registered_names_the_nearest():
    with pytest.raises(registry.PluginError, match="unknown name 'glwo'; did you mean 'glow'"):
        registry.load("models", "glwo")
    assert registry.did_you_mean("xyz", ["a", "b"]) == "; valid names: a, b"


@pytest.mark.parametrize("kind", ["datasets", "models", "detectors"])
def test_every_registered_name_loads(kind):
    assert registry.names(kind)
    for name in registry.names(kind):
        assert registry.load(kind, name).__name__.endswith(f"{kind}.{name}")


def test_a_set_of_samples_has_the_fit_and_test_images_of_its_original():
    study = Study.parse(changed("datasets.more", {"train": 100, "samples_of": {"dataset": "digits", "epoch": 16}}))
    assert study.id_datasets == ["digits", "photos", "glyphs", "more"]
    assert study.real_datasets == ["digits", "photos", "glyphs"]
    assert study.original("more") == "digits"
    assert study.ood_datasets("more") == study.ood_datasets("digits") == ["photos", "glyphs"]


AUDITS = sorted((ROOT / "studies").glob("audit-*.yaml"))


@pytest.mark.parametrize("file", AUDITS, ids=lambda file: file.stem)
def test_an_audit_differs_from_the_study_without_it_in_its_choice_alone(file):
    """The choice of the tied flow is a model with its training and its way to score."""
    choices = {
        "audit-sum_z": {"features.objective"},
        "audit-fit_on_test": {"fit_set"},
        "audit-fresh_noise": {"features.noise"},
        "audit-epsilon": {"detectors"},
        "audit-jpeg": {"datasets", "id_datasets"},
        "audit-tied_flow": {"models", "seeds", "training", "features.noise"},
    }
    base, changed_study = (
        Study.parse(yaml.safe_load(path.read_text())) for path in (ROOT / "studies/audit.yaml", file)
    )
    assert changed_study.shares == base.name
    assert f"studies/{file.name}" in base.audits
    assert differences(base, changed_study) - {"name", "shares", "audits", "baselines"} == choices[file.stem]


def differences(one, other):
    """The keys in which two studies differ, those of features one by one."""
    found = {key for key in Study.model_fields if getattr(one, key) != getattr(other, key)}
    if "features" in found:
        fields = type(one.features).model_fields
        here = {f"features.{key}" for key in fields if getattr(one.features, key) != getattr(other.features, key)}
        found = found - {"features"} | here
    return found


def test_every_audit_is_listed():
    base = yaml.safe_load((ROOT / "studies/audit.yaml").read_text())
    assert sorted(base["audits"]) == [f"studies/{file.name}" for file in AUDITS]


def test_keys_of_older_configs_are_read_where_they_went_and_named():
    old = changed("training.samples", 4) | {"evaluation": {"resamples": 100, "seed": 1, "margin": 0.05}}
    study = Study.parse(old)
    assert (study.samples, study.evaluation.margin) == (4, 0.05)
    assert [line.partition(":")[0] for line in retired(old)] == [
        "training.samples",
        "evaluation.resamples",
        "evaluation.seed",
    ]
    assert Study.parse(old | {"samples": 7}).samples == 7
    assert faults(changed("training.samples", "many"))[0].startswith("samples:")
    assert retired(GOOD) == retired(None) == retired({"training": None}) == []


PLUGINS = Path(__file__).with_name("plugins")


def test_a_model_may_be_trained_otherwise_than_the_study_says():
    config = changed("models", {"glow": {}, "slow": {"training": {"learning_rate": 1e-5}}})
    study = Study.parse(config)
    assert study.training_of("glow") == study.training
    assert study.training_of("slow") == study.training.model_copy(update={"learning_rate": 1e-5})
    config["models"]["slow"]["training"]["batch_size"] = 10**6
    assert "datasets.digits.train: 3000 images, but the study uses 1000000" in faults(config)


VAE, SPREAD = {"vae": {"architecture": str(PLUGINS / "tiny_vae.py")}}, str(PLUGINS / "spread.py")
WITHOUT = {"gradient_norms": {"layers": "without_weights"}}


def test_a_study_that_asks_a_model_for_what_it_has_not_got_is_refused_naming_both():
    config = changed("models", VAE) | {"detectors": ["gradient_norms", "likelihood"]}
    assert faults(config) == ["detectors.likelihood: needs 'log_prob', which model 'vae' has not"]
    config["models"] = VAE | {"glow": {}}  # one of which has it
    study = Study.parse(config)
    assert [*study.detectors_of("vae")] == ["gradient_norms"]
    assert [*study.detectors_of("glow")] == ["gradient_norms", "likelihood"]
    assert study.statistics("vae") == ["log_norms"]
    read = {place.model: [*study.readings(place)] for place in study.places()}
    assert read == {"vae": ["gradient_norms"], "glow": ["gradient_norms", "likelihood"]}
    config["detectors"] = ["likelihood"]
    assert faults(config) == ["models.vae: no detector can read it"]
    config["models"] = VAE
    config["detectors"] = ["gradient_norms", "likelihood"]
    config["features"]["objective"] = "log_prob"
    assert faults(config)[0] == "features.objective: model 'vae' has no 'log_prob'; valid names: elbo"
    del config["features"]["objective"]
    config["detectors"] = ["gradient_norms"]
    assert Study.parse(config).statistics("vae") == ["log_norms"]


@pytest.mark.parametrize(
    ("detectors", "statistics"),
    [(["gradient_norms"], ["log_norms", "log_prob"]), (["likelihood", "typicality"], ["log_prob"])],
)
def test_features_hold_what_the_detectors_need_and_the_likelihood_if_it_is_known(detectors, statistics):
    assert Study.parse(changed("detectors", detectors)).statistics("glow") == statistics


@pytest.mark.parametrize(
    ("detectors", "layers"),
    [
        (["gradient_norms"], "all"),
        (["likelihood", "typicality"], "all"),
        ({"likelihood": {}, **WITHOUT}, "without_weights"),
        ({"gradient_norms_knn": {"layers": "*.logs"}, **WITHOUT}, "without_weights"),
        ({"gradient_norms_knn": {"layers": "blocks.*"}, **WITHOUT}, "all"),
        ({"mine": {"detector": SPREAD}, **WITHOUT}, "all"),
    ],
)
def test_features_hold_norms_of_the_layers_that_detectors_read(detectors, layers):
    """A plug-in that does not say what it reads reads all; whoever wants more than is read says it."""
    config = changed("detectors", detectors)
    assert Study.parse(config).layers == layers
    assert Study.parse(config | {"features": {**config["features"], "layers": "all"}}).layers == "all"


def test_a_detector_that_reads_layers_that_are_not_extracted_is_refused_by_name():
    config = changed("features.layers", "without_weights")
    layers = {"early": "without_weights", "biases": "*.bias", "late": "weights", "every": "all"}
    config["detectors"] = {name: {"detector": "gradient_norms", "layers": each} for name, each in layers.items()}
    config["detectors"] |= {"likelihood": {}, "gradient_norms_mahalanobis": {}}
    assert faults(config) == [
        f"detectors.{name}: reads gradient norms of weights, which features.layers: without_weights leaves out; take "
        "that away, or give the detector layers: without_weights"
        for name in ("late", "every", "gradient_norms_mahalanobis")
    ]
    config["detectors"] = {name: config["detectors"][name] for name in ("early", "biases", "likelihood")}
    assert Study.parse(config).layers == "without_weights"


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"detector": "likelyhood"}, ".detector: unknown name 'likelyhood'; did you mean 'likelihood'?"),
        ({"detector": "gradient_norms", "layer": "all"}, ".layer: unknown key; did you mean 'layers'?"),
        ({"layers": "all"}, ".detector: is missing"),
        ({"detector": "gradient_norms_knn", "epochs": 2}, ": reads several checkpoints, which a part cannot"),
        ({"detector": "gradient_norms_knn", "neighbours": 0}, ".neighbours: Input should be greater than 0, got 0"),
    ],
)
def test_a_part_of_a_detector_is_checked_by_its_key(part, line):
    config = changed("detectors", {"both": {"detector": "combined", "parts": {"x": part}}})
    assert faults(config)[0] == f"detectors.both.parts.x{line}"


def test_what_is_made_of_controls_alone_is_a_control():
    def both(*names):
        return {"detector": "combined", "parts": {name: {"detector": name} for name in names}}

    named = {
        "image_statistics": None,
        "mixed": both("image_statistics", "typicality"),
        "numbers": both("image_statistics", "pixels_knn"),
        "untrained": None,
    }
    study = Study.parse(changed("detectors", named))
    assert study.controls == ["image_statistics", "numbers"]
    chosen = changed("detectors", named) | {"evaluation": {"controls": ["mixed"]}}
    assert Study.parse(chosen).controls == ["mixed"]


def test_a_study_has_detectors_made_of_others():
    parts = {"norms": {"detector": "gradient_norms_knn", "neighbours": "3"}, "typical": {"detector": "typicality"}}
    study = Study.parse(changed("detectors", {"both": {"detector": "combined", "parts": parts}}))
    both = study.detectors["both"]
    assert [(key, config.detector) for key, config in both.with_parts("both")] == [
        ("both", "combined"),
        ("both.parts.norms", "gradient_norms_knn"),
        ("both.parts.typical", "typicality"),
    ]
    assert study.detector_files() == ["combined", "gradient_norms_knn", "typicality"]
    assert study.statistics("glow") == ["log_norms", "log_prob"]
    assert study.readings(study.places()[-1])["both"] == [study.places()[-1]]
    assert registry.parse("detectors", both.model_dump()) == both
    assert both.model_dump()["parts"]["norms"]["neighbours"] == 3
