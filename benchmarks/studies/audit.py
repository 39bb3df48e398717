"""Audits of three kinds of text, mathematics and not: reports/audit/.

    python benchmarks/studies/audit.py [--data ../shared/data]

Long reasoning under activation steering, responses of two RL checkpoints, and stories that a small
language model tells at two temperatures, which are sampled here. Of others' texts only numbers, figures
and short phrases are kept; the audit of the stories is kept whole.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import tyro

from opo_eval.audit import Audit, AuditOptions, audit_file
from opo_eval.problems import make_problem
from opo_eval.records import Problem
from opo_eval.report.audit import audit_files, audit_view, write_audit
from opo_eval.report.audit_page import verdicts
from opo_eval.report.audit_tables import accounting_grid, near_grid, phrases_grid
from opo_eval.report.grid import Grid
from opo_eval.report.markdown import bullets, table
from opo_eval.report.tables import metric_grids
from opo_eval.samplers import make_sampler, plan_requests

RUNS, REPORT = Path("runs/audit"), Path("reports/audit")
STORIES = RUNS / "stories.jsonl"
TEMPERATURES = (0.7, 1.2)
N_STORIES, MAX_TOKENS = 16, 200
HEROES = (
    "a little girl named Lily",
    "a boy named Tim",
    "a small dog",
    "a happy bird",
    "a big bear",
    "an old man",
)
BEGINNINGS = (
    "Once upon a time, there was {}.",
    "One day, {} went to the park.",
    "One night, {} could not sleep.",
    "In a small house lived {}.",
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of text to audit."""

    title: str
    source: str
    path: Path
    columns: dict[str, str]
    n: int | None = None


@dataclass
class Study:
    """Where the texts are read from."""

    data: Path = Path(os.environ.get("OPO_EVAL_DATA", "../shared/data"))
    """Folder that holds r1_14b_math4_rollouts/, rg_llama3b_rl_ckpts/ and tiny_lm_stories260k/."""

    def __call__(self) -> None:
        """Sample the stories, audit all three, write the report."""
        shutil.rmtree(REPORT, ignore_errors=True)
        write_stories(self.data / "tiny_lm_stories260k")
        blocks = [_INTRODUCTION]
        for name, kind in self.kinds().items():
            audit = audit_file(kind.path, **kind.columns, options=AuditOptions(n=kind.n))
            if kind.path == STORIES:
                write_audit(audit, REPORT / name, name="Stories at two temperatures")
            else:
                _keep_figures(audit, REPORT / name)
            blocks += _section(name, kind, audit)
        (REPORT / "README.md").write_text("\n\n".join([*blocks, _REBUILD]) + "\n")

    def kinds(self) -> dict[str, Kind]:
        """Folder of its figures → what to audit."""
        columns = {"text": "response", "group": "problem_id"}
        return {
            "reasoning": Kind(
                title="Long reasoning: DeepSeek-R1-Distill-Qwen-14B, steered",
                source="cybercharlietang/reasoning-model-CoT-project, MIT; 4 hard MATH problems",
                path=self.data / "r1_14b_math4_rollouts" / "generations.jsonl.gz",
                columns=columns | {"by": "condition"},
                n=20,
            ),
            "rl_checkpoints": Kind(
                title="Two RL checkpoints of a 3B model",
                source="open-thought/reasoning-gym-eval, Apache-2.0; AIME 2024 and AMC 2023",
                path=self.data / "rg_llama3b_rl_ckpts" / "generations.jsonl.gz",
                columns=columns | {"by": "checkpoint"},
            ),
            "stories": Kind(
                title="Not mathematics: stories at temperature 0.7 and 1.2",
                source=f"stories260K (MIT), {len(_openings())} openings of our own, sampled here with seeds",
                path=STORIES,
                columns={"text": "story", "group": "opening", "by": "temperature"},
            ),
        }


# --- stories ----------------------------------------------------------------------------------------


def write_stories(checkpoint: Path) -> None:
    """Sample 16 stories for each opening and temperature; each has its own seed."""
    STORIES.parent.mkdir(parents=True, exist_ok=True)
    rows = [row for temperature in TEMPERATURES for row in _stories(checkpoint, temperature)]
    STORIES.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _stories(checkpoint: Path, temperature: float) -> Iterator[dict[str, object]]:
    settings = {"template": "{problem}", "chat": False, "max_tokens": MAX_TOKENS}
    sampler = make_sampler("hf", str(checkpoint), temperature=temperature, **settings)
    requests = plan_requests(_openings(), N_STORIES, sampler.settings.base_seed)
    drawn = {(g.request.problem.prompt, g.request.index): g.text for g in sampler.generate(requests)}
    for opening, index in sorted(drawn):
        yield {"temperature": temperature, "opening": opening, "index": index, "story": drawn[opening, index]}


def _openings() -> list[Problem]:
    prompts = [beginning.format(hero) for beginning in BEGINNINGS for hero in HEROES]
    return [
        make_problem(benchmark="stories", source_id=f"s{i}", prompt=prompt, answer="none", tags={})
        for i, prompt in enumerate(prompts)
    ]


# --- the report -------------------------------------------------------------------------------------

_INTRODUCTION = """# Audits of three kinds of text

What `opo-eval audit` says of texts without gold answers, a model or grades. Texts of one group answer the
same thing; n of each group are compared; brackets hold 95 % intervals over groups."""
_REBUILD = "Rebuild: `OMP_NUM_THREADS=1 python benchmarks/studies/audit.py`."
_PHRASES = 5


def _keep_figures(audit: Audit, folder: Path) -> None:
    for path, data in audit_files(audit, name=folder.name).items():
        if path.endswith(".png"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


def _section(name: str, kind: Kind, audit: Audit) -> Iterator[str]:
    view = audit_view(audit)
    yield f"## {kind.title}"
    whole = f" The whole audit: [report.md]({name}/report.md)." if kind.path == STORIES else ""
    yield f"{kind.source}.{whole}"
    yield table(accounting_grid(audit, view))
    yield bullets([*audit.notes, *verdicts(view)])
    yield from map(table, metric_grids(view))
    yield f"![metrics]({name}/figures/metrics.png)"
    yield f"![Self-BLEU over the groups]({name}/figures/self_bleu_by_group.png)"
    yield "### Near-duplicates"
    yield table(near_grid(audit, view))
    yield f"### The {_PHRASES} phrases that most groups hold"
    for value in audit.values[:2]:
        grid = phrases_grid(value)
        yield f"{view.checkpoints[value.value]}:"
        yield table(Grid(grid.columns, grid.rows[:_PHRASES]))


if __name__ == "__main__":
    tyro.cli(Study)()
