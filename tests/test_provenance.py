"""What a stage depends on: the syntax of the modules it reaches, and no other."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from immature_ood import provenance
from immature_ood.checkpoint_id import CheckpointId
from immature_ood.provenance import WITHOUT_INFLUENCE, describe, source_hashes, versions
from immature_ood.sidecars import Trained, read_checkpoints
from immature_ood.storage import write_json

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow/scripts"

SCRIPT = '''"""What it does."""
from immature_ood import script, top

print(top.value())  # says it
'''
TOP = '''"""A module."""


def value():
    """One."""
    from immature_ood.part.inner import ONE

    return ONE
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of this one, and a script that uses it."""
    files = {
        "script.py": SCRIPT,
        "pkg/__init__.py": "",
        "pkg/top.py": TOP,
        "pkg/part/__init__.py": "TWO = 2\n",
        "pkg/part/inner.py": "from immature_ood import storage\nfrom . import near\nfrom ..far import FIVE\nONE = 1\n",
        "pkg/part/near.py": "def six():\n    from .nearer import SIX\n    return SIX\n",
        "pkg/part/nearer.py": "SIX = 6\n",
        "pkg/far.py": "FIVE = 5\n",
        "pkg/script.py": "SEVEN = 7\n",
        "pkg/storage.py": "THREE = 3\n",
        "pkg/other.py": "FOUR = 4\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(provenance, "SOURCE", tmp_path / "pkg")
    return tmp_path


def hashes(package):
    provenance._syntax_hash.cache_clear()
    provenance._imported.cache_clear()
    return source_hashes(package / "script.py")


def test_all_that_is_reached_counts_and_nothing_else(package):
    assert {*hashes(package)} == {
        *("script.py", "script", "top", "part", "part.inner", "part.near", "part.nearer", "far")
    }


def test_a_module_without_influence_counts_where_it_is_named(package):
    assert "storage" in source_hashes(package / "script.py", package / "pkg/storage.py")


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("script.py", "What it does", "What it says", set()),
        ("script.py", "  # says it", "", set()),
        ("pkg/top.py", "One.", "The number one.", set()),
        ("pkg/top.py", "    return ONE", "    return (\n        ONE\n    )", set()),
        ("pkg/storage.py", "3", "33", set()),
        ("pkg/other.py", "4", "44", set()),
        ("script.py", "top.value()", "top.value() + 1", {"script.py"}),
        ("pkg/script.py", "7", "77", {"script"}),  # a module of the script's name
        ("pkg/part/near.py", "return SIX", "return -SIX", {"part.near"}),
        ("pkg/part/nearer.py", "6", "66", {"part.nearer"}),
        ("pkg/far.py", "5", "55", {"far"}),
        ("pkg/top.py", "return ONE", "return -ONE", {"top"}),
        ("pkg/part/inner.py", "ONE = 1", "ONE = 11", {"part.inner"}),
        ("pkg/part/__init__.py", "2", "22", {"part"}),
    ],
)
def test_an_edit_changes_the_hash_of_its_module_unless_it_is_only_words(package, file, old, new, changed):
    before = hashes(package)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    after = hashes(package)
    assert {name for name in before if before[name] != after[name]} == changed


@pytest.mark.parametrize(
    ("sources", "needed", "foreign"),
    [
        (
            [SCRIPTS / "train.py", provenance.SOURCE / "models/glow.py"],
            {"training", "checkpoints", "models.glow", "dequantisation", "kinds"},
            ("datasets", "plots", "detectors", "gradients", "evaluation", "tables", "scores"),
        ),
        (
            [SCRIPTS / "extract.py", provenance.SOURCE / "models/glow.py"],
            {"gradients", "gradients.closed_form", "models.glow", "features"},
            ("datasets", "plots", "detectors", "training", "evaluation", "tables", "scores"),
        ),
        (
            [SCRIPTS / "plot_auroc.py"],
            {"plots.auroc", "plots.style"},
            ("models", "gradients", "training", "checkpoints", "dequantisation", "datasets"),
        ),
        (
            [SCRIPTS / "fit.py", provenance.SOURCE / "detectors/likelihood.py"],
            {"detectors", "detectors.likelihood", "features"},
            ("models", "gradients", "training", "plots", "tables", "evaluation"),
        ),
    ],
    ids=["train", "extract", "plots", "fit"],
)
def test_a_stage_depends_on_what_it_needs_and_on_nothing_after_it(sources, needed, foreign):
    found = source_hashes(*sources)
    assert needed <= found.keys()
    assert not [name for name in found if name.split(".")[0] in foreign]


IMPORTED = """
import ast, json, pathlib, sys
found = {}
for path in map(pathlib.Path, sys.argv[1:]):
    for name in [name for name in sys.modules if name.split(".")[0] == "immature_ood"]:
        del sys.modules[name]
    tree = ast.parse(path.read_bytes())
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, path, "exec"), {})
    found[path.name] = [name for name in sys.modules if name.startswith("immature_ood.")]
print(json.dumps(found))
"""
# Imported inside functions alone, where they are needed: hashed, but not there when a script starts.
LATE: dict[str, set[str]] = {}


