"""A stand-in for the conda executable: the few calls that Snakemake makes, on py-rattler's solver and installer.

Its only channel is the folder CONDA_STAND_IN/channel. Real conda, and conda-forge, are something else.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import yaml

PLATFORM = "linux-64"


def base() -> Path:
    """The folder of the channel, the cache and the environments."""
    return Path(os.environ["CONDA_STAND_IN"])


async def create(file: Path, prefix: Path) -> None:
    """Solves an environment file and installs what comes out."""
    from rattler import Channel, Platform, install, solve

    wanted = yaml.safe_load(file.read_text())["dependencies"]
    channel = Channel((base() / "channel").as_uri())
    records = await solve([channel], wanted, platforms=[Platform(PLATFORM), Platform("noarch")])
    await install(records, prefix, cache_dir=base() / "cache", show_progress=False)


def option(arguments: list[str], name: str) -> Path:
    return Path(arguments[arguments.index(name) + 1])


def main(arguments: list[str]) -> None:
    match arguments:
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(base()), "platform": PLATFORM}))
        case ["--version"]:
            print("conda 24.7.1")
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *options]:
            asyncio.run(create(option(options, "--file"), option(options, "--prefix")))
            # py-rattler's threads may outlive the work: about one ending of Python in fifteen crashed on them.
            sys.stdout.flush()
            os._exit(0)
        case ["list" | "clean" | "activate" | "deactivate", *_]:
            pass
        case _:
            sys.exit(f"the stand-in for conda does not know {arguments}")


if __name__ == "__main__":
    main(sys.argv[1:])
