"""Probes of chapter 08's first part: prompts, the tokens of a label, what a model gives to labels, and how sure one may be."""

import re
import zlib
from types import SimpleNamespace

import torch

from autograder.chapters.probing import as_pair, as_tensor, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "08_icl"

# ---------------------------------------------------------------------------------------------------------------------
few_shot_prompt = Exercise("few_shot_prompt", TOPIC, "Exercise 1: a prompt from examples")

_TEXTS = ("the meal was cold", "a fine day", "we left early", "nobody came", "it worked at once")
_LABELS = ("good", "bad", "bad", "very bad", "good")


def _examples(seed: int, count: int) -> list[tuple[str, str]]:
    order = torch.randperm(len(_TEXTS), generator=seeded(seed)).tolist()[:count]
    return [(f"{_TEXTS[i]} {seed % 97}", _LABELS[i]) for i in order]


def _prompt(answer, *given) -> dict:
    prompt = answer(*given)
    if not isinstance(prompt, str):
        raise Unexpected(f"A prompt is one text; your function returned {type(prompt).__name__}.")
    return {"prompt": prompt}


@few_shot_prompt.case
def some_examples(answer, seed):
    """Three examples, in the order in which they come, then the question."""
    return _prompt(answer, _examples(seed, 3), f"what now {seed % 89}")


@few_shot_prompt.case
def no_example(answer, seed):
    """Zero-shot: the question alone."""
    return _prompt(answer, [], f"what now {seed % 89}")


@few_shot_prompt.case
def an_instruction(answer, seed):
    """An instruction comes first, with examples and without."""
    says = f"Is it good or bad? ({seed % 83})"
    both = [_prompt(answer, _examples(seed, count), "what now", says)["prompt"] for count in (2, 0)]
    return {"with_examples": both[0], "zero_shot": both[1]}


@few_shot_prompt.case
def other_names(answer, seed):
    """The names of the two lines are arguments."""
    return _prompt(answer, _examples(seed, 2), "what now", "", f"Review {seed % 7}", "Sentiment")


# ---------------------------------------------------------------------------------------------------------------------
with_label = Exercise("with_label", TOPIC, "Exercise 2: the tokens of a label", plain=True)

_VOCAB = 509
_PIECES = re.compile(r" ?[^\W\d]{1,4}|\n+| ?\d| ?[^\w\s]|\s")
_JOINED = re.compile(r":? ?[^\W\d]{1,4}|\n+| ?\d| ?[^\w\s]|\s")  # a colon joins what follows it


def _encoder(pieces: re.Pattern):
    """A tokenizer as language models have them: a space belongs to the word behind it, long words fall into pieces."""

    def encode(text: str) -> list[int]:
        return [zlib.crc32(piece.encode()) % _VOCAB for piece in pieces.findall(text)]

    return encode


def _labelled(answer, prompt: str, label: str, pieces: re.Pattern = _PIECES) -> dict:
    ids, first = as_pair(answer(prompt, label, _encoder(pieces)), "the ids and how many of them are prompt")
    try:
        return {"ids": [f"{int(i)}" for i in ids], "first": int(first)}
    except (TypeError, ValueError):
        raise Unexpected("A list of token ids and a whole number are asked for.") from None


@with_label.case
def one_token(answer, seed):
    """The label is one token: the word with the space in front of it."""
    return _labelled(answer, f"Text: number {seed % 1000}\nLabel:", "good")


@with_label.case
def several_tokens(answer, seed):
    """The label is several tokens, or several words."""
    long = _labelled(answer, f"Text: number {seed % 1000}\nLabel:", "disappointing")
    words = _labelled(answer, "Text: it ended\nLabel:", f"not at all {seed % 10}")
    return {f"{kind}_{name}": x for kind, found in (("word", long), ("words", words)) for name, x in found.items()}


@with_label.case
def cut_elsewhere(answer, seed):
    """A tokenizer that joins the colon with what follows it: the last token of the prompt alone is not in the whole text."""
    behind_words = _labelled(answer, f"Text: number {seed % 1000}\nLabel:", "terrible", _JOINED)
    behind_nothing = _labelled(answer, ":", f"good {seed % 10}", _JOINED)  # no token is the prompt's
    return behind_words | {f"colon_alone_{name}": x for name, x in behind_nothing.items()}


# ---------------------------------------------------------------------------------------------------------------------
label_scores = Exercise("label_scores", TOPIC, "Exercise 3: what a model gives to labels")


class _Reader(torch.nn.Module):
    """A causal model: what it says at a place depends on all tokens up to it, the near ones more."""

    device = torch.device("cpu")

    def __init__(self, seed: int, scale: float):
        super().__init__()
        g = seeded(seed)
        self.seen = torch.nn.Parameter(torch.randn(_VOCAB, 12, generator=g))
        self.said = torch.nn.Parameter(scale * torch.randn(12, _VOCAB, generator=g))

    def forward(self, input_ids, attention_mask=None, **others):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        back = torch.arange(input_ids.shape[1])
        distance = (back[:, None] - back).float()
        near = torch.where(distance >= 0, 0.8**distance, 0.0)
        read = self.seen[input_ids] * attention_mask[..., None]
        return SimpleNamespace(logits=torch.tanh(near @ read) @ self.said)


def _scored(answer, seed: int, prompt: str, labels: list[str], pieces: re.Pattern = _PIECES, scale: float = 1.0) -> dict:
    scores = as_tensor(answer(_Reader(seed, scale), prompt, labels, _encoder(pieces)), "The scores")
    return {"scores": scores, "_sizes": {"the number of labels": len(labels)}}


