"""Download the files of a backbone from the Hugging Face hub, at one commit.

Only files that are named here are downloaded, and only from the revision that the user named. Transformers never
contacts the hub: if there are no safetensors, it would take them from an open pull request.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RemoteEntryNotFoundError
from huggingface_hub.utils import httpx, validate_repo_id
from tqdm import tqdm

from training.backbones.hub_errors import cannot_be_asked, explain
from training.backbones.places import BackboneError

if TYPE_CHECKING:
    from typing import Self

_DEFAULT_REVISION: Final = "main"
# The main branch has the weights only as a pickle. This commit, of pull request 66 by the hub's conversion bot
# SFconvertbot, adds the same weights as safetensors. It is named here so that no other pull request is used.
_DEFAULT_REVISIONS: Final = {"openai/clip-vit-base-patch32": "c237dc49a33fc61debc9276459120b7eac67e7ef"}
_TOO_MANY_REQUESTS: Final = 429
_MEGABYTE: Final = 1e6


@dataclass
class HubRepository:
    """One repository of the hub at one commit.

    Attributes:
        name: Name by which the user calls the backbone.
        repo_id: ``owner/name``.
        revision: Branch, tag or commit that the user asked for.
        commit: Commit of the revision, 40 hexadecimal digits.
    """

    name: str
    repo_id: str
    revision: str
    commit: str
    _silence: Exception | None = field(default=None, init=False)  # why the hub cannot be asked, once known

    @classmethod
    def resolve(cls, name: str) -> Self:
        """Find the commit of ``name``, which is ``REPOSITORY`` or ``REPOSITORY@REVISION``.

        For a branch or tag the hub is asked. If it cannot be reached, its last answer counts.

        Raises:
            BackboneError: The name is not a hub id, or the hub does not have it.
        """
        repo_id, at, revision = name.partition("@")
        if at and not revision:
            raise BackboneError(f"backbone {name} cannot be loaded: a branch, tag or commit must follow the @")
        try:
            validate_repo_id(repo_id)
        except HFValidationError as error:
            raise BackboneError(
                f"backbone {name} cannot be loaded: there is no such folder, and it is not a hub id: {_one_line(error)}"
            ) from error
        revision = revision or _DEFAULT_REVISIONS.get(repo_id, _DEFAULT_REVISION)
        try:
            commit = _resolve_commit(repo_id, revision)
        except Exception as error:
            raise BackboneError(f"backbone {name} cannot be loaded: {explain(error, repo_id, revision)}") from error
        return cls(name, repo_id, revision, commit)

    @property
    def pinned_name(self) -> str:
        """The name that always gives this commit, whatever happens to the branch."""
        return f"{self.repo_id}@{self.commit}"

    def find(self, file: str, *, may_lack: bool = False) -> Path | None:
        """Return the path of ``file`` in the hub's cache, downloaded if necessary; None if the commit lacks it.

        Args:
            file: Name of the file.
            may_lack: Whether to assume that the commit lacks it if the hub cannot be asked but the weights are here;
                another program may have filled the cache without recording which files are missing.

        Raises:
            BackboneError: The file cannot be downloaded, and it is not known whether it exists.
        """
        cached = try_to_load_from_cache(self.repo_id, file, revision=self.commit)
        if cached is not None:  # a path, or a mark that the hub has no such file
            return Path(cached) if isinstance(cached, str) else None
        try:
            return self._download(file)
        except RemoteEntryNotFoundError:
            return None
        except Exception as error:
            if cannot_be_asked(error):
                self._silence = error
                if may_lack and self._has_weights():
                    return None
            reason = explain(error, self.repo_id, self.revision)
            raise BackboneError(f"backbone {self.name} cannot be loaded: {file}: {reason}") from error

    def explain_missing_weights(self) -> str:
        """Say that the commit has no safetensors, and how to name one that has."""
        return (
            f"{self.repo_id} has no safetensors at {self.revision} (commit {self.commit}), and a pickle such as "
            f"pytorch_model.bin is never read. A pull request with safetensors is not used by itself: look at "
            f"{constants.ENDPOINT}/{self.repo_id}/discussions, and name a commit you trust as {self.repo_id}@COMMIT"
        )

    def _download(self, file: str) -> Path:
        if self._silence is not None:
            raise self._silence
        if file.endswith(".safetensors"):
            self._announce(file)
        return Path(hf_hub_download(self.repo_id, file, revision=self.commit))

    def _has_weights(self) -> bool:
        names = ("model.safetensors", "model.safetensors.index.json")
        return any(isinstance(try_to_load_from_cache(self.repo_id, name, revision=self.commit), str) for name in names)

    def _announce(self, file: str) -> None:
        """Say what is downloaded; the hub's progress bar follows where stderr is a terminal."""
        size = get_hf_file_metadata(hf_hub_url(self.repo_id, file, revision=self.commit)).size
        known = f", {size / _MEGABYTE:.1f} MB" if size is not None else ""
        tqdm.write(f"downloading {self.repo_id}@{self.commit[:12]}: {file}{known}", file=sys.stderr)


def _resolve_commit(repo_id: str, revision: str) -> Any:  # noqa: ANN401 - a string; the library has no types
    api = HfApi()
    try:
        return api.resolve_revision(repo_id, revision=revision).resolved
    except (HfHubHTTPError, httpx.ProxyError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code != _TOO_MANY_REQUESTS:
            raise  # the hub answered: it does not exist, or not for this user
        try:  # as resolve_revision itself does if the hub is not reached
            return api.resolve_revision(repo_id, revision=revision, local_files_only=True).resolved
        except Exception:  # noqa: BLE001 - the first error is the helpful one
            raise error from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
