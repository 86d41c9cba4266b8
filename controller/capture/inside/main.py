"""One captured rank: ``python -m controller.capture.inside.main REQUEST.json``.

The request says which program with which arguments, as which rank of how many, on which device, and where the log goes.
The exit code is 0 where the log was written; what stopped the program stands in the log.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from controller.capture.inside.preload import load_shim
from controller.capture.kernel_work import advice


class Enough(BaseException):
    """As many steps as were asked for."""


def capture(request: dict[str, Any], shim: Any) -> None:
    """Runs the program and writes its log; ends the process."""
    os.environ.update({name: str(value) for name, value in request["environment"].items()})

    import torch

    from controller.capture.inside.answers import Answers, NoAnswer
    from controller.capture.inside.attention import install_attention
    from controller.capture.inside.cuda_functions import install_functions
    from controller.capture.inside.data_parallel import install_data_parallel
    from controller.capture.inside.fused import install_fused
    from controller.capture.inside.held import Held, install_resize
    from controller.capture.inside.log import Log
    from controller.capture.inside.mailbox import Mailbox
    from controller.capture.inside.modules import install_compile, install_item, install_modules
    from controller.capture.inside.process_groups import install_groups
    from controller.capture.inside.recorder import Recorder
    from controller.capture.inside.sharding import install_sharding
    from controller.capture.inside.steps import install_steps
    from controller.capture.inside.streams import install_streams
    from controller.capture.inside.triton_kernels import install_triton

    torch.set_num_threads(1)
    log = Log()
    log.program = request["program"]

    def heard(what: str, first: int, second: int) -> None:
        if what == "stream":
            log.streams[first] = second
        elif what.endswith("_sync"):
            log.add("sync", what.removesuffix("_sync"), first, log.line())
        elif what != "record_stream":
            log.add(what, first, second)

    shim.set_listener(heard)
    held = Held(log, shim)
    install_functions(shim, log, held, request["device"])
    install_streams(shim)
    install_modules()
    install_resize(held)
    answers = Answers(log, request["oracle"], lambda: shim.current_stream(shim.current_device()))
    install_item(answers.scalar)
    recorder = Recorder(shim, log, held, answers)
    install_groups(log, shim, recorder.shadows, Mailbox(Path(request["folder"]), int(os.environ["RANK"])))
    install_data_parallel()
    install_sharding()
    install_compile(log)
    install_triton(log, recorder.launched)
    kept = install_fused()
    install_attention(tuple(request["device"]["capability"]))
    install_steps(log, request["steps"], Enough)
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    ended, where = "", ""
    sys.argv = [request["program"], *request["arguments"]]
    sys.path[0] = str(Path(request["program"]).parent)
    try:
        with recorder:
            runpy.run_path(request["program"], run_name="__main__")
    except Enough:
        pass
    except SystemExit as error:
        if error.code not in (None, 0):
            ended = f"the program ended with exit code {error.code}"
    except NoAnswer as error:
        ended = str(error)
    except BaseException as error:
        where = traceback.format_exc()
        ended = f"{_last_line(error, request['program'])}: {type(error).__name__}: {error}"
        if "no fake impl" in ended:
            what, how = str(error).split(". ")[0], advice("NAMESPACE::NAME")
            ended = f"{_last_line(error, request['program'])}: {what}: register one with register_fake, and {how}"
    del kept
    # What the interpreter gives back at its end belongs to no step.
    shim.set_listener(None)
    log.write(
        Path(request["log"]), ended=ended, traceback=where, rank=int(os.environ["RANK"]), peak_bytes=held.peak_bytes
    )
    sys.stdout.flush()
    os._exit(0)


def _last_line(error: BaseException, program: str) -> str:
    place, trace = program, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == program:
            place = f"{program}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def begin(folder: Path) -> Any:
    """Loads the shim and all of torch that programs usually import; returns the shim."""
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    shim = load_shim(folder)
    for name in ("torch._dynamo.config", "torch.distributed.fsdp", "torch.distributed.tensor.parallel"):
        import_module(name)
    return shim


def serve(folder: Path) -> None:
    """Captures what the lines of standard input name, each in a fork of this process, which has imported torch."""
    shim = begin(folder)
    for line in sys.stdin:
        request = json.loads(Path(line.strip()).read_text())
        child = os.fork()
        if not child:
            with open(request["output"], "wb") as sink:
                os.dup2(sink.fileno(), 1)
                os.dup2(sink.fileno(), 2)
            capture(request, shim)
        os.waitpid(child, 0)
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(Path(sys.argv[2]))
    else:
        given = json.loads(Path(sys.argv[1]).read_text())
        capture(given, begin(Path(given["shim"])))
