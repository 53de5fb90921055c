"""Show an evaluation as one HTML page that needs no script, no network and no other file.

Pictures of memes stay blurred, and captions hidden, until a reader opens them.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.plots import draw_plots
from memeguard.preprocess import decode_image
from memeguard.regular_file import read_picture
from memes.atomic_file import write_whole

if TYPE_CHECKING:
    from evaluation.result import EvaluationResult, Mistake
    from evaluation.statistics import Estimate

PAGE: Final = "index.html"
_TEMPLATE: Final = "page.html"
_LONGEST_SIDE: Final = 480  # pixels; enough to see what a meme is about
# Field of ModelFigures, heading, explanation.
_COLUMNS: Final = (
    ("accuracy", "Accuracy", "share of correct answers"),
    ("macro_f1", "Macro F1", "mean of both labels' F1"),
    ("weighted_f1", "Weighted F1", "weighted by the labels' frequency"),
    ("offensive_f1", "Offensive F1", "F1 of the label offensive"),
    ("auroc", "AUROC", "area under the ROC curve"),
    ("average_precision", "AP", "average precision"),
    ("ece", "ECE ↓", "expected calibration error"),
    ("brier", "Brier ↓", "mean squared error"),
)
_MODELS: Final = {
    "model": "picture and caption",
    "image-only": "the same bundle, captions emptied",
    "text-only": "the same bundle, pictures greyed out",
    "tfidf": "TF-IDF and logistic regression on captions",
    "majority": "always the more frequent label",
}
_CAPTIONS: Final = {
    "models": "AUROC of every model with its 95 % bootstrap interval; dotted: chance.",
    "roc": "ROC curves of the model and of TF-IDF; the diamond is the bundle's threshold.",
    "precision-recall": "Precision against recall of offensive, the model and TF-IDF; dotted: flagging every meme.",
    "confusion": "Confusion matrix: labels in rows, the model's answers in columns.",
    "reliability": "Reliability curve: predicted probability against the share of offensive memes, in 15 equal bins; "
    "dashed: before calibration.",
    "thresholds": "Accuracy, macro F1, precision and recall at every threshold; the black line is the bundle's.",
}


def write_evaluation(result: EvaluationResult, data: Path, out: Path) -> Path:
    """Write the page and a PNG per plot into ``out``, each file whole or not at all; return the page's path.

    Args:
        result: What to show.
        data: Folder of the evaluated memes, for the pictures of the mistakes.
        out: Folder of the page, made if it is missing; files of an earlier evaluation are replaced.
    """
    plots = draw_plots(result)
    page = render_page(result, plots, [_shrink_picture(data, mistake) for mistake in result.mistakes])
    out.mkdir(parents=True, exist_ok=True)
    for name, content in plots.items():
        write_whole(out / f"{name}.png", content)
    write_whole(out / PAGE, page.encode("utf-8"))  # last, so that a new page never stands beside old plots
    return out / PAGE


def render_page(result: EvaluationResult, plots: dict[str, bytes], pictures: list[bytes]) -> str:
    """The page's HTML.

    Args:
        result: What to show.
        plots: PNGs by name, from ``draw_plots``.
        pictures: A JPEG for each mistake.
    """
    return (
        make_environment(Path(__file__).parent)
        .get_template(_TEMPLATE)
        .render(
            result=result,
            columns=_COLUMNS,
            models=_MODELS,
            plots=[(_CAPTIONS[name], _inline(content, "png")) for name, content in plots.items()],
            mistakes=[
                (mistake, _inline(picture, "jpeg")) for mistake, picture in zip(result.mistakes, pictures, strict=True)
            ],
        )
    )


def make_environment(*folders: Path) -> Environment:
    """Templates in ``folders``, whose values are escaped, with the filters ``figure`` and ``interval``."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = format_figure
    environment.filters["interval"] = _format_interval
    return environment


def format_figure(value: float | None) -> str:
    """Format a figure with three decimals, or "n/a"."""
    return "n/a" if value is None else f"{value:.3f}"


def _format_interval(estimate: Estimate) -> str:
    return "" if estimate.value is None else f"{estimate.low:.3f} to {estimate.high:.3f}"


def _inline(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _shrink_picture(data: Path, mistake: Mistake) -> bytes:
    picture = decode_image(read_picture(data / mistake.image_path, root=data))
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
