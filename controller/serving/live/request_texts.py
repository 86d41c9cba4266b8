"""Token ids of every request: its prompt, and behind it what was generated so far."""

from __future__ import annotations

from collections.abc import Sequence


class RequestTexts:
    """Texts by number of the request."""

    def __init__(self) -> None:
        self._ids: dict[int, list[int]] = {}
        self._prompts: dict[int, int] = {}

    def begin(self, number: int, prompt: Sequence[int]) -> None:
        """Takes in the prompt of a request."""
        self._ids[number], self._prompts[number] = [int(token) for token in prompt], len(prompt)

    def ids(self, number: int) -> list[int]:
        """Prompt and answer so far."""
        return self._ids[number]

    def answer(self, number: int) -> list[int]:
        """What was generated so far."""
        return self._ids[number][self._prompts[number] :]

    def prompt(self, number: int) -> list[int]:
        """What was asked."""
        return self._ids[number][: self._prompts[number]]

    def add(self, number: int, token: int) -> None:
        """Appends a generated token."""
        self._ids[number].append(token)

    def forget(self, number: int) -> None:
        """Drops the text of a request that has ended."""
        self._ids.pop(number, None)
        self._prompts.pop(number, None)
