"""Which drive holds which part of the KV cache.

With at least as many KV heads as drives, heads are spread evenly and outputs are concatenated. With fewer, tokens are
spread: each drive holds a contiguous part of the prompt and every n-th group of generated tokens, computes a partial
attention over what it has, and the partial results are merged by their log-sum-exp. What does not divide evenly goes to
the first drives, one more each.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.plan.ranges import even_ranges

GROUP_TOKENS = 16
"""Tokens of one head that are appended to flash together, whatever the drive's page and the model's head dimension.

Source: InstInfer, arXiv 2409.04992, section IV-C: a group is 16 consecutive tokens of a head, which fill a page of
4 KiB at head dimension 128 in fp16; the share of pages that SparF reads is stated for such groups. What the system does
where 16 tokens fill less or more than a page (head dimension 64: half of one) is not published, so the group stays.
"""


@dataclass(frozen=True, slots=True)
class Share:
    """What one drive holds of every layer.

    Attributes:
        kv_heads: first KV head and end.
        heads: first query head and end.
        prompt: first token of the prompt and end.
    """

    kv_heads: tuple[int, int]
    heads: tuple[int, int]
    prompt: tuple[int, int]

    @property
    def kv_head_count(self) -> int:
        """KV heads on this drive."""
        return self.kv_heads[1] - self.kv_heads[0]

    @property
    def head_count(self) -> int:
        """Query heads that this drive answers."""
        return self.heads[1] - self.heads[0]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt on this drive."""
        return self.prompt[1] - self.prompt[0]


@dataclass(frozen=True, slots=True)
class Holding:
    """What a drive attends over in one step, after the new token was appended [tokens].

    Attributes:
        flushed: generated tokens in its flash.
        tail: generated tokens in its group buffer.
        starts: first token attended of prompt, flushed and tail.
    """

    flushed: int
    tail: int
    starts: tuple[int, int, int]


class KvSpread:
    """The KV cache of a model over some drives.

    Attributes:
        by_tokens: whether tokens are spread instead of heads.
        shares: one per drive.
    """

    def __init__(self, heads: int, kv_heads: int, drives: int, prompt_tokens: int) -> None:
        self.drives = drives
        self.by_tokens = kv_heads < drives
        self.prompt_tokens = prompt_tokens
        group = heads // kv_heads
        if self.by_tokens:
            self.shares = tuple(
                Share((0, kv_heads), (0, heads), prompt) for prompt in even_ranges(prompt_tokens, drives)
            )
        else:
            self.shares = tuple(
                Share(kv, (kv[0] * group, kv[1] * group), (0, prompt_tokens)) for kv in even_ranges(kv_heads, drives)
            )

    def generated_capacity(self, output_tokens: int) -> int:
        """Generated tokens that the flash of each drive must hold, in whole groups."""
        groups = -(-output_tokens // GROUP_TOKENS)
        if self.by_tokens:
            groups = -(-groups // self.drives)
        return groups * GROUP_TOKENS

    def owners(self, generated: int) -> tuple[int, ...]:
        """Drives that append generated token number `generated`."""
        if self.by_tokens:
            return ((generated // GROUP_TOKENS) % self.drives,)
        return tuple(range(self.drives))

    def fills_group(self, generated: int) -> bool:
        """Whether that token completes a group, which is then written to flash."""
        return generated % GROUP_TOKENS == GROUP_TOKENS - 1

    def holding(self, drive: int, generated: int, window: int = 0) -> Holding:
        """What `drive` attends over in the step that appends generated token number `generated`.

        Args:
            drive: index of the drive.
            generated: index of the new token among the generated ones.
            window: tokens back that a layer sees, the new one included; 0 for all.
        """
        group, slot = divmod(generated, GROUP_TOKENS)
        owns = drive in self.owners(generated)
        flushed = self._groups_before(drive, group) * GROUP_TOKENS
        tail = slot + 1 if owns else 0
        if not window:
            return Holding(flushed, tail, (0, 0, 0))
        first = max(self.prompt_tokens + generated + 1 - window, 0)
        begin, end = self.shares[drive].prompt
        prompt_start = min(max(first - begin, 0), end - begin)
        first_generated = max(first - self.prompt_tokens, 0)
        first_group, first_slot = divmod(first_generated, GROUP_TOKENS)
        whole = self._groups_before(drive, first_group) * GROUP_TOKENS
        cut = first_slot if drive in self.owners(first_generated) else 0
        return Holding(
            flushed,
            tail,
            (
                prompt_start,
                min(whole + cut, flushed),
                min(max(first_generated - group * GROUP_TOKENS, 0), tail),
            ),
        )

    def _groups_before(self, drive: int, group: int) -> int:
        """Groups with a smaller number than `group` that lie on `drive`."""
        if not self.by_tokens:
            return group
        return max(0, -(-(group - drive) // self.drives))
