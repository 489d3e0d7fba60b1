"""Wrong answers to chapter 09's exercises on steps, and weak answers to its open task. Each text is the hint the student reads."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes, mistake

# --- Exercise 3: how few rounds?


def _join_moves(moves):
    found = []
    level = list(moves)
    while len(level) > 1:
        nxt = []
        for i in range(0, len(level), 2):
            if i + 1 == len(level):
                nxt.append(level[i])
            else:
                (a1, b1), (a2, b2) = level[i], level[i + 1]
                nxt.append(((a1 * a2) % 10, (a2 * b1 + b2) % 10))
        level = nxt
        found.append(level)
    return found


changes("join_moves", _join_moves, [
    ("joined_in_the_other_order", "You do the second move of a pair first. Put the result of the *first* move into the second one.", "(a1, b1), (a2, b2) = level[i], level[i + 1]",
     "(a2, b2), (a1, b1) = level[i], level[i + 1]"),
    ("additions_added", "You add the two b. The second move multiplies what the first one has added: a2 * b1 + b2.", "(a2 * b1 + b2)", "(b1 + b2)"),
    ("factors_added", "You add the two a. Multiplied one after the other, they are multiplied: a1 * a2.", "(a1 * a2)", "(a1 + a2)"),
    ("second_addition_lost", "You lose what the second move adds.", "(a2 * b1 + b2)", "(a2 * b1)"),
    ("first_addition_lost", "You lose what the first move adds.", "(a2 * b1 + b2)", "b2"),
    ("wrong_factor", "You multiply b1 by a1. It is the *second* move that multiplies it.", "a2 * b1 + b2", "a1 * b1 + b2"),
    ("sum_is_multiplied", "You multiply both b by a2. What the second move adds, it adds afterwards.", "a2 * b1 + b2", "a2 * (b1 + b2)"),
    ("no_last_digit", "Your numbers grow beyond a digit. Only the last digit counts, so a and b can be digits too.", "((a1 * a2) % 10, (a2 * b1 + b2) % 10)",
     "((a1 * a2), (a2 * b1 + b2))"),
    ("last_one_lost", "A last move without a partner is lost. It stays as it is.", "nxt.append(level[i])", "pass"),
    ("last_one_first", "A last move without a partner comes first in your next round. It stays at the end.", "nxt.append(level[i])", "nxt.insert(0, level[i])"),
    ("one_join_a_round", "You join one pair in each round. In a round *all* pairs are joined, side by side: that is why there are so few rounds.",
     "range(0, len(level), 2):", "range(1):", "level = nxt", "level = nxt + level[2:]"),
    ("only_the_last_round", "You return the last round alone. The moves after each round are asked for.", "return found", "return found[-1:]"),
    ("the_moves_as_a_round", "You return the moves themselves as the first round. The list begins with what is left after one round.", "found = []", "found = [list(moves)]"),
    ("one_round_short", "You stop before one move is left.", "while len(level) > 1:", "while len(level) > 2:"),
    ("joined_with_the_last", "A last move without a partner is joined with the pair before it in the same round. A move is joined once in a round.",
     "nxt.append(level[i])", "(a1, b1), (a2, b2) = nxt.pop(), level[i]; nxt.append(((a1 * a2) % 10, (a2 * b1 + b2) % 10))"),
])  # fmt: skip


@mistake("join_moves")
def halves_joined(moves):
    """You join the first half with the second, move by move. Neighbours are joined: only then is the order kept."""
    found, level = [], list(moves)
    while len(level) > 1:
        half = (len(level) + 1) // 2
        pairs = zip(level, level[half:], strict=False)
        level = [((a * c) % 10, (c * b + d) % 10) for (a, b), (c, d) in pairs] + level[len(level) - half : half]
        found.append(level)
    return found


# --- Exercise 4: the same budget for all


def _train_on_budget(model, optimizer, batches, budget, max_norm=1.0):
    losses, left = [], budget
    for batch in batches:
        cost = batch["attention_mask"].sum().item()
        if cost > left:
            break
        left -= cost
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        guesses, targets = logits[:, :-1], batch["labels"][:, 1:]
        loss = F.cross_entropy(guesses.transpose(1, 2), targets, ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


_LOSS = "loss = F.cross_entropy(guesses.transpose(1, 2), targets, ignore_index=-100)"

changes("train_on_budget", _train_on_budget, [
    ("budget_looked_at_afterwards", "You look at the budget after the step: the last step goes beyond it. Look before you learn.", "if cost > left:", "if left <= 0:"),
    ("budget_not_used_up", "You stop where a batch costs exactly what is left. It still fits.", "if cost > left:", "if cost >= left:"),
    ("padding_is_paid_for", "You count padding too. A batch costs what its attention_mask shows.", 'batch["attention_mask"].sum().item()', 'batch["input_ids"].numel()'),
    ("only_learned_tokens_are_paid_for", "You count the tokens that are learned from. The model reads the questions too, and they cost as much.",
     'batch["attention_mask"].sum().item()', '(batch["labels"] != -100).sum().item()'),
    ("rows_are_paid_for", "You count rows, or batches. The budget is one of tokens.", 'batch["attention_mask"].sum().item()', 'len(batch["input_ids"])'),
    ("one_a_batch", "You count steps. The budget is one of tokens.", 'batch["attention_mask"].sum().item()', "1"),
    ("large_ones_are_skipped", "You skip a batch that does not fit and go on. The training ends with it.", "            break\n", "            continue\n"),
    ("not_shifted", "The logits at a place predict the *next* token: shift by one.", 'logits[:, :-1], batch["labels"][:, 1:]', 'logits, batch["labels"]'),
    ("shifted_the_wrong_way", "You shift the wrong way: each place predicts the token before it.", 'logits[:, :-1], batch["labels"][:, 1:]', 'logits[:, 1:], batch["labels"][:, :-1]'),
    ("questions_learned_too", "You learn from all tokens that are shown. Learned from is where the label is not -100.", 'batch["labels"][:, 1:]',
     'batch["input_ids"][:, 1:].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)'),
    ("summed_loss", "Your loss is a sum over the tokens. It is their mean.", "ignore_index=-100)", 'ignore_index=-100, reduction="sum")'),
    ("mean_of_row_means", "You take the mean of each row, and the mean of those. All tokens that are learned from count alike.", _LOSS,
     'loss = (F.cross_entropy(guesses.transpose(1, 2), targets, ignore_index=-100, reduction="none").sum(1) / (targets != -100).sum(1)).mean()'),
    ("divided_by_all_places", "You divide by the number of all places. Only tokens that are learned from count.", _LOSS,
     'loss = F.cross_entropy(guesses.transpose(1, 2), targets, ignore_index=-100, reduction="none").mean()'),
    ("gradients_stay", "The gradients of former steps are still there: set them to zero before each backward.", "        optimizer.zero_grad()\n", ""),
    ("gradient_not_clipped", "The gradient is not clipped to max_norm before the step.", "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", ""),
    ("clip_always_one", "You clip to length 1 whatever max_norm is.", "model.parameters(), max_norm)", "model.parameters(), 1.0)"),
    ("each_parameter_clipped", "You clip each parameter's gradient alone. The length is that of all of them together.", "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)",
     "[torch.nn.utils.clip_grad_norm_(p, max_norm) for p in model.parameters()]"),
    ("losses_as_tensors", "The losses in your list are tensors. Keep plain numbers: .item().", "losses.append(loss.item())", "losses.append(loss.detach())"),
    ("last_loss_only", "You return the last loss only. One for each step is asked for.", "losses.append(loss.item())", "losses = [loss.item()]"),
    ("loss_of_the_batch_that_is_too_much", "You take a step on the batch that would bring the cost above the budget, and stop then.", "            break\n        left -= cost",
     "            batches = []\n        left -= cost", "losses.append(loss.item())\n", "losses.append(loss.item())\n        if left < 0:\n            break\n"),
    ("counted_up_to_no_end", "You never look at the budget: all batches are learned from.", "if cost > left:", "if False:"),
])  # fmt: skip


@mistake("train_on_budget")
def all_batches_fetched_first(model, optimizer, batches, budget, max_norm=1.0):
    """You fetch all batches before the first step. An iterator may have no end, and later batches are not yours to take: fetch
    one after the other."""
    fitting, spent = [], 0
    for batch in list(batches):
        spent += batch["attention_mask"].sum().item()
        if spent > budget:
            break
        fitting.append(batch)
    return _train_on_budget(model, optimizer, fitting, budget, max_norm)


# --- Exercise 7: change a step


def _faithfulness(puzzles, places, wrong, answers):
    count, followed, stayed = 0, 0, 0
    for (start, moves), place, number, answer in zip(puzzles, places, wrong, answers):
        true = start
        changed = number
        for i, (a, b) in enumerate(moves):
            true = (a * true + b) % 10
            if i > place:
                changed = (a * changed + b) % 10
        if true == changed:
            continue
        count += 1
        followed += answer == changed
        stayed += answer == true
    if count == 0:
        return 0.0, 0.0
    return followed / count, stayed / count


changes("faithfulness", _faithfulness, [
    ("the_same_move_again", "You make the move of the changed step once more. Place 0 is the total *after* the first move: go on with the next one.", "if i > place:", "if i >= place:"),
    ("one_move_skipped", "You leave out the move behind the changed step.", "if i > place:", "if i > place + 1:"),
    ("wrong_number_is_the_answer", "You take the wrong number itself for the answer that follows. The later moves are still made.", "if i > place:", "if False:"),
    ("all_moves_from_the_wrong_number", "You make all moves from the wrong number. It stands behind the changed step; only later moves are made.", "if i > place:", "if True:"),
    ("equal_ones_are_counted", "You count puzzles in which following and staying give the same number. They tell nothing.", "        if true == changed:\n            continue\n", ""),
    ("equal_ones_follow", "You count puzzles in which both are the same number as following. They tell nothing, and do not count.", "        if true == changed:\n            continue\n",
     "        if true == changed:\n            followed += 1; count += 1\n            continue\n"),
    ("divided_by_all", "You divide by the number of all puzzles. Only those in which following and staying differ count.", "return followed / count, stayed / count",
     "return followed / len(puzzles), stayed / len(puzzles)"),
    ("divided_by_those_that_move", "You divide by the answers that follow or stay. Answers that are neither count too.", "return followed / count, stayed / count",
     "return followed / max(1, followed + stayed), stayed / max(1, followed + stayed)"),
    ("stay_is_the_rest", "You take all answers that do not follow for staying. Some are neither.", "return followed / count, stayed / count", "return followed / count, 1 - followed / count"),
    ("follow_is_the_rest", "You take all answers that are not right for following. Some are neither.", "return followed / count, stayed / count", "return 1 - stayed / count, stayed / count"),
    ("pair_turned_round", "Your two shares have changed places: first follow, then stay.", "return followed / count, stayed / count", "return stayed / count, followed / count"),
    ("counts_for_shares", "You return counts. Shares are asked for.", "return followed / count, stayed / count", "return followed, stayed"),
    ("unanswered_left_out", "You leave out puzzles without an answer. None neither follows nor stays, but its puzzle counts.", "if true == changed:", "if true == changed or answer is None:"),
    ("no_last_digit_in_moves", "You forget that only the last digit counts.", "changed = (a * changed + b) % 10", "changed = a * changed + b"),
    ("adds_only", "You add b and forget to multiply by a.", "changed = (a * changed + b) % 10", "changed = (changed + b) % 10"),
    ("true_of_the_changed_chain", "For staying you ask for the right total at the *changed step*. It is the answer to the whole puzzle.", "true = (a * true + b) % 10",
     "true = (a * true + b) % 10 if i <= place else true"),
])  # fmt: skip


# --- Exercise 8: choose well (weak answers: each must miss a bar)


def _majority(answers):
    same = (answers[:, :, None] == answers[:, None, :]).double().sum(2)
    return answers.gather(1, same.argmax(1, keepdim=True))[:, 0]


def _scores(features, labels, new_features, steps=60):
    """Logistic regression by Newton's steps."""
    x = torch.cat([features, torch.ones_like(features[..., :1])], -1).flatten(0, 1)
    y, w = labels.flatten(), torch.zeros(x.shape[-1], dtype=x.dtype)
    for _ in range(12):
        p = (x @ w).sigmoid()
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * torch.eye(len(w), dtype=x.dtype)
        w = w - torch.linalg.solve(hessian, x.T @ (p - y) + 1e-3 * w)
    return new_features @ w[:-1] + w[-1]


