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
from functools import cache

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

    rule: name of an acceptance rule in `autograder.judging.rules`; rtol: relative tolerance of the rule `equal`. A case
    without a probe is found out while the others run (`autograder.watching`).
    """

    name: str
    sentence: str
    probe: Probe | None
    rule: str = "equal"
    rtol: float = 1e-4


ARGUMENTS_STAY = Case("arguments_stay", "Every argument is after the call what it was before.", None)
RESULTS_ARE_NEW = Case("results_are_new", "What comes back is new: none of it lies in the memory of an argument.", None)
GRADIENTS_IN_TURN = "gradients_in_turn"


@dataclass
class Exercise:
    """A function the student writes. `name` is the function's name and unique in the course.

    needs: modules that take seconds to load, which the probes import or a right answer may; the grader loads them before
    it starts the clock. Every answer must leave its arguments as they are, unless they are all `plain` (numbers and text,
    which nothing can change); one that `trains` may change the weights of models. fresh: the page says that what comes
    back is new. gradients: of arguments of which the page says whether a gradient flows to them, name and place in the
    calls of the first case; each is tried in turn. open: many answers are right, some better; the cases are bars that rise,
    and what a failing answer does is no known mistake.
    """

    name: str
    topic: str
    section: str
    needs: tuple[str, ...] = ()
    plain: bool = False
    trains: bool = False
    fresh: bool = False
    gradients: dict[str, int] = field(default_factory=dict)
    open: bool = False
    own_cases: list[Case] = field(default_factory=list)

    def __post_init__(self):
        if self.name in _registry and _registry[self.name].topic != self.topic:
            raise ValueError(f"two exercises are called {self.name!r}")
        _registry[self.name] = self

    @property
    def cases(self) -> list[Case]:
        """The exercise's own cases, and those that hold for every exercise of its kind."""
        general = [ARGUMENTS_STAY] * (not self.plain) + [RESULTS_ARE_NEW] * self.fresh
        if self.gradients:
            tried = ", ".join(self.gradients)
            sentence = f"A gradient flows to the arguments that are learned from, and to no other: {tried}, each in turn."
            general.append(Case(GRADIENTS_IN_TURN, sentence, self._gradients_in_turn))
        return self.own_cases + general

    def _gradients_in_turn(self, answer: Callable, seed: int) -> dict:
        from autograder.watching import gradient_reaches

        probe = self.own_cases[0].probe
        return {
            f"a_gradient_reaches_{name}": gradient_reaches(answer, probe, seed, place)
            for name, place in self.gradients.items()
        }

    def case(self, probe: Probe | None = None, *, rule: str = "equal", rtol: float = 1e-4):
        """Decorator: add a probe as a case, named as the function, described by its docstring."""

        def add(function: Probe) -> Probe:
            sentence = " ".join((function.__doc__ or "").split())
            if not sentence:
                raise ValueError(f"the probe {function.__name__} of {self.name} needs a docstring")
            self.own_cases.append(Case(function.__name__, sentence, function, rule, rtol))
            return function

        return add if probe is None else add(probe)


@cache  # every look for an exercise asks for it, and to list folders takes longer than all the rest of that
def modules_of_chapters() -> tuple[str, ...]:
    """The modules below `autograder/chapters`, by chapter and name: probes, and the acceptance rules they ask for."""
    import autograder.chapters as package

    return tuple(sorted(module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")))


@cache  # for the same reason
def _import_chapters() -> None:
    for name in modules_of_chapters():
        importlib.import_module(name)


def load_exercises() -> dict[str, Exercise]:
    """All exercises of the course by name, in the order of the chapters."""
    _import_chapters()
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
