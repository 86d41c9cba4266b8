"""The plain run of a packaged model in a process of its own, beside the live run that it is compared with.

Importing torch and transformers and reading the weights takes longer than the tokens do, and none of it needs what the
nodes make. The process has one thread of torch: the nodes use the other cores.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

import controller
from controller.models.gguf_weights import GgufWeights
from controller.models.reference import Reference, generate_reference
from controller.models.shape import ModelShape


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
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(question)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def result(self) -> Reference | None:
        """What the plain run gave, waited for; None when its process has failed, which whoever runs it here sees."""
        answer, _ = self.process.communicate()
        if self.process.returncode:
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
        if self.process.stdout is not None:
            self.process.stdout.close()


def main() -> None:
    """Entry point of the process: the question is its argument, the answer goes to standard output."""
    from controller.models.published import PUBLISHED

    question: dict[str, Any] = json.loads(sys.argv[1])
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no part of the answer
    weights = GgufWeights(PUBLISHED[question["model"]])
    made = generate_reference(weights, question["prompt_ids"], question["output_tokens"], question["eos_tokens"])
    with output:
        np.savez(output, tokens=json.dumps(made.tokens), logits=made.logits, made_by=made.made_by)


if __name__ == "__main__":
    main()
    os._exit(0)  # taking torch apart takes half a second, for which the controller waits
