"""Self-BLEU of several responses to one problem: opo_eval against sacrebleu, fast-bleu and nltk."""

from collections.abc import Callable

import numpy as np
from _tables import (
    Timing,
    duration,
    generations,
    machine,
    markdown_table,
    race,
    repeats_from_command_line,
    write_report,
)
from fast_bleu import SelfBLEU
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

from opo_eval.metrics.selfbleu import self_bleu
from opo_eval.metrics.tokenizers import tokenize_13a

REAL_SIZES = [16, 64]
SYNTHETIC_SIZES = [(16, 600), (64, 600), (200, 500)]
UNIFORM = (0.25, 0.25, 0.25, 0.25)


def others(index: int, items: list) -> list:
    """All items but one."""
    return items[:index] + items[index + 1 :]


# --- contestants: each gives BLEU-4 in 0..100 for every text ----------------------------------------


def by_sacrebleu(texts: list[str]) -> list[float]:
    """Sentence BLEU of each text against the others, from cold tokenizer caches."""
    Tokenizer13a.__call__.cache_clear()
    TokenizerRegexp.__call__.cache_clear()
    bleu = BLEU(effective_order=True)
    return [bleu.sentence_score(text, others(i, texts)).score for i, text in enumerate(texts)]


def by_nltk(token_lists: list[list[str]]) -> list[float]:
    """As Texygen does it: nltk's sentence BLEU with method1 against the others."""
    smoothing = SmoothingFunction().method1
    return [
        100 * sentence_bleu(others(i, token_lists), tokens, UNIFORM, smoothing)
        for i, tokens in enumerate(token_lists)
    ]


def by_fast_bleu(token_lists: list[list[str]]) -> np.ndarray:
    """The compiled library; its smoothing is method1."""
    return 100 * np.array(SelfBLEU(token_lists, {4: UNIFORM}).get_score()[4])


def by_opo_eval_on_tokens(token_lists: list[list[str]]) -> np.ndarray:
    """Ours with nltk's smoothing."""
    return self_bleu(token_lists, tokenize=None, smooth="method1")


# --- texts ------------------------------------------------------------------------------------------


def real_responses() -> list[str]:
    """Distinct long responses of DeepSeek-R1-Distill-Qwen-14B to one problem under one condition."""
    rows = generations("r1_14b_math4_rollouts")
    of_problem = [r for r in rows if (r["problem_id"], r["condition"]) == ("problem_2238", "baseline")]
    return list(dict.fromkeys(row["response"] for row in of_problem))


def synthetic_documents(n: int, length: int) -> list[list[str]]:
    """Token lists of which half is drawn from 200 phrases that all of them share."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(rng.choice(letters, size=rng.integers(2, 10))) for _ in range(2000)]
    phrases = [rng.choice(words, size=rng.integers(3, 13)).tolist() for _ in range(200)]

    def document() -> list[str]:
        tokens: list[str] = []
        while len(tokens) < length:
            shared = rng.random() < 0.5
            tokens += phrases[rng.integers(200)] if shared else rng.choice(words, size=7).tolist()
        return tokens[:length]

    return [document() for _ in range(n)]


# --- measuring --------------------------------------------------------------------------------------


def rows_against(
    label: str, ours: str, contestants: dict[str, Callable], argument: list, repeats: int
) -> list[tuple[str, ...]]:
    """One row of the report for every peer."""
    runs = {name: lambda run=run: run(argument) for name, run in contestants.items()}
    timings = race(runs, repeats)
    mine = timings.pop(ours)
    return [_row(label, peer, timing, mine) for peer, timing in timings.items()]


def _row(label: str, peer: str, timing: Timing, mine: Timing) -> tuple[str, ...]:
    difference = np.abs(np.array(timing.result) - mine.result).max()
    ratio = timing.seconds / mine.seconds
    return label, peer, duration(timing.seconds), duration(mine.seconds), f"{ratio:.0f}×", f"{difference:.1e}"


def real_rows(repeats: int) -> list[tuple[str, ...]]:
    """From raw text, tokenizing included, against sacrebleu; and from its 13a tokens against the others."""
    rows = []
    for n in REAL_SIZES:
        texts = real_responses()[:n]
        token_lists = [tokenize_13a(text) for text in texts]
        size = f"{n} responses, {sum(map(len, token_lists)):,} tokens"
        on_text = {"sacrebleu": by_sacrebleu, "opo_eval": self_bleu}
        rows += rows_against(f"text: {size}", "opo_eval", on_text, texts, repeats)
        rows += rows_against(f"tokens: {size}", "opo_eval", ON_TOKENS, token_lists, repeats)
    return rows


def synthetic_rows(repeats: int) -> list[tuple[str, ...]]:
    """On token lists, where no one has to tokenize."""
    rows = []
    for n, length in SYNTHETIC_SIZES:
        documents = synthetic_documents(n, length)
        rows += rows_against(f"tokens: {n} × {length}, synthetic", "opo_eval", ON_TOKENS, documents, repeats)
    return rows


ON_TOKENS = {"fast-bleu": by_fast_bleu, "nltk": by_nltk, "opo_eval": by_opo_eval_on_tokens}


def main() -> None:
    """Measure everything and write the report."""
    repeats = repeats_from_command_line(__doc__ or "", default=3)
    header = ["texts", "peer", "peer's time", "opo_eval", "ratio", "largest difference (of 100)"]
    write_report(
        "self_bleu",
        [
            "# Speed: Self-BLEU-4",
            "Each text is scored against all the others. Rows that begin with *text* start from raw strings: "
            "sacrebleu's `BLEU(effective_order=True).sentence_score` for each text, its tokenizer caches "
            "emptied before every repeat, against `self_bleu(texts)`. Rows that begin with *tokens* start "
            "from token lists and use nltk's method1 smoothing on all sides. The real responses are those of "
            "DeepSeek-R1-Distill-Qwen-14B to one problem; synthetic lists share phrases (seed 0). "
            f"Times are CPU seconds, medians of {repeats} repeats, all in one process and taking turns.",
            markdown_table(header, [*real_rows(repeats), *synthetic_rows(repeats)]),
            machine(["numpy", "sacrebleu", "fast-bleu", "nltk"]),
        ],
    )


if __name__ == "__main__":
    main()
