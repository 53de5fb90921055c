"""Choose what computes a bundle's answers: OpenVINO or torch.

Does not know how they do it. Each is imported when it is chosen, so that a worker holds only its own in memory.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from memeguard.bundle_files import OPENVINO_CHECKSUMS
from memeguard.checks import check_answer
from memeguard.errors import BundleError
from memeguard.predictor import PreparedMeme
from memeguard.preprocess import DEFAULT_LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.predictor import Predictor
    from memeguard.preprocess import DecodingLimits

RuntimeName = Literal["openvino", "torch"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
AUTO = "auto"


def choose_runtime(directory: Path, device: str = "cpu") -> RuntimeName:
    """OpenVINO on a CPU, if it is installed and the bundle in ``directory`` was converted for it; else torch."""
    is_converted = (directory / OPENVINO_CHECKSUMS).is_file()
    has_openvino = importlib.util.find_spec("openvino") is not None
    return "openvino" if device == "cpu" and is_converted and has_openvino else "torch"


def load_predictor(
    directory: Path,
    *,
    runtime: str = AUTO,
    device: str = "cpu",
    num_threads: int | None = None,
    num_streams: int = 1,
    limits: DecodingLimits = DEFAULT_LIMITS,
) -> Predictor:
    """Load the bundle in ``directory``.

    Args:
        directory: The bundle's.
        runtime: One of ``RUNTIMES``, or "auto" for ``choose_runtime``.
        device: As torch calls it; on CUDA the towers compute in bf16, recorded as CUDA graphs.
        num_threads: How many threads OpenVINO computes with, all cores by default; torch has its own setting.
        num_streams: How many batches OpenVINO computes at once, with as many threads each as is their share: one is
            for the shortest way of a batch, as many as cores for the most batches; torch computes one.
        limits: What decoding one picture may cost.

    Raises:
        BundleError: The bundle cannot be read, or the runtime is unknown, not installed, or not for this device.
    """
    if runtime not in (AUTO, *RUNTIMES):
        raise BundleError(f"runtime {runtime!r} is none of {', '.join((AUTO, *RUNTIMES))}")
    chosen = choose_runtime(directory, device) if runtime == AUTO else runtime
    if chosen == "torch":
        return _load_torch(directory, device, limits)
    if device != "cpu":
        raise BundleError(f"runtime openvino computes on the CPU, not on {device}")
    return _load_openvino(directory, num_threads, num_streams, limits)


def _load_torch(directory: Path, device: str, limits: DecodingLimits) -> Predictor:
    from memeguard.bundle import load_bundle  # noqa: PLC0415
    from memeguard.cuda_runtime import CudaPredictor  # noqa: PLC0415
    from memeguard.torch_runtime import TorchPredictor  # noqa: PLC0415

    kind = CudaPredictor if device.startswith("cuda") else TorchPredictor
    return kind(load_bundle(directory), device=device, limits=limits)


def _load_openvino(directory: Path, num_threads: int | None, num_streams: int, limits: DecodingLimits) -> Predictor:
    try:
        from memeguard.openvino_runtime import OpenVinoPredictor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BundleError("runtime openvino is not installed: pip install openvino") from error
    predictor = OpenVinoPredictor(directory, num_threads=num_threads, num_streams=num_streams, limits=limits)
    size = predictor.config.image.size
    meme = PreparedMeme(np.zeros((3, size, size), dtype=np.uint8), predictor.captions.encode("warm-up"))
    check_answer(directory, lambda: predictor.logits([meme])[0])
    return predictor
