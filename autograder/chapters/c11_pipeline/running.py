"""Probes of how chapter 11 runs its stages: pairs collected anew, training in rounds, and a pipeline with a budget."""

import torch

from autograder.chapters.probing import noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "11_pipeline"


# ---------------------------------------------------------------------------------------------------------------------
collect_preferences = Exercise("collect_preferences", TOPIC, "Exercise 4: preferences, collected anew")

_ELSEWHERE = ["what is kept ?"]  # held out, and in no list of prompts
_WORDS = "torvik velm arlen jorsk ostrea pelland gorland mirren".split()


def _asked(seed: int, count: int) -> list[str]:
    return [f"what is the {_WORDS[int(i)]} of {n} ?" for n, i in enumerate(torch.randint(8, (count,), generator=seeded(seed)))]


def _collected(answer, seed: int, prompts: list[str], heldout: list[str], k: int, words: int = 3, tie: bool = False) -> dict:
    """Collect from a policy that answers with one of so many words."""
    g, draws, calls = seeded(seed + 1), [], []

    def draw(asked):
        if not isinstance(asked, list) or not all(isinstance(prompt, str) for prompt in asked):
            raise Unexpected("draw takes a list of prompts, with a prompt for every answer.")
        draws.append(list(asked))
        picks = torch.randint(words, (len(asked),), generator=g).tolist()
        return [_WORDS[0 if tie else pick] for pick in picks]

    def prefers(prompt, first, second):
        calls.append(f"{prompt} | {first} | {second}")
        return (len(prompt) + 3 * _WORDS.index(first) + _WORDS.index(second)) % 2 == 0

    pairs = answer(list(prompts), list(heldout), k, draw, prefers)
    if not isinstance(pairs, list) or not all(
        isinstance(p, dict) and set(p) == {"prompt", "chosen", "rejected"} for p in pairs
    ):
        came = type(pairs).__name__
        raise Unexpected(f'A list of dictionaries with "prompt", "chosen" and "rejected" should come back; it is a {came}.')
    rows = [f"{p['prompt']} | {p['chosen']} | {p['rejected']}" for p in pairs]
    return {"pairs": rows, "asked_of_the_policy": draws, "asked_of_the_annotator": calls}


@collect_preferences.case
def several_prompts(answer, seed):
    """Six prompts with five answers each: from each prompt a pair, in the order of the prompts."""
    return _collected(answer, seed, _asked(seed, 6), _ELSEWHERE, 5, words=6)


@collect_preferences.case
def prompts_that_are_held_out(answer, seed):
    """Prompts that are needed for the evaluation are not asked, wherever they stand in the list."""
    prompts = _asked(seed, 7)
    heldout = [prompts[5], "what is kept ?", prompts[1], prompts[seed % 2 * 3]]
    return _collected(answer, seed, prompts, heldout, 2, words=5)


@collect_preferences.case
def a_prompt_that_stands_twice(answer, seed):
    """A prompt that stands several times in the list is asked for each of them by itself."""
    prompts = _asked(seed, 3)
    return _collected(answer, seed, [prompts[0], prompts[1], prompts[0], prompts[2], prompts[0]], _ELSEWHERE, 3)


@collect_preferences.case
def few_different_answers(answer, seed):
    """A policy that says mostly the same: the first answer and the first that differs from it; or no pair."""
    return _collected(answer, seed, _asked(seed, 12), _ELSEWHERE, 4, words=2)


@collect_preferences.case
def always_the_same_answer(answer, seed):
    """All answers are equal: no pair, and the annotator is asked nothing."""
    found = _collected(answer, seed, _asked(seed, 4), _ELSEWHERE, 3, tie=True)
    return {"number_of_pairs": len(found["pairs"]), "asked_of_the_annotator": len(found["asked_of_the_annotator"])}


@collect_preferences.case
def all_prompts_are_held_out(answer, seed):
    """Nothing may be asked: no pairs."""
    prompts = _asked(seed, 3)
    return {"pairs": _collected(answer, seed, prompts, prompts[::-1], 2)["pairs"]}


# ---------------------------------------------------------------------------------------------------------------------
train_in_rounds = Exercise(
    "train_in_rounds", TOPIC, "Exercise 5: the loop of five steps", needs=("torch._dynamo",), trains=True, plain=True
)

_ROUNDS = {"rounds": 2, "epochs": 1, "size": 2, "max_norm": 1e9}


