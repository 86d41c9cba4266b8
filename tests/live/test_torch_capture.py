"""A plain PyTorch program, captured as ranks of a declared cluster in processes of its own."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import windtunnel
from controller.errors import WindtunnelError

PROGRAM = str(Path(__file__).parents[1] / "fixtures" / "torch" / "train.py")
TINY = ("--model", "tiny", "--seq", "128", "--batch", "2")

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("g++") is None, reason="the stand-in for CUDA is built with g++"),
]


def captured(*words):
    found = CliRunner().invoke(windtunnel, ["torch", "run", "--json", *words], catch_exceptions=True)
    if isinstance(found.exception, WindtunnelError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_one_rank_stands_for_all_where_all_do_the_same():
    found = captured("--topology", "dgx_h100", PROGRAM, *TINY)
    assert found["ranks"] == 8
    assert found["equal_ranks"] == {"0": "stands for all 8 ranks; checked on rank 7"}
    assert found["is_steady"]
    assert found["tokens_per_step"] == 8 * 2 * 128
    kinds = {call["name"] for call in found["calls"] if call["kind"] == "collective"}
    assert {"all_gather", "reduce_scatter"} <= kinds
    assert all(call["in_table"] for call in found["calls"])
    assert found["step_s"] > found["exposed_communication_s"] > 0
    assert 0 < found["memory"]["0"]["allocated_bytes"] < found["memory"]["0"]["reserved_bytes"]


def test_a_program_that_branches_on_a_loss_is_stopped_at_its_line(tmp_path):
    program = tmp_path / "branching.py"
    program.write_text(
        "import torch\n"
        "w = torch.nn.Linear(4, 4, device='cuda')\n"
        "o = torch.optim.SGD(w.parameters(), 0.1)\n"
        "for _ in range(9):\n"
        "    loss = w(torch.randn(2, 4, device='cuda')).sum()\n"
        "    loss.backward(); o.step(); o.zero_grad()\n"
        "    print(f'{loss.item():.3f}')\n"
        "    if loss.item() > 3:\n"
        "        break\n"
    )
    with pytest.raises(WindtunnelError, match=r"branching.py:8: .*--oracle float=VALUE.*--live"):
        captured("--topology", "dgx_h100", "--ranks", "1", str(program))
    assert captured("--topology", "dgx_h100", "--ranks", "1", "--oracle", "float=1", str(program))["step_s"] > 0


def test_a_program_without_a_step_says_so(tmp_path):
    program = tmp_path / "idle.py"
    program.write_text("import torch\ntorch.ones(4, device='cuda') + 1\n")
    with pytest.raises(WindtunnelError, match="without a step of an optimizer"):
        captured("--topology", "dgx_h100", "--ranks", "1", str(program))


def test_more_ranks_than_devices_are_refused():
    with pytest.raises(WindtunnelError, match="9 ranks, and dgx_h100 has 8"):
        captured("--topology", "dgx_h100", "--ranks", "9", PROGRAM)
