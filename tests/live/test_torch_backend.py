"""Ten training steps over node processes give the losses that they give over gloo."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from controller.capture.errors import RankDied
from controller.capture.live.run import run_live_ranks
from controller.capture.request import CaptureRequest
from controller.topology.loader import load_topology

PROGRAM = Path(__file__).parents[1] / "fixtures" / "torch" / "train.py"
RANKS = 4
WORDS = ("--model", "tiny", "--seq", "32", "--batch", "4", "--steps", "10", "--optimizer", "sgd", "--lr", "0.1",
         "--print-loss", "--microbatches", "4")  # fmt: skip
LOSS = re.compile(r"rank (\d+) step (\d+) loss (\S+)")
SUMS_DIFFER = 1e-5
"""Sums of four ranks in another order differ in the last bits of fp32, and ten steps carry that on."""

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def losses(texts):
    found = {(int(rank), int(step)): float(loss) for text in texts for rank, step, loss in LOSS.findall(text)}
    assert found
    return found


def over_gloo(words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), *words, "--backend", "gloo"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": str(rank),
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    texts = [process.communicate()[0] for process in ranks]
    assert all(process.returncode == 0 for process in ranks)
    return losses(texts)


def over_nodes(words):
    request = CaptureRequest(PROGRAM, words, load_topology("dgx_h100"), RANKS)
    return losses(run_live_ranks(request).output)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--parallel", "ddp", "--clip", "0"), id="ddp"),
        pytest.param(("--parallel", "fsdp2"), id="fsdp2", marks=pytest.mark.slow),
        pytest.param(("--tp", "2", "--clip", "0"), id="tp", marks=pytest.mark.slow),
        pytest.param(("--pp", "4", "--clip", "0"), id="pp", marks=pytest.mark.slow),
    ],
)
def test_losses_equal_those_of_gloo(words):
    ours, theirs = over_nodes((*WORDS, *words)), over_gloo((*WORDS, *words))
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=SUMS_DIFFER)


def test_a_rank_that_dies_ends_the_run_with_its_name(tmp_path):
    program = tmp_path / "dying.py"
    program.write_text(
        "import os, signal, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "for step in range(9):\n"
        "    if dist.get_rank() == 2 and step == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    dist.all_reduce(torch.ones(4))\n"
    )
    with pytest.raises(RankDied, match=r"rank 2 \(gpu2\) was killed by SIGKILL"):
        run_live_ranks(CaptureRequest(program, (), load_topology("dgx_h100"), RANKS))
