"""Probes of chapter 06's second half: log-probabilities of pairs, the reference's once and for all, and the training loop."""

import torch
from torch import nn

from autograder.chapters.probing import (
    TINY_LLAMA,
    as_number,
    as_pair,
    as_tensor,
    gradients_of,
    noting_sgd,
    seeded,
    tiny_llama,
)  # fmt: skip
from autograder.exercise import Exercise, Unexpected

TOPIC = "06_dpo"

_VOCAB, _PAD = 23, 0
_TWO = "the log-probabilities of the chosen and of the rejected answers"
Examples = list[tuple[list[int], list[int]]]


def _examples(seed: int, prompts: list[int], answers: list[int]) -> Examples:
    """Token ids and labels: so many tokens of a prompt, whose labels are -100, and so many of an answer. One pad id in each
    prompt is a token like any other."""
    found = []
    for i, (prompt, said) in enumerate(zip(prompts, answers, strict=True)):
        ids = torch.randint(1, _VOCAB, (prompt + said,), generator=seeded(1000 * seed + i)).tolist()
        found.append((ids, [-100] * prompt + ids[prompt:]))
    return found


# ---------------------------------------------------------------------------------------------------------------------
pair_logps = Exercise("pair_logps", TOPIC, "Exercise 6: the log-probabilities of pairs", needs=TINY_LLAMA)


class _Counting:
    """A model that notes on how many rows it is called, and how many tokens of each it is told to be real."""

    def __init__(self, model):
        self.model, self.calls, self.real = model, [], []

    def __call__(self, *given, **named):
        ids = named.get("input_ids", given[0] if given else None)
        mask = named.get("attention_mask", given[1] if len(given) > 1 else None)
        self.calls.append(len(ids))
        self.real += [ids.shape[1]] * len(ids) if mask is None else mask.sum(1).tolist()
        return self.model(*given, **named)

    def __getattr__(self, name):
        return getattr(self.model, name)


def _logps(answer, seed: int, chosen: Examples, rejected: Examples) -> dict:
    model = tiny_llama(seed, _VOCAB, 12)
    first, second = as_pair(answer(model, chosen, rejected, _PAD), _TWO)
    return {
        "chosen": as_tensor(first, "The first result").detach(),
        "rejected": as_tensor(second, "The second result").detach(),
        "_sizes": {"the number of pairs": len(chosen)},
    }


@pair_logps.case
def pairs_of_different_lengths(answer, seed):
    """Three pairs, no two answers of one length: the sum of log p over each answer's tokens."""
    return _logps(answer, seed, _examples(seed, [3, 5, 4], [4, 2, 7]), _examples(seed + 1, [3, 5, 4], [6, 3, 1]))


@pair_logps.case
def rejected_ones_are_longer(answer, seed):
    """Every rejected answer is longer than the chosen one: a sum is not divided by the length."""
    return _logps(answer, seed, _examples(seed, [2, 3], [1, 2]), _examples(seed + 1, [2, 3], [9, 11]))


@pair_logps.case
def one_pair(answer, seed):
    """A single pair."""
    return _logps(answer, seed, _examples(seed, [4], [3]), _examples(seed + 1, [4], [5]))


@pair_logps.case
def labels_inside_the_answer(answer, seed):
    """A label may be -100 inside an answer too: that token is read, and not counted."""
    chosen, rejected = _examples(seed, [3, 2], [5, 6]), _examples(seed + 1, [3, 2], [4, 7])
    for _, labels in (chosen[0], rejected[1]):
        labels[-3] = -100
    return _logps(answer, seed, chosen, rejected)


@pair_logps.case
def a_single_forward_pass(answer, seed):
    """The model is called once, on a batch of all chosen and all rejected answers."""
    model = _Counting(tiny_llama(seed, _VOCAB, 12))
    answer(model, _examples(seed, [3, 5, 4], [4, 2, 7]), _examples(seed + 1, [3, 5, 4], [6, 3, 1]), _PAD)
    return {"rows_of_each_call": torch.tensor(model.calls)}


