"""Chapter 06, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/06_dpo/measured.py."""
    assert values["recovery"] < 1e-4, "the utility comes back out of p*"
    assert max(values["cancel"]) < 1e-3, "constants of a prompt change nothing"
    assert values["weight_error"] < 1e-5 and values["trl"] < 1e-5
    exact, fixed, start = values["exact"], [median(row) for row in values["fixed"]], values["at_start"]
    assert median(exact) < 0.02, "with exact preferences DPO arrives"
    assert fixed == sorted(fixed, reverse=True) and fixed[0] > start - 0.1 and fixed[1] > 0.4 * start, "with few it does not"
    assert fixed[3] > 5 * median(exact)
    right, *wrong = (found["to p*"] for found in values["broken"].values())
    assert right < 0.02 and min(wrong) > 2 * right + 0.02, "an error moves the optimum"
    whole, two, one = values["bytes"]
    assert one < two < 0.6 * whole and one < 0.45 * whole, "one model and some numbers"
    before, ends = values["before"]["utility"], [curve[-1] for curve in values["curves"]]
    assert median(values["wins"]) > 0.7 and min(values["wins"]) > 0.6, "win rate over the model before"
    assert median(end["utility"] for end in ends) > before + 1, "answers become better"
    assert median(end["chosen"] for end in ends) < -0.3, "the chosen answers become less likely"
    assert all(end["rejected"] < end["chosen"] for end in ends), "and the rejected ones even less"
    assert median(end["accuracy"] for end in ends) > 0.6
    assert median(run[-1]["utility"] for run in values["ppo"]) > before + 1, "PPO learns"
    best = values["best_utility"]
    assert best[0] < best[2] < best[-1] and values["best_kl"][-1] < 3.5
    best, far = values["far_middle"]["at its best"], values["far_middle"]["farthest from p₀"]
    assert best["utility"] - far["utility"] > 0.3, "far from the reference the utility is lower"
    assert far["kl"] > 1.5 * best["kl"]
    assert far["accuracy"] > best["accuracy"] - 0.15 and far["accuracy"] > 0.55, "and held-out pairs hardly show it"
    thirds = [(sum(losses[: len(losses) // 3]), sum(losses[-(len(losses) // 3) :])) for losses in values["far_loss"]]
    assert median(last / first for first, last in thirds) < 1, "while the loss falls"
    settings = values["settings"]
    assert settings["rate 1e-3"]["kl"] > 2 * settings["rate 1e-4"]["kl"], "the rate decides how far it goes"
    assert settings["β = 0.8"]["kl"] < settings["β = 0.2, rate 3e-4"]["kl"] + 1
    real = values["real"]
    assert real["after"]["accuracy"] > 0.6 and real["before"]["accuracy"] == 0.5, "the pairs are told apart"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_dpo_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("06_dpo", claims, tmp_path, record_property)
