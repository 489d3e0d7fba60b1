"""What may stand in place of a piece of Python: the operators of `autograder.workshop.mutations`.

An operator is a function of a `Place` in the syntax tree. It yields what may stand there instead: an expression for an
expression, a list of statements for a statement. `OPERATORS` lists them; the docstring of each shows what it does.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

MODULES = {"torch", "F", "math", "np", "nn", "random"}  # what stands before a dot and is no value of its own


@dataclass(frozen=True)
class Place:
    """A node and where it stands: `parents`, nearest first, and the slot of the nearest that holds it."""

    node: ast.AST
    parents: tuple[ast.AST, ...] = ()
    field: str = ""
    index: int | None = None

    @property
    def function(self) -> ast.FunctionDef | None:
        """The innermost function around it."""
        return next((p for p in self.parents if isinstance(p, ast.FunctionDef)), None)

    @property
    def arguments(self) -> list[ast.arg]:
        given = self.function.args if self.function else None
        return [*given.posonlyargs, *given.args, *given.kwonlyargs] if given else []


class InPlaceOfTwo(list):
    """Statements that stand in place of this one and the next."""


Operator = Callable[[Place], Iterator]
OPERATORS: dict[str, Operator] = {}


def operator(function: Operator) -> Operator:
    """Decorator: add an operator to the table, under the function's name."""
    OPERATORS[function.__name__.rstrip("_").replace("_", " ")] = function
    return function


# --- Pieces of trees


def _with(node: ast.AST, **fields) -> ast.AST:
    """A copy in which some fields are others."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _without(items: list, index: int) -> list:
    return [*items[:index], *items[index + 1 :]]


def _exchanged(items: list, index: int, new) -> list:
    return [*items[:index], new, *items[index + 1 :]]


def _plus(node: ast.expr, number: int) -> ast.expr:
    """node + number."""
    value = _number(node)
    if value is not None:
        return _constant(value + number)
    return ast.BinOp(node, ast.Add() if number > 0 else ast.Sub(), ast.Constant(abs(number)))


def _constant(value) -> ast.expr:
    negative = isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0
    return ast.UnaryOp(ast.USub(), ast.Constant(-value)) if negative else ast.Constant(value)


def _number(node: ast.AST) -> float | int | None:
    """The number a literal stands for, with its sign; None for everything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    return None


