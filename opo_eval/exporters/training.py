"""What the exports for other trainers share: problems, prompts, files, and what none can express."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opo_eval.errors import UsageError
from opo_eval.exporters.chat import same_prompts
from opo_eval.records import Problem
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.data import load_data
from opo_eval.rl.rollout import steps_per_epoch
from opo_eval.wording import counted

DATA = "train.parquet"
SAMPLES_DIFFER = (
    "the same seed gives other responses and another order of the problems: {} draws with random numbers of "
    "its own"
)
FLOAT32_ADVANTAGES = "advantages are computed in float32, ours in float64"
NO_EXACT_KL = (
    "exact entropy and KL to the starting policy are not logged: measure them on the checkpoints with "
    "`opo-eval score`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a run trains on, as a trainer with chat templates takes it."""

    problems: tuple[Problem, ...]
    conversations: tuple[list[dict[str, str]], ...]
    chat_template: str | None
    """In place of the tokenizer's own, where that would give other prompts than ours."""
    longest: int
    """Tokens of the longest prompt."""
    steps_per_epoch: int
    sentences: tuple[str, ...]
    """What happened to the problems, for a person."""


def source_of(config: TrainConfig) -> Source:
    """Load the problems and put them as our sampler would.

    Raises UsageError for what no other trainer can do: a reward of the user's own, and the choice of
    problems by what the starting policy makes of them.
    """
    if config.reward:
        raise UsageError(
            f"the reward {config.reward} takes our own Problem: export without it, and write one for the "
            "other trainer in place of the exported"
        )
    if config.difficulty_samples:
        raise UsageError(
            "difficulty_samples lets the starting policy answer every problem, which an export does not do: "
            "leave it out, or give a file of the problems that you chose"
        )
    data = load_data(config)
    conversations, template, longest = same_prompts(config, data.problems)
    return Source(
        problems=data.problems,
        conversations=conversations,
        chat_template=template,
        longest=longest,
        steps_per_epoch=steps_per_epoch(len(data.problems), config.problems_per_step),
        sentences=data.sentences,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingExport:
    """Files for another trainer, and in which ways its run is not ours."""

    title: str
    command: str
    """What starts it, in the folder."""
    texts: Mapping[str, str]
    """Contents of files by name."""
    rows: Sequence[Mapping[str, Any]]
    """Of the Parquet file with the problems."""
    differences: tuple[str, ...]
    about_data: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write all files; what is there under the same names is replaced."""
        import pyarrow as pa
        from pyarrow import parquet

        folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist([dict(row) for row in self.rows]), folder / DATA)
        for name, text in {**self.texts, "README.md": self._readme()}.items():
            (folder / name).write_text(text)
            if name.endswith(".sh"):
                (folder / name).chmod(0o755)

    def sentences(self) -> Iterator[str]:
        """What was written and what differs, for a person."""
        yield from self.about_data
        yield f"{self.title}, {counted(len(self.rows), 'problem')}; start it with: {self.command}"
        for difference in self.differences:
            yield f"differs from opo-eval train: {difference}"

    def _readme(self) -> str:
        differences = "\n".join(f"- {difference}" for difference in self.differences)
        return f"# {self.title}\n\n    {self.command}\n\nDiffers from `opo-eval train`:\n\n{differences}\n"


def model_of(config: TrainConfig) -> str:
    """The starting policy's hub name, or its directory from wherever the export is started."""
    path = Path(config.model)
    return str(path.resolve()) if path.is_dir() else config.model


def grading_of(config: TrainConfig) -> str:
    """The run's grading as arguments of a reward of `opo_eval.rewards`."""
    settings = {
        "think": str(config.think),
        "where": config.answer,
        "timeout_s": config.timeout,
        "workers": config.workers,
    }
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def yaml(tree: Mapping[str, Any], depth: int = 0) -> str:
    """Nested settings as YAML; every scalar and list is written as JSON but for what ASCII lacks."""
    lines = []
    for key, value in tree.items():
        indent = "  " * depth
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{yaml(value, depth + 1)}")
        else:
            lines.append(f"{indent}{key}: {_inline(value)}\n")
    return "".join(lines)


def _inline(value: Any) -> str:
    # JSON spells an emoji as two surrogates, which a reader of YAML does not put together.
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda found: f"\\U{ord(found[0]):08x}", text)


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as a tree."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree
