"""Finds the ends of training steps: the optimizer that was made first has stepped."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from controller.capture.inside.log import Log


def install_steps(log: Log, most: int, enough: type[BaseException]) -> None:
    """Logs the end of every step, and ends the program after `most` of them.

    A step ends when the first optimizer that ever stepped begins its next step's work: programs with several of them
    (one a chunk of a pipeline) call them one after the other.
    """
    first: list[Any] = []

    def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
        if not first:
            first.append(optimizer)
        if optimizer is not first[0]:
            return
        log.step_count += 1
        log.add("step", log.step_count)
        if log.step_count >= most:
            raise enough

    register_optimizer_step_post_hook(stepped)
