"""What is refused before any job, though the config alone does not tell; and shares of folders."""

from pathlib import Path

import pytest
import yaml

from immature_ood import planning
from immature_ood.planning import faults, faults_here, faults_of_processor, faults_of_threads, plan, results_folders
from immature_ood.shares import with_shares
from immature_ood.study import Study, StudyError

SMOKE = yaml.safe_load((Path(__file__).parents[1] / "studies/smoke.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def study_of(**datasets):
    return Study(name="s", datasets=datasets, epochs=[0])


@pytest.fixture
def folder_of(tmp_path):
    """folder_of(n): the path of a folder of n files whose names are those of pictures."""

    def made(number):
        path = tmp_path / f"{number} pictures"
        path.mkdir(exist_ok=True)
        for each in range(number):
            (path / f"{each}.png").touch()
        return str(path)

    return made


def test_a_study_without_faults_has_none():
    assert faults(study_of(digits={}, glyphs={"unit": "image"}, photos={"unit": "photograph"})) == []


@pytest.mark.parametrize(
    ("unit", "hint"), [("letters", "did you mean 'letter'"), ("block", "valid names: letter, image")]
)
def test_a_unit_that_a_source_does_not_tell_apart_is_refused(unit, hint):
    (fault,) = faults(study_of(mine={"source": "glyphs", "unit": unit}, digits={}))
    assert fault.startswith(f"datasets.mine.unit: unknown name '{unit}' of the source glyphs; {hint}")


@pytest.mark.parametrize(("side", "fits"), [(76, True), (78, False), (96, False)])
@pytest.mark.parametrize("source", ["photos", "retina"])
def test_patches_larger_than_their_blocks_are_refused(source, side, fits):
    models = {"glow": {"blocks": 1}}
    study = Study(name="s", image={"side": side}, datasets={source: {}, "digits": {}}, models=models, epochs=[0])
    said = f"image.side: {source} has blocks of 76; lower image.side, or take another source"
    assert faults(study) == ([] if fits else [said])


def test_the_faults_of_all_folders_are_said_together(folder_of, tmp_path):
    few = folder_of(260)
    Path(few, "a.heic").touch()
    config = {
        "name": "s",
        "epochs": [0],
        "datasets": {
            "gone": {"source": "folder", "path": str(tmp_path / "gone"), "train": 64},
            "none": {"source": "folder", "path": folder_of(0)},
            "few": {"source": "folder", "path": few, "train": 3000},
            "letters": {"source": "glyphs", "unit": "block"},
        },
    }
    with pytest.raises(StudyError) as error:
        plan(config)
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "datasets.gone.path",
        "datasets.none.path",
        "datasets.few.train, fit, test",
        "datasets.letters.unit",
    ]
    assert lines[2] == (
        "datasets.few.train, fit, test: 3,000 + 1,000 + 1,000 images asked for, but there are 260 pictures in "
        f"{few} (left out: .heic 1); lower them, or leave all three out for shares"
    )


@pytest.mark.parametrize(
    ("pictures", "sizes", "caps"),
    [
        (260, (156, 52, 52), (50, 50)),
        (6000, (3000, 1000, 1000), (1000, 1000)),
        (4990, (2994, 998, 998), (995, 995)),
    ],
)
def test_a_folder_that_says_no_numbers_gets_shares(pictures, sizes, caps, folder_of):
    """And the features as many images as fill groups of 1 and 5."""
    study = plan(
        {
            "name": "s",
            "epochs": [0],
            "datasets": {"mine": {"source": "folder", "path": folder_of(pictures)}, "digits": {}},
        }
    )
    mine = study.datasets["mine"]
    assert (mine.train, mine.fit, mine.test) == sizes
    assert (study.features.fit_images, study.features.test_images) == caps
    digits = study.datasets["digits"]
    assert (digits.train, digits.fit, digits.test) == (3000, 1000, 1000)


def test_what_is_said_stays(folder_of):
    config = {
        "name": "s",
        "epochs": [0],
        "datasets": {
            "mine": {"source": "folder", "path": folder_of(260), "train": 100, "fit": 40, "test": 30},
            "digits": {},
        },
        "features": {"fit_images": 40, "test_images": 30},
    }
    study = plan(config)
    mine = study.datasets["mine"]
    assert (mine.train, mine.fit, mine.test) == (100, 40, 30)
    assert (study.features.fit_images, study.features.test_images) == (40, 30)
    del config["datasets"]["mine"]["test"]
    with pytest.raises(StudyError, match=r"mine\.train, fit, test: 100 \+ 40 \+ 1,000 images asked for"):
        plan(config)


@pytest.mark.parametrize(("said", "test"), [({}, 60), ({"test": 25}, 25)])
def test_a_folder_that_is_only_ever_ood_needs_no_training_images(said, test, folder_of):
    datasets = {"mine": {"source": "folder", "path": folder_of(60), **said}, "digits": {}}
    config = {
        "name": "s",
        "epochs": [0],
        "datasets": datasets,
        "id_datasets": ["digits"],
        "features": {"test_images": 25},
    }
    mine = plan(config).datasets["mine"]
    assert (mine.train, mine.fit, mine.test) == (0, 0, test)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"datasets": None},
        {"datasets": [1]},
        {"datasets": {"a": None, "b": 3}},
        {"datasets": {"a": {"source": "folder"}}},
        {"datasets": {"a": {"source": "folder", "path": 3}}, "id_datasets": 7},
        {"datasets": {"a": {"source": "folder", "path": "/"}}, "id_datasets": "a", "features": {"batch_sizes": "x"}},
    ],
)
def test_a_bad_config_is_a_study_error(config):
    with pytest.raises(StudyError):
        plan({"name": "s", "epochs": [0], **config})


