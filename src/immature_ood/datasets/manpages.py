"""Manual pages of one language: what programs do, in English or translated from it. The files of a Debian or Ubuntu.

A page is a document, a file below `folder`: of English those of man1 to man8, else those of the folder of the language.
Marks of layout are taken away, which are alike in all languages; the text between them stays, in UTF-8. Links to pages,
pages that only refer to another, and pages of another encoding or of the macros of BSD are left out. Translations
hold paragraphs that nobody translated yet. Licences are those of the packages, mostly the GPL, in
/usr/share/doc/<package>/copyright. Nothing is downloaded: which pages there are is what is installed.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from immature_ood.config_file import StudyError
from immature_ood.datasets import Images
from immature_ood.datasets._files import hash_of
from immature_ood.datasets._text import KINDS, UNITS, Documents, TextConfig, deal_documents
from immature_ood.kinds.tokens import Config as TokenConfig
from immature_ood.storage import StorageError

__all__ = ["KINDS", "PACKAGES", "UNITS", "Config", "load", "text_of"]

PACKAGES = ()
TEXT = {"B", "BI", "BR", "I", "IB", "IR", "RB", "RI", "SB", "SH", "SM", "SS"}  # macros of text: the rest is layout
JOINED = {"BI", "BR", "IB", "IR", "RB", "RI"}  # whose words are set in turns, without spaces
IGNORED = re.compile(r"^\.ig.*?^\.\.$", re.MULTILINE | re.DOTALL)  # of several lines
WORD = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')
ESCAPE = re.compile(
    r"""\\(?:".* | [f*n](?:\(..|\[[^]]*\]|.) | s[-+]?\d | \[u(?P<code>[0-9A-Fa-f]{4,5})\]
    | \((?P<two>..) | \[(?P<named>[^]]*)\] | (?P<one>.))""",
    re.VERBOSE,
)
MEANT = {  # what is written for a letter; the rest is of layout, or rare
    **{"e": "\\", "-": "-", "hy": "-", " ": " ", "~": " ", "0": " ", ".": "."},
    **{"aq": "'", "cq": "'", "oq": "'", "'": "'", "dq": '"', "lq": '"', "rq": '"'},
}


class Config(TextConfig):
    """Manual pages of one language."""

    source: str = "manpages"
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")] = "en"
    """Pages are of this language, such as en, de, fr or pt_BR, as the folders of manual pages are called."""
    folder: str = "/usr/share/man"
    """The manual pages of all languages lie in this folder."""

    def faults(self) -> Iterator[str]:
        """A line that names the package if there is no page of the language."""
        if not self.pages():
            yield (
                f"language: no pages of {self.language!r} in {self.folder}; install them (Debian, Ubuntu: apt-get "
                f"install {self.package}; images of containers may leave manual pages out), or take the set out"
            )

    def contents(self) -> str:
        """A hash of the names, sizes and times of change of all pages."""
        return hash_of(Path(self.folder), self.pages())

    def remarks(self, data_dir: Path) -> Iterator[str]:
        """How many pages there are, and the licences."""
        yield f"{len(self.pages()):,} pages; licences, mostly the GPL, are in /usr/share/doc/<package>/copyright"

    @property
    def package(self) -> str:
        """What Debian calls the package of the pages."""
        language = self.language.lower().replace("_", "-")
        return {"en": "manpages", "zh-cn": "manpages-zh", "zh-tw": "manpages-zh"}.get(language, f"manpages-{language}")

    def pages(self) -> dict[str, Path]:
        """The files of the language by their names below the folder, sorted; no links."""
        folder = Path(self.folder)
        own = folder if self.language == "en" else folder / self.language
        found = sorted(path for path in own.glob("man[1-8]*/*.gz") if not path.is_symlink())
        return {path.relative_to(folder).as_posix(): path for path in found}


def load(config: Config, data: TokenConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file below the folder>#<window>". Raises StudyError where there is no page of the language."""
    for fault in config.faults():
        raise StudyError(fault)
    pages = config.pages()
    return deal_documents(Documents([*pages], "manual page", lambda name: _read(pages[name])), config, data)


def _read(path: Path) -> bytes | str:
    """The text of a page, or why it is left out."""
    try:
        page = gzip.decompress(path.read_bytes()).decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    except (OSError, EOFError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); mend it") from error
    if re.search(r"^\.(so|Dd) ", page, re.MULTILINE):
        return "refers to another page, or in macros of BSD"
    return text_of(page).encode()


def text_of(page: str) -> str:
    r"""The text of a page of roff, with the macros of `man`, without marks of layout.

    >>> text_of('.SH NAME\nls \\- list \\fIdirectory\\fP contents\n.PP\n.BR ls (1)\n')
    'NAME\nls - list directory contents\nls(1)'
    """
    lines = (_line(line) for line in IGNORED.sub("", page).splitlines())
    text = "\n".join(line for line in lines if line and not line.isspace())
    return re.sub(r"[ \t]+", " ", ESCAPE.sub(_letter, text))


def _letter(escape: re.Match[str]) -> str:
    """The letter that an escape of roff stands for, or nothing."""
    if escape["code"]:
        return chr(int(escape["code"], 16))
    return MEANT.get(escape["two"] or escape["named"] or escape["one"], "")


def _line(line: str) -> str:
    """What a line puts in the text; of a comment or of layout nothing."""
    if not line.startswith((".", "'")):
        return line
    macro, _, words = line[1:].strip().partition(" ")
    said = [quoted or plain for quoted, plain in WORD.findall(words)]
    return ("" if macro in JOINED else " ").join(said) if macro in TEXT else ""
