"""Finished records to tables, pictures and pages: nothing here trains or measures, so all is redrawn without that."""

from vastmax.reporting.figures import save_figure
from vastmax.reporting.gradient_error import gradient_error_plot
from vastmax.reporting.importance_curves import importance_curves
from vastmax.reporting.records import RunRecord, append_record, read_records

__all__ = [
    "RunRecord",
    "append_record",
    "gradient_error_plot",
    "importance_curves",
    "read_records",
    "save_figure",
]
