"""Probes of chapter 11's measurements: a win rate with its interval, a KL with its error, forgetting; a choice by a table."""

import torch

from autograder.chapters.probing import TINY_LLAMA, as_number, mask_of, seeded, tiny_llama
from autograder.exercise import Exercise, Unexpected

TOPIC = "11_pipeline"


# ---------------------------------------------------------------------------------------------------------------------
win_rate_interval = Exercise("win_rate_interval", TOPIC, "Exercise 1: who wins, and how sure that is")


def _answers(seed: int, prompts: int, k: int, better: float = 0.0) -> torch.Tensor:
    """Utilities, (prompts, k), of few different values, so that some are equal."""
    g = seeded(seed)
    hard = 2 * torch.randn(prompts, 1, generator=g)
    return ((hard + better + 1.5 * torch.randn(prompts, k, generator=g)) / 0.8).round() * 0.8


def _resamples(seed: int, prompts: int, count: int) -> torch.Tensor:
    return torch.randint(prompts, (count, prompts), generator=seeded(seed + 77))


def _interval(found) -> dict:
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        raise Unexpected(f"Three numbers should come back: rate, lower end, upper end. Yours is a {type(found).__name__}.")
    rate, low, high = (as_number(x, name) for x, name in zip(found, ("The rate", "The lower end", "The upper end"), strict=True))
    return {"rate": rate, "low": low, "high": high}


@win_rate_interval.case
def several_answers(answer, seed):
    """Nine prompts, three answers of ours and four of theirs to each: every one of ours is compared with every one of theirs."""
    return _interval(answer(_answers(seed, 9, 3, 0.7), _answers(seed + 1, 9, 4), _resamples(seed, 9, 60), 0.9))


@win_rate_interval.case
def one_answer_each(answer, seed):
    """One answer to each of thirteen prompts: won, lost, or a tie, which counts one half."""
    return _interval(answer(_answers(seed, 13, 1, 0.5), _answers(seed + 1, 13, 1), _resamples(seed, 13, 50), 0.8))


@win_rate_interval.case
def the_level_of_the_interval(answer, seed):
    """With a level of 0.5 half of the resampled rates lie inside."""
    return _interval(answer(_answers(seed, 11, 2, 0.4), _answers(seed + 1, 11, 3), _resamples(seed, 11, 45), 0.5))


@win_rate_interval.case
def against_itself(answer, seed):
    """The same answers on both sides: a rate of one half, and an interval without width, as every prompt is a tie."""
    ours = _answers(seed, 7, 2)
    return _interval(answer(ours, ours.clone(), _resamples(seed, 7, 20), 0.95))


@win_rate_interval.case
def always_better(answer, seed):
    """Every answer of ours is better than every one of theirs: 1, and from 1 to 1."""
    theirs = _answers(seed, 5, 3)
    return _interval(answer(theirs[:, :2] + 40.0, theirs, _resamples(seed, 5, 20), 0.9))


@win_rate_interval.case
def how_many_resamples(answer, seed):
    """Resamples of fewer prompts than there are, and many more resamples than prompts."""
    few = torch.randint(8, (90, 5), generator=seeded(seed + 5))
    return _interval(answer(_answers(seed, 8, 2, 0.6), _answers(seed + 1, 8, 2), few, 0.7))


# ---------------------------------------------------------------------------------------------------------------------
kl_with_error = Exercise("kl_with_error", TOPIC, "Exercise 2: how far it has gone")

_KINDS = ("drawn", "by step")


def _rollout(seed: int, lengths: list[int], vocab: int, apart: float = 0.8, spare: int = 2):
    """Logits of policy and reference at the places of some answers, the tokens drawn there, and the mask."""
    g, seq = seeded(seed), max(lengths) + spare
    logits = 1.5 * torch.randn(len(lengths), seq, vocab, generator=g)
    ref_logits = logits + apart * torch.randn(logits.shape, generator=g) + 3.0
    tokens = torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, generator=g).view(len(lengths), seq)
    return logits, ref_logits, tokens, mask_of(lengths, seq)


