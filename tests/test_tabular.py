"""Tables as other programs write them, and the sentence for every way in which a table can be broken."""

import gzip
import hashlib
import json
import random

import pandas
import pyarrow
import pytest
from pyarrow import parquet

from opo_eval.errors import InputError, UsageError
from opo_eval.tabular import SUFFIXES, file_sha256, place, read_rows, require_columns, table_suffix

TEXTS = [
    "plain",
    'quoted "twice", with a comma',
    "two\nlines",
    "tab\there",
    "π ≤ \N{LINE SEPARATOR} 4",
    "{x}",
]
RECORDS = [{"text": text, "n": n} for n, text in enumerate(TEXTS)]


def write_with_pandas(path):
    frame, suffix = pandas.DataFrame(RECORDS), table_suffix(path)
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix.startswith(".json"):
        frame.to_json(path, orient="records", lines=suffix.startswith(".jsonl"))
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix.startswith(".tsv") else ",")
    return path


def write_bytes(path, data):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def failure(path):
    with pytest.raises(InputError) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_rows_that_pandas_wrote(tmp_path, suffix):
    rows = list(read_rows(write_with_pandas(tmp_path / f"table{suffix}")))
    is_text = suffix.startswith((".csv", ".tsv"))
    expected = [{**record, "n": str(record["n"])} if is_text else record for record in RECORDS]
    assert rows == list(enumerate(expected, start=1))


