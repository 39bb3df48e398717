"""The command line: one subcommand a stage, no logic of its own.

Everything heavy is imported inside the function that needs it, so that `--help` is there at once.
"""

import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from opo_eval.errors import ElsewhereError, OpoEvalError, UsageError
from opo_eval.rl.config import TrainConfig

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns, CompareOptions
    from opo_eval.measure import MeasureOptions
    from opo_eval.records import Problem
    from opo_eval.report.paper.files import PaperChoice
    from opo_eval.store import RunDir
    from opo_eval.sweep import Sweep

Checkpoints = Annotated[Positional[tuple[str, ...]], arg(metavar="CHECKPOINT ...")]
Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN ...")]
Benchmarks = Annotated[tuple[str, ...], arg(metavar="NAME ...")]
N = Annotated[int, arg(aliases=["-n"])]
OptionalN = Annotated[int | None, arg(aliases=["-n"])]

# --- settings that several verbs share --------------------------------------------------------------


@dataclass(kw_only=True)
class SamplingFlags:
    """How responses are drawn."""

    temperature: float = 1.0
    """0 decodes greedily."""
    top_p: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    max_tokens: int | None = None
    """Of a response; default: 32,768, or 2,048 with --think none."""
    seed: int = 0
    """Base seed: every sample's own seed is a hash of it, the problem and the sample's index."""
    template: str | None = None
    """Name or text of the prompt template; default: what the benchmark is usually asked with."""
    system: str | None = None
    """System message, for models whose chat template has one."""
    response_prefix: str = ""
    """Text that the response begins with, such as `<think>`."""
    no_chat: bool = False
    """Leave out the tokenizer's chat template."""
    engine: str = "auto"
    """auto, hf, vllm, server or ray; auto takes vLLM where it works, else hf, and says why."""
    data_parallel: int | None = None
    """Copies of the engine that share the work, each in a process and on devices of its own."""
    dtype: str | None = None
    """hf, vllm: float32, bfloat16 or float16; default: float32 on a CPU, the checkpoint's own on a GPU."""
    device: str | None = None
    """hf: default a GPU where there is one."""
    batch_size: int | None = None
    """hf: most responses drawn together; default 64."""
    batch_tokens: int | None = None
    """hf: most tokens, prompts and room for responses, that a batch may come to; default 262,144."""
    max_model_len: int | None = None
    """vllm: longest prompt and response together; default: what the model takes."""
    tensor_parallel: int | None = None
    """vllm: GPUs that share each layer; default 1."""
    gpu_memory: float | None = None
    """vllm: share of each GPU's memory, default 0.9; or of the machine's without a GPU, default 0.25."""
    adapter: str | None = None
    """vllm: directory of a LoRA adapter."""
    engine_arg: tuple[str, ...] = ()
    """vllm: NAME=VALUE ..., further arguments of its engine."""
    endpoint: tuple[str, ...] = ()
    """server: addresses of OpenAI-compatible servers, as a rule with /v1 at the end, that share the load."""
    served_model: str | None = None
    """server: name that the checkpoint is served under; default: the only one that the endpoints list."""
    api: str | None = None
    """server: completions (prompts as token ids), chat, or auto, the default: completions where the
    checkpoint's tokenizer is at hand."""
    key_env: str | None = None
    """server: environment variable with the API key; default OPENAI_API_KEY."""
    concurrency: int | None = None
    """server: requests at a time at each endpoint; default 64."""
    request_timeout: float | None = None
    """server: seconds for one response; default 3,600."""
    retries: int | None = None
    """server: further attempts for one request; default 6."""
    replicas: int | None = None
    """ray: samplers that share the work, each on GPUs of its own; default: what the GPUs allow, else 1."""
    replica_engine: str | None = None
    """ray: engine of every replica, hf or vllm; default: vLLM where it works, else hf."""
    ray_address: str | None = None
    """ray: HOST:PORT of a cluster's head, or auto on one of its nodes; default: a Ray on this machine that
    ends with the command."""

    def settings(self) -> dict[str, Any]:
        """As the engines take them; None is an engine's own default."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _RENAMED}
        return {
            **row,
            "base_seed": self.seed,
            "chat": not self.no_chat,
            "engine_args": self.engine_arg or None,
            "endpoints": self.endpoint or None,
            "model": self.served_model,
            "timeout": self.request_timeout,
        }


_RENAMED = ("engine", "seed", "no_chat", "engine_arg", "endpoint", "served_model", "request_timeout")


@dataclass(kw_only=True)
class GradingFlags:
    """How responses are graded."""

    answer: str = "boxed"
    r"""Where the answer stands: boxed, answer-tag, hash or final-answer."""
    strict_only: bool = False
    """Leave out the lenient verdict: math-verify's over the whole response."""
    timeout: float = 5.0
    """Wall-clock limit of each verdict, in seconds."""
    workers: int | None = None
    """Grading processes; default: one a processor."""
    graders: int | None = None
    """Graders in actors of a Ray that share the work, each with --workers processes; default: with a
    --ray-address one a node, else none: grading is done in this process."""
    verifier: str | None = None
    """Your own grader, `module:function` or `file.py:function`, called with (gold, response)."""


