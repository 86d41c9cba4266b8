"""CSV traces of both formats, and what is wrong with those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadWorkload
from controller.workload.files import open_stream

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,4808,10\n2023-11-16 18:17:04.03,3180,8\n"
BURST = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,,1.2,ChatGPT,472,18,490,Conversation log\n45,,0,ChatGPT,1087,0,1087,Conversation log\n"
)


def read(tmp_path: Path, text: str) -> tuple[list[int], list[int]]:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    stream = open_stream(str(path), 0)
    assert stream.name == "trace.csv"
    return stream.prompt_tokens.tolist(), stream.output_tokens.tolist()


def test_azure(tmp_path: Path) -> None:
    assert read(tmp_path, AZURE) == ([4808, 3180], [10, 8])


def test_burst_gpt_without_its_failed_requests(tmp_path: Path) -> None:
    assert read(tmp_path, BURST) == ([472], [18])


def test_a_byte_order_mark_empty_lines_and_spaces_do_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + AZURE.replace(",4808,", ", 4808 ,") + "\n\n") == ([4808, 3180], [10, 8])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (AZURE.replace("3180", "3.5"), r"trace.csv:3, column 2 \(ContextTokens\): '3.5' is no whole number"),
        (AZURE.replace(",8\n", ",0\n"), r"trace.csv:3, column 3 \(GeneratedTokens\): 0 tokens; 1 to"),
        (AZURE.replace(",3180,8", ""), r"trace.csv:3, column 3 \(GeneratedTokens\): the line ends after 1 columns"),
        (BURST.replace("472", "-4"), r"trace.csv:2, column 5 \(Request tokens\): '-4' is no whole number"),
        ("a,b\n1,2\n", r"trace.csv:1: the columns are a, b; a trace has 'ContextTokens'"),
        ("", "trace.csv:1: the columns are none"),
        (AZURE.splitlines()[0] + "\n", "no request in 0 lines"),
    ],
)
def test_what_cannot_be_meant_names_line_and_column(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadWorkload, match=complaint):
        read(tmp_path, text)


def test_a_name_that_is_neither_trace_nor_file() -> None:
    with pytest.raises(BadWorkload, match="did you mean 'azure_conv'"):
        open_stream("azure_convo", 0)
