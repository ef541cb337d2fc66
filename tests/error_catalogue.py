"""List every error message of the package by file, for review.

python -m tests.error_catalogue
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "vastmax"


def template(node: ast.expr) -> str:
    """Return the text of a string expression, with … in place of interpolated values."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(each) for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "…"


def messages() -> Iterator[tuple[str, str, str]]:
    """Yield the place (file:line), type and template of each error that the package raises with its own text."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                error, texts = node.func.id, [template(each) for each in node.args]
                if error == "refused":
                    error, texts = "InputError", [f"{texts[0]} is …: give {texts[-1]}."]
                if error.endswith("Error"):
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", error, texts[0]


def main() -> None:
    """Print the catalogue."""
    for each in messages():
        print(": ".join(each))


if __name__ == "__main__":
    main()
