"""Text: windows of bytes, what may be done to them, and the sources that give them."""

import ast
import gzip
import io
import json
import tokenize
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from immature_ood import plots, registry
from immature_ood.config_file import StudyError
from immature_ood.datasets import SPLITS, _python, make, unit_of
from immature_ood.datasets._text import Documents, TextConfig, deal_documents
from immature_ood.datasets.manpages import text_of
from immature_ood.kinds.tokens import Config, TokenDatasetConfig
from immature_ood.kinds.tokens.changes import shuffled, swapped
from immature_ood.planning import faults
from immature_ood.storage import StorageError, load_split
from immature_ood.study import Study

SHORT = Config(length=16)
FEW = {"train": 30, "fit": 10, "test": 10}
NOWHERE = Path("/nowhere")
STUDY = {
    "name": "s",
    "data": {"kind": "tokens", "length": 16},
    "datasets": {"python_source": {}, "python_docs": {}},
    "models": {"transformer": {}},
    "epochs": [0],
}


def windows(*texts):
    return np.array([[*text.encode()] for text in texts], np.uint8)


# What may be done to windows -----------------------------------------------------------------------------------------


def test_shuffled_windows_hold_the_same_bytes():
    before = np.random.default_rng(0).integers(0, 256, (20, 64), np.uint8)
    after = shuffled(before)
    np.testing.assert_array_equal(np.sort(after), np.sort(before))
    assert (after != before).any(axis=1).all()
    assert after.dtype == np.uint8


def test_all_places_are_as_likely_when_a_window_is_shuffled():
    before = np.stack([np.arange(8) * 4 + shift for shift in range(4)] * 300).astype(np.uint8)
    before[:, 0] = np.arange(1200) % 251  # so that windows differ
    found = np.bincount((shuffled(before) == before[:, 1:2]).argmax(axis=1), minlength=8)
    assert found.min() > 100  # of 150 expected


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_share_of_pairs_of_letters_change_places(share):
    letters = np.random.default_rng(0).choice([*b"abcdefghijklmnopqrstuvwxyzABCXYZ"], (200, 101)).astype(np.uint8)
    after = swapped(letters, share)
    moved = np.mean([(a != b).sum() / 2 for a, b in zip(after, letters, strict=True)]) / 50
    alike = 1 / 32  # of two neighbours
    assert moved == pytest.approx(share * (1 - alike), abs=0.02)
    np.testing.assert_array_equal(np.sort(after), np.sort(letters))


def test_only_neighbours_that_are_letters_of_ascii_change_places():
    before = windows("ab", "a1", "1b", "zZ", "@A", "[a", "`a", "{a", "ä", "я")
    after = swapped(np.concatenate([before] * 8, axis=1), 1.0)
    for window, text in zip(after, ["ab", "a1", "1b", "zZ", "@A", "[a", "`a", "{a", "ä", "я"], strict=True):
        assert (bytes(window) != text.encode() * 8) == text.isascii() * text.isalpha()
        bytes(window).decode()


@pytest.mark.parametrize("change", [shuffled, lambda each: swapped(each, 0.3)], ids=["shuffled", "swapped"])
def test_a_window_is_changed_alike_in_whatever_set_it_lies(change):
    some = windows("the quick brown fox", "jumps over the lazy", "dog and runs away. ")
    np.testing.assert_array_equal(change(some)[1:], change(some[1:]))
    assert change(some[:0]).shape == (0, 19)


def test_a_section_asks_for_changes():
    some = windows("the quick brown fox")
    for options, expected in (
        ({}, some),
        ({"shuffled": True}, shuffled(some)),
        ({"swapped": 0.5}, swapped(some, 0.5)),
        ({"swapped": 0.5, "shuffled": True}, shuffled(swapped(some, 0.5))),
        ({"repeated": 4}, windows("the the the the the")),
        ({"repeated": 40}, some),
        ({"repeated": 4, "swapped": 0.5}, np.resize(swapped(some, 0.5)[:, :4], (1, 19))),
    ):
        np.testing.assert_array_equal(Config(length=19).changed(some, TokenDatasetConfig(**options)), expected)


