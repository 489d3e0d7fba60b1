"""The judge and what it is made of: values, rules, sentences, fingerprints, answer keys, and hostile evidence."""

import contextlib
import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder.evidence import PUBLIC_SEEDS, VERSION, answers_used, collect
from autograder.exercise import UnknownExercise, find_exercise
from autograder.judging import fingerprints
from autograder.judging.compare import Entry, close_elements, entries_agree
from autograder.judging.explain import describe, what_they_say
from autograder.judging.judge import judge_evidence
from autograder.judging.key import AnswerKey, KeyMissing, build_key, load_key, same_key
from autograder.judging.reference import Reference
from autograder.judging.report import to_html, to_line, to_text
from autograder.judging.rules import RULES, reaches
from autograder.values import DTYPES, MalformedEvidence, Other, decode, encode

FAST = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def through_json(value):
    return json.loads(json.dumps(value))


def same(a, b) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


# --- Values: what travels from the student's kernel to the judge

arrays = st.builds(
    lambda dtype, shape, seed: np.asarray(np.random.default_rng(seed).standard_normal(shape) * 100).astype(dtype),
    st.sampled_from(sorted(DTYPES - {"uint8", "uint16", "uint32", "uint64"})),
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.integers(0, 1000),
)
whole = st.integers(-(10**30), 10**30) | st.sampled_from([2**63, -(10**298), 10**298])
leaves = st.none() | st.booleans() | whole | st.floats() | st.text(max_size=50) | arrays
values = st.recursive(leaves, lambda v: st.lists(v, max_size=4).filter(lambda items: not all_numbers(items)))


def all_numbers(items) -> bool:
    return bool(items) and all(isinstance(item, (int, float)) for item in items)


@FAST
@given(values)
def test_a_value_survives_the_journey(value):
    assert same(decode(through_json(encode(value))), value)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_survives(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert same(decode(through_json(encode(array))), array)
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    assert same(decode(through_json(encode(tensor))), array)


def test_tensors_of_every_kind_become_arrays():
    assert same(decode(encode(torch.ones(2, requires_grad=True))), np.ones(2, dtype=np.float32))
    assert same(decode(encode(torch.ones(2, dtype=torch.bfloat16))), np.ones(2, dtype=np.float32))
    assert same(decode(encode(torch.arange(6).reshape(2, 3).T)), np.arange(6).reshape(2, 3).T)


def test_a_list_of_numbers_becomes_an_array():
    assert same(decode(through_json(encode((1, 2, 3)))), np.array([1, 2, 3]))
    assert same(decode(through_json(encode([1, 2.5]))), np.array([1, 2.5]))
    assert same(decode(through_json(encode([10**30, 1]))), [10**30, 1])


class BrokenRepr:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize("number", [10**300, -(10**5000)], ids=["long", "longer than Python prints"])
def test_an_integer_too_long_for_a_float_is_only_named(number):
    assert decode(through_json(encode(number))).type == "integer"
    with pytest.raises(MalformedEvidence):
        decode({"int": "1" * 400})


@pytest.mark.parametrize("thing", [object(), {1: 2}, 1j, torch.ones(2, dtype=torch.complex64), BrokenRepr(), len])
def test_what_is_no_data_is_only_named(thing):
    decoded = decode(through_json(encode(thing)))
    assert isinstance(decoded, Other)
    assert decoded.type == type(thing).__name__ and len(decoded.repr) <= 200


def test_an_array_too_large_is_only_named():
    assert "(1000, 1000)" in decode(through_json(encode(np.zeros((1000, 1000))))).type


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=8), v, max_size=4),
    max_leaves=12,
)
KINDS = ["none", "bool", "int", "float", "text", "array", "list", "other"]
hostile_arrays = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES, "object", "S8", "V4", "complex64", "<f8", None, 7]),
        "shape": st.lists(st.integers(-2, 2**40), max_size=9) | json_values,
        "data": st.sampled_from(["", "AAAA", "AAAAAAAAAAA=", "!", "é", None, 3]) | st.text(max_size=8),
    }
)
hostile_values = st.one_of(
    json_values,
    st.dictionaries(st.sampled_from(KINDS), json_values, max_size=2),
    st.fixed_dictionaries({"array": hostile_arrays}),
    st.fixed_dictionaries({"int": st.text("0123456789-", max_size=500)}),
    st.fixed_dictionaries({"float": st.sampled_from(["nan", "inf", "-inf", "1e999", "1e-320", "9" * 500, "0x1"])}),
    st.fixed_dictionaries({"list": st.lists(st.fixed_dictionaries({"list": st.lists(json_values)}))}),
)


