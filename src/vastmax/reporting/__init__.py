"""Finished records to pictures: nothing here trains or measures, so a figure is redrawn without doing it again."""

from vastmax.reporting.figures import save_figure
from vastmax.reporting.gradient_error import gradient_error_plot

__all__ = ["gradient_error_plot", "save_figure"]