def test_a_study_without_folders_is_as_it_was():
    config = {
        "name": "s",
        "datasets": {"digits": None, "glyphs": {"train": 5}},
        "epochs": [0],
        "features": {"tf32": True},
    }
    assert with_shares(config) == config


def lines(config, *files):
    with pytest.raises(StudyError) as raised:
        plan(config, files)
    return str(raised.value).splitlines()


def test_faults_of_the_file_and_of_the_study_are_told_together(tmp_path):
    text = "training: {weight_decay: yes}\nepochs: [2, 1]\nseeds: [0, 0]\n"
    (tmp_path / "study.yaml").write_text(text)
    found = lines(yaml.safe_load(text), tmp_path / "study.yaml")
    assert [line.partition(":")[0] for line in found] == ["training.weight_decay", "name", "datasets"]
    assert "YAML reads yes as True" in found[0]


def test_faults_of_the_file_and_of_the_place_are_told_together(tmp_path):
    (tmp_path / "results").symlink_to("nowhere")
    (tmp_path / "study.yaml").write_text("name: a\nname: smoke\n")
    mine = {"source": "folder", "train": 128, "fit": 50, "test": 50}
    config = SMOKE | {"datasets": {"mine": {**mine, "path": "not/there"}, "yours": {**mine, "path": "nor/there"}}}
    assert lines(config, tmp_path / "study.yaml") == [
        "name: given twice (again in line 2); keep one",
        "datasets.mine.path: there is no folder not/there",
        "datasets.yours.path: there is no folder nor/there",
        f"cannot write results/smoke: {tmp_path}/results is a link to nowhere, which is not there",
    ]


def test_a_good_study_is_planned_and_leaves_no_trace(tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMOKE))
    assert plan(SMOKE, [tmp_path / "study.yaml"]) == Study.parse(SMOKE)
    assert [*tmp_path.iterdir()] == [tmp_path / "study.yaml"]


def test_the_folder_that_is_shared_is_checked_too(tmp_path):
    study = Study.parse(SMOKE | {"shares": "other"})
    assert results_folders(study) == ["results/smoke", "results/other"]
    assert results_folders(Study.parse(SMOKE)) == ["results/smoke"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results/other").write_text("")
    assert faults_here(study) == [
        f"cannot write results/other: {tmp_path}/results/other is not a folder; make it writable or choose another "
        "--directory"
    ]


def test_fewer_cores_than_threads_are_said():
    study = Study.parse(SMOKE | {"threads": 2})
    assert faults_of_threads(study, 2) == faults_of_threads(study, 8) == []
    assert faults_of_threads(study, 1) == ["threads: 2, but the cores to run on are 1; give --cores 2 or more"]


X86, ARM = "flags\t\t: fpu avx2 {}\n", "Features\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("device", "gpu", "processor", "fits"),
    [
        ("cpu", False, X86.format("avx512_bf16"), True),
        ("cpu", False, X86.format("amx_bf16"), True),
        ("cpu", False, ARM.format("bf16"), True),
        ("cpu", False, X86.format("avx512f"), False),
        ("cpu", True, X86.format("avx512f"), False),
        ("auto", False, ARM.format("crc32"), False),
        ("auto", True, X86.format("avx512f"), True),  # the job asks the GPU
        ("cuda", False, X86.format("avx512f"), True),
        ("cpu", False, None, True),  # nothing is known
    ],
)
def test_norms_in_bfloat16_are_refused_on_a_processor_without(monkeypatch, tmp_path, device, gpu, processor, fits):
    monkeypatch.setattr(planning, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(planning, "GPUS", [tmp_path / "nvidiactl"])
    if processor is not None:
        (tmp_path / "cpuinfo").write_text(processor)
    if gpu:
        (tmp_path / "nvidiactl").touch()
    study = Study.parse(SMOKE | {"device": device, "features": SMOKE["features"] | {"precision": "bf16-norms"}})
    said = (
        "features.precision: bf16-norms, but this processor has no instructions for bfloat16 (such as avx512_bf16), "
        "and would be slower by it; take fp32"
    )
    assert faults_of_processor(study) == ([] if fits else [said])
    assert faults_of_processor(Study.parse(SMOKE | {"device": device})) == []
