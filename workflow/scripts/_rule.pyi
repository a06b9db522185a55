"""What Snakemake gives a script: for the type checker alone (see snakemake.readthedocs.io, External scripts)."""

from typing import Any

class Snakemake:
    """One job of a rule; what is named in the rule is an attribute here, and what is not has its place."""

    input: Any
    output: Any
    params: Any
    wildcards: Any
    resources: Any
    log: list[str]
    threads: int

snakemake: Snakemake
