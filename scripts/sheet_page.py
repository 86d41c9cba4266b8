"""Puts what scripts/error_sheet printed into the page of `windtunnel help accuracy`, whole or for some papers alone.

    scripts/sheet_page.py PAGE SECTION FILE [SECTION FILE...] [--papers NAME...]

A section lies between the lines ``<!-- SECTION -->`` and ``<!-- end SECTION -->``. With ``--papers`` the lines of those
papers take the place of theirs and the others stay, in the order of the table of papers.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from controller.reproduce.table import PAPERS

WIDTH = 120
HEADS = 2
"""Lines of a table above its rows."""
NOTHING = "- none"


def renewed(page: str, sections: Sequence[tuple[str, str]], papers: Sequence[str] = ()) -> str:
    """The page with new sections.

    Args:
        page: as it is.
        sections: name and text of each.
        papers: whose lines are new; all of them where there is none.

    Raises:
        ValueError: the page lacks a line where a section begins or ends.
    """
    for name, text in sections:
        start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
        if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
            raise ValueError(f"the page needs one line {start} and below it one line {end}")
        before, rest = page.split(start)
        old, after = rest.split(end)
        made = merged(old.strip(), text.strip(), papers) if papers else _wrapped(text.strip())
        page = f"{before}{start}\n{made}\n{end}{after}"
    return page


def merged(old: str, new: str, papers: Sequence[str]) -> str:
    """A section whose lines of `papers` are those of `new`; `old` has the others."""
    heads = new.splitlines()[:HEADS] if new.startswith("|") else []
    kept = [entry for entry in _entries(old) if _paper(entry) not in papers and entry != NOTHING]
    come = [entry for entry in _entries(new) if _paper(entry) in papers]
    order = list(PAPERS)
    found = sorted((*kept, *come), key=lambda entry: order.index(_paper(entry)))
    return _wrapped("\n".join((*heads, *found)) or NOTHING)


def _entries(text: str) -> list[str]:
    """Rows of a table, or points of a list with what they go on with, each on one line."""
    lines = text.splitlines()
    if text.startswith("|"):
        return lines[HEADS:]
    found: list[str] = []
    for line in lines:
        if line.startswith("- "):
            found.append(line)
        else:
            found[-1] += f" {line.strip()}"
    return found


def _paper(entry: str) -> str:
    """The paper of an entry: the first cell of a row, or what a point begins with."""
    return entry[2:].split(" |" if entry.startswith("|") else ",", 1)[0]


def _wrapped(text: str) -> str:
    """Points of a list on as many lines as they need; tables stay as they are."""
    if text.startswith("|"):
        return text
    return "\n".join(
        textwrap.fill(entry, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for entry in _entries(text)
    )


def main(arguments: Sequence[str]) -> int:
    """Renews the page; 1 where it has no such sections."""
    parser = argparse.ArgumentParser(prog="scripts/sheet_page.py", description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("sections", nargs="+", metavar="SECTION FILE")
    parser.add_argument("--papers", nargs="+", default=(), choices=tuple(PAPERS), metavar="NAME")
    given = parser.parse_args(arguments)
    names, files = given.sections[::2], given.sections[1::2]
    sections = [(name, Path(file).read_text(encoding="utf-8")) for name, file in zip(names, files, strict=True)]
    try:
        page = renewed(given.page.read_text(encoding="utf-8"), sections, given.papers)
    except ValueError as error:
        print(f"error_sheet: {given.page}: {error}; nothing was written", file=sys.stderr)
        return 1
    given.page.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
