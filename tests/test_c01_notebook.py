"""Chapter 01, solved, runs from top to bottom, and what it claims is so."""

from itertools import pairwise

import pytest
import torch
from notebook_runs import MINUTES, run_and_assert

from course import data, models


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/01_pretraining/measured.py."""
    assert values["agreement"] < 1e-5
    assert abs(values["first_loss"] - values["log_V"]) < 1.0, "an untrained model guesses about uniformly"
    claims_of_counting(values)
    first, last, honest = values["without_shift"]
    assert last < 0.2 * values["floor"] < first, "without the shift the loss falls far below the entropy"
    assert honest > values["log_V"] - 1 and values["without_shift_repeats"] > 0.5, "and the model repeats what it reads"
    assert values["heldout"] < min(values["ngrams"].values()) - 0.3, "the model is far below the best counts"
    assert values["floor"] - 0.02 < values["heldout"] < values["floor"] + 0.15
    assert min(values["facts"], values["copying"]) > 0.6, "the abilities are learned"
    assert len(set(values["learned_at"])) > 1, "and not all at the same time"
    assert values["list_costs"][1] < 0.5 * values["list_costs"][0], "a list that is said again costs much less"
    assert values["first_words"][0] <= values["first_words"][1] / 2, "a low temperature takes variety away"
    assert values["words_right"][2] < values["words_right"][1] / 2, "a high one takes the sentences apart"
    assert values["asks_back"] > 0.8, "the base model answers a question with another one"
    assert values["mask_accuracy"] > values["mask_baseline"] + 0.2
    assert values["on_colours"] > 2 * values["colour_chance"], "what kind of word is hidden"
    assert values["nsp_accuracy"] > 0.6, "next-sentence prediction beats a coin"
    assert values["in_order"] > 0.7, "it calls real pairs real"


def claims_of_counting(values: dict) -> None:
    """These depend on no seed: the texts are always the same."""
    ngrams, more = ([values[name][str(n)] for n in range(1, 7)] for name in ("ngrams", "ngrams_more_alpha"))
    falls = [b < a for a, b in pairwise(ngrams)]
    assert falls == [True, True, False, True, False], "it falls, rises at n = 4, falls, and rises"
    known, new = values["cost_known"], values["cost_new"]
    assert all(b < a + 1e-6 for a, b in pairwise(known)), "what was seen becomes cheaper with every n"
    assert new[2] < new[3] < new[4] < new[5], "and what was not, more expensive"
    token_unseen, context_unseen = values["cost_each"]
    assert token_unseen > context_unseen + 1 and abs(context_unseen - values["log_V"]) < 1e-3
    assert [b < a for a, b in pairwise(more)] == [True, True, False, False, False], "with ten times the alpha no bump"
    assert min(more) == more[2]
    words, characters = values["perplexities"]
    assert 2.5 < words / characters < 4, "the perplexities differ by a factor of about three"
    words, characters = values["bits_per_byte"]
    assert abs(words / characters - 1) < 0.1, "and both describe the text about equally well"


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
