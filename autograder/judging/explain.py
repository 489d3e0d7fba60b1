"""What the numbers say: sentences about a value that is not the expected one and matches no known mistake."""

import itertools
import math

import numpy as np

from autograder.judging.compare import MISSING, Entry, Z, close_elements, exact, kind
from autograder.values import Other

_FUNCTIONS = {
    "the exponential of": np.exp,
    "the logarithm of": np.log,
    "the square of": np.square,
    "the square root of": np.sqrt,
    "one over": lambda x: 1 / x,
    "one minus": lambda x: 1 - x,
    "the size, without the sign, of": np.abs,
}
_FACTORS = {
    "the factor is log 2, as between bits and nats": math.log(2),
    "the factor is 1 / log 2, as between nats and bits": 1 / math.log(2),
}


def describe(value) -> str:
    """A value in a few words: `tensor of shape (3, 5), float32: 0.25, 1.5, …`."""
    if value is None:
        return "None"
    if isinstance(value, Other):
        return f"{value.type} {value.repr}" if value.repr else value.type
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return _number(value.item())
        shown = ", ".join(_number(x) for x in value.reshape(-1)[:6].tolist())
        more = ", …" if value.size > 6 else ""
        return f"shape {value.shape}, {value.dtype}: {shown}{more}"
    if isinstance(value, list):
        return f"a list of {len(value)}: {', '.join(describe(v) for v in value[:3])}{', …' if len(value) > 3 else ''}"
    if isinstance(value, str):
        return repr(value if len(value) <= 160 else value[:157] + "…")
    return _number(value)


@np.errstate(all="ignore")  # the numbers come from anywhere: infinities among them are no news
def what_they_say(got: Entry, want: Entry, rtol: float, sizes: dict[str, int], name: str = "") -> str:
    """One sentence (or an empty string) on how `got` differs from `want`.

    sizes: what the lengths in this case are called, so that a factor of 6 can be named "the batch size"; name: of the
    entry.
    """
    g, w = got.value, want.value
    if got is MISSING:
        return "What your function returned leaves nothing to compare here."
    if got.says:
        return got.says
    if g is None and "gradient" in name:
        return "No gradient came. Is the result cut off from the graph (.item(), .detach(), a new tensor)?"
    if g is None:
        return f"None came where {_kind(w)} is expected. Does every path of your function end with `return`?"
    if isinstance(g, Other):
        return f"A value of type {g.type} came where {_kind(w)} is expected."
    if isinstance(w, (list, str)) or isinstance(g, (list, str)):
        return _about_sequences(g, w)
    if isinstance(w, (bool, int, float, np.ndarray)):
        g, w = np.asarray(g), np.asarray(w)
        if g.shape != w.shape and not (g.size == w.size == 1):
            return _about_shapes(g, w, rtol, sizes)
        if want.stderr is not None:
            return _about_estimates(g, w, got.stderr, want.stderr)
        return _about_values(g, w.reshape(g.shape), rtol, sizes)
    return ""


def _about_sequences(g, w) -> str:
    if type(g) is not type(w):
        return f"{_kind(g).capitalize()} came where {_kind(w)} is expected."
    if isinstance(w, str) and "\n" in w:
        return _about_lines(g.split("\n"), w.split("\n"))
    if len(g) != len(w):
        return f"It has {len(g)} {'characters' if isinstance(g, str) else 'items'}, expected {len(w)}."
    if isinstance(g, str):
        index = next((i for i, (a, b) in enumerate(zip(g, w, strict=True)) if a != b), 0)
        start = max(0, index - 20)
        return f"The first difference: “{g[start : index + 20]}” where “{w[start : index + 20]}” is expected."
    return ""


def _about_lines(g: list[str], w: list[str]) -> str:
    missing, extra = [x for x in w if x not in set(g)], [x for x in g if x not in set(w)]
    said = []
    if missing:
        said.append(f"{len(missing)} of {len(w)} expected lines are missing; the first is “{missing[0][:80]}”.")
    if extra:
        said.append(f"{len(extra)} of your lines should not be there; the first is “{extra[0][:80]}”.")
    return " ".join(said) or "The lines are the expected ones, in another order or number."


