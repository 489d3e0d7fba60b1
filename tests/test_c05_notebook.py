"""Chapter 05, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/05_ppo/measured.py."""
    assert values["predicted"] == values["measured"], "four models weigh what was predicted"
    assert values["trl"] < 1e-5
    start = values["before"]["utility"]
    utilities, kls = [run["utility"] for run in values["ppo"]], [run["kl"] for run in values["ppo"]]
    assert sum(utilities) / len(utilities) > 2 * start > 0, "the true utility at least doubles"
    assert max(kls) < 10, "not far from where it began"
    assert min(utilities) > start + 0.5, "with every seed"
    assert all(0 <= share < 0.5 for share in values["clip"]) and max(values["clip"]) > 0.005, "the clip has something to do"
    reinforced = [run["utility"] for run in values["reinforce"]]
    assert min(reinforced) > start, "REINFORCE learns too, with every seed"
    assert sum(reinforced) / len(reinforced) > start + 0.5
    assert values["cache_factor"] > 1.2 and 0.05 < values["share_generating"] < 0.9
    places = values["places"]  # of five runs without the KL, where the utility is best and where the score is
    assert median(place["best utility"] for place in places) > start + 1, "without the KL, too, answers get better first"
    falls = [place["best utility"] - place["utility there"] for place in places]
    climbs = [place["best score"] - place["its score"] for place in places]
    assert median(falls) > 2 and values["turned"] >= 4, "then the true utility turns down"
    assert median(climbs) > 0.5, "and the learned reward climbs on"
    assert median(place["KL there"] for place in places) > 1.5 * max(kls), "far away from where it began"
    _, after, *hacked = values["kinds"]
    assert median(kinds["right"] for kinds in hacked) < after["right"] - 0.1, "less of it is right"
    others = values["others"]
    assert others["0.3"][0] < others["0.02"][0], "the larger β, the nearer it stays"
    best = values["best_utility"]
    assert best[0] < best[2] < best[-1] and values["best_kl"][-1] < 4, "best of n goes up, and not far"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_ppo_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("05_ppo", claims, tmp_path, record_property)
