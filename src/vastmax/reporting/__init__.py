"""Finished records to tables, pictures and pages: nothing here trains or measures, so all is redrawn without that."""

from vastmax.reporting.comparison import Estimate, SummaryRow, pareto_front, summary_rows
from vastmax.reporting.comparison_table import comparison_table
from vastmax.reporting.figures import save_figure
from vastmax.reporting.gradient_error import gradient_error_plot
from vastmax.reporting.importance_curves import importance_curves
from vastmax.reporting.records import RunRecord, read_records
from vastmax.reporting.report import require_report, write_report

__all__ = [
    "Estimate",
    "RunRecord",
    "SummaryRow",
    "comparison_table",
    "gradient_error_plot",
    "importance_curves",
    "pareto_front",
    "read_records",
    "require_report",
    "save_figure",
    "summary_rows",
    "write_report",
]
