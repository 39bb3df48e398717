"""Hidden states come back as they were kept, from memory and from a file that nobody has to clean up."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scoring.watching import some

from opo_eval.errors import StoreError
from opo_eval.scoring.kept import KeptInMemory, KeptOnDisk, kept
from opo_eval.scoring.packing import Text


def text(index: int, n: int) -> Text:
    tokens = np.zeros(n, dtype=np.int32)
    return Text(problem_id="p", index=index, prompt=tokens[:1], response=tokens)


A, B, C = text(0, 3), text(1, 1), text(2, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_kept_comes_back_in_any_order_and_company(
    tmp_path: Path, on_disk: bool, dtype: torch.dtype
) -> None:
    first, second = some(4, 5, dtype=dtype), some(4, 5, seed=1, dtype=dtype)
    keeping = kept(tmp_path if on_disk else None)
    assert isinstance(keeping, KeptOnDisk if on_disk else KeptInMemory)
    keeping.keep([A, B], first)
    assert torch.equal(keeping.of([B]), first[3:])
    keeping.keep([C], second)
    found = keeping.of([C, A])
    assert found.dtype == dtype and torch.equal(found, torch.cat([second, first[:3]]))
    keeping.keep([B], second[:1])  # a batch that is tried again in halves
    assert torch.equal(keeping.of([B, C]), torch.cat([second[:1], second]))
    keeping.close()


def test_the_file_has_no_name_that_could_be_left_behind(tmp_path: Path) -> None:
    keeping = KeptOnDisk(tmp_path)
    keeping.keep([A, B], some(4, 5))
    assert list(tmp_path.iterdir()) == []
    keeping.close()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    keeping = KeptOnDisk(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreError, match=r"No space left on device; make room or lower --hidden-gb"):
            keeping.keep([A, B], some(4, 5))
    keeping.close()


def test_writes_and_reads_that_come_in_parts_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:7], at))
    monkeypatch.setattr(os, "preadv", lambda fd, parts, at: read(fd, [parts[0][:11]], at))
    keeping, hidden = KeptOnDisk(tmp_path), some(4, 5)
    keeping.keep([A, B], hidden)
    assert torch.equal(keeping.of([A, B]), hidden)
    keeping.close()


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"hidden states cannot be kept in .*: No such file or dir"):
        KeptOnDisk(tmp_path / "nowhere")