def _about_shapes(g: np.ndarray, w: np.ndarray, rtol: float, sizes: dict[str, int]) -> str:
    said = f"The shape is {_named_shape(g.shape, sizes)}, expected {_named_shape(w.shape, sizes)}."
    if g.ndim == w.ndim and sorted(g.shape) == sorted(w.shape):
        return said + " The axes are in another order: is something transposed?"
    if w.size == 1 and g.dtype.kind in "fiu" and len(np.unique(g)) > 1:
        if _all_close(g.mean(), w, rtol):
            return said + " Its mean is the expected value."
        if _all_close(g.sum(), w, rtol):
            return said + " Its sum is the expected value."
    return said


def _named_shape(shape: tuple, sizes: dict[str, int]) -> str:
    names = {size: name for name, size in sizes.items()}
    named = [f"{n} ({names[n]})" if n in names else str(n) for n in shape]
    return "(" + ", ".join(named) + ("," if len(named) == 1 else "") + ")"


def _about_estimates(g, w, g_error, w_error) -> str:
    if g_error is None:
        return "Exact values came where draws are expected."
    g, w, g_error, w_error = np.broadcast_arrays(g, w, g_error, w_error)  # one number may come with or without an axis
    off = np.abs(g - w) / np.sqrt(np.square(g_error) + np.square(w_error))
    if not (off > Z).any() and (g_error > w_error).any():
        return "Your draws scatter far more than they should."
    at = np.unravel_index(int(np.argmax(off)), off.shape) if off.ndim else ()
    where = f" at index {_index(at)}" if at else ""
    return f"On average it is {_number(float(g[at]))}{where}, expected about {_number(float(w[at]))}."


def _about_values(g: np.ndarray, w: np.ndarray, rtol: float, sizes: dict[str, int]) -> str:
    if w.ndim and kind(g) != kind(w):
        return f"The numbers are {kind(g)} ({g.dtype}), expected {kind(w)} ({w.dtype})."
    if exact(w):
        return _first_difference(g, w, g != w)
    g, w = g.astype(float), w.astype(float)
    if np.isnan(g).any() and not np.isnan(w).any():
        count = int(np.isnan(g).sum())
        return f"It holds NaN ({count} of {g.size}). Look for log(0), 0/0, inf − inf, or 0 times what stands on padding."
    if np.isinf(g).any() and not np.isinf(w).any():
        return f"It holds an infinity ({int(np.isinf(g).sum())} of {g.size}). Look for an overflowing exp or a log(0)."
    if (np.isfinite(g) == np.isfinite(w)).all() and np.isfinite(w).any():
        finite = np.isfinite(w)
        said = _relation(g[finite], w[finite], rtol, sizes) or _shift(g, w, rtol)
        if said:
            return said
    differs = ~close_elements(g, w, rtol)
    return " ".join(filter(None, [_rows(differs), _first_difference(g, w, differs)]))


def _relation(g: np.ndarray, w: np.ndarray, rtol: float, sizes: dict[str, int]) -> str:
    """How all of the numbers come from the expected ones, where that is one thing."""
    largest = np.abs(w).max()
    if not largest > 0:
        return "Every expected value is zero, yours are not." if w.size > 1 else ""
    if _all_close(-g, w, rtol):
        return "Your value has the opposite sign of the expected one."
    big = np.abs(w) > 1e-6 * largest
    ratios = g[big] / w[big]
    ratio = float(np.median(ratios))
    if ratio and np.allclose(ratios, ratio, rtol=rtol) and _all_close(g / ratio, w, rtol):
        said = _about_ratio(ratio, sizes, several=int(big.sum()) > 2, rtol=rtol)
        if said:
            return said
    offset = float(np.median(g - w))
    if w.size > 2 and abs(offset) > 10 * rtol * largest and _all_close(g - offset, w, rtol):
        return f"Every value is {_number(abs(offset))} {'more' if offset > 0 else 'less'} than expected."
    for meaning, function in _FUNCTIONS.items():
        if np.abs(g).min() < 1e-6:
            break  # nearly 0: what is it not a function of?
        if _all_close(g, function(w), rtol) and np.abs(function(w) - w).max() > 100 * rtol * largest:
            return f"Your {'values are' if w.size > 1 else 'value is'} {meaning} the expected."
    return ""


