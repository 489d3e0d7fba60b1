"""Chapter 10, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/10_grpo/measured.py."""
    assert all(0.005 < found["right"] < 0.3 for found in values["before"]), "the base model is right now and then"
    grpo, alone = values["hard"]
    assert alone < grpo < 1, "divided by the spread, hard puzzles count more"
    lengths = values["lengths"]
    assert lengths["answer"]["wrong"] > 0.6 and lengths["answer"]["right"] < 0.4, "per answer: wrong ones long, right ones short"
    for per in ("token", "constant"):
        assert abs(lengths[per]["wrong"] - 0.5) < 0.12 and abs(lengths[per]["right"] - 0.5) < 0.12, "the others: no preference"
    assert values["nine_gap"] < 1e-9, "the nine gradients agree with autograd"
    forward, backward, neither = "∇KL(p‖p₀)", "∇KL(p₀‖p)", "neither"
    assert values["nine"] == ["0", forward, backward, forward, neither, neither, forward, neither, forward]
    assert values["counted"] == 4
    assert values["trl_gap"] < 1e-5
    plain, cold, warm, top = values["mismatch"]
    assert plain["outside the clip, scored at 1"] == 0, "drawn at 1 with all tokens, nothing is outside"
    assert min(row["outside the clip, scored at 1"] for row in (cold, warm, top)) > 0.02, "else some tokens are"
    assert top["mean ratio, scored at 1"] < 0.99, "with top-p the mean ratio is below 1"
    assert max(row["outside the clip, scored as drawn"] for row in values["mismatch"]) == 0, "scored as drawn, none is"
    middle = {name: median(found) for name, found in values["accuracy"].items()}
    assert values["times"] >= 2, "reward alone at least doubles the accuracy, median of the seeds"
    assert middle["reward alone"] > 0.5 and middle["cold start, reward"] > 0.6
    assert middle["cold start"] > 2 * middle["base"], "the cold start teaches the form"
    assert middle["cold start, reward"] > middle["cold start"] + 0.05, "the reward pays for thoughts without a slip"
    assert values["until"]["with a cold start"] < values["until"]["reward alone"], "it learns sooner"
    first, many = values["first"], values["many"]
    assert first["reward alone"] > 2 * first["base"], "pass@1 rises"
    rise_1, rise_64 = (found["reward alone"] - found["base"] for found in (first, many))
    assert rise_64 < 0.6 * rise_1, "pass@64 rises much less, if at all"
    careless, honest = values["careless"], values["honest"]
    assert careless["paid"] > careless["right"] + 0.15, "the careless verifier pays for answers that are not right"
    assert honest["right"] > careless["right"] + 0.15, "and what it trains is right less often"
    assert careless["form"] < 0.4 and careless["right"] < 0.4, "it writes numbers, and hardly ever an answer"
    right, by_chance = values["middle"]["right ones"], values["middle"]["by chance"]
    assert right > by_chance + 0.02, "the choice helps, not only the fine-tuning"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_grpo_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("10_grpo", claims, tmp_path, record_property)
