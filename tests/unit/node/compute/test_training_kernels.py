"""What the conformance cases of the training operations do not show: indices out of range, rounding, wide sums."""

from __future__ import annotations

import pytest
import torch

from node.compute.kernels import run
from node.errors import OutOfRange


@pytest.mark.parametrize("index", [-1, 5])
def test_indices_outside_of_the_table(index: int):
    ids = torch.tensor([1, index])
    with pytest.raises(OutOfRange, match=r"embedding_backward: .*5 rows: .* expected 0 to 4"):
        run("embedding_backward", [torch.zeros(2, 3), ids], [torch.zeros(5, 3)], {})
    with pytest.raises(OutOfRange, match=r"cross_entropy: .*5 rows: .* expected 0 to 4"):
        run("cross_entropy", [torch.zeros(2, 5), ids], [torch.zeros(1), torch.zeros(2, 5)], {"scale": 1.0})


def test_gradients_of_half_types_can_be_kept_in_fp32():
    x, dy = torch.full((3, 1), 1 / 3, dtype=torch.bfloat16), torch.full((3, 1), 1 / 7, dtype=torch.bfloat16)
    wide, narrow = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bfloat16)
    run("linear_weight_backward", [x, dy], [wide], {})
    run("linear_weight_backward", [x, dy], [narrow], {})
    exact = (x.double() * dy.double()).sum()
    assert abs(wide.item() - exact) < 1e-7 < abs(narrow.item() - exact)


def test_sums_of_half_types_do_not_stop_at_their_largest_whole_number():
    # In fp16 2048 + 1 is 2048: rows are added in fp32 and rounded once.
    ones = torch.ones(4096, 2, dtype=torch.float16)
    total, table = torch.zeros(2, dtype=torch.float16), torch.zeros(3, 2, dtype=torch.float16)
    run("sum_rows", [ones], [total], {})
    run("embedding_backward", [ones, torch.ones(4096, dtype=torch.int64)], [table], {})
    assert total.tolist() == table[1].tolist() == [4096.0, 4096.0]


def test_large_logits_neither_overflow_nor_vanish():
    logits, targets = torch.tensor([[1e4, -1e4]]), torch.tensor([1])
    loss, gradient = torch.zeros(1), torch.zeros(1, 2)
    run("cross_entropy", [logits, targets], [loss, gradient], {"scale": 1.0})
    assert loss.tolist() == [2e4] and gradient.tolist() == [[1.0, -1.0]]


def test_adam_copies_the_new_parameters_rounded():
    p, states = torch.tensor([1.0, -2.0]), [torch.zeros(2), torch.zeros(2)]
    copy = torch.zeros(2, dtype=torch.bfloat16)
    run("adam", [p, torch.tensor([0.5, -0.5]), *states], [p, *states, copy], {"lr": 0.01, "step": 1})
    assert p.tolist() != [1.0, -2.0] and torch.equal(copy, p.to(torch.bfloat16))
