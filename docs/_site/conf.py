"""How Sphinx makes the site of README.md, CONTRIBUTING.md and docs/: `make docs`."""

import importlib
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from sphinx.application import Sphinx
from typer.testing import CliRunner

from immature_ood import cli, registry
from immature_ood.config import Config
from immature_ood.sections import DriftConfig, EvaluationConfig, FeatureConfig, TrainingConfig
from immature_ood.study import Study

ROOT = Path(__file__).parents[2]
CONTENTS = Path(__file__).parent / "contents.md"
FOLDERS = ("docs", "benchmarks", "reference", "results")  # which pages lie in
Option = tuple[str, str, str]  # its name, its default as a study has it, and what it does
SECTIONS: dict[str, type[Config]] = {
    "The whole": Study,
    "training": TrainingConfig,
    "features": FeatureConfig,
    "evaluation": EvaluationConfig,
    "evaluation.drift": DriftConfig,
}

project = "immature-ood"
html_title = project
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_extra_path = ["index.html"]
html_copy_source = False
html_show_copyright = False
smartquotes = False  # pages are shown as they are written
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "friendly", "monokai"

# Pages are where a forge shows them, and the source of all is the top folder.
root_doc = "README"
include_patterns = [
    "*.md",
    *(f"{folder}/README.md" for folder in FOLDERS),
    "docs/*.md",
    "docs/*/README.md",
    "docs/api/*",
]
exclude_patterns = [
    *(folder.name for folder in ROOT.iterdir() if folder.is_dir() and folder.name not in FOLDERS),
    *(f"{name}/{each.name}" for name in FOLDERS[1:] for each in (ROOT / name).iterdir() if each.is_dir()),
    "docs/_site",
]

# Anchors are those of a forge; of what Markdown does not have, fences with a name in braces alone are read.
myst_heading_anchors = 4
myst_disable_syntax = ["myst_line_comment", "myst_block_break", "myst_role", "myst_target"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
default_role = "code"

os.environ["COLUMNS"] = "100"  # how wide the command's help is
sys.argv[0] = "immature-ood"


def plug_ins(kind: registry.Kind) -> Iterator[tuple[str, str, list[Option]]]:
    """(Name, what its page says, the options of its Config) of each plug-in of a kind."""
    for name in registry.names(kind):
        module = importlib.import_module(f"immature_ood.{kind}.{name}")
        yield name, (module.__doc__ or "").strip(), [*options(registry.config_class(kind, name), registry.KEYS[kind])]


def options(config: type[Config], key: str) -> Iterator[Option]:
    """(Name, default, sentence) of each option that a Config adds to those of all."""
    for name, field in config.model_fields.items():
        if name != key and field.description:
            default = "" if field.is_required() else shown(field.get_default(call_default_factory=True))
            yield name, default, " ".join(field.description.split())


def shown(value: object) -> str:
    """A default as a study has it; of a section, nothing: it is explained by itself."""
    if isinstance(value, Config):
        return ""
    return json.dumps(value, ensure_ascii=False, default=str)


def sections() -> Iterator[tuple[str, list[Option]]]:
    """(Title, options) of the parts of a study that are no plug-ins."""
    for title, section in SECTIONS.items():
        yield title, [*options(section, "")]


def help_of(command: str) -> str:
    """What a command of immature-ood says of itself."""
    said = CliRunner().invoke(cli.app, [*command.split(), "--help"], prog_name="immature-ood").output
    return "\n".join(line.rstrip() for line in said.strip().splitlines())


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """The site's contents follow README; pages of docs/api are filled in from the package."""
    if page == root_doc:
        source[0] += CONTENTS.read_text(encoding="utf-8")
    elif page.startswith("docs/api/"):
        template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(source[0])
        source[0] = template.render(plug_ins=plug_ins, help_of=help_of, sections=sections)
    if Path(app.env.doc2path(page)).suffix == ".md":
        source[0] = with_pages(page, source[0])


def with_pages(page: str, text: str) -> str:
    """Links to a folder lead to its README.md; in a site a folder without one has no link."""
    here = (ROOT / page).parent

    def linked(match: re.Match[str]) -> str:
        words, target = match.groups()
        if not (here / target).is_dir():
            return match[0]
        return f"[{words}]({target.rstrip('/')}/README.md)" if (here / target / "README.md").is_file() else words

    return re.sub(r"\[([^\[\]]*)\]\(([^()\s#:]+)\)", linked, text)


def as_rst(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code`; lists in them are lines that go on indented, or begin with a name."""
    blocks = re.split(r"\n *\n", "\n".join(lines))
    lines[:] = "\n\n".join(map(_as_rst, blocks)).split("\n")


def _as_rst(block: str) -> str:
    """One block between empty lines: what reStructuredText takes for marks is escaped, but in doctests."""
    if block.lstrip().startswith(">>>"):
        return block
    lines = textwrap.dedent(block).strip().split("\n")
    if any(line.startswith(" ") for line in lines):
        return "\n".join(
            f"  {escaped(line.strip())}" if line.startswith(" ") else f"\n* {escaped(line)}" for line in lines
        )
    return escaped("\n".join(lines))


def escaped(text: str) -> str:
    """Text in which `code` alone is marked."""
    words = re.split(r"(`[^`]+`)", text)
    return "".join(word if word.startswith("`") else re.sub(r"([\\*|_])", r"\\\1", word) for word in words)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", as_rst)
