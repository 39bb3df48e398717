"""inspect_ai: one `.eval` file, which is a zip of JSON, of the log format 2; other formats are refused.

The problem is a sample's `input` (of a conversation its last user turn), the gold its `target` (where any
of several would be right, `--problems` has to give it), the number of a sample its epoch, less one. The
checkpoint is the model's name, `provider/model`, and the benchmark the task's, unless `--checkpoint` and
`--benchmark` name them. How a response ended and its tokens are inspect's `stop_reason` and
`usage.output_tokens`, but for the provider `hf`, which counts a batch's padding. The response is the last
output of the solver.

inspect takes a think section out of the text and keeps it apart as reasoning: it is put back, between
`<think>` and `</think>`, in front of the answer. Reasoning that a provider gave only encrypted, with a
summary at best, is not the model's text, so such a response keeps its answer alone, with a note of how many
there are.

Each scorer is a grader of its own name. C and I are right and wrong, and P and N, which stand for 0.5 and 0
in inspect's metrics, leave a scorer that uses P out unless `--correct-from` says what counts. pass@1 is the
printed `accuracy` with the epoch reducer `mean`, and pass@k that of `pass_at_k`. A sample without a score,
such as one that failed, counts as one that could not be graded, where inspect's metrics leave it out.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.importers.log import (
    UNSCORED,
    Log,
    PlacedRows,
    checkpoint_of,
    decode_json,
    last_user_turn,
    only_one,
    with_reasoning,
)
from opo_eval.importers.plan import ImportPlan
from opo_eval.wording import counted

NAME = "inspect"
VERSION = 2
_ZSTANDARD = 93
"""The method's number in a zip, which Python's zipfile knows from 3.14 on."""
_LOCAL_HEADER = 30
_PADDED = "hf/"
"""Provider whose token counts are those of the longest response of a batch."""
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}


def is_log(path: Path) -> bool:
    """Whether a path is a zip named `.eval`."""
    return path.suffix == ".eval" and path.is_file() and zipfile.is_zipfile(path)


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """The file as a log. Raises InputError for one that is damaged, unfinished or of another version."""
    header = _header(plan.path)
    evaluation, scorers = header["eval"], _scorers(plan.path)
    return [
        Log(
            format=NAME,
            path=plan.path,
            rows=partial(_rows, plan.path, scorers, str(evaluation.get("model")).startswith(_PADDED)),
            columns={
                name: name for name in ("response", "gold", "problem", "id", "index", "finish", "n_tokens")
            },
            scores=scorers,
            checkpoint=checkpoint_of(plan, NAME, evaluation.get("model")),
            benchmark=evaluation.get("task"),
            notes=_notes(plan.path, header),
        )
    ]


def _header(path: Path) -> Mapping[str, Any]:
    with _opened(path) as archive:
        if "header.json" not in archive.namelist():
            raise InputError(
                f"{path} has no header.json, so its evaluation has not ended: let inspect finish it"
            )
        header = decode_json(_member(archive, "header.json"), f"{path}, header.json")
    version = header.get("version")
    if version != VERSION:
        raise InputError(
            f"{path} is of version {version!r} of inspect's log format, and version {VERSION} can be read: "
            "`inspect log convert` of an inspect_ai that knows it writes a newer one"
        )
    return header


def _notes(path: Path, header: Mapping[str, Any]) -> tuple[str, ...]:
    said = []
    if header.get("status") != "success":
        said.append(f"the evaluation ended with the status {header.get('status')!r}: samples may be missing")
    hidden = sum(_has_hidden_reasoning(sample) for _, sample in _samples(path))
    if hidden:
        said.append(f"the reasoning of {counted(hidden, 'response')} is encrypted, and left out")
    return tuple(said)


# --- samples ----------------------------------------------------------------------------------------


def _samples(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with _opened(path) as archive:
        names = dict.fromkeys(name for name in archive.namelist() if name.startswith("samples/"))
        for name in names:
            where = f"{path}, {name}"
            yield where, decode_json(_member(archive, name), where)


def _rows(path: Path, scorers: Sequence[str], padded: bool) -> PlacedRows:
    for where, sample in _samples(path):
        output = sample.get("output") or {}
        choice = (output.get("choices") or [{}])[0]
        target = sample["target"]
        stop = "error" if sample.get("error") else choice.get("stop_reason")
        yield (
            where,
            {
                "id": sample["id"],
                "index": sample["epoch"] - 1,
                "problem": _text(last_user_turn(sample["input"])),
                "gold": only_one(target) if isinstance(target, list) else target,
                "response": _text((choice.get("message") or {}).get("content") or ""),
                "finish": None if stop == "unknown" else stop,
                "n_tokens": None if padded else (output.get("usage") or {}).get("output_tokens"),
                **{name: _score(sample, name) for name in scorers},
            },
        )


def _text(content: Any) -> str:
    """The text of a message, with the reasoning where it stood before inspect took it out."""
    if isinstance(content, str):
        return content
    return "".join(map(_part, content))


def _part(part: Mapping[str, Any]) -> str:
    if part.get("type") == "reasoning":
        return with_reasoning(None if _is_hidden(part) else part["reasoning"], "")
    return part.get("text", "")


def _is_hidden(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "reasoning" and bool(part.get("redacted"))


def _has_hidden_reasoning(sample: Mapping[str, Any]) -> bool:
    choices = (sample.get("output") or {}).get("choices") or []
    contents = [choice["message"]["content"] for choice in choices[:1]]
    return any(_is_hidden(part) for content in contents if isinstance(content, list) for part in content)


# --- scores -----------------------------------------------------------------------------------------


def _scorers(path: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, sample in _samples(path) for name in sample.get("scores") or {}))


def _score(sample: Mapping[str, Any], scorer: str) -> Any:
    score = (sample.get("scores") or {}).get(scorer)
    value = None if score is None else score.get("value")
    if value is None:
        return UNSCORED
    if isinstance(value, dict | list):
        return str(value)  # no verdict
    return _LETTERS.get(value, value)


# --- the zip ----------------------------------------------------------------------------------------


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not an .eval file that can be read ({error}): copy it anew") from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a file in the zip, also where it is packed with Zstandard."""
    entry = archive.getinfo(name)
    try:
        data = _unpacked(archive, entry) if entry.compress_type == _ZSTANDARD else archive.read(entry)
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InputError(f"{archive.filename}, {name} is damaged ({error}): copy the file anew") from None
    return data


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    import zstandard

    file = archive.fp
    assert file is not None
    file.seek(entry.header_offset + _LOCAL_HEADER - 4)
    lengths = file.read(4)
    file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
    packed = file.read(entry.compress_size)
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        data = reader.read()
    except zstandard.ZstdError as error:
        raise OSError(str(error)) from None
    if zlib.crc32(data) != entry.CRC:
        raise OSError("its checksum differs")
    return data
