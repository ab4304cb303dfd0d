"""What the Hugging Face hub refuses, and how to get it nevertheless."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Literal

from src.errors import UserError, reason

Kind = Literal["model", "dataset"]
TOKEN = "HF_TOKEN=…, or hf auth login"
KEYS: dict[Kind, str] = {"model": "backbone.name", "dataset": "data.name"}
REVISIONS: dict[Kind, str] = {"model": "backbone.revision", "dataset": "data.revision"}
LOCAL: dict[Kind, str] = {"model": "a local folder: backbone.name=DIR", "dataset": "local files: data.path=DIR"}
ON_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
WORDS: dict[Kind, str] = {"model": "model", "dataset": "data set"}


def refusal(error: BaseException, kind: Kind, name: str, revision: str | None) -> UserError:
    """Returns the message for an exception that asking the hub, or downloading from it, has raised.

    Args:
        error: of huggingface_hub, its HTTP client, or `datasets`.
        kind: what was asked for.
        name: its name.
        revision: the branch, tag or commit that was asked for; None: main.
    """
    from huggingface_hub import constants

    cause, local = _cause(error), LOCAL[kind]
    if told := _told(cause, kind, name, revision):
        return told
    if constants.is_offline_mode():
        return UserError(
            f"The {WORDS[kind]} {name} is not in the local cache {constants.HF_HOME}, or not completely, and "
            "HF_HUB_OFFLINE is set.\n"
            f"Unset it for the first use, copy the cache of a machine that has it, or give {local}."
        )
    if isinstance(cause, OSError) and cause.errno in ON_DISK:
        return UserError(
            f"The hub's cache must be writable; {constants.HF_HOME}: {cause.strerror}.\n"
            "Make room there, or choose another folder: HF_HOME=DIR."
        )
    return UserError(
        f"The {WORDS[kind]} {name} is not in the local cache, and cannot be downloaded from the hub: {said(error)}.\n"
        f"Connect to the network and try again, or give {local}."
    )


def _told(cause: BaseException, kind: Kind, name: str, revision: str | None) -> UserError | None:
    """Returns the message for what the hub itself has said; None: it has said nothing."""
    from huggingface_hub import constants, errors, get_token

    what, local = f"the {WORDS[kind]} {name}", LOCAL[kind]
    place = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
    match cause:
        case errors.HFValidationError():
            return UserError(
                f"{KEYS[kind]} must be a name on the hub, org/name; got {name}.\nCorrect it, or give {local}."
            )
        case errors.GatedRepoError():
            who = "which the account of your token has not done" if get_token() else "and no token is set"
            return UserError(
                f"The hub must have granted you {what}: its owner asks for conditions to be accepted, {who}.\n"
                f"Accept them at {place}, and give a token of that account: {TOKEN}. Or give {local}."
            )
        case errors.RevisionNotFoundError():
            return UserError(
                f"{REVISIONS[kind]} must be a branch, tag or commit of {what}; there is no {revision or 'main'}.\n"
                f"See them at {place}, or leave it out for the branch main."
            )
        case errors.RepositoryNotFoundError():
            whose = "that your token may read" if get_token() else "that can be read without a token"
            return UserError(
                f"{KEYS[kind]} must be on the hub; it has no {WORDS[kind]} {name} {whose}.\n"
                f"Check the name. If it is private, give a token that may read it: {TOKEN}. Or give {local}."
            )
        case errors.HfHubHTTPError():
            return _refused(cause.response.status_code, said(cause), what, local)
    return None


def said(error: BaseException) -> str:
    """Returns what the hub has answered, or why it has not, as part of a sentence."""
    cause = _cause(error)
    return reason(getattr(cause, "server_message", None) or cause)


def _refused(status: int, answer: str, what: str, local: str) -> UserError:
    """Returns the message for an answer that is not about the repository."""
    if status == 401:
        return UserError(
            f"The hub must accept your token; it does not: {answer}.\n"
            f"Make a new one in the settings of your account and give it ({TOKEN}); public names need none."
        )
    if status == 403:
        return UserError(
            f"Your token must allow to read {what}; the hub says: {answer}.\n"
            f"Give one that does: {TOKEN}. Or give {local}."
        )
    if status == 429:
        return UserError(
            f"The hub answers only so many requests; it refuses more for now: {answer}.\n"
            f"Wait some minutes, or give a token, which allows more: {TOKEN}."
        )
    return UserError(
        f"The hub must answer when asked for {what}; it says {status}: {answer}.\nTry again later, or give {local}."
    )


def is_of_hub(error: BaseException) -> bool:
    """Whether an exception is about the hub, the way to it or its cache, rather than about what it holds."""
    return any(_is_told(one) or _is_on_the_way(one) for one in _chain(error))


def _cause(error: BaseException) -> BaseException:
    """Returns what the hub or the disk has said, which other exceptions may have hidden; else what began it."""
    chain = list(_chain(error))
    return next(filter(_is_told, chain), None) or next(filter(_is_on_the_way, chain), chain[-1])


def _is_told(error: BaseException) -> bool:
    """Whether the hub has said it. Files that it lacks do not count, since most that are asked for are optional."""
    from huggingface_hub import errors

    told = isinstance(error, errors.HfHubHTTPError | errors.HFValidationError)
    return told and not isinstance(error, errors.EntryNotFoundError)


def _is_on_the_way(error: BaseException) -> bool:
    of_client = type(error).__module__.startswith("httpx")
    on_disk = isinstance(error, OSError) and error.errno in ON_DISK
    return of_client or on_disk or isinstance(error, ConnectionError | TimeoutError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
