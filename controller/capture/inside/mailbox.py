"""Python objects from one captured rank to another, as pipelines exchange the shapes of their stages at the start.

A message is a file in a folder that the captured ranks share; asking for one of a rank that is not captured yet makes
the launcher start it. The content is what torch's own object collectives put on the wire.
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from controller.clock import sleep_s, wall_clock_s

LONGEST_WAIT_S = 300.0


class Mailbox:
    """Messages of one rank.

    Args:
        folder: shared by the captured ranks.
        rank: whose messages these are.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder, self._rank = folder, rank
        self._sent: Counter[int] = Counter()
        self._received: Counter[int] = Counter()

    def want(self, rank: int) -> None:
        """Asks the launcher to capture another rank too."""
        (self._folder / f"want.{rank}").touch()

    def send(self, rank: int, content: list[Any]) -> None:
        """Sends objects to a rank."""
        self.want(rank)
        self._sent[rank] += 1
        path = self._folder / f"mail.{self._rank}.{rank}.{self._sent[rank]}"
        body = io.BytesIO()
        torch.save(content, body)
        unfinished = path.with_suffix(path.suffix + ".part")
        unfinished.write_bytes(body.getvalue())
        unfinished.rename(path)

    def receive(self, rank: int) -> list[Any]:
        """The next objects from a rank; waits for them.

        Raises:
            TimeoutError: that rank sent nothing.
        """
        self.want(rank)
        self._received[rank] += 1
        path = self._folder / f"mail.{rank}.{self._rank}.{self._received[rank]}"
        until = wall_clock_s() + LONGEST_WAIT_S
        while not path.exists():
            if wall_clock_s() > until:
                raise TimeoutError(f"rank {self._rank} waited {LONGEST_WAIT_S:g} s for an object of rank {rank}")
            sleep_s(0.02)
        # Written by a rank of the same program on this machine, a moment ago.
        found: list[Any] = torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
        return found
