"""Right answers to chapter 09 in other shapes. Each must pass on every seed."""

import itertools
import math
import re
from collections import defaultdict
from statistics import multimode

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1


@alternative("extract_answer")
def line_by_line(text):
    """Lines are collected up to the new question; the words are found with rfind."""
    kept = list(itertools.takewhile(lambda line: not line.startswith("Question:"), text.split("\n")))
    rest = "\n".join(kept)
    low = rest.lower()
    place = max(low.rfind("answer is"), low.rfind("answer:"))
    pattern = re.compile(r"(?<![0-9])-[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
    behind = pattern.search(rest, place) if place >= 0 else None
    if behind:
        return float(behind.group().replace(",", ""))
    numbers = pattern.findall(rest)
    return float(numbers[-1].replace(",", "")) if numbers else None


@alternative("extract_answer")
def character_by_character(text):
    """No regular expression: numbers are read digit by digit. A whole number comes back as int."""
    rest = ("\n" + text).split("\nQuestion:")[0]

    def numbers(part, before=""):
        found, i = [], 0
        while i < len(part):
            if not part[i].isdigit():
                i += 1
                continue
            j = i
            while j < len(part) and (
                part[j].isdigit()
                or (part[j] == "," and part[j + 1 : j + 4].isdigit() and len(part[j + 1 : j + 4]) == 3)
            ):
                j += 1
            if j + 1 < len(part) and part[j] == "." and part[j + 1].isdigit():
                j += 1
                while j < len(part) and part[j].isdigit():
                    j += 1
            sign = -1 if i and part[i - 1] == "-" and not (i > 1 and part[i - 2].isdigit()) else 1
            number = part[i:j].replace(",", "")
            found.append(sign * (float(number) if "." in number else int(number)))
            i = j
        return found

    low = rest.lower()
    ends = [i + len(w) for w in ("answer is", "answer:") for i in range(len(low)) if low.startswith(w, i)]
    behind = numbers(rest[max(ends) :]) if ends else []
    return behind[0] if behind else (numbers(rest) or [None])[-1]


@alternative("extract_answer")
def one_search_from_behind(text):
    """A greedy search for the last of the words with a number behind it, if no later word has none."""
    cut = re.search(r"(?m)^Question:", text)
    rest = text[: cut.start()] if cut else text
    number = r"(?:(?<!\d)-)?\d+(?:,\d\d\d)*(?:\.\d+)?"
    said = re.search(rf"(?is).*(?:answer is|answer:)(?:(?!{number}).)*?({number})", rest)
    later = said and re.search(r"(?i)answer is|answer:", rest[said.end(1) :])
    last = re.findall(number, rest)
    chosen = said.group(1) if said and not later else last[-1] if last else None
    return None if chosen is None else np.float64(chosen.replace(",", ""))


# --- Exercise 2


@alternative("cot_prompt")
def block_by_block(examples, question, chain):
    """Blocks joined with an empty line."""
    blocks = [
        "Question: {}\nAnswer: {}The answer is {}.".format(
            e["question"], "".join(step + " " for step in e["steps"]) if chain else "", e["answer"]
        )
        for e in examples
    ]
    return "\n\n".join([*blocks, f"Question: {question}\nAnswer:"])


@alternative("cot_prompt")
def every_question_alike(examples, question, chain):
    """The new question is written like the others, without what stands behind the colon."""
    text = ""
    for e in [*examples, {"question": question}]:
        text += "Question: " + e["question"] + "\nAnswer:"
        if "answer" in e:
            for sentence in (e["steps"] if chain else []) + [f"The answer is {e['answer']}."]:
                text += " " + sentence
            text += "\n\n"
    return text


@alternative("cot_prompt")
def two_functions(examples, question, chain):
    """With a chain, the steps are put in front of each answer; then both kinds are written in the same way."""
    told = [dict(e, said=" ".join((*e["steps"], "")) if chain else "") for e in examples]
    shown = "".join(f"Question: {e['question']}\nAnswer: {e['said']}The answer is {e['answer']}.\n\n" for e in told)
    return "".join((shown, "Question: ", question, "\nAnswer:"))


# --- Exercise 3


@alternative("join_moves")
def by_tables(moves):
    """A move is a table of ten numbers; a and b are read off a joined table."""

    def joined(first, second):
        table = [(second[0] * ((first[0] * t + first[1]) % 10) + second[1]) % 10 for t in range(10)]
        return (table[1] - table[0]) % 10, table[0]

    rounds = [moves]
    while len(rounds[-1]) > 1:
        now = rounds[-1]
        rounds.append([joined(*now[i : i + 2]) if i + 1 < len(now) else now[i] for i in range(0, len(now), 2)])
    return [list(level) for level in rounds[1:]]


@alternative("join_moves")
def by_matrices(moves):
    """A move is a matrix, and two of them are multiplied."""
    level = [np.array([[a, b], [0, 1]]) for a, b in moves]
    found = []
    for _ in range(math.ceil(math.log2(len(moves)))):
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [pair[1] @ pair[0] % 10 if len(pair) == 2 else pair[0] for pair in pairs]
        found.append([(int(m[0, 0]), int(m[0, 1])) for m in level])
    return found


@alternative("join_moves")
def by_recursion(moves):
    """One round, and then the rest of them."""
    if len(moves) == 1:
        return []
    level = []
    for first, second in itertools.zip_longest(moves[::2], moves[1::2]):
        if second is None:
            level.append(tuple(first))
        else:
            level.append((first[0] * second[0] % 10, (first[1] * second[0] + second[1]) % 10))
    return [level, *by_recursion(level)]


# --- Exercise 4


@alternative("train_on_budget")
def by_the_models_own_loss(model, optimizer, batches, budget, max_norm=1.0):
    """The loss that transformers computes from labels; cost added up in a tensor."""
    spent, losses = torch.zeros((), dtype=torch.long), []
    for batch in batches:
        cost = batch["attention_mask"].sum()
        if spent + cost > budget:
            return losses
        spent = spent + cost
        loss = model(**batch).loss
        for p in model.parameters():
            p.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], max_norm)
        optimizer.step()
        losses += [float(loss.detach())]
    return losses


