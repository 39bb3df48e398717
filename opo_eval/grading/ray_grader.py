"""Grading on Ray: one grader in each actor, on one machine or on many, in front of one queue.

Each grader has worker processes of its own, killed at the time limit and with capped memory as everywhere, on
the actor's machine. A verdict depends on gold and response alone, so it does not matter which grader gives
it, nor how often one dies.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from opo_eval.cluster.crew import KEPT, Crew
from opo_eval.cluster.nodes import Reserved, Resources, join, living_nodes, reserve
from opo_eval.cluster.place import Place, Work
from opo_eval.cluster.portions import Portions
from opo_eval.errors import EngineError
from opo_eval.grading.grader import Grader, Outcome
from opo_eval.grading.pool import pickled
from opo_eval.grading.ray_actor import load_grader

Item = tuple[Hashable, str, str]
"""Key, gold, response."""

_LEAST, _MOST = 4, 32
"""Responses of a portion for each worker of a grader."""
_MOST_OF_A_PORTION = 512
"""At 130,000 characters each they are 70 megabytes on their way."""
_BURST_S = 0.25


class RayGrader(Grader):
    """A Grader whose verdicts come from several.

    graders: how many; default: one for each node. ray_address: `host:port` of a cluster's head, `auto` on one
    of its nodes; default: a Ray on this machine that ends with this process. workers: processes of each
    grader; default: its share of the processors. What else a Grader takes is the same.

    The keys of what is graded at once have to differ. Raises what a Grader does, UsageError for more graders
    than there is room for, EngineError where there is no Ray or no grader is left.
    """

    def __init__(
        self,
        *,
        graders: int | None = None,
        ray_address: str | None = None,
        workers: int | None = None,
        verifier: Callable[[str, str], Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workers=workers, verifier=verifier, **settings)
        join(ray_address)
        reserved = _reserved(living_nodes(), graders)
        self._n_workers = workers or reserved.cpus
        work = Work(
            noun="grader",
            make=load_grader,
            arguments=({**settings, "workers": self._n_workers}, pickled(verifier)),
            method="grade",
            task_key=_first,
            answer_key=_first,
            burst_s=_BURST_S,
        )
        self._crew = Crew(work, reserved, self._refuse_unlike)

    def grade(self, items: Iterable[Item]) -> Iterator[tuple[Hashable, Outcome]]:
        """Yield (key, outcome) as any grader gives them; a grader that dies as `Crew.do` has it."""
        most = min(_MOST * self._n_workers, _MOST_OF_A_PORTION)
        n, least = self._crew.n, _LEAST * self._n_workers
        yield from self._crew.do(Portions(items, n, least, owner=_gold, window=2 * n * most))

    def check_golds(self, golds: Iterable[str]) -> dict[str, bool]:
        """As a Grader does, by one of the graders."""
        return self._crew.ask("check_golds", list(golds))

    def close(self) -> None:
        """End the graders, and their workers with them."""
        self._crew.close()

    def _refuse_unlike(self, place: Place[Item, tuple[Hashable, Outcome]]) -> None:
        # A verifier of one's own has the name that its code has here, where it was pickled.
        if self.verifier is None and place.about.signature != self.signature:
            raise EngineError(
                f"{place.name} grades as {place.about.signature}, and this process as {self.signature}: "
                f"install the same versions there; {KEPT}"
            )


def _reserved(nodes: list[Resources], graders: int | None) -> Reserved:
    with_processors = sum(node.get("CPU", 0) >= 1 for node in nodes)
    return reserve(nodes, with_processors if graders is None else graders, noun="grader")


def _first(row: Any) -> Hashable:
    return row[0]


def _gold(item: Item) -> str:
    """What the samples of a problem share: a gold that is judged once."""
    return item[1]
