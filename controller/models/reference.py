"""The plain run that every live run is compared with: one process, greedy decoding, no plan.

A packaged model runs through Hugging Face transformers, which shares no code with us; a model from a seed through
`plain.py`, which the tests compare with transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.models.gguf_weights import GgufWeights, needs_extra
from controller.models.plain import PlainDecoder
from controller.models.weights import Weights


@dataclass(frozen=True)
class Reference:
    """What the plain run gave.

    Attributes:
        tokens: for each row the chosen tokens, up to and with the first that ends the text.
        logits: float32 (steps, rows, vocab); a row that has ended holds nothing to compare with afterwards.
        made_by: which code ran.
    """

    tokens: tuple[tuple[int, ...], ...]
    logits: npt.NDArray[np.float32]
    made_by: str


def generate_reference(
    weights: Weights,
    prompt_ids: npt.ArrayLike,
    output_tokens: int,
    eos_tokens: Sequence[int] | None = None,
    decoder: PlainDecoder | None = None,
) -> Reference:
    """Greedy decoding of `output_tokens` tokens, fewer when every row has ended.

    Args:
        weights: of the model; those of a package run through transformers.
        prompt_ids: token ids (rows, tokens), with the begin-of-text token where the model has one.
        output_tokens: most tokens to choose.
        eos_tokens: those that end a text; None for the model's own.
        decoder: the plain run of a strategy that computes something else than the model's own attention.

    Raises:
        MissingExtra: transformers is needed and not installed.
    """
    ids = np.atleast_2d(np.asarray(prompt_ids, dtype=np.int64))
    ends = tuple(weights.shape.eos_tokens if eos_tokens is None else eos_tokens)
    if isinstance(weights, GgufWeights) and decoder is None:
        return _by_transformers(weights, ids, output_tokens, ends)
    return _by_plain_torch(decoder or PlainDecoder(weights, ids.shape[1], len(ids)), ids, output_tokens, ends)


def until_end(tokens: Sequence[int], eos_tokens: Sequence[int]) -> tuple[int, ...]:
    """`tokens` up to and with the first that ends the text."""
    for index, token in enumerate(tokens):
        if token in eos_tokens:
            return tuple(int(one) for one in tokens[: index + 1])
    return tuple(int(one) for one in tokens)


def _by_plain_torch(
    decoder: PlainDecoder, ids: npt.NDArray[np.int64], output_tokens: int, ends: tuple[int, ...]
) -> Reference:
    prompt = ids.shape[1]
    steps: list[npt.NDArray[np.float32]] = []
    running = np.ones(len(ids), dtype=bool)
    while len(steps) < output_tokens and running.any():
        steps.append(decoder.logits(ids))
        chosen = steps[-1].argmax(-1).astype(np.int64)
        ids = np.concatenate([ids, chosen[:, None]], axis=1)
        running &= ~np.isin(chosen, ends)
    tokens = tuple(until_end(row[prompt:].tolist(), ends) for row in ids)
    return Reference(tokens, np.stack(steps), decoder.made_by)


def _by_transformers(
    weights: GgufWeights, ids: npt.NDArray[np.int64], output_tokens: int, ends: tuple[int, ...]
) -> Reference:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise needs_extra("transformers") from error
    transformers.utils.logging.disable_progress_bar()
    # Any: what transformers declares of these is wider than what it returns here.
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        weights.folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    )
    # Set here, because generate() takes an absent end token for the model's own.
    model.generation_config.eos_token_id = list(ends) or None
    model.generation_config.pad_token_id = 0
    prompt = torch.from_numpy(ids)
    with torch.no_grad():
        out: Any = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=output_tokens, do_sample=False,
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    chosen = out.sequences[:, prompt.shape[1] :].tolist()
    tokens = tuple(until_end(row, ends) for row in chosen)
    logits = torch.stack(out.logits).float().numpy()
    return Reference(tokens, logits, f"transformers {transformers.__version__} {type(model).__name__}")
