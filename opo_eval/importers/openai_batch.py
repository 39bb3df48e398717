"""OpenAI-style batch output: one JSON line a request, beside the file of requests (`--requests`).

Answers to `/v1/chat/completions` and `/v1/completions` can be read; other kinds are refused by the name of
their `object`. Requests and answers are joined by `custom_id`. The problem is the request's last user turn,
or its prompt; `--template TEXT` takes off what stands around it, and requests that ask the same are samples
of one problem, in the order of the requests. Every choice of a request with `n` is a sample.

The file holds no gold: `--problems` gives it. The checkpoint is the answer's `model` unless `--checkpoint`
names it; the benchmark is the problem set's. Token counts are of a request, so they are kept for requests
with one choice only. A think section that a server took out of the text (`reasoning`, `reasoning_content`)
is put back in front of it, between `<think>` and `</think>`. A request that failed has no response: it is
left out, counted and named. There are no scores, so `opo-eval grade` grades it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError, UsageError
from opo_eval.importers.log import (
    Log,
    PlacedRows,
    first_row,
    last_user_turn,
    require_fields,
    table_rows,
    with_reasoning,
)
from opo_eval.importers.plan import ImportPlan
from opo_eval.wording import counted, some_of

NAME = "openai-batch"
_WRITERS = "an OpenAI-style batch"
_ANSWER, _REQUEST = ("custom_id", "response", "error"), ("custom_id", "url", "body")
_OBJECTS = ("chat.completion", "text_completion")


def is_log(path: Path) -> bool:
    """Whether a path is JSON Lines with the fields of an answer."""
    return path.suffix == ".jsonl" and path.is_file() and set(_ANSWER) <= (first_row(path) or {}).keys()


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """The file as a log. Raises UsageError without --requests, InputError for answers to other requests."""
    if plan.requests is None:
        raise UsageError(
            f"{plan.path} holds answers without what was asked: name the file of requests with --requests"
        )
    prompts = _prompts(plan.requests)
    failed = [row["custom_id"] for where, row in _answers(plan.path) if not _succeeded(row)]
    note = f"left out: {counted(len(failed), 'request')} that failed ({some_of(failed)})"
    return [
        Log(
            format=NAME,
            path=plan.path,
            rows=partial(_rows, plan.path, prompts),
            columns={name: name for name in ("response", "problem", "finish", "n_tokens")}
            | ({} if plan.checkpoint else {"checkpoint": "model"}),
            checkpoint=plan.checkpoint,
            notes=(note,) if failed else (),
        )
    ]


def _prompts(path: Path) -> dict[str, Any]:
    """custom_id → what was asked."""
    found: dict[str, Any] = {}
    for where, row in table_rows(path):
        require_fields(row, _REQUEST, where, NAME, _WRITERS)
        if row["custom_id"] in found:
            raise InputError(
                f"{where} repeats the custom_id {row['custom_id']!r}: each has to be of one request"
            )
        body = row["body"]
        found[row["custom_id"]] = (
            last_user_turn(body["messages"]) if "messages" in body else body.get("prompt")
        )
    return found


def _answers(path: Path) -> PlacedRows:
    for where, row in table_rows(path):
        require_fields(row, _ANSWER, where, NAME, _WRITERS)
        yield where, row


def _succeeded(row: Mapping[str, Any]) -> bool:
    response = row["response"]
    return not row["error"] and response is not None and response.get("status_code") == 200


def _rows(path: Path, prompts: Mapping[str, Any]) -> PlacedRows:
    # Answers come in any order; numbering them by that of the requests gives one file one result.
    order = {custom_id: i for i, custom_id in enumerate(prompts)}
    answers = {row["custom_id"]: (where, row) for where, row in _answers(path) if _succeeded(row)}
    unasked = [custom_id for custom_id in answers if custom_id not in order]
    if unasked:
        raise InputError(
            f"{path} answers {counted(len(unasked), 'request')} that the file of --requests lacks "
            f"({some_of(unasked)}): name the file that this batch was made from"
        )
    for custom_id in sorted(answers, key=order.__getitem__):
        where, row = answers[custom_id]
        yield where, _row(row["response"]["body"], prompts[custom_id], where) | {"custom_id": custom_id}


def _row(body: Mapping[str, Any], prompt: Any, where: str) -> dict[str, Any]:
    if body.get("object") not in _OBJECTS:
        raise InputError(
            f"{where} is a {body.get('object')!r}, and only {' and '.join(_OBJECTS)} can be read"
        )
    choices = sorted(body["choices"], key=lambda choice: choice["index"])
    n_tokens = (body.get("usage") or {}).get("completion_tokens")
    return {
        "model": body["model"],
        "problem": _only_text(prompt, where),
        "response": [_response(choice, where) for choice in choices],
        "finish": [choice["finish_reason"] for choice in choices],
        "n_tokens": [n_tokens] if len(choices) == 1 else None,
    }


def _only_text(prompt: Any, where: str) -> str:
    """A prompt as text; the parts of a turn joined where all of them are text."""
    parts = prompt if isinstance(prompt, list) else [prompt]
    found = [part.get("text") if isinstance(part, dict) else part for part in parts]
    texts = [text for text in found if isinstance(text, str)]
    if not texts or len(texts) != len(found):
        raise InputError(
            f"{where} answers a request that is not text ({prompt!r:.60}): leave it out of the file"
        )
    return "".join(texts)


def _response(choice: Mapping[str, Any], where: str) -> str:
    message = choice.get("message") or {"content": choice.get("text")}
    if message.get("tool_calls"):
        raise InputError(f"{where} calls tools instead of answering: leave such requests out of the file")
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    return with_reasoning(reasoning, message.get("content") or "")
