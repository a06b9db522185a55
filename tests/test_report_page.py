"""The report as a page: what it says, what it holds, and that it asks nothing of anyone."""

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from reports import COLOUR, GREY, TEXT, make_figure, make_results

from immature_ood import registry
from immature_ood.grouping import group
from immature_ood.metrics import auroc
from immature_ood.report import charts, looks, page, pictures, rows, views, words

MODULE = sys.modules["immature_ood.report.page"]  # whose name its function has
HOSTILE = ("<script>alert('1')</script>", 'a"b&c')
VERDICTS = {  # how OOD scores move with the epoch, of 0, 1, 2, 4, and how far they jump by themselves
    "better": (lambda detector, epoch: 1.5 - 0.25 * epoch, False),
    "worse": (lambda detector, epoch: 0.5 + 0.25 * epoch, False),
    "equivalent": (lambda detector, epoch: 1.0 + 0.001 * epoch, False),
    "undecided": (lambda detector, epoch: 1.0, True),
    "saturated": (lambda detector, epoch: 3.6 + 0.01 * epoch, False),
}


@pytest.fixture
def light(monkeypatch):
    """Pages without the runtime of charts and their pictures, which take seconds."""
    monkeypatch.setattr(charts, "still", lambda chart, name, described: f"<svg aria-label='{name}'></svg>")
    monkeypatch.setattr(MODULE, "_runtime", lambda: "")
    return monkeypatch


