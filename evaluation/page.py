"""Show an evaluation as one HTML page that needs nothing else: no script, no network, no file beside it.

Does not compute any figure. Pictures and captions of memes stay hidden until somebody asks for them.
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
    from evaluation.report import EvaluationReport, Mistake
    from evaluation.statistics import Estimate

PAGE: Final = "index.html"
_TEMPLATE: Final = "page.html"
_LONGEST_SIDE: Final = 480  # pixels; enough to see what a meme is about
# Field of ModelFigures, heading, what a reader should know of it.
_COLUMNS: Final = (
    ("accuracy", "Accuracy", "share of right answers"),
    ("macro_f1", "Macro F1", "mean of both labels' F1"),
    ("weighted_f1", "Weighted F1", "by how frequent the labels are"),
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
    "reliability": "Reliability curve: predicted probability against the share of offensive memes, in 15 equal bins.",
    "thresholds": "Accuracy, macro F1, precision and recall at every threshold; the black line is the bundle's.",
}


def write_evaluation(report: EvaluationReport, data: Path, out: Path) -> Path:
    """Write the page and a PNG per plot into ``out``, each file whole or not at all; return the page's path.

    Args:
        report: What to show; files of an earlier one are replaced.
        data: The folder the report is about, for the pictures of its mistakes.
        out: Made if it is missing.
    """
    plots = draw_plots(report)
    page = render_page(report, plots, [_shrink_picture(data, mistake) for mistake in report.mistakes])
    out.mkdir(parents=True, exist_ok=True)
    for name, content in plots.items():
        write_whole(out / f"{name}.png", content)
    write_whole(out / PAGE, page.encode("utf-8"))  # last, so that a new page never stands beside old plots
    return out / PAGE


def render_page(report: EvaluationReport, plots: dict[str, bytes], pictures: list[bytes]) -> str:
    """The page's HTML.

    Args:
        report: What to show.
        plots: PNGs by name, as ``draw_plots`` gives them.
        pictures: A JPEG for each of the report's mistakes.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = format_figure
    environment.filters["interval"] = _format_interval
    return environment.get_template(_TEMPLATE).render(
        report=report,
        columns=_COLUMNS,
        models=_MODELS,
        plots=[(_CAPTIONS[name], _inline(content, "png")) for name, content in plots.items()],
        mistakes=[
            (mistake, _inline(picture, "jpeg")) for mistake, picture in zip(report.mistakes, pictures, strict=True)
        ],
    )


def format_figure(value: float | None) -> str:
    """Three decimals, as everywhere on the page, or "n/a"."""
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
