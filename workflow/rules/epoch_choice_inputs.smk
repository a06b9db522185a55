# What epoch rules are shown, and where; functions stand apart, as snakemake --lint asks.

STAND_INS = f"{RESULTS}/stand_ins/{{dataset}}"
CHANGES = [change.name for change in study.changes]
CHOOSING = {
    "id": REAL,
    "model": [model for model in study.models if study.choosable(model)],
    "seed": study.seeds,
}


def rule_sources(script):
    """As sources(), with the detectors and the epoch rules that the study names."""
    rules = (
        registry.file_of("epoch_rules", rule.rule)
        for rule in study.epoch_rules.values()
    )
    return sources(
        script,
        *(registry.file_of("detectors", file) for file in study.detector_files()),
        *rules,
    )


def epochs_read(wildcards):
    """By detector whose epoch can be chosen, and by epoch at which it has scores, the epochs whose features it reads."""
    own = Place(wildcards.model, int(wildcards.seed), 0, wildcards.id)
    at = {epoch: study.readings(own._replace(epoch=epoch)) for epoch in study.epochs}
    return {
        name: {
            epoch: [place.epoch for place in found[name]]
            for epoch, found in at.items()
            if name in found
        }
        for name in study.choosable(wildcards.model)
    }


def changed_features(wildcards):
    """The features of changed fit images at every kept epoch of a training, epoch by epoch; none if no rule asks."""
    return [
        path
        for folder in every_checkpoint(FEATURES, **{**wildcards})
        for path in expand(f"{folder}/stand_in-{{change}}.safetensors", change=CHANGES)
    ]
