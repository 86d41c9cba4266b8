"""Models by name or by the path of a Hugging Face configuration."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from controller.errors import UnknownModel
from controller.models.huggingface.read import read_config
from controller.models.published import PUBLISHED
from controller.models.shape import ModelShape


def load_model(name: str) -> ModelShape:
    """The shape called `name`, or the one of the ``config.json`` at that path (a folder that holds one will do).

    Raises:
        UnknownModel: neither; names the nearest match, or what about the file cannot be used.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    path = Path(name)
    if path.is_dir():
        return read_config(path / "config.json")
    if name.endswith(".json") or path.is_file():
        return read_config(path)
    close = get_close_matches(name.lower(), PUBLISHED, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"named models are {', '.join(PUBLISHED)};"
    raise UnknownModel(f"no model is called {name!r}; {hint} or give the path of a Hugging Face config.json")


def list_models() -> tuple[ModelShape, ...]:
    """Every named model, in the order of the catalog."""
    return tuple(PUBLISHED.values())
