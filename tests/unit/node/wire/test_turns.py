"""What one call of a long stream sends, and when the next one follows."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Timer

import pytest

from node import protocol
from node.errors import BadAttribute
from node.wire import turns


def test_entries_of_a_queue_go_out_over_as_many_calls_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STREAM_CALL_S", 0.05)
    entries: SimpleQueue[int | None] = SimpleQueue()
    for number in range(3):
        entries.put(number)
    Timer(0.12, lambda: [entries.put(number) for number in (3, 4, None)]).start()
    sent = [(turn.metadata[0][1], list(turn)) for turn in turns.turns(entries)]
    assert [entry for _, part in sent for entry in part] == [0, 1, 2, 3, 4]
    assert len(sent) >= 3
    assert [turns.name_and_number(text)[1] for text, _ in sent] == list(range(len(sent)))
    assert len({turns.name_and_number(text)[0] for text, _ in sent}) == 1


def test_a_busy_stream_goes_on_with_the_next_call_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STREAM_CALL_S", 0.0)
    entries: SimpleQueue[int | None] = SimpleQueue()
    entries.put(1)
    turn = turns.Turn("name", 0, entries)
    assert list(turn) == []
    assert turn.continues
    assert entries.get_nowait() == 1


@pytest.mark.parametrize("text", ["", "name", " 1", "name -1", "name x", "n" * 65 + " 0", "name 1" + "0" * 30])
def test_a_name_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(BadAttribute, match="windtunnel-stream"):
        turns.name_and_number(text)