@pair_logps.case
def real_tokens_and_padding(answer, seed):
    """The attention mask that the model gets is 1 on the tokens of each example, and 0 on padding."""
    model = _Counting(tiny_llama(seed, _VOCAB, 12))
    answer(model, _examples(seed, [3, 5], [4, 2]), _examples(seed + 1, [3, 5], [8, 6]), _PAD)
    return {"real_tokens_of_the_rows": torch.tensor(sorted(model.real))}


@pair_logps.case
def gradients_to_the_model(answer, seed):
    """Gradients flow to the model's weights, from chosen and rejected answers."""
    model = tiny_llama(seed, _VOCAB, 12)
    chosen, rejected = as_pair(
        answer(model, _examples(seed, [3, 2], [2, 5]), _examples(seed + 1, [3, 2], [4, 3]), _PAD), "chosen and rejected"
    )
    weights = model.get_input_embeddings().weight
    value = 2 * as_tensor(chosen, "The first result").sum() - as_tensor(rejected, "The second result").sum()
    return {"gradient": gradients_of(value, weights, what="The result", to="weights of the model")[0]}


# ---------------------------------------------------------------------------------------------------------------------
reference_logps = Exercise("reference_logps", TOPIC, "Exercise 7: the reference, once")


class _Reader(nn.Module):
    """A small language model: the next token depends on the one before it. In training mode its logits are halved, and
    thirded where its inner part, the `drop`, is in training mode."""

    def __init__(self, seed: int):
        super().__init__()
        self.table = nn.Embedding(_VOCAB, _VOCAB)
        self.drop = nn.Identity()
        self.rows: list[int] = []
        self.graphs: list[bool] = []
        with torch.no_grad():
            self.table.weight.copy_(1.5 * torch.randn(_VOCAB, _VOCAB, generator=seeded(seed)))
        self.device = torch.device("cpu")

    def forward(self, input_ids, attention_mask=None, **more):
        from types import SimpleNamespace

        logits = self.table(input_ids)
        self.rows.append(len(input_ids))
        self.graphs.append(logits.requires_grad)
        return SimpleNamespace(logits=logits / (1 + self.training + 3 * self.drop.training))


def _precomputed(
    answer, seed: int, pairs: int, size: int, train: bool = True, drop: bool | None = None
) -> tuple[dict, _Reader]:
    """What comes back for so many pairs; and the model afterwards."""
    model = _Reader(seed).train(train)
    if drop is not None:
        model.drop.train(drop)
    lengths = [2 + (3 * i + seed) % 7 for i in range(2 * pairs)]
    chosen, rejected = (_examples(seed + k, [2 + i % 3 for i in range(pairs)], lengths[k::2]) for k in range(2))
    found = as_pair(answer(model, chosen, rejected, _PAD, size), _TWO)
    first, second = (as_tensor(x, "Each of the two results") for x in found)
    return {"chosen": first, "rejected": second, "_sizes": {"the number of pairs": pairs, "the size of a group": size}}, model


@reference_logps.case
def seven_pairs_in_groups(answer, seed):
    """Seven pairs, three at a time: two tensors (7,), in the order of the pairs."""
    return _precomputed(answer, seed, 7, 3)[0]


@reference_logps.case
def groups_that_fit(answer, seed):
    """Six pairs, two at a time."""
    return _precomputed(answer, seed, 6, 2, train=False)[0]


@reference_logps.case
def one_large_group(answer, seed):
    """Three pairs, and a size of 100."""
    return _precomputed(answer, seed, 3, 100)[0]


@reference_logps.case
def how_many_rows_at_a_time(answer, seed):
    """No forward pass reads more than `size` pairs; nine pairs, four at a time, are three passes."""
    _, model = _precomputed(answer, seed, 9, 4)
    return {"rows_of_each_call": torch.tensor(model.rows)}


