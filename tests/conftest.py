"""What tests of several files share."""

from pathlib import Path
from types import SimpleNamespace

import archives
import pytest


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Small archives in the published formats, served on this machine: folder, checksums, formats, url, asked."""
    folder = tmp_path_factory.mktemp("published")
    checksums, formats = archives.build(folder, train=60, test=50)
    with archives.serve(folder) as server:
        yield SimpleNamespace(folder=folder, checksums=checksums, formats=formats, url=server.url, asked=server.asked)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of pictures of every kind."""
    return archives.build_folder(tmp_path_factory.mktemp("my pictures"))


def pytest_collection_modifyitems(items):
    """Tests that run a whole study begin first, the longest file before all: no worker is left alone with them."""
    items.sort(key=lambda item: (item.path.parent.name != "workflow", item.path.name != "test_workflow.py"))