@dataclass(kw_only=True)
class MeasuringFlags:
    """How runs are measured."""

    grader: str | None = None
    """Part of the signature of the grader to use; default: the last that graded the most samples."""
    scorer: str | None = None
    """Part of the signature of the scorer to use; default: the last that scored the most samples."""
    tokenize: str = "13a"
    """Tokenizer of the diversity metrics: 13a, intl, char, whitespace, treebank or wordpunct."""
    max_order: int = 4
    """Longest n-grams of Self-BLEU."""
    smooth: str = "exp"
    """Smoothing of Self-BLEU: exp, floor, add-k or none (sacrebleu's), or method1 (nltk's)."""
    references: str = "others"
    """References of Self-BLEU: all others together, or pairwise."""
    rep_order: int = 5
    """Length of the n-grams of Rep-n."""
    after_think: bool = False
    """Measure diversity on what follows the think section only."""
    cluster: str | None = None
    """Tag, such as exam or subject: intervals draw the problems of one exam together."""
    measure_workers: int | None = None
    """Runs that are measured at once; default: one a processor."""

    def options(self, n: int | None) -> "MeasureOptions":
        """As the measuring code takes them."""
        from opo_eval.measure import MeasureOptions

        return MeasureOptions(
            n=n,
            grader=self.grader,
            scorer=self.scorer,
            tokenize=self.tokenize,
            max_order=self.max_order,
            smooth=self.smooth,
            references=self.references,
            rep_order=self.rep_order,
            think_section=not self.after_think,
            cluster=self.cluster,
        )


@dataclass(kw_only=True)
class ComparingFlags:
    """How checkpoints are compared."""

    baseline: str | None = None
    """Checkpoint that the others are compared with; default: the first."""
    family: tuple[str, ...] = ()
    """Metrics whose tests are adjusted together; default: pass@k (k = 1, 2, 4, ..., n), Self-BLEU, Rep-n."""
    arm: tuple[str, ...] = ()
    """NAME=CHECKPOINT,CHECKPOINT,... ...: training runs of one method that differ by seed only; default:
    those whose records say so."""
    last: int = 5
    """Checkpoints of a training run that the mean over its last steps takes; 0: no such mean."""
    fail_if_worse: bool = False
    """Exit with status 3 where a checkpoint is worse than the baseline in a metric of the family."""
    page_mb: int = 60
    """Megabytes that report.html may have: responses that do not fit are left out of it. 0: no such page."""
    style: Literal["plain", "paper"] = "plain"
    """paper: the OPO paper's figures and tables from these runs as well, as PDF and LaTeX, in NAME/paper/."""
    against: Annotated[tuple[str, ...], arg(metavar="paper [METHOD=CHECKPOINT ...]")] = ()
    """The OPO paper's numbers beside these, with what is not comparable; METHOD (Off-Policy, On-Policy, SFT,
    GRPO or OPO) where the records of a checkpoint do not say it."""

    def options(self) -> "CompareOptions":
        """As the comparing code takes them."""
        from opo_eval.compare import CompareOptions

        if self.page_mb < 0:
            raise UsageError(f"--page-mb cannot be {self.page_mb}: give megabytes, or 0 for no page")
        arms = {name: tuple(its.split(",")) for name, its in _pairs("--arm", self.arm).items()}
        return CompareOptions(
            baseline=self.baseline, family=self.family or None, arms=arms or None, last=self.last
        )

    def methods(self, runs: "Sequence[RunDir]") -> dict[str, str] | None:
        """Checkpoint → the paper's method, as --against names them; None without it."""
        if not self.against:
            return None
        from opo_eval.report.paper.against import methods_named, refuse_unknown

        named = methods_named(self.against)
        refuse_unknown(named, list(dict.fromkeys(run.manifest.settings.checkpoint.name for run in runs)))
        return named


Sampling = Annotated[SamplingFlags, arg(name="")]
Grading = Annotated[GradingFlags, arg(name="")]
Measuring = Annotated[MeasuringFlags, arg(name="")]
Comparing = Annotated[ComparingFlags, arg(name="")]
Training = Annotated[TrainConfig, arg(name=""), tyro.conf.EnumChoicesFromValues]

