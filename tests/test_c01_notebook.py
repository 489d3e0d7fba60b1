"""Chapter 01, solved, runs from top to bottom, and what it claims is so."""

import pytest
import torch
from notebook_runs import MINUTES, run_and_assert

from course import data, models


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/01_pretraining/measured.py."""
    assert values["agreement"] < 1e-5
    assert abs(values["first_loss"] - values["log_V"]) < 1.0, "an untrained model guesses about uniformly"
    ngrams = values["ngrams"]
    assert ngrams["1"] > ngrams["2"] > ngrams["3"], "context helps, at first"
    assert values["heldout"] < min(ngrams.values()), "the model beats the 4-gram, and every other"
    assert values["floor"] < values["heldout"] < values["floor"] + 0.1
    assert min(values["facts"], values["sums"], values["copying"]) > 0.6, "the abilities are learned"
    assert len(set(values["learned_at"])) > 1, "and not all at the same time"
    assert values["asks_back"] > 0.9, "the base model answers a question with another one"
    assert values["mask_accuracy"] > values["mask_baseline"] + 0.2
    assert values["nsp_accuracy"] > 0.6, "next-sentence prediction beats a coin"
    assert values["swapped"] < 0.5 < values["in_order"], "and here it knows about order"


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_pretraining_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("01_pretraining", claims, tmp_path, record_property, most_gib=3.0)


def test_the_shipped_checkpoint_is_what_its_card_says():
    model, card = models.load_nano("base"), models.load_card("nano-base")
    heldout = data.pad_rows(data.load_corpus("heldout"), data.load_tokenizer())
    with torch.no_grad():
        logits = model(heldout.input_ids, attention_mask=heldout.attention_mask).logits[:, :-1]
    labels = heldout.input_ids.masked_fill(heldout.attention_mask == 0, -100)[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).item()
    assert loss == pytest.approx(card["held-out loss"], abs=2e-3)
    assert loss < data.entropy_floor() + 0.1
