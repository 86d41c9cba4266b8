"""Traces as JSON: Mooncake and APEX+ one object a line, ShareGPT one list.

Source: kvcache-ai/Mooncake (FAST25-release/traces; a hash of `hash_ids` stands for 512 tokens), APEX+ trace files,
ShareGPT as vLLM's benchmark reads it (the first prompt and the first answer of a conversation).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.errors import BadWorkload
from controller.serving.requests.recorded import RecordedRequest, seconds, token_count

MOONCAKE_BLOCK_TOKENS = 512
CHARACTERS_A_TOKEN = 4.0
"""Of English text in the vocabularies of these models (assumed); ShareGPT has texts and no counts."""


def read_json_lines(path: Path, text: str, most: int | None) -> list[RecordedRequest]:
    """One object a line.

    Raises:
        BadWorkload: a line that is no object, or lacks a key.
    """
    requests: list[RecordedRequest] = []
    for line, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        try:
            entry = json.loads(row)
        except json.JSONDecodeError as error:
            raise BadWorkload(f"{path}:{line}: {error.msg} at column {error.colno}; a line is one object") from error
        if not isinstance(entry, dict):
            raise BadWorkload(f"{path}:{line}: the line is no object; write one request a line")
        requests.append(_entry(path, line, entry))
        if most is not None and len(requests) >= most:
            break
    return requests


def _entry(path: Path, line: int, entry: Mapping[str, Any]) -> RecordedRequest:
    if "input_length" in entry and "output_length" in entry:
        prompt = token_count(path, line, "input_length", entry["input_length"], 1)
        hashes = entry.get("hash_ids", [])
        if not isinstance(hashes, list) or any(not isinstance(each, int) for each in hashes):
            raise BadWorkload(f"{path}:{line}: hash_ids is no list of whole numbers; correct or remove the line")
        return RecordedRequest(
            line, seconds(path, line, "timestamp", entry.get("timestamp", 0), 1e-3), prompt,
            token_count(path, line, "output_length", entry["output_length"], 0),
            prefix=tuple(hashes[: prompt // MOONCAKE_BLOCK_TOKENS]), prefix_block_tokens=MOONCAKE_BLOCK_TOKENS,
        )  # fmt: skip
    if "ContextTokens" in entry and "GeneratedTokens" in entry:
        return RecordedRequest(
            line, seconds(path, line, "StartTimeOffset", entry.get("StartTimeOffset", 0), 1e-9),
            token_count(path, line, "ContextTokens", entry["ContextTokens"], 1),
            token_count(path, line, "GeneratedTokens", entry["GeneratedTokens"], 0),
        )  # fmt: skip
    raise BadWorkload(
        f"{path}:{line}: the keys are {', '.join(entry) or 'none'}; Mooncake has timestamp, input_length, "
        f"output_length; APEX+ has StartTimeOffset, ContextTokens, GeneratedTokens"
    )


def read_sharegpt(path: Path, text: str, most: int | None) -> list[RecordedRequest]:
    """The first turn of every conversation that has two; all arrive at once.

    Raises:
        BadWorkload: no JSON, or no list of conversations.
    """
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadWorkload(f"{path}:{error.lineno}: {error.msg}; ShareGPT is one list of conversations") from error
    requests: list[RecordedRequest] = []
    note = f"lengths are characters over {CHARACTERS_A_TOKEN:g} (assumed); all requests arrive at once"
    for number, entry in enumerate(entries, start=1):
        turns = entry.get("conversations") if isinstance(entry, dict) else None
        if not isinstance(turns, list):
            raise BadWorkload(f"{path}: entry {number} has no list 'conversations'; ShareGPT is a list of those")
        texts = [turn.get("value", "") for turn in turns[:2] if isinstance(turn, dict)]
        if len(texts) < 2 or not all(isinstance(each, str) and each for each in texts):
            continue
        prompt, output = (max(1, round(len(each) / CHARACTERS_A_TOKEN)) for each in texts)
        requests.append(RecordedRequest(number, 0.0, prompt, output, note=note))
        if most is not None and len(requests) >= most:
            break
    if not requests:
        raise BadWorkload(f"{path}: no conversation has a prompt and an answer")
    return requests
