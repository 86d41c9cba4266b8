"""Prints help texts: paragraphs fill the terminal, lists keep their marks, code and tables stay as they are."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from itertools import groupby

import click

WIDEST = 100
"""Columns beyond which a paragraph is hard to read, however wide the terminal."""

_KEYS = "Paper|Follows|Differs|Checked by|Model|Sources?|Valid for|Not modelled|Task|Topology"
_ITEM = re.compile(rf"(?:[-*] |\d+\. |(?:{_KEYS}): )")
"""The beginning of a line that starts an item: a mark of a list, or a key such as ``Paper:``."""


def print_text(text: str) -> None:
    """Prints a page or a docstring for people."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    blocks = list(_blocks(text))
    for index, (kind, lines) in enumerate(blocks):
        if index:
            click.echo()
        if kind == "table":
            _print_table(lines)
        elif kind == "heading":
            click.secho(lines[0].lstrip("# "), bold=True)
        elif kind == "verbatim":
            click.echo("\n".join(lines))
        else:
            for item in _items(lines):
                filled = _plain(" ".join(item))
                hang = _hang(item[0])
                click.echo(
                    textwrap.fill(filled, width, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False)
                )


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """The parts between blank lines with their kinds; a fence is one block, whatever is inside."""
    inside: list[str] | None = None
    part: list[str] = []
    for line in [*text.strip("\n").splitlines(), ""]:
        if line.startswith("```"):
            if inside is None:
                inside = []
            else:
                yield "verbatim", [f"    {one}" if one else "" for one in inside]
                inside = None
        elif inside is not None:
            inside.append(line)
        elif line.startswith("<!--"):
            continue
        elif line.strip():
            part.append(line)
        elif part:
            yield from _kinds(part)
            part = []


def _kinds(part: list[str]) -> Iterator[tuple[str, list[str]]]:
    """One part, or several where a paragraph goes over into indented lines, like a key and what it says."""
    if part[0].startswith("|"):
        yield "table", part
    elif part[0].startswith("#"):
        yield "heading", part[:1]
        if part[1:]:
            yield from _kinds(part[1:])
    elif part[0].startswith((" ", "=")):
        yield "verbatim", part
    elif part == ["::"]:
        return
    else:
        yield "paragraph", part


def _items(lines: list[str]) -> Iterator[list[str]]:
    """A paragraph's lines by item: a line with a mark or a key begins one, the others go on."""
    item: list[str] = []
    for line in lines:
        if item and (_ITEM.match(line) or (not line.startswith(" ") and _hang(item[0]) and item[0][:1] in "-*")):
            yield item
            item = []
        item.append(line.strip() if item else line)
    yield item


def _hang(first: str) -> str:
    """What the further lines of an item are indented by."""
    return " " * (2 if first[:2] in ("- ", "* ") else 4 if _ITEM.match(first) else 0)


def _plain(text: str) -> str:
    return text.replace("``", "`").replace("**", "")


def _print_table(lines: list[str]) -> None:
    from controller.report.tables import show, table

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, *body = [row for separator, group in groupby(rows, _is_rule) if not separator for row in group]
    show(table(head, body))


def _is_rule(cells: list[str]) -> bool:
    return all(set(cell) <= set("-: ") and cell for cell in cells)
