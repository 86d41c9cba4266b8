"""CSV files of shapes that nothing could be made of: named by file and line, whatever is wrong with them."""

import gzip

import pytest

from controller.cli.main import main
from controller.devices.predict import shapes
from controller.devices.predict.shapes import read_csv
from controller.errors import BadMeasurements

HEADER = "m,n,k\n"


def test_rows_keep_the_lines_that_they_came_from(tmp_path):
    path = tmp_path / "shapes.csv"
    path.write_bytes(b"\xef\xbb\xbfm,n,k\r\n1,2,3\r\n\r\n4,5\r\n7,8,9\r\n")
    sheet = read_csv(path)
    assert sheet.header == ("m", "n", "k") and [line for line, _ in sheet.rows] == [2, 5]
    assert [str(refusal) for refusal in sheet.refusals] == ["shapes.csv:4: 2 cells for 3 columns"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER.encode() + b'1,2,3\n"' + b"1" * 200_000 + b'",2,3\n', "shapes.csv:3: cannot be read: field larger"),
        (b"", "shapes.csv:1: the file is empty"),
        (b"m,m\n", "column 'm' is there twice"),
        (b"\xff\xfem", "shapes.csv:1: cannot be read"),
    ],
)
def test_a_file_that_is_none(content, said, tmp_path):
    path = tmp_path / "shapes.csv"
    path.write_bytes(content)
    with pytest.raises(BadMeasurements, match=said):
        read_csv(path)


def test_a_small_archive_of_a_large_file_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "MOST_BYTES", 1_000)
    path = tmp_path / "shapes.csv.gz"
    path.write_bytes(gzip.compress(b"0" * 1_001))
    with pytest.raises(BadMeasurements, match="more than 1000 bytes when unpacked"):
        read_csv(path)
    path.write_bytes(gzip.compress(HEADER.encode() + b"1,2,3\n" * 20))
    assert len(read_csv(path).rows) == 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["gemm", "--device", "l40s", "-m", "9" * 200, "-n", "1", "-k", "1"],
            "of 200 digits; a whole number of at most",
        ),
        (
            ["copy", "--device", "l40s", "--bytes", "1000000000000001"],
            "bytes is 1000000000000001; a whole number of at",
        ),
        (["launches", "--device", "h100_sxm", "--kernels", "1000001", "--kernel-ns", "1"], "at most 1000000"),
    ],
)
def test_sizes_that_no_float_could_hold_are_refused(words, said, capsys):
    assert main(["predict", *words]) == 2
    assert said in capsys.readouterr().err
    small = [word if not word.startswith(("9", "1000")) else "1000" for word in words]
    assert main(["predict", *small]) == 0
