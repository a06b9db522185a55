# Plots: made from tables, scores and small arrays alone; .png for the screen, .pdf for a paper.


rule plot_auroc:
    input:
        f"{TABLE}/auroc_{{id}}.csv",
    output:
        by_epoch=report(
            f"{PLOT}/auroc_by_epoch_{{id}}.png",
            caption="../report/auroc_by_epoch.rst",
            category="AUROC",
            labels={"ID": "{id}", "model": "{model}", "what": "against epoch"},
        ),
        by_cost=report(
            f"{PLOT}/auroc_by_cost_{{id}}.png",
            caption="../report/auroc_by_cost.rst",
            category="AUROC",
            labels={"ID": "{id}", "model": "{model}", "what": "against cost"},
        ),
        by_epoch_pdf=f"{PLOT}/auroc_by_epoch_{{id}}.pdf",
        by_cost_pdf=f"{PLOT}/auroc_by_cost_{{id}}.pdf",
    log:
        f"{LOGS}/plot_auroc/{{model}}/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_auroc/{{model}}/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        samples=study.data.samples,
        source=sources("plot_auroc.py"),
    script:
        "../scripts/plot_auroc.py"


rule plot_headline:
    input:
        auroc=f"{TABLE}/auroc.csv",
        means=f"{TABLE}/means.csv",
    output:
        png=report(
            f"{PLOT}/headline.png",
            caption="../report/headline.rst",
            category="AUROC",
            labels={"ID": "all", "model": "{model}", "what": "the claim"},
        ),
        pdf=f"{PLOT}/headline.pdf",
    log:
        f"{LOGS}/plot_headline/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_headline/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        controls=study.controls,
        samples=study.data.samples,
        source=sources("plot_headline.py"),
    script:
        "../scripts/plot_headline.py"


rule plot_maturity:
    input:
        f"{TABLE}/auroc.csv",
    output:
        png=report(
            f"{PLOT}/auroc_by_excess.png",
            caption="../report/auroc_by_excess.rst",
            category="AUROC",
            labels={"ID": "all", "model": "{model}", "what": "against maturity"},
        ),
        pdf=f"{PLOT}/auroc_by_excess.pdf",
    log:
        f"{LOGS}/plot_maturity/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_maturity/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        unit=study.data.unit,
        source=sources("plot_maturity.py"),
    script:
        "../scripts/plot_maturity.py"


rule plot_models:
    input:
        f"{TABLE}/auroc.csv",
    output:
        png=report(
            f"{RESULTS}/plots/models_by_excess.png",
            caption="../report/models_by_excess.rst",
            category="AUROC",
            labels={"ID": "all", "model": "all", "what": "against maturity"},
        ),
        pdf=f"{RESULTS}/plots/models_by_excess.pdf",
    log:
        f"{LOGS}/plot_models.log",
    benchmark:
        f"{BENCHMARKS}/plot_models.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        controls=study.controls,
        unit=study.data.unit,
        source=sources("plot_models.py"),
    script:
        "../scripts/plot_models.py"


rule plot_costs:
    input:
        f"{TABLE}/detectors.csv",
    output:
        png=report(
            f"{PLOT}/auroc_by_total_cost.png",
            caption="../report/costs.rst",
            category="AUROC",
            labels={"ID": "all", "model": "{model}", "what": "against total cost"},
        ),
        pdf=f"{PLOT}/auroc_by_total_cost.pdf",
    log:
        f"{LOGS}/plot_costs/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_costs/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        source=sources("plot_costs.py"),
    script:
        "../scripts/plot_costs.py"


rule plot_scores:
    input:
        lambda wildcards: [
            path
            for seed in (study.seeds[0], POOLED)
            for path in every_scored(
                f"{SCORES}/scores.safetensors",
                id=wildcards.id,
                model=wildcards.model,
                seed=seed,
            )
        ],
    output:
        png=[
            report(
                f"{PLOT}/scores_{{id}}_{detector}_b={b}.png",
                caption="../report/scores.rst",
                category="Scores",
                labels={
                    "ID": "{id}",
                    "model": "{model}",
                    "detector": detector,
                    "b": str(b),
                },
            )
            for detector in study.detectors
            for b in study.features.batch_sizes
        ],
        pdf=[
            f"{PLOT}/scores_{{id}}_{detector}_b={b}.pdf"
            for detector in study.detectors
            for b in study.features.batch_sizes
        ],
    log:
        f"{LOGS}/plot_scores/{{model}}/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_scores/{{model}}/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        panels=[
            (detector, b)
            for detector in study.detectors
            for b in study.features.batch_sizes
        ],
        drop_minimum=study.evaluation.drop_minimum,
        source=sources("plot_scores.py"),
    script:
        "../scripts/plot_scores.py"


