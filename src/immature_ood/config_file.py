"""The file of a config: YAML (or JSON, which is YAML), read without YAML's surprises. Needs neither torch nor numpy."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["StudyError", "faults_of_file", "read_config"]

Path_ = tuple[str, ...]
TAG = "tag:yaml.org,2002:"
# How a word without quotes must look to be what YAML 1.1 makes of it; else a name was meant, or another number.
PLAIN = {
    "bool": r"[tT]rue|TRUE|[fF]alse|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
    "null": r"[nN]ull|NULL|~|",
    "str": r".*",
}
MEND = {"bool": "true or false", "int": "a number without _, : or a leading 0", "float": "a number without _ and :"}


class StudyError(ValueError):
    """A config that is no study; one line a fault: key path, what is wrong, the nearest valid name."""


def read_config(path: str | Path) -> dict[str, Any]:
    """The keys and values of a config file.

    Raises StudyError, one line a fault, if it cannot be read or holds what YAML would silently read as something else.
    """
    root = _composed(path)
    if faults := [*_faults(root, ())]:
        raise StudyError("\n".join(faults))
    return _constructed(root)


def faults_of_file(path: str | Path) -> list[str]:
    """One line for each thing in a config file that YAML would silently read as something else: a key that is given
    twice, yes for true, 010 for 8, 1:30 for 90, 1_0 for 10, a name that is a number or a date.
    """
    try:
        return [*_faults(_composed(path), ())]
    except StudyError as error:
        return str(error).splitlines()


def _composed(path: str | Path) -> MappingNode:
    """What is written, before any of it is given a meaning."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        root = yaml.compose(text.replace("\t", " ") if text.lstrip().startswith("{") else text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise StudyError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"is not UTF-8 (byte {error.start + 1}); save it as UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise StudyError(f"is not YAML: {' '.join(str(error).split()) or 'too deep'}") from None
    if not isinstance(root, MappingNode):
        found = "is empty" if root is None else "holds a list" if isinstance(root, SequenceNode) else "holds one value"
        raise StudyError(f"{found}; a study has keys with values, such as name: mine")
    return root


def _constructed(root: MappingNode) -> dict[str, Any]:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        raise StudyError(f"is not YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


def _faults(node: Node, path: Path_, above: tuple[Node, ...] = ()) -> Iterator[str]:
    """Depth first; a node that an alias puts below itself is a fault, not an endless walk."""
    if node in above:
        yield f"{'.'.join(path)}: holds itself"
    elif isinstance(node, ScalarNode):
        yield from _odd_word(node, ".".join(path))
    elif isinstance(node, SequenceNode):
        for place, item in enumerate(node.value):
            yield from _faults(item, (*path, str(place)), (*above, node))
    else:
        yield from _faults_of_keys(node, path)
        for key, value in node.value:
            yield from _faults(value, (*path, str(key.value)), (*above, node))


def _faults_of_keys(node: MappingNode, path: Path_) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        written = str(key.value)
        place = ".".join((*path, written))
        if written in seen:
            yield f"{place}: given twice (again in line {key.start_mark.line + 1}); keep one"
        elif not isinstance(key, ScalarNode):
            yield f"{place}: a key is a word"
        elif key.tag != f"{TAG}str" and written != "<<":
            yield f"{place}: YAML does not read {written!r} as a word; write it in quotes: '{written}'"
        seen.add(written)


def _odd_word(node: ScalarNode, path: str) -> Iterator[str]:
    kind = node.tag.removeprefix(TAG)
    if node.style is None and not re.fullmatch(PLAIN.get(kind, "(?!)"), node.value):
        mend = f", or {MEND[kind]}" if kind in MEND else ""
        yield f"{path}: YAML reads {node.value} as {_meaning(node)}; write it in quotes if it is a name{mend}"


def _meaning(node: ScalarNode) -> str:
    loader = yaml.SafeLoader("")
    try:
        return str(loader.construct_object(node))
    except (yaml.YAMLError, ValueError):
        return f"a {node.tag.removeprefix(TAG)}"
    finally:
        loader.dispose()
