"""What responses with their token ids take on disk, and what writing and reading them costs.

The responses are real reasoning, cut into tokens by the tokenizer that is given: a folder of Hugging Face
format, a tokenizer.json of the tokenizers library, or a tekken*.json (which needs mistral_common).
"""

import argparse
import gzip
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from _tables import duration, generations, machine, markdown_table, write_report

from opo_eval.frames import LEVEL, FrameLines
from opo_eval.problems import dataset_sha256, make_problem
from opo_eval.records import Checkpoint, Finish, Problem, RunSettings, Sample, Think
from opo_eval.store import RunDir, RunWriter, dump_record

FOLDER = "r1_14b_math4_rollouts"
FOLDERS = (FOLDER, "rg_llama3b_rl_ckpts", "soren_math500_20x16_prm")
"""Real responses to 94 problems in all."""
N_SAMPLES, N_TOKENS = 16, 32_768
"""A problem; a response."""
MOST_BYTES_A_TOKEN = 400e6 / (500 * N_SAMPLES * N_TOKENS)
LEAST_BYTES_A_SECOND = 5e6
"""Of text, that writing manages on one core."""
LEVELS = (3, 6, 9, 12, 15)


class Response(NamedTuple):
    """A response and its tokens."""

    text: str
    token_ids: tuple[int, ...]


class Tokenizer(NamedTuple):
    """Text to token ids, and what to call it."""

    encode: Callable[[str], Sequence[int]]
    name: str


# --- responses --------------------------------------------------------------------------------------


def tokenizer_at(path: Path) -> Tokenizer:
    """The tokenizer at a path."""
    if path.is_dir():
        from transformers import AutoTokenizer

        folder = AutoTokenizer.from_pretrained(path)
        encode = partial(folder.encode, add_special_tokens=False)
        return Tokenizer(encode, f"{path.name} ({len(folder):,} entries)")
    if path.name.startswith("tekken"):
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer

        tekken = Tekkenizer.from_file(path)
        encode = partial(tekken.encode, bos=False, eos=False)
        return Tokenizer(encode, f"{path.name} of mistral_common ({tekken.n_words:,} entries)")
    from tokenizers import Tokenizer as FastTokenizer

    fast = FastTokenizer.from_file(str(path))
    return Tokenizer(
        lambda text: fast.encode(text, add_special_tokens=False).ids,
        f"{path.name} ({fast.get_vocab_size():,} entries)",
    )


def real_responses(tokenizer: Tokenizer) -> list[Response]:
    """Every real response, tokenized."""
    return [tokenized(row, tokenizer) for row in generations(FOLDER)]


def tokenized(row: dict, tokenizer: Tokenizer) -> Response:
    """The response in a row."""
    return Response(row["response"], tuple(tokenizer.encode(row["response"])))


def one_a_problem(tokenizer: Tokenizer, rng: np.random.Generator) -> list[Response]:
    """A response to each problem of all folders."""
    by_problem = defaultdict(list)
    for folder in FOLDERS:
        for row in generations(folder):
            by_problem[folder, str(row["problem_id"])].append(row)
    return [tokenized(rows[rng.integers(len(rows))], tokenizer) for rows in by_problem.values()]


def long_responses(real: Sequence[Response], rng: np.random.Generator) -> Iterator[Response]:
    """Different real responses in random order, joined and cut after `N_TOKENS` tokens; without end."""
    while True:
        yield long_response([real[place] for place in rng.permutation(len(real))])


def long_response(parts: Iterable[Response]) -> Response:
    """The parts, joined; of the last one the same share of characters is cut as of tokens."""
    texts: list[str] = []
    ids: list[int] = []
    for text, part in parts:
        kept = part[: N_TOKENS - len(ids)]
        texts.append(text[: round(len(text) * len(kept) / max(1, len(part)))])
        ids += kept
    return Response("".join(texts), tuple(ids))