def _about_ratio(ratio: float, sizes: dict[str, int], several: bool, rtol: float) -> str:
    """A constant factor between several values says something; one between two numbers only if we can name it."""
    if abs(ratio - 1) < 100 * rtol:
        return ""
    said = f"Your {'values are' if several else 'value is'} {_number(ratio)} times the expected one{'s' * several}"

    def is_about(factor: float) -> bool:
        return abs(ratio - factor) < rtol * abs(factor)

    several_sizes = {name: size for name, size in sizes.items() if size > 1}
    for name, size in several_sizes.items():
        if is_about(size):
            return f"{said}: {size} is {name}."
        if is_about(1 / size):
            return f"{said}: that is one over {size}, {name}."
    for (name, size), (other, over) in itertools.permutations(several_sizes.items(), 2):
        if is_about(size / over):
            return f"{said}: that is {size} ({name}) over {over} ({other})."
    for meaning, factor in _FACTORS.items():
        if is_about(factor):
            return f"{said}: {meaning}."
    named = any(is_about(sign * factor) for factor in (2, 1 / 2, 100, 1 / 100) for sign in (1, -1))
    return f"{said}." if several or named else ""


def _shift(g: np.ndarray, w: np.ndarray, rtol: float) -> str:
    """Whether the numbers are the right ones in the place next to theirs; too few, or too many alike, tell nothing."""
    if not w.ndim or w.shape[-1] < 5:
        return ""
    inside = w[..., 1:-1]
    varied = len(np.unique(inside[np.isfinite(inside) & (inside != 0)])) > max(2, inside.size // 2)
    if varied and any(_all_close(np.roll(g, shift, axis=-1)[..., 1:-1], inside, rtol) for shift in (1, -1)):
        return "Your values are the expected ones shifted by one place along the last axis."
    return ""


def _rows(differs: np.ndarray) -> str:
    """Which rows are right, where some are."""
    if differs.ndim < 2 or not 1 < len(differs) <= 12:
        return ""
    wrong = differs.reshape(len(differs), -1).any(axis=1)
    if wrong.all() or not wrong.any():
        return ""
    right, not_right = ([str(i) for i in np.flatnonzero(rows)] for rows in (~wrong, wrong))
    return f"Row{'s' * (len(right) > 1)} {_listed(right)} {'are' if len(right) > 1 else 'is'} right, {_listed(not_right)} not."


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _first_difference(g: np.ndarray, w: np.ndarray, differs: np.ndarray) -> str:
    if not differs.ndim:
        return ""
    count = int(differs.sum())
    if not count:
        return ""
    at = np.unravel_index(int(np.argmax(differs)), differs.shape)
    return (
        f"{count} of {differs.size} elements differ; the first at index {_index(at)}: "
        f"{_number(g[at].item())}, expected {_number(w[at].item())}."
    )


def _index(at: tuple) -> str:
    return str([int(i) for i in at])


def _all_close(got, want, rtol: float) -> bool:
    return bool(np.all(close_elements(got, np.asarray(want).reshape(np.shape(got)), rtol)))


def _number(x) -> str:
    return f"{x:.6g}" if isinstance(x, float) else str(x)


def _kind(value) -> str:
    if isinstance(value, np.ndarray):
        return "a number" if value.ndim == 0 else "a tensor"
    if isinstance(value, (bool, int, float)):
        return "a number"
    return {str: "a text", list: "a list", Other: "an object"}.get(type(value), "nothing")
