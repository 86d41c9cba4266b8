"""Times of iterations of CloudMatrix-Infer's instances, as one die of each executes them.

A decode step is the plan of `offload.die_decode`, a pass over prompts that of `offload.die_prefill`; equal compositions
are executed once. Of a step some layers are executed at each size, and what is in it once (dense layers, draft layer,
heads) at one context. With draft tokens a step gives more than one token to each request; the loop counts tokens,
so each takes its share of the step: acceptance is a declared oracle, and its spread over requests is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.execute.virtual import VirtualRun
from controller.models.shape import ModelShape
from controller.offload.die_decode import DecodeSetting, decode_plan
from controller.offload.die_layers import DieLayers
from controller.offload.die_prefill import PrefillSetting, prefill_plan
from controller.offload.scratch import Scratch
from controller.plan.ops import Plan
from controller.serving.device_times.grid import between, on_line
from controller.serving.iteration_times import IterationLoad
from controller.topology.schema import Topology

FEW, MORE = 1, 3
"""Layers of the two plans whose difference counts for every further one."""
MOST = 1 << 22
"""Of sizes that are executed: any."""
AHEAD = 6
"""Decode steps whose ends are counted at once."""


@dataclass(frozen=True, slots=True)
class DieOracle:
    """What only data could say, and what the pools are made of.

    Attributes:
        prefill, decode: settings, of which sizes are replaced.
        accepted: share of draft tokens that are accepted.
    """

    prefill: PrefillSetting
    decode: DecodeSetting
    accepted: float

    @property
    def tokens_a_step(self) -> float:
        """That a decode step gives to each request."""
        return 1.0 + sum(self.accepted**draft for draft in range(1, self.decode.drafts + 1))


class DieTimes:
    """Implements `IterationTimes` for an instance of dies.

    Attributes:
        executed: plans that were executed.
    """

    def __init__(self, topology: Topology, shape: ModelShape, oracle: DieOracle, dies: int, grain: int) -> None:
        self._topology, self._shape, self._oracle, self._dies = topology, shape, oracle, dies
        self._grain, self.executed = max(1, grain), 0
        self._run: VirtualRun | None = None
        self._memo: dict[tuple[object, ...], float] = {}
        self._best: dict[int, int] = {}

    def iteration_s(self, load: IterationLoad) -> float:
        """A pass over the prompts of `load`, a decode step, or one after the other [s]."""
        total = 0.0
        if load.rows:
            total += self._token_s(load.rows, load.context_tokens // load.rows)
        if load.chunks:
            tokens = sum(chunk for chunk, _ in load.chunks)
            # Mean keys that a new token sees before its own prompt's new ones.
            seen = sum(chunk * (before + chunk / 2) for chunk, before in load.chunks) / tokens
            mean = max(1, round(tokens / len(load.chunks)))
            total += self.prefill_s(tokens, mean, max(0, round(seen - mean / 2)))
        return total

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of the tokens of `count` steps, or of fewer [s].

        Requests join a large instance at nearly every step, so that far ones would be counted in vain.
        """
        first = context_tokens // rows
        return [self._token_s(rows, first + step) for step in range(min(count, AHEAD))]

    # -- decode --------------------------------------------------------------------------------------------------------

    def _token_s(self, rows: int, context: int) -> float:
        own = -(-rows // self._dies)
        key = "t", own, context
        if key not in self._memo:
            low, high = between(own, max(1, self._grain // 2), MOST)
            step_s = on_line(own, low, high, lambda near: self._at_context_s(near, max(1, context)))
            self._memo[key] = step_s / self._oracle.tokens_a_step
        return self._memo[key]

    def _at_context_s(self, own: int, context: int) -> float:
        low, high = between(context, max(1, self._grain // 2), MOST)
        return on_line(context, low, high, lambda near: self.step_s(own, near))

    def step_s(self, sequences: int, context: int) -> float:
        """A decode step of `sequences` on each die over `context` cached tokens each [s]."""
        key = "s", sequences, context
        if key not in self._memo:
            ends_s = self._ends_s(sequences)
            best, usual = self._best[sequences], self._oracle.decode.context
            layer_s, usual_s = (self._layer_s(sequences, each, best) for each in (context, usual))
            others = self._shape.layers + (self._oracle.decode.drafts > 0) - self._alike
            self._memo[key] = ends_s + self._alike * layer_s + others * (layer_s - usual_s)
        return self._memo[key]

    @property
    def _alike(self) -> int:
        """Layers of a step with experts, the draft layer included."""
        experts, drafts = self._shape.experts, self._oracle.decode.drafts
        assert experts is not None
        return sum(experts.of_layer(layer) for layer in range(self._shape.layers)) + (drafts > 0)

    def _ends_s(self, sequences: int) -> float:
        """What is in a step once, in as many micro-batches as make the step faster [s]."""
        key = "r", sequences
        if key not in self._memo:
            context, found = self._oracle.decode.context, {}
            inside = FEW + (self._oracle.decode.drafts > 0)
            for parts in (1, 2) if sequences > 1 else (1,):
                layer_s = self._layer_s(sequences, context, parts)
                whole_s = self._decode_s(sequences, context, parts, FEW, True)
                found[parts] = whole_s + (self._alike - inside) * layer_s, whole_s - inside * layer_s
            self._best[sequences] = min(found, key=lambda parts: (found[parts][0], parts))
            self._memo[key] = found[self._best[sequences]][1]
        return self._memo[key]

    def _layer_s(self, sequences: int, context: int, parts: int) -> float:
        key = "l", sequences, context, parts
        if key not in self._memo:
            few, more = (self._decode_s(sequences, context, parts, count) for count in (FEW, MORE))
            self._memo[key] = (more - few) / (MORE - FEW)
        return self._memo[key]

    def _decode_s(self, sequences: int, context: int, parts: int, layers: int, ends: bool = False) -> float:
        setting = replace(self._oracle.decode, sequences=sequences, context=context, microbatches=parts)
        return self._executed_s(*decode_plan(self._topology, self._shape, setting, layers, ends=ends))

    # -- prompts -------------------------------------------------------------------------------------------------------

    def prefill_s(self, tokens: int, prompt: int, cached: int) -> float:
        """A pass over `tokens` new tokens in prompts of `prompt` each, behind `cached` ones [s]."""
        own = -(-tokens // self._oracle.prefill.dies)
        key = "p", own, prompt, cached
        if key not in self._memo:
            near_prompt = 1 << max(4, prompt.bit_length() - 1)
            # The same keys seen on average, with prompts of a power of two.
            near_cached = max(0.0, cached + prompt / 2 - near_prompt / 2)
            low, high = between(own, self._grain, MOST)
            self._memo[key] = on_line(
                own, low, high, lambda near: self._behind_s(near, near_prompt, round(near_cached))
            )  # fmt: skip
        return self._memo[key]

    def _behind_s(self, own: int, prompt: int, cached: int) -> float:
        low, high = between(cached, max(1, self._grain // 4), MOST)
        return on_line(cached, low, high, lambda near: self._pass_s(own, prompt, near))

    def _pass_s(self, own: int, prompt: int, cached: int) -> float:
        key = "q", own, prompt, cached
        if key not in self._memo:
            dies = self._oracle.prefill.dies
            parts = 2 if own * dies >= 2 * prompt else 1
            setting = replace(
                self._oracle.prefill, tokens=own, prompt=prompt + cached, cached=cached, microbatches=parts
            )  # fmt: skip
            few, more = (
                self._executed_s(*prefill_plan(self._topology, self._shape, setting, layers)) for layers in (FEW, MORE)
            )
            # The dense layers count as if they had experts: their products are as many within a few per cent.
            self._memo[key] = few + (self._shape.layers - FEW) * (more - few) / (MORE - FEW)
        return self._memo[key]

    def _executed_s(self, plan: Plan, die: DieLayers, scratch: Scratch) -> float:
        if self._run is None:
            self._run = VirtualRun(self._topology)
        run = self._run
        die.place(run)
        scratch.place(run)
        (done,) = run.advance([run.submit(plan).number])
        for placed in (die, scratch):
            placed.release(run)
        self.executed += 1
        return done.end_at - done.submitted_at
