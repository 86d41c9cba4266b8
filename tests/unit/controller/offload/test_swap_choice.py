"""The paper's equations and its search, against numbers worked out by hand."""

import numpy as np
import pytest

from controller.offload.swap_choice import Rates, StepPrediction, SwapCandidate, Work, choose, predict

RATES = Rates(gpu_flop_per_s=100.0, link_bytes_per_s=10.0, read_bytes_per_s=20.0, write_bytes_per_s=5.0)


def test_the_equations_by_hand():
    work = Work(forward_flop=500.0, parameter_count=10)
    # Forward: 500/100, A/10, 20/10, 20/20 + 0; backward: 1300/100, 20/10, 120/10, 140/20 + 140/5.
    assert predict(RATES, work, 100, 300.0, memory_bytes=100) == StepPrediction(10.0, 35.0)
    # 40 bytes beyond main memory: 1 + 40/5 in forward, 180/20 + 28 in backward.
    assert predict(RATES, work, 100, 300.0, memory_bytes=60) == StepPrediction(10.0, 37.0)
    # Drives that are fast enough leave the GPU as the bound: 5 and 13.
    fast = Rates(100.0, 1e9, 1e9, 1e9)
    assert predict(fast, work, 100, 300.0, memory_bytes=100) == StepPrediction(5.0, 13.0)


def test_two_gpus_share_main_memory():
    two = predict(RATES, Work(500.0, 10, gpu_count=2), 100, 300.0, memory_bytes=150)
    assert two == predict(RATES, Work(500.0, 10), 100, 300.0, memory_bytes=50)


KINDS = (
    SwapCandidate(("big",), 10, 100.0), SwapCandidate(("middle",), 20, 60.0),
    SwapCandidate(("attention", "lse"), 30, 10.0),
)  # fmt: skip


def search(rates: Rates, **change):
    given = {"layers": 4, "between_bytes": 10, "recompute_flop": 170.0, "memory_bytes": 10**9} | change
    return choose(rates, Work(forward_flop=680.0, parameter_count=1), KINDS, **given)


def test_a_gpu_that_is_the_bound_swaps_everything():
    found = search(Rates(1.0, 1e9, 1e9, 1e9))
    assert found.kinds == (3, 3, 3, 3) and found.swapped_bytes == 280 and found.recompute_flop == 0.0
    assert found.predicted == StepPrediction(680.0, 1360.0)


def test_a_link_that_is_the_bound_swaps_the_inputs_alone():
    found = search(Rates(1e9, 1.0, 1e9, 1e9))
    assert found.kinds == (0, 0, 0, 0) and found.swapped_bytes == 40 and found.recompute_flop == 680.0


def test_it_finds_the_best_of_all_prefixes():
    """The search stops at the first volume that is no better; convexity makes that the best one."""
    draw = np.random.default_rng(3)
    for _ in range(200):
        rates = Rates(*(10.0 ** draw.uniform(0, 2, 4)))
        memory = int(draw.integers(0, 300))
        found = search(rates, memory_bytes=memory)
        work, best = Work(680.0, 1), float("inf")
        swapped, again = 40, 680.0
        times = [predict(rates, work, swapped, again, memory).iteration_s]
        for kind in KINDS:
            for _layer in range(4):
                swapped, again = swapped + kind.nbytes, again - kind.saved_flop
                times.append(predict(rates, work, swapped, again, memory).iteration_s)
        best = min(times)
        assert found.predicted.iteration_s == pytest.approx(best)


def test_a_given_volume_is_filled_from_the_top_and_not_exceeded():
    assert search(RATES, volume_bytes=40).kinds == (0, 0, 0, 0)
    assert search(RATES, volume_bytes=65).kinds == (0, 0, 1, 1)
    assert search(RATES, volume_bytes=99).kinds == (1, 1, 1, 1)
    assert search(RATES, volume_bytes=100).kinds == (1, 1, 1, 2)
    assert search(RATES, volume_bytes=10**6).swapped_bytes == 280


def test_what_has_to_be_swapped_is_and_what_has_no_room_is_not():
    assert search(Rates(1e9, 1.0, 1e9, 1e9), least=1).kinds == (1, 1, 1, 1)
    found = search(Rates(1.0, 1e9, 1e9, 1e9), limit_bytes=125)
    assert found.kinds == (1, 1, 2, 2) and found.swapped_bytes == 120
