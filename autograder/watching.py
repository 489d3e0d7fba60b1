"""What every exercise asks of an answer without a word of its probes: it leaves its arguments alone, and where the page says
so, what it returns is new.

An answer is called through `watched`, which looks at the arguments before and after each call. What an answer has changed
is put back, so that a fault of this kind costs one case and not all of them.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

PLAIN = frozenset((bool, int, float, str, bytes, type(None)))  # looked at first: a corpus is a million of these


@dataclass
class Seen:
    """What was seen over the calls of one run of a probe. Arguments go by place: names are the answer's own.

    finished: calls that returned; changed, shared: place -> name of the arguments that were changed, and of those whose
    memory is part of a result.
    """

    finished: int = 0
    changed: dict[int, str] = field(default_factory=dict)
    shared: dict[int, str] = field(default_factory=dict)

    def as_data(self) -> dict:
        """JSON: what goes into the record of a case."""
        both = {"changed": self.changed, "shared": self.shared}
        return {"finished": self.finished} | {
            how: [[place, name] for place, name in sorted(places.items())] for how, places in both.items() if places
        }


def watched(answer: Callable, seen: Seen, trains: bool) -> Callable:
    """The answer, called as ever, with what it does to its arguments noted in `seen`. trains: it may change modules."""

    @functools.wraps(answer, updated=())
    def call(*given, **named):
        arguments = [*given, *named.values()]
        before = [snapshot(argument, trains) for argument in arguments]
        result = answer(*given, **named)
        seen.finished += 1
        changed = [i for i, argument in enumerate(arguments) if not same(snapshot(argument, trains), before[i])]
        memory = _memory(result)
        shared = [i for i, argument in enumerate(arguments) if memory & _memory(argument)]
        if changed or shared:
            names = _names(answer, given, named)
            seen.changed |= {i: names[i] for i in changed}
            seen.shared |= {i: names[i] for i in shared}
        if changed:
            result = copied(result)  # it may be the very thing that is put back now
            for i in changed:
                put_back(arguments[i], before[i])
        return result

    return call


def _names(answer: Callable, given: tuple, named: dict) -> list[str]:
    try:
        parameters = list(inspect.signature(answer).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    ordinary = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    places = [ordinary[i] if i < len(ordinary) else f"argument {i + 1}" for i in range(len(given))]
    return [*places, *named]


def snapshot(value, trains: bool = False):
    """A copy of all in a value that an answer could change, for `same` and `put_back`; None for what is not looked at."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, torch.nn.Module):
        return None if trains else {name: tensor.detach().clone() for name, tensor in value.state_dict().items()}
    if isinstance(value, Mapping):
        return {key: snapshot(item, trains) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [snapshot(item, trains) for item in value]
    if isinstance(value, (set, frozenset)):
        return set(value)
    # Iterators and generators of random numbers are there to be used up; everything else cannot be looked into.
    return value if isinstance(value, (bool, int, float, str, bytes)) else None


def same(now, before) -> bool:
    """Whether two snapshots are equal, in type, shape and value; NaN equals NaN."""
    if type(now) is not type(before):
        return False
    if type(now) in PLAIN:
        return now == before or now != now
    if isinstance(now, torch.Tensor):
        alike = now.shape == before.shape and now.dtype == before.dtype and now.device == before.device
        return alike and bool(((now == before) | ((now != now) & (before != before))).all())
    if isinstance(now, np.ndarray):
        return now.dtype == before.dtype and np.array_equal(now, before, equal_nan=now.dtype.kind == "f")
    if isinstance(now, dict):
        return list(now) == list(before) and all(same(now[key], before[key]) for key in now)
    if isinstance(now, list):
        return len(now) == len(before) and all(map(same, now, before))
    return now == before or now != now


def put_back(value, before) -> None:
    """Make a value again what it was when the snapshot was taken, as far as that goes."""
    if isinstance(value, torch.Tensor):
        if value.shape == before.shape:
            value.data.copy_(before)
    elif isinstance(value, np.ndarray):
        value[...] = before
    elif isinstance(value, torch.nn.Module):
        for name, tensor in value.state_dict().items():
            tensor.data.copy_(before[name])  # .data: autograd, which may still need the weights, must not count this
    elif isinstance(value, set):
        value.clear()
        value.update(before)
    elif isinstance(value, dict):
        kept = {key: _renewed(value.get(key), item) for key, item in before.items()}
        value.clear()
        value.update(kept)
    elif isinstance(value, list):
        kept = [_renewed(value[i] if i < len(value) else None, item) for i, item in enumerate(before)]
        value[:] = kept
    elif isinstance(value, tuple):
        for item, was in zip(value, before, strict=True):
            put_back(item, was)


def _renewed(item, before):
    """The item of a container as it was: itself, put back, or where another took its place, a copy."""
    if same(snapshot(item), before):
        return item
    if type(snapshot(item)) is type(before) and isinstance(before, (torch.Tensor, np.ndarray, dict, list, set)):
        put_back(item, before)
        if same(snapshot(item), before):
            return item
    return before


def copied(result):
    """A result in memory of its own; gradients flow through it as before."""
    if isinstance(result, torch.Tensor):
        return result.clone()
    if isinstance(result, np.ndarray):
        return result.copy()
    if type(result) in (list, tuple):
        return type(result)(map(copied, result))
    if type(result) is dict:
        return {key: copied(item) for key, item in result.items()}
    return result


def _memory(value) -> set:
    """What identifies the memory that a value's tensors, arrays and lists lie in."""
    if isinstance(value, torch.Tensor):
        return {value.untyped_storage().data_ptr()} - {0}
    if isinstance(value, np.ndarray):
        return {value.__array_interface__["data"][0]}
    if isinstance(value, torch.nn.Module):
        return set()
    if isinstance(value, (dict, list)):
        return {id(value)}.union(*(_memory(item) for item in _items(value) if type(item) not in PLAIN))
    return set().union(*map(_memory, value)) if isinstance(value, tuple) else set()


def _items(value) -> Iterator:
    return iter(value.values() if isinstance(value, dict) else value)


# --- Gradients: to each argument in turn


class _Enough(BaseException):
    """Ends a probe after its first call."""


def gradient_reaches(answer: Callable, probe: Callable, seed: int, place: int) -> bool:
    """Whether a gradient reaches the argument at `place`, which alone asks for one, in the first call that a probe makes."""
    found = False

    def call(*given, **named):
        nonlocal found
        given = [_constant(argument) for argument in given]
        named = {name: _constant(argument) for name, argument in named.items()}
        target = given[place].requires_grad_()
        found = _reaches(answer(*given, **named), target)
        raise _Enough

    with contextlib.suppress(_Enough):
        probe(call, seed)
    return found


def _constant(value):
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _reaches(result, target: torch.Tensor) -> bool:
    # Unequal weights: of a result whose sum never changes, such as a whitened one, the sum has no gradient.
    parts = [x.double().flatten() for x in _tensors(result) if x.requires_grad]
    if not parts:
        return False
    numbers = torch.cat(parts)
    numbers = numbers[numbers.isfinite()]
    weighed = (numbers * (1.3 + torch.arange(len(numbers)) % 7)).sum()
    (gradient,) = torch.autograd.grad(weighed, target, allow_unused=True)
    return gradient is not None and bool((gradient != 0).any())


def _tensors(value) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in _items(value):
            yield from _tensors(item)
