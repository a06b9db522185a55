"""The pages: README.md, CONTRIBUTING.md and docs/. Links lead somewhere, code runs, and no page is left out."""

import re
from pathlib import Path

import pages
import pytest
from pages import PAGES, ROOT

GALLERY = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_what_is_there(page):
    for target in pages.links(page):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in pages.anchors(file), target


def test_every_result_page_is_among_all_results():
    listed = {target.rstrip("/").removesuffix("/README.md") for target in pages.links(Path("docs/results.md"))}
    missing = {page.parent.name for page in PAGES if page.match("docs/*/README.md")} - listed
    assert not missing, f"docs/results.md: a line of the table for each of {sorted(missing)} is missing"


def test_every_page_is_in_the_navigation():
    contents = re.findall(r"^(?:.* <)?([\w/*-]+)>?$", (ROOT / "docs/_site/contents.md").read_text(), re.MULTILINE)
    shown = {ROOT / "README.md"}
    for line in contents:
        found = {file for suffix in (".md", ".rst") for file in ROOT.glob(f"{line}{suffix}")}
        assert found, f"docs/_site/contents.md names {line}, which is not there"
        shown |= found
    assert not {ROOT / page for page in PAGES} - shown


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110


def test_the_lines_from_python_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """And what they find is sound: a test of numbers must hold on any machine."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    names = {}
    for lines in GALLERY:
        exec(compile(lines, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    rows = re.findall(r"^([014]) (\w+) +([\d.]+) \[", said, re.MULTILINE)
    assert len(rows) == 3 * 4
    of = {(int(epoch), name): float(area) for epoch, name, area in rows}
    assert of[0, "image_statistics"] == of[4, "image_statistics"] > 0.9, "a control knows no epoch"
    assert of[4, "gradient_norms"] > 0.9 > of[0, "gradient_norms"]
    normal, turned = map(float, re.search(r"^([\d.]+) ([\d.]+)$", said, re.MULTILINE).groups())
    assert normal < 0.15 < 0.5 < turned
    assert "True True" in said
    assert (tmp_path / "digits.iood").is_file()