@FAST
@given(hostile_values)
def test_decode_raises_malformed_evidence_and_nothing_else(encoded):
    with contextlib.suppress(MalformedEvidence):
        decode(encoded)


def test_values_nested_without_end_are_malformed():
    nested = {"none": True}
    for _ in range(100_000):
        nested = {"list": [nested]}
    with pytest.raises(MalformedEvidence):
        decode(nested)


def test_an_array_that_claims_to_be_huge_is_malformed_before_it_costs_memory():
    with pytest.raises(MalformedEvidence):
        decode({"array": {"dtype": "float64", "shape": [2**30, 2**30], "data": ""}})


# --- Rules: when two summaries agree


def agree(got, want, rtol=1e-4) -> bool:
    return entries_agree(Entry(got), Entry(want), rtol)


def test_a_number_may_come_in_any_dress():
    for got in (2.0, 2, np.array(2, dtype=np.float32), np.array([2.0]), np.array([[2]])):
        assert agree(got, 2.0) and agree(got, np.array(2.0)) and agree(got, np.array([2.0]))
    for got in (2.001, None, "2.0", np.array([2.0, 2.0]), [], math.nan, 10**400):
        assert not agree(got, 2.0)


def test_float_error_is_forgiven_and_no_more():
    want = np.array([1.0, 1e-9, 1e3])  # beside 1000, a value near zero carries an error of its own
    assert agree(want.astype(np.float32), want)
    assert agree(want * (1 + 5e-5), want)
    assert not agree(want * (1 + 5e-4), want)
    assert not agree(want + np.array([0, 1, 0]), want)


def test_nan_equals_nan_and_an_infinity_itself():
    want = np.array([math.nan, math.inf, -math.inf, 1.0])
    assert agree(want.copy(), want)
    for place in range(4):
        other = want.copy()
        other[place] = 2.0
        assert not agree(other, want)
    assert agree(math.inf, math.inf) and not agree(-math.inf, math.inf) and not agree(1e300, math.inf)


def test_integers_are_exact_and_stay_integers():
    want = np.array([1, -100, 3])
    assert agree(want.astype(np.int32), want)
    assert not agree(want.astype(float), want), "labels as floats are no labels"
    assert not agree(want + np.array([0, 0, 1]), want)
    assert not agree(want.reshape(3, 1), want)


def test_nothing_agrees_with_an_unknown_object():
    assert not agree(Other("X", "x"), Other("X", "x"))
    assert not agree(Other("X", "x"), 1.0) and not agree(1.0, Other("X", "x"))


def rate(draws) -> Entry:
    return RULES["rates"]({"x_draws": np.asarray(draws)})["x_draws"]


def test_rates_agree_within_six_standard_errors():
    draw = np.random.default_rng(0)
    n = 4000
    ordinary = [rate(draw.random(n) < 0.15) for _ in range(200)]
    assert all(entries_agree(a, b, 0) for a, b in zip(ordinary, reversed(ordinary)))
    assert not any(entries_agree(rate(draw.random(n) < 0.25), b, 0) for b in ordinary)
    assert not entries_agree(rate(np.zeros(n)), ordinary[0], 0)
    assert entries_agree(rate(np.zeros(n)), rate(np.zeros(n)), 0)


def test_an_exact_number_is_no_rate():
    assert not entries_agree(Entry(0.15), rate(np.arange(100) < 15), 0)


def test_the_rule_means_compares_real_valued_draws():
    draw = np.random.default_rng(0)
    summary = [RULES["means"]({"x_draws": draw.normal(5, 2, 1000), "n": 3}) for _ in range(2)]
    assert entries_agree(summary[0]["x_draws"], summary[1]["x_draws"], 0)
    assert summary[0]["n"] == Entry(3)
    shifted = RULES["means"]({"x_draws": draw.normal(6, 2, 1000)})["x_draws"]
    assert not entries_agree(shifted, summary[0]["x_draws"], 0)


# --- Sentences: what the numbers say

