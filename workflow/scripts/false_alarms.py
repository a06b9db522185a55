"""How often ID test images raise an alarm at a stated level, by p-values from calibration images."""

from typing import TYPE_CHECKING

from immature_ood import registry
from immature_ood.datasets import unit_of
from immature_ood.false_alarms import false_alarm_summary, false_alarm_table, familiar
from immature_ood.job import job
from immature_ood.maturity import chains_of
from immature_ood.scores import load_scores
from immature_ood.storage import read_json, write_bytes
from immature_ood.tables import frame_to_html, read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params, given = snakemake.params, snakemake.input
    data = registry.parse("kinds", params.data)
    known = {}
    for (name, config), manifest in zip(params.datasets.items(), given.manifests, strict=True):
        _, name_of = unit_of(registry.parse("datasets", config, data.dataset))
        known[name] = familiar(read_json(manifest)["splits"], name_of, *params.images)
    scores = zip(map(load_scores, given.scores), map(load_scores, given.calibration), strict=True)
    table = false_alarm_table(scores, chains_of(map(read_table, given.training)), known, params.confidence)
    write_csv(table, snakemake.output.csv)
    summary = false_alarm_summary(table)
    write_bytes(snakemake.output.text, summary.encode())
    own = table[table["id_dataset"] == table["ood_dataset"]]
    shown = own[["id_dataset", "model", "seed", "epoch", "maturity", "detector", "batch_size", "level"]].join(
        own[["calibration_units", "alarms", "alarms_low", "alarms_high", "alarms_of_fit_images", "verdict"]]
    )
    write_bytes(snakemake.output.html, frame_to_html(shown, "False alarms", summary).encode())
