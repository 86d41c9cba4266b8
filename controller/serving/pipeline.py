"""Pipeline stages of an instance: lanes of requests that follow each other through them.

With pp stages an instance has pp lanes, each with requests of its own and an iteration of its own under way; they share
the KV pool and the queue. An iteration enters the first stage when that is free, and cannot overtake the one before it:
a long prompt in front is a bubble behind.

Source: Agrawal et al., Sarathi-Serve, arXiv 2403.02310, section 3.4 (bubbles of unequal micro-batches).
Not modelled: stages of unequal length.
"""

from __future__ import annotations


class StagePipeline:
    """When the stages of one instance are free.

    Attributes:
        stages: number of them.
    """

    def __init__(self, stages: int) -> None:
        self.stages = stages
        self._first_free_at = self._last_end_at = 0.0

    def enter(self, now: float, duration_s: float) -> float:
        """Sends an iteration that takes `duration_s` through all stages at `now`; when it comes out [s]."""
        stage_s = duration_s / self.stages
        begin = max(now, self._first_free_at)
        self._first_free_at = begin + stage_s
        self._last_end_at = max(begin + duration_s, self._last_end_at + stage_s)
        return self._last_end_at
