"""The plain run of a packaged model in a process of its own, beside the live run that it is compared with.

Importing torch and transformers and reading the weights takes longer than the tokens do, and none of it needs what the
nodes make. The process has one thread of torch: the nodes use the other cores.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
import numpy.typing as npt

import controller
from controller.models.gguf_weights import GgufWeights
from controller.models.reference import Reference, generate_reference
from controller.models.shape import ModelShape

_PR_SET_PDEATHSIG: Final = 1
"""Of Linux: a signal to this process when the one that started it ends."""


class ReferenceProcess:
    """A plain run under way; leaving it ends the process.

    Attributes:
        process: that computes it.
    """

    def __init__(
        self, shape: ModelShape, prompt_ids: npt.NDArray[np.int64], output_tokens: int, eos_tokens: Sequence[int]
    ) -> None:
        """Starts it; arguments as of `generate_reference`, with the converted weights of `shape` at hand."""
        question = {
            "model": shape.name,
            "prompt_ids": prompt_ids.tolist(),
            "output_tokens": output_tokens,
            "eos_tokens": list(eos_tokens),
        }
        package = str(Path(controller.__file__ or "").parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        # By a pipe: a long prompt is more than one word of a command line may be.
        self._question = json.dumps(question).encode()
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self.process.stdin is not None
        self._asking = Thread(target=self._ask, args=(self.process.stdin,), name="reference", daemon=True)
        self._asking.start()

    def _ask(self, stdin: IO[bytes]) -> None:
        with suppress(OSError), stdin:  # a process that has ended says so by its exit status
            stdin.write(self._question)

    def result(self) -> Reference | None:
        """What the plain run gave, waited for; None when its process has failed, which whoever runs it here sees."""
        self._asking.join()
        assert self.process.stdout is not None
        answer = self.process.stdout.read()
        if self.process.wait():
            return None
        with np.load(io.BytesIO(answer), allow_pickle=False) as found:
            tokens = tuple(tuple(row) for row in json.loads(str(found["tokens"])))
            return Reference(tokens, found["logits"], str(found["made_by"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._asking.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


def main() -> None:
    """Entry point of the process: the question comes by standard input, the answer goes to standard output."""
    from controller.models.published import PUBLISHED

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return  # the controller ended before the kernel was asked
    question: dict[str, Any] = json.load(sys.stdin)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no part of the answer
    weights = GgufWeights(PUBLISHED[question["model"]])
    made = generate_reference(weights, question["prompt_ids"], question["output_tokens"], question["eos_tokens"])
    with output:
        np.savez(output, tokens=json.dumps(made.tokens), logits=made.logits, made_by=made.made_by)


if __name__ == "__main__":
    main()
    os._exit(0)  # taking torch apart takes half a second, for which the controller waits
