"""What grading runs of demonstration cells: what is cheap, and only where an answer uses it.

Long demonstrations (training, plots, models) are not run in grading. But an answer may use an import, a constant or a
function of such a cell, as it could in the notebook. So a demonstration is reduced to its cheap statements, and of
those to the ones that define a name which a cell that does run refers to, directly or through others. A submission
that uses none of them pays nothing.

Cheap is what the text alone shows to be: imports, functions, classes, and assignments of literals, arithmetic and a
few calls. Nothing is measured, so the same submission is always run in the same way.
"""

import ast
import builtins
import contextlib
import fnmatch
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager
from nbformat.notebooknode import NotebookNode

from autograder.grading.cells import is_demo

CHEAP_BUILTINS = frozenset(
    "abs all any bin bool bytes chr complex dict divmod enumerate float format frozenset hash int isinstance len list "
    "max min object ord pow range repr reversed round set slice sorted str sum tuple type zip".split()
)
# Calls of modules, as they are written in a notebook. What they are given must be cheap too.
CHEAP_CALLS = (
    "math.* cmath.* re.compile itertools.* functools.partial partial operator.* string.* "
    "Counter defaultdict deque OrderedDict namedtuple NamedTuple collections.* Fraction Decimal Path pathlib.* "
    "random.Random device.* "
    "data.load_tokenizer torch.tensor torch.arange torch.linspace torch.zeros torch.ones torch.full torch.eye "
    "torch.as_tensor torch.stack torch.cat torch.where torch.isin torch.maximum torch.minimum torch.device "
    "torch.Generator torch.Size torch.finfo torch.iinfo torch.cuda.is_available torch.backends.mps.is_available "
    "numpy.array np.array numpy.arange np.arange numpy.linspace np.linspace os.environ.get"
).split()
MAX_MAGIC = 50_000  # characters of a cell in which magics are looked for: that takes quadratic time
_MUTATORS = frozenset("append extend insert remove pop clear update setdefault add discard sort reverse".split())


@dataclass(frozen=True)
class Part:
    """What is run of one demonstration cell. names: what it defines that is used, in order."""

    source: str
    names: list[str]


def parts_to_run(notebook: NotebookNode) -> dict[int, Part]:
    """For each demonstration cell of which something is run, by its index, what that is."""
    try:
        return _parts_to_run(notebook)
    except RecursionError:  # something is nested so deeply that it can hardly be an answer
        return {}


def _parts_to_run(notebook: NotebookNode) -> dict[int, Part]:
    statements = list(_statements(notebook))
    wanted = set()
    for cell in _code(notebook, demo=False):
        wanted |= names_used(cell.source)
    bound = {name for statement in statements for name in statement.binds}
    chosen: set[int] = set()
    growing = True
    while growing:
        growing = False
        for number, statement in enumerate(statements):
            starred = "*" in statement.binds and any(not _is_known(name, bound) for name in wanted)
            if statement.reason or number in chosen or not (statement.binds & wanted or starred):
                continue
            chosen.add(number)
            wanted |= statement.uses
            growing = True
    parts: dict[int, list[_Statement]] = {}
    for number in sorted(chosen):
        parts.setdefault(statements[number].cell, []).append(statements[number])
    return {cell: _part(of_cell, wanted) for cell, of_cell in parts.items()}


def names_left_out(notebook: NotebookNode) -> dict[str, str]:
    """The names that demonstrations define and grading does not, at the notebook's end; and what makes each long."""
    left_out: dict[str, str] = {}
    for statement in _statements(notebook, also_run=True):
        for name in statement.binds:
            left_out.pop(name, None)
            if statement.reason:
                left_out[name] = statement.reason
    return left_out


def names_of_demonstrations(notebook: NotebookNode) -> set[str]:
    """All names that demonstration cells define, whether or not grading runs what defines them."""
    return {name for statement in _statements(notebook) for name in statement.binds}


def why_missing(error: str, notebook: NotebookNode) -> str:
    """A sentence for an error that says a name is not defined, where only a demonstration of the notebook defines it."""
    try:
        missing = set(re.findall(r"name '(\w{1,100})' is not defined", error))
        missing = missing and missing & names_of_demonstrations(notebook) - _names_of_others(notebook)
    except RecursionError:
        return ""
    if not missing:
        return ""
    return (
        f"`{min(missing)}` is defined in a demonstration cell that is not run in grading; an answer may use its "
        "arguments, imports and earlier answers."
    )


