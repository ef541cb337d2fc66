"""Finished records to tables and one page: nothing here trains or measures, so all is redrawn without that."""

from vastmax.comparison.report.page import require_report, write_report
from vastmax.comparison.report.records import RunRecord, read_records
from vastmax.comparison.report.summary import Estimate, SummaryRow, pareto_front, summary_rows
from vastmax.comparison.report.tables import comparison_table

__all__ = [
    "Estimate",
    "RunRecord",
    "SummaryRow",
    "comparison_table",
    "pareto_front",
    "read_records",
    "require_report",
    "summary_rows",
    "write_report",
]
