"""The names of the servers that are measured, for programs and for people."""

from __future__ import annotations

from typing import Final

OURS: Final = "memeguard"
DIRECT: Final = "memeguard-direct"
FLOAT: Final = "memeguard-float"
FLASK: Final = "original"
PEERS: Final = {
    FLASK: "Flask and transformers",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "ray": "Ray Serve",
    "torchserve": "TorchServe, documentation's handler",
}
_OURS: Final = {
    OURS: "memeguard, through the proxy",
    DIRECT: "memeguard, TorchServe alone",
    FLOAT: "memeguard not quantized, through the proxy",
}


def peer_target(peer: str, batch_size: int) -> str:
    """Name ``peer`` with this batch size; Flask takes one meme at a time and has none."""
    return peer if peer == FLASK else f"{peer}-{batch_size}"


def peer_of(target: str) -> str | None:
    """Return the peer that ``target`` is a variant of; None for this project's own servers."""
    name = target.partition("-")[0]
    return name if name in PEERS else None


def describe(target: str) -> str:
    """Name ``target`` for a table, with its batch size: ``LitServe, batches of 16``."""
    peer = peer_of(target)
    if peer is None:
        return _OURS.get(target, target)
    _, _, batch_size = target.partition("-")
    return f"{PEERS[peer]}, batches of {batch_size}" if batch_size else PEERS[peer]