table = np.arange(1.0, 16.0).reshape(3, 5) ** 1.5
SIZES = {"the batch size": 6, "the length of a row": 11}


def says(got, want, sizes=SIZES) -> str:
    return what_they_say(Entry(got), Entry(want), 1e-4, sizes)


@pytest.mark.parametrize(
    "got, want, sentence",
    [
        (18.0, 3.0, "6 times the expected one: 6 is the batch size"),
        (0.5, 5.5, "one over 11, the length of a row"),
        (6 * table, table, "Your values are 6 times the expected ones: 6 is the batch size"),
        (2.5 * table, table, "2.5 times the expected ones"),
        (-3.0, 3.0, "opposite sign"),
        (-table, table, "opposite sign"),
        (table.T, table, "axes are in another order"),
        (np.where(table > 9, np.nan, table), table, "holds NaN"),
        (np.where(table > 9, np.inf, table), table, "holds an infinity"),
        (table + 0.5, table, "Every value is 0.5 more than expected"),
        (np.roll(table, 1, axis=-1), table, "shifted by one place"),
        (np.roll(table, -1, axis=-1), table, "shifted by one place"),
        (None, table, "None came where a tensor is expected"),
        (None, 3.0, "None came where a number is expected"),
        (table, 5.0, "The shape is (3, 5), expected ()"),
        (table, table.mean(), "Its mean is the expected value"),
        (table, table.sum(), "Its sum is the expected value"),
        (np.zeros((6, 2)), np.zeros((11, 2)), "(6 (the batch size), 2), expected (11 (the length of a row), 2)"),
        (np.array([1.0, 2.0]), np.array([1, 2]), "expected integer (int64)"),
        (np.array([1, 2, 7]), np.array([1, 2, 3]), "first at index [2]: 7, expected 3"),
        (np.array([1.0, 2.0, 7.0]), np.array([1.0, 2.0, 3.0]), "1 of 3 elements differ"),
        (np.ones(3), np.zeros(3), "Every expected value is zero"),
        (Other("Linear", "Linear(…)"), table, "type Linear came where a tensor is expected"),
        (Other("dict", "{}"), 3.0, "type dict came where a number is expected"),
        ("abc", table, "A text came where a tensor is expected"),
        ("abd", "abc", "“abd” where “abc” is expected"),
        ("abcd", "abc", "4 characters, expected 3"),
        ("a: 1\nb: 3", "a: 1\nb: 2", "1 of 2 expected lines are missing; the first is “b: 2”. 1 of your lines"),
        ("b: 2\na: 1", "a: 1\nb: 2", "in another order"),
    ],
)
def test_a_difference_is_put_into_words(got, want, sentence):
    assert sentence in says(got, want)


def test_a_rate_is_put_into_words():
    sentence = what_they_say(rate(np.arange(1000) < 850), rate(np.arange(1000) < 150), 0, {})
    assert "0.85" in sentence and "0.15" in sentence


words = st.one_of(leaves, st.just(Other("X", "x")), st.lists(leaves, max_size=3))


@FAST
@given(st.sampled_from(["rates", "means"]), arrays, arrays)
def test_draws_of_any_form_are_compared_without_failing(rule, got, want):
    got, want = (RULES[rule]({"x_draws": draws})["x_draws"] for draws in (got, want))
    if not entries_agree(got, want, 1e-4):
        assert isinstance(what_they_say(got, want, 1e-4, SIZES), str)
    print_got, print_want = (through_json(fingerprints.fingerprint({"x": entry})) for entry in (got, want))
    assert fingerprints.agree(print_got, print_want) == fingerprints.agree(print_want, print_got)
    assert not fingerprints.agree(print_got, print_want) or entries_agree(got, want, 1e-4)
    assert fingerprints.agree(print_got, print_got) == entries_agree(got, got, 1e-4)


@pytest.mark.parametrize("got", [5e-324, 3e-310, 1e308, -1e308, True, 10**200])
@pytest.mark.parametrize("want", [3.0, 5e-324, 1e308, 0.0])
def test_numbers_at_the_ends_of_the_range_are_put_into_words(got, want):
    assert isinstance(says(got, want), str)
    assert isinstance(says(np.full(3, float(got)), np.full(3, want)), str)