# --- the verbs --------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Sample:
    """Draw responses of checkpoints; the same command continues, a larger -n adds."""

    checkpoints: Checkpoints
    """Checkpoint directories, or training runs, which stand for all their checkpoints in order of steps."""
    benchmark: Benchmarks
    """math500, aime24, aime25, tiny-arith, or a file of your own."""
    n: N = 16
    """Samples a problem."""
    out: Path = Path("runs")
    """Run directories go to OUT/CHECKPOINT/BENCHMARK."""
    problems_from: Path | None = None
    """File or folder that a built-in benchmark is read from."""
    think: str = "tagged"
    """How a think section begins: tagged (in the response), prefilled (in the prompt) or none."""
    sampling: Sampling = field(default_factory=SamplingFlags)
    dry_run: bool = False
    """Say what would be drawn and, after a short trial, how long it would take; draw nothing that is kept."""
    quiet: bool = False

    def __call__(self) -> None:
        """Sample every checkpoint on every benchmark."""
        sweep = _sweep(self, self.benchmark)
        if self.dry_run:
            return _say_plan(sweep)
        for run in _sample(sweep, quiet=self.quiet):
            _say(f"{run.path}: {len(run.sample_keys())} samples")


@dataclass(kw_only=True)
class Import:
    """Read generations made elsewhere into run directories: other tools' logs, or any table of responses."""

    file: Positional[Path]
    """A file, or the folder of a log of several files."""
    format: str | None = None
    """lm-eval (results or samples), inspect (.eval), lighteval (details), trl (completions), verl (dumps),
    openai-batch, or table (JSONL, CSV, Parquet); default: what the file is for sure, else table."""
    map: tuple[str, ...] = ()
    """ROLE=COLUMN ...: response, gold, problem, id, checkpoint, benchmark, index, finish, n_tokens, score,
    method, train_seed, step, tags (several, by commas)."""
    out: Path = Path("runs")
    checkpoint: str | None = None
    """Name, where the log does not give one."""
    benchmark: str | None = None
    """Name, where the log does not give one."""
    problems: str | None = None
    """Problem set or file to join with, by id or by text."""
    problems_from: Path | None = None
    """File or folder that a built-in set is read from."""
    template: str | None = None
    """Name or text of the template that the log's prompts were made with, `{problem}` in it: taken off."""
    requests: Path | None = None
    """openai-batch: the file of requests that the log answers."""
    correct_from: float | None = None
    """Least score that counts as correct; default: the log's scores are 0 or 1."""
    first: int | None = None
    """Responses of each problem to take, from the first; default: all."""
    think: str = "tagged"
    """How a think section begins: tagged (in the response), prefilled (in the prompt) or none."""

    def __call__(self) -> None:
        """Import and say what was left out."""
        from opo_eval.grading.grader import as_think
        from opo_eval.importers import ImportPlan, import_path

        plan = ImportPlan(
            path=self.file,
            out=self.out,
            think=as_think(self.think),
            format=self.format,
            columns=_pairs("--map", self.map),
            checkpoint=self.checkpoint,
            benchmark=self.benchmark,
            problems=self.problems,
            source=None if self.problems_from is None else str(self.problems_from),
            template=self.template,
            requests=self.requests,
            correct_from=self.correct_from,
            first=self.first,
        )
        for sentence in import_path(plan).sentences():
            _say(sentence)


@dataclass(kw_only=True)
class Grade:
    """Grade samples; those that this grader has graded are left alone."""

    runs: Runs
    """Run directories, or folders of them."""
    grading: Grading = field(default_factory=GradingFlags)
    ray_address: str | None = None
    """HOST:PORT of a Ray cluster's head, or auto on one of its nodes; default: with --graders a Ray on this
    machine that ends with the command."""
    quiet: bool = False

    def __call__(self) -> None:
        """Grade every run."""
        _grade(_runs(self.runs), self.grading, self.ray_address, quiet=self.quiet)


@dataclass(kw_only=True)
class Score:
    """Score samples token by token: exact entropy, log-probability and KL; what is scored is left alone."""

    runs: Runs
    """Run directories, or folders of them."""
    checkpoint: str | None = None
    """Policy whose probabilities are asked for; default: each run's own."""
    reference: str | None = None
    """Checkpoint that it is compared with, such as what training began from; default: none, and no KL."""
    adapter: str | None = None
    """Directory of a LoRA adapter of the checkpoint."""
    reference_adapter: str | None = None
    """The same of the reference."""
    dtype: str | None = None
    """Of both models: float32, bfloat16 or float16; default: float32 on a CPU, the checkpoint's own on a GPU.
    Products with the output head are made in float32, sums in float64."""
    device: str | None = None
    """Default: a GPU where there is one."""
    temperature: Annotated[tuple[float, ...], arg(metavar="T ...")] = ()
    """Default: 1 and the one that each run was drawn at."""
    batch_tokens: int = 16_384
    """Most tokens, padding included, that a model reads at once; halved when memory runs out."""
    hidden_gb: float = 4.0
    """Gigabytes of one model's hidden states that are kept for the other, of all processes together; more of
    them, fewer loads."""
    hidden_dir: Path | None = None
    """Folder to keep them in instead of memory."""
    data_parallel: int = 1
    """Processes that share the work, each with a GPU of its own."""
    per_token: bool = False
    """Keep the numbers of every token, too, in RUN/per_token/."""
    template: str | None = None
    """Of runs whose prompt is not known: name or text of the template."""
    system: str | None = None
    """Of runs whose prompt is not known: system message."""
    response_prefix: str | None = None
    """Of runs whose prompt is not known: text that the responses were made to begin with."""
    no_chat: bool = False
    """Of runs whose prompt is not known: leave out the tokenizer's chat template."""
    quiet: bool = False

    def __call__(self) -> None:
        """Score every run."""
        from opo_eval.score import ScoreOptions, score_runs

        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("runs", "quiet")}
        options = ScoreOptions(temperatures=row.pop("temperature"), **row)
        for sentence in score_runs(_runs(self.runs), options, quiet=self.quiet):
            _say(sentence)


