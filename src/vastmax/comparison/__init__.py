"""Train output layers on one corpus, alone or compared under one budget, and write records and a report."""

from typing import TYPE_CHECKING

from vastmax.lazy import lazy

if TYPE_CHECKING:
    from vastmax.comparison.comparing import ComparisonProgress, compare
    from vastmax.comparison.config import Plan, RunConfig, plan_comparison, read_comparison
    from vastmax.comparison.methods import METHODS, Method, build_layer, method_named, method_with
    from vastmax.comparison.run import RunResult, run_language_model
    from vastmax.comparison.scoring import estimated_seconds, within_budget
    from vastmax.comparison.sharding import check_sharding

__all__ = [
    "METHODS",
    "ComparisonProgress",
    "Method",
    "Plan",
    "RunConfig",
    "RunResult",
    "build_layer",
    "check_sharding",
    "compare",
    "estimated_seconds",
    "method_named",
    "method_with",
    "plan_comparison",
    "read_comparison",
    "run_language_model",
    "within_budget",
]

# The report is drawn from records without torch, which everything else needs.
__getattr__, __dir__ = lazy(__name__, __all__, ("comparing", "config", "methods", "run", "scoring", "sharding"))
