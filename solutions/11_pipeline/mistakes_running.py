"""Wrong answers to how chapter 11 runs its stages, and weak entries. Each text is the hint the student reads."""

import torch
import torch.nn.functional as F
from safetensors.torch import save

from autograder.judging.catalogue import changes, mistake

# --- Exercise 4: preferences, collected anew


def _collect_preferences(prompts, heldout, k, draw, prefers):
    asked = [p for p in prompts if p not in heldout]
    texts = draw([p for p in asked for _ in range(k)])
    pairs = []
    for number, prompt in enumerate(asked):
        said = texts[number * k : number * k + k]
        a = said[0]
        different = [text for text in said if text != a]
        if not different:
            continue
        b = different[0]
        first = prefers(prompt, a, b)
        pairs.append({"prompt": prompt, "chosen": a if first else b, "rejected": b if first else a})
    return pairs


_ASKED, _SAID = "draw([p for p in asked for _ in range(k)])", "texts[number * k : number * k + k]"

changes("collect_preferences", _collect_preferences, [
    ("heldout_asked_too", "You ask the held-out prompts too. What is measured with must not be learned from.",
     "[p for p in prompts if p not in heldout]", "list(prompts)"),
    ("only_heldout_asked", "You ask the held-out prompts, and only those. It is the others.", "if p not in heldout", "if p in heldout"),
    ("each_prompt_once", "A prompt that stands several times is asked once. It is asked for each time.",
     "[p for p in prompts if p not in heldout]", "list(dict.fromkeys(p for p in prompts if p not in heldout))"),
    ("prompts_sorted", "Your pairs come in another order than the prompts.", "[p for p in prompts if p not in heldout]",
     "sorted((p for p in prompts if p not in heldout), reverse=True)"),
    ("list_of_prompts_repeated", "You repeat the whole list k times, and read the texts as if each prompt stood k times in a row: answers get to "
     "other prompts.", _ASKED, "draw(asked * k)"),
    ("list_repeated_and_read_so", "You give draw the whole list k times over. It should get each prompt k times in a row.", _ASKED,
     "draw(asked * k)", _SAID, "texts[number :: len(asked)]"),
    ("one_call_for_each_prompt", "You call draw for every prompt. One call with all of them is asked for: a batch is much faster.", _ASKED,
     "[text for p in asked for text in draw([p] * k)]"),
    ("two_answers_only", "You look at two answers of a prompt, however many there are.", "said = texts[number * k : number * k + k]",
     "said = texts[number * k : number * k + 2]"),
    ("equal_answers_make_a_pair", "You make a pair of the first two answers even if they are equal. It teaches nothing: look for one that "
     "differs.", "different = [text for text in said if text != a]", "different = said[1:]"),
    ("last_that_differs", "You take the last answer that differs. The first one that does is asked for.", "b = different[0]", "b = different[-1]"),
    ("all_pairs_of_a_prompt", "You make several pairs of one prompt. One is asked for.", "        b = different[0]\n",
     "        for b in different[1:]:\n            f = prefers(prompt, a, b)\n"
     '            pairs.append({"prompt": prompt, "chosen": a if f else b, "rejected": b if f else a})\n        b = different[0]\n'),
    ("labels_turned_round", "Chosen and rejected are exchanged: prefers says whether the *first* is preferred.",
     '"chosen": a if first else b, "rejected": b if first else a', '"chosen": b if first else a, "rejected": a if first else b'),
    ("annotator_not_heard", "The first answer is always your chosen one. The annotator decides.",
     '"chosen": a if first else b, "rejected": b if first else a', '"chosen": a, "rejected": b'),
    ("never_asked", "You never ask the annotator.", "first = prefers(prompt, a, b)", "first = True"),
    ("longer_is_better", "You choose the longer answer. The annotator decides.", "first = prefers(prompt, a, b)", "first = prefers(prompt, a, b) * 0 + (len(a) >= len(b))"),
    ("order_turned_for_the_annotator", "The annotator sees the two answers in the wrong order: the one that was drawn first comes first.",
     "prefers(prompt, a, b)", "not prefers(prompt, b, a)"),
    ("asked_twice", "You ask the annotator more than once about a pair. Each question costs, and two answers may contradict each other.",
     "first = prefers(prompt, a, b)", "first = prefers(prompt, a, b) and prefers(prompt, a, b)"),
    ("asked_both_ways", "You ask the annotator a second time, the other way round. Once for each pair.", "first = prefers(prompt, a, b)",
     "first = prefers(prompt, a, b); prefers(prompt, b, a)"),
    ("asked_about_equal_ones", "You ask the annotator about answers that are equal. Look first whether there is a pair.", "        if not different:\n",
     "        if not different:\n            prefers(prompt, a, a)\n"),
    ("a_pair_less", "One pair is missing at the end.", "return pairs", "return pairs[:-1]"),
])  # fmt: skip