def _name(call: ast.AST) -> str:
    """What a call calls, without what stands before the dot; else nothing."""
    function = call.func if isinstance(call, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def _is_method(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") not in MODULES


# --- Operators on expressions

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt, ast.GtE),
    ast.Gt: (ast.GtE, ast.LtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

ARITHMETIC = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
}

AXES = {-2: (-1, 0), -1: (0, -2), 0: (1,), 1: (0, 2), 2: (0, 1)}
TAKE_AN_AXIS = set(
    """all amax amin any argmax argmin argsort cat cumprod cumsum diff flatten flip gather index_select log_softmax logsumexp
    max mean min narrow prod roll scatter scatter_add size softmax sort squeeze stack std sum swapaxes take_along_dim topk
    transpose unbind unsqueeze var""".split()
)
COUNT = {"range", "arange", "randint", "randrange", "randperm", "topk"}  # whose arguments are numbers to count to
COMMUTATIVE = {"max", "min", "maximum", "minimum"}

# What is called by one name and might have been called by another: each way.
KIN = [
    pair.split("/")
    for pair in """sum/mean mean/median max/min amax/amin argmax/argmin minimum/maximum any/all cumsum/cumprod std/var
    exp/expm1 log/log1p log/log2 floor/ceil sin/cos softmax/log_softmax sigmoid/logsigmoid zeros/ones zeros_like/ones_like
    rand/randn long/float train/eval append/extend startswith/endswith strip/lstrip strip/rstrip left/right""".split()
]

# Methods that change a copy, and have a sister that changes the tensor itself.
IN_PLACE = (
    "masked_fill scatter clamp exp log add sub mul div neg sigmoid square sqrt round cumsum scatter_add index_fill index_add"
).split()
VIEWS = (
    "view reshape flatten squeeze unsqueeze transpose expand detach contiguous float long to double type_as t permute narrow"
).split()


@operator
def comparison(place: Place) -> Iterator:
    """a < b: a <= b, a >= b, a > b."""
    node = place.node
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield _with(node, ops=_exchanged(node.ops, index, other()))


@operator
def number(place: Place) -> Iterator:
    """n: n + 1, n - 1, -n, 2 n, 0. An axis: the others."""
    value = _number(place.node)
    if value is None or (place.field == "operand" and _number(place.parents[0]) is not None):
        return
    # Counted from the other end it would be the same axis again, or else one of these.
    others = AXES.get(value, ()) if _is_axis(place) else (value + 1, value - 1, -value, 2 * value, type(value)(0))
    yield from (_constant(other) for other in others if other != value)


def _is_axis(place: Place) -> bool:
    holder = place.parents[0]
    if isinstance(holder, ast.Call):
        return place.field == "args" and _name(holder) in TAKE_AN_AXIS
    if isinstance(holder, ast.keyword):
        return holder.arg in ("dim", "axis")
    return isinstance(holder, ast.Subscript) and place.field == "slice" and getattr(holder.value, "attr", "") == "shape"


@operator
def arithmetic(place: Place) -> Iterator:
    """a + b: a - b, a, b."""
    node = place.node
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for other in ARITHMETIC.get(type(node.op), ()):
            changed = _with(node, op=other())
            yield changed if isinstance(node, ast.BinOp) else [changed]
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
    if isinstance(node, ast.AugAssign):
        yield [ast.Assign([node.target], node.value, lineno=node.lineno)]


@operator
def sign(place: Place) -> Iterator:
    """-a: a. What is returned or kept: its opposite."""
    node = place.node
    is_kept = isinstance(place.parents[0], (ast.Return, ast.Assign, ast.AugAssign)) and place.field == "value"
    if isinstance(node, ast.UnaryOp) and _number(node) is None:
        yield node.operand
    elif is_kept and isinstance(node, (ast.BinOp, ast.Call, ast.Name)):
        yield ast.UnaryOp(ast.USub(), node)


@operator
def boolean(place: Place) -> Iterator:
    """a and b: a or b, a, b. True: False."""
    node = place.node
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for index in range(len(node.values)):
            rest = _without(node.values, index)
            yield rest[0] if len(rest) == 1 else _with(node, values=rest)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)


@operator
def condition(place: Place) -> Iterator:
    """if a: if True, if False."""
    holder = place.parents[0]
    is_test = place.field == "test" and isinstance(holder, (ast.If, ast.IfExp, ast.While))
    if is_test or place.field == "ifs":
        yield ast.Constant(False)
        if not isinstance(holder, ast.While) or any(isinstance(n, (ast.Break, ast.Return)) for n in ast.walk(holder)):
            yield ast.Constant(True)


@operator
def arguments(place: Place) -> Iterator:
    """f(a, b, c=d): f(b, a, c=d), f(a, b), f(a, c=d)."""
    node = place.node
    if isinstance(node, ast.Call):
        for i, j in combinations(range(0 if _name(node) in COMMUTATIVE else len(node.args)), 2):
            yield _with(node, args=_exchanged(_exchanged(node.args, i, node.args[j]), j, node.args[i]))
        for i, j in combinations(range(len(node.keywords)), 2):
            one, two = node.keywords[i], node.keywords[j]
            swapped = _exchanged(node.keywords, i, _with(one, value=two.value))
            yield _with(node, keywords=_exchanged(swapped, j, _with(two, value=one.value)))
        for index, given in enumerate(node.keywords):
            if given.arg != "device":  # there is one device where this runs
                yield _with(node, keywords=_without(node.keywords, index))
        if node.args and _name(node) != "to":  # to() does nothing: it is a dropped call
            yield _with(node, args=node.args[:-1])


