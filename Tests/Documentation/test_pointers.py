"""What comments and documents point at exists: sections, headings, files and symbols.

A pointer is one of these, in a comment, a docstring or a Markdown page:

  RFC 5321 §4.1.1.4      only the shape of the number is checked
  protocol/README.md §8  the page has a heading that begins with this number; in a page, a section
                         without RFC or page before it in its sentence is one of that page
  failure.md, "Lines"    the page has this heading
  failure.md#lines       the same, as a link
  Sources/JSON, blocks.py  a file or folder: from the root, from the folder of the pointer, or any
                         file of this name
  `conftest.py`: `name`  the file has this name in it
  ``Type/member(_:)``    Swift declares each of these names, with these labels
  row and a number       never: the tables have no numbers
"""

import ast
import functools
import io
import os
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEFT_OUT = {".build", ".git", "__pycache__", ".pytest_cache", "var", "corpus", "build"}


@functools.cache
def files():
    """All files of the repository, as paths from its root."""
    found = []
    for folder, below, inside in os.walk(ROOT):
        below[:] = sorted(name for name in below if name not in LEFT_OUT)
        found += [(pathlib.Path(folder) / name).relative_to(ROOT) for name in sorted(inside)]
    return found


def python_prose(text):
    """Comments and docstrings of Python, each with its line."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines.add((token.start[0], token.string))
    for node in ast.walk(ast.parse(text)):
        is_string = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_string and isinstance(node.value.value, str):
            source = text.splitlines()[node.lineno - 1 : node.end_lineno]
            lines.update(enumerate(source, start=node.lineno))
    return sorted(lines)


COMMENT = {
    ".swift": re.compile(r"(?:^|\s)///?(?!/)(.*)"),
    ".c": re.compile(r"(?:^|\s)(?://|/?\*)(.*)"),
    ".h": re.compile(r"(?:^|\s)(?://|/?\*)(.*)"),
    ".toml": re.compile(r"(?:^|\s)#(.*)"),
    ".service": re.compile(r"^#(.*)"),
    ".socket": re.compile(r"^#(.*)"),
    ".sh": re.compile(r"(?:^|\s)#(?!!)(.*)"),
}


def kind(path):
    """The file's suffix; of a script without one, that of the language in its first line."""
    if path.suffix:
        return path.suffix
    with (ROOT / path).open("rb") as file:
        first = file.readline()
    return ".py" if b"python" in first else ".sh" if first.startswith(b"#!") else ""


def prose(path):
    """The lines of comments, docstrings or a page: (number, text)."""
    suffix = kind(path)
    if suffix not in {".py", ".md", *COMMENT}:
        return []
    text = (ROOT / path).read_text(encoding="utf-8")
    if suffix == ".py":
        return python_prose(text)
    lines = list(enumerate(text.splitlines(), start=1))
    if suffix != ".md":
        found = [(number, COMMENT[suffix].search(line)) for number, line in lines]
        return [(number, match[1]) for number, match in found if match]
    outside, is_fenced = [], False
    for number, line in lines:
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif not is_fenced:
            outside.append((number, line))
    return outside


def paragraphs(path):
    """Lines that follow each other, joined, so that a pointer may go over the end of a line.

    Gives (text, place), where place(offset) is the number of the line at that offset of the text.
    """
    joined, starts, last = "", [], None
    for number, line in [*prose(path), (None, "")]:
        if number is None or (last is not None and number != last + 1):
            yield joined, (lambda at, starts=starts: next(n for s, n in reversed(starts) if s <= at))
            joined, starts = "", []
        if number is not None:
            starts.append((len(joined), number))
            joined += line.strip() + " "
        last = number


