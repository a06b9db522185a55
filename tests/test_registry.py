"""Plug-ins by name and by path, and what planning with them imports."""

import subprocess
import sys

import pytest

from immature_ood import registry
from immature_ood.provenance import source_hashes
from immature_ood.study import Study, StudyError

DETECTOR = """
from immature_ood.config import DetectorConfig, Positive
from immature_ood.detectors import checked_log_prob
from . import _beside

class Config(DetectorConfig):
    '''Mine.'''
    neighbours: Positive = 3
    '''How many.'''

def fit(config, features):
    return _beside.VALUE
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The path of a detector of one's own, relative to where the process runs; it imports a file beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug.ins").mkdir()
    (tmp_path / "plug.ins/mine.py").write_text(DETECTOR)
    (tmp_path / "plug.ins/_beside.py").write_text("VALUE = 3\n")
    return "plug.ins/mine.py"


def study(**changed):
    return Study.parse({"name": "x", "datasets": {"digits": None, "glyphs": None}, "epochs": [1], **changed})


def test_a_file_of_ones_own_is_a_plug_in(mine):
    assert registry.load("detectors", mine).fit(None, None) == 3
    assert registry.load("detectors", mine) is registry.load("detectors", mine)
    assert registry.parse("detectors", {"detector": mine, "neighbours": 5}).neighbours == 5


def test_a_folder_of_ones_own_is_a_plug_in(mine, tmp_path):
    (tmp_path / "plug.ins/whole").mkdir()
    (tmp_path / "plug.ins/whole/__init__.py").write_text(DETECTOR)
    (tmp_path / "plug.ins/whole/_beside.py").write_text("VALUE = 4\n")
    assert registry.load("detectors", "plug.ins/whole").fit(None, None) == 4
    hashed = source_hashes(registry.file_of("detectors", "plug.ins/whole"), registry.file_of("detectors", mine))
    assert {"__init__.py", "mine.py", "whole/_beside.py", "plug.ins/_beside.py"} <= {*hashed}


def test_a_list_of_detectors_names_a_file_by_its_stem(mine):
    detectors = study(detectors=["likelihood", mine]).detectors
    assert [*detectors] == ["likelihood", "mine"]
    assert detectors["mine"].neighbours == 3


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"neighbour": 5}, "detectors.near.neighbour: unknown key; did you mean 'neighbours'?"),
        ({"neighbours": 0}, "detectors.near.neighbours: Input should be greater than 0, got 0"),
        ({"detector": "plug.ins/none.py"}, "detectors.near.detector: there is no file plug.ins/none.py"),
        (
            {"detector": "plug.ins/broken.py"},
            "detectors.near.detector: plug.ins/broken.py cannot be imported (ZeroDivisionError: division by zero)",
        ),
    ],
)
def test_the_options_of_a_file_are_checked_as_those_of_ours(mine, tmp_path, section, said):
    (tmp_path / "plug.ins/broken.py").write_text("1 / 0\n")
    with pytest.raises(StudyError) as raised:
        study(detectors={"near": {"detector": mine, **section}})
    assert str(raised.value) == said


def test_what_a_plug_in_imports_from_beside_it_is_hashed(mine, tmp_path):
    before = source_hashes(mine)
    assert {"mine.py", "_beside.py", "detectors"} <= {*before}
    (tmp_path / "plug.ins/_beside.py").write_text("VALUE = 4\n")
    source_hashes.__globals__["_syntax_hash"].cache_clear()
    after = source_hashes(mine)
    assert {name for name in before if before[name] != after[name]} == {"_beside.py"}


def test_planning_with_every_plug_in_imports_no_torch():
    code = (
        "import sys; from immature_ood import planning, registry, study\n"
        "sections = {kind: {n: {'path': 'x'} if n in ('folder', 'array') else None for n in registry.names(kind)}"
        " for kind in ('datasets', 'models')}\n"
        "try: planning.plan({'name': 'x', 'epochs': [1], 'detectors': registry.names('detectors'), **sections})\n"
        "except study.StudyError: pass\n"
        "print(*{'torch', 'torchvision', 'scipy', 'sklearn', 'matplotlib', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
