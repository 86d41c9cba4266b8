"""Text to token ids and back, where a model has a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from controller.errors import BadWorkload
from controller.models.gguf_weights import GgufWeights, needs_extra
from controller.models.weights import Weights


class Tokenizer:
    """The tokenizer in the folder of converted weights.

    Raises:
        MissingExtra: the package tokenizers is not installed.
    """

    def __init__(self, weights: GgufWeights) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise needs_extra("tokenizers") from error
        self._first = weights.shape.bos_token
        self._tokenizer = tokenizers.Tokenizer.from_file(str(weights.folder / "tokenizer.json"))

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text`, after the begin-of-text token where the model has one."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return (*([] if self._first is None else [self._first]), *ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


@cache
def _opened(weights: GgufWeights) -> Tokenizer:
    return Tokenizer(weights)  # reading its 33 MB takes a second, and a run needs it before and after


def open_tokenizer(weights: Weights) -> Tokenizer:
    """The tokenizer that belongs to `weights`.

    Raises:
        BadWorkload: weights from a seed, which no text was ever written for.
        MissingExtra: the package tokenizers is not installed.
    """
    if isinstance(weights, GgufWeights):
        return _opened(weights)
    raise BadWorkload(
        f"{weights.shape.name} has weights from a seed and no tokenizer; say how many prompt tokens to draw"
    )
