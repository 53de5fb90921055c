"""Prove that an unpacked archive answers as its bundle does: in a process of its own, with each of its runtimes."""

from __future__ import annotations

import json
import site
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from archiving.errors import ArchiveError, ToleranceError
from memeguard.predictor import non_offensive_probability

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from archiving.probes import Probe
    from memeguard.config import LabelConfig
    from memeguard.predictor import Predictor
    from memeguard.runtimes import RuntimeName

_BATCH: Final = 8


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How much a runtime's answers may differ from those of torch in float32.

    Attributes:
        logit: Largest difference of a logit.
        flipped_share: Largest share of decisions that differ, in [0, 1].
    """

    logit: float
    flipped_share: float


# The same arithmetic with other batch sizes; the last bits of float32 differ.
SAME_ARITHMETIC: Final = Tolerance(logit=1e-4, flipped_share=0.0)
# bf16 has 8 bits of mantissa, int8 has 8 bits in all. They moved logits, which vary by 3, by at most 0.06 and 0.21. A
# difference of 0.25 is at most 0.06 of a probability, so that decisions flip only near the threshold.
CONVERTED: Final = Tolerance(logit=0.25, flipped_share=0.01)
TOLERANCES: Final[dict[RuntimeName, Tolerance]] = {"torch": SAME_ARITHMETIC, "openvino": CONVERTED}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How much one runtime's answers differ, and how much they may.

    Attributes:
        precision: Precision in which this machine multiplied: "f32", "bf16", or "int8".
        num_memes: Number of memes that were compared.
        max_logit_difference: Largest difference from the bundle's logits.
        flipped_share: Share of decisions that differ, in [0, 1].
        tolerance: Limits of both.
    """

    precision: str
    num_memes: int
    max_logit_difference: float
    flipped_share: float
    tolerance: Tolerance

    def check(self, runtime: str) -> None:
        """Raise ``ToleranceError`` if a difference is above its limit, or is nan."""
        if not self.max_logit_difference <= self.tolerance.logit:
            raise ToleranceError(
                f"the archive's logits ({runtime}, {self.precision}) differ from the bundle's by "
                f"{self.max_logit_difference:g} on {self.num_memes} memes; the limit is {self.tolerance.logit:g}"
            )
        if self.flipped_share > self.tolerance.flipped_share:
            raise ToleranceError(
                f"the archive ({runtime}, {self.precision}) flips {self.flipped_share:.1%} of the decisions on "
                f"{self.num_memes} memes; the limit is {self.tolerance.flipped_share:.1%}"
            )


def predict_probes(reference: Predictor, probes: Sequence[Probe]) -> list[float]:
    """Predict the logits of the probes with the bundle."""
    memes = [reference.prepare(image, text) for image, text in probes]
    batches = [memes[start : start + _BATCH] for start in range(0, len(memes), _BATCH)]
    return [logit for batch in batches for logit in reference.logits(batch)]


def prove(
    expected: list[float],
    labels: LabelConfig,
    unpacked: Path,
    probes: Sequence[Probe],
    runtimes: Sequence[RuntimeName],
) -> dict[str, Proof]:
    """Compare each runtime of an unpacked archive with the bundle.

    Args:
        expected: The bundle's logits of the probes, by torch in float32.
        labels: Calibration and threshold of the bundle.
        unpacked: Folder of the unpacked archive.
        probes: Memes to compare on.
        runtimes: Runtimes to compare.

    Raises:
        ToleranceError: The answers differ too much.
        ArchiveError: The archive does not run on its own.
    """
    for index, (image, text) in enumerate(probes):
        (unpacked / f"probe-{index}").write_bytes(image)
        (unpacked / f"probe-{index}.txt").write_bytes(text.encode())
    decided = _decide(expected, labels)
    proofs: dict[str, Proof] = {}
    for runtime in runtimes:
        precision, actual = predict_in_bare_process(unpacked, len(probes), runtime)
        proofs[runtime] = Proof(
            precision=precision,
            num_memes=len(probes),
            max_logit_difference=float(np.abs(np.array(expected) - actual).max()),
            flipped_share=float(np.mean(decided != _decide(actual, labels))),
            tolerance=TOLERANCES[runtime],
        )
        proofs[runtime].check(runtime)
    return proofs


def _decide(logits: list[float], labels: LabelConfig) -> NDArray[np.bool_]:
    probabilities = [non_offensive_probability(logit, labels.temperature, labels.shift) for logit in logits]
    return np.array(probabilities) >= labels.threshold


_SCRIPT = """\
import json, pathlib, sys
folder = pathlib.Path.cwd()
sys.path[:] = [str(folder), *sys.path, *json.loads(sys.argv[1])]
import meme_handler, memeguard.runtimes
for module in (meme_handler, memeguard):
    assert pathlib.Path(module.__file__).is_relative_to(folder), module.__file__
predictor = memeguard.runtimes.load_predictor(folder / "bundle", runtime=sys.argv[3])
logits = []
for index in range(int(sys.argv[2])):
    probe = folder / f"probe-{index}"
    meme = predictor.prepare(probe.read_bytes(), probe.with_name(probe.name + ".txt").read_bytes())
    logits += predictor.logits([meme])
print(json.dumps([predictor.precision, logits]))
"""


def predict_in_bare_process(unpacked: Path, num_probes: int, runtime: str) -> tuple[str, list[float]]:
    """Predict the probes one by one, with the archive's own code only; return the precision and the logits."""
    # -I ignores the environment, -S the .pth files by which an editable install would add this source tree.
    libraries = json.dumps([*site.getsitepackages(), site.getusersitepackages()])
    command = [sys.executable, "-I", "-S", "-c", _SCRIPT, libraries, str(num_probes), runtime]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ArchiveError(f"the unpacked archive does not run on its own: {reason}")
    precision, logits = json.loads(done.stdout.splitlines()[-1])
    return precision, logits