@functools.cache
def headings(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    return [h.strip() for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]


def slug(heading):
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


@functools.cache
def names():
    return {part for path in files() for part in (path.name, str(path))}


@functools.cache
def folders():
    return {str(parent) for path in files() for parent in path.parents}


def page(name, path):
    """The Markdown page that `name` means in the file `path`, or None."""
    for folder in [path.parent, "", "protocol", "docs"]:
        candidate = pathlib.Path(os.path.normpath(pathlib.Path(folder) / name))
        if (ROOT / candidate).is_file():
            return candidate
    return None


# One test for each kind of pointer: each finds all that are dead, with their places.

SECTION = re.compile(r"§§?\s?(\d[\w.]*|\S+)")
OWNER = re.compile(r"RFC \d+|[\w./-]+\.md\b")
UNNAMED = re.compile(r"\b(protocol|architecture|README) $")
END = re.compile(r"[.?!:] +(?=[A-Z])|\|")


def dead_sections(path):
    for text, place in paragraphs(path):
        for match in SECTION.finditer(text):
            before = END.split(text[: match.start()])[-1]
            owners = OWNER.findall(before)
            number = match[1].rstrip(".")
            if UNNAMED.search(before) or not owners and path.suffix != ".md":
                is_good = False
            elif owners and owners[-1].startswith("RFC"):
                is_good = re.fullmatch(r"\d+(\.\d+)*", number)
            else:
                target = page(owners[-1], path) if owners else path
                is_good = target and any(h.startswith(f"{number}. ") for h in headings(target))
            if not is_good:
                yield place(match.start()), before[-20:] + match[0]


HEADING = re.compile(r'(?P<page>[\w./-]+\.md)`?,? ["“](?P<heading>[^"”]+)["”]')
LINK = re.compile(r"\]\((?P<page>[^)#\s:]*)#(?P<anchor>[^)\s]+)\)")


def dead_headings(path):
    for text, place in paragraphs(path):
        for match in HEADING.finditer(text):
            target = page(match["page"], path)
            if not target or match["heading"] not in headings(target):
                yield place(match.start()), match[0]
        for match in LINK.finditer(text):
            target = page(match["page"], path) if match["page"] else path
            if not target or match["anchor"] not in map(slug, headings(target)):
                yield place(match.start()), match[0]


FILE = re.compile(
    r"(?<![\w./<>$~{}*-])(?P<name>(?:(?:Sources|Tests|scripts|bench|docs|protocol|config|sdk)/"
    r"[\w./+-]*\w|[\w./+-]*\w\.(?:swift|py|md|toml|ndjson|modulemap)))(?![\w/*<>{$…])"
)

@functools.cache
def plugins():
    """Names of plugins, such as `queue/discard`: they look like paths."""
    sources = [ROOT / path for path in files() if path.suffix == ".swift"]
    named = re.compile(r'static let name = "([^"]+)"')
    return {name for path in sources for name in named.findall(path.read_text(encoding="utf-8"))}


NAMED = re.compile(r"`([\w/]+\.py)`: `(\w+)`")


def dead_files(path):
    for text, place in paragraphs(path):
        for match in FILE.finditer(text):
            name = match["name"].removeprefix("./")
            near = os.path.normpath(path.parent / name)
            is_made = name.startswith("bench/results/") or name in plugins()
            if not is_made and not {name, near} & (names() | folders()):
                yield place(match.start()), name
        for file, name in NAMED.findall(text):
            sources = [ROOT / known for known in files() if known.name == file]
            if not any(name in source.read_text(encoding="utf-8") for source in sources):
                yield place(text.index(f"`{name}`")), f"{file}: {name}"


SYMBOL = re.compile(r"``([^`\s]+)``")
DECLARED = re.compile(
    r"\b(?:(?:var|let|case|struct|class|enum|actor|protocol|typealias|associatedtype|extension)"
    r"\s+`?(\w+)|(?:func\s+`?(\w+)`?|(init|subscript)[?!]?)\s*(?:<[^>]*>)?\s*(\())"
)


def labels(text, start):
    """The labels of a parameter list that begins after `start`, as `a:b:`."""
    depth, parameters, at = 1, [""], start
    while depth and at < len(text):
        character = text[at]
        depth += (character in "([{<") - (character in ")]}" or character == ">" and text[at - 1] != "-")
        if character == "," and depth == 1:
            parameters.append("")
        elif depth:
            parameters[-1] += character
        at += 1
    words = (re.sub(r"^\s*(@\w+(\([^)]*\))?\s+)*", "", p) for p in parameters)
    found = [re.match(r"\w+", word) for word in words]
    return "".join(f"{match[0]}:" for match in found if match)


@functools.cache
def declared():
    """Names that Swift declares; of functions also with their labels."""
    found = {"init", "allCases", "rawValue"}
    for path in files():
        if path.suffix != ".swift":
            continue
        text = re.sub(r"//.*", "", (ROOT / path).read_text(encoding="utf-8"))
        found.add(path.parts[1] if len(path.parts) > 1 else path.stem)
        for match in DECLARED.finditer(text):
            name = match[1] or match[2] or match[3]
            found.add(name)
            if match[4]:
                found.add(f"{name}({labels(text, match.end())})")
            elif text[match.end() : match.end() + 1] == "(":
                found.add(f"{name}({case_labels(text, match.end() + 1)})")
        for more in re.findall(r"\bcase ([\w, `]+)$", text, re.MULTILINE):
            found.update(word.strip(" `") for word in more.split(","))
    return found


def case_labels(text, start):
    """As `labels`, for an enum's case, where a value may have none."""
    end, depth = start, 1
    while depth and end < len(text):
        depth += (text[end] in "([<") - (text[end] in ")]>")
        end += 1
    values = re.split(r",(?![^<(\[]*[>)\]])", text[start : end - 1])
    found = [re.match(r"\s*(\w+)\s*:", value) for value in values]
    return "".join(f"{match[1]}:" if match else "_:" for match in found)


def dead_symbols(path):
    if path.suffix != ".swift":
        return
    for text, place in paragraphs(path):
        for match in SYMBOL.finditer(text):
            for part in match[1].split("/"):
                if part not in declared():
                    yield place(match.start()), match[0]


ROW = re.compile(r"\brows? \d+|\b(?:parity|hardening)\b[^.]{0,12}(?:[A-Z]-\d|§|\b\d)", re.IGNORECASE)


def dead_rows(path):
    for text, place in paragraphs(path):
        for match in ROW.finditer(text):
            yield place(match.start()), match[0]


KINDS = [dead_sections, dead_headings, dead_files, dead_symbols, dead_rows]


@pytest.mark.parametrize("dead", KINDS, ids=[kind.__name__.removeprefix("dead_") for kind in KINDS])
def test_a_pointer_points_at_something(dead):
    found = [f"{path}:{line}: {what}" for path in files() for line, what in dead(path)]
    assert not found, "\n" + "\n".join(found)
