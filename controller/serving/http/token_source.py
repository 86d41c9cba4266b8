"""Where prompts get token ids and tokens get text: the model's tokenizer, numbers, or placeholders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.serving.live.request_texts import RequestTexts

CHARACTERS_A_TOKEN = 4
"""Assumed of prompts to models without a tokenizer here, as OpenAI's help page on tokens has it for English."""
WORDS = ("the", "wind", "blows", "over", "a", "scale", "model", "in", "its", "tunnel")
"""Placeholder tokens, in turn."""


class TextCodec(Protocol):
    """A tokenizer."""

    def encode(self, text: str) -> Sequence[int]:
        """Token ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""


class NumberCodec:
    """Of weights from a seed, which no text was ever written for: a byte is an id, and an id its number."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def encode(self, text: str) -> Sequence[int]:
        return [byte % self._vocabulary for byte in text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f" {token}" for token in ids)


class TokenSource(Protocol):
    """Texts of requests.

    Attributes:
        is_real: tokens are computed.
    """

    is_real: bool

    def begin(self, number: int, prompt: str | Sequence[int]) -> int:
        """Takes in a prompt; its length [tokens]."""

    def text(self, number: int, count: int) -> str:
        """The first `count` tokens of the answer as text."""

    def ends(self, number: int, count: int) -> bool:
        """Whether the last of them ends the text."""

    def forget(self, number: int) -> None:
        """Drops a request that has ended."""


class PlaceholderTokens:
    """Tokens that nobody computes."""

    is_real = False

    def begin(self, number: int, prompt: str | Sequence[int]) -> int:
        if not isinstance(prompt, str):
            return len(prompt)
        return max(1, -(-len(prompt) // CHARACTERS_A_TOKEN))

    def text(self, number: int, count: int) -> str:
        return "".join(f" {WORDS[index % len(WORDS)]}" for index in range(count))

    def ends(self, number: int, count: int) -> bool:
        return False

    def forget(self, number: int) -> None:
        """Nothing is kept."""


class ComputedTokens:
    """Tokens that come out of nodes."""

    is_real = True

    def __init__(self, texts: RequestTexts, codec: TextCodec, ends: Sequence[int]) -> None:
        self._texts, self._codec, self._ends = texts, codec, frozenset(ends)

    def begin(self, number: int, prompt: str | Sequence[int]) -> int:
        ids = self._codec.encode(prompt) if isinstance(prompt, str) else prompt
        self._texts.begin(number, ids)
        return len(ids)

    def text(self, number: int, count: int) -> str:
        return self._codec.decode(self._texts.answer(number)[:count])

    def ends(self, number: int, count: int) -> bool:
        return count > 0 and self._texts.answer(number)[count - 1] in self._ends

    def forget(self, number: int) -> None:
        self._texts.forget(number)
