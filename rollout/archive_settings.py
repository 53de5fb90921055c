"""Read an archive's settings for TorchServe, and check their types and limits.

TorchServe itself only warns of a wrong type, and accepts any number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rollout.archive_check import CONFIG
from rollout.store_files import ModelStoreError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

SNAPSHOT_SETTINGS = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout")
# Smallest and largest value. Every worker holds a copy of the model, and every meme of a batch its pixels.
LIMITS = {
    "minWorkers": (1, 64),
    "maxWorkers": (1, 64),
    "batchSize": (1, 1024),
    "maxBatchDelay": (0, 60_000),
    "responseTimeout": (1, 3600),
    "startupTimeout": (1, 3600),
    "jobQueueSize": (1, 10_000),
    "maxRetryTimeoutInSec": (1, 86_400),
    "clientTimeoutInMills": (0, 3_600_000),
}


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, because nested ones turn a kilobyte into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as in PyYAML
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has an anchor or an alias, which are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise yaml.YAMLError(f"{min(repeated)} is given twice")
        return super().construct_mapping(node, deep=deep)


def read_settings(path: Path, manifest: Any, config: bytes) -> tuple[str, dict[str, int]]:  # noqa: ANN401 - any JSON
    """Return the version of an archive, and its settings for TorchServe.

    Args:
        path: The archive's path, for messages.
        manifest: The parsed manifest.
        config: The ``model-config.yaml``.

    Raises:
        ModelStoreError: The manifest or the configuration has another structure, or a setting exceeds its limits.
    """
    try:
        model = manifest["model"]
        version = model["modelVersion"]
        named = model.get("configFile", CONFIG)
        given = yaml.load(config, _PlainLoader)  # noqa: S506 - a SafeLoader, with less # nosec B506
        if not hasattr(given, "get"):
            raise TypeError(f"{CONFIG} holds a {type(given).__name__}, not names and values")  # noqa: TRY301
        settings = {name: given.get(name) for name in (*SNAPSHOT_SETTINGS, *(name for name in LIMITS if name in given))}
    except Exception as error:  # yaml and unexpected structures raise many kinds
        raise ModelStoreError(f"archive {path} is damaged: {error!r}") from error
    if named != CONFIG:  # TorchServe would read the named one
        raise ModelStoreError(f"archive {path}: its manifest names {named!r:.80} as configuration, not {CONFIG}")
    for name, value in settings.items():
        _check_setting(path, name, value)
    if settings["maxWorkers"] < settings["minWorkers"]:
        values = f"{settings['maxWorkers']}, less than minWorkers, {settings['minWorkers']}"
        raise ModelStoreError(f"archive {path}: maxWorkers is {values}, in {CONFIG}")
    return version, {name: settings[name] for name in SNAPSHOT_SETTINGS}


def _check_setting(path: Path, name: str, value: object) -> None:
    if type(value) is not int:
        raise ModelStoreError(f"archive {path}: {name} is {value!r:.80} in {CONFIG}, not a number")
    smallest, largest = LIMITS[name]
    if not smallest <= value <= largest:
        limits = f"it must be from {smallest} to {largest}"
        raise ModelStoreError(f"archive {path}: {name} is {str(value)[:80]} in {CONFIG}; {limits}")
