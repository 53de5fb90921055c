"""Choose the runtime of a bundle: OpenVINO or torch.

Only the chosen runtime is imported, so that a worker does not have the other one in memory.
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
    """Choose OpenVINO on a CPU if it is installed and the bundle in ``directory`` is converted for it; else torch."""
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
        directory: Folder of the bundle.
        runtime: One of ``RUNTIMES``, or "auto" for ``choose_runtime``.
        device: Device in torch's words; on CUDA the towers compute in bf16, recorded as CUDA graphs.
        num_threads: Threads of OpenVINO, all cores by default; torch has a setting of its own.
        num_streams: Number of batches that OpenVINO computes at once, each with an equal share of the threads: 1 gives
            the lowest latency, the number of cores the highest throughput. torch computes one.
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
