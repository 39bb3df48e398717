"""The problem sets that ship as a name: where each lives, pinned by revision and by content.

Adding a set is one entry here and its rows in `reference_digests.json`, which
`python -m opo_eval.problems.reference` writes.

The wording is that of OpenAI's PRM800K split for MATH-500 and of MathArena for AIME. Hub repositories of
AIME differ in wording, some drop the figures, so copies from elsewhere are other problem sets and are
refused under these names.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file of a data set repository on the Hugging Face hub, at a commit."""

    repository: str
    revision: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One built-in problem set."""

    name: str
    hub: tuple[HubFile, ...]
    """Files that make up the set; their only split is the test set, whatever the hub calls it."""
    data_path: str
    """Its file in a data folder."""
    count: int
    sha256: str
    """`dataset_sha256` of the set."""
    id_column: str
    """In the file at `data_path`; the hub's files may lack it."""
    tag_columns: tuple[str, ...]
    problem_column: str = "problem"
    answer_column: str = "answer"
    integer_answers: bool = False
    """Answers are integers from 0 to 999 and are compared and kept without leading zeros."""


_BENCHMARKS = (
    Benchmark(
        name="math500",
        hub=(
            HubFile(
                repository="HuggingFaceH4/MATH-500",
                revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
                path="test.jsonl",
            ),
        ),
        data_path="math500/math500.jsonl",
        count=500,
        sha256="ed11a586cedf319b50c1f35f660a0bc92d4382bfd5097362852c23fea78a7e0f",
        id_column="unique_id",
        tag_columns=("level", "subject"),
    ),
    Benchmark(
        name="aime24",
        hub=(
            HubFile(
                repository="MathArena/aime_2024_I",
                revision="ea5b061c3e8039dc9858defaafc407d04b995e9f",
                path="data/train-00000-of-00001.parquet",
            ),
            HubFile(
                repository="MathArena/aime_2024_II",
                revision="29d5d31e9b46e215fc24d9b2a3047506823dd101",
                path="data/train-00000-of-00001.parquet",
            ),
        ),
        data_path="aime/aime2024.jsonl",
        count=30,
        sha256="4f051132513580674a8d227220be03b5562721bfc889d4db291816ad6eadbe36",
        id_column="id",
        tag_columns=("exam",),
        integer_answers=True,
    ),
    Benchmark(
        name="aime25",
        hub=(
            HubFile(
                repository="MathArena/aime_2025",
                revision="c94da77eb22bbd6439e62a323bec18493a421302",
                path="data/train-00000-of-00001.parquet",
            ),
        ),
        data_path="aime/aime2025.jsonl",
        count=30,
        sha256="aa25b5798f80ecf9306e72e944cfaa42d08c88d682449402aed3478c938e8026",
        id_column="id",
        tag_columns=("exam",),
        integer_answers=True,
    ),
)

BENCHMARKS = {benchmark.name: benchmark for benchmark in _BENCHMARKS}