def _estimates(found) -> dict:
    if not isinstance(found, dict) or set(found) != set(_KINDS):
        raise Unexpected(f'A dictionary with "drawn" and "by step" should come back; yours is a {type(found).__name__}.')
    data = {}
    for kind in _KINDS:
        pair = found[kind]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Unexpected(f'"{kind}" should be two numbers, the estimate and its standard error.')
        data |= {f"{kind}_kl": as_number(pair[0], "The estimate"), f"{kind}_error": as_number(pair[1], "The standard error")}
    return data


@kl_with_error.case
def answers_of_several_lengths(answer, seed):
    """Seven answers of 1 to 9 tokens: both estimates and their errors, in nats for a whole answer."""
    return _estimates(answer(*_rollout(seed, [3, 9, 1, 5, 7, 2, 6], 11))) | {"_sizes": {"the number of answers": 7}}


@kl_with_error.case
def answers_of_one_length(answer, seed):
    """Five answers of four tokens."""
    return _estimates(answer(*_rollout(seed, [4] * 5, 7))) | {"_sizes": {"the number of answers": 5, "the length": 4}}


@kl_with_error.case
def answers_of_one_token(answer, seed):
    """Six answers of a single token each, and no padding."""
    return _estimates(answer(*_rollout(seed, [1] * 6, 5, spare=0))) | {"_sizes": {"the number of answers": 6}}


@kl_with_error.case
def what_stands_on_padding(answer, seed):
    """Logits and tokens behind an answer's end mean nothing, however large they are."""
    logits, ref_logits, tokens, mask = _rollout(seed, [4, 1, 6], 9)
    behind = mask == 0
    logits[behind] *= 300
    ref_logits[behind] *= -300
    return _estimates(answer(logits, ref_logits, tokens, mask))


@kl_with_error.case
def far_from_the_reference(answer, seed):
    """Tokens that the reference thinks nearly impossible, 60 nats and more: everything is finite."""
    logits, ref_logits, tokens, mask = _rollout(seed, [3, 2, 4, 5], 8)
    ref_logits[:, :, :4] -= 60
    logits[:, :, 6] -= 200
    tokens = tokens.where(tokens != 6, 5)
    return _estimates(answer(logits, ref_logits, tokens, mask))


# ---------------------------------------------------------------------------------------------------------------------
forgetting = Exercise("forgetting", TOPIC, "Exercise 3: what was forgotten", needs=TINY_LLAMA)

_FORGOT = ("before", "after", "worse")


class _Watched(torch.nn.Module):
    """A model that notes how many rows it was given at a time, how many tokens it may read, and whether a graph was built."""

    def __init__(self, model):
        super().__init__()
        self.model, self.rows, self.tokens, self.graphs = model, [], [], []

    @property
    def device(self):
        return self.model.device

    def forward(self, input_ids=None, attention_mask=None, **more):
        if input_ids is None or attention_mask is None:
            raise Unexpected("The models should be called with input_ids and attention_mask, by name.")
        self.rows.append(len(input_ids))
        self.tokens.append(int(attention_mask.sum()))
        self.graphs.append(torch.is_grad_enabled())
        return self.model(input_ids=input_ids, attention_mask=attention_mask, **more)


def _documents(seed: int, lengths: list[int], vocab: int):
    """Documents as rows, padded on the right with a token that occurs in them too."""
    mask = mask_of(lengths, max(lengths) + seed % 2)
    ids = torch.randint(1, vocab, mask.shape, generator=seeded(seed))
    return ids.masked_fill(mask == 0, 3), mask