class _Policy(torch.nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        g = seeded(seed)
        self.a = torch.nn.Parameter(0.6 * torch.randn(4, generator=g))
        self.b = torch.nn.Parameter(0.4 * torch.randn(2, generator=g))


def _ran(answer, seed: int, sizes=(5, 4, 3), scale: float = 1.0, **changed) -> dict:
    """Train a policy of six weights. A "pair" is its two rows of features; how many a round brings is in
    `sizes`; scale: how large the features are, and so the gradients."""
    g, policy = seeded(seed), _Policy(seed + 1)
    frozen = _Policy(seed + 2)
    collected, asked, graphs, ref_asked = [], [], [], []

    def collect(given):
        if given is not policy:
            raise Unexpected("collect should be called with the policy.")
        collected.append(torch.cat([p.detach() for p in policy.parameters()]))
        n = sizes[len(collected) - 1]
        features = scale * torch.randn(n, 2, 4, generator=g)
        return [{"chosen": row[0], "rejected": row[1], "number": len(collected) * 100 + i} for i, row in enumerate(features)]

    def scores(model, pairs):
        if not isinstance(pairs, list) or not all(isinstance(p, dict) and "number" in p for p in pairs):
            raise Unexpected("The log-probabilities are those of a list of pairs, as collect gave them.")
        if not pairs:
            return torch.zeros(0), torch.zeros(0)
        rows = [torch.stack([p[name] for p in pairs]) for name in ("chosen", "rejected")]
        return tuple(x @ model.a + (x[:, :2] * model.b).sum(-1) - 4 for x in rows)

    def logps_of(pairs):
        found = scores(policy, pairs)
        asked.append([p["number"] for p in pairs])
        return found

    def ref_logps_of(pairs):
        graphs.append(torch.is_grad_enabled())
        found = scores(frozen, pairs)
        ref_asked.append([p["number"] for p in pairs])
        return found

    def loss_of(*four):
        if len(four) != 4 or len({len(x) for x in four}) != 1:
            raise Unexpected("loss_of takes four tensors of one length: chosen, rejected, and the reference's chosen, rejected.")
        chosen, rejected, ref_chosen, ref_rejected = four
        return -torch.nn.functional.logsigmoid(0.5 * (chosen - ref_chosen) - 0.5 * (rejected - ref_rejected)).mean()

    for weight in policy.parameters():
        weight.grad = torch.ones_like(weight)  # left from before
    settings = {name: value for name, value in (_ROUNDS | changed).items() if value is not None}
    optimizer = noting_sgd([{"params": [policy.a]}, {"params": [policy.b], "lr": 0.4}], lr=0.8)
    losses = answer(policy, optimizer, collect, logps_of, ref_logps_of, loss_of, **settings)
    if not isinstance(losses, (list, tuple)) or not all(isinstance(part, (list, tuple)) for part in losses):
        raise Unexpected(f"A list of lists should come back, one for each round; yours is a {type(losses).__name__}.")
    flat = plain_losses([x for part in losses for x in part], "train_in_rounds", "one a step")
    return {
        "losses": flat,
        "losses_in_each_round": torch.tensor([len(part) for part in losses]),
        "weights": torch.cat([p.detach() for p in policy.parameters()]),
        "norms": torch.tensor(optimizer.norms),
        "weights_that_were_asked_for_pairs": torch.stack(collected) if collected else torch.zeros(0, 6),
        "pairs_in_each_step": asked,
        "reference_asked_for": ref_asked,
        "reference_builds_a_graph": any(graphs),
    }


def _only(found: dict, *names: str) -> dict:
    return {name: found[name] for name in names}


@train_in_rounds.case
def one_round(answer, seed):
    """One round, once through its four pairs, two in a step."""
    return _only(_ran(answer, seed, sizes=(4,), rounds=1), "losses", "weights", "pairs_in_each_step")


@train_in_rounds.case
def two_rounds(answer, seed):
    """Two rounds of four pairs: those of the second are collected from the policy as the first has left it."""
    found = _ran(answer, seed, sizes=(4, 4))
    return _only(found, "losses", "losses_in_each_round", "weights", "weights_that_were_asked_for_pairs")


@train_in_rounds.case
def several_epochs(answer, seed):
    """Three times through the pairs of each round, in their order."""
    return _only(_ran(answer, seed, sizes=(4, 4), epochs=3), "losses", "losses_in_each_round", "weights", "pairs_in_each_step")


@train_in_rounds.case
def a_rest_of_the_pairs(answer, seed):
    """Seven pairs, three in a step: the last step has the one that is left."""
    return _only(_ran(answer, seed, sizes=(7, 5), size=3), "losses", "weights", "pairs_in_each_step")


@train_in_rounds.case
def the_reference_once(answer, seed):
    """The reference's numbers are computed once a round, for all its pairs together, and without a graph."""
    return _only(_ran(answer, seed, sizes=(4, 6), epochs=2), "reference_asked_for", "reference_builds_a_graph")


@train_in_rounds.case
def a_round_without_pairs(answer, seed):
    """A round that brings no pairs takes no step, and has an empty list; the next one goes on."""
    found = _ran(answer, seed, sizes=(4, 0, 2), rounds=3)
    return _only(found, "losses", "losses_in_each_round", "weights")


@train_in_rounds.case
def the_gradients_norm(answer, seed):
    """The norm of all the optimizer's gradients together is at most max_norm, 1 where nothing is said."""
    clipped = _ran(answer, seed, sizes=(4, 4), scale=6.0, max_norm=0.05)
    usual = _ran(answer, seed + 1, sizes=(4, 4), scale=6.0, max_norm=None)
    return {"clipped_norms": clipped["norms"], "weights": clipped["weights"], "usual_norms": usual["norms"]}


# ---------------------------------------------------------------------------------------------------------------------
run_pipeline = Exercise("run_pipeline", TOPIC, "Exercise 6: a pipeline with a budget", trains=True)


def _pipeline(answer, budget: int, *stages: tuple[str, int, int]) -> dict:
    """Run stages (name, most, what it really spends). The "policy" is the text of what was done to it."""
    started = []

    def stage(name: str, most: int, spends: int) -> dict:
        def run(policy):
            started.append(f"{name} from {policy}")
            return f"{policy}, {name}", spends

        return {"name": name, "most": most, "run": run}

    try:
        found = answer([stage(*one) for one in stages], "base", budget)
    except ValueError as error:
        said = str(error)
        return {"started": started, "refused": "yes", "names_the_stage": any(name in said for name, *_ in stages)}
    if not isinstance(found, (tuple, list)) or len(found) != 2 or not isinstance(found[1], list):
        raise Unexpected(f"The policy and a list should come back; yours is a {type(found).__name__}.")
    policy, spent = found
    if not all(isinstance(row, (tuple, list)) and len(row) == 2 for row in spent):
        raise Unexpected("The list should hold a pair for each stage that ran: its name, and its tokens.")
    return {"started": started, "policy": policy, "spent": [f"{name}: {int(tokens)}" for name, tokens in spent]}


@run_pipeline.case
def all_stages_fit(answer, seed):
    """Three stages that fit into the budget: each goes on from what the one before has made."""
    x = seed % 50
    return _pipeline(answer, 1000, ("sft", 100 + x, 90), ("reward model", 300, 200 + x), ("ppo", 500, 480))


@run_pipeline.case
def what_was_not_spent_is_left(answer, seed):
    """A stage that spends less than its most leaves the rest to those behind it."""
    x = seed % 20
    return _pipeline(answer, 100, ("a", 60, 10 + x), ("b", 60, 30), ("c", 40 - x, 5))


@run_pipeline.case
def a_stage_that_does_not_fit(answer, seed):
    """A stage whose most is more than what is left is not started, and none behind it, even where that would fit."""
    x = seed % 30
    return _pipeline(answer, 100, ("a", 50, 40 + x // 10), ("b", 70 + x, 5), ("c", 10, 5))


@run_pipeline.case
def exactly_what_is_left(answer, seed):
    """A stage that needs exactly what is left is started."""
    x = seed % 30
    return _pipeline(answer, 100 + x, ("a", 50, 40), ("b", 60 + x, 60 + x), ("c", 0, 0), ("d", 1, 1))


@run_pipeline.case
def a_stage_that_spends_too_much(answer, seed):
    """A stage that spends more than its most, within the budget or beyond it: a ValueError that names it; then nothing more."""
    x = seed % 30
    within = _pipeline(answer, 1000, ("first", 50, 40), ("greedy", 60, 61 + x), ("third", 10, 10))
    beyond = _pipeline(answer, 100, ("small", 30, 20), ("greedy", 80, 90 + x), ("third", 0, 0))
    return {f"{name}_of_the_budget": value for name, value in within.items()} | {
        f"{name}_beyond_the_budget": value for name, value in beyond.items()
    }


@run_pipeline.case
def no_budget(answer, seed):
    """No budget: the policy comes back as it was, and nothing was spent."""
    broke = _pipeline(answer, 0, ("a", 1 + seed % 5, 1))
    return {name: broke.get(name, "") for name in ("policy", "spent")}