@operator
def keyword(place: Place) -> Iterator:
    """clamp(min=a): clamp(max=a)."""
    if isinstance(place.node, ast.keyword) and place.node.arg in ("min", "max"):
        yield _with(place.node, arg="max" if place.node.arg == "min" else "min")


@operator
def kin(place: Place) -> Iterator:
    """x.sum(): x.mean(), and other names of KIN, and the sister that works in place."""
    node = place.node
    yield from (_renamed(node, other) for other in _kin_of(_name(node)))
    if (
        isinstance(node, ast.Call)
        and _is_method(node)
        and _name(node) in IN_PLACE
        and not _is_fresh(node.func.value, place)
    ):
        yield _renamed(node, _name(node) + "_")
    if isinstance(node, ast.Attribute) and node.attr in ("values", "indices"):
        yield _with(node, attr="indices" if node.attr == "values" else "values")


def _kin_of(name: str) -> list[str]:
    return [two if name == one else one for one, two in KIN if name in (one, two)]


def _is_fresh(node: ast.expr, place: Place) -> bool:
    """Whether it is a tensor that no argument shares memory with, so that changing it in place changes nothing else."""
    if isinstance(node, ast.Name):
        given = node.id in [argument.arg for argument in place.arguments]
        values = [n.value for n in ast.walk(place.function or node) if _assigns(n, node.id)]
        return not given and bool(values) and all(not _mentions(v, node.id) and _is_fresh(v, place) for v in values)
    if isinstance(node, ast.Call) and _is_method(node) and _name(node) in VIEWS:
        return _is_fresh(node.func.value, place)
    if isinstance(node, ast.Subscript):
        return _is_fresh(node.value, place)
    return isinstance(node, (ast.BinOp, ast.Compare, ast.Call))


