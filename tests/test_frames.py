"""Frames give back every line, at its place, and say what is torn and what is damaged."""

import subprocess
from itertools import chain
from pathlib import Path

import pytest
import zstandard
from builders import problem, sample
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from opo_eval.errors import StoreError
from opo_eval.frames import MOST_TEXT, FrameLines
from opo_eval.records import Finish, Sample
from opo_eval.store import Appender, RecordFile, TornTailWarning

FRESH_FILES = hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = st.lists(st.binary(max_size=200).map(lambda text: text.replace(b"\n", b"") + b"\n"), max_size=8)
RECORDS = st.builds(
    Sample,
    checkpoint=st.text(max_size=5),
    problem_id=st.text(max_size=5),
    index=st.integers(0, 2**31),
    seed=st.none() | st.integers(0, 2**63 - 1),
    text=st.text(max_size=300),
    token_ids=st.none() | st.lists(st.integers(0, 2**32), max_size=50).map(tuple),
    finish=st.none() | st.sampled_from(Finish),
    n_tokens=st.none() | st.integers(0, 2**31),
)
KEY = {"problem_id": str, "index": int}


@pytest.fixture
def frames(tmp_path: Path) -> FrameLines:
    """A file of three entries, each of two lines."""
    made = FrameLines(tmp_path / "lines.zst")
    made.path.write_bytes(b"".join(made.pack(pair) for pair in PAIRS))
    return made


PAIRS = [[b"one\n", b"two\n"], [b"three\n", b"\n"], [b"five " * 50 + b"\n", "sechs ß\r \n".encode()]]


def read(frames: FrameLines) -> list[bytes]:
    return [line for _, line in frames.until(frames.extent()[0])]


@FRESH_FILES
@given(appends=st.lists(LINES, max_size=5))
def test_lines_come_back_whatever_is_in_them(tmp_path: Path, appends: list[list[bytes]]) -> None:
    frames = FrameLines(tmp_path / "lines.zst")
    frames.path.write_bytes(b"".join(map(frames.pack, appends)))
    end, size = frames.extent()
    found = list(frames.until(end))
    assert end == size == frames.path.stat().st_size
    assert [line for _, line in found] == list(chain(*appends))
    assert len({place for place, _ in found}) == len(found)
    assert list(frames.at(place for place, _ in reversed(found))) == found[::-1]


@FRESH_FILES
@given(records=st.lists(RECORDS, max_size=6, unique_by=lambda r: (r.problem_id, r.index)))
def test_records_come_back_whatever_is_in_them(tmp_path: Path, records: list[Sample]) -> None:
    file = RecordFile(tmp_path / "records.jsonl.zst", "samples", Sample, KEY)
    file.path.unlink(missing_ok=True)
    appender = Appender(file)
    appender.append(records[:2])
    appender.append(records[2:])
    appender.close()
    assert list(file) == records
    assert list(file.read_at(file.places()[file.key_of(r)] for r in reversed(records))) == records[::-1]


def test_what_the_standards_own_tools_print_are_the_lines(frames: FrameLines, tmp_path: Path) -> None:
    with frames.path.open("rb") as packed, (tmp_path / "lines").open("wb") as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain)
    assert (tmp_path / "lines").read_bytes() == b"".join(chain(*PAIRS))


def test_long_appends_are_several_frames_and_a_line_is_never_split(tmp_path: Path) -> None:
    frames = FrameLines(tmp_path / "lines.zst")
    sizes = [MOST_TEXT // 2, MOST_TEXT // 2, 1, 3 * MOST_TEXT, MOST_TEXT, 5]
    lines = [b"x" * (size - 1) + b"\n" for size in sizes]
    frames.path.write_bytes(frames.pack(lines))
    found = list(frames.until(frames.extent()[0]))
    assert [line for _, line in found] == lines
    starts = [place >> 32 for place, _ in found]
    assert starts[0] == starts[1] < starts[2] < starts[3] < starts[4] < starts[5]
    assert frames.pack([]) == b""


def test_a_file_may_end_at_any_byte_of_an_entry(frames: FrameLines) -> None:
    whole = frames.path.read_bytes()
    ends = [0]
    for pair in PAIRS:
        ends.append(ends[-1] + len(frames.pack(pair)))
    for size in range(len(whole) + 1):
        frames.path.write_bytes(whole[:size])
        n_whole = max(n for n, end in enumerate(ends) if end <= size)
        assert frames.extent() == (ends[n_whole], size)
        assert read(frames) == list(chain(*PAIRS[:n_whole]))


def test_every_torn_byte_of_the_last_write_is_passed_over_with_a_word_and_cut_off(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "records.jsonl.zst", "samples", Sample, KEY)
    records = [sample(problem(1), i, f"text {i} " * 20) for i in range(3)]
    appender = Appender(file)
    appender.append(records[:2])
    kept = file.path.stat().st_size
    appender.append(records[2:])
    appender.close()
    whole = file.path.read_bytes()
    for size in range(kept + 1, len(whole)):
        file.path.write_bytes(whole[:size])
        with pytest.warns(TornTailWarning, match=f"incomplete last write of {size - kept} bytes passed over"):
            assert list(file) == records[:2]
        assert f"its {size - kept} bytes are removed" in (file.repair() or "")
        assert file.path.stat().st_size == kept and file.repair() is None


def test_no_flipped_bit_changes_what_is_read(frames: FrameLines) -> None:
    whole, n_noticed = frames.path.read_bytes(), 0
    for at in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        frames.path.write_bytes(damaged)
        try:
            assert read(frames) == list(chain(*PAIRS))  # a larger window than the text needs changes nothing
        except StoreError as error:
            assert "lines.zst is damaged" in str(error) and str(error).count("`") >= 2
            n_noticed += 1
    assert n_noticed > 0.95 * 8 * len(whole)


@pytest.mark.parametrize("where", ["announcement", "frame"])
def test_the_advice_for_damage_can_be_followed(frames: FrameLines, where: str) -> None:
    data = bytearray(frames.path.read_bytes())
    first, second = (len(frames.pack(pair)) for pair in PAIRS[:2])
    data[first + (12 if where == "announcement" else second - 1)] ^= 1
    frames.path.write_bytes(data)
    with pytest.raises(StoreError, match=f"damaged (at|from) byte {first} ") as said:
        read(frames)
    subprocess.run(str(said.value).split("`")[1], shell=True, check=True)
    assert read(frames) == (PAIRS[0] if where == "announcement" else PAIRS[0] + PAIRS[2])


def test_a_file_that_other_tools_compressed_is_refused_with_a_way_out(frames: FrameLines) -> None:
    frames.path.write_bytes(zstandard.compress(b"".join(chain(*PAIRS))))
    with pytest.raises(
        StoreError, match=r"no frame of opo_eval begins there.*; restore the file or unpack it with `zstd -d`"
    ):
        frames.extent()


def test_a_file_that_is_cut_off_under_a_reader_is_named(frames: FrameLines) -> None:
    end, size = frames.extent()
    with frames.path.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(StoreError, match=r"was cut off at byte .* while it was read: run again"):
        list(frames.until(end))