def short_responses(real: Sequence[Response], n_tokens: int) -> list[Response]:
    """The beginning of each."""
    return [Response(text[: len(text) * n_tokens // len(ids)], ids[:n_tokens]) for text, ids in real]


def samples_of(responses: Iterable[Response], problems: Iterator[Problem]) -> Iterator[Sample]:
    """The responses as records, with every field that a sampler fills in, `N_SAMPLES` a problem."""
    for asked, group in zip(problems, batched(responses, N_SAMPLES), strict=False):
        for index, (text, token_ids) in enumerate(group):
            yield Sample(
                checkpoint="DeepSeek-R1-Distill-Qwen-14B",
                problem_id=asked.id,
                index=index,
                seed=int(asked.id, 16) % 2**63 + index,
                text=text,
                token_ids=token_ids,
                finish=Finish.STOP,
                n_tokens=len(token_ids),
            )


def made_up_problems() -> Iterator[Problem]:
    """Problems for the responses to belong to."""
    for n in count():
        yield make_problem(benchmark="storage", source_id=f"{n}", prompt=f"{n} + {n}", answer=f"{2 * n}")


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of so many, the last one shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


# --- formats ----------------------------------------------------------------------------------------


def write_gzip(path: Path, records: Sequence[Sample]) -> None:
    """JSON lines under gzip's usual level."""
    with gzip.open(path, "wb", 6) as file:
        file.writelines(map(dump_record, records))


def read_gzip(path: Path) -> int:
    """Number of records, all decoded."""
    with gzip.open(path) as file:
        return sum(1 for line in file if orjson.loads(line))


def write_plain(path: Path, records: Sequence[Sample]) -> None:
    """JSON lines."""
    with path.open("wb") as file:
        file.writelines(map(dump_record, records))


def read_plain(path: Path) -> int:
    """Number of records, all decoded."""
    with path.open("rb") as file:
        return sum(1 for line in file if orjson.loads(line))


def write_parquet(path: Path, records: Sequence[Sample]) -> None:
    """A column a field, a row group for each problem, zstd at the level of the frames."""
    groups = (pa.Table.from_pylist(list(map(asdict, group))) for group in batched(records, N_SAMPLES))
    first = next(groups)
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=LEVEL) as writer:
        for table in (first, *groups):
            writer.write_table(table)


def read_parquet(path: Path) -> int:
    """Number of records, all decoded to Python values."""
    file = pq.ParquetFile(path)
    return sum(len(file.read_row_group(n).to_pylist()) for n in range(file.num_row_groups))


def write_frames(path: Path, records: Sequence[Sample]) -> None:
    """What a run directory does: a frame a response."""
    frames = FrameLines(path)
    with path.open("wb") as file:
        file.writelines(frames.pack([dump_record(record)]) for record in records)


def read_frames(path: Path) -> int:
    """Number of records, all decoded."""
    frames = FrameLines(path)
    return sum(1 for _, line in frames.until(frames.extent()[0]) if orjson.loads(line))


FORMATS = {
    "JSON lines": (write_plain, read_plain),
    "JSON lines, gzip": (write_gzip, read_gzip),
    "parquet, zstd": (write_parquet, read_parquet),
    "samples.jsonl.zst": (write_frames, read_frames),
}


# --- measuring --------------------------------------------------------------------------------------


def cpu_s(run: Callable[..., object], *arguments: object) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    run(*arguments)
    return time.process_time() - start


def n_text(records: Iterable[Sample]) -> int:
    """Bytes of text."""
    return sum(len(record.text.encode()) for record in records)


def format_rows(records: Sequence[Sample], folder: Path) -> list[tuple[str, ...]]:
    """Bytes a token and speeds of every format, on the same records."""
    rows = []
    for name, (write, read) in FORMATS.items():
        path = folder / f"records-{len(rows)}"
        written, done = cpu_s(write, path, records), cpu_s(read, path)
        bytes_a_token = path.stat().st_size / sum(len(r.token_ids or ()) for r in records)
        speeds = (f"{n_text(records) / seconds / 1e6:.0f} MB/s" for seconds in (written, done))
        rows.append((name, f"{bytes_a_token:.2f}", *speeds))
    return rows


def level_rows(records: Sequence[Sample]) -> list[tuple[str, ...]]:
    """What each level of compression gives, a frame a response."""
    lines, rows = list(map(dump_record, records)), []
    for level in LEVELS:
        compress = zstandard.ZstdCompressor(level).compress
        frames: list[bytes] = []
        seconds = cpu_s(lambda: frames.extend(map(compress, lines)))  # noqa: B023
        bytes_a_token = sum(map(len, frames)) / sum(len(r.token_ids or ()) for r in records)
        speed = f"{n_text(records) / seconds / 1e6:.0f} MB/s"
        rows.append((f"{level}{' (used)' if level == LEVEL else ''}", f"{bytes_a_token:.2f}", speed))
    return rows


def length_rows(kinds: dict[str, Sequence[Response]]) -> list[tuple[str, ...]]:
    """Bytes a response by length, and by how many responses an append has."""
    rows, frames = [], FrameLines(Path())
    for name, responses in kinds.items():
        lines = list(map(dump_record, samples_of(responses, made_up_problems())))
        n_tokens = sum(len(response.token_ids) for response in responses)
        plain = sum(map(len, lines))
        packed = [sum(len(frames.pack(part)) for part in batched(lines, n)) for n in (1, N_SAMPLES)]
        cells = (f"{n / len(lines):,.0f} ({n / n_tokens:.2f})" for n in (plain, *packed))
        rows.append((name, f"{n_tokens / len(lines):,.0f}", *cells))
    return rows


# --- the full size ----------------------------------------------------------------------------------

READ = """
import sys, time
from opo_eval.store import RunDir
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
run, before, start = RunDir(sys.argv[1]), peak(), time.process_time()
n = {use}
print(n, time.process_time() - start, before, peak())
"""
USES = {
    "every response in the order of writing": "sum(1 for _ in run.samples())",
    "an index of the run": "sum(map(len, run.index().samples.values()))",
    "an index, then every response problem by problem": "sum(len(group.samples) for group in run.groups())",
}


def write_run(path: Path, problems: Sequence[Problem], responses: Iterator[Response]) -> tuple[float, int]:
    """Write a run as a sampler does, an append a response: (CPU seconds of the appends, bytes of text)."""
    settings = RunSettings(
        checkpoint=Checkpoint(name="c"),
        benchmark="storage",
        dataset_sha256=dataset_sha256(problems),
        think=Think.NONE,
    )
    seconds, n_bytes = 0.0, 0
    with RunWriter(path, settings, problems) as writer:
        for record in samples_of(responses, iter(problems)):
            seconds += cpu_s(writer.append_samples, [record])
            n_bytes += n_text([record])
    return seconds, n_bytes


def read_rows(path: Path) -> list[tuple[str, ...]]:
    """Each way to read the run, in a process of its own."""
    rows = []
    for name, use in USES.items():
        command = [sys.executable, "-c", READ.replace("{use}", use), str(path)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        n, seconds, before, peak = int(said[0]), float(said[1]), int(said[2]), int(said[3])
        rows.append((f"{name} ({n:,})", duration(seconds), f"{(peak - before) / 2**20:.0f} MiB"))
    return rows


class FullSize(NamedTuple):
    """A run of the size that is promised."""

    n_responses: int
    n_bytes: int
    write_s: float
    n_text: int
    reads: list[tuple[str, ...]]

    @property
    def bytes_a_token(self) -> float:
        """On disk."""
        return self.n_bytes / (self.n_responses * N_TOKENS)


def full_size(real: Sequence[Response], n_problems: int, folder: Path) -> FullSize:
    """Build the run and read it."""
    problems = tuple(islice(made_up_problems(), n_problems))
    responses = long_responses(real, np.random.default_rng(1))
    seconds, n_bytes = write_run(folder / "run", problems, responses)
    size = RunDir(folder / "run").samples_path.stat().st_size
    return FullSize(n_problems * N_SAMPLES, size, seconds, n_bytes, read_rows(folder / "run"))


# --- the report -------------------------------------------------------------------------------------


def about_full_size(real: Sequence[Response], tokenizer: Tokenizer, full: FullSize) -> list[str]:
    """What the responses are, and what the whole run takes."""
    n_distinct = sum(len(response.token_ids) for response in real)
    return [
        "# Storage: responses with their token ids",
        f"Text is real: the {len(real)} responses of {FOLDER} (four hard problems, {n_distinct:,} tokens), "
        f"tokenized with {tokenizer.name}. A response of {N_TOKENS:,} tokens is made of different real ones "
        "in random order, the last one cut: none is twice in a response. A response is a frame of its own, "
        "so no repetition between responses is exploited.",
        f"**The whole run**: {full.n_responses:,} responses of {N_TOKENS:,} tokens, each appended by itself "
        f"through RunWriter, take **{full.n_bytes / 1e6:.0f} MB**: {full.bytes_a_token:.2f} bytes a token, "
        f"text and ids together; {MOST_BYTES_A_TOKEN:.2f} are allowed, which makes 400 MB at 500 × 16. The "
        f"appends took {duration(full.write_s)} of CPU, so {full.n_text / full.write_s / 1e6:.0f} MB of text "
        f"a second; {LEAST_BYTES_A_SECOND / 1e6:.0f} are the least allowed. Reading it, with records built:",
        markdown_table(["read", "CPU", "memory beyond the start"], full.reads),
    ]


def about_formats(records: Sequence[Sample], folder: Path) -> list[str]:
    """The same responses in other formats and at other levels."""
    return [
        f"**Beside other formats**: the same {len(records)} such responses; speeds are of text, in CPU time, "
        f"to and from decoded values. Parquet has a row group a problem and zstd at level {LEVEL}. Its "
        "figure is better than it would be in earnest: a real response is part of several of the 16 in a row "
        "group, and is found again. It cannot be appended to, nor does it survive a killed writer.",
        markdown_table(["format", "bytes a token", "write", "read"], format_rows(records, folder)),
        "**By level** of compression:",
        markdown_table(["level", "bytes a token", "compression"], level_rows(records)),
    ]


def about_lengths(real: Sequence[Response], tokenizer: Tokenizer, records: Sequence[Sample]) -> list[str]:
    """Other responses: short ones, and those that have least in common with themselves."""
    rng = np.random.default_rng(3)
    kinds = {
        "beginnings of real responses": short_responses(real, 48),
        "longer beginnings": short_responses(real, 512),
        "real responses": real,
        "joined real responses": [Response(r.text, r.token_ids or ()) for r in records],
        "joined, each part to another problem": [
            next(long_responses(one_a_problem(tokenizer, rng), rng)) for _ in range(N_SAMPLES)
        ],
    }
    return [
        "**By kind**: bytes a response (bytes a token), one response an append and 16. A response to one "
        "problem returns to the same terms, and joined responses to four problems do so too; the last line "
        f"has parts to {len(one_a_problem(tokenizer, rng))} problems by three models and no thread: a bound "
        "from above rather than a real response.",
        markdown_table(
            ["responses", "tokens each", "JSON lines", "one an append", "16 an append"], length_rows(kinds)
        ),
    ]


def main() -> None:
    """Measure and write the report; fails where more is taken than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder or file of a tokenizer")
    parser.add_argument(
        "--problems", type=int, default=500, help="of the run that is built, 16 responses each"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pa.set_cpu_count(1)
    tokenizer = tokenizer_at(arguments.tokenizer)
    real = real_responses(tokenizer)
    with TemporaryDirectory() as folder:
        full = full_size(real, arguments.problems, Path(folder))
        responses = long_responses(real, np.random.default_rng(2))
        records = list(islice(samples_of(responses, made_up_problems()), 8 * N_SAMPLES))
        told = [
            *about_full_size(real, tokenizer, full),
            *about_formats(records, Path(folder)),
            *about_lengths(real, tokenizer, records),
            machine(["zstandard", "orjson", "pyarrow", "numpy"]),
        ]
    write_report("storage", told, f"--tokenizer {arguments.tokenizer.name} --problems {arguments.problems}")
    if full.bytes_a_token > MOST_BYTES_A_TOKEN or full.n_text / full.write_s < LEAST_BYTES_A_SECOND:
        raise SystemExit("more bytes or less speed than is allowed")


if __name__ == "__main__":
    main()
