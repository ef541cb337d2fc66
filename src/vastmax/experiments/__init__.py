"""Experiments: a corpus and a config in; one run, or all methods beside each other, out as records and a report."""

from vastmax.experiments.compare import ComparisonProgress, compare
from vastmax.experiments.config import ModelOptions, RunConfig
from vastmax.experiments.config_file import read_comparison
from vastmax.experiments.methods import METHODS, WORDNET, Method, build_layer, method_named, method_with
from vastmax.experiments.run import Run, run_language_model
from vastmax.experiments.saved import SavedModel, holds_model, load_language_model, save_language_model
from vastmax.experiments.use import Drawn, TextScore, draw_text, score_text

__all__ = [
    "METHODS",
    "WORDNET",
    "ComparisonProgress",
    "Drawn",
    "Method",
    "ModelOptions",
    "Run",
    "RunConfig",
    "SavedModel",
    "TextScore",
    "build_layer",
    "compare",
    "draw_text",
    "holds_model",
    "load_language_model",
    "method_named",
    "method_with",
    "read_comparison",
    "run_language_model",
    "save_language_model",
    "score_text",
]
