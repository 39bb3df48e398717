"""Where a response stops thinking and starts to answer."""

from opo_eval.records import Think


def after_think(response: str, think: Think) -> str | None:
    """The text after the last think section; None where a think section is left open."""
    if think is Think.NONE:
        return response
    opened, closed = response.rfind("<think>"), response.rfind("</think>")
    if opened > closed or (closed < 0 and think is Think.PREFILLED):
        return None
    return response if closed < 0 else response[closed + len("</think>") :]
