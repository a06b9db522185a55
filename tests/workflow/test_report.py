"""The report, opened as a reader opens it: every category and every result is clicked in a headless Chromium."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import time

import browser
import numpy as np
import pytest
from PIL import Image
from test_workflow import ROOT

RESULT = re.compile(r'report\(.*?category="(?P<category>\w+)",\s*labels=(?P<labels>\{.*?\}),\s*\)', re.DOTALL)
MENU = "[...document.querySelectorAll('#app nav ul a')]"
ROWS = "[...document.querySelectorAll('#app nav tbody tr')]"
TOGGLES = "[...document.querySelectorAll('#app nav fieldset input')]"


def test_all_results_of_a_category_have_the_same_labels():
    """Else Snakemake's report shows a blank page: it looks for a result that has the labels of another."""
    rules = "".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    results = [*RESULT.finditer(rules)]
    assert len(results) == len(re.findall(r"\breport\(", rules))
    keys = {(result["category"], tuple(key.value for key in keys_of(result["labels"]))) for result in results}
    assert len(keys) == len({category for category, _ in keys}), sorted(keys)


def keys_of(literal):
    """The keys of a dict in source text, whose values need not be known."""
    return ast.parse(literal, mode="eval").body.keys


@pytest.mark.slow
def test_make_run_ends_with_the_summary_and_the_report_in_a_folder_with_spaces(project, monkeypatch):
    """The environment is that of the tests: Snakemake cannot use one whose path has a space."""
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, project)
    shutil.copy(project / "studies/smoke.yaml", project / "my smoke.yaml")
    (project / "results/smoke/report.html").unlink(missing_ok=True)
    monkeypatch.setenv("PYTHONPATH", str(project / "src"))
    # What the make that runs these tests hands down: its flags, and that it stands above (make then names its folder).
    for inherited in [name for name in os.environ if name.startswith("MAKE")]:
        monkeypatch.delenv(inherited)
    goal = ["run", "CORES=2", "STUDY=my smoke.yaml", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed"]
    done = subprocess.run(["make", *goal], cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "AUROC of gradient_norms, glow" in done.stdout
    assert done.stdout.splitlines()[-1] == "report  results/smoke/report.html"
    assert (project / "results/smoke/report.html").stat().st_size > 1_000_000


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    """The report in a browser."""
    if browser.chromium() is None:
        pytest.skip("no chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    with browser.page(folder) as opened:
        opened.downloads = folder / "downloads"
        opened.open(report)
        yield opened


def is_blank(page):
    """Whether the right half of the window, where results are shown, is of one colour."""
    pixels = np.asarray(Image.open(io.BytesIO(page.seen())).convert("L"))
    return pixels[:, pixels.shape[1] // 2 :].std() < 1


def wait_for(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def click(page, element):
    """Clicks what the expression gives, and waits for the page to follow."""
    page.evaluate(f"{element}.click()")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.errors == []
    assert page.evaluate("document.querySelector('#app nav').innerText"), f"a blank page after a click on {element}"


@pytest.mark.slow
def test_a_click_on_every_category_and_every_result_shows_it(page):
    assert "the study smoke" in page.evaluate("document.querySelector('#app').innerText")
    categories = page.evaluate(
        "Object.fromEntries(Object.entries(categories).map(([k, v]) => [k, Object.values(v)[0]]))"
    )
    assert len(categories) == 7
    seen = set()
    for category in categories:
        click(page, "document.querySelector('#app nav ol a')")  # home
        click(page, f"{MENU}.find(item => item.innerText.trim() === {category!r})")
        toggles = range(page.evaluate(f"{TOGGLES}.length"))
        for toggle in toggles or [None]:
            for row in range(page.evaluate(f"{ROWS}.length")):
                seen.add(click_result(page, category, toggle, row))
    assert seen == {path for paths in categories.values() for path in paths}


def click_result(page, category, toggle, row):
    """Opens one row of the menu of a category, and what is told about it; returns the path of the result."""
    if toggle is not None:
        click(page, f"{TOGGLES}[{toggle}]")
    file = page.evaluate(f"{ROWS}[{row}].querySelector('a').getAttribute('download')")
    click(page, f"{ROWS}[{row}].querySelectorAll('a')[0]")  # the eye
    if file:
        wait_for((page.downloads / file).exists, f"{file} is not downloaded")
    else:
        wait_for(lambda: not is_blank(page), f"{category}, row {row} is blank")
        image = "document.querySelector('#app img:not(nav img)')"
        wait_for(lambda: page.evaluate(f"!{image} || {image}.naturalWidth > 300"), f"{category}, row {row}: no picture")
    shown = page.evaluate("app.state.contentPath")
    click(page, f"{ROWS}[{row}].querySelectorAll('a')[1]")  # about it
    path = page.evaluate("app.state.resultPath")
    assert file or shown == page.evaluate(f"results[{path!r}].data_uri")
    assert page.evaluate(f"results[{path!r}].caption")
    click(page, f"[...document.querySelectorAll('#app nav ol a')].find(item => item.innerText === {category!r})")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("place", ["Workflow", "Statistics", "About"])
def test_the_general_pages_are_shown(page, place):
    click(page, "document.querySelector('#app nav ol a')")
    click(page, f"{MENU}.find(item => item.innerText.trim() === {place!r})")
    wait_for(lambda: not is_blank(page), f"{place} is blank")
    assert page.errors == []