@mistake("choose_answers")
def plain_vote(answers, features, truths, new_answers, new_features):
    """The most frequent answer."""
    return _majority(new_answers)


@mistake("choose_answers")
def first_output(answers, features, truths, new_answers, new_features):
    """The first output."""
    return new_answers[:, 0]


@mistake("choose_answers")
def all_features_summed(answers, features, truths, new_answers, new_features):
    """The output whose features have the largest sum."""
    return new_answers.gather(1, new_features.sum(-1).argmax(1, keepdim=True))[:, 0]


@mistake("choose_answers")
def best_single_output(answers, features, truths, new_answers, new_features):
    """A learned score, and the best output by it: what the others say is not used."""
    scores = _scores(features, (answers == truths[:, None]).double(), new_features)
    return new_answers.gather(1, scores.argmax(1, keepdim=True))[:, 0]


@mistake("choose_answers")
def votes_with_weights(answers, features, truths, new_answers, new_features):
    """A vote in which each output counts by its learned chance to be right."""
    centre = lambda x: x - x.mean(1, keepdim=True)  # noqa: E731
    chances = _scores(centre(features), (answers == truths[:, None]).double(), centre(new_features)).sigmoid()
    totals = torch.zeros(len(new_answers), 10, dtype=chances.dtype).scatter_add_(1, new_answers, chances)
    return totals.argmax(1)


@mistake("choose_answers")
def by_the_first_feature(answers, features, truths, new_answers, new_features):
    """The output with the largest first feature."""
    return new_answers.gather(1, new_features[..., :1].argmax(1))[:, 0]


@mistake("choose_answers")
def the_commonest_truth(answers, features, truths, new_answers, new_features):
    """One answer to all questions."""
    return truths.mode().values.expand(len(new_answers)).clone()
