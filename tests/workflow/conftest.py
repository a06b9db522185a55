"""What tests of the workflow share."""

import pytest
from test_workflow import copy_project, snakemake


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy of the project in which the smoke study was run."""
    folder = copy_project(tmp_path_factory.mktemp("a project with spaces"))
    snakemake(folder)
    return folder


@pytest.fixture(scope="session")
def report(project):
    """Snakemake's own report of the smoke study."""
    path = project / "results/smoke/snakemake-report.html"
    snakemake(project, "--report", path.relative_to(project))
    return path
