"""Published times of iterations at the points that are printed."""

import pytest

from controller.serving.iteration_times import IterationLoad
from controller.serving.surfaces.distserve import RAY_S, RAY_TOKEN_S, DistServeSurface
from controller.serving.surfaces.llumnix import LlumnixSurface
from controller.serving.surfaces.sarathi import yi_34b


def test_distserve_prefill_and_decode() -> None:
    surface = DistServeSurface("distserve", "13b", 1)
    prompt = surface.iteration_s(IterationLoad(chunks=((512, 0),)))
    assert prompt == pytest.approx((18.10 + 0.10191 * 512 + 7.12e-6 * 512**2) / 1e3 + RAY_S + 512 * RAY_TOKEN_S)
    steps = surface.decode_steps_s(4, 400, 3)
    assert steps == pytest.approx([surface.iteration_s(IterationLoad(4, 400 + 4 * step)) for step in range(3)])


@pytest.mark.parametrize(
    ("rows", "tokens", "time_ms"), [(1, 64, 33.1), (16, 1024, 39.6), (4, 1024, 35.8), (8, 8192, 45.7)]
)
def test_llumnix_decode_steps_are_the_printed_ones(rows: int, tokens: int, time_ms: float) -> None:
    assert LlumnixSurface().iteration_s(IterationLoad(rows, tokens)) == pytest.approx(time_ms / 1e3)


def test_sarathi_points_and_what_lies_between() -> None:
    surface = yi_34b()
    assert surface.iteration_s(IterationLoad(chunks=((1024, 0),))) == pytest.approx(0.2143)
    assert surface.decode_steps_s(6, 100, 2) == pytest.approx([0.05925] * 2)
    longer = surface.iteration_s(IterationLoad(6, 6 * 2048)) - 0.05925
    assert longer == pytest.approx(6 * 1024 * 2 * 60 * 8 * 128 * 2 / 2 / 1.31e12)
