"""Loads the engine's machine code, and says so when that takes long, mostly because it has to be compiled first."""

from __future__ import annotations

from threading import Timer

import click

PATIENCE_S = 2.0
"""Loading takes a third of this [s of wall time]."""


def load_engine() -> None:
    """Loads or compiles the engine before a run, so that its processes find it on disk and nobody wonders."""
    from controller.engine.entries import entries

    note = Timer(
        PATIENCE_S,
        click.echo,
        ("loading the engine; the first run of a version compiles it, which takes about 20 s",),
        {"err": True},
    )
    note.daemon = True
    note.start()
    try:
        entries()
    finally:
        note.cancel()