# --- Exercise 5: the loop of five steps


def _train_in_rounds(policy, optimizer, collect, logps_of, ref_logps_of, loss_of, *, rounds, epochs, size, max_norm=1.0):
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    history = []
    for _ in range(rounds):
        pairs = collect(policy)
        with torch.no_grad():
            ref = ref_logps_of(pairs)
        losses = []
        for _ in range(epochs):
            for begin in range(0, len(pairs), size):
                some = pairs[begin : begin + size]
                chosen, rejected = logps_of(some)
                ref_chosen, ref_rejected = (x[begin : begin + size] for x in ref)
                loss = loss_of(chosen, rejected, ref_chosen, ref_rejected)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, max_norm)
                optimizer.step()
                losses.append(loss.item())
        history.append(losses)
    return history


_COLLECT = "    for _ in range(rounds):\n        pairs = collect(policy)\n"
_REF = "ref_chosen, ref_rejected = (x[begin : begin + size] for x in ref)"
_CLIP = "torch.nn.utils.clip_grad_norm_(trained, max_norm)"

changes("train_in_rounds", _train_in_rounds, [
    ("pairs_collected_once", "You collect pairs once, before the first round, and learn from these old ones in every round. The point of rounds "
     "is that the policy is asked anew.", _COLLECT, "    pairs = collect(policy)\n    for _ in range(rounds):\n"),
    ("pairs_collected_beforehand", "You collect the pairs of all rounds before you train. Those of a round are made by the policy as the round "
     "before has left it.", _COLLECT, "    for pairs in [collect(policy) for _ in range(rounds)]:\n"),
    ("pairs_of_all_rounds", "You also go through the pairs of the rounds before. Each round learns from its own.",
     "        pairs = collect(policy)\n", "        pairs = (history and kept or []) + collect(policy)\n        kept = pairs\n"),
    ("collected_in_every_epoch", "You collect in every epoch. Once a round is asked for.", "rounds):\n        pairs = collect(policy)\n",
     "rounds * epochs):\n        pairs = collect(policy)\n", "for _ in range(epochs)", "for _ in range(1)"),
    ("reference_of_the_first_pairs", "You compare every step with the reference's numbers of the *first* pairs. Take those of the step.", _REF,
     "ref_chosen, ref_rejected = (x[: len(some)] for x in ref)"),
    ("reference_at_every_step", "You ask the reference at every step. Its numbers do not change: once a round, for all pairs.", _REF,
     "ref_chosen, ref_rejected = (x.detach() for x in ref_logps_of(some))"),
    ("reference_with_a_graph", "A graph is built when the reference is asked. torch.no_grad() belongs around it.", "with torch.no_grad():",
     "if True:"),
    ("gradients_switched_off", "You switch gradients off for the reference and never on again for what follows: put only that call under no_grad.",
     "        with torch.no_grad():\n            ref = ref_logps_of(pairs)\n",
     "        torch.set_grad_enabled(False)\n        ref = ref_logps_of(pairs)\n        ref = tuple(ref)\n        torch.set_grad_enabled(len(history) == 0)\n"),
    ("policy_for_reference", "You take the policy at the beginning of the round as the reference. It stays p₀, through all rounds.",
     "ref = ref_logps_of(pairs)", "ref_logps_of(pairs)\n            ref = logps_of(pairs)"),
    ("reference_left_out", "The reference is missing from your loss.", "loss_of(chosen, rejected, ref_chosen, ref_rejected)",
     "loss_of(chosen, rejected, 0 * ref_chosen, 0 * ref_rejected)"),
    ("reference_turned_round", "The reference's two tensors are exchanged.", "ref_chosen, ref_rejected = (", "ref_rejected, ref_chosen = ("),
    ("pairs_turned_round", "Chosen and rejected are exchanged.", "chosen, rejected = logps_of", "rejected, chosen = logps_of"),
    ("rest_of_the_pairs_lost", "The last pairs are missing where their number is no multiple of size: the last step has fewer.",
     "range(0, len(pairs), size)", "range(0, len(pairs) - size + 1, size)"),
    ("one_epoch_only", "You go through the pairs once, whatever epochs says.", "for _ in range(epochs)", "for _ in range(1)"),
    ("one_round_only", "You run one round, whatever rounds says.", "for _ in range(rounds)", "for _ in range(1)"),
    ("one_step_a_round", "You take all pairs in one step. `size` of them make a step.", "range(0, len(pairs), size)", "range(0, len(pairs), max(1, len(pairs)))",
     "pairs[begin : begin + size]", "pairs", "x[begin : begin + size]", "x"),
    ("steps_of_single_pairs", "Every pair has a step of its own. `size` of them make a step.", "range(0, len(pairs), size)", "range(0, len(pairs))",
     "pairs[begin : begin + size]", "pairs[begin : begin + 1]", "x[begin : begin + size]", "x[begin : begin + 1]"),
    ("gradients_add_up", "You never clear the gradients, so every step also goes down those of all steps before.",
     "                optimizer.zero_grad()\n", ""),
    ("cleared_after_the_step", "You clear the gradients after each step only. What was there before the first one counts in it.",
     "                optimizer.zero_grad()\n", "", "optimizer.step()", "optimizer.step()\n                optimizer.zero_grad()"),
    ("gradients_of_a_round", "You take one step for all pairs of an epoch together. Each part has its own step.",
     "                optimizer.zero_grad()\n", "                if begin == 0:\n                    optimizer.zero_grad()\n",
     "                optimizer.step()\n", "                if begin + size >= len(pairs):\n                    optimizer.step()\n"),
    ("norm_not_limited", "The norm of the gradient is not clipped.", _CLIP, "pass"),
    ("norm_of_each_weight", "You clip each parameter by itself. The norm is that of all of them together.", _CLIP,
     "[torch.nn.utils.clip_grad_norm_([p], max_norm) for p in trained]"),
    ("values_clipped", "You clip each number of the gradient. It is the norm.", "clip_grad_norm_", "clip_grad_value_"),
    ("norm_is_always_one", "You clip to 1, whatever max_norm says.", "(trained, max_norm)", "(trained, 1.0)"),
    ("norm_of_one_group", "You clip the first group of the optimizer only.", "for group in optimizer.param_groups for",
     "for group in optimizer.param_groups[:1] for"),
    ("losses_in_one_list", "You return one list for all rounds. Each round has a list of its own.", "return history",
     "return [[x for part in history for x in part]]"),
    ("mean_loss_of_a_round", "You return a round's mean loss. Each step's loss is asked for.", "history.append(losses)",
     "history.append([sum(losses) / len(losses)] if losses else [])"),
    ("losses_are_tensors", "Your losses are tensors. Plain numbers are asked for: loss.item().", "loss.item()", "loss"),
    ("losses_after_the_step", "Your losses are those after the step. They are those from before it.", "losses.append(loss.item())",
     "losses.append(loss_of(*logps_of(some), ref_chosen, ref_rejected).item()); "),
    ("stops_at_an_empty_round", "You stop at a round without pairs. It takes no step, and the next one goes on.", "        with torch.no_grad():\n            ref",
     "        if not pairs:\n            break\n        with torch.no_grad():\n            ref"),
    ("empty_round_forgotten", "A round without pairs has no list in your result. It has an empty one.", "        history.append(losses)\n",
     "        history += [losses] if losses else []\n"),
    ("pairs_shuffled", "You change the order of the pairs. They are gone through in their order.", "        losses = []\n",
     "        losses, pairs, ref = [], pairs[::-1], tuple(x.flip(0) for x in ref)\n"),
])  # fmt: skip


