import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_maturity import make_chains

from immature_ood.claim import CLAIM_COLUMNS
from immature_ood.tables import (
    NAMES,
    claim_text,
    paper_tables,
    read_table,
    summary_text,
    to_html,
    to_markdown,
    write_csv,
)

PAIRS = [("digits", "photos"), ("photos", "digits")]
AUROC = {  # by (ID, OOD, b): epochs 0, 1 and 4
    ("digits", "photos", 1): (0.51, 0.97, 0.93),
    ("digits", "photos", 5): (0.52, 0.9996, 0.99961),  # both print as 1.000
    ("photos", "digits", 1): (0.61, 0.63, 0.64),
    ("photos", "digits", 5): (0.80, 0.70, np.float64(0.75)),
    ("digits", "digits", 1): (0.5, 0.49, 0.48),
    ("digits", "digits", 5): (0.5, 0.51, 0.56),
}


def make_auroc(seeds=(0,), spread=0.0, detectors=("gradient_norms",), epochs=(0, 1, 4)):
    """A table of AUROC whose seed s adds s × spread, with intervals of ± 0.05."""
    rows = [
        (id_dataset, ood_dataset, "glow", seed, epoch, b, detector, value + seed * spread)
        for (id_dataset, ood_dataset, b), values in AUROC.items()
        for epoch, value in zip(epochs, values, strict=True)
        for seed, detector in product(seeds, detectors)
    ]
    keys = ["id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "detector", "auroc"]
    table = pd.DataFrame(rows, columns=keys)
    return table.assign(auroc_low=table.auroc - 0.05, auroc_high=table.auroc + 0.05)


CLAIM = "What the claim comes to."


def markdown_rows(text, name):
    """The cells of all rows of that name."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return [cells for first, *cells in rows if first == name]


def test_csv_is_stable(tmp_path):
    table = pd.DataFrame({"name": ["a", "b"], "auroc": [1 / 3, np.nan], "images_seen": [3000000, 0]})
    write_csv(table, tmp_path / "tables" / "auroc.csv")
    assert (tmp_path / "tables" / "auroc.csv").read_text() == "name,auroc,images_seen\na,0.333333,3000000\nb,,0\n"


ODD_NAMES = ["NA", "N/A", "nan", "NaN", "null", "None", "True", "no", "1e3", "inf", "007", "2024", "1_0", "0x10", "-"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_read_as_it_was_written_whatever_it_looks_like(tmp_path, name):
    """Alone in its column, and beside an ordinary one."""
    for names in ([name, name], [name, "photos"]):
        table = pd.DataFrame(dict.fromkeys(NAMES, names) | {"epoch": [0, 1], "auroc": [0.5, np.nan], "low": np.nan})
        write_csv(table, tmp_path / "auroc.csv")
        found = read_table(tmp_path / "auroc.csv")
        assert found[[*NAMES]].to_dict("list") == dict.fromkeys(NAMES, names)
        pd.testing.assert_frame_equal(found[["epoch", "auroc", "low"]], table[["epoch", "auroc", "low"]])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_table_of_odd_names_is_as_one_of_ordinary_names(tmp_path, name):
    """As sets, models and detectors; the pair of the set with a set called 2023 too."""
    ordinary = make_auroc()
    odd = ordinary.replace({"digits": name, "photos": "2023", "glow": name, "gradient_norms": name})
    write_csv(odd, tmp_path / "auroc.csv")
    text = to_markdown(paper_tables(read_table(tmp_path / "auroc.csv")))
    assert f"AUROC of {name}, {name}" in text
    for pair, renamed in (("digits → photos", f"{name} → 2023"), ("photos → digits", f"2023 → {name}"), ("mean",) * 2):
        expected = markdown_rows(to_markdown(paper_tables(ordinary)), pair)
        assert markdown_rows(text, renamed) == expected != []


def test_no_table_is_read_by_pandas_own_idea_of_missing():
    root = Path(__file__).parents[1]
    files = [*(root / "src").rglob("*.py"), *(root / "workflow").rglob("*.py")]
    assert [file.name for file in files if "read_csv(" in file.read_text(encoding="utf-8")] == ["tables.py"]


def test_markdown_of_one_seed():
    text = to_markdown(paper_tables(make_auroc()))
    epochs = ["epoch 0", "epoch 1", "epoch 4"]
    assert markdown_rows(text, "ID → OOD") == [[f"b={b}, {epoch}" for b in (1, 5) for epoch in epochs]]
    assert markdown_rows(text, "digits → photos") == [
        ["0.510", "**0.970**", "0.930", "0.520", "**1.000**", "**1.000**"]
    ]
    assert markdown_rows(text, "photos → digits") == [["0.610", "0.630", "**0.640**", "**0.800**", "0.700", "0.750"]]
    assert markdown_rows(text, "mean") == [["0.560", "0.800", "0.785", "0.660", "0.850", "0.875"]]
    assert text.startswith("### AUROC of gradient_norms, glow\n")
    assert text.count("Bold: best epoch of the pair and b") == 1
    assert "picked on the test data" in text
    assert "Epoch 0 is the untrained control." in text
    assert "±" not in text


def test_calibration_is_a_table_of_its_own():
    *_, calibration = paper_tables(make_auroc())
    text = to_markdown([calibration])
    assert markdown_rows(text, "digits") == [["0.500", "0.490", "0.480", "0.500", "0.510", "0.560"]]
    assert not markdown_rows(text, "mean")
    assert "**" not in text
    assert "Bold" not in text
    assert "About 0.5" in text


def test_several_seeds_show_mean_and_standard_deviation():
    text = to_markdown(paper_tables(make_auroc(seeds=(0, 1, 2), spread=0.01)))
    assert markdown_rows(text, "digits → photos")[0][:2] == ["0.520 ± 0.010", "**0.980** ± 0.010"]
    assert markdown_rows(text, "mean")[0][0] == "0.570 ± 0.010"
    assert "Means over 3 seeds; ±: their standard deviation." in text


def test_a_table_whose_cells_have_no_spread_does_not_explain_one():
    several = make_auroc(seeds=(0, 1, 2), spread=0.01)
    text = summary_text(several, CLAIM)
    assert "Means over 3 seeds.\n" in text
    assert "±" not in text
    for render in (to_markdown, lambda tables: to_html(tables, "A study")):
        assert "Means over 3 seeds; ±: their standard deviation." in render(paper_tables(several))


def test_the_spread_of_the_mean_is_that_of_each_seeds_mean():
    table = make_auroc(seeds=(0, 1))
    opposite = np.where(table.id_dataset == "digits", 1, -1) * (table.seed - 0.5) * 0.1
    text = to_markdown(paper_tables(table.assign(auroc=table.auroc + opposite)))
    assert markdown_rows(text, "digits → photos")[0][0] == "0.510 ± 0.071"
    assert markdown_rows(text, "mean")[0][0] == "0.560 ± 0.000"


def test_without_epoch_0_no_word_of_it():
    assert "untrained" not in to_markdown(paper_tables(make_auroc(epochs=(1, 2, 4))))


def test_one_table_a_detector_and_model():
    table = make_auroc(detectors=("gradient_norms", "typicality"))
    table = pd.concat([table, table.assign(model="deeper")])
    titles = [made.title for made in paper_tables(table)]
    assert titles[:4] == [
        f"AUROC of {detector}, {model}" for model in ("deeper", "glow") for detector in ("gradient_norms", "typicality")
    ]
    assert len(titles) == 8


def test_an_untested_pair_is_a_dash():
    table = make_auroc()
    untested = table.id_dataset.eq("digits") & table.ood_dataset.eq("photos") & table.epoch.eq(1)
    text = to_markdown(paper_tables(table[~untested]))
    assert markdown_rows(text, "digits → photos") == [["0.510", "–", "**0.930**", "0.520", "–", "**1.000**"]]
    assert markdown_rows(text, "mean") == [["0.560", "–", "0.785", "0.660", "–", "0.875"]]


SOLVED = pd.DataFrame(
    [("digits", "photos", 5, "pixels", 0.99, 0.98)],
    columns=["id_dataset", "ood_dataset", "batch_size", "control", "auroc", "auroc_low"],
)


def test_a_pair_that_a_control_solves_is_marked_and_left_out_of_a_second_mean():
    """Solved for b = 5 alone, it is among the others of b = 1."""
    table = paper_tables(make_auroc(seeds=(0, 1), spread=0.01), SOLVED)[0]
    assert [name for name, _ in table.rows] == ["digits → photos †", "photos → digits", "mean", "mean of the others"]
    mean, others = (dict(zip(table.columns, cells, strict=True)) for _, cells in table.rows[2:])
    of_photos = dict(zip(table.columns, table.rows[1][1], strict=True))
    for b, epoch in table.columns:
        assert others[b, epoch].mean == pytest.approx((mean if b == 1 else of_photos)[b, epoch].mean)
    markdown, page, text = (
        to_markdown([table]),
        to_html([table], "Tables"),
        summary_text(make_auroc(), CLAIM, solved=SOLVED),
    )
    for form in (markdown, page, text):
        assert "digits → photos †" in form
        assert "† solved for some b by a control, which reads no trained model" in form
    assert page.count('<tr class="mean">') == 1
    assert "†" not in to_markdown(paper_tables(make_auroc()))


def test_the_claim_comes_after_what_controls_solve_and_how_far_trainings_came():
    training, claim = make_chains().training, pd.DataFrame(columns=[*CLAIM_COLUMNS])
    parts = claim_text(claim, training, SOLVED).split("\n\n")
    assert parts[0].startswith("Solved by a control at b=5")
    assert parts[1].startswith("12 of 12 trainings did not reach the minimum")
    assert parts[2].startswith("No kept epoch is earlier")
    assert len(claim_text(claim, training).split("\n\n")) == 2


def test_html_is_a_page_of_its_own():
    page = to_html(paper_tables(make_auroc()), "pocket <study>", summary="1 < 2")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>pocket &lt;study&gt;</h1>" in page
    assert "<pre>1 &lt; 2</pre>" in page
    assert not re.search(r"(src|href)=", page)
    assert re.findall(r"<b>([\d.]+)</b>", page) == ["0.970", "1.000", "1.000", "0.640", "0.800"]
    assert page.count('<th scope="colgroup" class="first" colspan="3">b = 1</th>') == 2
    assert re.findall(r'<tr class="mean"><th scope="row">(\w+)</th>', page) == ["mean"]
    assert "Bold: best epoch" in page
    for tag in ("table", "tr", "td", "th", "b", "figure", "p"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_summary_for_the_terminal():
    assert summary_text(make_auroc(), CLAIM) == (
        "AUROC of gradient_norms, glow\n"
        "                  b=1, epoch             b=5, epoch\n"
        "ID → OOD              0      1      4        0      1      4\n"
        "digits → photos   0.510  0.970* 0.930    0.520  1.000* 1.000*\n"
        "photos → digits   0.610  0.630  0.640*   0.800* 0.700  0.750\n"
        "mean              0.560  0.800  0.785    0.660  0.850  0.875\n"
        "\n"
        "* best epoch of the pair and b (each, if several print the same), picked on the test data.\n"
        "Epoch 0 is the untrained control.\n"
        "\n"
        "Calibration (ID test against ID fit set): AUROC 0.480 to 0.560, 5 of 6 intervals hold 0.5.\n"
        "\n"
        "What the claim comes to.\n"
    )


@pytest.mark.parametrize("epochs", [6, 10])
def test_the_summary_fits_the_terminal(epochs):
    table = make_auroc()
    wide = pd.concat([table[table.epoch.eq(0)].assign(epoch=epoch) for epoch in range(epochs)])
    lines = summary_text(wide, CLAIM).splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.startswith("digits → photos") for line in lines) == (1 if epochs == 6 else 2)
