"""The settings of ``memeguard serve`` and ``memeguard torchserve``, and the launch of TorchServe made from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cli.ports import Ports
from rollout.archives import Archive, make_snapshot
from rollout.torchserve import Launch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """The settings of ``memeguard serve``.

    Attributes:
        model_store: Folder of archives.
        run_dir: Folder for tokens, logs and the lock.
        config: TorchServe's configuration file.
        host: Address that the proxy listens on; TorchServe listens on loopback.
        ports: Ports of both servers.
        default_version: Version that answers /predict; the newest if None.
        allow_unverified: Serve archives that have no card.
        pass_env: Further environment variables for the servers.
        allowed_origins: Origins whose pages may read the proxy's answers.
        patience_s: A server that has not answered for this long is started again.
    """

    model_store: Path
    run_dir: Path
    config: Path
    host: str = LOOPBACK
    ports: Ports = field(default_factory=Ports)
    default_version: str | None = None
    allow_unverified: bool = False
    pass_env: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    patience_s: float = 60.0


def torchserve_launch(settings: ServeSettings, archives: Sequence[Archive], default: Archive, temp_dir: Path) -> Launch:
    """Return the launch of TorchServe that serves ``archives``."""
    ports = settings.ports
    return Launch(
        model_store=settings.model_store,
        run_dir=settings.run_dir,
        temp_dir=temp_dir,
        config=settings.config,
        num_workers=sum(archive.settings["minWorkers"] for archive in archives),
        pass_names=settings.pass_env,
        overrides={
            "inference_address": f"http://{LOOPBACK}:{ports.inference}",
            "management_address": f"http://{LOOPBACK}:{ports.management}",
            "metrics_address": f"http://{LOOPBACK}:{ports.metrics}",
            "grpc_inference_port": str(ports.grpc_inference),
            "grpc_management_port": str(ports.grpc_management),
            "model_snapshot": make_snapshot(archives, default),
        },
    )