@FAST
@given(words, words)
def test_sentences_and_descriptions_never_fail(got, want):
    assert isinstance(what_they_say(Entry(got), Entry(want), 1e-4, SIZES), str)
    assert len(describe(got)) < 2000


# --- Fingerprints: how a mistake is recognised


def print_of(value) -> dict:
    return through_json(fingerprints.fingerprint({"x": Entry(value)}))


@pytest.mark.parametrize("value", [3.25, table, table > 4, np.arange(7), "a text", ["a", "b"], math.inf, table * 1e6])
def test_the_same_output_has_the_same_fingerprint(value):
    nearly = value * (1 + 1e-6) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else copy.deepcopy(value)
    assert fingerprints.agree(print_of(value), print_of(nearly))


@pytest.mark.parametrize(
    "a, b",
    [
        (3.25, 3.26),
        (3.25, math.nan),
        (math.inf, -math.inf),
        (table, table.T),
        (table, -table),
        (table, np.roll(table, 1)),
        (table, table[:, ::-1]),
        (table, np.where(table > 50, np.nan, table)),
        ("a text", "another"),
        (["a"], ["a", "b"]),
        (["a", "b"], ["b", "a"]),
        (3.25, "3.25"),
        (None, 0.0),
        ("None", None),
    ],
)
def test_another_output_has_another_fingerprint(a, b):
    assert not fingerprints.agree(print_of(a), print_of(b))


def test_errors_are_recognised_by_their_kind():
    key_error, value_error = (fingerprints.fingerprint(None, kind) for kind in ("KeyError", "ValueError"))
    assert fingerprints.agree(key_error, key_error)
    assert not fingerprints.agree(key_error, value_error)
    assert not fingerprints.agree(key_error, print_of(1.0)) and not fingerprints.agree(print_of(1.0), key_error)
    assert fingerprints.is_error(key_error) and not fingerprints.is_error(print_of(1.0))


@FAST
@given(words, words)
def test_fingerprints_can_be_taken_of_anything(a, b):
    print_a, print_b = (fingerprints.fingerprint({"x": Entry(value)}) for value in (a, b))
    json.dumps(print_a)
    assert fingerprints.agree(print_a, print_a)
    assert fingerprints.agree(print_a, print_b) == fingerprints.agree(print_b, print_a)


def test_a_fingerprint_does_not_hold_the_output():
    """A student may read the answer key: what it says of a long output must not suffice to rebuild it."""
    numbers = np.random.default_rng(0).standard_normal(500)
    assert len(json.dumps(print_of(numbers))) < 200
    assert "secret" not in json.dumps(print_of("the secret text"))


# --- The answer key


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference("00_start_here")


@pytest.fixture(scope="module")
def key(reference) -> dict:
    return through_json(build_key("00_start_here", reference))


def test_the_key_says_what_the_reference_says(key, reference):
    exercise = find_exercise("mean_loss")
    for case in exercise.cases:
        for seed in PUBLIC_SEEDS:
            stored, live = (oracle.expected(exercise, case, seed) for oracle in (AnswerKey(key), reference))
            assert stored.keys() == live.keys()
            assert all(name[0] == "_" or entries_agree(stored[name], live[name], 1e-9) for name in live)
    assert [m.hint for m in AnswerKey(key).mistakes(exercise, PUBLIC_SEEDS)] == [
        m.hint for m in reference.mistakes(exercise, PUBLIC_SEEDS)
    ]
    assert AnswerKey(key).points == reference.points


def numbers_changed(content, by: float):
    """The same key from another machine, or of another reference."""
    if isinstance(content, dict):
        if set(content) == {"array"}:
            array = decode(content)
            return encode(np.asarray(array * (1 + by), dtype=array.dtype))
        if set(content) == {"float"}:
            return {"float": repr(float(content["float"]) * (1 + by))}
        return {name: numbers_changed(value, by) for name, value in content.items()}
    if isinstance(content, list):
        return [numbers_changed(item, by) for item in content]
    return content * (1 + by) if isinstance(content, float) else content


def test_two_keys_are_the_same_up_to_float_error(key):
    assert same_key(key, copy.deepcopy(key))
    assert same_key(key, numbers_changed(key, 1e-6))
    assert not same_key(key, numbers_changed(key, 1e-2))
    without = copy.deepcopy(key)
    without["exercises"]["mean_loss"]["mistakes"].pop()
    assert not same_key(key, without)
    other_hint = copy.deepcopy(key)
    other_hint["exercises"]["mean_loss"]["mistakes"][0]["hint"] += "!"
    assert not same_key(key, other_hint)


