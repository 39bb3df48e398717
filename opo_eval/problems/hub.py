"""The one function that fetches from the Hugging Face hub."""

from pathlib import Path

from opo_eval.errors import InputError
from opo_eval.problems.benchmarks import HubFile


def fetch(file: HubFile) -> Path:
    """Path of a hub file in the hub's local cache, downloaded first where it is not there yet.

    Raises InputError, saying how else to get the data, without huggingface_hub, without a network
    (`HF_HUB_OFFLINE=1` included) and where the hub has no such file.
    """
    where = f"{file.path} of {file.repository} at {file.revision}"
    otherwise = "give a local file or folder as the source, or set OPO_EVAL_DATA to a folder of data"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise InputError(
            f"{where} needs huggingface_hub: pip install 'opo-eval[hub]', or {otherwise}"
        ) from None
    try:
        return Path(hf_hub_download(file.repository, file.path, repo_type="dataset", revision=file.revision))
    except (OSError, EntryNotFoundError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"{where} is neither in the hub's cache nor could it be fetched ({reason}): {otherwise}"
        ) from None
