"""What stands in the pages: README.md, CONTRIBUTING.md and docs/."""

import re
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATTERNS = ("*.md", "[!.]*/README.md", "docs/*.md", "docs/*/README.md", "docs/api/*.md")
FOUND = {file.relative_to(ROOT) for file in chain.from_iterable(map(ROOT.glob, PATTERNS))}
PAGES = sorted(page for page in FOUND if page.parts[0] != "data")  # which is its user's
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page):
    """The text without fenced blocks."""
    return FENCE.sub("", text(page))


def links(page):
    """The targets of a page's links and pictures that are not of the web."""
    without_code = re.sub(r"`[^`\n]*`", "", prose(page))
    targets = re.findall(r"\]\(<?([^()<>\s]+)>?\)", without_code)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page):
    """What a forge makes of the headings of a page."""
    if page.is_dir():
        page = page / "README.md"
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page):
    """The lines of a page's blocks of commands, without comments; a line that ends in \\ goes on in the next."""
    blocks = [dedented for indent, language, dedented in FENCE.findall(text(page)) if not language]
    lines = chain.from_iterable(block.replace("\\\n", " ").splitlines() for block in blocks)
    found = (re.sub(r"\s{2,}#.*", "", line).strip() for line in lines)
    return [" ".join(line.split()) for line in found if COMMAND.match(line)]


# What a block of commands begins its lines with; other blocks show tables, trees and studies.
COMMAND = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:make|snakemake|immature-ood|pip|python|source|tar|apt-get|sphinx-build|git|ssh)\s"
)
