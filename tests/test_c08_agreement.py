"""Chapter 08's references agree with enumeration, closed forms, and transformers."""

import itertools

import pytest
import torch

from autograder.chapters.probing import tiny_llama
from autograder.judging.reference import Reference
from course import tables

FUNCTIONS = Reference("08_icl").functions
with_label, label_scores, calibrated = (FUNCTIONS[n] for n in ("with_label", "label_scores", "calibrated"))
paired_differences, train_in_context = FUNCTIONS["paired_differences"], FUNCTIONS["train_in_context"]
bayes_predictions, new_table_predictions = FUNCTIONS["bayes_predictions"], FUNCTIONS["new_table_predictions"]
induction_scores, predict_from_rows = FUNCTIONS["induction_scores"], FUNCTIONS["predict_from_rows"]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- Inference


def chance_of(label: int, told: int, labels: int, noise: float) -> float:
    return (1 - noise) * (label == told) + noise / labels


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_beliefs_and_predictions_are_ratios_of_sums_over_all_tables(seed, noise):
    """Everything by the definition of a conditional probability, with Python's numbers."""
    g = generator(seed)
    known = torch.randint(3, (4, 5), generator=g)
    prior = torch.rand(4, generator=g, dtype=torch.double).softmax(0)
    xs = torch.randint(5, (1, 6), generator=g)
    ys = known[seed % 4][xs]
    if noise:
        ys = torch.where(torch.rand(1, 6, generator=g) < noise, torch.randint(3, (1, 6), generator=g), ys)
    beliefs, predictions = bayes_predictions(xs, ys, known, 3, noise, prior.float())
    for i in range(6):
        joint = []
        for z in range(4):
            p = prior[z].item()
            for j in range(i):
                p *= chance_of(ys[0, j].item(), known[z, xs[0, j]].item(), 3, noise)
            joint.append(p)
        for z in range(4):
            assert beliefs[0, i, z].item() == pytest.approx(joint[z] / sum(joint), abs=1e-6)
        for label in range(3):
            with_label_ = [p * chance_of(label, known[z, xs[0, i]].item(), 3, noise) for z, p in enumerate(joint)]
            assert predictions[0, i, label].item() == pytest.approx(sum(with_label_) / sum(joint), abs=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_a_new_table_is_one_of_all_tables(noise):
    """A table that nobody knows is exercise 6 with every table there is, all alike: 3 labels to the power of 4 inputs."""
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))  # (81, 4)
    g = generator(5)
    xs = torch.randint(4, (7, 9), generator=g)
    ys = every[torch.randint(81, (7,), generator=g)].gather(1, xs)
    if noise:
        ys = torch.where(torch.rand(ys.shape, generator=g) < noise, torch.randint(3, ys.shape, generator=g), ys)
    _, by_enumeration = bayes_predictions(xs, ys, every, 3, noise)
    torch.testing.assert_close(new_table_predictions(xs, ys, 3, noise), by_enumeration, **CLOSE)


def test_exact_predictions_come_true_as_often_as_they_say():
    """Of 40,000 labels that were drawn: the share that came is the mean of the probabilities, in each tenth."""
    known = tables.known_tables(3)
    rows = tables.draw(known, 5000, 8, generator(1))
    _, probs = bayes_predictions(rows.xs, rows.ys, known, tables.LABELS, tables.NOISE)
    came = torch.nn.functional.one_hot(rows.ys, tables.LABELS)
    for low in torch.arange(10) / 10:
        chosen = (probs >= low) & (probs < low + 0.1)
        if chosen.sum() > 400:
            assert came[chosen].float().mean().item() == pytest.approx(probs[chosen].mean().item(), abs=0.025)


# --- Labels


def encode(text: str) -> list[int]:
    """A character at a time, and a space with the character behind it."""
    ids, space = [], 0
    for character in text:
        if character == " ":
            space = 1
        else:
            ids.append(3 + (ord(character) * 2 + space) % 50)
            space = 0
    return ids


def test_the_score_of_a_label_is_transformers_own_loss():
    model = tiny_llama(1, 53, 16)
    for label in ("yes", "not so", "n"):
        ids, first = with_label("is it?", label, encode)
        row = torch.tensor([ids])
        labels = row.clone()
        labels[:, :first] = -100
        with torch.no_grad():
            loss = model(input_ids=row, labels=labels).loss.item()
        score = label_scores(model, "is it?", [label], encode)[0].item()
        assert score == pytest.approx(-loss * (len(ids) - first), rel=1e-5)