def _assigns(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(_mentions(target, name) for target in node.targets)


def _mentions(tree: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _renamed(call: ast.Call, name: str) -> ast.Call:
    field = "attr" if isinstance(call.func, ast.Attribute) else "id"
    return _with(call, func=_with(call.func, **{field: name}))


@operator
def dropped_call(place: Place) -> Iterator:
    """x.f(a): x. f(a, b): a, b."""
    node = place.node
    if not isinstance(node, ast.Call) or isinstance(place.parents[0], ast.Expr):
        return
    if _is_method(node):
        if ast.unparse(place.parents[0]) != f"{ast.unparse(node.func.value)} = {ast.unparse(node)}":  # a = a.f()
            yield node.func.value
    else:
        yield from (a for a in node.args if not isinstance(a, (ast.Starred, ast.GeneratorExp)))


@operator
def counting(place: Place) -> Iterator:
    """range(n): range(n + 1), range(n - 1), range(1, n). enumerate(x): enumerate(x, 1). zip(x, y): zip(x[1:], y)."""
    node, name = place.node, _name(place.node)
    if name in COUNT:
        for index, argument in enumerate(node.args):
            if _number(argument) is None and not isinstance(argument, (ast.Tuple, ast.Starred)):  # else it is `number`
                yield from (_with(node, args=_exchanged(node.args, index, _plus(argument, n))) for n in (1, -1))
    if name == "range" and len(node.args) == 1 and getattr(getattr(place.parents[0], "target", None), "id", "") != "_":
        yield _with(node, args=[ast.Constant(1), *node.args])
    if name == "enumerate" and len(node.args) == 1:
        yield _with(node, args=[*node.args, ast.Constant(1)])
    if isinstance(place.parents[0], (ast.For, ast.comprehension)) and place.field == "iter" and name != "range":
        yield ast.Subscript(_listed(node), ast.Slice(lower=ast.Constant(1)))
        yield ast.Subscript(_listed(node), ast.Slice(upper=_constant(-1)))
    if name == "zip" and isinstance(node.func, ast.Name):
        for index, argument in enumerate(node.args):
            shifted = ast.Subscript(argument, ast.Slice(lower=ast.Constant(1)))
            yield _with(node, args=_exchanged(node.args, index, shifted))


def _listed(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("list"), [node], [])


@operator
def slice_(place: Place) -> Iterator:
    """x[a:b]: x[a + 1:b], x[:b], … x[i]: x[i + 1], x[i - 1], x."""
    node = place.node
    if isinstance(node, ast.Slice):
        for field, edge in (("lower", 1), ("upper", -1)):
            bound = getattr(node, field)
            if bound is None:
                yield _with(node, **{field: _constant(edge)})
                continue
            yield _with(node, **{field: None})
            if _number(bound) is None:  # else it is `number` that changes it
                yield from (_with(node, **{field: _plus(bound, n)}) for n in (1, -1))
        if node.step is not None:
            yield _with(node, step=None)
    if isinstance(node, ast.Subscript):
        yield node.value
        if not isinstance(node.slice, (ast.Slice, ast.Tuple, ast.Constant, ast.UnaryOp)):
            yield from (_with(node, slice=_plus(node.slice, n)) for n in (1, -1))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@operator
def text(place: Place) -> Iterator:
    """A text: nothing. "sum": "mean", and other names of KIN."""
    if _is_text(place.node) and place.node.value:
        yield ast.Constant("")
        yield from (ast.Constant(other) for other in _kin_of(place.node.value))


@operator
def entry(place: Place) -> Iterator:
    """[a, b]: [a], [b]; a, b: b, a. {a: b}: {}."""
    node = place.node
    if isinstance(node, ast.Dict):
        for i in range(len(node.keys)):
            yield _with(node, keys=_without(node.keys, i), values=_without(node.values, i))
    if isinstance(node, (ast.List, ast.Set)) or (isinstance(node, ast.Tuple) and place.field != "slice"):
        if not isinstance(node, ast.Tuple):
            yield from (_with(node, elts=_without(node.elts, i)) for i in range(len(node.elts)))
        # a, b = c, d: it is enough to exchange c and d.
        is_paired = place.field == "targets" and isinstance(place.parents[0].value, ast.Tuple)
        for i, j in combinations(range(0 if is_paired else len(node.elts)), 2):
            yield _with(node, elts=_exchanged(_exchanged(node.elts, i, node.elts[j]), j, node.elts[i]))
    if isinstance(node, ast.JoinedStr):
        yield from (_with(node, values=_without(node.values, i)) for i in range(len(node.values)))


@operator
def other_name(place: Place) -> Iterator:
    """Where a parameter of the function is used, another; where one of `for a, b in c`, its neighbour."""
    node, holder = place.node, place.parents[0]
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or place.field == "func":
        return
    if getattr(holder, "attr", "") == "device":  # there is one where this runs
        return
    for names in [[argument.arg for argument in place.arguments], *_bound_together(place)]:
        if node.id in names:
            yield from (ast.Name(other) for other in names if other != node.id)


def _bound_together(place: Place) -> Iterator[list[str]]:
    """The names of each tuple that is assigned to in the function."""
    for node in ast.walk(place.function) if place.function else ():
        if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store):
            yield [e.id for e in node.elts if isinstance(e, ast.Name) and e.id != "_"]


@operator
def default(place: Place) -> Iterator:
    """f(a=None): f(a=0), f(a=1). f(a=2): f(a=None)."""
    if isinstance(place.parents[0], ast.arguments) and place.field in ("defaults", "kw_defaults"):
        if isinstance(place.node, ast.Constant) and place.node.value is None:
            yield from (ast.Constant(0), ast.Constant(1))
        elif not (isinstance(place.node, ast.Constant) and place.node.value is False):
            yield ast.Constant(None)


# --- Operators on statements

ONCE_IS_ENOUGH = {"zero_grad", "clip_grad_norm_", "train", "eval", "clear"}  # twice is the same as once
SIMPLE = (ast.Expr, ast.AugAssign, ast.Assign)


@operator
def dropped_statement(place: Place) -> Iterator:
    """A statement that something else works without: nothing in its place."""
    node = place.node
    if isinstance(
        node, (ast.Expr, ast.AugAssign, ast.Raise, ast.Assert, ast.If, ast.For, ast.While, ast.Break, ast.Continue)
    ):
        yield []
    if isinstance(node, ast.Assign) and all(_is_known_before(target, place) for target in node.targets):
        yield []
    if isinstance(node, ast.Return) and not isinstance(place.parents[0], ast.FunctionDef):
        yield []
    if isinstance(node, ast.With):
        yield node.body
    if isinstance(node, ast.FunctionDef):
        for index in range(len(node.decorator_list)):
            yield [_with(node, decorator_list=_without(node.decorator_list, index))]


def _is_known_before(target: ast.expr, place: Place) -> bool:
    """Whether what is assigned to is there without the assignment: an item, an attribute, or a name of earlier lines."""
    if not isinstance(target, ast.Name):
        return not isinstance(target, (ast.Tuple, ast.List))
    nodes = ast.walk(place.function) if place.function else []
    earlier = {
        n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.lineno < target.lineno
    }
    return target.id in earlier | {argument.arg for argument in place.arguments}


@operator
def early_return(place: Place) -> Iterator:
    """A name that was just given a value is returned at once."""
    node = place.node
    if isinstance(node, (ast.Assign, ast.AugAssign)) and place.function:
        target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
        names = [t for t in (target.elts if isinstance(target, ast.Tuple) else [target]) if isinstance(t, ast.Name)]
        after = getattr(place.parents[0], place.field)[place.index + 1 :]
        for name in names:
            if not (after and isinstance(after[0], ast.Return) and ast.unparse(after[0]) == f"return {name.id}"):
                yield [node, ast.Return(ast.Name(name.id))]


@operator
def loop(place: Place) -> Iterator:
    """A loop that ends after one turn, or returns in it. break: continue, and the reverse."""
    node = place.node
    if isinstance(node, (ast.For, ast.While)):
        if not isinstance(node.body[-1], (ast.Break, ast.Return, ast.Raise)):
            yield [_with(node, body=[*node.body, ast.Break()])]
        last = place.function.body[-1] if place.function else None
        if isinstance(last, ast.Return) and not isinstance(node.body[-1], (ast.Return, ast.Raise)):
            yield [_with(node, body=[*node.body, last])]
    if isinstance(node, ast.Break):
        yield [ast.Continue()]
    if isinstance(node, ast.Continue):
        yield [ast.Break()]


@operator
def order(place: Place) -> Iterator:
    """What is done for its effect is done twice, or after the next statement."""
    node = place.node
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and _name(node.value) not in ONCE_IS_ENOUGH):
        yield [node, node]
    if isinstance(node, SIMPLE):
        after = getattr(place.parents[0], place.field)[place.index + 1 :][:1]
        if after and isinstance(after[0], SIMPLE) and _may_depend(node, after[0]):
            yield InPlaceOfTwo([after[0], node])


def _may_depend(one: ast.stmt, two: ast.stmt) -> bool:
    """Whether the order of two statements may matter. Two plain assignments are left alone: either the second needs the
    first, and then the mutant dies at once, or their order does not matter.
    """
    if isinstance(one, ast.Expr) or isinstance(two, ast.Expr):
        return True
    if not (isinstance(one, ast.AugAssign) or isinstance(two, ast.AugAssign)):
        return False
    targets = [(s.target if isinstance(s, ast.AugAssign) else s.targets[0]) for s in (one, two)]
    changed = [t.id for t in targets if isinstance(t, ast.Name)]
    return len(changed) < 2 or _mentions(two, changed[0]) or _mentions(one, changed[1])
