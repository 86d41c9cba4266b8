"""The plain training run that live ones are compared with: one process, torch autograd, torch's own AdamW, no plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from controller.models.plain import activated, rotated
from controller.models.shape import ModelShape, weight_shapes
from controller.models.training.optimizer import ADAM, AdamSettings
from controller.models.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TrainingReference:
    """What the plain run gave.

    Attributes:
        losses: mean over all tokens, of every step.
        parameters: after the last step, float32, by canonical name.
        gradients: of the last step, float32, by canonical name.
        made_by: which code ran.
    """

    losses: tuple[float, ...]
    parameters: dict[str, npt.NDArray[np.float32]]
    gradients: dict[str, npt.NDArray[np.float32]]
    made_by: str


def train_reference(
    weights: Weights, token_ids: npt.NDArray[np.int64], settings: AdamSettings = ADAM
) -> TrainingReference:
    """Trains from `weights`, one step for each (GPUs, batch, seq + 1) of `token_ids` (steps, GPUs, batch, seq + 1).

    The GPUs' batches are one batch here: data parallelism must not change a value.
    """
    import torch

    shape = weights.shape
    parameters = {
        name: torch.tensor(np.asarray(weights.tensor(name), np.float32)).requires_grad_()
        for name in weight_shapes(shape)
    }
    optimizer = torch.optim.AdamW(
        parameters.values(), settings.lr, (settings.beta1, settings.beta2), settings.eps, settings.weight_decay
    )
    losses: list[float] = []
    for step in token_ids:
        ids = torch.from_numpy(np.ascontiguousarray(step.reshape(-1, step.shape[-1])))
        optimizer.zero_grad()
        value = _loss(shape, parameters, ids[:, :-1], ids[:, 1:])
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(value.detach()))
    return TrainingReference(
        tuple(losses),
        {name: tensor.detach().numpy() for name, tensor in parameters.items()},
        {name: _values(tensor.grad) for name, tensor in parameters.items()},
        f"torch {torch.__version__} autograd",
    )


def _loss(shape: ModelShape, parameters: dict[str, Tensor], ids: Tensor, targets: Tensor) -> Tensor:
    from torch.nn import functional

    x = parameters["embed"][ids] * shape.embedding_scale
    if shape.positions == "learned":
        x = x + parameters["positions"][shape.position_offset : shape.position_offset + ids.shape[1]]
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        weights = {name[len(at) :]: tensor for name, tensor in parameters.items() if name.startswith(at)}
        x = x + _attention(shape, layer, weights, _norm(shape, weights, "attn_norm", x))
        x = x + _feed_forward(shape, weights, _norm(shape, weights, "ffn_norm", x))
    last = _norm(shape, parameters, "final_norm", x)
    logits = last @ parameters["embed" if shape.tie_word_embeddings else "head"].T
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _attention(shape: ModelShape, layer: int, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    import torch

    rows, tokens, _ = x.shape
    q = _linear(weights, "q", x).view(rows, tokens, shape.heads, shape.head_dim)
    k = _linear(weights, "k", x).view(rows, tokens, shape.kv_heads, shape.head_dim)
    v = _linear(weights, "v", x).view(rows, tokens, shape.kv_heads, shape.head_dim)
    if shape.positions == "rotary":
        q, k = rotated(shape, layer, q), rotated(shape, layer, k)
    k, v = (one.repeat_interleave(shape.heads // shape.kv_heads, dim=2) for one in (k, v))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * shape.attention_scale
    back = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]
    seen = (back >= 0) & (back < (shape.window(layer) or tokens))
    probabilities = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    attended = torch.einsum("bhij,bjhd->bihd", probabilities, v).reshape(rows, tokens, shape.q_size)
    return _linear(weights, "o", attended)


def _feed_forward(shape: ModelShape, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    up = _linear(weights, "up", x)
    inner = (
        activated(shape.activation, _linear(weights, "gate", x)) * up
        if shape.gated
        else (activated(shape.activation, up))
    )
    return _linear(weights, "down", inner)


def _norm(shape: ModelShape, weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    from torch.nn import functional

    weight = weights[f"{name}.weight"]
    if shape.norm == "layer":
        return functional.layer_norm(x, weight.shape, weight, weights[f"{name}.bias"], shape.norm_eps)
    return x / (x.square().mean(-1, keepdim=True) + shape.norm_eps).sqrt() * (shape.norm_offset + weight)


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _values(tensor: Tensor | None) -> npt.NDArray[np.float32]:
    assert tensor is not None, "every parameter takes part in the loss"
    values: npt.NDArray[np.float32] = tensor.detach().numpy()
    return values
