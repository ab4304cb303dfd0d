"""Uploads an exported folder to the Hugging Face hub."""

from __future__ import annotations

import shlex
from pathlib import Path

from src.errors import UserError
from src.files.hub_errors import TOKEN, said


def check_push(name: str, private: bool) -> None:
    """Checks what can be known of a push before there is anything to push.

    Args:
        name: of the repository.
        private: whether nobody else may read it.

    Raises:
        UserError: the name has another form than org/name, there is no token that the hub accepts for writing, the hub
            cannot be asked, or the repository exists and is public although it should be private.
    """
    # Imported here because only a push needs it.
    from huggingface_hub import constants, get_token

    if not _is_name(name):
        raise UserError(f"push must be the name of a repository on the hub, org/name; got {name}.\nCorrect it.")
    if constants.is_offline_mode():
        raise UserError(f"push={name} needs the hub; HF_HUB_OFFLINE is set.\nUnset it, or leave out push.")
    if not get_token():
        raise UserError(
            f"push={name} needs a token with write access to {name}; there is none.\n"
            f"Make one at {constants.ENDPOINT}/settings/tokens and give it: {TOKEN}."
        )
    _check_access(name, private)


def _is_name(name: str) -> bool:
    """Whether a repository may be called so, with its owner."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _check_access(name: str, private: bool) -> None:
    """Asks the hub.

    Raises:
        UserError: as `check_push`.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    try:
        role = api.whoami().get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise UserError(
                f"push={name} needs a token with write access; yours may only read.\n"
                f"Make one at {constants.ENDPOINT}/settings/tokens and give it: {TOKEN}."
            )
        if private and not api.model_info(name).private:
            raise UserError(
                f"private=true needs a repository that is private or new; everyone can read {name}.\n"
                "Choose another name, or private=false."
            )
    except RepositoryNotFoundError:
        pass  # it will be made
    except UserError:
        raise
    except Exception as error:
        # Which exception a network failure raises depends on the HTTP client of huggingface_hub.
        raise UserError(
            f"push={name} needs a hub that accepts your token; {constants.ENDPOINT} says: {said(error)}.\n"
            "Correct the token or the connection, or leave out push."
        ) from None


def push(folder: Path, name: str, private: bool) -> str:
    """Uploads a folder in one commit; makes the repository if there is none.

    Args:
        folder: all its files are uploaded; others in the repository stay.
        name: of the repository, org/name.
        private: whether nobody else may read a new repository.

    Returns:
        A line with the address and the commit.

    Raises:
        UserError: the upload failed; the folder is as it was.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a model trained with Thaw")
    except Exception as error:
        later = f"hf upload {name} {shlex.quote(str(folder))} .{' --private' if private else ''}"
        raise UserError(
            f"The exported folder is complete, but could not be pushed to {name}: {said(error)}.\n"
            f"To push it later: {later}"
        ) from None
    return f"Pushed: {address}, commit {commit.oid}"
