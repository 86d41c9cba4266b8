"""What can be wrong with a captured program; the first four are `UserError` (exit code 2)."""

from __future__ import annotations

from controller.errors import RunError, UserError


class MissingCompiler(UserError):
    """No C++ compiler for the shim that stands in for CUDA; says what to install."""


class BadProgram(UserError):
    """A file that is missing, or options that a captured run cannot have."""


class UnsaidValue(UserError):
    """The program branches on a value that nothing says: file, line and the ways out."""


class NoStep(UserError):
    """A program that ended without a step of an optimizer."""


class RanksDisagree(RunError):
    """Ranks whose collectives do not meet: rank, call and line."""


class ProgramFailed(RunError):
    """The program itself raised an exception; file and line."""


class RankDied(RunError):
    """A live rank that ended with an error or was killed; names it and its device."""