@reference_logps.case
def no_graph_is_kept(answer, seed):
    """No gradient flows from the results, and none is prepared while the model reads; weights that learn still do so after it."""
    found, model = _precomputed(answer, seed, 3, 2)
    return {
        "a_gradient_flows": any(found[k].requires_grad for k in ("chosen", "rejected")),
        "a_graph_is_built": any(model.graphs),
        "weights_learn": all(p.requires_grad for p in model.parameters()),
        "gradients_are_on_afterwards": torch.is_grad_enabled(),
    }


@reference_logps.case
def read_in_evaluation_mode(answer, seed):
    """The model comes in training mode: the log-probabilities are those of evaluation mode all the same."""
    return _precomputed(answer, seed, 2, 1, train=True)[0]


@reference_logps.case
def the_model_as_it_was(answer, seed):
    """Afterwards the model is in the mode in which it came, and each of its parts too, where they differ."""
    modes = {}
    kinds = {"training": (True, True), "evaluation": (False, False), "mixed": (True, False), "other": (False, True)}
    for name, (train, drop) in kinds.items():
        _, model = _precomputed(answer, seed, 2, 2, train=train, drop=drop)
        modes |= {f"model_{name}": model.training, f"part_{name}": model.drop.training}
    return modes


# ---------------------------------------------------------------------------------------------------------------------
# The first optimizer in a process imports torch's compiler, which takes seconds.
train_dpo = Exercise("train_dpo", TOPIC, "Exercise 8: the training loop", needs=("torch._dynamo",))

_PAIRS = 7
_KEYS = ("loss", "margin", "accuracy")
_UNSET_RATE = 0.3  # what an optimizer has before the answer sets it


def _ran(answer, seed: int, batches, calls: list | None = None, **changed) -> dict:
    """Train a small policy, whose log-probabilities are functions of four weights and one more number."""
    g = seeded(seed)
    features = torch.randn(2, _PAIRS, 4, generator=g)
    weights, height = (0.6 * torch.randn(4, generator=g)).requires_grad_(), torch.zeros(1, requires_grad=True)
    asked: list[list[int]] = []

    def logps_of(rows):
        if not isinstance(rows, torch.Tensor) or rows.dim() != 1:
            raise Unexpected("logps_of should be called with the numbers of the pairs of a batch, as they came.")
        asked.append(rows.tolist())
        both = nn.functional.logsigmoid(features[:, rows] @ weights + torch.tensor([[1.0], [-0.5]]) * height)
        return 4 * both[0], 4 * both[1]

    with torch.no_grad():
        ref_chosen, ref_rejected = logps_of(torch.arange(_PAIRS))
    asked.clear()
    ref_chosen, ref_rejected = (x + 0.5 * torch.randn(_PAIRS, generator=g) for x in (ref_chosen, ref_rejected))
    optimizer = noting_sgd([{"params": [weights]}, {"params": [height]}], lr=_UNSET_RATE)
    weights.grad, height.grad = torch.ones(4), torch.ones(1)  # left over from something before
    settings = {"beta": 0.6, "max_norm": 1e9} | changed
    settings = {name: value for name, value in settings.items() if value is not None}
    rate = settings.pop("lr_at", lambda step: 0.4)
    if calls is not None:
        settings["after_step"] = lambda step: calls.append((int(step), len(optimizer.norms)))
    history = answer(logps_of, ref_chosen, ref_rejected, batches, optimizer, rate, **settings)
    return {"history": history, "optimizer": optimizer, "weights": weights, "height": height, "asked": asked}


def _plain(history) -> dict:
    """The history, a list of dictionaries of plain numbers, as tensors."""
    asked = 'train_dpo should return a list with a dictionary for each update: "loss", "margin", "accuracy"'
    if not isinstance(history, list):
        raise Unexpected(f"{asked}. What came back is {'None' if history is None else 'a ' + type(history).__name__}.")
    if not all(isinstance(h, dict) and set(h) == set(_KEYS) for h in history):
        raise Unexpected(f"{asked}.")
    if any(isinstance(h[k], torch.Tensor) for h in history for k in _KEYS):
        raise Unexpected("There is a tensor in your history; plain numbers are asked for. x.item() takes a number out.")
    return {k: torch.tensor([as_number(h[k], f'"{k}"') for h in history]) for k in _KEYS}


