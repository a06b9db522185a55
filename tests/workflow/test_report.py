"""Both reports, opened as a reader opens them in a headless Chromium: Snakemake's, of files, and our page."""

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

RESULT = re.compile(r'report\(.*?category="(?P<category>[\w ]+)",\s*labels=(?P<labels>\{.*?\}),\s*\)', re.DOTALL)
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
    for made in ("report.html", "snakemake-report.html"):
        (project / "results/smoke" / made).unlink(missing_ok=True)
    monkeypatch.setenv("PYTHONPATH", str(project / "src"))
    # What the make that runs these tests hands down: its flags, and that it stands above (make then names its folder).
    for inherited in [name for name in os.environ if name.startswith("MAKE")]:
        monkeypatch.delenv(inherited)
    goal = ["run", "CORES=2", "STUDY=my smoke.yaml", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed"]
    done = subprocess.run(["make", *goal], cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "AUROC of gradient_norms, glow" in done.stdout
    assert done.stdout.splitlines()[-4] == "report  results/smoke/report.html"
    assert done.stdout.splitlines()[-1] == "jobs    results/smoke/snakemake-report.html"
    assert (project / "results/smoke/snakemake-report.html").stat().st_size > 1_000_000
    assert 1_000_000 < (project / "results/smoke/report.html").stat().st_size < 3_000_000


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


# The page of our own --------------------------------------------------------------------------------------------------

DRAWN = "[...document.querySelectorAll('form[data-chart]')].filter(form => form.dataset.chart !== 'scores')"


@pytest.fixture(scope="module")
def ours(project, tmp_path_factory):
    """Our page in a browser."""
    if browser.chromium() is None:
        pytest.skip("no chromium: apt-get install chromium")
    with browser.page(tmp_path_factory.mktemp("browser")) as opened:
        opened.open(project / "results/smoke/report.html")
        wait_for(lambda: is_drawn(opened), "not all charts are drawn")
        yield opened


def is_drawn(page):
    """Whether each chart shows marks, or says why it shows none."""
    told = "document.getElementById('status-' + form.dataset.chart).textContent"
    marks = (
        "document.getElementById('chart-' + form.dataset.chart).querySelector('.live svg .mark-group, .live svg path')"
    )
    return page.evaluate(f"{DRAWN}.every(form => {told} || {marks.replace('.live ', '')})")


def press(page, key):
    """A key, as from a keyboard."""
    for kind in ("rawKeyDown", "keyUp"):
        code = {"Tab": 9, "ArrowRight": 39, "End": 35, "Home": 36}[key]
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@pytest.mark.slow
def test_every_control_of_our_page_answers_without_an_error(ours):
    controls = ours.evaluate("[...document.querySelectorAll('form select, form input, form button')].length")
    assert controls > 20
    for place in range(ours.evaluate("document.querySelectorAll('form select').length")):
        select = f"document.querySelectorAll('form select')[{place}]"
        for option in [*range(ours.evaluate(f"{select}.options.length")), 0]:
            ours.evaluate(
                f"{select}.selectedIndex = {option}, {select}.dispatchEvent(new Event('change', {{bubbles: true}}))"
            )
            wait_for(lambda: is_drawn(ours), f"select {place}, option {option}")
    for place in range(ours.evaluate("document.querySelectorAll('form input').length")):
        for _ in range(2):
            ours.evaluate(f"document.querySelectorAll('form input')[{place}].click()")
            wait_for(lambda: is_drawn(ours), f"box {place}")
    plain = ".mark-line path:not([stroke^='#']), .mark-symbol path:not([fill^='#'])"
    assert ours.evaluate(f"document.querySelectorAll({plain!r}).length") == 0
    assert ours.evaluate("document.querySelectorAll('.live .mark-line path').length") >= 10  # 2 sets, 2 pairs, 3 + 3
    for place in range(ours.evaluate("document.querySelectorAll('summary').length")):
        ours.evaluate(f"document.querySelectorAll('summary')[{place}].click()")
    assert ours.errors == []


@pytest.mark.slow
def test_bars_by_click_and_by_key_show_the_samples_behind_them(ours):
    said = ours.evaluate("document.getElementById('status-scores').textContent")
    alarms, of_id, missed, of_ood = map(
        int, re.findall(r"(\d+) of (\d+) of", said)[0] + re.findall(r"(\d+) of (\d+) of", said)[1]
    )
    assert (of_id, of_ood) == (50, 50)
    assert alarms <= 2  # 5 %
    counts = np.zeros(2, int)
    for bar in range(ours.evaluate("document.querySelectorAll('#bars button').length")):
        ours.evaluate(f"document.querySelectorAll('#bars button')[{bar}].click()")
        counts += headings(ours)
        shown = ours.evaluate("document.querySelectorAll('#behind .thumb').length")
        assert shown == ours.evaluate("document.querySelectorAll('#behind li').length")
        assert (shown > 0) == (headings(ours).sum() > 0)
    assert [*counts] == [50, 50]
    for name, count in (("missed", missed), ("alarms", alarms)):
        ours.evaluate(f"document.querySelector('button[name={name}]').click()")
        assert headings(ours).tolist() == [count]
    ours.evaluate("document.querySelector('#bars button[tabindex=\"0\"]').focus()")
    for key, place in (("Home", 0), ("ArrowRight", 1), ("End", 25)):
        press(ours, key)
        assert ours.evaluate("[...document.querySelectorAll('#bars button')].indexOf(document.activeElement)") == place
        assert ours.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        assert ours.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert ours.errors == []


def headings(page):
    """The counts in the headings of the lists of samples."""
    texts = page.evaluate("[...document.querySelectorAll('#behind h3')].map(heading => heading.textContent)")
    return np.array([int(re.search(r": (\d+)", text)[1]) for text in texts])


@pytest.mark.slow
def test_all_controls_are_reached_by_tab(ours):
    """But for those that leave no choice, which are not shown."""
    ours.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    controls = "select, input, #bars button[tabindex='0'], form button"
    shown = f"[...document.querySelectorAll({controls!r})].filter(each => each.checkVisibility())"
    everything, reached = ours.evaluate(f"{shown}.length"), set()
    assert everything > 15
    for _ in range(300):
        press(ours, "Tab")
        reached |= {ours.evaluate(f"{shown}.indexOf(document.activeElement)")} - {-1}
        if len(reached) == everything:
            break
    assert reached == {*range(everything)}


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 390])
def test_our_page_is_as_wide_as_the_window(ours, width):
    ours.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    ours.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert ours.evaluate("document.documentElement.scrollWidth") <= width
    ours.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.slow
def test_without_javascript_text_tables_and_still_figures_are_there(project, ours):
    ours.call("Emulation.setScriptExecutionDisabled", value=True)
    ours.open(project / "results/smoke/report.html")
    visible = "filter(each => each.checkVisibility())"
    assert ours.evaluate(f"[...document.querySelectorAll('form, .bars')].{visible}.length") == 0
    stills = ours.evaluate(f"[...document.querySelectorAll('.chart > svg[role=img]')].{visible}.length")
    assert stills == 4
    assert ours.evaluate(f"[...document.querySelectorAll('img')].{visible}.every(each => each.naturalWidth > 300)")
    assert ours.evaluate(f"[...document.querySelectorAll('.no-js img')].{visible}.length") > 0
    assert "pairs" in ours.evaluate("document.querySelector('.lead').innerText")
    ours.call("Emulation.setScriptExecutionDisabled", value=False)
    assert ours.errors == []
