"""Finished records to pictures: nothing here trains or measures, so a figure is redrawn without doing it again."""

from vastmax.reporting.figures import save_figure
from vastmax.reporting.gradient_error import gradient_error_plot
from vastmax.reporting.importance_curves import importance_curves

__all__ = ["gradient_error_plot", "importance_curves", "save_figure"]
