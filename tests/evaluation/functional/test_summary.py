"""The summary on a card is the evaluation in short."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

from evaluation.functional.builtin import read_builtin
from evaluation.functional.evaluate import evaluate_functional
from evaluation.functional.figures import find_worst
from evaluation.functional.result import GREY
from evaluation.functional.summary import summarize_builtin
from memeguard.bundle import Bundle
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from pathlib import Path


def test_the_summary_is_that_of_the_evaluation(bundle_folder: Path) -> None:
    summary = summarize_builtin(TorchPredictor.from_folder(bundle_folder))
    assert summary
    result = evaluate_functional(bundle_folder, read_builtin(every=4), device="cpu", num_resamples=5)
    figures = result.settings[GREY]
    worst = find_worst(figures.functionalities)
    assert (summary.suite_sha256, summary.num) == (result.suite_sha256, result.num)
    assert (summary.auroc, summary.mean_accuracy) == (figures.model.auroc.value, figures.mean_accuracy)
    assert (summary.worst, summary.worst_label, summary.worst_accuracy) == (worst.name, worst.label, worst.accuracy)
    rates = {group.name: group.false_positive_rate for group in figures.groups}
    assert summary.most_flagged_rate == rates[summary.most_flagged_group]
    assert summary.most_flagged_rate.value == max(rate.value or 0.0 for rate in rates.values())


def test_a_model_for_very_short_captions_has_no_summary(small_bundle: Bundle) -> None:
    classifier = copy.deepcopy(small_bundle.classifier)
    text = dataclasses.replace(classifier.config.text, context_length=8, max_chunks=1)
    classifier.config = dataclasses.replace(classifier.config, text=text)
    assert summarize_builtin(TorchPredictor(Bundle(classifier, small_bundle.tokenizer))) is None