class Elements(HTMLParser):
    """All elements as (name, attributes), and the text of each script by its id."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self._script = [], {}, None
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))
        self._script = dict(attributes).get("id", "") if name == "script" else None

    def handle_data(self, text):
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + text


def data_of(text):
    return json.loads(Elements(text).scripts["data"])


# The claim ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_claim_is_a_sentence_with_the_verdict_and_the_numbers_of_the_table(verdict):
    shift, fresh = VERDICTS[verdict]
    results = make_results(shift=shift, fresh=fresh, test=150)
    claim = words.claims(results)[0]
    assert dict(claim.verdicts)["one pass"] == verdict
    table = results.tables.claim.query("moment == 'one pass' and batch_size == 1 and detector == 'gradient_norms'")
    (row,) = table.to_dict("records")
    assert f"{row['auroc']:.3f} against {row['auroc_reference']:.3f}" in claim.sentence
    assert claim.sentence.startswith(
        "After one pass over the training images (epoch 1), scores by gradient norms of glow"
    )
    assert words.HOW[verdict].format(samples="images") in claim.sentence
    assert "at the first near-mature epoch (2)" in claim.sentence


def test_without_an_earlier_epoch_the_page_says_that_there_is_nothing_to_compare(light):
    results = make_results()
    nothing = results.tables.claim.iloc[:0]
    bare = type(results)(
        **{**vars_of(results), "tables": type(results.tables)(**vars_of(results.tables) | {"claim": nothing})}
    )
    (first, *_) = words.claims(bare)
    assert first.sentence.startswith("At b = 1 no kept epoch is earlier")
    assert set(dict(first.verdicts).values()) == {"same"}
    assert "nothing to compare" in page(bare)


def vars_of(one):
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


@pytest.mark.parametrize(
    ("falling", "said"), [(True, "2 of 2 trainings were still falling"), (False, "All 2 trainings")]
)
def test_whether_trainings_were_still_falling_is_said_on_the_first_screen(light, falling, said):
    text = page(make_results(falling=falling))
    assert said in text[: text.index('id="missed"')]


def test_each_pair_has_the_corrected_verdict_of_its_epoch():
    results = make_results(shift=VERDICTS["worse"][0], test=150)
    header, found = words.chips(results)
    assert header == ["b = 1, one pass", "b = 1, near-mature", "b = 5, one pass", "b = 5, near-mature"]
    assert [row.pair for row in found] == ["digits → glyphs", "glyphs → digits"]
    table = results.tables.immature.query("detector == 'gradient_norms'").set_index(
        ["id_dataset", "batch_size", "epoch"]
    )
    for row in found:
        keys = [(row.pair.split(" → ")[0], b, epoch) for b in (1, 5) for epoch in (1, 2)]
        assert [chip.word for chip in row.chips] == [table.loc[key, "corrected"] for key in keys]
        assert [chip.value.replace("−", "-") for chip in row.chips] == [
            f"{table.loc[key, 'difference']:+.3f}" for key in keys
        ]


def test_seeds_that_disagree_are_counted():
    results = make_results(seeds=(0, 1), shift=VERDICTS["worse"][0], test=150)
    immature = results.tables.immature
    immature.loc[(immature["seed"] == 1) & (immature["epoch"] == 1), "corrected"] = "undecided"
    immature.loc[(immature["seed"] == 0) & (immature["epoch"] == 1), "corrected"] = "worse"
    chip = words.chips(results)[1][0].chips[0]
    assert (chip.word, chip.text) == ("mixed", "1 undecided, 1 worse")


def test_pairs_that_a_control_solves_are_marked(light):
    detectors = ("gradient_norms", "image_statistics")
    shift = lambda detector, epoch: 9.0 if detector == "image_statistics" else 1.0  # noqa: E731
    text = page(make_results(detectors=detectors, controls=("image_statistics",), shift=shift, test=150))
    assert text.count("digits → glyphs †") == 1
    assert "a control, which reads no trained model" in text


# The page -------------------------------------------------------------------------------------------------------------


def test_the_same_results_give_the_same_bytes_and_ask_nothing_of_the_network():
    first = page(make_results())
    MODULE._runtime.cache_clear()
    assert page(make_results()) == first
    assert len(first.encode()) < 2_000_000
    elements = Elements(first)
    (policy,) = [given["content"] for name, given in elements.found if given.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-eval" not in policy
    addresses = [
        given[key] for _, given in elements.found for key in ("src", "href", "srcset", "action") if key in given
    ]
    assert addresses
    assert {address[:1] if address.startswith("#") else address[:11] for address in addresses} <= {"#", "data:image/"}
    assert not re.search(r"url\(\s*['\"]?https?:|@import", first[: first.index('id="data"')])


def test_hostile_names_are_shown_and_never_run(light):
    text = page(make_results(sets=HOSTILE, name="<b>study</b>"))
    for name in HOSTILE:
        assert name not in re.sub(r"<script type=.application/json. id=.data.>.*?</script>", "", text, flags=re.DOTALL)
    assert "<b>study</b>" not in text
    assert {own for own, _ in data_of(text)["pairs"]} == {*HOSTILE}
    assert len([name for name, _ in Elements(text).found if name == "script"]) == 4  # of the page itself
    shown = {given.get("aria-label", "").rsplit(" ", 1)[0] for name, given in Elements(text).found if name == "span"}
    assert {*HOSTILE} <= shown


def test_every_picture_and_control_has_a_name_and_ids_are_unique(light, tmp_path):
    figures = {
        path: make_figure(tmp_path / path.replace("/", "_"))
        for path in ("plots/glow/headline.png", "plots/datasets.png")
    }
    elements = Elements(page(make_results(figures=figures))).found
    images = [given for name, given in elements if name == "img"]
    assert len(images) == 2
    assert all(given["alt"] for given in images)
    assert all(given.get("aria-label") for _, given in elements if given.get("role") in ("img", "region", "group"))
    assert all(given.get("aria-label") for name, given in elements if name == "form")
    ids = [given["id"] for _, given in elements if "id" in given]
    assert len(ids) == len({*ids})
    anchors = {given["href"][1:] for name, given in elements if name == "a"}
    assert anchors <= {*ids}


def test_figures_beyond_the_room_are_named(light, tmp_path):
    figures = {
        path: make_figure(tmp_path / path.replace("/", "_"))
        for path in ("plots/glow/headline.png", "plots/datasets.png")
    }
    light.setattr(MODULE, "FIGURES", len(pictures.figure_uri(figures["plots/glow/headline.png"])))
    text = page(make_results(figures=figures))
    assert "Left out here, to keep the page small: plots/datasets.png" in text
    assert 'alt="AUROC against epoch, a panel a pair, glow"' in text


def test_without_likelihood_or_layers_the_page_has_no_such_section(light):
    text = page(make_results(detectors=("gradient_norms",), layers=0))
    ids = {given.get("id") for _, given in Elements(text).found}
    assert not {"overlap", "layers"} & ids
    assert {"claim", "scores", "cost"} <= ids


def test_several_models_and_seeds_can_be_chosen(light):
    text = page(make_results(models=("glow", "vae"), seeds=(0, 1), detectors=("gradient_norms",)))
    chosen = [given["value"] for name, given in Elements(text).found if name == "option"]
    assert {"vae", "0", "1", "all"} <= {*chosen}


def test_the_first_model_of_the_study_is_spoken_of_and_shown_first(light):
    results = make_results(models=("vae", "glow"), detectors=("gradient_norms",))
    assert {headline.model for headline in results.headlines} == {"vae"}
    elements = [given for name, given in Elements(page(results)).found if name == "option"]
    assert next(given["value"] for given in elements if given["value"] in ("vae", "glow")) == "vae"


def test_samples_of_text_are_excerpts_and_of_another_kind_nothing(light):
    results = make_results(data=TEXT)
    text = page(results)
    excerpts = data_of(text)["galleries"]["digits"]["texts"]
    samples = {bytes(window).decode() for window in results.test["digits"].stored}
    assert len(excerpts) > 20
    assert {*excerpts} <= samples
    assert "data:image/png" not in text
    own_kind = {"kind": str(Path(__file__).parent / "tokens/tokens.py"), "length": 24, "vocabulary": 128}
    other = page(make_results(data=registry.parse("kinds", own_kind)))
    assert data_of(other)["galleries"]["digits"]["cells"] == {}
    assert 'id="missed"' not in other


# What is in it --------------------------------------------------------------------------------------------------------


def test_colours_are_far_enough_apart_in_light_and_in_dark():
    assert looks.contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.005)  # the known least grey on white
    for colours in (looks.LIGHT, looks.DARK):
        texts = {*colours} - {"paper", "card", "line", "id", "ood"}
        for ground in ("paper", "card"):
            assert min(looks.contrast(colours[name], colours[ground]) for name in texts) >= 4.5
        assert min(looks.contrast(colours[name], colours["paper"]) for name in ("line", "id", "ood")) >= 3
        assert min(looks.contrast(colour, colours["paper"]) for colour in looks.SERIES) >= 3


def test_lines_of_many_detectors_differ_in_colour_or_dash():
    """Shapes are not in the list beside the chart."""
    assert len({(each["colour"], each["dash"]) for each in map(charts.look_of, range(40))}) == 40


@given(arrays(np.float64, st.integers(1, 80), elements=st.floats(-1e6, 1e6)))
def test_at_most_five_percent_of_id_scores_are_above_the_threshold_and_any_lower_score_has_more(scores):
    threshold = views.threshold_of(scores)
    assert (scores > threshold).mean() <= 0.05
    below = scores[scores < threshold]
    assert not below.size or (scores > below.max()).mean() > 0.05


def test_every_group_is_in_its_bar_and_capital_above_the_threshold():
    one = make_results(test=100).scores[0]
    view = views.view_of(one, "gradient_norms", 1, "glyphs")
    for name, word in view.words.items():
        scores = one.of("gradient_norms", 1, name)
        inner = [*view.edges[1:-1]]
        assert [ord(letter) - ord("a") for letter in word.lower()] == [
            sum(edge <= score for edge in inner) for score in scores
        ]
        assert [letter.isupper() for letter in word] == [score > view.threshold for score in scores]
    assert sum(map(str.isupper, view.words["digits"])) == 5


@pytest.mark.parametrize("scores", [np.zeros(20), np.append(np.zeros(19), np.inf), np.full(20, np.inf)])
def test_scores_that_do_not_vary_or_are_infinite_have_bars(scores):
    one = make_results().scores[0]
    values = {key: scores if key.batch_size == 1 else value for key, value in one.values.items()}
    view = views.view_of(type(one)(**vars_of(one) | {"values": values}), "gradient_norms", 1, "glyphs")
    assert np.isfinite(view.edges).all()
    assert [*view.edges] == sorted(view.edges)
    assert {*map(len, view.words.values())} == {20}


def test_histograms_are_left_out_beyond_the_room_the_headline_first(light):
    results = make_results(detectors=("likelihood", "gradient_norms"))
    everything, asked = views.views(results)
    assert len(everything) == asked == 2 * 4 * 2 * 2
    light.setattr(views, "MOST_LETTERS", 2_000)
    kept, _ = views.views(results)
    assert 0 < len(kept) < asked
    assert kept == everything[: len(kept)]
    assert {(view.detector, view.batch_size) for view in kept} == {("gradient_norms", 1)}
    assert f"{len(kept)} of {asked} histograms are here" in page(results)


@pytest.mark.parametrize("room", [5, 17, 1000])
def test_samples_are_chosen_bar_by_bar_within_the_room(room):
    results = make_results()
    found, _ = views.views(results)
    groupings = {name: group(np.arange(60), (1, 5)) for name in results.test}
    chosen = [*views.chosen_samples(found, groupings, room)]
    assert len(chosen) == len({*chosen})
    assert all(0 <= image < 60 for _, image in chosen)
    assert max(sum(name == each for each, _ in chosen) for name in groupings) <= room
    if room == 1000:  # every bar of every histogram shows something
        shown = {*chosen}
        for view in found:
            for name, word in view.words.items():
                images = groupings[name].images(view.batch_size)
                bars = {
                    letter
                    for letter, places in zip(word, images, strict=True)
                    if {(name, int(i)) for i in places} <= shown
                }
                assert bars == {*word}


def test_the_most_missed_score_lowest_and_say_how_much_of_id_scores_lower():
    one = make_results(test=40).scores[0]
    own, other = one.of("gradient_norms", 1, "digits"), one.of("gradient_norms", 1, "glyphs")
    images = np.arange(40)[:, None]
    lowest, highest = views.extremes(one, "gradient_norms", 1, "glyphs", images, 3)
    assert [each.score for each in lowest] == sorted(other)[:3]
    assert [each.score for each in highest] == sorted(other, reverse=True)[:3]
    assert [other[each.images[0]] for each in (*lowest, *highest)] == [each.score for each in (*lowest, *highest)]
    for each in (*lowest, *highest):
        assert each.above == pytest.approx(auroc(own, np.array([each.score])))


@pytest.mark.parametrize("chosen", [[7], [3, 3, 59, 0], [*range(30)]])
def test_a_thumbnail_shows_its_sample(chosen):
    stored = np.random.default_rng(0).integers(0, 256, (60, *GREY.shape), dtype=np.uint8)
    shown = pictures.gallery(GREY, stored, chosen)
    sprite = np.asarray(opened(shown.sprite))
    for sample, cell in shown.places.items():
        top, left = (8 * place for place in divmod(cell, pictures.COLUMNS))
        np.testing.assert_array_equal(sprite[top : top + 8, left : left + 8], stored[sample, 0])
    assert shown.places.keys() == {*chosen}


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_large_colour_samples_are_made_small():
    stored = np.zeros((3, *COLOUR.shape), np.uint8)
    stored[1, 0] = 255
    sprite = np.asarray(opened(pictures.gallery(COLOUR, stored, [0, 1, 2]).sprite).convert("RGB"))
    assert sprite.shape == (pictures.LARGEST_SIDE, pictures.COLUMNS * pictures.LARGEST_SIDE, 3)
    assert sprite[16, 16].tolist() == [0, 0, 0]
    assert sprite[16, 48].tolist() == [255, 0, 0]


def test_packed_rows_come_out_as_they_were():
    table = pd.DataFrame({"pair": ["a", "b", "a"], "b": [1, 5, 1], "auroc": [0.5, np.nan, 0.98766]})
    found = rows.packed(table, {"auroc": 4})
    unpacked = {
        name: [
            column["words"][at] if "words" in column else None if at is None else at / column["per"]
            for at in column["at"]
        ]
        for name, column in json.loads(json.dumps(found)).items()
    }
    assert unpacked == {"pair": ["a", "b", "a"], "b": [1, 5, 1], "auroc": [0.5, None, 0.9877]}


def test_curves_of_several_seeds_are_their_mean_between_the_lowest_and_the_highest():
    results = make_results(seeds=(0, 1, 2), detectors=("gradient_norms",), sizes=(1,))
    found = rows.auroc_rows(results).set_index(["pair", "seed", "epoch"])
    table = results.tables.auroc.query("id_dataset == 'digits' and ood_dataset == 'glyphs' and epoch == 2")
    together = found.loc[("digits → glyphs", "all", 2)]
    assert together["auroc"] == pytest.approx(table["auroc"].mean())
    assert (together["low"], together["high"]) == (table["auroc"].min(), table["auroc"].max())
    for row in table.to_dict("records"):
        own = found.loc[("digits → glyphs", str(row["seed"]), 2)]
        assert (own["auroc"], own["low"], own["high"]) == (row["auroc"], row["auroc_low"], row["auroc_high"])
    means = results.tables.means.query("epoch == 2 and over == 'all'")
    mean = found.loc[(rows.MEAN, "all", 2)]
    assert [mean["auroc"], mean["low"], mean["high"]] == means[["auroc", "auroc_pairs_low", "auroc_pairs_high"]].iloc[
        0
    ].tolist()