@pytest.mark.parametrize("name", ["t.txt", "t", "t.jsonl.zip", ".csv", "t.gz"])
def test_an_unknown_suffix_lists_those_that_are_read(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.jsonl, \.jsonl\.gz, \.json, \.csv.*\.parquet") as caught:
        read_rows(tmp_path / name)
    assert name in str(caught.value)


def test_suffix_in_capitals(tmp_path):
    assert list(read_rows(write_bytes(tmp_path / "T.CSV", b"a\n1\n"))) == [(1, {"a": "1"})]


def test_a_wrong_path_is_found_before_the_first_row(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"there is no file .*none\.csv"):
        read_rows(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"folder\.csv is a directory: give one of the tables"):
        read_rows(tmp_path / "folder.csv")
    with pytest.raises(InputError, match=r"t\.csv cannot be opened: Not a directory"):
        read_rows(tmp_path / "file" / "t.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_has_no_rows(tmp_path, suffix):
    assert "is empty: it has no rows" in failure(write_bytes(tmp_path / f"t{suffix}", b""))
    (tmp_path / f"zero{suffix}").touch()
    assert "is empty: it has no rows" in failure(tmp_path / f"zero{suffix}")


@pytest.mark.parametrize(("suffix", "data"), [(".json", b"[]"), (".csv", b"a,b\n"), (".jsonl", b"\n \n")])
def test_a_table_without_rows_is_empty(tmp_path, suffix, data):
    assert "is empty: it has no rows" in failure(write_bytes(tmp_path / f"t{suffix}", data))


def test_a_parquet_table_without_rows_is_empty(tmp_path):
    parquet.write_table(pyarrow.table({"a": pyarrow.array([], pyarrow.int64())}), tmp_path / "t.parquet")
    assert "is empty: it has no rows" in failure(tmp_path / "t.parquet")


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".parquet"])
def test_bytes_that_are_not_utf8_are_named_by_line_and_byte(tmp_path, suffix):
    data = b'[{"a": "1"},\n{"a": "\xff"}]' if suffix == ".json" else b'{"a": "1"}\n{"a": "\xff"}\n'
    assert "line 2, byte 8 is not UTF-8 (0xff): save the file" in failure(
        write_bytes(tmp_path / f"t{suffix}", data)
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
def test_a_byte_order_mark_is_no_part_of_the_first_value(tmp_path, suffix):
    body = {".jsonl": '{"a": "1"}\n', ".json": '[{"a": "1"}]'}.get(suffix, "a\n1\n")
    path = write_bytes(tmp_path / f"t{suffix}", b"\xef\xbb\xbf" + body.encode())
    assert list(read_rows(path)) == [(1, {"a": "1"})]


def test_json_lines_are_numbered_as_an_editor_does(tmp_path):
    path = write_bytes(tmp_path / "t.jsonl", b'\r\n{"a": 1}\r\n\n  \n{"a": 2}')
    assert list(read_rows(path)) == [(2, {"a": 1}), (5, {"a": 2})]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_line_that_is_not_json(tmp_path, suffix):
    message = failure(write_bytes(tmp_path / f"t{suffix}", b'{"a": 1}\n{"a": 2\n'))
    assert "line 2 is not JSON" in message and """'{"a": 2'""" in message


@pytest.mark.parametrize("value", ["[1, 2]", "3", '"text"', "null"])
def test_a_row_that_is_not_an_object(tmp_path, value):
    message = failure(write_bytes(tmp_path / "t.jsonl", f'{{"a": 1}}\n{value}\n'.encode()))
    assert f"line 2 is not an object but {json.loads(value)!r}" in message
    message = failure(write_bytes(tmp_path / "t.json", f'[{{"a": 1}}, {value}]'.encode()))
    assert f"row 2 is not an object but {json.loads(value)!r}" in message


def test_json_that_is_no_array_of_rows(tmp_path):
    assert "holds one dict" in failure(write_bytes(tmp_path / "one.json", b'{"a": 1}'))
    message = failure(write_bytes(tmp_path / "lines.json", b'{"a": 1}\n{"a": 2}\n'))
    assert "is not JSON" in message and "is named .jsonl" in message


def test_nan_and_infinity_as_python_writes_them(tmp_path):
    row = {"nan": float("nan"), "infinite": float("-inf"), "null": None, "text": "NaN"}
    path = write_bytes(tmp_path / "t.jsonl", json.dumps(row).encode())
    expected = {"nan": None, "infinite": float("-inf"), "null": None, "text": "NaN"}
    assert list(read_rows(path)) == [(1, expected)]
    assert "line 1 is not JSON" in failure(write_bytes(path, b'{"a": NaN'))


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_integers_keep_every_digit(tmp_path, suffix):
    row = {"large": 3**200, "negative": -(3**99), "small": 7, "real": 1e300}
    path = write_bytes(tmp_path / f"t{suffix}", json.dumps(row if suffix == ".jsonl" else [row]).encode())
    assert list(read_rows(path)) == [(1, row)]


def test_an_integer_too_long_for_python_is_refused(tmp_path):
    digits = b"9" * 5000
    assert "line 1 is not JSON" in failure(
        write_bytes(tmp_path / "t.jsonl", b'{"a": NaN, "b": ' + digits + b"}")
    )


def test_a_torn_gzip_gives_its_rows_and_then_the_line_where_it_ends(tmp_path):
    noise = random.Random(0)
    lines = [json.dumps({"a": noise.randbytes(64).hex()}) for _ in range(5000)]
    whole = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    seen = []
    with pytest.raises(InputError, match=r"t\.jsonl\.gz is torn or no gzip file, after line (\d+)") as caught:
        seen.extend(row for row in read_rows(path))
    assert 1000 < len(seen) == int(str(caught.value).split("after line ")[1].split(":")[0]) < 5000
    assert [row["a"] for _, row in seen] == [json.loads(line)["a"] for line in lines[: len(seen)]]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz", ".tsv.gz"])
def test_text_named_gz_and_a_flipped_byte_are_no_gzip(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"a,b\n1,2\n")
    assert "is torn or no gzip file, after line 0: Not a gzipped file" in failure(path)
    data = bytearray(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    data[-5] ^= 1
    path.write_bytes(data)
    assert "is torn or no gzip file" in failure(path)


def test_a_csv_row_with_too_many_fields_is_named_with_the_first(tmp_path):
    message = failure(write_bytes(tmp_path / "t.csv", b'a,b\n1,"x\ny"\n1,2,3\n'))
    assert (
        "row 2 has 3 fields and the header 2" in message and "'3'" in message and "quote a field" in message
    )


def test_missing_csv_cells_are_none_and_blank_lines_no_rows(tmp_path):
    path = write_bytes(tmp_path / "t.csv", b'a,b\n\n1\n"",nan\n')
    assert list(read_rows(path)) == [(1, {"a": "1", "b": None}), (2, {"a": None, "b": "nan"})]


def test_a_quote_that_never_closes(tmp_path):
    assert "line 4 cannot be read: unexpected end of data" in failure(
        write_bytes(tmp_path / "t.csv", b'a,b\n1,2\n1,"x\ny\n')
    )


def test_two_csv_columns_of_one_name(tmp_path):
    assert "has 2 columns named 'a'" in failure(write_bytes(tmp_path / "t.csv", b"a,b,a\n1,2,3\n"))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_field_longer_than_the_csv_module_allows_by_default(tmp_path, suffix):
    text = "0123456789" * 300_000
    path = tmp_path / f"t{suffix}"
    frame = pandas.DataFrame({"a": ["x", text]})
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    assert [row["a"] for _, row in read_rows(path)] == ["x", text]


def test_parquet_keeps_integers_beside_nulls_and_makes_nan_none(tmp_path):
    columns = {"int": [1, None], "float": [4.0, float("nan")], "list": [[1], None], "text": ["", "nan"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert [row for _, row in read_rows(tmp_path / "t.parquet")] == [
        {"int": 1, "float": 4.0, "list": [1], "text": ""},
        {"int": None, "float": None, "list": None, "text": "nan"},
    ]


def test_parquet_rows_are_numbered_across_row_groups(tmp_path):
    table = pyarrow.table({"a": list(range(3000))})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=700)
    assert list(read_rows(tmp_path / "t.parquet")) == [(a + 1, {"a": a}) for a in range(3000)]


def test_what_is_not_a_parquet_file(tmp_path):
    assert "is not a Parquet file that can be read: Parquet" in failure(
        write_bytes(tmp_path / "t.parquet", b"a,b\n1,2\n" * 9)
    )
    path = write_with_pandas(tmp_path / "whole.parquet")
    assert "is not a Parquet file that can be read" in failure(
        write_bytes(tmp_path / "torn.parquet", path.read_bytes()[:-20])
    )


def test_a_column_that_is_missing(tmp_path):
    require_columns({"problem": 1, "answer": 2}, ("answer", "problem"), "t.csv")
    with pytest.raises(
        InputError, match=r"t\.csv has no column 'Anwser' \(did you mean 'answer'\?\)"
    ) as caught:
        require_columns(["problem", "answer"], ("problem", "Anwser"), "t.csv")
    assert "it has 'problem', 'answer'" in str(caught.value)
    with pytest.raises(InputError, match=r"has no column 'zzz': it has 'problem', 'answer'"):
        require_columns(["problem", "answer"], ("zzz",), "t.csv")


def test_places_are_lines_in_json_lines_and_rows_elsewhere():
    assert place("a/t.jsonl.gz", 3) == "a/t.jsonl.gz, line 3"
    assert place("t.json", 3) == "t.json, row 3" and place("t.csv", 3) == "t.csv, row 3"


def test_the_digest_of_a_file(tmp_path):
    path = write_bytes(tmp_path / "t.csv", b"a\n" * 99_999)
    assert file_sha256(path) == hashlib.sha256(b"a\n" * 99_999).hexdigest()
    with pytest.raises(InputError, match="there is no file"):
        file_sha256(tmp_path / "none")


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_half_a_surrogate_pair_becomes_a_question_mark_at_any_depth(tmp_path, suffix):
    row = r'{"a": "x\ud800", "b\udfff": ["\uDc00", {"c": "\ud83d\ude00"}], "n": 4}'
    path = write_bytes(tmp_path / f"t{suffix}", (row if suffix == ".jsonl" else f"[{row}]").encode())
    assert list(read_rows(path)) == [(1, {"a": "x?", "b?": ["?", {"c": "\N{GRINNING FACE}"}], "n": 4})]
