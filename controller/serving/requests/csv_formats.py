"""Traces as CSV: Azure 2023 and 2024, BurstGPT, Vidur.

Source: Azure/AzurePublicDataset (AzureLLMInferenceDataset2023.md and 2024.md), HPMLL/BurstGPT (README),
microsoft/vidur (data/processed_traces).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from controller.errors import BadWorkload
from controller.serving.requests.recorded import RecordedRequest, seconds, token_count


@dataclass(frozen=True, slots=True)
class _CsvFormat:
    """Columns of a format; `dated` times are dates, others seconds; `session` may be absent."""

    name: str
    at: str
    prompt: str
    output: str
    dated: bool = False
    session: str = ""


FORMATS = (
    _CsvFormat("Azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", dated=True),
    _CsvFormat("BurstGPT", "Timestamp", "Request tokens", "Response tokens", session="Session ID"),
    _CsvFormat("Vidur", "arrived_at", "num_prefill_tokens", "num_decode_tokens"),
)


def read_csv(path: Path, text: str, most: int | None) -> list[RecordedRequest]:
    """The requests of a CSV file.

    Raises:
        BadWorkload: no known columns, or a line that is no request.
    """
    rows = csv.reader(StringIO(text, newline=""))
    header = [name.strip() for name in next(rows, [])]
    found = next((form for form in FORMATS if {form.at, form.prompt, form.output} <= set(header)), None)
    if found is None:
        known = "; ".join(f"{form.name}: {form.at}, {form.prompt}, {form.output}" for form in FORMATS)
        raise BadWorkload(f"{path}:1: the columns are {', '.join(header) or 'none'}; a trace has {known}")
    at, prompt, output = (header.index(name) for name in (found.at, found.prompt, found.output))
    session = header.index(found.session) if found.session in header else -1
    sessions: dict[str, int] = {}
    requests: list[RecordedRequest] = []
    try:
        for row in rows:
            line = rows.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= max(at, prompt, output):
                raise BadWorkload(f"{path}:{line}: the line ends after {len(row)} columns; complete or remove it")
            number = -1
            if session >= 0 and session < len(row) and row[session].strip():
                number = sessions.setdefault(row[session].strip(), len(sessions))
            when = _date(path, line, row[at]) if found.dated else seconds(path, line, found.at, row[at])
            requests.append(
                RecordedRequest(
                    line, when, token_count(path, line, found.prompt, row[prompt], 1),
                    token_count(path, line, found.output, row[output], 0), number,
                )
            )  # fmt: skip
            if most is not None and len(requests) >= most:
                break
    except csv.Error as error:
        raise BadWorkload(f"{path}:{rows.line_num}: cannot be read as CSV: {error}") from error
    return requests


def _date(path: Path, line: int, text: str) -> float:
    """A date as seconds since 1970; more digits than microseconds are cut."""
    stripped = text.strip()
    whole, dot, rest = stripped.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :]
    try:
        found = datetime.fromisoformat(f"{whole}.{digits[:6]:0<6}{zone}" if dot else stripped)
    except ValueError:
        raise BadWorkload(
            f"{path}:{line}: TIMESTAMP is {text!r}, no date like 2023-11-16 18:17:03.9799600; correct or remove it"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
