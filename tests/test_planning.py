"""What is refused before any job, though the config alone does not tell."""

import pytest

from immature_ood.planning import faults
from immature_ood.study import Study


def study_of(**datasets):
    return Study(name="s", datasets=datasets, epochs=[0])


def test_a_study_without_faults_has_none():
    assert faults(study_of(digits={}, glyphs={"unit": "image"}, photos={"unit": "photograph"})) == []


@pytest.mark.parametrize(
    ("unit", "hint"), [("letters", "did you mean 'letter'"), ("block", "valid names: letter, image")]
)
def test_a_unit_that_a_source_does_not_tell_apart_is_refused(unit, hint):
    (fault,) = faults(study_of(mine={"source": "glyphs", "unit": unit}, digits={}))
    assert fault.startswith(f"datasets.mine.unit: unknown name '{unit}' of the source glyphs; {hint}")
