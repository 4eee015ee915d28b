"""The engine with one call left out, to see who notices."""

import ast
import importlib
import signal
import types
from contextlib import contextmanager
from pathlib import Path

import conduitstore

PACKAGE = Path(conduitstore.__file__).parent


class InCirclesError(BaseException):
    """It takes too long; of no kind that anybody handles."""


def calls_of(folder, *, names):
    """Module, function and line of each statement in a folder that is only a call of these."""
    found = []
    for path in sorted((PACKAGE / folder).glob("*.py")):
        module = ".".join(("conduitstore", *path.relative_to(PACKAGE).with_suffix("").parts))
        for name, node in _functions(ast.parse(path.read_text())):
            found += [(module, name, line) for line in _lines(node, names)]
    return found


def _functions(tree, prefix=""):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node


def _lines(function, names):
    return [node.lineno for node in ast.walk(function) if _is_call(node, names)]


def _is_call(node, names):
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    return getattr(called, "attr", getattr(called, "id", None)) in names


class _Without(ast.NodeTransformer):
    def __init__(self, line):
        self.line = line

    def visit_Expr(self, node):
        return ast.copy_location(ast.Pass(), node) if node.lineno == self.line else node


def _codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@contextmanager
def left_out(module, name, line):
    """The statement in that line of a function does nothing."""
    loaded = importlib.import_module(module)
    source = Path(loaded.__file__).read_text()
    tree = _Without(line).visit(ast.parse(source))
    codes = _codes(compile(tree, loaded.__file__, "exec"))
    (without,) = (code for code in codes if code.co_qualname == name)
    function = loaded
    for part in name.split("."):
        function = getattr(function, part)
    function = getattr(function, "__func__", function)
    before = function.__code__
    function.__code__ = without
    try:
        yield
    finally:
        function.__code__ = before


@contextmanager
def limited(cpu_seconds):
    """Whoever turns in circles for so long is stopped."""

    def stop(_signal, _frame):
        raise InCirclesError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
