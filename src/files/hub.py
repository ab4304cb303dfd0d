"""The Hugging Face hub: models and data sets by name, through its cache on this machine."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from src.errors import UserError, listed
from src.files.hub_errors import Kind, refusal

TIMEOUT = 5.0  # seconds to wait for the hub's first response
COMMIT = re.compile(r"[0-9a-f]{40}")
SETTINGS = ("*.json", "*.txt", "*.model")  # the files of config and tokenizer
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model")  # without one of these there is no tokenizer
SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")


def commit_of(folder: Path) -> str | None:
    """Returns the commit of a folder in the hub's cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else None


def cache_of(kind: Kind, name: str) -> Path:
    """Returns the folder of a model or data set in the hub's cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind)


def download_again(folder: Path) -> str:
    """Returns how to mend damaged files of a folder in the hub's cache; nothing for any other folder."""
    return f"Delete {folder.parents[1]}: it is downloaded again then." if commit_of(folder) else ""


def ask(kind: Kind, name: str, revision: str | None = None) -> tuple[str, list[str]]:
    """Returns the commit and the files of a model or data set on the hub. Call it before a download, so that an
    unreachable hub is an error within seconds.

    Raises:
        UserError: the hub cannot be reached, or does not have it for this user.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        about = api.model_info if kind == "model" else api.dataset_info
        info = about(name, revision=revision, timeout=TIMEOUT)
        if info.gated:  # everyone may see its list of files
            api.auth_check(name, repo_type=kind)
    except Exception as error:
        # Which exception a network failure raises depends on the HTTP client of huggingface_hub.
        raise refusal(error, kind, name, revision) from None
    return info.sha or "", [file.rfilename for file in info.siblings or []]


@contextlib.contextmanager
def from_cache() -> Iterator[None]:
    """Within, `datasets` and huggingface_hub read their caches alone."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def download_model(name: str, revision: str | None) -> Path:
    """Returns the folder of a model in the hub's local cache; downloads it first where it is missing or incomplete.

    Raises:
        UserError: the hub cannot be reached, does not have it for this user, or its repository is no encoder.
    """
    if cached := _cached(name, revision):
        return cached
    # Imported here because only hub ids need it.
    from huggingface_hub import snapshot_download

    _, files = ask("model", name, revision)
    weights = _weights(name, files)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*SETTINGS, *weights]))
    except Exception as error:
        raise refusal(error, "model", name, revision) from None


def _cached(name: str, revision: str | None) -> Path | None:
    """Returns the folder of a model in the cache; None where it is missing or lacks files that are needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    for weights in (SAFETENSORS, PICKLED):
        wanted = [*SETTINGS, *weights]
        # An invalid name is refused as one that the hub does not know.
        with contextlib.suppress(LocalEntryNotFoundError, HFValidationError):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=True))
            # Other programs may have downloaded some of the files only.
            files = [file.name for file in folder.iterdir() if file.exists()]
            if "config.json" in files and _has(files, weights) and _has(files, TOKENIZERS):
                return folder
    return None


def _weights(name: str, files: Sequence[str]) -> tuple[str, ...]:
    """Returns the patterns of the weights to download.

    Raises:
        UserError: a transformers model lacks config, weights or tokenizer.
    """
    weights = next((patterns for patterns in (SAFETENSORS, PICKLED) if _has(files, patterns)), ())
    needed = {"config.json": _has(files, ["config.json"]), "weights (model.safetensors)": bool(weights)}
    needed["a tokenizer (tokenizer.json)"] = _has(files, TOKENIZERS)
    if lacking := [what for what, is_there in needed.items() if not is_there]:
        raise UserError(
            f"backbone.name must be a transformers model with config, weights and tokenizer; {name} on the hub lacks "
            f"{', '.join(lacking)}. It has {listed(files) or 'no files'}.\n"
            "Choose another, or give a local folder: backbone.name=DIR."
        )
    return weights


def _has(files: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatch(file, pattern) for file in files for pattern in patterns if "/" not in file)
