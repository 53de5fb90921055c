"""Explain in one line why a request to the Hugging Face hub failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.utils import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY_REQUESTS = 401, 403, 429
_TOKEN = "set the environment variable HF_TOKEN to a token of yours"  # noqa: S105 - says how to give one # nosec B105


def explain(error: Exception, repo_id: str, revision: str) -> str:
    """Explain what went wrong, and what to do.

    Args:
        error: Error of ``huggingface_hub``; its cause is often some exceptions below.
        repo_id: Repository that was requested.
        revision: Branch, tag or commit of the repository.
    """
    causes = list(_causes(error))
    for cause in causes:
        if reason := _explain_answer(cause, repo_id, revision) or _explain_silence(cause, repo_id):
            return reason
    if any(isinstance(cause, LocalEntryNotFoundError | RevisionResolutionError) for cause in causes):
        return f"{repo_id} is not complete in this machine's cache, and the hub cannot be asked"
    return " ".join(str(error).split())


def cannot_be_asked(error: Exception) -> bool:
    """Whether the hub cannot be asked at all: it is out of reach, or forbidden by HF_HUB_OFFLINE."""
    silent = OfflineModeIsEnabled | httpx.ProxyError | httpx.ConnectError | httpx.ConnectTimeout
    return any(isinstance(cause, silent) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, then its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _explain_answer(error: BaseException, repo_id: str, revision: str) -> str | None:
    """Explain an error answer of the hub; None if ``error`` is something else."""
    if isinstance(error, GatedRepoError):
        return f"{repo_id} is gated: accept its licence at {constants.ENDPOINT}/{repo_id}, and {_TOKEN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no branch, tag or commit {revision!r}"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no such folder, and the hub {constants.ENDPOINT} has no repository {repo_id} that you may read; "
            f"if it is private, {_TOKEN}"
        )
    return _explain_status(error.response.status_code, repo_id) if isinstance(error, HfHubHTTPError) else None


def _explain_status(status: int, repo_id: str) -> str:
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return f"the hub refuses it ({status}): the token is invalid or may not read {repo_id}; {_TOKEN}"
    if status == _TOO_MANY_REQUESTS:
        return f"the hub {constants.ENDPOINT} limits the rate of requests (429): try again later, or {_TOKEN}"
    return f"the hub {constants.ENDPOINT} answered with status {status}: try again later"


def _explain_silence(error: BaseException, repo_id: str) -> str | None:
    """Explain why the hub did not answer completely; None if ``error`` is something else."""
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repo_id} is not complete in this machine's cache, and HF_HUB_OFFLINE forbids downloading it"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy of this machine does not reach the hub {constants.ENDPOINT}: {error}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"{repo_id} is not complete in this machine's cache, and the hub {constants.ENDPOINT} cannot be reached"
    if isinstance(error, httpx.TransportError):
        return (
            f"the connection to the hub {constants.ENDPOINT} broke ({type(error).__name__}): run the same command "
            "again; what was downloaded is kept"
        )
    return None