@dataclass(kw_only=True)
class Measure:
    """Measure runs: a table on the terminal and metrics.json in each."""

    runs: Runs
    """Run directories, or folders of them."""
    n: OptionalN = None
    """Samples a problem; default: the smallest number that any problem has."""
    measuring: Measuring = field(default_factory=MeasuringFlags)
    json: bool = False
    """Print the tables as JSON."""
    quiet: bool = False

    def __call__(self) -> None:
        """Measure every run."""
        from opo_eval.measure import measure_all, write_metrics
        from opo_eval.report import terminal_table

        runs = _runs(self.runs)
        tables = measure_all(
            runs,
            self.measuring.options(self.n),
            workers=self.measuring.measure_workers,
            quiet=self.quiet,
        )
        for run, table in zip(runs, tables, strict=True):
            write_metrics(run, table)
            _say((run.path / "metrics.json").read_text() if self.json else terminal_table(table))


@dataclass(kw_only=True)
class Compare:
    """Compare runs: reports/NAME/ with tables, figures and differences."""

    runs: Runs
    """Run directories, or folders of them; the first checkpoint is the baseline."""
    name: str
    """Of the report."""
    out: Path = Path("reports")
    n: OptionalN = None
    """Samples a problem; default: what all have."""
    measuring: Measuring = field(default_factory=MeasuringFlags)
    comparing: Comparing = field(default_factory=ComparingFlags)
    quiet: bool = False

    def __call__(self) -> None:
        """Measure at the common n and write the report."""
        _compare(_runs(self.runs), _report_folder(self.out, self.name), self)


@dataclass(kw_only=True)
class Audit:
    """Audit the diversity of any texts (JSONL, CSV, Parquet): no gold, no model, no grades."""

    file: Positional[Path]
    text: str
    """Column with the texts."""
    group: str
    """Column that texts share which answer the same thing: the prompt, the problem, the opening."""
    by: str | None = None
    """Column whose values are compared: model, checkpoint, temperature; the first is the baseline."""
    name: str | None = None
    """Of the report; default: the file's name with -audit."""
    out: Path = Path("reports")
    n: OptionalN = None
    """Texts a group that are compared; default: the size of the smallest group of two or more."""
    tokenize: str = "13a"
    """13a, intl, char, whitespace, treebank or wordpunct."""
    rep_order: int = 5
    """Length of the n-grams of Rep-n."""
    phrase_order: int = 8
    """Tokens of the shortest phrase."""
    near: float = 0.8
    """Jaccard similarity of 5-grams from which on two texts are near-duplicates."""
    quiet: bool = False

    def __call__(self) -> None:
        """Read, measure, search and write the report."""
        from opo_eval.audit import AuditOptions, audit_file
        from opo_eval.report.audit import audit_sentences, write_audit
        from opo_eval.texts import table_stem

        name = self.name or f"{table_stem(self.file)}-audit"
        folder = _report_folder(self.out, name)
        options = AuditOptions(
            n=self.n,
            tokenize=self.tokenize,
            rep_order=self.rep_order,
            phrase_order=self.phrase_order,
            near=self.near,
        )
        audit = audit_file(
            self.file, text=self.text, group=self.group, by=self.by, options=options, quiet=self.quiet
        )
        write_audit(audit, folder, name=name)
        for sentence in audit_sentences(audit):
            _say(sentence)
        _say(f"report: {folder / 'report.md'}")