# --- Exercise 6: a pipeline with a budget


def _run_pipeline(stages, policy, budget):
    spent = []
    left = budget
    for stage in stages:
        if stage["most"] > left:
            return policy, spent
        policy, tokens = stage["run"](policy)
        if tokens > stage["most"]:
            raise ValueError(f"the stage {stage['name']} spent too much")
        spent.append((stage["name"], tokens))
        left -= tokens
    return policy, spent


_STOP = 'if stage["most"] > left:\n            return policy, spent'
_TRUST = '        if tokens > stage["most"]:\n            raise ValueError(f"the stage {stage[\'name\']} spent too much")\n'

changes("run_pipeline", _run_pipeline, [
    ("budget_not_looked_at", "You start every stage, whatever is left.", _STOP, "pass"),
    ("started_first", "You start a stage and look afterwards whether it fitted. By then the tokens are spent.", _STOP, "pass",
     "        spent.append(", "        if tokens > left:\n            return policy, spent\n        spent.append("),
    ("started_while_something_is_left", "You start a stage as long as anything is left. Its most has to fit.", _STOP,
     "if left <= 0:\n            return policy, spent"),
    ("skipped_and_gone_on", "You skip a stage that does not fit and go on with those behind it. They were meant to build on it: the pipeline "
     "ends there.", _STOP, 'if stage["most"] > left:\n            continue'),
    ("exact_fit_refused", "You refuse a stage that needs exactly what is left. It fits.", 'stage["most"] > left', 'stage["most"] >= left'),
    ("most_is_booked", "You take the most of a stage off the budget. What it did not spend is left to the others.", "left -= tokens",
     'left -= stage["most"]'),
    ("most_is_reported", "You report the most of each stage. What it has really spent is asked for.", '(stage["name"], tokens)',
     '(stage["name"], stage["most"])'),
    ("budget_of_each_stage", "You compare each stage with the whole budget. It is what is *left* that counts.", 'stage["most"] > left',
     'stage["most"] > budget'),
    ("all_have_to_fit", "You start nothing where the mosts of all stages together are more than the budget. Each is looked at when its turn "
     "comes.", "    left = budget\n", '    left = budget\n    if sum(s["most"] for s in stages) > budget:\n        return policy, spent\n'),
    ("always_from_the_first_policy", "Every stage starts from the first policy. Each goes on from what the one before has made.",
     "    left = budget\n", "    left, start = budget, policy\n", 'stage["run"](policy)', 'stage["run"](start)'),
    ("result_thrown_away", "You return the policy that came in.", "    left = budget\n", "    left, start = budget, policy\n",
     "        left -= tokens\n    return policy, spent", "        left -= tokens\n    return start, spent"),
    ("too_much_is_trusted", "A stage that spends more than its most goes through unseen. It is an error: ValueError.", _TRUST, ""),
    ("too_much_ends_it_quietly", "At a stage that spends more than its most you stop quietly. It is an error: ValueError, with its name.",
     'raise ValueError(f"the stage {stage[\'name\']} spent too much")', "break"),
    ("stage_not_named", "Your ValueError does not say which stage it was.", "the stage {stage['name']} spent", "a stage spent"),
    ("too_much_only_beyond_the_budget", "You raise only where the *budget* is overrun. A stage that spends more than its own most is an error "
     "in any case.", 'if tokens > stage["most"]:', "if tokens > left:"),
    ("exact_most_is_an_error", "A stage that spends exactly its most is no error.", 'tokens > stage["most"]', 'tokens >= stage["most"]'),
    ("what_is_left_is_reported", "You report what is left after a stage. Asked for is what it has spent.", '(stage["name"], tokens)',
     '(stage["name"], left - tokens)'),
    ("unstarted_stage_reported", "You report the stage that was not started, with 0 tokens. The list holds those that ran.", _STOP,
     'if stage["most"] > left:\n            return policy, [*spent, (stage["name"], 0)]'),
    ("one_number_for_all", "You return one pair for all stages together. Each stage that ran has a pair of its own.",
     "        left -= tokens\n    return policy, spent",
     '        left -= tokens\n    return policy, [("all", sum(t for _, t in spent))] if spent else []'),
])  # fmt: skip


