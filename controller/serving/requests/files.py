"""Files of requests: which format a file has, and what is done with what is odd about it.

Known by their columns or keys: Azure 2023 and 2024, BurstGPT and Vidur (CSV), Mooncake and APEX+ (JSONL), ShareGPT
(JSON). A byte order mark and CRLF are read as if they were not there. Times that are not in order are sorted, and
requests without an output left out, with a note; anything else is refused with its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from controller.errors import BadWorkload
from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.requests.csv_formats import read_csv
from controller.serving.requests.json_formats import read_json_lines, read_sharegpt
from controller.serving.requests.recorded import RecordedRequest

MOST_BYTES = 2 << 30


def read_request_file(path: Path, most: int | None = None, rate_per_s: float | None = None) -> RequestStreamSpec:
    """The requests of a file, in the order of arrival from 0 on.

    Args:
        path: of the file.
        most: requests to take, from the first; None for all.
        rate_per_s: mean rate that times are stretched to; None for as recorded [1/s].

    Raises:
        BadWorkload: an unknown format, or a line that is no request; names it.
    """
    if path.stat().st_size > MOST_BYTES:
        raise BadWorkload(f"{path} has {path.stat().st_size} bytes; cut it to at most {MOST_BYTES}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadWorkload(f"{path}: cannot be read as UTF-8 text: {error}") from error
    start = text.lstrip()[:1]
    if not start:
        raise BadWorkload(f"{path} is empty; a file of requests has one a line")
    reader = read_sharegpt if start == "[" else read_json_lines if start == "{" else read_csv
    return _stream(path, reader(path, text, most), rate_per_s)


def _stream(path: Path, found: Sequence[RecordedRequest], rate_per_s: float | None) -> RequestStreamSpec:
    notes: list[str] = []
    kept = [each for each in found if each.output_tokens > 0]
    if len(kept) < len(found):
        first = next(each.line for each in found if each.output_tokens <= 0)
        notes.append(
            f"{path.name}: {len(found) - len(kept)} requests without an output are left out, the first in line {first}"
        )
    if not kept:
        raise BadWorkload(f"{path}: no request has an output; a file of requests has at least one")
    if any(after.at_s < before.at_s for before, after in pairwise(kept)):
        notes.append(f"{path.name}: times are not in order and were sorted")
        kept.sort(key=lambda each: each.at_s)
    begin = kept[0].at_s
    span = kept[-1].at_s - begin
    rate = (len(kept) - 1) / span if span > 0 else float("inf")
    scale = 1.0
    if rate_per_s is not None and span > 0:
        scale, rate = rate / rate_per_s, rate_per_s
    if kept[0].note:
        notes.append(f"{path.name}: {kept[0].note}")
    requests = [
        ClientRequest(
            number, (each.at_s - begin) * scale, each.prompt_tokens, each.output_tokens, session=each.session,
            prefix=each.prefix, prefix_block_tokens=each.prefix_block_tokens,
        )
        for number, each in enumerate(kept)
    ]  # fmt: skip
    return RequestStreamSpec(requests, path.name, rate, notes=tuple(notes))