@dataclass(kw_only=True)
class Eval:
    """Sample, grade, measure and compare in one."""

    checkpoints: Checkpoints
    """Checkpoint directories, or training runs, which stand for all their checkpoints in order of steps; the
    first is the baseline."""
    benchmark: Benchmarks
    """math500, aime24, aime25, tiny-arith, or a file of your own."""
    reference: str | None = None
    """Checkpoint that is sampled too and is the baseline instead, such as what training began from."""
    n: N = 16
    """Samples a problem."""
    out: Path = Path("runs")
    """Run directories go to OUT/CHECKPOINT/BENCHMARK."""
    reports: Path = Path("reports")
    name: str = "eval"
    """Of the report, in REPORTS/NAME."""
    problems_from: Path | None = None
    """File or folder that a built-in benchmark is read from."""
    think: str = "tagged"
    """How a think section begins: tagged (in the response), prefilled (in the prompt) or none."""
    sampling: Sampling = field(default_factory=SamplingFlags)
    grading: Grading = field(default_factory=GradingFlags)
    measuring: Measuring = field(default_factory=MeasuringFlags)
    comparing: Comparing = field(default_factory=ComparingFlags)
    dry_run: bool = False
    """Say what would be drawn and, after a short trial, how long it would take; draw nothing that is kept."""
    quiet: bool = False

    def __call__(self) -> None:
        """Run the chain; each stage continues where an interrupted call left it."""
        folder = _report_folder(self.reports, self.name)
        if self.reference is not None and self.comparing.baseline is not None:
            raise UsageError("--reference is the baseline already: leave --baseline out, or --reference")
        sweep = _sweep(self, self.benchmark)
        if self.dry_run:
            return _say_plan(sweep)
        runs = _sample(sweep, quiet=self.quiet)
        _grade(runs, self.grading, self.sampling.ray_address, quiet=self.quiet)
        _compare(runs, folder, self)


@dataclass(kw_only=True)
class Train:
    """Train a checkpoint with OPO or a rival; the same command continues an interrupted run."""

    config: Annotated[Positional[Path | None], arg(metavar="CONFIG.toml")] = None
    """TOML file of the settings below, with underscores; flags override it."""
    training: Training = field(default_factory=TrainConfig)
    export: Annotated[tuple[Literal["verl", "trl"], Path] | None, arg(metavar="{verl,trl} DIR")] = None
    """Train nothing: write to DIR what the other trainer needs for the same run, and say what differs."""
    quiet: bool = False

    def __call__(self) -> None:
        """Train to the last step, or write what another trainer needs for that."""
        for sentence in self._exported() if self.export else self._trained():
            _say(sentence)

    def _trained(self) -> Iterable[str]:
        from opo_eval.rl.trainer import train

        return train(self.training, quiet=self.quiet).sentences()

    def _exported(self) -> Iterable[str]:
        from opo_eval.exporters import export_training

        assert self.export is not None
        trainer, folder = self.export
        return export_training(trainer, self.training, folder).sentences()


@dataclass(kw_only=True)
class Variance:
    """Measure the gradient's variance under every baseline, and its norm against length."""

    checkpoints: Checkpoints
    """Checkpoint directories, each with a report of its own."""
    benchmark: Annotated[str, arg(metavar="NAME")]
    """tiny-arith, math500, aime24, aime25, or a file of your own."""
    n: N = 16
    """Samples a problem; twice the group size or more."""
    group_size: int | None = None
    """Responses in a group; default: 8, or a quarter of n where that is less."""
    gradients: str = "auto"
    """exact, projection (of every gradient to fewer coordinates), last-layer (far from the others on the tiny
    model), or auto: exact where memory allows it, else projection."""
    dimensions: int = 65_536
    """Of a projection."""
    gradient_dtype: str = "float32"
    """Of the model that gradients are taken of: float32, bfloat16."""
    out: Path = Path("runs")
    """Run directories go to OUT/CHECKPOINT/BENCHMARK, with the gradients' inner products."""
    reports: Path = Path("reports")
    """Reports go to REPORTS/CHECKPOINT-variance."""
    problems_from: Path | None = None
    """File or folder that a built-in benchmark is read from."""
    think: str = "tagged"
    """How a think section begins: tagged (in the response), prefilled (in the prompt) or none."""
    sampling: Sampling = field(default_factory=SamplingFlags)
    grading: Grading = field(default_factory=GradingFlags)
    quiet: bool = False

    def __call__(self) -> None:
        """Sample, grade, take gradients, report."""
        from opo_eval.report.variance import variance_sentences, write_variance
        from opo_eval.rl.variance import GradientOptions
        from opo_eval.variance import VarianceOptions, measure_variance

        for run in _sample(_sweep(self, (self.benchmark,)), quiet=self.quiet):
            _grade([run], self.grading, self.sampling.ray_address, quiet=self.quiet)
            study = measure_variance(
                run,
                self.n,
                gradients=GradientOptions(
                    gradients=self.gradients,
                    dimensions=self.dimensions,
                    dtype=self.gradient_dtype,
                    device=self.sampling.device,
                ),
                options=VarianceOptions(group_size=self.group_size),
                quiet=self.quiet,
            )
            name = f"{run.path.parent.name}-variance"
            folder = _report_folder(self.reports, name)
            write_variance(study, folder, name=name)
            for sentence in variance_sentences(study):
                _say(sentence)
            _say(f"report: {folder / 'report.md'}")


