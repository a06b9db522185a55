"""What the data sets are, and what tells them apart that is not in the picture."""

from immature_ood.cues import cues, dataset_table
from immature_ood.job import job
from immature_ood.storage import read_json
from immature_ood.tables import write_csv

with job(snakemake.log) as say:
    manifests = list(map(read_json, snakemake.input))
    write_csv(dataset_table(manifests), snakemake.output[0])
    for line in cues(manifests):
        say(line)