# Figures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 16, 128, 1000])
@pytest.mark.parametrize("number", [1, 2, 16])
def test_text_of_any_length_and_alphabet_is_drawn(length, number, tmp_path):
    text = ("def f(x):\n\treturn '$x^$ \\alpha {' # für 日本 привет \0\x1b" * 30).encode()
    stored = np.frombuffer(text, np.uint8)[: length * (len(text) // length)].reshape(-1, length)[:1]
    figure = plots.dataset_samples(Config(length=length), {"set": stored.repeat(number, axis=0)})
    plots.save(figure, tmp_path / "text.png")
    assert isinstance(figure, Figure)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert 1 <= len(shown) <= max(number // 4, 2)
    assert shown[0].replace("\n", "").startswith("def f(x):··return '$x^$ "[: min(length, 20)])


# Sources -------------------------------------------------------------------------------------------------------------

MODULES = (
    "colorsys.py",
    "textwrap.py",
    "fnmatch.py",
    "glob.py",
    "json/decoder.py",
    "json/encoder.py",
    "html/parser.py",
)
MODULES += ("heapq.py", "bisect.py", "shlex.py", "stat.py", "sched.py", "queue.py", "quopri.py", "this.py")
PAGE = """.\\" a comment
.TH {name} 1
.SH NAME
{name} \\- tut etwas
.SH BESCHREIBUNG
{text}
"""


def page(folder, name, text, encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.1.gz").write_bytes(gzip.compress(PAGE.format(name=name, text=text).encode(encoding)))


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Folders of manual pages, and of texts."""
    folder = tmp_path_factory.mktemp("texts")
    for number in range(12):
        said = " ".join(f"Größe {number}-{word}" for word in range(12))
        page(folder / "man/de/man1", f"a{number}", said)
        (folder / "own" / f"part {number % 3}").mkdir(parents=True, exist_ok=True)
        (folder / "own" / f"part {number % 3}" / f"{number}.txt").write_text(said)
    page(folder / "man/de/man8", "alt", "Größe", "latin-1")
    page(folder / "man/de/man1", "siehe", ".so man1/a1.1")
    (folder / "man/de/man1/verweis.1.gz").symlink_to("a1.1.gz")
    page(folder / "man/man1", "english", "size " * 40)
    (folder / "own/.hidden").write_text("no")
    for name in [*MODULES, "test/test_json.py", "site-packages/x.py", "encodings/cp1252.py"]:
        (folder / "python" / name).parent.mkdir(parents=True, exist_ok=True)
        there = _python.library() / name
        (folder / "python" / name).write_text(there.read_text() if there.exists() else "x = 1\n" * 99)
    return folder


SOURCES = [name for name in registry.names("datasets") if hasattr(registry.load("datasets", name), "KINDS")]


@pytest.fixture
def section(texts, monkeypatch):
    """section(source, ...): the section of a source; of Python's library there are a few modules."""
    monkeypatch.setattr(_python, "library", lambda: texts / "python")
    needed = {
        "manpages": {"language": "de", "folder": str(texts / "man")},
        "text_folder": {"path": str(texts / "own")},
    }

    def parse(source, **options):
        return registry.parse("datasets", {"source": source, **needed.get(source, {}), **FEW, **options})

    return parse


def load(config, data=SHORT):
    return registry.load("datasets", config.source).load(config, data, NOWHERE)


@pytest.mark.parametrize("source", SOURCES)
class TestSource:
    def test_windows_are_as_many_as_asked_for_and_of_their_documents(self, source, section):
        config = section(source)
        for split, found in load(config).items():
            assert found.pixels.shape == (FEW[split], 16)
            SHORT.check(found.pixels)
            for window, origin in zip(found.pixels[::4], found.origins[::4], strict=True):
                name, place = origin.rsplit("#", 1)
                start = int(place) * 16
                assert bytes(window) == TEXTS[source](config, name)[start : start + 16]

    def test_no_document_is_in_two_splits_or_gives_more_than_it_may(self, source, section):
        given = load(section(source, windows=3))
        documents = {split: [origin.rsplit("#", 1)[0] for origin in given[split].origins] for split in SPLITS}
        assert not {*documents["train"]} & {*documents["fit"]} | {*documents["test"]} & {*documents["train"]}
        assert not {*documents["fit"]} & {*documents["test"]}
        assert max(map(documents["train"].count, documents["train"])) == 3

    def test_asking_for_more_training_windows_leaves_the_others_as_they_are(self, source, section):
        few, many = load(section(source, train=10)), load(section(source))
        for split in SPLITS:
            assert few[split].origins == many[split].origins[: 10 if split == "train" else None]
        assert load(section(source, seed=1))["train"].origins != many["train"].origins

    def test_it_is_made_twice_the_same_with_documents_for_units(self, source, section, tmp_path):
        config = section(source)
        for folder in ("a", "b"):
            make("set", config, SHORT, tmp_path / folder, NOWHERE)
        for file in ("train.npy", "manifest.json"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        manifest = json.loads((tmp_path / "a/manifest.json").read_text())
        assert (manifest["unit"], manifest["shape"]) == ("document", [16])
        entry = manifest["splits"]["train"]
        assert len({*entry["units"]}) == len({origin.rsplit("#", 1)[0] for origin in entry["origins"]})
        load_split(tmp_path / "a/train.npy", SHORT.check)
        assert unit_of(config.model_copy(update={"unit": "window"}))[0] == "window"

    def test_what_is_changed_is_the_same_windows(self, source, section, tmp_path):
        make("set", section(source), SHORT, tmp_path / "plain", NOWHERE)
        make("set", section(source, train=0, fit=0, shuffled=True), SHORT, tmp_path / "shuffled", NOWHERE)
        plain, changed = (np.load(tmp_path / name / "test.npy") for name in ("plain", "shuffled"))
        np.testing.assert_array_equal(np.sort(changed), np.sort(plain))

    def test_too_many_windows_are_refused(self, source, section, tmp_path):
        with pytest.raises(StudyError, match=rf"datasets\.set\.train: 1,000,000 .* {source} gives [1-9][\d,]*; lower"):
            make("set", section(source, train=10**6), SHORT, tmp_path, NOWHERE)

    def test_what_it_is_made_from_has_a_hash(self, source, section):
        assert section(source).contents() == section(source).contents()
        assert not [*section(source).faults()]
        assert not registry.load("datasets", source).PACKAGES

    def test_the_doctor_tells_the_licence(self, source, section):
        said = "".join(section(source).remarks(NOWHERE))
        assert ("licence" in said) == (source != "text_folder")


def of_page(config, name):
    return text_of(gzip.decompress(Path(config.folder, name).read_bytes()).decode()).encode()


def of_help(config, name):
    from pydoc_data.topics import topics

    if name.startswith("help("):
        return topics[name[5:-1]].encode()
    tree = ast.parse(_python.modules()[name].read_text())
    found = [node for node in ast.walk(tree) if hasattr(node, "body") and isinstance(node.body, list)]
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    said = {node.body[0].lineno: ast.get_docstring(node) for node in found if isinstance(node, documented)}
    return "\n\n".join(said[line] for line in sorted(said) if said[line]).encode()


def of_code(config, name):
    """Without the strings that are statements of their own and begin a body, by tokens."""
    code = _python.modules()[name].read_text()
    lines = code.splitlines(keepends=True)
    tokens = [
        t for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.type not in (tokenize.COMMENT, tokenize.NL)
    ]
    for number, token in enumerate(tokens):
        before = tokens[number - 1] if number else None
        begins = before is None or before.type == tokenize.INDENT
        if token.type == tokenize.STRING and begins and tokens[number + 1].type == tokenize.NEWLINE:
            lines[token.start[0] - 1 : token.end[0]] = [""] * (token.end[0] - token.start[0] + 1)
    return "".join(lines).encode()


TEXTS = {
    "manpages": of_page,
    "python_docs": of_help,
    "python_source": of_code,
    "text_folder": lambda config, name: Path(config.path, name).read_bytes(),
}


def test_documents_that_give_no_window_are_counted_by_reason():
    read = {"a": b"x" * 40, "b": b"short", "c": "not UTF-8", "d": b"", "e": b"y" * 33}
    config = TextConfig(source="own", train=0, fit=0, test=100)
    found = deal_documents(Documents([*read], "text", read.__getitem__), config, SHORT)["test"]
    assert sorted(found.origins) == ["a#0", "a#1", "e#0", "e#1"]
    assert found.left_out == {"shorter than a window": 2, "not UTF-8": 1}


def test_windows_of_a_long_document_are_evenly_spread():
    read = {"a": bytes(range(256)) * 10}  # 160 windows of 16
    config = TextConfig(source="own", train=0, fit=0, test=100, windows=4)
    found = deal_documents(Documents(["a"], "text", read.__getitem__), config, SHORT)["test"]
    assert found.origins == ["a#0", "a#40", "a#80", "a#120"]


def test_the_library_is_without_tests_and_tables(section):
    assert {*_python.modules()} == {*MODULES}


def test_the_library_that_runs_is_found():
    found = _python.modules()
    assert {"json/decoder.py", "argparse.py", "asyncio/tasks.py"} <= {*found}
    assert len(found) > 300


# Manual pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roff", "text"),
    [
        (".SH NAME\nls \\- list", "NAME\nls - list"),
        ('.\\" nothing\n\'\\" nor this\n.TH LS 1\n.PP\n.TP 4\nx', "x"),
        (".BR ls (1),\n.B bold words\n.I file", "ls(1),\nbold words\nfile"),
        ('.BI "a b" c " d"', "a bc d"),
        ("\\fBbold\\fP \\f[I]italic\\f[] \\f(CWcode\\fR", "bold italic code"),
        ("a\\ b\\~c  \t d\\&.", "a b c d."),
        ("\\(aqx\\(aq \\(lqy\\(rq \\(bu z\\[u00E9]", "'x' \"y\" zé"),
        ("C:\\edir\\(hyx \\s-1small\\s0 \\*(xx", "C:\\dir-x small "),
        (".ig\nhidden\n..\nshown", "shown"),
        ('ends \\" a comment', "ends "),
        ("", ""),
    ],
)
def test_pages_are_read_without_their_layout(roff, text):
    assert text_of(roff) == text


def test_a_page_that_cannot_be_used_is_left_out_and_counted(section):
    found = load(section("manpages", train=1000, fit=10, test=10))
    assert found["test"].left_out == {"not UTF-8": 1, "refers to another page, or in macros of BSD": 1}
    assert not [origin for split in found.values() for origin in split.origins if "verweis" in origin]


def test_english_pages_are_those_of_no_folder_of_a_language(section):
    assert [*section("manpages", language="en").pages()] == ["man1/english.1.gz"]


def test_a_damaged_page_is_named(tmp_path, section):
    page(tmp_path / "de/man1", "broken", "text")
    file = tmp_path / "de/man1/broken.1.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"broken\.1\.gz: cannot be read \(.*\); mend it"):
        load(section("manpages", folder=str(tmp_path)))


@pytest.mark.parametrize(
    ("language", "package"),
    [("de", "manpages-de"), ("pt_BR", "manpages-pt-br"), ("zh_CN", "manpages-zh"), ("en", "manpages")],
)
def test_a_language_that_is_not_there_names_its_package_before_any_job(language, package, tmp_path):
    sets = {"pages": {"source": "manpages", "language": language, "folder": str(tmp_path)}, "python_docs": {}}
    (fault,) = faults(Study.parse({**STUDY, "datasets": sets}))
    assert fault.startswith(f"datasets.pages.language: no pages of '{language}' in {tmp_path}; install them")
    assert f"apt-get install {package};" in fault


# Texts of one's own --------------------------------------------------------------------------------------------------


def test_files_of_other_suffixes_and_hidden_ones_are_left_out(texts, section):
    assert len(section("text_folder").look().files) == 12
    found = load(section("text_folder", suffixes=[".TXT"], train=5))["test"]
    assert found.left_out == {"hidden": 1}
    assert section("text_folder", suffixes=[".md"]).look().left_out == {".txt": 12, "hidden": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "nowhere"}, "datasets.mine.path: there is no folder nowhere"),
        ({"path": "empty"}, "datasets.mine.path: no files in empty or below it"),
        (
            {"path": "empty", "suffixes": [".md", ".txt"]},
            "datasets.mine.path: no files (.md, .txt) in empty or below it",
        ),
    ],
)
def test_a_folder_without_texts_is_told_before_any_job(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    sets = {"mine": {"source": "text_folder", **options}, "python_docs": {}}
    assert faults(Study.parse({**STUDY, "datasets": sets})) == [message]


def test_a_text_that_changes_has_another_hash(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    config = registry.parse("datasets", {"source": "text_folder", "path": str(tmp_path)})
    before = config.contents()
    (tmp_path / "a.txt").write_text("another")
    assert config.contents() != before


# A study of text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"detectors": ["image_statistics"]},
            "detectors.image_statistics.detector: image_statistics is for images, but",
        ),
        (
            {"detectors": ["spectrum_slope"]},
            "detectors.spectrum_slope.detector: spectrum_slope is for images, but data",
        ),
        (
            {"detectors": {"both": {"detector": "combined", "parts": {"a": {"detector": "image_statistics"}}}}},
            "detectors.both.parts.a.detector: image_statistics is for images, but data.kind is tokens",
        ),
        ({"detectors": ["latent_fit"]}, "detectors.latent_fit: needs 'latents', which model 'transformer' has not"),
        ({"models": {"glow": {}}}, "models.glow.architecture: glow is for images, but data.kind is tokens"),
        (
            {"datasets": {"python_docs": {}, "digits": {}}},
            "datasets.digits.source: digits is for images, but data.kind is tokens",
        ),
        (
            {"datasets": {"python_docs": {"inverted": True}, "python_source": {}}},
            "datasets.python_docs.inverted: unknown",
        ),
        (
            {"datasets": {"python_docs": {"swapped": 2}, "python_source": {}}},
            "datasets.python_docs.swapped: Input should",
        ),
        (
            {"data": {"kind": "images"}, "models": {"glow": {}}},
            "datasets.python_source.source: python_source is for tokens",
        ),
    ],
)
def test_what_is_not_for_text_is_refused_by_the_key(change, message):
    with pytest.raises(StudyError) as said:
        Study.parse({**STUDY, **change})
    assert message in str(said.value)
