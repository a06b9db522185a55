"""How often intervals of means over pairs hold the truth; as a script: the tables of docs/coverage-means.md.

Every set is in-distribution in turn. The distance d between a pair's ID and OOD scores has an effect of the ID set, one
of the OOD set, one of the pair, and, under each seed, one of the ID set's model and one of the pair. Scores are normal
with deviation 1, so that AUROC = Φ(d / √2). Test images come in blocks, and what a block adds to the scores of its
images is in part the same for all models: a hard block is hard in every pair and under every seed.
"""

import numpy as np
from scipy.special import ndtr

from immature_ood.intervals import Estimate
from immature_ood.means import Term, combined, jackknife, mean_of_new_sets, mean_of_these_pairs, term
from immature_ood.overlap import spearman

LEVEL, ID_EFFECT, OOD_EFFECT, PAIR_EFFECT = 1.0, 0.5, 0.5, 0.3  # the distances' mean, and deviations about it
MODEL_EFFECT, SEED_EFFECT = 0.3, 0.15  # deviations of an ID set's model, and of a pair under it
IMAGES, BLOCK, SHARED = 60, 3, 0.5  # test images a set, images a block, the part of their variance that models share
CELLS = [(sets, seeds) for sets in (3, 4, 5, 9) for seeds in (1, 2, 3, 5)]
FEW_IDS = [(1, 2, 2), (1, 3, 2), (1, 5, 2), (1, 5, 3), (1, 5, 5), (2, 3, 2), (2, 5, 2)]  # ID sets, sets, seeds
COLUMNS = ("these pairs", "these models", "new sets", "these pairs, before", "new sets, before")
BLOCKS = np.arange(IMAGES) // BLOCK


def auroc(distance, *deviations):
    """Of normal scores that far apart, or its mean where the distance has these deviations."""
    return ndtr(distance / np.sqrt(2 + sum(deviation**2 for deviation in deviations)))


def images(generator, shared):
    """(IMAGES,) scores around 0, of deviation 1."""
    return np.sqrt(SHARED) * shared[BLOCKS] + np.sqrt(1 - SHARED) * generator.normal(size=IMAGES)