# --- Exercise 8: weak entries


def _scaled(direction, features, reference, max_kl):
    """The direction, (answers, d), as far as the KL allows."""
    ref = (features @ reference.T).log_softmax(-1)
    low, high = 0.0, 50.0
    for _ in range(25):
        middle = (low + high) / 2
        logps = (features @ (reference + middle * direction).T).log_softmax(-1)
        low, high = (middle, high) if (logps.exp() * (logps - ref)).sum(-1).mean() <= 0.97 * max_kl else (low, middle)
    return low * direction


def _file(change):
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    return save({"lora_A": v[:3].contiguous(), "lora_B": (u[:, :3] * s[:3]).contiguous()})


def _asked(features, reference, compare, comparisons, generator):
    x = torch.randint(len(features), (comparisons,), generator=generator)
    first, second = torch.multinomial((features[x] @ reference.T).softmax(-1), 2, generator=generator).T
    better = compare(x, first, second)
    return x, torch.where(better, first, second), torch.where(better, second, first)


def _likeliest(features, x, yes, no, answers, ridge, steps=60):
    weights = torch.zeros(answers, features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.1)
    for _ in range(steps):
        utility = features[x] @ weights.T
        margin = utility.gather(1, yes[:, None]) - utility.gather(1, no[:, None])
        optimizer.zero_grad()
        (-F.logsigmoid(margin).sum() + ridge * weights.square().sum()).backward()
        optimizer.step()
    return weights.detach()


