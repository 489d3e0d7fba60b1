"""Chapter 03, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/03_reinforce/measured.py."""
    # The sign, against a flawed reward: with plus everything is on the overrated answer, and that harms.
    start, minus, plus = values["flaw"].values()
    assert plus["overrated"] > 0.99 and minus["overrated"] < 0.1
    assert plus["E[r]"] > minus["E[r]"] and plus["E[u]"] < start["E[u]"] - 1 and minus["E[u]"] > start["E[u]"] + 1
    # The derivation's lines, the gradient and its estimate.
    assert max(values["derivation"].values()) < 1e-6
    assert values["autograd_gap"] < 1e-6 and values["extra_term"] < 1e-6 and values["loss_gap"] < 1e-6
    assert values["overall"] < 3
    # Baselines: less scatter and no bias; with its own reward in the mean the gradient is (k - 1) / k as long.
    scatter, size = values["scatter"], values["size"]
    own = "mean of the group, its own included"
    assert scatter["leave one out"] < 0.5 * scatter["no baseline"]
    assert all(abs(size[name] - 1) < 0.08 for name in size if name != own)
    assert abs(size[own] - 0.75) < 0.06 and values["angle"] > 0.98
    constants = [x for name, x in scatter.items() if name.lstrip("-").replace(".", "").isdigit()]
    assert min(constants) < scatter["leave one out"] < 1.5 * min(constants) and max(constants) > scatter["no baseline"]
    # The KL's estimators, as estimates, as losses and in the reward.
    assert max(abs(x) for name in ("k1", "k3") for x in values["bias"][name]) < 1e-5
    assert values["bias"]["k2"][-1] > 0.1 * values["exact_kls"][-1]
    near, spread = values["near"], values["spread"]
    assert spread["k3"][near] < 0.3 * spread["k1"][near]
    assert spread["k3"][-1] > spread["k1"][-1], "far away the exponential loses what it saved"
    pulls = values["pulls"]
    ours, other = "distance to ∇KL(p‖p₀)", "distance to ∇KL(p₀‖p)"
    assert pulls["k1"]["length"] < 1e-6 and max(pulls["k2"][ours], pulls["ratio · k3"][ours], pulls["k3"][other]) < 1e-6
    assert min(pulls["k1"][ours], pulls["k3"][ours], pulls["k2"][other]) > 0.01
    ends = values["in_reward"]
    assert abs(ends["k1"]["J"] - values["best_value"]) < 1e-3 and ends["k1"]["total variation to p*"] < 1e-2
    assert max(ends["k2"]["J"], ends["k3"]["J"]) < values["best_value"] - 0.1
    assert min(ends[k]["answers below p₀/10"] for k in ("k2", "k3")) > 0.5 > ends["k1"]["answers below p₀/10"]
    # The optimum, reached by the exact gradient and from samples.
    assert abs(values["best_value"] - values["climbed_value"]) < 1e-3 and values["climbed_distance"] < 1e-3
    assert values["start_distance"] > 0.3
    assert max(values["reached"]["leave one out"]) < 0.01
    assert median(values["reached"]["no baseline"]) > 3 * median(values["reached"]["leave one out"])
    # The language model: it earns more, several nats away, and courtesies grow first.
    start, ends = values["at_start"], list(values["at_end"].values())
    assert median([end["reward"] for end in ends]) > start["reward"] + 0.7
    assert all(end["reward"] > start["reward"] for end in ends) and all(1 < end["k1"] < 40 for end in ends)
    early, gains = values["early"], values["gains"]
    assert max(early["opening"], early["closing"]) > early["right"] + 0.05
    assert max(gains["opening"], gains["closing"]) > gains["right"] > 0


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_reinforce_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("03_reinforce", claims, tmp_path, record_property)


@pytest.mark.timeout(2 * MINUTES)
def test_the_widget_calls_the_readers_function_and_redraws():
    import torch

    from autograder.judging.reference import Reference
    from course.widgets import optimum_explorer

    calls = []

    def optimum(ref_logps, rewards, beta):
        calls.append((tuple(rewards[0].tolist()), beta))
        return Reference("03_reinforce").functions["optimal_policy"](ref_logps, rewards, beta)

    parts = {"right": (3.0, torch.tensor([1.0, 0.0, 0.0])), "opening": (1.2, torch.tensor([0.0, 1.0, 0.0]))}
    box = optimum_explorer(["a", "b", "c"], torch.tensor([0.2, 0.3, 0.5]).log(), parts, optimum)
    price, right, _, picture = box.children
    first = bytes(picture.value)
    assert first.startswith(b"\x89PNG")
    right.value = -2.0
    assert bytes(picture.value) != first and calls[-1][0][0] == -2.0
    price.value = 100.0
    assert calls[-1][1] == pytest.approx(100.0)