@alternative("train_on_budget")
def by_next_and_hand(model, optimizer, batches, budget, max_norm=1.0):
    """A while loop with next(); surprises gathered from log_softmax in float64; the gradient scaled by hand."""
    source, losses = iter(batches), []
    while (batch := next(source, None)) is not None:
        budget -= int(batch["attention_mask"].sum())
        if budget < 0:
            break
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"][:, 1:]
        learned = labels != -100
        logps = logits[:, :-1].double().log_softmax(-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
        loss = -(logps * learned).sum() / learned.sum()
        optimizer.zero_grad()
        loss.backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.sqrt(sum(g.double().square().sum() for g in grads))
        if norm > max_norm:
            for g in grads:
                g.mul_(max_norm / norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


@alternative("train_on_budget")
def zeroed_after_the_step(model, optimizer, batches, budget, max_norm=1.0):
    """Gradients are forgotten after each step, and before the first; only the places that count are looked at."""
    model.zero_grad()
    spent, losses = 0, []
    for batch in batches:
        spent += (batch["attention_mask"] == 1).sum().item()
        if spent > budget:
            break
        counts = batch["labels"][:, 1:] >= 0
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1][counts]
        loss = F.nll_loss(F.log_softmax(logits, -1), batch["labels"][:, 1:][counts])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        model.zero_grad()
        losses.append(loss.detach().item())
    return losses


# --- Exercise 5


@alternative("vote")
def by_statistics(answers):
    """multimode gives all of the most frequent ones in the order in which they were met."""
    return next(iter(multimode(a for a in answers if a is not None)), None)


@alternative("vote")
def by_sorting(answers):
    """Sorted by votes and place."""
    given = [float(a) for a in answers if a is not None]
    ranked = sorted(given, key=lambda a: (-given.count(a), given.index(a)))
    return ranked[0] if ranked else None


@alternative("vote")
def by_counting_in_a_loop(answers):
    """The best so far is replaced only by more votes."""
    best, most = None, 0
    for answer in answers:
        if answer is not None and (votes := sum(other == answer for other in answers)) > most:
            best, most = answer, votes
    return best


# --- Exercise 6


@alternative("pass_curve")
def by_binomials(right, drawn, most):
    """math.comb, exact integers."""
    wrong = [drawn - int(r) for r in right]
    curve = []
    for k in range(1, most + 1):
        if k > 200 and k % 100:  # binomials of thousands are slow: products in between
            curve.append(None)
            continue
        everything = math.comb(drawn, k)
        curve.append(1 - sum(math.comb(w, k) / everything if w >= k else 0.0 for w in wrong) / len(wrong))
    if None in curve:
        full = by_logarithms(right, drawn, most)
        curve = [float(full[i]) if x is None else x for i, x in enumerate(curve)]
    return torch.tensor(curve, dtype=torch.float64)


@alternative("pass_curve")
def by_logarithms(right, drawn, most):
    """Log-gamma: log of the two binomials, and their difference."""
    wrong = (drawn - right).double()[:, None]
    k = torch.arange(1, most + 1, dtype=torch.float64)
    log = torch.lgamma(wrong + 1) - torch.lgamma((wrong - k).clamp(min=0) + 1)
    log = log - math.lgamma(drawn + 1) + torch.lgamma(torch.tensor(drawn, dtype=torch.float64) - k + 1)
    return (1 - torch.where(wrong >= k, log.exp(), 0.0)).mean(0)


@alternative("pass_curve")
def by_loops(right, drawn, most):
    """One number after the other."""
    curve = torch.zeros(most, dtype=torch.double)
    for r in right.tolist():
        chance = 1.0
        for i in range(most):
            chance *= 0.0 if drawn - r - i <= 0 else (drawn - r - i) / (drawn - i)
            curve[i] += (1.0 - chance) / len(right)
    return curve


# --- Exercise 7


@alternative("faithfulness")
def by_totals(puzzles, places, wrong, answers):
    """The whole chain from the wrong number on, as lists."""
    told = []
    for i, (start, moves) in enumerate(puzzles):
        true, later = [start], [wrong[i]]
        for a, b in moves:
            true.append((a * true[-1] + b) % 10)
        for a, b in moves[places[i] + 1 :]:
            later.append((a * later[-1] + b) % 10)
        if true[-1] != later[-1]:
            told.append((answers[i] == later[-1], answers[i] == true[-1]))
    if not told:
        return 0.0, 0.0
    return tuple(sum(column) / len(told) for column in zip(*told))


@alternative("faithfulness")
def by_the_difference(puzzles, places, wrong, answers):
    """The error of the changed step, multiplied by all later factors: only where it is not 0 the puzzle counts."""
    tally = defaultdict(int)
    for (start, moves), place, number, answer in zip(puzzles, places, wrong, answers):
        totals = list(itertools.accumulate(moves, lambda t, m: (m[0] * t + m[1]) % 10, initial=start))[1:]
        error = (number - totals[place]) * math.prod(a for a, _ in moves[place + 1 :]) % 10
        if error:
            tally["all"] += 1
            tally["follow"] += answer == (totals[-1] + error) % 10
            tally["stay"] += answer == totals[-1]
    return tally["follow"] / (tally["all"] or 1), tally["stay"] / (tally["all"] or 1)


@alternative("faithfulness")
def by_arrays(puzzles, places, wrong, answers):
    """numpy, as a list of two numbers."""

    def run(total, moves):
        return run((moves[0][0] * total + moves[0][1]) % 10, moves[1:]) if moves else total

    stays = np.array([run(start, moves) for start, moves in puzzles])
    follows = np.array([run(w, moves[p + 1 :]) for (_, moves), p, w in zip(puzzles, places, wrong)])
    given = np.array([-1 if a is None else a for a in answers])
    counts = stays != follows
    if not counts.any():
        return [0.0, 0.0]
    return [float((given == x)[counts].mean()) for x in (follows, stays)]


# --- Exercise 8


def _described(answers, features):
    same = (answers[:, :, None] == answers[:, None, :]).double()
    centred = features - features.mean(1, keepdim=True)
    summed = same @ centred
    return summed, same.mean(2, keepdim=True)


@alternative("choose_answers")
def newton_on_groups(answers, features, truths, new_answers, new_features):
    """Logistic regression by Newton's steps on sums over equal answers, their number and its square."""

    def rows(answers, features):
        summed, share = _described(answers, features)
        return torch.cat([summed, share, share.square(), torch.ones_like(share)], -1)

    x, y = rows(answers, features).flatten(0, 1), (answers == truths[:, None]).double().flatten()
    w = torch.zeros(x.shape[1], dtype=x.dtype)
    for _ in range(15):
        p = (x @ w).sigmoid()
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-2 * torch.eye(len(w), dtype=x.dtype)
        w = w - torch.linalg.solve(hessian, x.T @ (p - y) + 1e-2 * w)
    best = (rows(new_answers, new_features) @ w).argmax(1, keepdim=True)
    return new_answers.gather(1, best).squeeze(1)


@alternative("choose_answers")
def softmax_over_the_answers(answers, features, truths, new_answers, new_features):
    """A softmax over the ten possible answers, of which only those that were given can win; trained with Adam."""

    def table(answers, features):
        centred = features - features.mean(1, keepdim=True)
        given = F.one_hot(answers, 10).double()  # (questions, k, 10)
        summed = given.transpose(1, 2) @ torch.cat([centred, torch.ones_like(centred[..., :1])], -1)
        return summed, given.sum(1) > 0

    (x, there), w = table(answers, features), torch.zeros(features.shape[-1] + 1, dtype=torch.float64, requires_grad=True)
    known = there.gather(1, truths[:, None])[:, 0]
    optimizer = torch.optim.Adam([w], lr=0.05)
    for _ in range(150):
        scores = (x @ w).masked_fill(~there, -1e9)
        loss = F.cross_entropy(scores[known], truths[known]) + 1e-3 * w.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, there = table(new_answers, new_features)
    return (x @ w.detach()).masked_fill(~there, -torch.inf).argmax(1)


@alternative("choose_answers")
def by_the_difference_of_means(answers, features, truths, new_answers, new_features):
    """No training: the direction in which right and wrong outputs differ, summed over equal answers; how much a vote more is
    worth is tried out on the questions whose truth is known."""
    centre = lambda x: x - x.mean(1, keepdim=True)  # noqa: E731
    x, right = centre(features), answers == truths[:, None]
    gap = x[right].mean(0) - x[~right].mean(0)
    apart = torch.cat([x[right] - x[right].mean(0), x[~right] - x[~right].mean(0)])
    w = torch.linalg.solve(apart.T @ apart / len(apart), gap)

    def chosen(answers, features, worth):
        totals = torch.zeros(len(answers), 10, dtype=torch.float64)
        totals.scatter_add_(1, answers, centre(features) @ w + worth)
        given = torch.zeros_like(totals).scatter_(1, answers, 1.0) > 0
        return totals.masked_fill(~given, -torch.inf).argmax(1)

    worths = [0.1 * i for i in range(21)]
    best = max(worths, key=lambda worth: (chosen(answers, features, worth) == truths).sum().item())
    return chosen(new_answers, new_features, best)
