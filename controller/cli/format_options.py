"""Options that choose number formats, in place of those of a model's configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def format_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--dtype``, ``--quantization`` and ``--kv-dtype``."""
    for option in (
        click.option(
            "--kv-dtype", metavar="TYPE", help="Type of the KV cache: fp8, int8, fp16, bf16, fp32, or auto as computed."
        ),
        click.option(
            "--quantization",
            metavar="FORMAT",
            help="Weights in fp8, fp8-block, int8, int4, mxfp4 or none, in place of the model's.",
        ),
        click.option(
            "--dtype", metavar="TYPE", help="Element type of a virtual run, in place of the model's: bf16, fp16, fp32."
        ),
    ):
        function = option(function)
    return function
