"""Mutation testing plants what it says, and its outcome is that of the tests."""

import ast

import pytest

from lib import ROOT
from tests.faults.mutants import changes, faults, with_fault

MODULE = "lib/analysis/statistics/outcomes.py"
TESTS = ["tests/analysis/statistics/test_statistics.py::"
         "test_a_win_rate_and_its_mirror_sum_to_one"]


@pytest.mark.parametrize(("expression", "expected"), [
    ("a + b", ["a - b"]),
    ("a < b <= 3", ["a <= b <= 3", "a >= b <= 3", "a < b < 3", "a < b > 3"]),
    ("a and b", ["a or b"]),
    ("not a", ["a"]),
    ("7", ["8", "6"]),
    ("0.5", ["1.0"]),
    ("a if b else c", ["a if not b else c"]),
    ("np.abs(a)", ["a"]),
    ("a.clip(0, 1)", ["a"]),
    ("min(a, b)", ["max(a, b)"]),
    ("policy(a, b, keep=c)", ["policy(a, b)", "policy(b, a, keep=c)"]),
    ("f(a, strict=True)", []),
])
def test_an_expression_has_these_faults(expression: str, expected: list[str]) -> None:
    node = ast.parse(expression, mode="eval").body
    assert [ast.unparse(changed) for changed in changes(node)] == expected


def test_types_messages_and_decorators_have_no_faults() -> None:
    source = ("@cached(8)\ndef f(a: int | None) -> int | None:\n"
              "    raise ValueError(f'{a + 1} is over 3')\n")
    assert list(faults(source, "any.py")) == []


def test_a_fault_is_found_where_a_test_fails_with_it_and_survives_where_none_does() -> None:
    source = (ROOT / MODULE).read_text(encoding="utf-8")
    fault = next(fault for fault in faults(source, MODULE) if fault.before == "a - b")
    assert fault.after == "a + b"
    assert with_fault(MODULE, fault.code, TESTS) == "found"
    assert with_fault(MODULE, compile(source, MODULE, "exec"), TESTS) == "survived"
