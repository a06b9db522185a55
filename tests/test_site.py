"""The site that `make docs` makes: whole, without a warning, and without anything from the network."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from pages import PAGES, ROOT

import immature_ood
from immature_ood import registry

pytestmark = pytest.mark.slow
LOADED = re.compile(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)|<link[^>]*rel="stylesheet"[^>]*href="([^"]*)')


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as by make docs, elsewhere."""
    recipe = re.search(r"^docs:.*\n\t(sphinx-build .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    folder = tmp_path_factory.mktemp("site")
    assert recipe.endswith("--doctree-dir site/.doctrees . site")
    arguments = recipe.replace("site/.doctrees . site", f"{folder}/.doctrees . {folder}").split()[1:]
    done = subprocess.run([sys.executable, "-m", "sphinx", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def read(site, page):
    return (site / page).with_suffix(".html").read_text(encoding="utf-8")


def test_every_page_is_there_and_in_the_navigation(site):
    front = read(site, "README")
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file(), page
        assert page.name == "README.md" == str(page) or f'href="{page.with_suffix(".html")}"' in front, page
    assert "README.html" in (site / "index.html").read_text()


def test_nothing_comes_from_the_network(site):
    for file in site.rglob("*.html"):
        loaded = ["".join(found) for found in LOADED.findall(file.read_text(encoding="utf-8"))]
        assert loaded or file.name == "index.html"
        for target in loaded:
            assert not re.match(r"(?:[a-z]+:)?//", target), (file, target)
            assert (file.parent / unquote(target.split("?")[0])).is_file(), (file, target)
    for file in site.rglob("*.css"):
        assert not re.search(r"url\(\W?(?:[a-z]+:)?//|@import", file.read_text(encoding="utf-8")), file


def test_the_reference_has_every_name(site):
    package = read(site, Path("docs/api/python"))
    assert not [name for name in immature_ood.__all__ if f'id="immature_ood.{name}"' not in package]
    for kind in ("detectors", "models", "datasets", "epoch_rules"):
        page = read(site, Path("docs/api") / kind)
        assert not [name for name in registry.names(kind) if f'id="{name.replace("_", "-")}"' not in page]
    assert "--group-by" in read(site, Path("docs/api/command"))
    assert "calibration_images" in read(site, Path("docs/api/study"))
