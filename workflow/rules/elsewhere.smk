# The jobs of training and of features as a list, for a machine without Snakemake: see src/immature_ood/run.py.
from snakemake.io import apply_wildcards


rule list_jobs:
    input:
        expand(f"{DATA}/manifest.json", dataset=study.datasets),
    output:
        f"{RESULTS}/jobs.json",
    log:
        f"{LOGS}/list_jobs.log",
    localrule: True
    params:
        jobs=lambda wildcards: [*listed_jobs()],
        source=sources("list_jobs.py"),
    script:
        "../scripts/list_jobs.py"


def listed_jobs():
    """Each job as immature_ood.run takes it; those of one chain follow one another, and features their checkpoint."""
    for run in every_run():
        for rule in ("train", "extract"):
            wildcards = {key: str(value) for key, value in run.items()}
            yield {
                "rule": rule,
                "architecture": study.models[run["model"]].architecture,
                "kind": study.data.kind,
                "wildcards": wildcards,
                "input": files_of(workflow.get_rule(rule).input, wildcards),
                "output": files_of(workflow.get_rule(rule).output, wildcards),
                "params": {
                    name: (
                        apply_wildcards(value, wildcards)
                        if isinstance(value, str)
                        else value
                    )
                    for name, value in settings(rule, **run).items()
                },
                "log": files_of(workflow.get_rule(rule).log, wildcards),
                "benchmark": [
                    apply_wildcards(workflow.get_rule(rule).benchmark, wildcards)
                ],
            }


def files_of(declared, wildcards):
    """What a rule declares, for some wildcards: by name, or, where nothing has a name, as a list."""

    def found(item):
        if isinstance(item, list):
            return [found(each) for each in item]
        if callable(item):
            return item(Wildcards(fromdict=wildcards))
        return apply_wildcards(item, wildcards)

    named = {name: found(item) for name, item in declared.items()}
    return named or [found(item) for item in declared]
