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


def test_a_program_that_branches_on_a_truth_of_the_device_is_stopped_at_its_line(tmp_path):
    program = tmp_path / "truth.py"
    program.write_text(
        "import torch\n"
        "w = torch.nn.Linear(4, 4, device='cuda')\n"
        "o = torch.optim.SGD(w.parameters(), 0.1)\n"
        "for _ in range(3):\n"
        "    loss = w(torch.ones(2, 4, device='cuda')).sum()\n"
        "    if loss > 0:\n"
        "        loss.backward()\n"
        "    o.step()\n"
    )
    with pytest.raises(WindtunnelError, match=r"truth.py:6: .*--oracle bool=VALUE.*--live"):
        captured("--topology", "dgx_h100", "--ranks", "1", str(program))


def test_own_kernels_take_what_the_program_declares_and_compiling_is_said_to_be_eager(tmp_path):
    program = tmp_path / "own.py"
    program.write_text(
        "import torch, windtunnel\n"
        "@torch.library.custom_op('mine::swish', mutates_args=())\n"
        "def swish(x: torch.Tensor) -> torch.Tensor:\n"
        "    return x * torch.sigmoid(x)\n"
        "swish.register_fake(torch.empty_like)\n"
        "swish.register_autograd(lambda ctx, g: g)\n"
        "@windtunnel.kernel_cost('mine::swish')\n"
        "def cost(x):\n"
        "    return windtunnel.KernelWork(reads=3_000_000_000, writes=x.nbytes)\n"
        "w = torch.nn.Linear(64, 64, device='cuda')\n"
        "o = torch.optim.SGD(w.parameters(), 0.1)\n"
        "for _ in range(3):\n"
        "    swish(torch.compile(w)(torch.ones(512, 64, device='cuda'))).sum().backward(); o.step(); o.zero_grad()\n"
    )
    found = captured("--topology", "dgx_h100", "--ranks", "1", str(program))
    (own,) = [call for call in found["calls"] if call["name"] == "mine.swish.default"]
    assert own["in_table"]
    assert 0.8e-3 < own["time_s"] < 1.3e-3
    assert any("torch.compile runs as eager" in note for note in found["notes"])


def test_context_parallel_moves_keys_and_values_between_its_ranks():
    found = captured("--topology", "dgx_h100", PROGRAM, *TINY, "--cp", "4", "--layers", "2")
    kinds = {call["name"].split()[0] for call in found["calls"] if call["kind"] == "collective"}
    assert kinds & {"all_to_all", "send"}
    assert found["tokens_per_step"] == 2 * 2 * 128


def test_ranks_whose_collectives_disagree_are_named(tmp_path):
    program = tmp_path / "apart.py"
    program.write_text(
        "import torch, torch.distributed as dist\n"
        "dist.init_process_group('nccl')\n"
        "w = torch.nn.Linear(4, 4, device='cuda')\n"
        "o = torch.optim.SGD(w.parameters(), 0.1)\n"
        "for _ in range(3):\n"
        "    w(torch.ones(2, 4, device='cuda')).sum().backward()\n"
        "    if dist.get_rank() < 7:\n"
        "        dist.all_reduce(w.weight.grad)\n"
        "    else:\n"
        "        dist.broadcast(w.weight.grad, 0)\n"
        "    o.step()\n"
    )
    with pytest.raises(
        WindtunnelError, match=r"rank 0 is in all_reduce .*apart.py:8.*rank 7 is in broadcast .*apart.py:10"
    ):
        captured("--topology", "dgx_h100", str(program))


EXPERTS = """
import torch, torch.distributed as dist
from torch import nn
dist.init_process_group("nccl")
ranks, experts, top = dist.get_world_size(), 16, 2
local = experts // ranks
router = nn.Linear(256, experts, device="cuda")
weights = nn.Parameter(torch.empty(local, 256, 256, device="cuda"))
o = torch.optim.SGD([*router.parameters(), weights], 0.1)
for _ in range(3):
    x = torch.randn(1024, 256, device="cuda")
    scores, chosen = router(x).softmax(-1).topk(top)
    count = torch.bincount(chosen.flatten(), minlength=experts)
    got = torch.empty_like(count)
    dist.all_to_all_single(got, count)
    send, receive = count.view(ranks, local).sum(1).tolist(), got.view(ranks, local).sum(1).tolist()
    rows = x[chosen.flatten().argsort() // top]
    mine = rows.new_empty(sum(receive), 256)
    dist.all_to_all_single(mine, rows, receive, send)
    parts = mine.split(got.view(ranks, local).sum(0).tolist())
    y = torch.cat([part @ w for part, w in zip(parts, weights)])
    print("tokens", len(mine), send[:2])
    (y.sum() + scores.sum()).backward(); o.step(); o.zero_grad()
"""


def test_tokens_of_experts_follow_what_is_declared(tmp_path):
    program = tmp_path / "experts.py"
    program.write_text(EXPERTS)
    exchanged = {}
    for declared in ("balanced", "8,4,2,2" + ",0" * 12):
        found = captured("--topology", "dgx_h100", "--no-check", "--oracle", f"experts={declared}", str(program))
        (product,) = [call for call in found["calls"] if call["name"] == "aten.mm.default" and call["count"] > 4][:1]
        exchanged[declared[0]] = product["time_s"]
    assert exchanged["8"] > 2 * exchanged["b"]
    with pytest.raises(WindtunnelError, match=r"experts.py:\d+: .*counts 16 experts"):
        captured("--topology", "dgx_h100", "--no-check", "--oracle", "experts=1,2", str(program))