def _forgot(answer, seed: int, lengths: list[int], size: int, vocab: int = 13, moved: float = 0.15) -> dict:
    """Ask about two models, of which the second has moved away from the first."""
    before, after = tiny_llama(seed, vocab, 8), tiny_llama(seed, vocab, 8)
    g = seeded(seed + 4)
    with torch.no_grad():
        for weight in after.parameters():
            weight += moved * torch.randn(weight.shape, generator=g)
    watched = [_Watched(before).eval(), _Watched(after).eval()]
    found = answer(*watched, *_documents(seed, lengths, vocab), size)
    if not isinstance(found, dict) or set(found) != set(_FORGOT):
        raise Unexpected(f'A dictionary with "before", "after" and "worse" should come back; it is a {type(found).__name__}.')
    return {name: as_number(found[name], f'"{name}"') for name in _FORGOT} | {"_watched": watched}


@forgetting.case
def documents_of_several_lengths(answer, seed):
    """Seven documents of 2 to 12 tokens, three at a time: every predicted token counts alike."""
    return _forgot(answer, seed, [5, 12, 2, 7, 3, 9, 4], 3)


@forgetting.case
def another_way_to_cut(answer, seed):
    """The same whether one row, two or all go through the models at a time."""
    found = {}
    for size in (1, 2, 50):
        one = _forgot(answer, seed, [6, 3, 10, 2, 4], size)
        found |= {f"{name}_{size}_at_a_time": one[name] for name in _FORGOT}
    return found


@forgetting.case
def nothing_has_changed(answer, seed):
    """The two models are the same: no document is worse."""
    return _forgot(answer, seed, [4, 8, 5], 2, moved=0.0)


@forgetting.case
def most_got_worse(answer, seed):
    """A model that moved far: the share of documents whose own loss rose."""
    return _forgot(answer, seed, [3, 11, 6, 8, 2], 2, moved=0.6)


@forgetting.case
def how_the_models_are_read(answer, seed):
    """At most `size` rows at a time, in as few calls as that allows, with the attention mask, and without building a graph."""
    watched = _forgot(answer, seed, [4, 3, 6, 2, 5, 7, 3], 3)["_watched"]
    if any(not model.rows for model in watched):
        raise Unexpected("One of the two models was never called.")
    return {
        "most_rows_at_a_time": max(max(model.rows) for model in watched),
        "calls": sum(len(model.rows) for model in watched),
        "ones_in_the_attention_masks": sum(sum(model.tokens) for model in watched),
        "builds_a_graph": any(any(model.graphs) for model in watched),
    }


# ---------------------------------------------------------------------------------------------------------------------
best_under_budget = Exercise("best_under_budget", TOPIC, "Exercise 7: what to choose")


def _row(name: str, utility: list[float], kl: list[float], tokens: int) -> dict:
    return {"name": name, "utility": utility, "kl": kl, "tokens": tokens}


def _numbers(g: torch.Generator, middle: float, spread: float, count: int) -> list[float]:
    return [round(middle + spread * x, 3) for x in torch.randn(count, generator=g).tolist()]


def _table(seed: int, rows: int, seeds: int) -> list[dict]:
    g = seeded(seed)
    found = []
    for i in range(rows):
        at = torch.rand(3, generator=g).tolist()
        utility, kl = _numbers(g, 1 + 3 * at[0], 0.7, seeds), [abs(x) for x in _numbers(g, 1 + 5 * at[1], 1.0, seeds)]
        found.append(_row(f"way {'abcdefghijklmnop'[i]}", utility, kl, int(1000 + 9000 * at[2])))
    return found


def _chosen(found) -> dict:
    if not isinstance(found, str):
        raise Unexpected(f"The name of a row should come back, or an empty text; yours is a {type(found).__name__}.")
    return {"chosen": found}


@best_under_budget.case
def many_rows(answer, seed):
    """Fourteen rows, three seeds each, several budgets: each time the name of the best row that stays within them."""
    budgets = ((5.5, 8000), (4.0, 9000), (3.0, 10_000), (9.0, 4000), (7.0, 6500))
    found = {}
    for kl, tokens in budgets:
        found[f"with_kl_{kl:g}_and_{tokens}_tokens"] = _chosen(answer(_table(seed, 14, 3), kl, tokens))["chosen"]
    return found


