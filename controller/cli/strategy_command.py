"""Commands about one strategy, whose options are those of the strategy that the command line names.

``windtunnel run fuyou --help`` lists what Fuyou takes: the workload of its task and its own options. The strategy is
looked for among the words before click parses them, so that options may stand before or after its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from controller.cli.options import named_values

_KEY = "windtunnel.strategy"

_GENERATION: tuple[click.Option, ...] = (
    click.Option(["--prompt-tokens"], type=int, help="Length of each prompt.  [default: 32]"),
    click.Option(
        ["--output-tokens"], type=int, default=32, show_default=True, help="Tokens generated for each prompt."
    ),
)
_TRAINING: tuple[click.Option, ...] = (
    click.Option(["--seq"], type=int, help="Tokens of each sequence.  [default: 1024]"),
    click.Option(["--steps"], type=int, default=1, show_default=True, help="Optimizer steps."),
)


class StrategyCommand(click.Command):
    """A command whose first argument is a strategy; its own options become options of the command.

    The callback receives them as ``strategy_options``: name to text, those that were given.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Finds the strategy, then parses with its options."""
        name = self._strategy_word(args)
        if name is not None:
            from controller.strategies.table import lookup

            ctx.meta[_KEY] = lookup(name)
        rest = super().parse_args(ctx, args)
        entry = ctx.meta.get(_KEY)
        own = tuple(entry.options or ()) if entry is not None else ()
        given = {option: ctx.params.pop(_own(option)) for option in own}
        options = named_values(ctx.params.pop("option_texts", ()))
        for option, text in given.items():
            if text is not None and option in options:
                raise click.BadParameter(f"{option!r} is given twice", ctx, param_hint=f"--{_dashed(option)}")
            if text is not None:
                options[option] = text
        ctx.params["strategy_options"] = options
        return rest

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters with those of the strategy before ``--help``."""
        *own, last = super().get_params(ctx)
        entry = ctx.meta.get(_KEY)
        if entry is None:
            return [*own, *_GENERATION, *_TRAINING, last]
        from controller.strategies.entry import TRAINING

        options = [
            click.Option([f"--{_dashed(name)}", _own(name)], metavar="VALUE", help=f"{text} [{entry.name}]")
            for name, text in (entry.options or {}).items()
        ]
        return [*own, *(_TRAINING if entry.task == TRAINING else _GENERATION), *options, last]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names the strategies, where none was named."""
        if ctx.meta.get(_KEY) is None:
            from controller.strategies.table import STRATEGIES

            with formatter.section("Strategies (each has options of its own: STRATEGY --help)"):
                formatter.write_dl([(entry.name, entry.summary) for entry in STRATEGIES.values()])

    def _strategy_word(self, args: Sequence[str]) -> str | None:
        """The first word that is neither an option nor the value of one."""
        flags = {
            name
            for param in (*self.params, *_GENERATION, *_TRAINING)
            if isinstance(param, click.Option) and param.is_flag
            for name in (*param.opts, *param.secondary_opts)
        }
        words = iter(args)
        for word in words:
            # What no option of the command is may be one of the strategy, each of which takes a value.
            if word.startswith("-") and "=" not in word and word not in (*flags, "--help", "-h"):
                next(words, None)
            elif not word.startswith("-"):
                return word
        return None


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _own(name: str) -> str:
    """Name of the parameter, apart from those of the command."""
    return f"own_{name}"


def strategy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``STRATEGY --topology --model --batch --option --seed`` to a `StrategyCommand`."""
    parameters = (
        click.argument("strategy", metavar="STRATEGY|FILE.py:FUNCTION"),
        click.option("--topology", help="A shipped name or a path ending in .yaml; each strategy has its own default."),
        click.option("--model", default="opt-13b", show_default=True, help="A name or a Hugging Face config.json."),
        click.option("--batch", type=int, default=1, show_default=True, help="Sequences processed together."),
        click.option(
            "--option", "option_texts", multiple=True, metavar="NAME=VALUE", help="An option of a strategy of your own."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn."),
    )
    for parameter in reversed(parameters):
        function = parameter(function)
    return function
