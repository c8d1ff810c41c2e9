"""Source code of this project, rewritten for Python 3.8.

Boards ship Python 3.8; the project is written for 3.10. The kit's copy of a module is therefore lowered
when the kit is packed: the project keeps its idioms, and no module of it is written for the board. Only
text is replaced, at the places that the syntax tree names, so that lines keep their numbers (a traceback on
the board is one of the repository) and the result is the same whichever Python packs.

| in the source | in the kit |
|---|---|
| ``dataclass(slots=True)`` | without ``slots`` |
| ``zip(..., strict=True)`` | ``strict_zip(...)``, which raises as it does |
| ``text.removeprefix(p)``, ``removesuffix`` | functions of those names |
| ``functools.cache``, ``itertools.pairwise`` | those of ``older_python`` |
| ``math.lcm``, ``math.gcd`` of many | those of ``older_python`` |
| ``collections.abc.X`` | ``typing.X``, which can be subscripted |
| ``list[X]`` and its like where they are evaluated | ``typing.List[X]`` |
| ``X | None``, ``Name = A | B`` of classes, where they are evaluated | ``Union[...]`` |
| ``numpy.typing.NDArray`` | ``older_python``'s where numpy has none (before 1.21) |

Annotations are not evaluated (``from __future__ import annotations``) and stay as they are. What none of this
covers is refused: the kit is not packed.
"""

from __future__ import annotations

import ast
from itertools import pairwise

VERSION = (3, 8)
HELPERS = "older_python"

_MOVED = {
    ("functools", "cache"): HELPERS,
    ("itertools", "pairwise"): HELPERS,
    ("math", "gcd"): HELPERS,
    ("math", "lcm"): HELPERS,
    ("numpy.typing", "NDArray"): HELPERS,
}
_GENERICS = {
    "tuple": "Tuple",
    "list": "List",
    "dict": "Dict",
    "set": "Set",
    "frozenset": "FrozenSet",
    "type": "Type",
}
_METHODS = ("removeprefix", "removesuffix")
# Newer than 3.8, and rewritten nowhere: a module that the kit carries must do without.
_REFUSED_ATTRIBUTES = {
    *("bit_count", "is_relative_to", "with_stem", "randbytes", "hardlink_to", "walk_packages"),
    *("nextafter", "ulp", "fromisocalendar"),
}
_REFUSED_IMPORTS = {
    ("typing", name) for name in ("TypeAlias", "ParamSpec", "Concatenate", "TypeGuard", "Self", "Annotated")
} | {("dataclasses", "KW_ONLY"), ("datetime", "UTC"), ("importlib.resources", "files"), ("enum", "StrEnum")}

Edit = tuple[int, int, str]  # replace [start, end) of the text


class CannotLower(ValueError):
    """A construct that Python 3.8 does not know and the lowering does not rewrite: file, line and what."""


def lower(source: str, where: str) -> str:
    """A module's source for Python 3.8; as many lines as before.

    Args:
        source: of a module that begins with ``from __future__ import annotations``, or needs no such thing.
        where: what errors call it.

    Raises:
        CannotLower: it uses something that would not run there.
    """
    tree = ast.parse(source, filename=where)
    lowering = _Lowering(source, where)
    lowering.visit(tree)
    text = _applied(source, lowering.edits)
    if lowering.helpers:
        line = f"from {HELPERS} import {', '.join(sorted(lowering.helpers))}"
        text = _after_future(text, line, where)
    check(text, where)
    return text


def check(source: str, where: str) -> None:
    """Raise CannotLower unless Python 3.8 can compile a source and has the names that it takes.

    What a syntax tree cannot show (the union of two dicts, say) is shown by running the kit there.
    """
    try:
        tree = ast.parse(source, filename=where, feature_version=VERSION)
    except SyntaxError as error:
        raise CannotLower(
            f"{where}:{error.lineno}: expected syntax of Python 3.8, found {error.msg}"
        ) from error
    for node in ast.walk(tree):
        found = _refused(node)
        if found is not None:
            raise CannotLower(f"{where}:{getattr(node, 'lineno', 0)}: expected Python 3.8, found {found}")


