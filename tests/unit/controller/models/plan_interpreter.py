"""Runs plans in one process with the kernels of a node, one op after another: no time, no device, no executor.

Buffers start as NaN, so that what a plan reads before it writes shows in its values.
"""

import numpy as np
import torch

from controller.models.decoder import Decoder
from controller.models.weights import weight_content
from controller.plan.build import PlanBuilder, as_view
from controller.plan.ops import Buffer, Kernel, Transfer, View
from controller.plan.size import bind_size, symbol
from node.compute.kernels import run as run_kernel
from node.hardware.operation import ITEM_BYTES, TensorType
from node.hardware.operations import operation

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "int64": torch.int64}


class PlanInterpreter:
    """Memory of all devices, and the way through a plan: in program order, or backwards as far as its edges allow."""

    def __init__(self, backwards=False):
        self.backwards = backwards
        self._memory = {}

    def place(self, buffer, content=None):
        assert buffer not in self._memory, f"{buffer} is placed twice"
        if content is None:
            flat = torch.full((buffer.nbytes // ITEM_BYTES[buffer.dtype],), -1, dtype=DTYPES[buffer.dtype])
            if flat.is_floating_point():
                flat.fill_(torch.nan)
        else:
            assert tuple(content.shape) == buffer.shape
            flat = torch.tensor(np.asarray(content)).to(DTYPES[buffer.dtype]).flatten()
        self._memory[buffer] = flat

    def read(self, operand):
        values = self._tensor(as_view(operand), {})
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy().copy()

    def run(self, plan, **bindings):
        assert set(bindings) == set(plan.parameters)
        for index in self._order(plan):
            op = plan.ops[index]
            if isinstance(op, Transfer):
                self._tensor(op.destinations[0], bindings).copy_(self._tensor(op.sources[0], bindings))
                continue
            assert isinstance(op, Kernel)
            inputs = [self._tensor(view, bindings) for view in op.inputs]
            outputs = [self._tensor(view, bindings) for view in op.outputs]
            attributes = {
                name: tuple(bind_size(one, bindings) for one in value)
                if isinstance(value, tuple)
                else value
                if isinstance(value, str | float | bool)
                else bind_size(value, bindings)
                for name, value in op.attributes.items()
            }
            names = [view.buffer.dtype for view in (*op.inputs, *op.outputs)]
            types = [TensorType(tuple(t.shape), name) for t, name in zip((*inputs, *outputs), names, strict=True)]
            operation(op.op).check(types[: len(inputs)], types[len(inputs) :], attributes)
            run_kernel(op.op, inputs, outputs, attributes)

    def _order(self, plan):
        if not self.backwards:
            return range(len(plan.ops))
        order, missing = [], [len(after) for after in plan.after]
        followers = [[] for _ in plan.ops]
        for index, after in enumerate(plan.after):
            for before in after:
                followers[before].append(index)
        ready = [index for index, count in enumerate(missing) if count == 0]
        while ready:
            order.append(ready.pop(ready.index(max(ready))))
            for index in followers[order[-1]]:
                missing[index] -= 1
                if missing[index] == 0:
                    ready.append(index)
        assert len(order) == len(plan.ops)
        return order

    def _tensor(self, view: View, bindings):
        shape = tuple(bind_size(extent, bindings) for extent in view.shape)
        offset = bind_size(view.offset_bytes, bindings)
        item = ITEM_BYTES[view.buffer.dtype]
        assert offset % item == 0
        assert 0 <= offset <= offset + int(np.prod(shape)) * item <= view.buffer.nbytes, f"{view} leaves its buffer"
        flat = self._memory[view.buffer]
        return flat[offset // item : offset // item + int(np.prod(shape))].reshape(shape)


class OneDevice:
    """A model whose cache and attention stay on its device: the shortest program that fragments can be put into.

    Keys and values of a layer end in a cache with room for the whole text; the batch is cut into `mini_batches`.
    """

    def __init__(self, weights, prompt, output_tokens, *, mini_batches=1, fused_qkv=False, backwards=False):
        shape = weights.shape
        self.prompt = np.atleast_2d(np.asarray(prompt, dtype=np.int64))
        self.output_tokens = output_tokens
        rows, tokens = self.prompt.shape
        self.decoder = Decoder(shape, "gpu", dtype="fp32", fused_qkv=fused_qkv)
        self.machine = PlanInterpreter(backwards)
        for name, buffer in self.decoder.weights.items():
            self.machine.place(buffer, weight_content(weights, name))
        part = rows // mini_batches
        self.slices = [slice(i * part, (i + 1) * part) for i in range(mini_batches)]
        self.prefills = [self.decoder.prefill(f"prefill{i}", part, tokens) for i in range(mini_batches)]
        self.steps = [self.decoder.decode(f"step{i}", part) for i in range(mini_batches)]
        cache = (part, shape.kv_heads, tokens + output_tokens, shape.head_dim)
        self.caches = [
            [
                [Buffer("gpu", "hbm", f"{kind}{layer}.{i}", "fp32", cache) for kind in "kv"]
                for layer in range(shape.layers)
            ]
            for i in range(mini_batches)
        ]
        self.prompt_ids = Buffer("gpu", "hbm", "prompt", "int64", (rows, tokens))
        self.ids = Buffer("gpu", "hbm", "ids", "int64", (rows,))
        self.machine.place(self.prompt_ids, self.prompt)
        self.machine.place(self.ids)
        for stage in (*self.prefills, *self.steps):
            for buffer in stage.buffers:
                self.machine.place(buffer)
        for layers in self.caches:
            for pair in layers:
                for buffer in pair:
                    self.machine.place(buffer)

    def prefill_plan(self):
        build, tokens = PlanBuilder("prefill"), self.prompt.shape[1]
        for stage, part, caches in zip(self.prefills, self.slices, self.caches, strict=True):
            stage.embed(build, self.prompt_ids.rows(part.start, part.stop))
            for layer in self.decoder.layers:
                attn, *by_heads = stage.prefill_attention(build, layer, *stage.attention_inputs(build, layer))
                for source, cache in zip(by_heads, caches[layer], strict=True):
                    build.kernel("kv_write", "gpu", [source], [cache], position=0, tokens=tokens)
                stage.attention_output(build, layer, attn)
                stage.feed_forward(build, layer)
            stage.next_token(build, stage.head(build), self.ids.rows(part.start, part.stop))
        return build.plan()

    def step_plan(self):
        """Open: position of the new token, tokens with it, first token that a sliding layer sees."""
        build, shape = PlanBuilder("step"), self.decoder.shape
        position, tokens, first = symbol("position"), symbol("tokens"), symbol("first")
        for stage, part, caches in zip(self.steps, self.slices, self.caches, strict=True):
            ids = self.ids.rows(part.start, part.stop)
            stage.embed(build, ids, position)
            for layer in self.decoder.layers:
                q, *new = stage.attention_inputs(build, layer, position)
                for source, cache in zip(new, caches[layer], strict=True):
                    token = source.reshape(stage.rows, shape.kv_heads, 1, shape.head_dim)
                    build.kernel("kv_write", "gpu", [token], [cache], position=position, tokens=1)
                start = 0 if shape.is_global(layer) else first
                attn = stage.decode_attention(build, q, [tuple(caches[layer])], (tokens,), (start,))
                stage.attention_output(build, layer, attn)
                stage.feed_forward(build, layer)
            stage.next_token(build, stage.head(build), ids)
        return build.plan()

    def generate(self):
        """Tokens (rows, steps) and logits (steps, rows, vocab)."""
        shape, step = self.decoder.shape, self.step_plan()
        self.machine.run(self.prefill_plan())
        chosen, logits = [self.machine.read(self.ids)], [self._logits(self.prefills)]
        sliding = [layer for layer in range(shape.layers) if not shape.is_global(layer)]
        for position in range(self.prompt.shape[1], self.prompt.shape[1] + self.output_tokens - 1):
            values = {"position": position, "tokens": position + 1}
            if sliding:
                values["first"] = shape.first_attended(sliding[0], position + 1)
            self.machine.run(step, **values)
            chosen.append(self.machine.read(self.ids))
            logits.append(self._logits(self.steps))
        return np.stack(chosen, axis=1), np.stack(logits)

    def _logits(self, stages):
        return np.concatenate([self.machine.read(stage.logits) for stage in stages])
