"""The commands that serve: serve and torchserve."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from cli.options import FILE, FOLDER, model_store_option, together
from cli.ports import Ports
from cli.serve_settings import ServeSettings

if TYPE_CHECKING:
    from pathlib import Path

_PORT = click.IntRange(1, 65535)
_PURPOSES = {
    "inference": "TorchServe's inference API",
    "management": "TorchServe's management API",
    "metrics": "TorchServe's metrics",
    "grpc_inference": "TorchServe's inference API over gRPC",
    "grpc_management": "TorchServe's management API over gRPC",
}

_serving_options = together(
    model_store_option,
    click.option("--run-dir", type=FOLDER, default="run", show_default=True, help="Folder for tokens and logs."),
    click.option("--config", type=FILE, default="config.properties", show_default=True,
                 help="TorchServe's configuration."),
    click.option("--default-version", metavar="X.Y.Z",
                 help="Version that answers /predictions/meme.  [default: the newest]"),
    click.option("--allow-unverified", is_flag=True, help="Serve archives that have no card to verify them by."),
    click.option("--pass-env", multiple=True, metavar="NAME",
                 help="Pass this environment variable to the servers too; may be repeated."),
    *(click.option(f"--{name.replace('_', '-')}-port", type=_PORT, default=getattr(Ports, name), show_default=True,
                   help=f"Port of {purpose}.") for name, purpose in _PURPOSES.items()),
)  # fmt: skip


@click.command()
@click.option("--host", default=ServeSettings.host, show_default=True,
              help="Address that the proxy listens on; TorchServe stays on the loopback interface.")  # fmt: skip
@click.option("--port", type=_PORT, default=Ports.proxy, show_default=True, help="Port of the proxy.")
@click.option("--patience", "patience_s", type=click.FloatRange(min=1), default=ServeSettings.patience_s,
              show_default=True, metavar="SECONDS",
              help="Restart a server that has not answered for this long.")  # fmt: skip
@click.option("--allow-origin", "allowed_origins", multiple=True, metavar="ORIGIN",
              help="Let pages of this origin, such as https://example.org, read answers; may be repeated.")  # fmt: skip
@_serving_options
def serve(host: str, port: int, **options: Any) -> None:  # noqa: ANN401
    """Serve the archives of the model store until Ctrl-C.

    Archives are verified by their cards. A server that dies or no longer answers is restarted.

    Example: memeguard serve --port 5001
    """
    from cli.serve import serve as run

    run(_settings(options, host=host, proxy=port), click.echo)


@click.command()
@_serving_options
@click.option("--fallback-store", type=FOLDER, help="Model store to serve if --model-store holds no archive.")
def torchserve(fallback_store: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Become TorchServe alone, in the foreground, as a container does; the proxy runs elsewhere.

    Example: memeguard torchserve --model-store model_store
    """
    from cli.serve import exec_torchserve
    from rollout.archives import holds_archive

    if fallback_store and not holds_archive(options["model_store"]):
        click.echo(f"{options['model_store']} holds no archive; serving {fallback_store}", err=True)
        options["model_store"] = fallback_store
    exec_torchserve(_settings(options), lambda line: click.echo(line, err=True))


def _settings(options: dict[str, Any], *, host: str = ServeSettings.host, proxy: int = Ports.proxy) -> ServeSettings:
    ports = dataclasses.replace(Ports(proxy=proxy), **{name: options.pop(f"{name}_port") for name in _PURPOSES})
    return ServeSettings(host=host, ports=ports, **options)
