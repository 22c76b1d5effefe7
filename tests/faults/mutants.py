"""Mutation testing: plant one small fault at a time in a module and see that a test fails.

    python -m tests.faults.mutants lib/training/losses.py lib/inference/selection.py --most 20

The tests of the module's room run once, to learn which test runs which line. Each fault is then
planted in the import of a process of its own, which runs the tests of its line up to the first that
fails; no file is changed. A fault that no test finds is printed: either it changes nothing that can
be seen, or a test is missing. mutmut 3.8 leaves functions with a decorator alone, which all losses
have, and cosmic-ray starts Python and PyTorch anew for each fault.
"""

import argparse
import ast
import json
import multiprocessing
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from lib import ROOT

FORKED = multiprocessing.get_context("fork")
SECONDS = 60  # an endless loop is found too
OTHER = {ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,),
         ast.FloorDiv: (ast.Div,), ast.Mod: (ast.Mult,), ast.Pow: (ast.Mult,),
         ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.And: (ast.Or,), ast.Or: (ast.And,),
         ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
         ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
         ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,)}
OPPOSITES = (("min", "max"), ("amin", "amax"), ("minimum", "maximum"), ("argmin", "argmax"),
             ("nanargmin", "nanargmax"), ("any", "all"), ("floor", "ceil"), ("cdf", "sf"))
RENAMED = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])} | {
    "exp": "expm1", "log": "log1p"}
SYMMETRIC = {"min", "max", "minimum", "maximum", "isclose"}
BOUNDED = {"abs", "clip", "clamp", "sorted", "round"}  # a fault leaves these out
HARMLESS = {"strict", "dtype", "keepdims"}  # arguments without which most calls fail or do the same


class Fault(NamedTuple):
    """A changed expression: its statement's lines, what stood there, what stands, the module."""

    lines: range
    before: str
    after: str
    code: CodeType


def main() -> int:
    """Print each module's counts and its faults that no test found; the status is 1 with any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--most", type=int, default=20, help="faults a module, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="+", help="folders; by default the modules' rooms")
    parser.add_argument("--marked", default="not slow", help="which tests run, as pytest's -m")
    parser.add_argument("--lines", help="folder to keep what runs which line between calls")
    options = parser.parse_args()
    rooms = sorted({f"tests/{Path(module).parts[1]}" for module in options.modules})
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(options.lines or folder)
        tests = tests_of_lines(options.tests or rooms, options.marked, kept)
    for module in options.modules:  # what is imported once need not be in every process
        import_module(dotted(module))
    counts: Counter[str] = Counter()
    for module in options.modules:
        counts += try_module(module, tests[module], options.most, options.seed)
    print(f"all: {said(counts)}")
    return 1 if counts["survived"] else 0


def said(counts: Counter[str]) -> str:
    return (f"{counts.total()} faults, {counts['found']} found, {counts['too late']} ran too long, "
            f"{counts['survived']} survived")


def try_module(module: str, tests: dict[int, set[str]], most: int, seed: int) -> Counter[str]:
    """How often the tests found a fault of the module; survivors are printed."""
    whole = list(faults((ROOT / module).read_text(encoding="utf-8"), module))
    chosen = random.Random(seed).sample(whole, min(most, len(whole)))
    counts: Counter[str] = Counter()
    for fault in sorted(chosen, key=lambda fault: (fault.lines.start, fault.before, fault.after)):
        own = set().union(*(tests.get(line, set()) for line in fault.lines))
        if "" in own:  # the module's import runs the line, so every test of the module is asked
            own = set().union(*tests.values())
        outcome = with_fault(module, fault.code, sorted(own - {""}))
        counts[outcome] += 1
        if outcome == "survived":
            print(f"{module}:{fault.lines.start} ({len(own - {''})} tests)  "
                  f"{fault.before}  ->  {fault.after}", flush=True)
    print(f"{module}: of {len(whole)} {said(counts)}", flush=True)
    return counts


def with_fault(module: str, code: CodeType, tests: Sequence[str]) -> str:
    """Whether these tests find the fault: "found", "survived" or "too late"."""
    if not tests:
        return "survived"
    process = FORKED.Process(target=_run_with_fault, args=(module, code, tests))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return "too late"
    return "found" if process.exitcode else "survived"


def _run_with_fault(module: str, code: CodeType, tests: Sequence[str]) -> None:
    for loaded in [name for name in sys.modules if name.startswith(("lib.", "tests."))]:
        del sys.modules[loaded]
    name, whole = dotted(module), SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda self, fullname: (
        code if fullname == name else whole(self, fullname))
    os._exit(_pytest([*tests, "-x"]))


def _pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    import pytest

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(pytest.main(["-p", "no:cacheprovider", *arguments], plugins=plugins))


def dotted(module: str) -> str:
    return ".".join(Path(module).with_suffix("").parts).removesuffix(".__init__")


def tests_of_lines(folders: Sequence[str], marked: str,
                   kept: Path) -> dict[str, dict[int, set[str]]]:
    """Module -> line -> the tests that run it; "" stands for the module's import."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for folder in folders:
        path = kept / f"{folder.replace('/', '.')} {marked}.json"
        if not path.exists():
            process = FORKED.Process(target=_watch, args=(folder, marked, path))
            process.start()
            process.join()
        for module, lines in json.loads(path.read_text(encoding="utf-8")).items():
            for line, tests in lines.items():
                found[module][int(line)] |= set(tests)
    return found


