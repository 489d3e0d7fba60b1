"""Chapter 04, solved, runs from top to bottom, and what it claims is so."""

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/04_reward_model/measured.py."""
    errors = values["score_errors"]
    assert errors == sorted(errors, reverse=True), "more games, better scores"
    assert values["regression_difference"] < 1e-5 and values["shift_difference"] < 1e-4
    assert values["head_difference"] < 1e-4 and values["trl_difference"] < 1e-5
    assert values["overlap"] == 0, "no held-out prompt was trained on"

    ceiling, result = values["ceiling"], values["result"]
    assert values["plain_accuracy"] < ceiling - 0.1, "a head on a small body is far below the ceiling"
    assert values["plain_prices"]["being right"] < 0.25 * values["true_prices"]["being right"], "it learned manners"
    assert values["told_apart"] > 0.9, "the reader is surprised by wrong answers"
    assert min(values["seeds"]) > ceiling - 0.02, "within 0.02 of the Bayes ceiling, with every seed"
    assert values["floor"] < result["expected_loss"] < values["log_2"]
    assert result["correlation"] > 0.8
    found, true = values["found_prices"], values["true_prices"]
    assert found["being right"] > found["an opening"] > 0 and found["being right"] > 0.6 * true["being right"]
    assert values["calibration"][0] < 0.1

    noise = values["noise"]
    assert noise["0.0"]["scale"] > noise["0.1"]["scale"] > noise["0.3"]["scale"], "noise shrinks the scale"
    assert noise["0.3"]["scale"] < 0.7 * noise["0.0"]["scale"]
    assert noise["0.1"]["expected_accuracy"] > ceiling - 0.06, "and spoils the order less"
    few = list(values["few"].values())
    assert few[0]["training_loss"] < values["floor"] < few[0]["expected_loss"], "few pairs are learned by heart"
    assert few[0]["expected_accuracy"] < few[1]["expected_accuracy"] < few[2]["expected_accuracy"]
    honest, biased = (prices["points for ten words"] / 10 for prices in values["word_prices"].values())
    assert abs(honest) < 0.1 and biased > honest + 0.4 * values["liking"], "the liking for words was learned, and found"

    for kls in values["kls"].values():
        assert all(-1e-9 <= kl <= bound + 1e-9 for kl, bound in zip(kls, values["bounds"]))
        assert kls[-1] < values["bounds"][-1] - 0.1, "a bound, not the truth"
    truth, learned, few_pairs, long = values["curves"]
    assert truth == sorted(truth), "the truth's own choice only gets better"
    assert learned[-1] > learned[0] + 1.0 and truth[-1] > learned[-1]
    assert learned[-1] > few_pairs[-1] and learned[-1] > long[-1]


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_reward_models_solved_and_their_claims(tmp_path, record_property):
    run_and_assert("04_reward_model", claims, tmp_path, record_property)
