"""The threat model names tests: they exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = _NAMED.findall(text)
    assert len(named) > 40
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert name in {function.name for function in functions}, f"{path}::{name}"


def test_every_threat_has_a_defence_and_a_test() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    threats = text.partition("## Threats")[2].partition("## Figures")[0]
    rows = [line for line in threats.splitlines() if line.startswith("|")]
    told = [row for row in rows if not row.startswith(("| threat", "|---"))]
    assert len(told) > 20
    for row in told:
        threat, defence, test = (cell.strip() for cell in row.strip("|").split("|"))
        assert threat
        assert defence
        assert _NAMED.search(test), row