@dataclass(kw_only=True)
class Probe:
    """Probe for contamination: does a checkpoint go on with problems that it is given the beginning of?"""

    checkpoints: Checkpoints
    benchmark: Benchmarks
    """Built-in sets or files of your own."""
    later: str | None = None
    """One of the benchmarks, newer than the checkpoints: the others are compared with it."""
    share: tuple[float, ...] = (0.4, 0.6, 0.8)
    """Of the words of a problem that are given."""
    name: str = "probe"
    """Of the report."""
    out: Path = Path("runs/probe")
    """Continuations go to OUT/CHECKPOINT/BENCHMARK_firstSHARE."""
    reports: Path = Path("reports")
    problems_from: Path | None = None
    """File or folder that a built-in benchmark is read from."""
    engine: str = "auto"
    """auto, hf or vllm."""
    max_tokens: int = 512
    """Of a continuation."""
    device: str | None = None
    """hf: default a GPU where there is one."""
    quiet: bool = False

    def __call__(self) -> None:
        """Draw what is missing, greedily, compare with the rest of each problem and write the report."""
        from opo_eval.lineage import checkpoints_of
        from opo_eval.probe import Probe as Found
        from opo_eval.probe import ProbeOptions, run_probe
        from opo_eval.report.probe import probe_sentences, write_probe

        folder = _report_folder(self.reports, self.name)
        options = ProbeOptions(
            checkpoints=checkpoints_of(_some(self.checkpoints, "checkpoint"), None),
            problem_sets=[_load(name, self.problems_from) for name in _some(self.benchmark, "--benchmark")],
            shares=_some(self.share, "--share"),
            later=self.later,
            out=self.out,
            engine=self.engine,
            settings={"max_tokens": self.max_tokens, "device": self.device},
        )
        for each in run_probe(options, quiet=self.quiet):
            if isinstance(each, Found):
                write_probe(each, folder, name=self.name)
                for sentence in probe_sentences(each):
                    _say(sentence)
            else:
                _say(each)
        _say(f"report: {folder / 'report.md'}")


@dataclass(kw_only=True)
class Export:
    """Hand a report, or the curves of a training run, to other tools."""

    source: Positional[Path | None] = None
    """Folder of a report, or of a training run."""
    to: tuple[str, ...] = ()
    """parquet (every table), tensorboard, wandb or trackio (curves over steps), model-card (a README.md with
    results); several at once."""
    out: Path | None = None
    """Default: export/ in the source."""
    checkpoint: str | None = None
    """model-card: whose results; default: the only one that is no baseline."""
    schema: Literal["report", "run"] | None = None
    """Print the JSON Schema of a report's metrics.json, or of a measured run's, and do nothing else."""

    def __call__(self) -> None:
        """Write what was asked for."""
        if self.schema:
            return self._print_schema(self.schema)
        if self.source is None or not self.to:
            raise UsageError(
                "export takes a folder and what to make of it: opo-eval export reports/NAME --to parquet"
            )
        from opo_eval.exporters.report import Export as Exported

        out = self.out or self.source / "export"
        for sentence in Exported(
            source=self.source, targets=self.to, out=out, checkpoint=self.checkpoint
        ).sentences():
            _say(sentence)

    def _print_schema(self, document: str) -> None:
        from opo_eval.report.schema import schema_json

        if self.source is not None or self.to:
            raise UsageError("--schema is the same for every folder: give it alone")
        _say(schema_json(document).decode().rstrip("\n"))


@dataclass(kw_only=True)
class Demo:
    """Train the shipped tiny model with loose GRPO, GRPO and OPO, and compare: reports/demo/."""

    out: Path = Path("runs/demo")
    """Training runs and evaluations; what is finished there is not done again."""
    reports: Path = Path("reports")
    workers: int | None = None
    """Runs at once; default: one a processor, or one on a GPU."""
    quiet: bool = False

    def __call__(self) -> None:
        """The paper's study on the embedded default."""
        from opo_eval.study import demo_study, run_study

        study = demo_study(self.out, self.reports / "demo")
        folder = run_study(study, workers=self.workers, quiet=self.quiet)
        _say(f"report: {folder / 'README.md'}; every metric of the last checkpoints: {folder / 'report.md'}")
        _say(f"the answers side by side, in a browser: {folder / 'report.html'}")


