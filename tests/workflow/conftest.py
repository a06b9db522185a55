"""What tests of the workflow share."""

import pytest
from test_workflow import copy_project, snakemake


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy of the project in which the smoke study was run."""
    folder = copy_project(tmp_path_factory.mktemp("a project with spaces"))
    snakemake(folder)
    return folder
