"""How a study's wall time falls with the number of GPUs: a simulated cluster, greedy as a queue is.

Usage: python benchmarks/cluster.py studies/paper.yaml --seconds-an-epoch 9 --seconds-a-checkpoint 60
"""

import argparse
import heapq
from pathlib import Path

import yaml

from immature_ood.study import Study

QUEUE_SECONDS = 30  # from a job's end to the start of the next: Snakemake's status checks and the scheduler


def wall_time(study: Study, gpus: int, epoch_seconds: float, checkpoint_seconds: float) -> float:
    """Seconds until the last job ends. Every training job precedes the next of its chain and its own features."""
    chain, kept = study.chain(), set(study.epochs)
    ready = [(0.0, 0, run, 0) for run in range(len(study.id_datasets) * len(study.seeds) * len(study.models))]
    free = [0.0] * gpus
    end = 0.0
    heapq.heapify(ready)
    while ready:
        since, features, run, place = heapq.heappop(ready)
        start = max(since, heapq.heappop(free))
        if features:
            seconds = checkpoint_seconds
        else:
            seconds = epoch_seconds * (chain[place] - (chain[place - 1] if place else 0))
        done = start + seconds + QUEUE_SECONDS
        heapq.heappush(free, done)
        end = max(end, done)
        if not features:
            if place + 1 < len(chain):
                heapq.heappush(ready, (done, 0, run, place + 1))
            if chain[place] in kept:
                heapq.heappush(ready, (done, 1, run, place))
    return end


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seconds-an-epoch", type=float, required=True)
    parser.add_argument("--seconds-a-checkpoint", type=float, required=True)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50])
    options = parser.parse_args()
    config = yaml.safe_load(options.study.read_text())
    print("| GPUs | 1 seed, hours | 10 seeds, hours |\n|---|---|---|")
    for gpus in options.gpus:
        hours = [
            wall_time(
                Study.parse(config | {"seeds": [*range(seeds)]}),
                gpus,
                options.seconds_an_epoch,
                options.seconds_a_checkpoint,
            )
            / 3600
            for seeds in (1, 10)
        ]
        print(f"| {gpus} | {hours[0]:.1f} | {hours[1]:.1f} |")


if __name__ == "__main__":
    main()
