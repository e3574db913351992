"""The public verbs: functions on plain data, each a few lines over the packages below."""

from lenscope.api.analysis import compare, evaluate, examine, predict, predict_each, reconstruct, summary
from lenscope.api.data import load
from lenscope.api.drawing import (
    confusion,
    curves,
    film,
    kernels,
    mistakes,
    plot,
    reconstructions,
    report,
    show_preparation,
)  # fmt: skip
from lenscope.api.training import resume, train, verify

__all__ = [
    "compare", "confusion", "curves", "evaluate", "examine", "film", "kernels", "load", "mistakes", "plot", "predict",
    "predict_each", "reconstruct", "reconstructions", "report", "resume", "show_preparation", "summary", "train",
    "verify",
]  # fmt: skip
