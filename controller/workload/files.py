"""Traces of one's own: CSV files as Azure and BurstGPT publish theirs.

====================  ==============================================================================================
Azure LLM inference   ``TIMESTAMP,ContextTokens,GeneratedTokens``
BurstGPT              ``Timestamp,[Session ID,Elapsed time,]Model,Request tokens,Response tokens,Total tokens,Log Type``
====================  ==============================================================================================

Columns are found by name. A BurstGPT request with 0 response tokens failed and is left out, as its README says; a
length that is no whole number, or an empty prompt, is an error that names line and column.
Source: Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md; HPMLL/BurstGPT, README.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from controller.errors import BadWorkload
from controller.nearest import nearest
from controller.workload.lengths import TRACES, draw_stream
from controller.workload.requests import RequestStream

FORMATS = (
    ("ContextTokens", "GeneratedTokens", False),
    ("Request tokens", "Response tokens", True),
)
"""Column of the prompt, column of the output, and whether an output of 0 is a failed request."""


def open_stream(text: str, seed: int) -> RequestStream:
    """A drawn stream by the name of its trace, or the requests of a CSV file.

    Raises:
        BadWorkload: neither a trace nor a file, or an invalid file.
    """
    if text in TRACES:
        return draw_stream(text, seed)
    path = Path(text)
    if path.is_file():
        return read_stream(path)
    hint = nearest(text, TRACES)
    raise BadWorkload(f"request stream {text!r} is neither a file nor a published trace; {hint}")


def read_stream(path: Path) -> RequestStream:
    """The requests of a CSV file, in its order.

    Raises:
        BadWorkload: no text, no known columns, or an impossible length; names line and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadWorkload(f"{path}: cannot be read as CSV: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    found = next((form for form in FORMATS if form[0] in header and form[1] in header), None)
    if found is None:
        known = " or ".join(f"{prompt!r} and {output!r}" for prompt, output, _ in FORMATS)
        raise BadWorkload(f"{path}:1: the columns are {', '.join(header) or 'none'}; a trace has {known}")
    prompt_name, output_name, failures = found
    prompt_at, output_at = header.index(prompt_name), header.index(output_name)
    prompts: list[int] = []
    outputs: list[int] = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        output = _length(path, line, output_name, row, output_at, 0 if failures else 1)
        prompt = _length(path, line, prompt_name, row, prompt_at, 1)
        if output:
            prompts.append(prompt)
            outputs.append(output)
    if not prompts:
        raise BadWorkload(f"{path}: no request in {len(rows) - 1} lines after the header; a trace has one a line")
    return RequestStream(path.name, np.array(prompts, np.int64), np.array(outputs, np.int64))


def _length(path: Path, line: int, name: str, row: list[str], at: int, least: int) -> int:
    where = f"{path}:{line}, column {at + 1} ({name})"
    if at >= len(row):
        raise BadWorkload(f"{where}: the line ends after {len(row)} columns")
    text = row[at].strip()
    if not (text.isascii() and text.isdigit()):
        raise BadWorkload(f"{where}: {text!r} is no whole number of tokens")
    value = int(text)
    if not least <= value <= 10**9:
        raise BadWorkload(f"{where}: {value} tokens; {least} to 1000000000 can be")
    return value