def test_the_scores_of_everything_that_could_follow_sum_to_one():
    """All 53 single tokens, and the chain rule for two: log p(ab) = log p(a) + log p(b | a)."""
    model = tiny_llama(2, 53, 16)
    as_token = lambda text: [int(t) for t in text.split()]  # noqa: E731
    scores = label_scores(model, "4 9 2", [str(i) for i in range(53)], as_token)
    assert scores.exp().sum().item() == pytest.approx(1, abs=1e-5)
    two = label_scores(model, "4 9 2", ["7 8"], as_token)[0]
    then = label_scores(model, "4 9 2 7", ["8"], as_token)[0]
    assert two.item() == pytest.approx((scores[7] + then).item(), abs=1e-5)
    assert (two <= scores[7]).item(), "a longer label never gains"


def test_with_a_byte_level_tokenizer_the_label_is_the_word_with_its_space():
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    texts = ["the label is good", "the label is bad", "a good meal: good", "label: good", "Label: bad"] * 40
    tokenizer.train_from_iterator(texts, vocab_size=330, min_frequency=2)
    ids_of = lambda text: tokenizer.encode(text).ids  # noqa: E731
    ids, first = with_label("the label:", "good", ids_of)
    assert ids == ids_of("the label:") + ids_of(" good") and first == len(ids_of("the label:"))
    assert ids[first:] != ids_of("good")


def test_a_neutral_text_is_answered_evenly_after_calibration():
    neutral = torch.randn(1, 5, generator=generator(0)) - 40
    torch.testing.assert_close(calibrated(neutral, neutral), torch.full((1, 5), 0.2), **CLOSE)
    scores = torch.randn(4, 5, generator=generator(1))
    torch.testing.assert_close(calibrated(scores, torch.zeros(3, 5)), scores.softmax(-1), **CLOSE)


def test_the_scatter_of_the_differences_is_that_of_a_mean():
    """The standard deviation of the draws is that of the questions' differences, over the root of their number."""
    g = generator(3)
    first, second = (torch.rand(40, runs, generator=g) < 0.6 for runs in (2, 3))
    found = paired_differences(first.float(), second.float(), 20_000, g)
    better = second.float().mean(1) - first.float().mean(1)
    assert found.mean().item() == pytest.approx(better.mean().item(), abs=0.004)
    assert found.std().item() == pytest.approx((better.std(correction=0) / 40**0.5).item(), rel=0.03)


# --- Models


def test_the_loss_that_is_trained_on_is_transformers_own_with_inputs_ignored():
    model = tables.new_model(0)
    rows = tables.draw(tables.known_tables(0), 5, 7, generator(0))
    ids = tables.tokens(rows.xs, rows.ys)
    labels = ids.clone()
    labels[:, 0::2] = -100
    theirs = model(input_ids=ids, labels=labels).loss.item()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    (ours,) = train_in_context(model, optimizer, lambda: ids, 1, lambda step: 0.0)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_perfect_induction_head_scores_one_and_an_even_one_what_it_must():
    xs = torch.tensor([[0, 1, 0, 2, 1, 0], [3, 3, 4, 5, 6, 7]])
    perfect = torch.zeros(1, 2, 1, 12, 12)
    even = torch.ones(12, 12).tril() / torch.arange(1, 13)[:, None]
    shares = []
    for row in range(2):
        for i in range(6):
            places = [2 * j + 1 for j in range(i) if xs[row, j] == xs[row, i]]
            if places:
                perfect[0, row, 0, 2 * i, places] = 1 / len(places)
                shares.append(len(places) / (2 * i + 1))
    both = torch.cat([perfect, even.expand(1, 2, 1, 12, 12)], 2)
    expected = torch.tensor([[1.0, sum(shares) / len(shares)]])
    torch.testing.assert_close(induction_scores(both, xs), expected, **CLOSE)


@pytest.mark.parametrize("seed", range(100, 106))
def test_the_open_task_is_passed_with_room(seed):
    from autograder.chapters.c08_icl import learning, rules

    found = learning._predicted(predict_from_rows, seed)
    assert rules.measured(found["probabilities"].double(), seed) < rules.BARS["within_06_of_bayes"] / 2
