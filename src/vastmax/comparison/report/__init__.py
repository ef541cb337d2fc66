"""Tables and an HTML page from finished records. Nothing here trains or measures, so a report can be redrawn."""

from vastmax.comparison.report.page import require_report, write_report
from vastmax.comparison.report.records import RunRecord, read_records
from vastmax.comparison.report.summary import Estimate, SummaryRow, pareto_front, summary_rows
from vastmax.comparison.report.tables import comparison_table
from vastmax.comparison.report.verdict import Pair, judge, verdict_sentences

__all__ = [
    "Estimate",
    "Pair",
    "RunRecord",
    "SummaryRow",
    "comparison_table",
    "judge",
    "pareto_front",
    "read_records",
    "require_report",
    "summary_rows",
    "verdict_sentences",
    "write_report",
]