def _names_of_others(notebook: NotebookNode) -> set[str]:
    return {n for cell in _code(notebook, demo=False) for tree in _parsed(cell.source) for n in _bound(tree)}


def definitions(source: str) -> set[str]:
    """The statements of a cell that give something a name, in a form that can be compared."""
    named = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    try:
        return {ast.dump(node) for node in _parsed(source) if isinstance(node, named)}
    except RecursionError:
        return set()


@lru_cache(maxsize=512)
def names_used(source: str) -> frozenset[str]:
    """The global names that a cell's code refers to, as far as its text shows; none where it does not parse."""
    plain = _without_magics(source)
    try:
        names = _referenced(symtable.symtable(plain, "<cell>", "exec"))
        for node in ast.walk(ast.parse(plain)):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                names.add(node.value)  # globals()["PAD"]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("get_ipython().run_"):
                words = " ".join(a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
                names |= set(re.findall(r"\b[^\W\d]\w*", words))  # %time answer(PAD)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(names)


@dataclass
class _Statement:
    """One top-level statement. reason: what makes it long; '' for a cheap one. cell: the index of its cell."""

    cell: int
    tree: ast.stmt
    binds: set[str]
    uses: set[str]
    reason: str = ""


@dataclass
class _Known:
    """What is known of the global names at some place of the notebook."""

    modules: set[str] = field(default_factory=set)  # names that imports bound
    long: set[str] = field(default_factory=set)  # names that grading does not define
    cheap: set[str] = field(default_factory=set)  # names that a demonstration's cheap statement defines


def _statements(notebook: NotebookNode, also_run: bool = False) -> Iterator[_Statement]:
    """The demonstrations' statements in order, and with `also_run` those of the other cells, which are all run.

    A cheap statement whose name a long one binds or changes later is followed by one that takes the name away: a
    missing name can be explained, a stale value cannot.
    """
    known, filled = _Known(), _filled_by_functions(notebook)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        demo = is_demo(cell)
        for node, changed, bound, used in _taken_apart(cell.source):
            binds = bound | changed
            statement = _Statement(index, node, binds, used | changed)
            statement.reason = _why_long(node, known) if demo else ""
            if demo and isinstance(node, (ast.Assign, ast.AnnAssign)) and binds & filled:
                statement.reason = "a function that fills it"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                known.modules |= binds
            if demo and statement.reason:
                for name in sorted(binds & known.cheap):
                    yield _Statement(index, ast.parse(f"globals().pop({name!r}, None)").body[0], {name}, set())
            known.long = known.long | binds if statement.reason else known.long - binds
            known.cheap = known.cheap | binds if demo and not statement.reason else known.cheap - binds
            if demo or also_run:
                yield statement


@lru_cache(maxsize=512)
def _taken_apart(source: str) -> list[tuple[ast.stmt, frozenset, frozenset, frozenset]]:
    """Each statement of a cell, and the names that it changes, binds and uses. A class has most of its cells in common."""
    nodes = [node for tree in _parsed(source) for node in _one_import_each(tree)]
    return [(node, *map(frozenset, (_changed(node), _bound(node), _used(node)))) for node in nodes]


def _part(statements: list[_Statement], wanted: set[str]) -> Part:
    """Each statement on its own: one that fails costs no other."""
    guarded = []
    for statement in statements:
        tree = ast.parse("try:\n    pass\nexcept Exception:\n    pass").body[0]
        tree.body = [statement.tree]
        guarded.append(ast.unparse(tree))
    names = dict.fromkeys(name for statement in statements for name in sorted(statement.binds & wanted))
    return Part("\n".join(guarded), list(names))


def _why_long(node: ast.stmt, known: _Known) -> str:
    """What in a statement is not known to be cheap; '' where all is."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef)):
        return ""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return _first_reason([*node.args.defaults, *filter(None, node.args.kw_defaults)], known)
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        inside = [t for t in targets if not isinstance(t, (ast.Name, ast.Tuple, ast.List))]
        inside += targets if isinstance(node, ast.AugAssign) else []
        return _first_reason([*filter(None, [node.value]), *inside], known)
    if isinstance(node, ast.If):
        return _first_reason([node.test], known) or _first_long([*node.body, *node.orelse], known)
    if isinstance(node, ast.Try):
        handlers = [inner for handler in node.handlers for inner in handler.body]
        return _first_long([*node.body, *handlers, *node.orelse, *node.finalbody], known)
    if isinstance(node, ast.Pass):
        return ""
    if isinstance(node, ast.Expr) and _changed(node):
        return _first_reason([node.value], known)
    return type(node).__name__.lower()


def _first_long(statements: list[ast.stmt], known: _Known) -> str:
    return next(filter(None, (_why_long(statement, known) for statement in statements)), "")


def _first_reason(expressions: Iterable[ast.expr], known: _Known) -> str:
    return next(filter(None, (_why_expensive(expression, known) for expression in expressions)), "")


def _why_expensive(expression: ast.AST, known: _Known) -> str:
    if isinstance(expression, ast.Name):
        return expression.id if expression.id in known.long else ""
    if isinstance(expression, ast.Lambda):
        return ""
    if isinstance(expression, ast.Call):
        return _why_call(expression, known) or _first_reason(ast.iter_child_nodes(expression), known)
    if isinstance(expression, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        names = {n.id for loop in expression.generators for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
        within = replace(known, long=known.long - names)  # the loop's own names, not the notebook's
        loops = [loop.iter for loop in expression.generators]
        return _first_reason(loops, known if len(loops) == 1 else within) or _first_reason(
            ast.iter_child_nodes(expression), within
        )
    if isinstance(expression, (ast.Await, ast.Yield, ast.YieldFrom)):
        return type(expression).__name__.lower()
    return _first_reason(ast.iter_child_nodes(expression), known)


def _why_call(call: ast.Call, known: _Known) -> str:
    name = ast.unparse(call.func)
    if name in CHEAP_BUILTINS or any(fnmatch.fnmatchcase(name, pattern) for pattern in CHEAP_CALLS):
        return ""
    if isinstance(call.func, ast.Attribute) and not _is_of_a_module(call.func, known):
        return ""  # a method of something cheap; whether that is cheap is asked of the rest of the call
    return f"{name}()"


def _is_of_a_module(function: ast.Attribute, known: _Known) -> bool:
    root: ast.expr = function
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id in known.modules


def _one_import_each(node: ast.stmt) -> Iterator[ast.stmt]:
    """`from a import b, c` as two statements: who uses b should not wait for c."""
    if isinstance(node, ast.Import):
        yield from (ast.Import([alias]) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
    else:
        yield node


def _changed(node: ast.stmt) -> set[str]:
    """Names whose objects a statement changes: `x[0] = 1`, `x.y = 1`, `x.append(1)`."""
    names = set()
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)) and inner is node:
            return set()
        stored = isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(inner.ctx, (ast.Store, ast.Del))
        called = isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call)
        called = called and isinstance(inner.value.func, ast.Attribute) and inner.value.func.attr in _MUTATORS
        root = inner if stored else inner.value.func if called else None
        while isinstance(root, (ast.Subscript, ast.Attribute)):
            root = root.value
        if isinstance(root, ast.Name):
            names.add(root.id)
    return names


def _filled_by_functions(notebook: NotebookNode) -> set[str]:
    """Global names to which functions of demonstrations append: where those are not called, they would be empty."""
    return {name for cell in _code(notebook, demo=True) for name in _filled_in(cell.source)}


@lru_cache(maxsize=512)
def _filled_in(source: str) -> frozenset[str]:
    names = set()
    for node in _parsed(source):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
            grown = {ast.unparse(call.value) for call in calls if call.attr in ("append", "extend", "add")}
            names |= grown & _used(node)
    return frozenset(names)


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        return {"*"}
    table = symtable.symtable(ast.unparse(node), "<statement>", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}


def _used(node: ast.stmt) -> frozenset[str]:
    return names_used(ast.unparse(node))


def _referenced(table: symtable.SymbolTable) -> set[str]:
    """Global names that a scope and those inside it load."""
    module = table.get_type() == "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (module or s.is_global())}
    return names.union(*(_referenced(inner) for inner in table.get_children()))


def _is_known(name: str, bound: set[str]) -> bool:
    return name in bound or hasattr(builtins, name)


def _code(notebook: NotebookNode, demo: bool) -> Iterator[NotebookNode]:
    return (cell for cell in notebook.cells if cell.cell_type == "code" and is_demo(cell) == demo)


def _parsed(source: str) -> list[ast.stmt]:
    """The statements of a cell; none where it does not parse, since then none of it runs."""
    try:
        return ast.parse(_without_magics(source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _without_magics(source: str) -> str:
    """The cell as plain Python: `%time x` is a call then."""
    if not re.search(r"[%!?]", source) or len(source) > MAX_MAGIC:
        return source
    try:
        ast.parse(source)
    except SyntaxError:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            return TransformerManager().transform_cell(source)
    except (ValueError, RecursionError, MemoryError):
        pass
    return source
