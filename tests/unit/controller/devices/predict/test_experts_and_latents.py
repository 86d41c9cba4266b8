"""Questions about experts, latents and 8-bit products, beside closed forms and published times."""

import pytest

from controller.devices.predict.ask import question
from controller.devices.predict.products import find_product
from controller.errors import BadQuestion

LAYER = {"hidden_size": 4096, "inter_size": 1024, "topk": 10, "num_experts": 512}


def us(name, dtype="bf16", device="h100_sxm", **sizes):
    asked = question(name)
    return asked.answer(find_product(device), dtype, asked.complete(sizes)).time_s * 1e6


def test_a_token_reads_the_weights_of_the_experts_that_it_chose():
    """10 experts of 3 x 4096 x 1024 bf16 are 252 MB, 75 us of HBM; published: 114 us, and 691 us for 8 tokens."""
    one, eight = (us("moe", num_tokens=tokens, **LAYER) for tokens in (1, 8))
    assert one == pytest.approx(114.1, rel=0.1)
    assert eight == pytest.approx(690.9, rel=0.1)
    assert (eight - one) * 3.35e6 >= 70 * 3 * 4096 * 1024 * 2


def test_ranks_share_experts_and_their_width():
    assert us("moe", num_tokens=64, moe_ep_size=8, **LAYER) < 0.2 * us("moe", num_tokens=64, **LAYER)
    assert us("moe", num_tokens=64, moe_tp_size=8, **LAYER) < 0.2 * us("moe", num_tokens=64, **LAYER)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"distribution": "power_law_1.2"}, "only 'balanced'"),
        ({"moe_tp_size": 3}, "multiples"),
        ({"moe_ep_size": 3}, "multiples"),
        ({"topk": 600}, "topk at most num_experts"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(changes, told):
    with pytest.raises(BadQuestion, match=told):
        us("moe", num_tokens=8, **{**LAYER, **changes})


@pytest.mark.parametrize(
    ("batch", "tokens", "heads", "published"), [(128, 32768, 16, 1572.0), (64, 131072, 128, 3574.2), (1, 2, 16, 13.6)]
)
def test_latents_are_read_once_for_all_heads(batch, tokens, heads, published):
    found = us("decode_mla", batch_size=batch, isl=1, step=tokens - 1, num_heads=heads)
    assert found == pytest.approx(published, rel=0.15)
    assert found * 3.35e6 >= batch * tokens * 576 * 2


def test_a_prompt_of_latents_is_one_of_wide_keys_and_narrow_values():
    assert us("prefill_mla", batch_size=1, isl=32768, num_heads=16) == pytest.approx(9156.0, rel=0.1)


def test_eight_bit_products_quantise_their_rows_before():
    """Published: 32,768 rows of 64 take 238 us in fp8 and 3.8 us in bf16: 248 rows a unit, 1,700 cycles each."""
    assert us("gemm", "fp8", m=32768, n=32, k=64) == pytest.approx(238.0, rel=0.1)
    assert us("gemm", "bf16", m=32768, n=32, k=64) == pytest.approx(3.84, rel=0.2)
    assert us("gemm", "fp8", m=1, n=32, k=64) == pytest.approx(4.8, rel=0.15)
