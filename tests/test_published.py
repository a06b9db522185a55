from pathlib import Path

import pandas as pd
import pytest

from immature_ood.published import PUBLISHED_COLUMNS, published_table

REFERENCE = Path(__file__).parents[1] / "reference"
SOURCES = {"house_numbers": "svhn", "faces": "celeba", "digits": "digits"}


def ours(id_dataset="house_numbers", ood_dataset="faces", epochs=(1, 5, 10)):
    """AUROC 0.9 in [0.8, 0.96] and bits/dim 2 of ID, 3 of OOD images, whatever the epoch."""
    common = {"id_dataset": id_dataset, "ood_dataset": ood_dataset, "model": "glow", "seed": 0}
    numbers = {"auroc": 0.9, "auroc_low": 0.8, "auroc_high": 0.96}
    auroc = [
        {**common, "epoch": epoch, "batch_size": b, "detector": detector, **numbers}
        for epoch in epochs
        for b in (1, 5)
        for detector in ("gradient_norms", "typicality")
    ]
    bits = {"overlap": 0.1, "id_bits_per_dim": 2.0, "ood_bits_per_dim": 3.0}
    overlap = [{**common, "epoch": epoch, "bandwidth": name, **bits} for epoch in epochs for name in ("a", "b")]
    return pd.DataFrame(auroc), pd.DataFrame(overlap)


def test_numbers_that_are_in_both_stand_side_by_side():
    table = published_table(*ours(), SOURCES, REFERENCE)
    assert tuple(table.columns) == PUBLISHED_COLUMNS
    authors = table.query("metric == 'auroc' and detector == 'gradient_norms'").set_index(["epoch", "batch_size"])
    assert [*authors.index] == [(1, 1), (1, 5), (10, 1), (10, 5)]  # there is no published epoch 5
    assert authors.loc[(1, 1), "published"] == 0.995165
    assert authors.loc[(1, 1), "difference"] == pytest.approx(0.9 - 0.995165)
    assert authors[["seeds", "seeds_lowest", "seeds_highest"]].values.tolist() == [[1, 0.9, 0.9]] * 4


def test_baselines_stand_beside_the_last_epoch():
    baselines = published_table(*ours(), SOURCES, REFERENCE).query("detector == 'typicality'")
    assert baselines[["epoch", "batch_size", "published"]].values.tolist() == [[10, 1, 1.0]]


def test_bits_of_id_images_and_of_ood_images():
    table = published_table(*ours(epochs=(1, 250)), SOURCES, REFERENCE).query("metric == 'bits_per_dim'")
    assert table[["ood_dataset", "epoch", "ours", "published"]].values.tolist() == [
        ["faces", 250, 3.0, 3.8719],
        ["house_numbers", 1, 2.0, 2.572],
        ["house_numbers", 250, 2.0, 2.1235],
    ]
    assert table[["ours_low", "ours_high"]].isna().all(axis=None)


def test_our_seeds_give_their_range():
    auroc, overlap = ours()
    both = pd.concat([auroc, auroc.assign(seed=1, auroc=0.7)]), pd.concat([overlap, overlap.assign(seed=1)])
    table = published_table(*both, SOURCES, REFERENCE).query("detector == 'gradient_norms'")
    assert {*table["seed"]} == {0, 1}
    assert table[["seeds", "seeds_lowest", "seeds_highest"]].values.tolist() == [[2, 0.7, 0.9]] * 8


@pytest.mark.parametrize("with_overlap", [True, False])
def test_a_study_of_other_data_gives_an_empty_table(with_overlap):
    auroc, overlap = ours("digits", "faces")
    table = published_table(auroc, overlap if with_overlap else None, SOURCES, REFERENCE)
    assert tuple(table.columns) == PUBLISHED_COLUMNS
    assert table.empty


def test_the_references_are_whole():
    """20 ordered pairs of five data sets, b in {1, 5}, epochs {1, 10}; each number once."""
    auroc = pd.read_csv(REFERENCE / "author_auroc_rgb.csv")
    assert len(auroc) == 20 * 2 * 2
    assert not auroc.duplicated(["id_dataset", "ood_dataset", "batch_size", "epoch"]).any()
    assert auroc["auroc"].between(0, 1).all()
    means = auroc.groupby(["batch_size", "epoch"])["auroc"].mean().round(3).to_dict()
    assert means == {(1, 1): 0.772, (1, 10): 0.818, (5, 1): 0.943, (5, 10): 0.970}
