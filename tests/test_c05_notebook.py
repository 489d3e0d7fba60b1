"""Chapter 05, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/05_ppo/measured.py."""
    assert abs(values["frozen_share"] - 1 / 5) < 0.02, "the two frozen models are a fifth"
    assert values["numbers_a_weight"]["policy"] == pytest.approx(4, abs=0.01)
    assert values["trl"] < 1e-5
    noise, blind = values["noise"], values["blind"]
    assert noise[0] < 1e-4 and noise == sorted(set(noise)), "an exact value model: noise grows with λ"
    assert blind[0] < 0.2 and abs(blind[-1] - 1) < 0.1, "a blind one: λ = 0 credits the last token alone"
    right, broken = values["broken"].values()
    assert right["stopped in the last step"] > 0.05 and broken["stopped in the last step"] == 0, "the clip never acts"
    assert broken["nats from the old policy"] > 2 * right["nats from the old policy"], "the policy runs away"
    start = values["before"]["utility"]
    utilities, kls = [run["utility"] for run in values["ppo"]], [run["kl"] for run in values["ppo"]]
    assert median(utilities) > start + 1 and min(utilities) > start + 0.5, "PPO makes the answers better, with every seed"
    assert max(kls) < 15, "not far from where it began"
    by_step = values["stopped_by_step"]
    assert by_step[0] < 0.002, "at the first step nothing is stopped"
    assert max(by_step[2:]) > max(by_step[:2]) and max(by_step) < 0.5, "more in the second round"
    assert min(run["utility"] for run in values["reinforce"]) > start, "REINFORCE learns too, with every seed"
    places = values["places"]  # of five runs without the KL, where the utility is best and where the score is
    assert median(place["best utility"] for place in places) > start + 1, "without the KL, too, answers get better first"
    falls = [place["best utility"] - place["utility there"] for place in places]
    climbs = [place["best score"] - place["its score"] for place in places]
    assert median(falls) > 0.5 and values["turned"] > len(places) / 2, "then the true utility turns down"
    assert median(climbs) > 0.2, "and the learned reward climbs on"
    assert median(place["KL there"] for place in places) > max(kls), "far away from where it began"
    _, after, *hacked = values["kinds"]
    assert median(kinds["right"] for kinds in hacked) < after["right"], "less of it is right"
    ends = {beta: run[-1] for beta, run in values["others"].items()}  # KL, utility, score
    assert ends["0.1"][0] < median(values["far_kl"]), "with β it stays nearer, at the same rate and after as many updates"
    best = values["best_utility"]
    assert best[0] < best[2] < best[-1] and values["best_kl"][-1] < 3, "best of n goes up, and not far"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_ppo_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("05_ppo", claims, tmp_path, record_property)