def simulate(generator, sets, seeds, change=0.0, ids=None):
    """Terms of all pairs and seeds; the true mean for these pairs, and for these models.

    change: if not 0, the terms are differences between two epochs, whose distances differ by this deviation.
    ids: how many of the sets are ID ones, by default all.
    """
    of_id, of_ood = ID_EFFECT * generator.normal(size=sets), OOD_EFFECT * generator.normal(size=sets)
    distances = LEVEL + of_id[:, None] + of_ood + PAIR_EFFECT * generator.normal(size=(sets, sets))
    blocks = generator.normal(size=(sets, IMAGES // BLOCK))
    epochs = [(1, distances), (-1, distances + change * generator.normal(size=(sets, sets)))][: 2 if change else 1]
    pairs = ~np.eye(sets, dtype=bool)
    pairs[ids or sets :] = False
    of_epochs = [(sign, *_of_epoch(generator, each, pairs, seeds, blocks)) for sign, each in epochs]
    signs = [sign for sign, _, _ in of_epochs]
    terms = [combined(signs, both) for both in zip(*(terms for _, terms, _ in of_epochs), strict=True)]
    true = sum(sign * auroc(each, MODEL_EFFECT, SEED_EFFECT)[pairs].mean() for sign, each in epochs)
    return terms, true, sum(sign * of_models for sign, _, of_models in of_epochs)


def _of_epoch(generator, distances, pairs, seeds, blocks):
    terms, of_models = [], []
    for one, seed in np.ndindex(int(pairs.any(axis=1).sum()), seeds):
        model, id_scores = MODEL_EFFECT * generator.normal(), images(generator, blocks[one])
        for other in np.flatnonzero(pairs[one]).tolist():
            distance = distances[one, other] + model + SEED_EFFECT * generator.normal()
            scores = id_scores, distance + images(generator, blocks[other])
            terms.append(term((str(one), str(other)), seed, scores, (BLOCKS, BLOCKS)))
            of_models.append(auroc(distance))
    return terms, np.mean(of_models)


OF_NEW_SETS = auroc(LEVEL, ID_EFFECT, OOD_EFFECT, PAIR_EFFECT, MODEL_EFFECT, SEED_EFFECT)


def bootstrap_over_pairs(terms, resamples=400):
    """What was there before: a percentile bootstrap over pairs, a seed's pair counting as one more."""
    values = np.array([one.value for one in terms])
    draws = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    return Estimate(values.mean(), *np.quantile(values[draws].mean(axis=1), [0.025, 0.975]))


def holds(estimate, true):
    return estimate.low <= true <= estimate.high


def coverage(sets, seeds, repetitions, change=0.0, ids=None):
    """Shares of simulations in which an interval holds the truth, by interval and question; NaN if there is none."""
    generator = np.random.default_rng([sets, seeds])
    of_new_sets = 0.0 if change else OF_NEW_SETS
    found = []
    for _ in range(repetitions):
        terms, true, of_models = simulate(generator, sets, seeds, change, ids)
        these, new, old = mean_of_these_pairs(terms), mean_of_new_sets(terms), bootstrap_over_pairs(terms)
        found.append(
            {
                "these pairs": holds(these, true),
                "these models": holds(these, of_models),
                "new sets": np.nan if np.isnan(new.low) else holds(new, of_new_sets),
                "these pairs, before": holds(old, true),
                "new sets, before": holds(old, of_new_sets),
            }
        )
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def coverage_of_skewed_effects(sets, repetitions):
    """Of new sets, where the effects of sets are exponential and those of pairs small: the hardest case tried."""
    generator = np.random.default_rng(sets)
    pairs = [(one, other) for one, other in np.ndindex(sets, sets) if one != other]
    hits = []
    for _ in range(repetitions):
        of_id, of_ood = generator.exponential(size=(2, sets))
        noise = 0.3 * generator.normal(size=len(pairs))
        terms = [
            _term_of(of_id[i] + of_ood[o] - 2 + e, (str(i), str(o))) for (i, o), e in zip(pairs, noise, strict=True)
        ]
        hits.append(holds(mean_of_new_sets(terms), 0.0))
    return float(np.mean(hits))


def coverage_of_independent_pairs(pairs, repetitions):
    """What was there before, of pairs that share nothing."""
    values = np.random.default_rng(pairs).normal(size=(repetitions, pairs))
    terms = [[_term_of(value) for value in row] for row in values]
    return float(np.mean([holds(bootstrap_over_pairs(row), 0.0) for row in terms]))


def _term_of(value, pair=("", "")):
    return Term(pair, 0, value, {}, separated=False)


# Deviation of a pair's slope, dependence of AUROC on the overlap of pairs, and noise of each epoch.
CORRELATIONS = {"moderate": (0.1, 0.5, 0.3), "near -1": (0.1, 1.0, 0.1)}


def epochs_of_pairs(generator, sets, kind, epochs=5):
    """The pairs; overlap and AUROC (pairs, epochs), of which one rises and the other falls on average."""
    slope_deviation, dependence, noise = CORRELATIONS[kind]
    pairs = [(one, other) for one, other in np.ndindex(sets, sets) if one != other]
    one, other = np.array(pairs).T
    of_sets = generator.normal(size=(4, sets))
    base = of_sets[0][one] + of_sets[1][other] + 0.5 * generator.normal(size=len(pairs))
    slope = -0.25 + slope_deviation * (of_sets[2][one] + of_sets[2][other])
    time = np.arange(epochs) - (epochs - 1) / 2
    overlap = 0.5 * base[:, None] + 0.3 * time + noise * generator.normal(size=(len(pairs), epochs))
    level = 0.5 * of_sets[3][other] - dependence * base
    return pairs, overlap, level[:, None] + slope[:, None] * time + noise * generator.normal(size=overlap.shape)


def correlations(overlap, auroc):
    """Spearman's, of all rows together, and of each pair (pairs,)."""
    pooled = spearman(np.stack([overlap.ravel(), auroc.ravel()], axis=1))
    return pooled, np.array([spearman(np.stack(rows, axis=1)) for rows in zip(overlap, auroc, strict=True)])


def coverage_of_correlations(sets, kind, repetitions):
    """By the jackknife over sets: of all rows together, and of the mean over pairs, for which no interval is given."""
    generator = np.random.default_rng(sets)
    many = [correlations(*epochs_of_pairs(generator, 40, kind)[1:]) for _ in range(20)]
    true = np.mean([pooled for pooled, _ in many]), np.mean([within for _, within in many])
    hits = []
    for _ in range(repetitions):
        pairs, overlap, auroc = epochs_of_pairs(generator, sets, kind)
        within = correlations(overlap, auroc)[1]
        statistics = (
            lambda kept, x=overlap, y=auroc: spearman(np.stack([x[kept].ravel(), y[kept].ravel()], axis=1)),
            lambda kept, each=within: float(each[kept].mean()),
        )
        hits.append([holds(jackknife(pairs, one), value) for one, value in zip(statistics, true, strict=True)])
    return dict(zip(("pairs and epochs", "within a pair"), np.mean(hits, axis=0).tolist(), strict=True))


def _percent(value):
    return "–" if np.isnan(value) else f"{value:.3f}".removeprefix("0")


def main():
    """Prints the tables of docs/coverage-means.md."""
    for title, change in (("Mean AUROC", 0.0), ("Mean difference of two epochs", 0.2)):
        print(f"\n{title}:\n\n| sets | seeds | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
        for sets, seeds in CELLS:
            found = coverage(sets, seeds, 600 if sets < 9 else 200, change)
            print(f"| {sets} | {seeds} | {' | '.join(_percent(found[name]) for name in COLUMNS)} |", flush=True)
    print("\nFew ID sets:\n\n| ID sets | sets | seeds | mean AUROC | mean difference |\n|---|---|---|---|---|")
    for ids, sets, seeds in FEW_IDS:
        found = [coverage(sets, seeds, 1500, change, ids)["these pairs"] for change in (0.0, 0.2)]
        print(f"| {ids} | {sets} | {seeds} | {' | '.join(map(_percent, found))} |", flush=True)
    for kind in CORRELATIONS:
        print(f"\nCorrelation, {kind}:", {sets: coverage_of_correlations(sets, kind, 1000) for sets in (5, 9)})
    print("\nSkewed:", {sets: coverage_of_skewed_effects(sets, 4000) for sets in (5, 9)})
    print("Before, independent pairs:", {n: coverage_of_independent_pairs(n, 4000) for n in (4, 6, 12)})


if __name__ == "__main__":
    main()