@mistake("best_entry")
def the_reference_itself(features, reference, compare, comparisons, max_kl, generator):
    """Nothing is learned: B is 0."""
    return _file(torch.zeros_like(reference))


@mistake("best_entry")
def good_everywhere(features, reference, compare, comparisons, max_kl, generator):
    """Learns which answers are good on average, and not to which prompt they belong."""
    x, yes, no = _asked(features, reference, compare, comparisons, generator)
    alike = torch.zeros_like(features)
    alike[:, 0] = 1.0
    change = torch.zeros_like(reference)
    change[:, 0] = _likeliest(alike, x, yes, no, len(reference), 0.5)[:, 0]
    return _file(_scaled(change, features, reference, max_kl))


@mistake("best_entry")
def likeliest_without_caution(features, reference, compare, comparisons, max_kl, generator):
    """The likeliest utilities of all, with nothing that holds them back."""
    found = _asked(features, reference, compare, comparisons, generator)
    change = _likeliest(features, *found, len(reference), 0.0, 400)
    return _file(_scaled(change, features, reference, max_kl))


@mistake("best_entry")
def a_few_of_the_comparisons(features, reference, compare, comparisons, max_kl, generator):
    """Uses a fifth of the comparisons."""
    found = _asked(features, reference, compare, comparisons // 5, generator)
    change = _likeliest(features, *found, len(reference), 1.0)
    return _file(_scaled(change, features, reference, max_kl))


@mistake("best_entry")
def wrong_way_round(features, reference, compare, comparisons, max_kl, generator):
    """Learns to say what was rejected."""
    x, yes, no = _asked(features, reference, compare, comparisons, generator)
    change = _likeliest(features, x, no, yes, len(reference), 1.0)
    return _file(_scaled(change, features, reference, max_kl))


@mistake("best_entry")
def budget_overrun(features, reference, compare, comparisons, max_kl, generator):
    """Goes twice as far as the KL allows."""
    found = _asked(features, reference, compare, comparisons, generator)
    change = _likeliest(features, *found, len(reference), 1.0)
    return _file(_scaled(change, features, reference, 2 * max_kl))


@mistake("best_entry")
def utility_for_policy(features, reference, compare, comparisons, max_kl, generator):
    """Adds the fitted utility to the logits, with no look at the KL."""
    found = _asked(features, reference, compare, comparisons, generator)
    return _file(3 * _likeliest(features, *found, len(reference), 0.3))


@mistake("best_entry")
def other_shapes(features, reference, compare, comparisons, max_kl, generator):
    """A checkpoint of rank 4."""
    return save({"lora_A": torch.zeros(4, reference.shape[1]), "lora_B": torch.zeros(len(reference), 4)})


@mistake("best_entry")
def not_a_number(features, reference, compare, comparisons, max_kl, generator):
    """A checkpoint with a NaN in it."""
    change = torch.zeros(len(reference), 3)
    change[1, 1] = float("nan")
    return save({"lora_A": torch.zeros(3, reference.shape[1]), "lora_B": change})


@mistake("best_entry")
def a_pickle(features, reference, compare, comparisons, max_kl, generator):
    """A pickle: not a safetensors file."""
    import pickle

    return pickle.dumps({"lora_A": torch.zeros(3, reference.shape[1]), "lora_B": torch.zeros(len(reference), 3)})