@dataclass(kw_only=True)
class Show:
    """Show a run's problems, or one problem with its samples."""

    run: Positional[Path]
    problem: Positional[str | None] = None
    """Id, the benchmark's own id, or a part of it; without it the problems are listed."""
    grader: str | None = None
    """Part of the signature of the grader to use; default: the last that graded the most samples."""

    def __call__(self) -> None:
        """Print to the terminal."""
        from opo_eval.show import show_problem, show_problems

        run = _one_run(self.run)
        if self.problem is None:
            _say(show_problems(run, self.grader))
        else:
            _say(show_problem(run, self.problem, self.grader))


@dataclass(kw_only=True)
class ListProblems:
    """List the built-in problem sets."""

    def __call__(self) -> None:
        """One line a set."""
        from opo_eval.problems import benchmark_names

        for name in benchmark_names():
            _say(name)


@dataclass(kw_only=True)
class FetchProblems:
    """Fetch a problem set and check it against its published form."""

    name: Positional[str]
    problems_from: Path | None = None
    """File or folder to read it from instead."""

    def __call__(self) -> None:
        """Load and say what came."""
        from opo_eval.problems import dataset_sha256

        problems = _load(self.name, self.problems_from)
        _say(f"{self.name}: {len(problems)} problems, sha256 {dataset_sha256(problems)}")


@dataclass(kw_only=True)
class ValidateProblems:
    """Check that the grader, fast paths off, accepts every gold as its own answer."""

    name: Positional[str]
    """A built-in set, or a file of your own."""
    problems_from: Path | None = None
    """File or folder that a built-in set is read from."""
    timeout: float = 5.0
    """Wall-clock limit of each verdict, in seconds."""

    def __call__(self) -> None:
        """Fail where a gold is not accepted, naming it."""
        from opo_eval.grading import Grader
        from opo_eval.wording import counted

        problems = _load(self.name, self.problems_from)
        with Grader(fast_paths=False, timeout_s=self.timeout) as grader:
            accepted = grader.check_golds(problem.answer for problem in problems)
        refused = [problem for problem in problems if not accepted[problem.answer]]
        for problem in refused:
            _say(f"{problem.source_id}: the gold {problem.answer!r:.80} is not accepted as its own answer")
        _say(f"{self.name}: {len(problems) - len(refused)} of {len(problems)} golds accepted, fast paths off")
        if refused:
            raise OpoEvalError(
                f"{counted(len(refused), 'gold')} of {self.name} cannot be graded against: rewrite as TeX or "
                "plain numbers"
            )


# --- what verbs have in common ----------------------------------------------------------------------

_FORMS = {
    "--map": ("ROLE=COLUMN", "response=completion"),
    "--arm": ("NAME=CHECKPOINT,CHECKPOINT", "opo=opo_seed1,opo_seed2"),
}


def _sweep(verb: Sample | Eval | Variance, benchmarks: Sequence[str]) -> "Sweep":
    from opo_eval.grading.grader import as_think
    from opo_eval.lineage import checkpoints_of
    from opo_eval.sweep import Sweep

    think = as_think(verb.think)
    problem_sets = [_load(name, verb.problems_from) for name in _some(benchmarks, "--benchmark")]
    reference = verb.reference if isinstance(verb, Eval) else None
    return Sweep(
        checkpoints=checkpoints_of(_some(verb.checkpoints, "checkpoint"), reference),
        problem_sets=problem_sets,
        n=verb.n,
        out=verb.out,
        think=think,
        engine=verb.sampling.engine,
        settings=verb.sampling.settings(),
    )


def _sample(sweep: "Sweep", *, quiet: bool) -> "list[RunDir]":
    from opo_eval.sweep import run_sweep

    runs: list[RunDir] = []
    for each in run_sweep(sweep, quiet=quiet):
        if isinstance(each, str):
            _say(each)
        else:
            runs.append(each)
    return runs


def _say_plan(sweep: "Sweep") -> None:
    from opo_eval.sweep import plan_sentences

    for sentence in plan_sentences(sweep):
        _say(sentence)


def _grade(runs: "Sequence[RunDir]", flags: GradingFlags, ray_address: str | None, *, quiet: bool) -> None:
    from opo_eval.grading.run import grade_run, load_verifier, make_grader

    verifier = load_verifier(flags.verifier) if flags.verifier else None
    for think, alike in groupby(runs, key=lambda run: run.manifest.settings.think):
        with make_grader(
            graders=flags.graders,
            ray_address=ray_address,
            think=think,
            where=flags.answer,
            lenient=not flags.strict_only,
            workers=flags.workers,
            timeout_s=flags.timeout,
            verifier=verifier,
        ) as grader:
            for run in alike:
                for sentence in grade_run(run, grader, quiet=quiet).sentences():
                    _say(sentence)


