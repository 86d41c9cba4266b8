"""The table of questions, and how each is put to the device models.

A question has sizes, whole numbers or words, with the column names of public kernel databases. Asking it gives a
`Prediction`, whose time is what device events around one op in a replayed graph would show: the op's start on the
device, tier latency, and its time alone. Operands lie in the device's first tier, and what a benchmark has used a
moment ago is still in the last-level cache if it fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.devices.predict.experts import EXPERTS
from controller.devices.predict.hosts import HOSTS
from controller.devices.predict.kernels import KERNELS
from controller.devices.predict.latents import LATENTS
from controller.devices.predict.moves import MOVES
from controller.devices.predict.question import Question
from controller.errors import BadQuestion
from controller.nearest import nearest

QUESTIONS: Final[Mapping[str, Question]] = {each.name: each for each in (*KERNELS, *EXPERTS, *LATENTS, *MOVES, *HOSTS)}
"""Everything that can be asked, by name."""


def question(name: str) -> Question:
    """The question called `name`.

    Raises:
        BadQuestion: there is none; says the nearest.
    """
    if name not in QUESTIONS:
        hint = nearest(name, QUESTIONS)
        raise BadQuestion(f"nothing to predict called {name!r}; {hint}")
    return QUESTIONS[name]