@best_under_budget.case
def the_largest_kl_counts(answer, seed):
    """A row with a seed beyond the budget of KL is not taken, whatever its other seeds, its mean or its median say."""
    x = 0.01 * (seed % 20)
    steady = _row("steady", [2.0 + x, 2.1, 2.2], [2.5, 2.8, 2.6], 900)
    beyond = {"one": [1.0, 3.4 + x, 1.2], "two": [0.5, 4.0, 4.0 + x]}
    beyond |= {"one_far": [1.0, 2.9, 9.0 + x], "two_far": [1.0, 6.0 + x, 9.0]}
    found = {}
    for name, kl in beyond.items():
        rows = [steady, _row("now and then", [3.0, 3.2 + x, 3.1], kl, 900)]
        found[f"with_{name}_beyond"] = _chosen(answer(rows, 3.0, 1000))["chosen"]
    return found


@best_under_budget.case
def the_median_counts(answer, seed):
    """One row is best with one lucky seed, another on average, a third in the middle of its seeds: the third is taken."""
    x = 0.01 * (seed % 20)
    rows = [
        _row("lucky", [9.9, 0.1, 0.2 + x, 0.1, 0.3], [1.0] * 5, 500),
        _row("average", [1.6, 1.5, 7.0 + x, 6.0, 1.7], [1.0] * 5, 500),
        _row("middle", [2.5 + x, 2.6, 2.4, 0.5, 2.9], [1.0] * 5, 500),
    ]
    return _chosen(answer(rows, 2.0, 500))


@best_under_budget.case
def an_even_number_of_seeds(answer, seed):
    """With four seeds the median is the mean of the two in the middle."""
    x = 0.01 * (seed % 20)
    rows = [_row("low", [1.0, 2.2 + x, 2.3 + x, 3.0], [1.0] * 4, 80)]
    rows.append(_row("wide", [0.0, 1.9, 3.6 + x, 4.0], [1.0] * 4, 80))
    high = [_row("far", [0.0, 0.5, 3.5 + x, 4.0], [1.0] * 4, 80), _row("near", [1.0, 2.1 + x, 2.3, 2.4], [1.0] * 4, 80)]
    return {"first": _chosen(answer(rows, 1.0, 100))["chosen"], "second": _chosen(answer(high, 1.0, 100))["chosen"]}


@best_under_budget.case
def exactly_the_budget(answer, seed):
    """A row that needs exactly what there is, of KL and of tokens, may be taken."""
    limit, tokens = 2.0 + 0.25 * (seed % 5), 1000 + seed % 100
    rows = [_row("small", [1.0, 1.1, 1.2], [0.5] * 3, 10), _row("exact", [2.0, 2.1, 2.2], [1.0, limit, 0.5], tokens)]
    return _chosen(answer(rows, limit, tokens))


@best_under_budget.case
def equally_good(answer, seed):
    """Of rows with the same median the one with the fewest tokens is taken; of those with the same tokens too, the first."""
    x = float(seed % 7)
    rows = [
        _row("dear", [x, x + 1, x + 2], [1.0] * 3, 900), _row("cheap", [x - 3, x + 1, x + 1], [1.5] * 3, 300),
        _row("dearest", [x + 1] * 3, [1.0] * 3, 990), _row("cheap as well", [x + 1] * 3, [0.1] * 3, 300),
        _row("cheapest", [x, x, x], [0.1] * 3, 1),
    ]  # fmt: skip
    return _chosen(answer(rows, 2.0, 1000))


@best_under_budget.case
def nothing_fits(answer, seed):
    """No row stays within both budgets: an empty text."""
    rows = [_row("far", [1.0, 2.0, 3.0], [5.0 + seed % 3] * 3, 10), _row("long", [1.0, 2.0, 3.0], [0.1] * 3, 99_999)]
    tables = {"both": rows, "far_alone": rows[:1], "long_alone": rows[1:]}
    return {name: _chosen(answer(table, 3.0, 1000))["chosen"] for name, table in tables.items()}
