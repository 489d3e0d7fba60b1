"""Chapter 09, solved, runs from top to bottom, and what it claims is so."""

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/09_cot/measured.py."""
    low, high = values["difference"]
    assert low <= high and len(values["real"]["direct"]) == len(values["real"]["chain"]) >= 20
    right, written = values["sums"]
    answers = max(sum(found) / len(found) for found in values["real"].values())
    assert written >= 8 and right / written > answers, "sums are right more often than answers"
    assert values["otherwise"] >= 1, "the last number is not always the answer"
    deep = values["deep"]
    assert deep["chain"] > deep["direct"] + 0.5, "a chain is at least 50 points better at equal tokens"
    assert deep["chain"] > 0.9 and deep["direct"] < 0.35 and deep["dots"] < 0.35
    assert abs(deep["dots"] - deep["direct"]) < 0.15, "dots do not help"
    singles = [run[0] for runs in values["by_depth"].values() for run in runs]
    assert min(singles) > 0.6, "single moves are learned by all"
    assert 1 <= values["largest"]["direct"] <= 3 and values["largest"]["chain"] == 6
    other, belief = values["many"]["other puzzles"], values["many"]["puzzles with 8 x 7"]
    assert other["vote"][1] > other["vote"][0] + 0.15 and other["vote"][1] > 0.8, "a vote removes slips"
    assert values["greedy"]["other puzzles"] > 0.8, "the most likely token removes slips too"
    assert belief["vote"][1] < belief["vote"][0] - 0.03, "a vote makes a belief surer"
    assert belief["pass"][1] > belief["vote"][1] + 0.5, "some output is right"
    misled, faithful = values["misled_by"], values["faithful"]
    assert misled["chain is right"] > 0.6, "chains that look ordinary"
    assert misled["answer is the hint"] > 0.8 and misled["answer is right"] < 0.2
    assert faithful["chain"][0] > 0.9, "the answer follows from the chain"
    assert faithful["with hints"][0] < 0.2 < 0.8 < faithful["with hints"][1], "the chain is decoration"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_cot_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("09_cot", claims, tmp_path, record_property)