def _compare(runs: "Sequence[RunDir]", path: Path, verb: Compare | Eval) -> None:
    from opo_eval.compare import compare_runs, refuse_worse
    from opo_eval.report import verdict_sentence, write_report

    methods = verb.comparing.methods(runs)
    compared = compare_runs(
        runs,
        verb.measuring.options(verb.n),
        verb.comparing.options(),
        workers=verb.measuring.measure_workers,
        quiet=verb.quiet,
    )
    paper = _paper_choice(compared, verb.comparing, methods)
    page_bytes = verb.comparing.page_mb * 10**6
    write_report(compared, path, name=verb.name, paper=paper, page_bytes=page_bytes, quiet=verb.quiet)
    for note in compared.notes:
        _say(note)
    _say(verdict_sentence(compared))
    _say(f"report: {path / 'report.md'}")
    if page_bytes:
        _say(f"with the answers, in a browser: {path / 'report.html'}")
    if verb.comparing.fail_if_worse:
        refuse_worse(compared)


def _paper_choice(
    compared: "ComparedRuns", comparing: ComparingFlags, methods: dict[str, str] | None
) -> "PaperChoice":
    from opo_eval.report.paper.files import PaperChoice
    from opo_eval.training_runs import paper_data

    data = paper_data(compared) if comparing.style == "paper" else None
    return PaperChoice(data=data, against=methods)


def _runs(paths: Sequence[Path]) -> "list[RunDir]":
    from opo_eval.store import find_runs

    return [run for path in _some(paths, "run directory") for run in find_runs(path)]


def _one_run(path: Path) -> "RunDir":
    runs = _runs((path,))
    if len(runs) > 1:
        raise UsageError(
            f"{path} holds {len(runs)} runs: give one of them, such as {runs[0].path} or {runs[-1].path}"
        )
    return runs[0]


def _report_folder(out: Path, name: str) -> Path:
    if not name or Path(name).name != name:
        raise UsageError(f"--name {name!r} cannot name a report: give a plain name, without slashes")
    return out / name


def _load(name: str, source: Path | None) -> "tuple[Problem, ...]":
    from opo_eval.problems import benchmark_names, load_problems

    return load_problems(name, source=source if name in benchmark_names() else None)


def _some(values: Sequence[Any], what: str) -> Sequence[Any]:
    if not values:
        raise UsageError(f"give at least one {what}")
    return values


def _pairs(flag: str, words: Sequence[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            form, example = _FORMS[flag]
            raise UsageError(f"{flag} takes {form}, not {word!r}: for instance {example}")
    return dict(word.split("=", 1) for word in words)


def _say(text: str) -> None:
    print(text, flush=True)


# --- the program ------------------------------------------------------------------------------------

VERBS = {
    "sample": Sample,
    "import": Import,
    "grade": Grade,
    "score": Score,
    "measure": Measure,
    "compare": Compare,
    "audit": Audit,
    "eval": Eval,
    "train": Train,
    "variance": Variance,
    "probe": Probe,
    "export": Export,
    "show": Show,
    "demo": Demo,
}
PROBLEM_VERBS = {"list": ListProblems, "fetch": FetchProblems, "validate": ValidateProblems}
_CONFIG = (tyro.conf.FlagCreatePairsOff,)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with 0, 1 (the work failed) or 2 (wrong usage)."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; an expected failure is one sentence on standard error."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _parse(list(arguments))()
    except OpoEvalError as error:
        if not isinstance(error, ElsewhereError):  # that process says it
            print(f"opo-eval: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("opo-eval: interrupted; give the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left (`opo-eval show RUN | head`)
        sys.stdout = None  # type: ignore[assignment]
        return 0
    return 0


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"opo-eval: warning: {message}", file=sys.stderr)


def _refuse_repeated(arguments: Sequence[str]) -> None:
    """An option given twice: the parser would take the last and say nothing of the first."""
    options = [word.split("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
    for option in options:
        if options.count(option) > 1:
            raise UsageError(
                f"{option} is given {options.count(option)} times: give all its values after one"
            )


def _config_of(arguments: Sequence[str]) -> Path | None:
    """The TOML file of `train`, wherever it stands: its settings are the defaults of the flags."""
    return next((Path(word) for word in arguments if word.endswith(".toml")), None)


def _parse(arguments: list[str]) -> Any:
    _refuse_repeated(arguments)
    if arguments[:1] == ["train"] and (config := _config_of(arguments)):
        default = Train(config=config, training=TrainConfig.from_toml(config))
        return tyro.cli(Train, prog="opo-eval train", args=arguments[1:], default=default, config=_CONFIG)
    if arguments[:1] == ["problems"]:
        verbs, prog, rest = PROBLEM_VERBS, "opo-eval problems", arguments[1:]
    else:
        verbs, prog, rest = {**VERBS, "problems": ListProblems}, "opo-eval", arguments
    return tyro.extras.subcommand_cli_from_dict(verbs, prog=prog, args=rest, config=_CONFIG)