def test_a_key_that_does_not_know_a_case_says_what_to_do(key):
    exercise = find_exercise("mean_loss")
    with pytest.raises(KeyMissing, match=r"seed 99.*[Ii]nstall the course again"):
        AnswerKey(key).expected(exercise, exercise.cases[0], 99)
    with pytest.raises(KeyMissing, match="causal_lm_loss"):
        AnswerKey(key).mistakes(find_exercise("causal_lm_loss"), PUBLIC_SEEDS)
    with pytest.raises(KeyMissing, match="no answer key for the chapter '42_nothing'"):
        load_key("42_nothing")


# --- The evidence

ANSWERS = """
import functools


def gae(*given):
    return masked_whiten(*given)  # what another answer calls is that one's affair


def masked_whiten(*given):
    return given


def helper(*given):
    return [gae(x) for x in given]


def logged(function):
    @functools.wraps(function)
    def wrapper(*given):
        return function(*given)

    return wrapper


def direct(*given):
    return gae(*given)


def in_a_helper(*given):
    return helper(*given)


@logged
def decorated(*given):
    return (lambda: gae(*given))()


def an_attribute(*given):
    return given.gae


def a_name_of_its_own(gae):
    return gae()


def round_and_round(*given):
    return round_and_round(*given)


class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)


odd = Odd()


def among_odd_things(*given):
    return odd(gae)
"""


@pytest.mark.parametrize(
    "name, used",
    {
        "direct": ["gae"], "in_a_helper": ["gae"], "decorated": ["gae"], "among_odd_things": ["gae"],
        "an_attribute": [], "a_name_of_its_own": [], "round_and_round": [], "odd": [], "gae": ["masked_whiten"],
    }.items(),
)  # fmt: skip
def test_evidence_tells_which_other_answers_are_called(name, used):
    namespace: dict = {}
    exec(ANSWERS, namespace)
    exercise = find_exercise("gae" if name == "gae" else "advantages_and_returns")
    assert answers_used(exercise, namespace[name]) == used
    assert answers_used(exercise, len) == []


# --- The judge


def evidence_of(answer, name="mean_loss", seeds=PUBLIC_SEEDS) -> dict:
    return through_json(collect(find_exercise(name), answer, seeds))


def judged(evidence, reference, seeds=PUBLIC_SEEDS):
    return judge_evidence("mean_loss", evidence, reference, seeds)


def test_a_right_answer_passes(reference):
    verdict = judged(evidence_of(lambda losses: losses.mean()), reference)
    assert verdict.passed and verdict.score == 1 and verdict.diagnoses == {}
    assert to_line(verdict) == "mean_loss: all 4 cases pass."


def test_a_wrong_answer_earns_the_cases_it_passes(reference):
    verdict = judged(evidence_of(lambda losses: losses.sum()), reference)
    assert [case.passed for case in verdict.cases] == [False, True, False, False]
    assert "as soon as half of the other cases pass" in verdict.cases[-1].problem
    assert verdict.score == pytest.approx(1 / 4) and verdict.mistake == "sum_for_mean"


def test_a_mistake_of_one_case_is_named_in_that_case(reference):
    def answer(losses):
        return losses.median() if losses.ndim == 1 else losses.mean()

    verdict = judged(evidence_of(answer), reference)
    assert verdict.mistake == "" and verdict.cases[0].mistake == "median_for_mean"
    assert verdict.cases[0].guess and f"Perhaps: {verdict.cases[0].diagnosis}" in to_text(verdict)
    assert not verdict.diagnoses, "what is guessed from one case is nothing to count in a class"


def test_an_unknown_mistake_is_described_by_its_numbers(reference):
    verdict = judged(evidence_of(lambda losses: -losses.mean()), reference)
    assert not verdict.diagnoses and "opposite sign" in to_text(verdict)


def test_failing_on_one_seed_fails_the_case(reference):
    def answer(losses):
        return losses.mean() if len(losses) != 5 else losses.sum()  # seed 2 has five losses

    verdict = judged(evidence_of(answer), reference)
    assert [case.passed for case in verdict.cases] == [False, True, True, True]


