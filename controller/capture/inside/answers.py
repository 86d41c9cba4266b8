"""What the host is told when it asks for a value that only data could say.

Known values of small tensors come first, then what the user declared (``--oracle``), then a placeholder. A placeholder
may be printed and calculated with; what branches on it in the user's own code stops the capture.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch

from controller.capture.inside.experts import COUNTS, bins_of, counts_of
from controller.capture.inside.log import Log

WAYS_OUT = "declare it (--oracle {kind}=VALUE), or run the program with real values (--live)"

BETWEEN = ("/capture/inside/", "/torch/_dynamo/", "/torch/_compile.py", "/torch/_ops.py", "/torch/_tensor.py",
           "/torch/utils/_python_dispatch.py")  # fmt: skip
"""Files through which a call of the program comes here; they ask nothing themselves."""


class NoAnswer(BaseException):
    """A value that decides what the program does, and that nothing says."""


class Placeholder(float):
    """A number that nobody knows: it prints and calculates, and refuses to decide anything."""

    line = ""

    def _refuse(self, *_: Any) -> Any:
        frame = sys._getframe(2)
        if "/site-packages/" in frame.f_code.co_filename or "/lib/python3" in frame.f_code.co_filename:
            return NotImplemented
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        raise NoAnswer(
            f"{place}: the program branches on a value of the device that no policy covers; "
            + WAYS_OUT.format(kind="float")
        )

    def __lt__(self, other: Any) -> Any:
        refused = self._refuse()
        return float(self) < other if refused is NotImplemented else refused

    def __gt__(self, other: Any) -> Any:
        refused = self._refuse()
        return float(self) > other if refused is NotImplemented else refused

    def __le__(self, other: Any) -> Any:
        refused = self._refuse()
        return float(self) <= other if refused is NotImplemented else refused

    def __ge__(self, other: Any) -> Any:
        refused = self._refuse()
        return float(self) >= other if refused is NotImplemented else refused

    def __hash__(self) -> int:
        return float.__hash__(self)

    def __eq__(self, other: Any) -> Any:
        refused = self._refuse()
        return float(self) == other if refused is NotImplemented else refused

    def __bool__(self) -> bool:
        self._refuse()
        return True


class Answers:
    """Answers to ``.item()``, ``.cpu()``, ``bool(tensor)`` and shapes that data decides; each one is logged."""

    shadows: Any = None

    def __init__(self, log: Log, oracle: dict[str, str], stream: Any) -> None:
        self._log, self._oracle, self._stream = log, oracle, stream

    def scalar(self, tensor: Any) -> Any:
        """One value of the device, as the host gets it."""
        line = self._log.line()
        self._log.add("sync", "value", 0, line, self._stream())
        known = self.shadows.of(tensor)
        if known is not None:
            return known.item()
        if tensor.dtype is torch.bool:
            return self._boolean(tensor, line)
        if tensor.dtype.is_floating_point:
            self._log.note(f"{line}: a value of the device is {self._oracle.get('float', '1.0 as a placeholder')}")
            return float(self._oracle["float"]) if "float" in self._oracle else Placeholder(1.0)
        if "int" in self._oracle:
            return int(self._oracle["int"])
        if self._asks_itself():
            return 0
        raise NoAnswer(f"{line}: the program needs a whole number of the device; " + WAYS_OUT.format(kind="int"))

    def content(self, tensor: Any) -> Any:
        """The values of a small tensor, as a copy to the host gives them."""
        known = self.shadows.of(tensor)
        if known is not None:
            return known.clone()
        if tensor.dtype.is_floating_point or tensor.dtype is torch.bool:
            return torch.ones(tensor.shape, dtype=tensor.dtype)
        if "int" in self._oracle:
            return torch.full(tensor.shape, int(self._oracle["int"]), dtype=tensor.dtype)
        self._log.note(
            f"{self._log.line()}: whole numbers of the device are 1 as a placeholder; where they count tokens of "
            f"experts, declare them (--oracle experts=balanced)"
        )
        return torch.ones(tensor.shape, dtype=tensor.dtype)

    def dynamic(self, func: Any, args: Any, kwargs: Any, recorder: Any) -> Any:
        """A result whose shape only data could say: counts of experts, where they are declared.

        Raises:
            NoAnswer: for everything else; names the line.
        """
        bins = bins_of(func, args, kwargs) if str(func) in COUNTS and "experts" in self._oracle else 0
        if bins:
            out = recorder.fake.dispatch(
                torch.ops.aten.zeros.default, (), ([bins],), {"dtype": torch.int64, "device": args[0].device}
            )
            self.count(func, args, kwargs, out)
            return out
        raise NoAnswer(
            f"{self._log.line()}: the shape of {func} depends on data; rewrite it with a fixed shape, or run the "
            f"program with real values (--live)"
        )

    def count(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Says what a count of a router holds, where it is declared.

        Raises:
            NoAnswer: the declaration does not fit the count.
        """
        if "experts" not in self._oracle:
            return
        try:
            found = counts_of(self._oracle["experts"], bins_of(func, args, kwargs), args[0].numel())
        except ValueError as error:
            raise NoAnswer(f"{self._log.line()}: {error}") from error
        self.shadows.give(out, found.to(out.dtype))

    def _boolean(self, tensor: Any, line: str) -> bool:
        if getattr(tensor, "_is_all", False):
            return True
        if "bool" in self._oracle:
            return self._oracle["bool"].lower() in ("true", "1", "yes")
        if self._asks_itself():
            return False
        raise NoAnswer(
            f"{line}: the program branches on a value of the device that no policy covers; "
            + WAYS_OUT.format(kind="bool")
        )

    @staticmethod
    def _asks_itself() -> bool:
        """Whether torch itself asks, and not the user's code."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            name = frame.f_code.co_filename
            if not any(part in name for part in BETWEEN):
                return "/site-packages/" in name
            frame = frame.f_back
        return False
