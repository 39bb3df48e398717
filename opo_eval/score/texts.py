"""Samples of a run as token ids: those that were drawn, or the text's where none were kept."""

from collections import Counter
from collections.abc import Collection, Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from opo_eval.records import Problem, Sample
from opo_eval.samplers.prompts import Prompter
from opo_eval.scoring.packing import Text
from opo_eval.store import RunDir
from opo_eval.wording import counted


class LeftOut(StrEnum):
    """Why a sample cannot be scored."""

    EMPTY = "without a token"
    TOO_LONG = "longer, prompt included, than the {window} tokens that a model takes"
    UNKNOWN_TOKEN = "with a token outside the {n_vocab} that are scored"


class TextReader:
    """Reads samples one after another, and counts what it leaves out.

    prompter: puts problems to the policy. n_vocab: tokens that are scored. window: tokens that fit into both
    models, None for any number.
    """

    def __init__(self, run: RunDir, prompter: Prompter, *, n_vocab: int, window: int | None) -> None:
        self._run, self._prompter, self._n_vocab, self._window = run, prompter, n_vocab, window
        self._problems = {problem.id: problem for problem in run.problems()}
        self._prompts: dict[str, NDArray[np.int32]] = {}
        self.left_out: Counter[LeftOut] = Counter()
        self.n_tokenized = 0
        """Samples without token ids, whose text was tokenized."""

    def texts(self, wanted: Collection[tuple[str, int]]) -> Iterator[Text]:
        """Yield those of the wanted (problem_id, index) that can be scored, in the run's order."""
        for sample in self._run.samples() if wanted else ():
            if (sample.problem_id, sample.index) in wanted:
                text = self._text(sample)
                if (reason := self._why_not(text)) is None:
                    yield text
                else:
                    self.left_out[reason] += 1

    def sentences(self) -> Iterator[str]:
        """What a person has to know of the samples that were read."""
        if self.n_tokenized:
            yield (
                f"{counted(self.n_tokenized, 'sample')} came without token ids: the text was tokenized anew, "
                "and no end token was scored"
            )
        for reason, n in self.left_out.items():
            why = reason.format(window=self._window, n_vocab=self._n_vocab)
            yield f"{counted(n, 'sample')} left out: {why}"

    def _text(self, sample: Sample) -> Text:
        return Text(
            problem_id=sample.problem_id,
            index=sample.index,
            prompt=self._prompt(self._problems[sample.problem_id]),
            response=self._response(sample),
        )

    def _prompt(self, problem: Problem) -> NDArray[np.int32]:
        if problem.id not in self._prompts:
            self._prompts[problem.id] = np.array(self._prompter.ids(problem), dtype=np.int32)
        return self._prompts[problem.id]

    def _response(self, sample: Sample) -> NDArray[np.int32]:
        ids = sample.token_ids
        if ids is None:
            self.n_tokenized += 1
            ids = self._prompter.tokenizer(sample.text, add_special_tokens=False, verbose=False)["input_ids"]
        return np.array(ids, dtype=np.int32)

    def _why_not(self, text: Text) -> LeftOut | None:
        if not len(text.response):
            return LeftOut.EMPTY
        if self._window is not None and text.n_read > self._window:
            return LeftOut.TOO_LONG
        if max(text.prompt.max(), text.response.max()) >= self._n_vocab:
            return LeftOut.UNKNOWN_TOKEN
        return None