rule plot_layers:
    input:
        f"{TABLE}/layers_{{id}}.csv",
    output:
        png=[
            report(
                f"{PLOT}/layers_{{id}}_b={b}.png",
                caption="../report/layers.rst",
                category="Layers",
                labels={"ID": "{id}", "model": "{model}", "b": str(b)},
            )
            for b in study.features.batch_sizes
        ],
        pdf=[f"{PLOT}/layers_{{id}}_b={b}.pdf" for b in study.features.batch_sizes],
    log:
        f"{LOGS}/plot_layers/{{model}}/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_layers/{{model}}/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        batch_sizes=study.features.batch_sizes,
        source=sources("plot_layers.py"),
    script:
        "../scripts/plot_layers.py"


rule plot_dials:
    input:
        f"{TABLE}/dials.csv",
    output:
        png=[
            report(
                f"{PLOT}/dials_{{id}}_b={b}.png",
                caption="../report/dials.rst",
                category="Dials",
                labels={"ID": "{id}", "model": "{model}", "b": str(b)},
            )
            for b in study.features.batch_sizes
        ],
        pdf=[f"{PLOT}/dials_{{id}}_b={b}.pdf" for b in study.features.batch_sizes],
    log:
        f"{LOGS}/plot_dials/{{model}}/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_dials/{{model}}/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        batch_sizes=study.features.batch_sizes,
        source=sources("plot_dials.py"),
    script:
        "../scripts/plot_dials.py"


rule plot_training:
    input:
        f"{TABLE}/training.csv",
    output:
        png=report(
            f"{PLOT}/bits_per_dim.png",
            caption="../report/bits_per_dim.rst",
            category="Training",
            labels={"ID": "all", "model": "{model}", "what": "bits per dimension"},
        ),
        pdf=f"{PLOT}/bits_per_dim.pdf",
    log:
        f"{LOGS}/plot_training/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_training/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        unit=study.data.unit,
        samples=study.data.samples,
        source=sources("plot_training.py"),
    script:
        "../scripts/plot_training.py"


rule plot_overlap:
    input:
        overlap=f"{TABLE}/overlap.csv",
        auroc=f"{TABLE}/auroc.csv",
        correlation=f"{TABLE}/overlap_correlation.csv",
    output:
        png=report(
            f"{PLOT}/overlap.png",
            caption="../report/overlap.rst",
            category="Overlap",
            labels={"ID": "all", "model": "{model}", "what": "AUROC against overlap"},
        ),
        pdf=f"{PLOT}/overlap.pdf",
    log:
        f"{LOGS}/plot_overlap/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_overlap/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        source=sources("plot_overlap.py"),
    script:
        "../scripts/plot_overlap.py"


rule plot_samples:
    input:
        training=f"{SHARED}/data/{{id}}/train.npy",
        drawn=lambda wildcards: every_checkpoint(
            f"{RESULTS}/samples/{RUN}/epoch={{epoch}}.npy",
            id=wildcards.id,
            model=wildcards.model,
            seed=study.seeds[0],
        ),
    output:
        png=report(
            f"{PLOT}/samples_{{id}}.png",
            caption="../report/samples.rst",
            category="Images",
            labels={"ID": "{id}", "model": "{model}", "what": "drawn from the model"},
        ),
        pdf=f"{PLOT}/samples_{{id}}.pdf",
    log:
        f"{LOGS}/plot_samples/{{model}}/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_samples/{{model}}/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        epochs=study.epochs,
        data=study.data.model_dump(),
        source=sources("plot_samples.py", KIND),
    script:
        "../scripts/plot_samples.py"


rule plot_datasets:
    input:
        expand(f"{DATA}/test.npy", dataset=study.real_datasets),
    output:
        png=report(
            f"{RESULTS}/plots/datasets.png",
            caption="../report/datasets.rst",
            category="Images",
            labels={"ID": "all", "model": "none", "what": "data sets"},
        ),
        pdf=f"{RESULTS}/plots/datasets.pdf",
    log:
        f"{LOGS}/plot_datasets.log",
    benchmark:
        f"{BENCHMARKS}/plot_datasets.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        datasets=study.real_datasets,
        data=study.data.model_dump(),
        source=sources("plot_datasets.py", KIND),
    script:
        "../scripts/plot_datasets.py"
