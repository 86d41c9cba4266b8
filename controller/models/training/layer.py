"""A layer in training: its activations, made when they are asked for, and the way back through it.

Activations of a layer, in the order of a forward pass::

    x             input of the layer
    attn_norm     normed x
    qkv           queries, keys and values, rotated where the model rotates
    attention     what attention gives, before the output projection; `lse` comes with it
    attention_out projected
    mid           residual stream after attention
    ffn_norm      normed mid
    gate, up      first projections of the feed-forward (gate in gated models only)
    act           activated
    ffn_down      output of the feed-forward

Forward asks for the last and keeps some; backward begins with those and asks for what it needs. What is not there is
made from what it depends on, down to ``x`` if need be, under labels that end with "again".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.feed_forward import feed_forward_of
from controller.models.norm import Weights
from controller.models.shape import ModelShape
from controller.plan.script import Script, Source, Value

LSE = "lse"
"""Log-sum-exp of attention, fp32 (batch, heads, seq); kept together with ``attention``."""
AGAIN = " again"
"""Ends the label of whatever backward makes a second time."""


def check_trainable(shape: ModelShape) -> None:
    """Refuses models whose layers have parts that are not trained here.

    Raises:
        BadWorkload: quantised weights, one norm for both parts, norms of q and k, or norms after the parts.
    """
    if shape.quantization is not None or not shape.ffn_norm:
        what = "quantised weights" if shape.quantization is not None else "one norm for attention and feed-forward"
        raise BadWorkload(f"{shape.name} has {what}, which training does not support; choose another model")
    if shape.qk_norm or shape.post_norms:
        what = "norms of q and k" if shape.qk_norm else "norms after attention and feed-forward"
        raise BadWorkload(f"{shape.name} has {what}; training takes models of the GPT, OPT and Llama families")


class Activations:
    """The activations of one layer.

    Attributes:
        block: the layer; its weights name ``qkv.weight``, one matrix product for all three.
        made: those that are there, in the order in which they came.
    """

    def __init__(
        self, s: Script, block: Block, there: Mapping[str, Source], keep: Mapping[str, Source], suffix: str = ""
    ) -> None:
        """Activations of which some are there.

        Args:
            s: takes the ops.
            block: the layer.
            there: by name, ``x`` among them.
            keep: buffers for some of those that will be made; the others become values.
            suffix: ends the labels of the ops that make activations.
        """
        self.block, self.made = block, dict(there)
        self._s, self._keep, self._suffix, self._feed_forward = s, keep, suffix, feed_forward_of(block.shape)

    def __getitem__(self, name: str) -> Source:
        """The activation of that name (batch, seq, n); made if it is not there."""
        if name not in self.made:
            with self._s.labelled(self._suffix):
                self.made[name] = self._make(name, self._keep.get(name))
        return self.made[name]

    def _make(self, name: str, out: Source | None) -> Source:
        s, block, ffn = self._s, self.block, self._feed_forward
        if name == "attn_norm":
            return block.norm(s, "attn_norm", self["x"], out)
        if name == "qkv":
            made = block.linear(s, "qkv", self["attn_norm"], "qkv_proj", out)
            return _rotated(s, block, made, out=out, inverse=False)
        if name == "attention":
            kept = None if out is None else (out, self._keep[LSE])
            qkv = self["qkv"]
            attended, self.made[LSE] = s.results("flash_attention", qkv, out=kept, **_scores(block, qkv))
            return attended
        if name == "attention_out":
            return block.linear(s, "o", self["attention"], "o_proj", out)
        if name == "mid":
            return s.op("add", self["x"], self["attention_out"], out=out, in_place=True)
        if name == "ffn_norm":
            return block.norm(s, "ffn_norm", self["mid"], out)
        if name in ffn.projections:
            return ffn.project(s, block, name, self["ffn_norm"], out)
        if name == "act":
            return ffn.activate(s, block, [self[each] for each in ffn.projections], out)
        assert name == "ffn_down", f"no activation {name!r}"
        self["mid"]  # the residual sum that follows needs it; it comes before what is made of it
        return ffn.down(s, block, self["act"], out)


def forward(
    s: Script, block: Block, x: Source, out: Source | None = None, keep: Mapping[str, Source] | None = None
) -> tuple[Value, Activations]:
    """The stream behind the layer, and the activations of the layer.

    Args:
        s: takes the ops.
        block: the layer.
        x: residual stream (batch, seq, hidden).
        out: where the stream goes; None for a new value.
        keep: buffers for activations that outlive the script; all others are values, which live as long as they are
            used.
    """
    made = Activations(s, block, {"x": x}, keep or {})
    down = made["ffn_down"]
    with s.labelled():
        return s.op("add", made["mid"], down, out=out, in_place=True), made


def backward(
    s: Script,
    block: Block,
    there: Mapping[str, Source],
    gradient: Value,
    gradients: Weights,
    *,
    whole_block: bool = False,
) -> None:
    """Replaces `gradient`, that of the layer's output, by that of its input, and fills `gradients`.

    Args:
        s: takes the ops.
        block: the layer.
        there: ``x`` and what forward kept; everything else is made again.
        gradient: of the residual stream (batch, seq, hidden).
        gradients: of the weights, by name, of their element type or fp32.
        whole_block: make ``ffn_down`` again too where it is not kept, as frameworks do that checkpoint whole blocks,
            although no gradient needs it.
    """
    unused: dict[str, Source] = {}
    if whole_block and "ffn_down" not in there:
        unused["ffn_down"] = s.empty(gradient.place, gradient.dtype, gradient.shape, spare=True)
    made = Activations(s, block, there, unused, AGAIN)
    for name in unused:
        made[name]
    with s.labelled():
        d_normed = feed_forward_of(block.shape).backward(s, block, made, gradient, gradients)
        d_mid = block.norm_backward(s, "ffn_norm", made["mid"], d_normed, gradients)
        s.op("add", gradient, d_mid, out=gradient)
        d_attention = block.linear_backward(s, "o", made["attention"], gradient, gradients, "o_proj")
        qkv = made["qkv"]
        d_qkv = s.op(
            "flash_attention_backward", qkv, made["attention"], made[LSE], d_attention, **_scores(block, qkv)
        )  # fmt: skip
        d_qkv = _rotated(s, block, d_qkv, out=None, inverse=True)
        d_normed = block.whole(s, block.linear_backward(s, "qkv", made["attn_norm"], d_qkv, gradients, "qkv_proj"))
        d_x = block.norm_backward(s, "attn_norm", made["x"], d_normed, gradients)
        s.op("add", gradient, d_x, out=gradient)


def _rotated(s: Script, block: Block, qkv: Value, *, out: Source | None, inverse: bool) -> Value:
    """Query and key heads rotated in place, or back."""
    if block.shape.positions != "rotary":
        return qkv
    theta, factor = block.shape.rotation(block.layer)
    return s.op(
        "rotary_qkv", qkv, out=out, in_place=True, label="rotary_qkv backward" if inverse else "",
        **_heads(block, qkv), theta=theta, factor=factor, inverse=inverse,
    )  # fmt: skip


def _scores(block: Block, qkv: Source) -> dict[str, Any]:
    return {**_heads(block, qkv), "scale": block.shape.attention_scale, "window": block.shape.window(block.layer)}


def _heads(block: Block, qkv: Source) -> dict[str, Any]:
    """Query heads and key heads of a tensor of all three, which may be those of one rank."""
    shape, width = block.shape, qkv.shape[-1]
    assert isinstance(width, int), "widths are never open"
    group = shape.heads // shape.kv_heads
    kv_heads = width // shape.head_dim // (group + 2)
    return {"heads": group * kv_heads, "kv_heads": kv_heads}
