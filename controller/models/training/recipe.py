"""What a layer does in training, step by step, over named tensors instead of places.

`stage.py` puts places to the names, `scratch.py` finds room for those that nobody else keeps, `activations.py` counts
work. Names with ``w:`` and ``g:`` are weights and gradients of the layer's part; ``x`` is the input of the layer,
``out`` its output and ``gradient`` that of the residual stream: of ``out`` before, of ``x`` afterwards.

Backward asks for activations when it first needs them. One that was saved is there; any other is recomputed from what
it depends on, down to ``x`` if need be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from controller.errors import BadWorkload
from controller.models.shape import ModelShape
from controller.plan.ops import OpAttribute

LSE = "lse"
"""Log-sum-exp of attention, fp32 (batch, heads, seq); saved together with ``attention``."""


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel over names; `in_place` lets the first output take the room of an input that nobody reads later."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    in_place: bool = False
    recomputes: bool = False


@dataclass(frozen=True, slots=True)
class LayerForm:
    """What makes the kernels of one layer differ from those of another: how far attention sees and how it rotates."""

    window: int
    theta: float
    factor: float


def layer_form(shape: ModelShape, layer: int) -> LayerForm:
    """The form of `layer`."""
    theta, factor = shape.rotation(layer)
    return LayerForm(shape.window(layer), theta, factor)


def check_trainable(shape: ModelShape) -> None:
    """Refuses models whose layers have parts that are not trained here.

    Raises:
        BadWorkload: norms of q and k, or norms after attention and feed-forward.
    """
    if shape.qk_norm or shape.post_norms:
        what = "norms of q and k" if shape.qk_norm else "norms after attention and feed-forward"
        raise BadWorkload(f"{shape.name} has {what}; training takes models of the GPT, OPT and Llama families")


def tensor_columns(shape: ModelShape) -> dict[str, int]:
    """Elements a token of every named activation of a layer, and of the gradients between them."""
    hidden, wide = shape.hidden, shape.intermediate
    return {
        "x": hidden, "attn_norm": hidden, "qkv": shape.q_size + 2 * shape.kv_size, "attention": shape.q_size,
        "attention_out": hidden, "mid": hidden, "ffn_norm": hidden, "gate": wide, "up": wide, "act": wide,
        "ffn_down": hidden, "out": hidden, "gradient": hidden,
        "d_act": wide, "d_gate": wide, "d_up": wide, "d_ffn_norm": hidden, "d_mid": hidden, "d_attention": shape.q_size,
        "d_qkv": shape.q_size + 2 * shape.kv_size, "d_attn_norm": hidden, "d_x": hidden,
    }  # fmt: skip


@lru_cache(maxsize=256)
def forward_steps(shape: ModelShape, form: LayerForm) -> tuple[Step, ...]:
    """A layer from ``x`` to ``out``."""
    recipe = _Recipe(shape, form, frozenset(("x",)))
    recipe.need("ffn_down")
    recipe.steps.append(Step("add", ("mid", "ffn_down"), ("out",), in_place=True))
    return tuple(recipe.steps)


@lru_cache(maxsize=1024)
def backward_steps(shape: ModelShape, form: LayerForm, saved: frozenset[str], whole_block: bool) -> tuple[Step, ...]:
    """A layer from the gradient of ``out`` to that of ``x``, with gradients of all its weights.

    Args:
        shape: of the model.
        form: of the layer.
        saved: names of activations that are there, beside ``x``.
        whole_block: run the down projection again too where ``ffn_down`` is not saved, as frameworks do that
            checkpoint whole blocks, although no gradient needs it.
    """
    recipe = _Recipe(shape, form, saved | {"x"}, recomputes=True)
    if whole_block:
        recipe.need("ffn_down")
    recipe.feed_forward_backward()
    recipe.attention_backward()
    return tuple(recipe.steps)


class _Recipe:
    """Collects the steps of one pass."""

    def __init__(
        self, shape: ModelShape, form: LayerForm, available: frozenset[str], *, recomputes: bool = False
    ) -> None:
        self.shape, self.form, self.recomputes = shape, form, recomputes
        self.steps: list[Step] = []
        self._there = set(available)
        activated: tuple[str, ...] = ("gate", "up") if shape.gated else ("up",)
        self._made_from: dict[str, tuple[str, ...]] = {
            "attn_norm": ("x",), "qkv": ("attn_norm",), "attention": ("qkv",), "attention_out": ("attention",),
            "mid": ("x", "attention_out"), "ffn_norm": ("mid",), "gate": ("ffn_norm",), "up": ("ffn_norm",),
            "act": activated, "ffn_down": ("mid", "act"),
        }  # fmt: skip

    def need(self, *names: str) -> None:
        """Makes sure that these activations are there, from what they depend on."""
        for name in names:
            if name not in self._there:
                self.need(*self._made_from[name])
                self._make(name)
                self._there.add(name)

    def feed_forward_backward(self) -> None:
        """From the gradient of ``out`` to that of ``mid``."""
        gated, kind = self.shape.gated, self.shape.activation
        self.need("act")
        self._weight_backward("down", "act", "gradient", "ffn")
        self._input_backward("down", "gradient", "d_act", "ffn")
        if gated:
            self.need("gate", "up")
            self._add("gated_activation_backward", ("gate", "up", "d_act"), ("d_gate", "d_up"), True, kind=kind)
        else:
            self.need("up")
            self._add("activation_backward", ("up", "d_act"), ("d_up",), True, kind=kind)
        self.need("ffn_norm")
        if gated:
            self._weight_backward("gate", "ffn_norm", "d_gate", "ffn")
            self._input_backward("gate", "d_gate", "d_ffn_norm", "ffn")
        self._weight_backward("up", "ffn_norm", "d_up", "ffn")
        self._input_backward("up", "d_up", "d_ffn_norm", "ffn", added=gated)
        self.need("mid")
        self._norm_backward("ffn_norm", "mid", "d_ffn_norm", "d_mid")

    def attention_backward(self) -> None:
        """From the gradient of ``mid`` to that of ``x``."""
        shape = self.shape
        self.need("attention")
        self._weight_backward("o", "attention", "gradient", "o_proj")
        self._input_backward("o", "gradient", "d_attention", "o_proj")
        self.need("qkv")
        self._add(
            "flash_attention_backward", ("qkv", "attention", LSE, "d_attention"), ("d_qkv",), False, **self._heads()
        )
        if shape.positions == "rotary":
            self._rotate("d_qkv", inverse=True)
        self.need("attn_norm")
        self._weight_backward("qkv", "attn_norm", "d_qkv", "qkv_proj")
        self._input_backward("qkv", "d_qkv", "d_attn_norm", "qkv_proj")
        self._norm_backward("attn_norm", "x", "d_attn_norm", "d_x")

    def _make(self, name: str) -> None:
        shape = self.shape
        if name in ("attn_norm", "ffn_norm"):
            self._norm(name, "x" if name == "attn_norm" else "mid")
        elif name == "qkv":
            self._linear("qkv", "attn_norm", "qkv", "qkv_proj")
            if shape.positions == "rotary":
                self._rotate("qkv", inverse=False)
        elif name == "attention":
            self._add("flash_attention", ("qkv",), ("attention", LSE), False, **self._heads())
        elif name == "attention_out":
            self._linear("o", "attention", "attention_out", "o_proj")
        elif name == "mid":
            self._add("add", ("x", "attention_out"), ("mid",), True)
        elif name in ("gate", "up"):
            self._linear(name, "ffn_norm", name, "ffn")
        elif name == "act":
            op = "gated_activation" if shape.gated else "activation"
            self._add(op, self._made_from["act"], ("act",), True, kind=shape.activation)
        else:
            self._linear("down", "act", "ffn_down", "ffn")

    def _linear(self, matrix: str, source: str, out: str, label: str) -> None:
        inputs = (source, *self._weights(matrix, "w"))
        self.steps.append(Step("linear", inputs, (out,), label=label, recomputes=self.recomputes))

    def _weight_backward(self, matrix: str, source: str, gradient: str, label: str) -> None:
        outputs = self._weights(matrix, "g")
        self.steps.append(Step("linear_weight_backward", (source, gradient), outputs, label=f"{label} backward"))

    def _input_backward(self, matrix: str, gradient: str, out: str, label: str, *, added: bool = False) -> None:
        inputs = (gradient, f"w:{matrix}.weight", *((out,) if added else ()))
        self.steps.append(Step("linear_input_backward", inputs, (out,), label=f"{label} backward"))

    def _norm(self, name: str, source: str) -> None:
        shape = self.shape
        if shape.norm == "layer":
            self._add("layer_norm", (source, *self._weights(name, "w")), (name,), False, eps=shape.norm_eps)
        else:
            self._add(
                "rms_norm", (source, f"w:{name}.weight"), (name,), False, eps=shape.norm_eps, offset=shape.norm_offset
            )

    def _norm_backward(self, name: str, source: str, gradient: str, out: str) -> None:
        """Gradient through a norm, added to that of the residual stream."""
        shape = self.shape
        attributes: dict[str, Any] = {"eps": shape.norm_eps}
        if shape.norm == "rms":
            attributes["offset"] = shape.norm_offset
        op, inputs = f"{shape.norm}_norm_backward", (source, f"w:{name}.weight", gradient)
        self.steps.append(Step(op, inputs, (out, *self._weights(name, "g")), attributes, in_place=False))
        self.steps.append(Step("add", ("gradient", out), ("gradient",)))

    def _rotate(self, name: str, *, inverse: bool) -> None:
        shape, form = self.shape, self.form
        self._add(
            "rotary_qkv", (name,), (name,), False, heads=shape.heads, kv_heads=shape.kv_heads, theta=form.theta,
            factor=form.factor, inverse=inverse,
        )  # fmt: skip

    def _heads(self) -> dict[str, Any]:
        shape = self.shape
        return {
            "heads": shape.heads,
            "kv_heads": shape.kv_heads,
            "scale": shape.attention_scale,
            "window": self.form.window,
        }

    def _weights(self, matrix: str, kind: str) -> tuple[str, ...]:
        """Weight, and bias where there is one."""
        shape = self.shape
        biased = {
            "qkv": shape.qkv_bias, "o": shape.output_bias, "gate": shape.ffn_bias, "up": shape.ffn_bias,
            "down": shape.ffn_bias,
        }.get(matrix, shape.norm == "layer")  # fmt: skip
        return (f"{kind}:{matrix}.weight", *((f"{kind}:{matrix}.bias",) if biased else ()))

    def _add(
        self, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], in_place: bool, **attributes: OpAttribute
    ) -> None:
        recomputes = self.recomputes and not op.endswith("backward")
        self.steps.append(Step(op, inputs, outputs, attributes, "", in_place, recomputes))