def test_what_is_hashed_of_a_script_is_what_it_imports():
    """All scripts, by Python's own idea of what they import; modules that are found by name come on top.

    Kinds of data are left out: a study imports some, by whose sections alone these then have an influence.
    """
    scripts = sorted(SCRIPTS.glob("*.py"))
    done = subprocess.run([sys.executable, "-c", IMPORTED, *scripts], capture_output=True, text=True, check=True)
    for name, modules in json.loads(done.stdout).items():
        imported = {module.removeprefix("immature_ood.") for module in modules} - WITHOUT_INFLUENCE
        hashed, expected = source_hashes(SCRIPTS / name).keys(), imported | {name} | LATE.get(name, set())
        assert {each for each in hashed ^ expected if each.split(".")[0] != "kinds"} == set(), name


def test_every_rule_states_the_sources_of_its_script():
    rules = [
        rule for file in (ROOT / "workflow/rules").glob("*.smk") for rule in re.split(r"\n *rule ", file.read_text())
    ]
    scripts = [(re.search(r"scripts/(\w+\.py)", rule), rule) for rule in rules]
    assert sorted(found[1] for found, _ in scripts if found) == sorted(file.name for file in SCRIPTS.glob("*.py"))
    for found, rule in scripts:
        assert not found or re.search(rf'sources\(\s*"{found[1]}"', rule), found[1]


WITH_MODELS = (
    *("train.py", "make_samples.py", "draw_samples.py", "measure.py"),
    *("extract.py", "extract_calibration.py", "extract_changed.py", "extract_stand_ins.py"),
)


def test_every_script_that_uses_no_model_starts_without_torch():
    for script in SCRIPTS.glob("*.py"):
        reached = source_hashes(script)
        with_torch = [name for name in reached if imports_torch(name, script)]
        assert bool(with_torch) == (script.name in WITH_MODELS), (script.name, with_torch)


def imports_torch(name, script):
    module = provenance.SOURCE.joinpath(*name.split("."))
    file = next((f for f in (module.with_suffix(".py"), module / "__init__.py") if f.is_file()), script)
    return any(line.startswith(("import torch", "from torch")) for line in file.read_text().splitlines())


def test_versions_name_the_commit_where_there_is_one(tmp_path, monkeypatch):
    assert {"commit", "python", "numpy"} == versions("numpy").keys()
    monkeypatch.setattr(provenance, "SOURCE", tmp_path)
    assert versions()["commit"] == "unknown"
    monkeypatch.setenv("PATH", "")
    assert shutil.which("git") is None
    assert versions()["commit"] == "unknown"


def test_costs_and_excess_are_read_from_sidecars(tmp_path):
    checkpoint = CheckpointId("digits", "glow", 0, 4, 100, "key")
    described = {"train_seconds": 1.5, "fit_bits_per_dim": 5.5, "lowest_fit_bits_per_dim": 3.5}
    (tmp_path / "a.json").write_text(json.dumps({"checkpoint": vars(checkpoint), **described}))
    assert read_checkpoints([tmp_path / "a.json"]) == {checkpoint: Trained(checkpoint, 1.5)}


def test_a_description_gathers_study_sources_images_and_checkpoints(tmp_path):
    write_json(tmp_path / "manifest.json", {"name": "digits", "splits": {"fit": {"sha256": "abc", "origins": ["x"]}}})
    write_json(tmp_path / "checkpoint.json", {"checkpoint": {"epoch": 3}, "device": "cpu"})
    described = describe({"name": "s"}, {"a": "1"}, [tmp_path / "manifest.json"], [tmp_path / "checkpoint.json"])
    assert described["study"] == {"name": "s"}
    assert described["sources"] == {"a": "1"}
    assert described["data"] == {"digits": {"name": "digits", "sha256": {"fit": "abc"}}}
    assert described["checkpoints"] == [{"checkpoint": {"epoch": 3}, "device": "cpu"}]
    assert len(described["study_sha256"]) == 64
    assert described["numpy"]
    assert describe({"name": "t"}, {}, [], [])["study_sha256"] != described["study_sha256"]


def test_the_hash_of_a_module_does_not_depend_on_python(tmp_path):
    """Results are brought from a machine to another, whose Python may be older; seen to be so on 3.11 and 3.12."""
    file = tmp_path / "module.py"
    file.write_text(
        "class A(dict[str, int]):\n"
        "    def f(self, x: int | None = None, *, y: float = 1e-3) -> str:\n"
        "        return f\"it's {x!r:>{self['width']}}\" 'and \"so\" on' f'{y:.3f}{x}' ''\n"
        "async def g(*a, **b): return [i async for i in a if not (i, b'\\0', ..., None) == -1]\n",
        encoding="utf-8",
    )
    assert provenance.source_hashes(file) == {"module.py": "fc1e3a11a32d"}
