"""`python -m opo_eval` is `opo-eval`."""

from opo_eval.cli import main

main()
