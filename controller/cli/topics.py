"""What ``windtunnel help`` can explain: pages of text, the packages' own docstrings, and the strategies.

Docstrings are read from the source files, not from imported modules: `help compute` must not load torch.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from controller.errors import UnknownTopic

ROOTS = ("controller", "node")
PAGES = {
    "commands": "example commands, grouped by task",
    "topologies": "declare a cluster: units, sheets, overrides, generated fabrics, import",
    "strategy": "write a strategy of your own",
    "notebooks": "run, collective and compare from Python",
    "serving": "requests that arrive, schedulers, clusters, a scheduler of your own",
    "testing": "test your own code on emulated nodes",
    "live": "node processes, pacing, several machines, security",
    "timelines": "timelines, reports, energy, explanations",
    "networks": "collectives, routing, failing links, attention over one long prompt",
    "faults": "what breaks when, in runs and over a month; recovery and checkpoints",
    "detectors": "find and blame faults: campaigns, detectors, Flight Recorder dumps",
    "torch": "an unmodified PyTorch program on a declared cluster, virtual or live",
    "accuracy": "how far off windtunnel is: every paper, every device model",
    "exit-codes": "what a command's exit code says",
    "map": "what lies where in the source",
}
"""Pages by name with a line for the overview, in its order; the text of NAME is ``pages/NAME.md``."""

STRATEGIES = "strategies"


def overview() -> str:
    """The list of topics."""
    width = max(map(len, (*PAGES, STRATEGIES)))
    lines = ["Start with `windtunnel help commands`; `windtunnel help TOPIC` explains one of these:", ""]
    lines += [f"    {name:<{width}}  {line}" for name, line in PAGES.items()]
    lines += [f"    {STRATEGIES:<{width}}  the published systems; `help strategies NAME` explains one", ""]
    lines += ["Every command is a topic (`help run`), and so is every package of the source, for its design notes:"]
    lines += ["", ", ".join(name for root in ROOTS for name in packages(root))]
    return "\n".join(lines)


def text_of(topic: str, name: str | None = None, also: Iterable[str] = ()) -> str:
    """The text that explains a topic, or one name inside of it.

    Args:
        topic: a page, a package or module of the source, or ``strategies``.
        name: a strategy of ``strategies``, or a module of the package.
        also: further topics that the caller explains itself; their text may be "".

    Raises:
        UnknownTopic: a topic or name that does not exist; says which is nearest.
    """
    if name is not None:
        return _inside(topic, name)
    parts = []
    if topic in PAGES:
        parts.append(files("controller.cli").joinpath("pages", f"{topic}.md").read_text(encoding="utf-8"))
    parts += [_docstring(found) for root in ROOTS if (found := _module(root, topic)) is not None]
    if topic == STRATEGIES:
        parts.append(_strategies())
    if not parts and topic not in also:
        known = [*PAGES, STRATEGIES, *also, *(found for root in ROOTS for found in packages(root))]
        raise UnknownTopic(f"no topic {topic!r}{_nearest(topic, known)} `windtunnel help` lists the topics")
    return "\n\n".join(part.strip("\n") for part in parts)


def packages(root: str) -> list[str]:
    """Names of the packages directly inside of `root` that have a docstring, in alphabetical order."""
    found = sorted(entry.name for entry in files(root).iterdir() if entry.joinpath("__init__.py").is_file())
    return [name for name in found if _docstring(files(root).joinpath(name, "__init__.py"))]


def _inside(topic: str, name: str) -> str:
    if topic == STRATEGIES:
        from controller.strategies.table import STRATEGIES as TABLE

        if name in TABLE:
            return _strategy(name)
        if name not in _modules("controller", topic):
            raise UnknownTopic(f"no strategy {name!r}{_nearest(name, TABLE)} `windtunnel strategies` lists them")
    modules = {found: root for root in ROOTS for found in _modules(root, topic)}
    if not modules:
        text_of(topic)
        raise UnknownTopic(f"topic {topic!r} has nothing inside; write `windtunnel help {topic}`")
    if name not in modules:
        raise UnknownTopic(f"{topic} has no {name!r}{_nearest(name, modules)} It has {', '.join(modules)}")
    module = _module(f"{modules[name]}/{topic}", name)
    return "" if module is None else _docstring(module)


def _strategies() -> str:
    from controller.strategies.table import STRATEGIES as TABLE

    width = max(map(len, TABLE))
    return "\n".join(f"    {entry.name:<{width}}  {entry.summary}" for entry in TABLE.values())


def _strategy(name: str) -> str:
    """The table's entry of a strategy and the docstring of the module that it is in."""
    from controller.strategies.table import STRATEGIES as TABLE

    entry = TABLE[name]
    options = {f"--{key.replace('_', '-')}": text for key, text in (entry.options or {}).items()}
    width = max(map(len, options), default=0)
    *folders, module = entry.target.partition(":")[0].split(".")
    found = _module("/".join(folders), module)
    lines = [f"{name}: {entry.summary}", "", f"Task: {entry.task}"]
    lines += [f"Topology: {entry.topology}, unless told otherwise", f"Source: {entry.target.partition(':')[0]}", ""]
    lines += ["Options:", "", *(f"    {key:<{width}}  {text}" for key, text in options.items()), ""] if options else []
    lines += [_docstring(found) if found is not None else ""]
    return "\n".join(lines)


def _module(folder: str, name: str) -> Traversable | None:
    """The file of a module or package `name` in a folder like ``controller/engine``, or None."""
    if not name.isidentifier():
        return None
    place = _folder(folder)
    for candidate in (place.joinpath(name, "__init__.py"), place.joinpath(f"{name}.py")):
        if candidate.is_file():
            return candidate
    return None


def _modules(root: str, package: str) -> list[str]:
    place = _folder(f"{root}/{package}")
    if not package.isidentifier() or not place.is_dir():
        return []
    names = sorted(entry.name.removesuffix(".py") for entry in place.iterdir())
    return [name for name in names if not name.startswith("__") and _module(f"{root}/{package}", name) is not None]


def _folder(path: str) -> Traversable:
    root, *rest = path.split("/")
    return files(root).joinpath(*rest)


def _docstring(module: Traversable) -> str:
    return ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
