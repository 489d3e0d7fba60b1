"""Chapter 03, solved, runs from top to bottom, and what it claims is so."""

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/03_reinforce/measured.py."""
    # The sign: with plus a point mass, with minus not.
    assert values["largest"]["plus"] > 0.99 and values["largest"]["minus"] < 0.5
    # The derivation's lines, the gradient and its estimate.
    assert max(values["derivation"].values()) < 1e-6
    assert values["autograd_gap"] < 1e-6 and values["extra_term"] < 1e-6 and values["loss_gap"] < 1e-6
    assert values["overall"] < 3 and values["within_three"] > 0.95
    # Baselines: less scatter and no bias; the group's own mean is a bias of (k - 1) / k.
    assert values["scatter"]["leave one out"] < 0.5 * values["scatter"]["no baseline"]
    size = values["size"]
    assert all(abs(size[name] - 1) < 0.05 for name in size if "group" not in name)
    assert abs(size["mean of the group, itself included"] - 0.75) < 0.05
    assert min(values["scatter_constant"]) < values["scatter"]["leave one out"] < 1.5 * min(values["scatter_constant"])
    # The KL's estimators.
    kl, near = values["kl"], values["near"]
    assert max(abs(x) for name in ("k1", "k3") for x in kl[name]["bias"]) < 1e-5
    assert kl["k2"]["bias"][-1] > 0.1 * values["exact_kls"][-1]
    assert kl["k3"]["spread"][near] < 0.3 * kl["k1"]["spread"][near]
    assert kl["k3"]["spread"][-1] > kl["k1"]["spread"][-1], "far away the exponential loses what it saved"
    # The optimum, reached by the exact gradient and from samples.
    assert abs(values["best_value"] - values["climbed_value"]) < 1e-3 and values["climbed_distance"] < 1e-3
    assert values["start_distance"] > 0.3
    assert max(values["reached"]["leave one out"]) < 0.01
    assert min(values["reached"]["no baseline"]) > 3 * max(values["reached"]["leave one out"])
    # The language model: every run earns more, and learns manners before it learns to be right.
    start, ends = values["at_start"], values["at_end"]
    assert len(ends) == 6 and all(end["reward"] > start["reward"] + 0.5 for end in ends.values())
    assert all(0.2 < end["k1"] < 40 for end in ends.values())
    manners = [end["opens courteously"] + end["closes courteously"] for end in ends.values()]
    right = [end["right"] for end in ends.values()]
    gained = sum(manners) / 6 - start["opens courteously"] - start["closes courteously"]
    assert gained > 0.5 and 0.03 < sum(right) / 6 - start["right"] < gained


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
