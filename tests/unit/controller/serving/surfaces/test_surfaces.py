"""Published times of iterations at the points that are printed."""

import json

import pytest

from controller.cli.main import main
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


def test_serve_takes_the_times_and_the_cache_of_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "--model", "opt-13b", "--topology", "dgx_a100", "--requests", "closed:1", "--lengths",
             "in=1024,out=3", "--num-prompts", "2", "--surface"]  # fmt: skip
    assert main([*words, "llumnix_llama_7b", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["mean_ttft_ms"] == pytest.approx(220.0) and made["mean_itl_ms"] == pytest.approx(34.3, rel=0.01)
    assert made["instances"][0]["kv_capacity_tokens"] == 13_616 and made["plans_executed"] == 0
    assert any("measured by its authors" in note for note in made["notes"])
    assert main([*words, "llumnix_llama"]) == 2
    assert "did you mean 'llumnix_llama_7b'" in capsys.readouterr().err