class _Contexts:
    """Tells coverage which test begins."""

    def __init__(self, coverage: object) -> None:
        self.coverage = coverage

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)


def _watch(folder: str, marked: str, path: Path) -> None:
    """Run a folder's tests and write which of them runs which line."""
    from coverage import Coverage

    coverage = Coverage(data_file=None, source=[str(ROOT / "lib")], config_file=False)
    coverage.start()
    status = _pytest([folder, "-m", marked], [_Contexts(coverage)])
    coverage.stop()
    if status:
        raise SystemExit(f"tests of {folder} fail without a fault; mend them first")
    data = coverage.get_data()
    found = {str(Path(file).relative_to(ROOT)): data.contexts_by_lineno(file)
             for file in data.measured_files()}
    path.write_text(json.dumps(found), encoding="utf-8")


def faults(source: str, path: str) -> Iterator[Fault]:
    """Every fault that can be planted in a module, one a changed expression."""
    tree = ast.parse(source)
    for parent, field, place, child, lines in list(_places(tree, range(0))):
        for changed in changes(child):
            _put(parent, field, place, changed)
            code = compile(ast.fix_missing_locations(tree), path, "exec")
            yield Fault(lines, _line(child), _line(changed), code)
            _put(parent, field, place, child)


def _line(node: ast.AST) -> str:
    return ast.unparse(node).strip().split("\n")[0]


def _put(parent: ast.AST, field: str, place: int | None, child: ast.AST) -> None:
    if place is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[place] = child


Place = tuple[ast.AST, str, int | None, ast.AST, range]
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "msg", "bases"}


def _places(parent: ast.AST, lines: range) -> Iterator[Place]:
    """Where every node stands, with the lines of its statement; not in types and messages."""
    for field, value in ast.iter_fields(parent):
        if field in SKIPPED_FIELDS or isinstance(parent, ast.Raise | ast.JoinedStr):
            continue
        for place, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                own = _own_lines(child) if isinstance(child, ast.stmt) else lines
                yield parent, field, place if isinstance(value, list) else None, child, own
                yield from _places(child, own)


def _own_lines(statement: ast.stmt) -> range:
    """The lines of a statement without those of the statements in it."""
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno
    return range(statement.lineno, max(statement.lineno, last) + 1)


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    match node:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            for other in OTHER.get(type(node.op), ()):
                yield _with(node, op=other())
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in OTHER[type(operator)]:
                    yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1:]])
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
        case ast.Constant(value=float()):
            yield ast.Constant(2 * node.value if node.value else 1.0)
        case ast.If() | ast.IfExp():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension(ifs=[_, *_]):
            yield _with(node, ifs=[])
        case ast.Slice():
            for name in ("lower", "upper"):
                bound = getattr(node, name)
                if bound is not None and not isinstance(bound, ast.Constant):
                    yield _with(node, **{name: ast.BinOp(bound, ast.Add(), ast.Constant(1))})
        case ast.Call():
            yield from _changed_calls(node)


def _changed_calls(call: ast.Call) -> Iterator[ast.AST]:
    """Another function, an argument less, or the first two arguments in each other's place."""
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if method else getattr(call.func, "id", "")
    if name in RENAMED:
        other = RENAMED[name]
        yield _with(call, func=_with(call.func, attr=other) if method
                    else ast.Name(other, ast.Load()))
    if name in BOUNDED:
        library = not method or getattr(call.func.value, "id", "") in ("np", "torch")
        yield call.args[0] if library else call.func.value
    for place, keyword in enumerate(call.keywords):
        if keyword.arg not in HARMLESS:
            yield _with(call, keywords=call.keywords[:place] + call.keywords[place + 1:])
    if len(call.args) > 1 and name not in SYMMETRIC and not any(
            isinstance(argument, ast.Starred | ast.Constant) for argument in call.args[:2]):
        yield _with(call, args=[call.args[1], call.args[0], *call.args[2:]])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """The node with other fields."""
    return ast.copy_location(type(node)(**dict(ast.iter_fields(node)) | fields), node)


if __name__ == "__main__":
    sys.exit(main())
