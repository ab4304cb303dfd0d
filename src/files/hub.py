"""The Hugging Face hub: models and data sets by name."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from src.errors import UserError

TIMEOUT = 5.0  # seconds to wait for the hub's response


def list_files(kind: Literal["model", "dataset"], name: str, revision: str | None = None) -> list[str]:
    """Returns the files of a model or data set on the hub. Call it before a download, so that an unreachable hub is an
    error within seconds.

    Raises:
        UserError: the hub cannot be reached, or does not have it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    local = "a local folder: backbone.name=DIR" if kind == "model" else "local files: data.path=DIR"
    try:
        api = HfApi()
        ask = api.model_info if kind == "model" else api.dataset_info
        info = ask(name, revision=revision, timeout=TIMEOUT)
    except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"The hub has no {kind} {name} for you: {reason}\nCheck the name, or give {local}.") from None
    except Exception as error:
        # Which exception a network failure raises depends on the HTTP client of huggingface_hub.
        raise UserError(
            f"The {kind} {name} is not in the local cache, and the Hugging Face hub cannot be reached ({error}).\n"
            f"Connect to the network once, or give {local}."
        ) from None
    return [file.rfilename for file in info.siblings or []]


def download_model(name: str, revision: str | None) -> Path:
    """Returns the folder of a model in the hub's local cache; downloads it first where it is missing.

    Raises:
        UserError: the hub cannot be reached, or does not have it.
    """
    # Imported here because only hub ids need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(weights: str, local: bool = False) -> Path:
        wanted = ["*.json", "*.txt", "*.model", weights]
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=local))

    with contextlib.suppress(LocalEntryNotFoundError):
        return download("model*.safetensors", local=True)
    files = list_files("model", name, revision)
    safe = any(f.startswith("model") and f.endswith(".safetensors") for f in files)
    return download("model*.safetensors" if safe else "pytorch_model*.bin")