def _refused(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and node.attr in _REFUSED_ATTRIBUTES:
        return f".{node.attr}"
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            pair = (node.module or "", alias.name)
            if pair in _REFUSED_IMPORTS or pair in _MOVED or node.module == "collections.abc":
                return f"from {node.module} import {alias.name}"
    if isinstance(node, ast.keyword) and node.arg in ("slots", "kw_only", "strict"):
        return f"{node.arg}="
    if type(node).__name__ in ("Match", "TryStar", "TypeAlias"):
        return type(node).__name__
    # A with statement in parentheses parses for 3.8 as one over a tuple, which fails only when it runs.
    if isinstance(node, ast.withitem) and isinstance(node.context_expr, ast.Tuple):
        return "a with statement in parentheses"
    return None


class _Lowering(ast.NodeVisitor):
    """Collects the edits of one module."""

    def __init__(self, source: str, where: str) -> None:
        self.edits: list[Edit] = []
        self.helpers: set[str] = set()
        self._source, self._where = source, where
        lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))
        self._lines = lines

    # Positions of the tree count bytes of a line, those of a text characters.
    def _at(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        return self._starts[line - 1] + len(text.encode()[:column].decode())

    def _start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._at(node.lineno, node.col_offset)

    def _end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.end_lineno, node.end_col_offset)

    def _replace(self, start: int, end: int, text: str) -> None:
        missing = self._source[start:end].count("\n") - text.count("\n")
        self.edits.append((start, end, text + "\n" * max(0, missing) if missing > 0 else text))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = node.args
        for one in (*node.decorator_list, *arguments.defaults, *arguments.kw_defaults, *node.body):
            if one is not None:
                self.visit(one)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        kept: list[ast.alias] = []
        for alias in node.names:
            home = _MOVED.get((node.module or "", alias.name))
            if home is None:
                kept.append(alias)
            else:
                self.helpers.add(alias.name)
        module = "typing" if node.module == "collections.abc" else node.module
        if module == node.module and len(kept) == len(node.names):
            return
        names = ", ".join(one.name + (f" as {one.asname}" if one.asname else "") for one in kept)
        text = f"from {module} import {names}" if kept else "pass"
        self._replace(self._start(node), self._end(node), text)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "zip":
            for keyword in node.keywords:
                if keyword.arg == "strict":
                    self._drop(node, keyword)
                    if not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
                        self._replace(self._start(function), self._end(function), "strict_zip")
                        self.helpers.add("strict_zip")
        if isinstance(function, ast.Subscript) and _name_of(function.value) in _GENERICS:  # set[int]()
            self._replace(self._end(function.value), self._end(function), "")
            for argument in (*node.args, *node.keywords):
                self.visit(argument)
            return
        if _name_of(function) == "dataclass":
            for keyword in node.keywords:
                if keyword.arg == "slots":
                    self._drop(node, keyword)
        if isinstance(function, ast.Attribute) and function.attr in _METHODS and len(node.args) == 1:
            start = self._start(function.value)
            self.edits.append((start, start, f"{function.attr}("))
            self._replace(self._end(function.value), self._start(node.args[0]), ", ")
            self.helpers.add(function.attr)
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id == "math"
            and (function.attr == "lcm" or (function.attr == "gcd" and _is_many(node)))
        ):
            self._replace(self._start(function), self._end(function), function.attr)
            self.helpers.add(function.attr)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == "functools" and node.attr == "cache":
            self._replace(self._start(node), self._end(node), "cache")
            self.helpers.add("cache")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = node.value
        if isinstance(name, ast.Name) and name.id in _GENERICS and isinstance(node.ctx, ast.Load):
            self._replace(self._start(name), self._end(name), _GENERICS[name.id])
            self.helpers.add(_GENERICS[name.id])
        self.generic_visit(node)

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            leaves = _classes_joined(statement.value) if isinstance(statement, ast.Assign) else []
            if leaves:  # an alias of types
                start, end = self._start(leaves[0]), self._end(leaves[-1])
                self.edits.append((start, start, "Union["))
                for left, right in pairwise(leaves):
                    gap = self._source[self._end(left) : self._start(right)]
                    self._replace(self._end(left), self._start(right), gap.replace("|", ",", 1))
                self.edits.append((end, end, "]"))
                self.helpers.add("Union")
            else:
                self.visit(statement)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        # A union with None is one of types; that of two classes cannot be told from one of sets.
        if isinstance(node.op, ast.BitOr) and _is_none(node.right):
            start = self._start(node.left)
            self.edits.append((start, start, "Union["))
            self._replace(self._end(node.left), self._end(node), ", None]")
            self.helpers.add("Union")
            self.visit(node.left)
            return
        self.generic_visit(node)

    def _drop(self, call: ast.Call, keyword: ast.keyword) -> None:
        """Take an argument out of a call, with its comma."""
        arguments: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
        others = sorted(arguments, key=self._start)
        index = others.index(keyword)
        if index > 0:
            self._replace(self._end(others[index - 1]), self._end(keyword), "")
        elif len(others) > 1:
            self._replace(self._start(keyword), self._start(others[1]), "")
        else:
            self._replace(self._start(keyword), self._end(keyword), "")


def _is_many(call: ast.Call) -> bool:
    return len(call.args) != 2 or any(isinstance(one, ast.Starred) for one in call.args)


def _classes_joined(node: ast.expr) -> list[ast.expr]:
    """The classes of ``A | B | C``, by their capitals; none where it is anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = (_classes_joined(side) or [side] for side in (node.left, node.right))
        both = [*left, *right]
        return (
            both if all(_name_of(one)[:1].isupper() and not _name_of(one).isupper() for one in both) else []
        )
    return []


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _applied(source: str, edits: list[Edit]) -> str:
    """The text with all edits made; insertions at one place in the order of the tree, outermost first."""
    ordered = sorted(enumerate(edits), key=lambda one: (one[1][0], one[1][1] != one[1][0], one[0]))
    parts: list[str] = []
    done = 0
    for _, (start, end, text) in ordered:
        if start < done:
            raise CannotLower(f"overlapping edits at {source[start:end]!r}")
        parts += [source[done:start], text]
        done = end
    return "".join((*parts, source[done:]))


def _after_future(text: str, line: str, where: str) -> str:
    """The import of the helpers, on the line of the ``__future__`` import: no line moves."""
    future = "from __future__ import annotations\n"
    if text.startswith(future) or f"\n{future}" in text:
        return text.replace(future, f"{future[:-1]}; {line}\n", 1)
    raise CannotLower(f"{where}:1: expected 'from __future__ import annotations', found none")
