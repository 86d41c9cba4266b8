"""Groups of shared prefixes on trees that are small enough to count."""

from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.prefix_groups import group_by_prefix, multi_level_saved_tokens
from controller.serving.schedulers.batchllm import prepare


def request(number: int, *prefix: int) -> ClientRequest:
    return ClientRequest(number, 0.0, 16 * len(prefix) + 5, 10, prefix=prefix)


def test_a_deep_prefix_of_few_beats_a_shallow_one_of_all() -> None:
    job = [request(0, 1, 2, 3), request(1, 1, 2, 3), request(2, 1, 4), request(3, 9)]
    groups = group_by_prefix(job)
    # All three under (1): 2 x 16 tokens; the two under (1, 2, 3): 48.
    assert groups[0].prefix == (1, 2, 3) and groups[0].saved_tokens == 48
    assert [each.number for group in groups[1:] for each in group.requests] == [2, 3]
    assert multi_level_saved_tokens(job) == 3 * 16 + 16


def test_a_job_runs_in_the_order_of_its_groups() -> None:
    job = [request(0, 1), request(1, 2), request(2, 1), request(3, 2)]
    made = prepare(RequestStreamSpec(job, "job"))
    assert [each.prefix for each in made.requests] == [(1,), (1,), (2,), (2,)]
    assert [each.number for each in made.requests] == [0, 1, 2, 3]
