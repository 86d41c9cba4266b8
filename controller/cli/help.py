"""``windtunnel help``: the topics; one of them; and the name inside of one (``help strategies instinfer``)."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("topic", required=False)
@click.argument("name", required=False)
@click.pass_context
def help_command(ctx: click.Context, topic: str | None, name: str | None) -> None:
    """Explain TOPIC, or NAME inside of it; list the topics when none is given.

    `windtunnel help commands` shows example commands by task; `windtunnel help engine` the design notes of a package;
    `windtunnel help strategies instinfer` one strategy with its options.
    """
    from controller.cli.reflow import print_text
    from controller.cli.topics import overview, text_of

    if topic is None:
        print_text(overview())
        return
    from controller.cli.main import COMMANDS, windtunnel

    text = text_of(topic, name, also=COMMANDS)
    if topic in COMMANDS and name is None:
        command = windtunnel.get_command(ctx, topic)
        parent = click.Context(windtunnel, info_name="windtunnel")
        click.echo(command.get_help(click.Context(command, parent=parent, info_name=topic)))
        if text:
            click.echo()
    if text:
        print_text(text)
