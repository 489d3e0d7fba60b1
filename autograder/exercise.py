"""What an exercise is: a name and its cases.

A *case* says how the student's function is exercised. Its probe builds inputs from a seed, calls the function and
returns raw data (named arrays, numbers, strings) without judging them; its docstring is the sentence the student
reads. Probes are public. They hold no expected value and know nothing of the solutions.

    causal_lm_loss = Exercise("causal_lm_loss", topic="01_pretraining", section="The causal loss")

    @causal_lm_loss.case
    def ordinary_batch(answer, seed):
        '''An ordinary batch gives the mean loss of its tokens.'''
        return {"loss": answer(*some_inputs(seed))}

Names that begin with an underscore in the returned data ("_sizes") are context for the judge's sentences and are not
compared.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

Probe = Callable[[Callable, int], dict]

SIZES = "_sizes"  # in what a probe returns: what the lengths in the case are called; context, not compared

_registry: dict[str, "Exercise"] = {}


class Unexpected(Exception):
    """Raised by a probe when an answer has a form it cannot use; the message is shown to the student as it stands."""


class UnknownExercise(Exception):
    """The name given to `check` is no exercise of this course."""


@dataclass(frozen=True)
class Case:
    """One way of exercising an answer.

    rule: name of an acceptance rule in `autograder.judging.rules`; rtol: relative tolerance of the rule `equal`.
    """

    name: str
    sentence: str
    probe: Probe
    rule: str = "equal"
    rtol: float = 1e-4


@dataclass
class Exercise:
    """A function the student writes. `name` is the function's name and unique in the course.

    needs: modules that take seconds to load, which the probes import or a right answer may; the grader loads them before
    it starts the clock.
    """

    name: str
    topic: str
    section: str
    needs: tuple[str, ...] = ()
    cases: list[Case] = field(default_factory=list)

    def __post_init__(self):
        if self.name in _registry and _registry[self.name].topic != self.topic:
            raise ValueError(f"two exercises are called {self.name!r}")
        _registry[self.name] = self

    def case(self, probe: Probe | None = None, *, rule: str = "equal", rtol: float = 1e-4):
        """Decorator: add a probe as a case, named as the function, described by its docstring."""

        def add(function: Probe) -> Probe:
            sentence = " ".join((function.__doc__ or "").split())
            if not sentence:
                raise ValueError(f"the probe {function.__name__} of {self.name} needs a docstring")
            self.cases.append(Case(function.__name__, sentence, function, rule, rtol))
            return function

        return add if probe is None else add(probe)


def modules_of_chapters() -> list[str]:
    """The modules below `autograder/chapters`, by chapter and name: probes, and the acceptance rules they ask for."""
    import autograder.chapters as package

    return sorted(module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))


def load_exercises() -> dict[str, Exercise]:
    """All exercises of the course by name, in the order of the chapters."""
    for name in modules_of_chapters():
        importlib.import_module(name)
    return dict(sorted(_registry.items(), key=lambda item: item[1].topic))


def find_exercise(name: str) -> Exercise:
    """The exercise called `name`. Raises UnknownExercise with the nearest name."""
    exercises = load_exercises()
    if name in exercises:
        return exercises[name]
    near = difflib.get_close_matches(str(name), exercises, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(exercises)}."
    raise UnknownExercise(f"There is no exercise called {name!r}.{hint}")


def exercises_of(topic: str) -> list[Exercise]:
    """The exercises of one chapter, in the order in which the chapter asks them."""
    return [exercise for exercise in load_exercises().values() if exercise.topic == topic]
