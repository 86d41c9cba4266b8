"""Files of requests: what is read, what is noted, what is refused with its line."""

from pathlib import Path

import pytest

from controller.errors import BadWorkload
from controller.serving.requests.files import read_request_file


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_azure_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    text = (
        "\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2023-11-16 18:17:03.9799600,4808,10\r\n"
        "2023-11-16 18:17:04.9799609,110,27\r\n"
    )
    stream = read_request_file(written(tmp_path, text))
    assert [(each.prompt_tokens, each.output_tokens) for each in stream.requests] == [(4808, 10), (110, 27)]
    assert stream.requests[1].arrival_at == pytest.approx(1.0)
    assert stream.rate_per_s == pytest.approx(1.0)
    assert not stream.notes


def test_burstgpt_leaves_failures_out_and_keeps_sessions(tmp_path: Path) -> None:
    text = (
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,a,1,GPT-4,10,20,30,Conversation log\n6,b,1,GPT-4,10,0,10,API log\n8,a,1,GPT-4,7,3,10,API log\n"
    )
    stream = read_request_file(written(tmp_path, text))
    assert [(each.arrival_at, each.session) for each in stream.requests] == [(0.0, 0), (3.0, 0)]
    assert "1 requests without an output are left out, the first in line 3" in stream.notes[0]


def test_vidur_times_out_of_order_are_sorted_with_a_note(tmp_path: Path) -> None:
    text = "arrived_at,num_prefill_tokens,num_decode_tokens\n2.0,5,6\n1.0,3,4\n"
    stream = read_request_file(written(tmp_path, text))
    assert [each.prompt_tokens for each in stream.requests] == [3, 5]
    assert "not in order" in stream.notes[0]


def test_mooncake_hashes_are_blocks_of_512_tokens(tmp_path: Path) -> None:
    line = '{"timestamp": %d, "input_length": 1100, "output_length": 5, "hash_ids": [46, 47, 2353]}\n'
    stream = read_request_file(written(tmp_path, line % 0 + line % 3000, "conversation.jsonl"))
    assert stream.requests[0].prefix == (46, 47)  # the third block is not whole
    assert stream.requests[1].arrival_at == pytest.approx(3.0)
    assert stream.requests[0].prefix_block_tokens == 512


def test_sharegpt_counts_characters_and_says_so(tmp_path: Path) -> None:
    text = '[{"id": "x", "conversations": [{"from": "human", "value": "abcdefgh"}, {"from": "gpt", "value": "abcd"}]}]'
    stream = read_request_file(written(tmp_path, text, "sharegpt.json"))
    assert (stream.requests[0].prompt_tokens, stream.requests[0].output_tokens) == (2, 1)
    assert "assumed" in stream.notes[0]


def test_a_rate_stretches_a_file(tmp_path: Path) -> None:
    text = "arrived_at,num_prefill_tokens,num_decode_tokens\n1.0,5,6\n2.0,3,4\n3.0,3,4\n"
    stream = read_request_file(written(tmp_path, text), rate_per_s=4.0)
    assert [each.arrival_at for each in stream.requests] == [0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", ":1: the columns are a, b"),
        ("arrived_at,num_prefill_tokens,num_decode_tokens\n1,x,6\n", ":2: num_prefill_tokens is 'x'"),
        ("arrived_at,num_prefill_tokens,num_decode_tokens\n1,5\n", ":2: the line ends after 2 columns"),
        ("arrived_at,num_prefill_tokens,num_decode_tokens\n-1,5,6\n", ":2: arrived_at is '-1'"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", ":2: TIMESTAMP is 'yesterday'"),
        ('{"input_length": 3}\n', ":1: the keys are input_length"),
        ('{"input_length": 3, "output_length": 1}\n{"x"\n', ":2:"),
        ("", "is empty"),
        ("arrived_at,num_prefill_tokens,num_decode_tokens\n1,5,0\n", "no request has an output"),
    ],
)
def test_what_is_no_request_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadWorkload) as raised:
        read_request_file(written(tmp_path, text))
    assert said in str(raised.value)
