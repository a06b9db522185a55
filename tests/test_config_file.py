"""A config file is read as it is written, or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from immature_ood.config_file import StudyError, faults_of_file, read_config

ROOT = Path(__file__).parents[1]
SMOKE = (ROOT / "studies/smoke.yaml").read_text(encoding="utf-8")


def written(folder, text):
    (folder / "study.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "study.yaml"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("datasets: {own: {train: 1}, own: {train: 2}}", ["datasets.own: given twice (again in line 1); keep one"]),
        ("training: {}\nname: a\ntraining: {}", ["training: given twice (again in line 3); keep one"]),
        ("a: {b: [{c: 1, c: 2}]}", ["a.b.0.c: given twice (again in line 1); keep one"]),
        (
            "training: {weight_decay: yes, learning_rate: On}",
            [
                "training.weight_decay: YAML reads yes as True; write it in quotes if it is a name, or true or false",
                "training.learning_rate: YAML reads On as True; write it in quotes if it is a name, or true or false",
            ],
        ),
        (
            "seeds: [010, 1:30, 0x10, 1_0]",
            [
                f"seeds.{place}: YAML reads {word} as {number}; write it in quotes if it is a name, or a number "
                "without _, : or a leading 0"
                for place, (word, number) in enumerate({"010": 8, "1:30": 90, "0x10": 16, "1_0": 10}.items())
            ],
        ),
        (
            "rate: 1_0.5",
            ["rate: YAML reads 1_0.5 as 10.5; write it in quotes if it is a name, or a number without _ and :"],
        ),
        ("name: 2024-11-25", ["name: YAML reads 2024-11-25 as 2024-11-25; write it in quotes if it is a name"]),
        (
            "datasets: {no: {}, 2024: {}, 1e3: {}, 007: {}, null: {}, 1.5: {}}",
            [
                f"datasets.{name}: YAML does not read {name!r} as a word; write it in quotes: '{name}'"
                for name in ("no", "2024", "007", "null", "1.5")
            ],
        ),
        ("a: &a {b: *a}", ["a.b: holds itself"]),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", []),
        ("a: ['yes', \"010\", true, False, 1e-3, 1.5, -2, .5, ~, null, 1.5e+3, 'no', 2e5]", []),
    ],
)
def test_what_yaml_would_read_as_something_else_is_named(tmp_path, text, faults):
    assert faults_of_file(written(tmp_path, text)) == faults
    if faults:
        with pytest.raises(StudyError):
            read_config(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# nothing", "is empty"),
        ("- name: a", "holds a list"),
        ("name", "holds one value"),
        ("[", "is not YAML: while parsing"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("name: caf\xe9".encode("latin-1"), "is not UTF-8 (byte 10); save it as UTF-8"),
        (b"a: \0", "is not YAML"),
        ("a: " + "[" * 5000, "is not YAML"),
        ("a: " + "9" * 5000, "is not YAML"),
    ],
)
def test_what_is_no_config_is_one_line(tmp_path, text, said):
    with pytest.raises(StudyError) as raised:
        read_config(written(tmp_path, text))
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfname: a\nseeds: [1]\n",
        b"name: a\r\nseeds: [1]\r\n",
        b'{"name":"a","seeds":[1]}',
        b'{\n\t"name": "a",\n\t"seeds": [1]\n}\n',
        b"\"name\": 'a'\nseeds: [1]",
    ],
    ids=["byte-order mark", "CRLF", "JSON", "JSON with tabs", "quoted"],
)
def test_other_ways_to_write_it_are_read_alike(tmp_path, text):
    assert read_config(written(tmp_path, text)) == {"name": "a", "seeds": [1]}


def test_a_name_that_is_given_twice_in_json_is_named(tmp_path):
    assert faults_of_file(written(tmp_path, '{"a": 1, "a": 2}')) == ["a: given twice (again in line 1); keep one"]


LOCALES = [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "en_US.ISO-8859-1"}]


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: locale["LC_ALL"])
def test_the_name_of_a_study_is_told_in_any_locale(tmp_path, locale):
    path = written(tmp_path, "# Größe\n" + SMOKE)
    done = study(path, **locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.stdout, done.stderr, done.returncode) == ("smoke\n", "", 0)


def test_all_that_is_wrong_is_told_with_its_file(tmp_path):
    path = written(tmp_path, json.dumps({"name": "a", "epoch": 1}))
    done = study(path)
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.splitlines() == [
        f"{path}: {line}"
        for line in ("datasets: is missing", "epochs: is missing", "epoch: unknown key; did you mean 'epochs'?")
    ]


def test_the_name_of_a_study_needs_neither_torch_nor_numpy():
    code = "import sys, immature_ood.study; sys.exit(bool({'torch', 'numpy', 'pandas'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def study(path, **environment):
    command = [sys.executable, "-m", "immature_ood.study", str(path)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
