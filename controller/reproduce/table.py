"""The table of papers."""

from __future__ import annotations

import importlib

from controller.errors import UserError
from controller.nearest import nearest
from controller.reproduce.rows import Paper

PAPERS: dict[str, str] = {
    "instinfer": "controller.reproduce.instinfer:paper",
    "lamina": "controller.reproduce.lamina:paper",
    "packet_spraying": "controller.reproduce.packet_spraying:paper",
    "fuyou": "controller.reproduce.fuyou:paper",
    "cxl": "controller.reproduce.cxl:paper",
    "distserve": "controller.reproduce.distserve:paper",
    "sarathi": "controller.reproduce.sarathi:paper",
    "llumnix": "controller.reproduce.llumnix:paper",
    "nanoflow": "controller.reproduce.nanoflow:paper",
    "serving_policies": "controller.reproduce.serving_policies:paper",
    "tpi_llm": "controller.reproduce.tpi_llm:paper",
    "tokenweave": "controller.reproduce.tokenweave:paper",
    "tokenring": "controller.reproduce.tokenring:paper",
    "cloudmatrix384": "controller.reproduce.cloudmatrix384:paper",
    "faults": "controller.reproduce.faults:paper",
    "c4": "controller.reproduce.c4:paper",
    "training": "controller.reproduce.training.paper:paper",
}
"""Name to ``module:function`` that returns its `Paper`."""
FOR_HOURS = ("training",)
"""Papers that `all` leaves out: each of their rows captures a program for a minute or more."""


class UnknownPaper(UserError):
    """No paper of that name."""


def load_paper(name: str) -> Paper:
    """The paper called `name`.

    Raises:
        UnknownPaper: there is none; names the nearest one.
    """
    if name not in PAPERS:
        hint = nearest(name, PAPERS)
        raise UnknownPaper(f"no published tables called {name!r}; {hint}")
    module, _, function = PAPERS[name].partition(":")
    paper: Paper = getattr(importlib.import_module(module), function)()
    return paper