def _what_came(ran: dict) -> dict:
    return _plain(ran["history"]) | {
        "gradient_norms": torch.tensor(ran["optimizer"].norms),
        "weights": ran["weights"].detach(),
        "last_weight": ran["height"].detach(),
    }


def _batches(seed: int, *sizes: int) -> list[torch.Tensor]:
    order = torch.cat([torch.randperm(_PAIRS, generator=seeded(seed + i)) for i in range(len(sizes))])
    return list(order[: sum(sizes)].split(list(sizes)))


@train_dpo.case
def one_update(answer, seed):
    """One batch of all pairs in their order: loss, mean margin and accuracy from before the step, and the step itself."""
    return _what_came(_ran(answer, seed, [torch.arange(_PAIRS)]))


@train_dpo.case
def pairs_in_any_order(answer, seed):
    """Batches of some pairs each, in any order: each pair is compared with its own reference log-probabilities."""
    return _what_came(_ran(answer, seed, _batches(seed, 3, 2, 5)))


@train_dpo.case
def batches_from_a_generator(answer, seed):
    """The batches come out of a generator, which runs once; the model is asked once for each of them."""
    ran = _ran(answer, seed, (rows for rows in _batches(seed, 2, 4, 3)))
    return _what_came(ran) | {"pairs_asked": torch.tensor([row for rows in ran["asked"] for row in rows])}


@train_dpo.case
def another_beta_in_the_loop(answer, seed):
    """beta is 1.7: the loss and the margins are those of this beta."""
    return _what_came(_ran(answer, seed, _batches(seed, 4, 3), beta=1.7))


@train_dpo.case
def smoothed_labels(answer, seed):
    """label_smoothing=0.3 changes the loss and its gradient, not the margins."""
    return _what_came(_ran(answer, seed, _batches(seed, 3, 4, 5), label_smoothing=0.3))


@train_dpo.case
def a_tie_in_the_accuracy(answer, seed):
    """A batch whose only pair has equal log-ratios: an accuracy of one half."""
    same = torch.zeros(2, requires_grad=True)
    optimizer = noting_sgd([{"params": [same]}], lr=0.1)
    found = answer(
        lambda rows: (same[0] - 4 + 0 * rows, same[1] - 6 + 0 * rows), torch.tensor([-4.0]), torch.tensor([-6.0]),
        [torch.tensor([0])] * 2, optimizer, lambda step: 0.5, beta=0.5,
    )  # fmt: skip
    return _plain(found) | {"weights": same.detach()}


@train_dpo.case
def rates_of_the_updates(answer, seed):
    """Update s, counted from 0, works with the rate lr_at(s) in every parameter group of the optimizer."""
    ran = _ran(answer, seed, _batches(seed, 2, 3, 1, 2), lr_at=lambda step: 1e-3 * (1 + seed % 7) * (step + 1) ** 2)
    return {"rates": torch.tensor(ran["optimizer"].rates)}


@train_dpo.case
def the_gradients_norm(answer, seed):
    """The norm of all gradients together is at most max_norm, 1 where nothing is said; a small one stays as it is."""
    clipped = _ran(answer, seed, _batches(seed, 3, 4), max_norm=0.02)
    usual = _ran(answer, seed, _batches(seed, 2, 5), beta=60.0, max_norm=None)
    return {
        "clipped_norms": torch.tensor(clipped["optimizer"].norms),
        "usual_norms": torch.tensor(usual["optimizer"].norms),
        "weights": clipped["weights"].detach(),
    }


@train_dpo.case
def called_after_each_update(answer, seed):
    """after_step(step) is called once after every update, with its number."""
    calls: list = []
    _ran(answer, seed, _batches(seed, 2, 3, 2), calls=calls)
    return {"steps": torch.tensor([s for s, _ in calls]), "updates_made_before_each_call": torch.tensor([u for _, u in calls])}
