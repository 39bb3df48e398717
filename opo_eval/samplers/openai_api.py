"""The requests and answers of OpenAI-compatible servers, as vLLM, SGLang and hosted ones understand them."""

from dataclasses import dataclass
from typing import Any

from opo_eval.errors import UsageError
from opo_eval.records import Finish, SamplingSettings
from opo_eval.samplers.http import Trouble

ABORT = "abort"
"""The finish reason of vLLM and SGLang for a request that they dropped themselves."""

_FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH}
_OPEN_SERVERS = ("vllm", "sglang")
# Both would otherwise fill these in from the checkpoint's generation_config.json, without a word.
_NEUTRAL = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


# --- whom it is sent to -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model as all endpoints together serve it."""

    name: str
    window: int | None
    """Tokens that prompt and response may have together, at the endpoint with the smallest limit."""
    is_open: bool
    """Whether vLLM or SGLang answers at every endpoint, which take more fields than OpenAI's."""


def choose_model(model: str | None, listed: dict[str, list[dict[str, Any]]]) -> Served:
    """The model to ask for; by default the only one that is served.

    listed: for every endpoint that answered, the cards of its models; the others are taken to be alike.
    Raises UsageError where a model has to be named, and for a name that a vLLM or SGLang server does not
    have: some answer to any name.
    """
    names = {card["id"] for cards in listed.values() for card in cards}
    if model is None and len(names) != 1:
        shown = f"serve {', '.join(sorted(names)[:10])}" if names else "do not list their models"
        raise UsageError(f"the endpoints {shown}: say by model which one to ask")
    name = model or names.pop()
    own = {url: [card for card in cards if _is_card_of(card, name)] for url, cards in listed.items()}
    for url, cards in listed.items():
        if not own[url] and any(_is_open(card) for card in cards):
            served = ", ".join(card["id"] for card in cards[:10])
            raise UsageError(f"{url} does not serve {name}: it serves {served}")
    windows = [card["max_model_len"] for cards in own.values() for card in cards if _has_window(card)]
    return Served(
        name=name,
        window=min(windows, default=None),
        is_open=all(any(_is_open(card) for card in cards) for cards in listed.values()),
    )


def read_cards(data: Any) -> list[dict[str, Any]]:
    """The model cards in an answer of GET /models; Trouble for anything else."""
    cards = data.get("data") if isinstance(data, dict) else None
    if not isinstance(cards, list):
        raise Trouble("its list of models is none")
    return [card for card in cards if isinstance(card, dict) and isinstance(card.get("id"), str)]


def _is_card_of(card: dict[str, Any], name: str) -> bool:
    return card["id"] in (name, name.partition(":")[0])  # SGLang spells an adapter base:adapter


def _is_open(card: dict[str, Any]) -> bool:
    return card.get("owned_by") in _OPEN_SERVERS


def _has_window(card: dict[str, Any]) -> bool:
    return isinstance(card.get("max_model_len"), int)


def draw_fields(settings: SamplingSettings, served: Served) -> dict[str, Any]:
    """What every request says about how to draw. A hosted server is sent no field that it may not know."""
    fields: dict[str, Any] = {
        "model": served.name,
        "n": 1,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }
    if served.is_open:
        # -1 is all tokens to both; SGLang does not take 0.
        return fields | _NEUTRAL | {"top_k": settings.top_k or -1, "return_token_ids": True}
    return fields | ({"top_k": settings.top_k} if settings.top_k else {})


# --- what comes back --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response as a server gives it."""

    text: str
    token_ids: tuple[int, ...] | None
    """None where the server does not say."""
    n_tokens: int
    finish: Finish
    reason: str | None
    """The server's own word for how it ended."""


def read_answer(data: Any) -> Answer:
    """The one response in an answer of either API; Trouble where there is none."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Trouble("its answer has no choices")
    choice = choices[0]
    token_ids = _token_ids(choice.get("token_ids"))
    reason = choice.get("finish_reason")
    return Answer(
        text=_text(choice),
        token_ids=token_ids,
        n_tokens=_n_tokens(data) if token_ids is None else len(token_ids),
        finish=_FINISHES.get(reason, Finish.ABORTED),
        reason=reason,
    )


def _text(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        if not isinstance(choice.get("text"), str):
            raise Trouble("its answer has no text")
        return choice["text"]
    # A server with a reasoning parser takes the thought out of the response: here it is put back.
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    content = message.get("content") or ""
    if not isinstance(thought, str) or not isinstance(content, str):
        raise Trouble("its answer has no text")
    return f"<think>{thought}{'</think>' if content else ''}{content}" if thought else content


def _token_ids(value: Any) -> tuple[int, ...] | None:
    is_list = isinstance(value, list) and all(isinstance(token, int) for token in value)
    return tuple(value) if is_list else None


def _n_tokens(data: dict[str, Any]) -> int:
    usage = data.get("usage")
    n_tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(n_tokens, int):
        raise Trouble("its answer does not say how many tokens it has (usage.completion_tokens)")
    return n_tokens