@pytest.mark.parametrize(
    "evidence",
    [
        None,
        "evidence",
        [],
        {},
        {"version": VERSION},
        {"version": VERSION, "exercise": "causal_lm_loss", "records": []},
        {"version": VERSION + 1, "exercise": "mean_loss", "records": []},
        {"version": VERSION, "exercise": "mean_loss", "records": None},
        {"version": VERSION, "exercise": "mean_loss", "records": [1, 2]},
    ],
)
def test_what_is_no_evidence_scores_nothing_and_says_why(evidence, reference):
    verdict = judged(evidence, reference)
    assert verdict.score == 0 and not verdict.passed and verdict.problem
    assert verdict.problem in to_text(verdict) and len(verdict.cases) == 4


def test_a_given_problem_is_reported(reference):
    verdict = judge_evidence("mean_loss", None, reference, PUBLIC_SEEDS, problem="The check cell emitted nothing.")
    assert verdict.score == 0 and "The check cell emitted nothing." in to_text(verdict)


def test_cases_that_were_left_out_fail(reference):
    evidence = evidence_of(lambda losses: losses.mean())
    evidence["records"] = [r for r in evidence["records"] if (r["case"], r["seed"]) != ("one_loss", 2)]
    verdict = judged(evidence, reference)
    assert [case.passed for case in verdict.cases] == [True, False, True, True]
    assert verdict.cases[1].problem == "It was not run."


def test_evidence_of_other_seeds_counts_for_nothing(reference):
    """Grading draws fresh seeds: what was computed on the public ones is no evidence."""
    assert judged(evidence_of(lambda losses: losses.mean()), reference, seeds=(11, 12, 13)).score == 0


def test_an_unknown_exercise_is_named_with_its_nearest(reference):
    with pytest.raises(UnknownExercise, match="Did you mean 'mean_loss'"):
        judge_evidence("mean_los", {}, reference, PUBLIC_SEEDS)


names = st.sampled_from(["mean", "_sizes", "error", "x"])
hostile_records = st.fixed_dictionaries(
    {"case": st.sampled_from([case.name for case in find_exercise("mean_loss").cases]), "seed": st.sampled_from([1, 2, 3])},
    optional={
        "data": st.dictionaries(names, hostile_values | values.map(encode), max_size=2)
        | st.fixed_dictionaries({"mean": hostile_values | leaves.map(encode)})
        | json_values,
        "error": json_values
        | st.fixed_dictionaries(
            {"type": json_values, "message": json_values, "line": json_values, "number": json_values}
        ),
        "spoiled": json_values
        | st.fixed_dictionaries({"how": json_values, "arguments": st.lists(json_values), "case": json_values}),
        "stopped": json_values | st.fixed_dictionaries({"reason": json_values, "sentence": json_values}),
    },
)


@FAST
@given(records=st.lists(hostile_records, max_size=12) | json_values)
def test_no_evidence_can_make_the_judge_or_the_report_fail(records, reference, key):
    evidence = {"version": VERSION, "exercise": "mean_loss", "records": records}
    for oracle in (reference, AnswerKey(key)):
        verdict = judged(evidence, oracle)
        assert 0 <= verdict.score <= 1 and len(verdict.cases) == 4
        assert to_text(verdict) and to_line(verdict)
        assert "<script" not in to_html(verdict)


# --- Evidence that claims more than there is


def big(shape, dtype="bool") -> dict:
    return {"array": {"dtype": dtype, "shape": shape, "data": ""}}


@pytest.mark.parametrize("shape", [[0, 40_000_000], [40_000_000, 0], [0, 2**30, 2**30]])
def test_an_array_of_nothing_claims_no_columns(shape):
    with pytest.raises(MalformedEvidence):
        decode(big(shape))


def test_what_a_rule_allocates_by_is_bounded():
    find_exercise("generate_answers")  # the chapters' own rules are loaded with their exercises
    tokens = np.zeros((800, 1), dtype=np.int16)
    drawn = {"at_half": tokens, "at_two": tokens, "prompts": np.zeros((2, 3), dtype=int), "vocab": 10**10}
    with pytest.raises(ValueError, match="claims"):
        RULES["drawn_answers"](drawn)