@label_scores.case
def labels_of_one_token(answer, seed):
    """Labels of one token each: log p of that token behind the prompt."""
    return _scored(answer, seed, f"Text: number {seed % 1000}\nLabel:", ["good", "bad", "fair"])


@label_scores.case
def labels_of_several_tokens(answer, seed):
    """Labels of several tokens: the sum of log p over the label's tokens, and of no others."""
    return _scored(answer, seed, f"Text: number {seed % 1000}\nLabel:", ["good", "disappointing", "not at all", "meh"])


@label_scores.case
def one_begins_another(answer, seed):
    """One label is the beginning of another: each gets its own score."""
    return _scored(answer, seed, f"Is it {seed % 100}?", ["no", "no way", "no way out"])


@label_scores.case
def a_joined_colon(answer, seed):
    """The tokenizer joins the colon with the label: that token is the label's."""
    return _scored(answer, seed, f"Text: number {seed % 1000}\nLabel:", ["good", "terrible"], _JOINED)


@label_scores.case
def unlikely_labels(answer, seed):
    """Labels of almost no probability: their scores are finite numbers."""
    return _scored(answer, seed, f"Text: number {seed % 1000}\nLabel:", ["good", "disappointing", "bad"], scale=60.0)


# ---------------------------------------------------------------------------------------------------------------------
paired_differences = Exercise("paired_differences", TOPIC, "Exercise 4: how sure is a difference")

_DRAWS = 800


def _answers(seed: int, questions: int, runs: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Right answers, (questions, runs), of two ways to ask. A question is easy for both or hard for both, but for the last four:
    three are right in the second way alone, one in the first. Of several runs, the first of the second way is turned round."""
    g = seeded(seed)
    easy = torch.where(torch.arange(questions) % 2 == 0, 0.95, 0.05)[torch.randperm(questions, generator=g)]
    luck = torch.rand(questions, max(runs), generator=g)
    first, second = ((luck[:, :count] < easy[:, None]).float() for count in runs)
    if runs[1] > 1:
        second[:, 0] = 1 - second[:, 0]
    first[-4:] = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    second[-4:] = 1 - first[-4:, :1]
    return first, second


def _resampled(answer, seed: int, questions: int, runs: tuple[int, int]) -> dict:
    first, second = _answers(seed, questions, runs)
    found = as_tensor(answer(first, second, _DRAWS, seeded(seed + 7)), "The differences").detach().double()
    if found.shape != (_DRAWS,):
        raise Unexpected(f"One difference a draw is asked for, {_DRAWS} in all; your result has the shape {tuple(found.shape)}.")
    off = found - found.mean()
    return {"difference_draws": found, "squared_deviation_draws": off.square()}


@paired_differences.case(rule="means")
def one_run(answer, seed):
    """One run of each: the mean of the differences, and how far they scatter."""
    return _resampled(answer, seed, 24, (1, 1))


@paired_differences.case(rule="means")
def several_runs(answer, seed):
    """Several runs, of the second way more than of the first: a question that is drawn brings all its runs."""
    return _resampled(answer, seed, 24, (5, 8))


@paired_differences.case
def the_same_answers(answer, seed):
    """Two ways that answer each question alike do not differ, in any draw."""
    first, _ = _answers(seed, 9, (2, 2))
    first = first[:, :1]
    found = as_tensor(answer(first, first.repeat(1, 4), 50, seeded(seed)), "The differences")
    return {"all_are_zero": bool((found.abs() < 1e-5).all()), "how_many": len(found)}


@paired_differences.case
def luck_from_the_generator(answer, seed):
    """All that is random comes from the generator: the same seed gives the same draws, another seed gives others."""
    first, second = _answers(seed, 11, (2, 3))
    one, again, other = (as_tensor(answer(first, second, 60, seeded(seed + s)), "The differences") for s in (0, 0, 1))
    return {"again_the_same": torch.equal(one, again), "another_seed_differs": not torch.equal(one, other)}


# ---------------------------------------------------------------------------------------------------------------------
calibrated = Exercise("calibrated", TOPIC, "Exercise 5: calibration")


def _calibrated(answer, scores: torch.Tensor, neutral: torch.Tensor) -> dict:
    found = as_tensor(answer(scores, neutral), "The probabilities")
    sizes = {"the number of questions": len(scores), "the number of labels": scores.shape[1], "the neutral texts": len(neutral)}
    return {"probabilities": found, "_sizes": sizes}


@calibrated.case
def three_neutral_texts(answer, seed):
    """Five questions, four labels, three neutral texts."""
    g = seeded(seed)
    return _calibrated(answer, 1.5 * torch.randn(5, 4, generator=g) - 3, 2 * torch.randn(3, 4, generator=g) - 2)


@calibrated.case
def one_neutral_text(answer, seed):
    """One neutral text: asked it again, the model gives all labels alike."""
    g = seeded(seed)
    neutral = torch.randn(1, 3, generator=g) - 1
    return _calibrated(answer, torch.cat([neutral, torch.randn(4, 3, generator=g)]), neutral)


@calibrated.case
def labels_of_little_probability(answer, seed):
    """Labels that are long and unlikely, with scores of some -800, of each text another: only their differences count."""
    g = seeded(seed)
    scores = torch.randn(6, 3, generator=g) - 800 - 10 * torch.rand(6, 1, generator=g)
    return _calibrated(answer, scores, torch.randn(2, 3, generator=g) - torch.tensor([[790.0], [830.0]]))
