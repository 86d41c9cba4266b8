"""``windtunnel strategies | models``: what `run` can be asked for."""

from __future__ import annotations

import click

from controller.cli.options import json_option


@click.command()
@json_option
def strategies(as_json: bool) -> None:
    """List the strategies, their topologies and their options."""
    from controller.report.json_output import dumps
    from controller.report.tables import show, table
    from controller.strategies.table import STRATEGIES

    if as_json:
        rows = [
            {
                "name": one.name,
                "summary": one.summary,
                "task": one.task,
                "topology": one.topology,
                "options": dict(one.options or {}),
            }
            for one in STRATEGIES.values()
        ]
        click.echo(dumps(rows))
        return
    cells = [
        (
            one.name,
            one.topology,
            one.summary,
            "; ".join(f"--{name.replace('_', '-')}: {text}" for name, text in (one.options or {}).items()),
        )
        for one in STRATEGIES.values()
    ]
    show(table(("strategy", "topology", "what it does", "its own options"), cells))


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models by name; `--model` also takes a Hugging Face config.json."""
    from controller.models.catalog import list_models
    from controller.report.json_output import dumps
    from controller.report.tables import show, table

    shapes = list_models()
    if as_json:
        rows = [
            {
                "name": shape.name,
                "family": shape.family,
                "parameters": shape.parameter_count,
                "layers": shape.layers,
                "hidden": shape.hidden,
                "heads": shape.heads,
                "kv_heads": shape.kv_heads,
                "source": shape.source,
            }
            for shape in shapes
        ]
        click.echo(dumps(rows))
        return
    cells = [
        (s.name, s.family, f"{s.parameter_count / 1e9:.3g} B", s.layers, s.hidden, s.heads, s.kv_heads, s.source)
        for s in shapes
    ]
    show(table(("model", "family", "parameters", "layers", "hidden", "heads", "kv heads", "source"), cells))
