"""Your own texts: all files in a folder and below it, as the bytes that they are, in any language and encoding.

`path` in the study names the folder; a relative one is relative to where Snakemake runs. A file is a document: its
windows are in one split. Hidden files are left out, linked folders are walked, each once. Snakemake makes the data set
anew when a file comes, goes, or has another size or time of its last change.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from immature_ood.config_file import StudyError
from immature_ood.datasets import Images
from immature_ood.datasets._files import Contents, files_below, hash_of
from immature_ood.datasets._text import KINDS, UNITS, Documents, TextConfig, deal_documents
from immature_ood.kinds.tokens import Config as TokenConfig
from immature_ood.storage import StorageError

__all__ = ["KINDS", "PACKAGES", "UNITS", "Config", "load"]

PACKAGES = ()


class Config(TextConfig):
    """A folder of texts."""

    source: str = "text_folder"
    path: str
    """The texts lie in this folder; a relative path is relative to where Snakemake runs."""
    suffixes: list[str] | None = None
    """Files whose names end so, such as .txt, are texts; by default all that are not hidden."""

    def faults(self) -> Iterator[str]:
        """What is wrong with the folder; no file is read."""
        if not Path(self.path).is_dir():
            yield f"path: there is no folder {self.path}"
        elif not self.look().files:
            among = f" ({', '.join(self.suffixes)})" if self.suffixes else ""
            yield f"path: no files{among} in {self.path} or below it"

    def contents(self) -> str:
        """A hash of the names, sizes and times of change of all texts."""
        return hash_of(Path(self.path), self.look().files)

    def look(self) -> Contents:
        """The texts."""
        return files_below(Path(self.path), None if self.suffixes is None else {*map(str.lower, self.suffixes)})


def load(config: Config, data: TokenConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file below the folder>#<window>". Raises StudyError where there is no folder or no file."""
    for fault in config.faults():
        raise StudyError(fault)
    found = config.look()

    def read(name: str) -> bytes:
        try:
            return Path(config.path, name).read_bytes()
        except OSError as error:
            raise StorageError(f"{Path(config.path, name)}: cannot be read ({error.strerror}); mend it") from error

    splits = deal_documents(Documents(found.files, "bytes", read), config, data)
    left_out = {**found.left_out, **splits["test"].left_out}
    return splits | {"test": replace(splits["test"], left_out=left_out)}
