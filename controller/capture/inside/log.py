"""What one rank did, in the order in which its host asked for it.

An event is a list that starts with its kind; `controller.capture.trace` reads them again.

==============  ====================================================================================================
``kernel``      signature, stream, calls of the host since the event before that launched nothing (views)
``collective``  group, kind, dtype, bytes in, bytes out, work, stream, further facts (peer, root, op), line
``record``      event, stream
``wait``        event, stream
``join``        work, stream
``sync``        what the host waited for (``device``, ``stream``, ``event`` or a value), number, line
``take``        storage, bytes, stream
``give``        storage
``use``         storage, stream (record_stream)
``copy``        direction, bytes, stream, whether the host goes on
``step``        number of the step that just ended
==============  ====================================================================================================
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

Event = list[Any]
NOT_THE_USERS = ("/site-packages/", "/capture/inside/", "/lib/python3", "<")
"""Parts of the names of files that are not the program's own."""


class Log:
    """Events and signatures of one rank."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.signatures: list[Any] = []
        self.groups: dict[str, list[int]] = {}
        self.descriptions: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self.streams: dict[int, int] = {}
        self.step_count = 0
        self.program = ""
        self._numbers: dict[Any, int] = {}

    def add(self, *event: Any) -> None:
        """Adds one event."""
        self.events.append(list(event))

    def signature(self, key: Any) -> int:
        """Number of a signature (name, inputs, outputs, further arguments)."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.signatures)
            self.signatures.append(key)
        return number

    def note(self, text: str) -> None:
        """Something to tell the user, once."""
        self.notes[text] = None

    def line(self) -> str:
        """File and line of the innermost frame that is the user's own, or "" """
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if name == self.program or not any(part in name for part in NOT_THE_USERS):
                return f"{name}:{frame.f_lineno}"
            frame = frame.f_back
        return ""

    def write(self, path: Path, **facts: Any) -> None:
        """Writes everything as JSON."""
        whole = {
            **facts,
            "events": self.events,
            "signatures": self.signatures,
            "groups": self.groups,
            "descriptions": self.descriptions,
            "notes": list(self.notes),
            "streams": {str(stream): priority for stream, priority in self.streams.items()},
            "steps": self.step_count,
        }
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(whole, separators=(",", ":")))
        unfinished.rename(path)