def test_an_estimate_may_not_scatter_so_much_that_it_agrees_with_anything():
    draw = np.random.default_rng(0)
    want = RULES["means"]({"x_draws": draw.normal(5, 2, (144, 3))})["x_draws"]
    wild = RULES["means"]({"x_draws": 1e3 * np.tan(np.pi * (draw.random((144, 3)) - 0.5)) ** 3})["x_draws"]
    assert not entries_agree(wild, want, 0)
    assert "scatter" in what_they_say(wild, want, 0, {}) or "On average" in what_they_say(wild, want, 0, {})


@pytest.mark.parametrize("got", [np.ones(3, dtype=int), np.ones(3, dtype=bool)])
def test_floats_are_no_integers_and_no_booleans(got):
    assert not agree(got, np.ones(3)) and not agree(np.ones(3, dtype=bool), np.ones(3, dtype=int))
    assert agree(1, 1.0), "a number alone comes in any dress"


@pytest.mark.parametrize(
    "got, want, sentence",
    [
        (np.exp(1.7), 1.7, "the exponential of the expected"),
        (1.7**2, 1.7, "the square of the expected"),
        (3.0 * 15 / 21, 3.0, "15 (the number of answer tokens) over 21 (the number of places)"),
        (np.where(np.arange(15).reshape(3, 5) < 5, 9.5, table), table, "Rows 1 and 2 are right, 0 not"),
        (0.692653, 1.0, ""),
        (0.99718 * 3.0, 3.0, ""),
        (np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0]), "2 of 4 elements differ"),
    ],
)
def test_a_wrong_number_is_put_beside_known_quantities(got, want, sentence):
    said = says(got, want, {"the number of answer tokens": 15, "the number of places": 21})
    assert sentence in said and "shifted" not in said and (said if sentence else not said)


# --- Open tasks


@pytest.fixture
def guess_high(monkeypatch):
    """An open task: the higher the number, the better. It is gone after the test."""
    import autograder.exercise as module

    registry = module.load_exercises()  # all chapters are in it
    monkeypatch.setattr(module, "_registry", dict(registry))
    exercise = module.Exercise("guess_high", "00_start_here", "nowhere", open=True)
    for bar in (1.0, 2.0, 3.0):
        monkeypatch.setitem(RULES, f"at_least_{bar:g}", lambda data, bar=bar: reaches("height", float(data["n"]), bar))

        def probe(answer, seed):
            """The number reaches a bar."""
            return {"n": float(answer([seed]))}

        probe.__name__ = f"bar_{bar:g}"
        exercise.case(probe, rule=f"at_least_{bar:g}")
    return exercise


class ReachesAll:
    """The oracle of a reference that reaches every bar, and other heights than any answer."""

    def expected(self, exercise, case, seed):
        return RULES[case.rule]({"n": 9.0}) if case.probe else {"arguments_stay": Entry(True)}

    def mistakes(self, exercise, seeds):
        raise AssertionError("no mistake is named in an open task")


@pytest.mark.parametrize("height, bars", [(0.5, 0), (1.0, 1), (2.5, 2), (3.0, 3), (50, 3), (float("nan"), 0)])
def test_an_open_task_earns_the_bars_it_reaches(guess_high, height, bars):
    evidence = through_json(collect(guess_high, lambda seeds: height, (1, 2)))
    verdict = judge_evidence("guess_high", evidence, ReachesAll(), (1, 2))
    assert [case.passed for case in verdict.cases[:3]] == [True] * bars + [False] * (3 - bars)
    if 0 < bars < 3:
        text = to_text(verdict)
        assert f"Measured: height {height:.3f}. This bar asks for at least {bars + 1:.3f}." in text


def test_numbers_are_close_as_numpy_says():
    pool = [0.0, 1.0, 1 + 1e-5, 1 + 2e-4, 1e-9, 5e-8, 3.0, 1e300, -1e300, np.nan, np.inf, -np.inf]
    rng = np.random.default_rng(0)
    for _ in range(500):
        got, want = rng.choice(pool, size=(2, 3))
        atol = 1e-5 * np.abs(want[np.isfinite(want)]).max(initial=0.0) + 1e-7
        with np.errstate(all="ignore"):
            expected = np.isclose(got, want, rtol=1e-4, atol=atol, equal_nan=True)
        assert np.array_equal(close_elements(got, want, 1e-4), expected), (got, want)
