"""PDC: prefill, decode and caching pools that scale apart; any prompt may go to any prefill instance.

Paper: Zuo et al., 'Serving Large Language Models on Huawei CloudMatrix384', arXiv 2506.12708, sections 4.1, 4.3.3, 4.4.
Follows: prompts go where fewest wait, wherever their prefix is cached, since pooled memory is as near to every die; the
    decode instance with the least load takes the finished prompt, and its die pulls the KV cache from the rank that the
    connection map names.
Differs: nothing.
Checked by: tests/unit/controller/serving/clusters/test_pdc.py.
"""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import DECODE, PREFILL, ClusterState


def route(state: ClusterState, request: ClientRequest) -> int:
    """The prefill instance with the fewest prompts."""
    instances = state.instances
    return min(
        state.open_numbers(PREFILL),
        key=lambda number: (len(instances[number].waiting) + len(instances[number].prefilling), number),
    )


def pull_to(state: ClusterState, request: ClientRequest) -> int:
    """The decode instance with the fewest requests."""
    return min(state.open_numbers(DECODE), key=lambda number: (len(state.instances[number].decoding), number))


def source_rank(prefill_tp: int, decode_tp: int, decode_dp: int, dp_rank: int, tp_rank: int = 0) -> int:
    """Rank of a prefill instance that a die of a decode instance pulls from (section 4.3.3).

    Args:
        prefill_tp, decode_tp: ranks that share a layer on either side.
        decode_dp: groups of the decode instance that have requests of their own.
        dp_rank, tp_rank: of the die that pulls.

    Raises:
        BadWorkload: ranks that do not divide.
    """
    if prefill_tp % decode_tp or decode_dp % (prefill_tp // decode_tp):
        raise BadWorkload(
            f"{prefill_tp} prefill ranks do not divide over {decode_dp} decode ranks of {decode_tp} dies; write "
            f"--cluster-option decode_ep=N with a multiple of {prefill_tp}"
        )
    group_size = decode_dp // (prefill_tp // decode_tp)
    return dp_rank // group_size * decode_tp + tp_rank
