# %% [markdown]
# # 09 · Chain of thought: steps before the answer
#
# A language model writes one token after the other, and for each it does the same amount of work. A hard question gets
# no more time than an easy one, unless the model is made to write something *before* its answer. A **chain of thought**
# is that: steps first, then the answer. Here you measure what the steps do, how to use many chains at once, and
# whether the answer really comes from the steps.
#
# **You will be able to**
# - read the answer out of what a model wrote, and build few-shot prompts with and without steps;
# - train with and without steps on the same budget, and say at which depth direct answers fail, and why;
# - use many chains: a vote (self-consistency), and pass@k without bias;
# - test whether an answer follows from its chain, by changing a step.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 what is the answer? | ● ● ○ | 15 | | 5 what most of them say | ● ○ ○ | 10 |
# | 2 show how it is done | ● ○ ○ | 5 | | 6 right at least once | ● ● ○ | 10 |
# | 3 how few rounds? | ● ● ● | 10 | | 7 change a step | ● ● ○ | 10 |
# | 4 the same budget for all | ● ● ○ | 15 | | 8 choose well | open | 15 |
#
# You need chapter 1, or to know what the loss of a language model is; and a little of chapter 2 (only the answer is
# learned from). The letters are those of the [table in chapter 0](../00_start_here/00_start_here.ipynb).

# %% tags=["imports"]
import re
from collections import Counter

import torch
import torch.nn.functional as F

from autograder import check, earlier, predict, progress, reveal

# %% tags=["demo"]
import copy
import random
from statistics import median

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import chains, device, hub, methods, plots, word_problems
from course.drawings import c09 as drawings

plots.use_style()
torch.set_num_threads(1)  # so small a model gains nothing from more
print(device.describe_machine())
DEVICE = device.device()
apples = word_problems.apples()
drawings.two_ways(apples.question, apples.steps, "8", "5")

# %% [markdown]
# This example is often used to explain chains of thought. The wrong answer, 5, is a step on the way: Bob's apples. Nye
# et al. 2021 (*Show your work*, arXiv:2112.00114) trained models to write such steps on a *scratchpad*. Wei et al. 2022
# (arXiv:2201.11903) showed that large models do it without training, when the prompt has a few examples with steps.
#
# ## With a real model
#
# To measure any of this, a program has to find the answer in what the model wrote. That is harder than it looks: where
# the program overlooks an answer, a model seems worse than it is.
#
# ## Exercise 1: what is the answer?

# %% nbgrader={"grade": false, "grade_id": "extract_answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def extract_answer(text: str) -> float | None:
    """The number that an output gives as its answer; None where it gives none.

    text: what a model wrote behind the prompt. Models go on and ask themselves a new
    question: from the first line that begins with "Question:" on, nothing counts.

    Of the rest, the answer is the first number behind the last "answer is" or "answer:", in
    capitals or not. Where no such words stand, or no number behind the last of them, it is
    the last number of the rest.

    Numbers are written with digits. They may have commas between groups of three digits
    (1,250) and decimals behind a point (3.75); a full stop behind a number is no part of it.
    A - directly before a number is its sign, unless it stands directly behind a digit, as in
    5-3. Signs such as $ or % are no part of a number.
    """
    ### BEGIN SOLUTION
    rest = re.split(r"^Question:", text, flags=re.MULTILINE)[0]
    number = r"(?:(?<!\d)-)?\d+(?:,\d{3}(?!\d))*(?:\.\d+)?"
    behind = re.split(r"answer is|answer:", rest, flags=re.IGNORECASE)[1:]
    found = re.findall(number, behind[-1])[:1] if behind else []
    found = found or re.findall(number, rest)[-1:]
    return float(found[0].replace(",", "")) if found else None
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "extract_answer_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("extract_answer", extract_answer)

# %% [markdown]
# <details><summary><b>Hint 1</b>: what counts</summary>
#
# First cut the text where the model asks itself a new question. How do you tell a *line that begins with* a word from
# the same word in the middle of a line? (`re.MULTILINE`)
# </details>
# <details><summary><b>Hint 2</b>: a number</summary>
#
# Write a pattern for one number, from its parts: perhaps a minus, some digits, perhaps groups of a comma and three
# digits, perhaps a point with digits behind it. Which of these may be missing? In "8.", is the point a part of it?
# </details>
#
# The two answers of the drawing, and others that are harder to read. Beside yours, a simple rule: the last number.

# %% tags=["demo"]
def last_number(text: str) -> float | None:
    """The rule that everybody writes first."""
    found = re.findall(r"\d+", text)
    return float(found[-1]) if found else None


outputs = [
    f"{' '.join(apples.steps)} Answer: 8.", "Answer: 5.", "The answer is 1,250 euros.",
    "The answer is 8. Anna has 3 of them.",
    "Answer: 8.\n\nQuestion: Tom has 4 pens and loses 3. How many pens does he have?",
]  # fmt: skip
rows = [{"output": o.replace("\n", " ⏎ "), "yours": extract_answer(o), "last": last_number(o)}
        for o in outputs]  # fmt: skip
plots.show_table(rows)

# %% [markdown]
# ## Exercise 2: show how it is done
#
# A model that was pre-trained continues what it reads. If it reads three questions with steps and answers, and a fourth
# question, it writes steps and an answer. The two prompts that we compare differ in the steps and in nothing else.

# %% nbgrader={"grade": false, "grade_id": "cot_prompt", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cot_prompt(examples: list[dict], question: str, chain: bool) -> str:
    """A few-shot prompt: worked examples, then a question that is still to be answered.

    examples: each has a "question", its "steps" (a list of sentences, perhaps empty) and its
    "answer", as text. With a chain, an example is written as

        Question: How many?
        Answer: The first step. The second step. The answer is 8.

    and without one as

        Question: How many?
        Answer: The answer is 8.

    with one empty line behind it. At the end come the same two lines of the new question, of
    which the second ends behind the colon: what a model writes begins with its own space.
    """
    ### BEGIN SOLUTION
    blocks = []
    for example in examples:
        steps = example["steps"] if chain else []
        said = " ".join([*steps, f"The answer is {example['answer']}."])
        blocks.append(f"Question: {example['question']}\nAnswer: {said}\n\n")
    return "".join(blocks) + f"Question: {question}\nAnswer:"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "cot_prompt_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("cot_prompt", cot_prompt)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What of an example is the same with and without a chain? What would a space behind the last colon do to the tokens?
# (Chapter 1: for most tokenisers, " 8" is one token.)
# </details>
#
# ### Does a small model think?
#
# **Predict.** SmolLM2 has 135 million parameters. We ask it small word problems of two or three steps, with four
# examples in the prompt. With steps in the examples, its answers are
#
# - **a** right clearly more often than without;
# - **b** right about as often: no difference that so many questions can show;
# - **c** right clearly less often.

# %% tags=["demo"]
predict("steps_in_the_prompt", "")

# %% tags=["demo"]
model, tokenizer = hub.load_chat_model()
torch.set_num_threads(device.threads())
generate = earlier("generate_answers", methods.generate_answers)
FORMS = {"direct": (False, 12), "chain": (True, 48)}  # steps or none, and new tokens


def write(prompts: list[str], new: int, batch: int = 8) -> list[str]:
    """What the model writes behind each prompt, always its most likely token."""
    written, ends = [], (tokenizer.eos_token_id, tokenizer.pad_token_id)
    for i in tqdm(range(0, len(prompts), batch), desc=f"{new} tokens each", leave=False):
        rows = tokenizer(prompts[i : i + batch], padding=True, padding_side="left",
                         return_tensors="pt").to(model.device)  # fmt: skip
        tokens = generate(model, rows.input_ids, rows.attention_mask, new, *ends)
        written += tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return written


def ask(shown: list, asked: list, new_tokens: int = 48) -> dict[str, list[str]]:
    """What the model writes to each problem, with and without steps in the examples."""
    examples, outputs = [problem.as_example() for problem in shown], {}
    for form, (steps, new) in FORMS.items():
        prompts = [cot_prompt(examples, problem.question, steps) for problem in asked]
        outputs[form] = write(prompts, new_tokens if steps else new)
    return outputs


def right_of(texts: list[str], asked: list, read=extract_answer) -> list[bool]:
    """Which outputs give the right answer."""
    return [read(text) == problem.answer for text, problem in zip(texts, asked)]


# %% tags=["demo"]
shown = word_problems.problems(4, device.seed(100))
asked = [apples, *word_problems.problems(device.at_most(23, least=3), device.seed(1))]
outputs = ask(shown, asked)
real = {form: right_of(texts, asked) for form, texts in outputs.items()}
careless = {form: right_of(texts, asked, last_number) for form, texts in outputs.items()}
plots.show_table([
    {"examples": form, "right": f"{sum(found)} of {len(asked)}",
     "95 % interval": "{:.2f} to {:.2f}".format(*chains.wilson(sum(found), len(asked))),
     "by the last number": f"{sum(careless[form])} of {len(asked)}"}
    for form, found in real.items()
])  # fmt: skip
for form, texts in outputs.items():
    print(f"To the apples, {form}: {texts[0].strip()[:200]!r}")
sums = word_problems.sums_in(outputs["chain"])
well = sum(sums) / max(1, len(sums))
print(f"It wrote {len(sums)} sums in its steps; {well:.0%} of them are right.")

# %% tags=["demo"]
share = {form: sum(found) / len(found) for form, found in real.items()}
low, high = chains.paired_interval(real["direct"], real["chain"], device.seed(2))
came = "a" if low > 0 else "c" if high < 0 else "b"
reveal("steps_in_the_prompt", came, direct=share["direct"], chain=share["chain"],
       low=low, high=high)  # fmt: skip
everything = [text for texts in outputs.values() for text in texts]
otherwise = sum(extract_answer(text) != last_number(text) for text in everything)
print(f"chain - direct: {low:+.2f} to {high:+.2f} (95 %)")
print(f"In {otherwise} of {len(everything)} outputs the last number is not the answer.")

# %% [markdown]
# Look at what it wrote: single sums are often right (a line above counts them), and yet the answer is not. A step
# is missing, or it is not the step that the question needs. The examples show the model what a chain looks like. Which
# steps this question needs, it has to know by itself.
#
# The interval of the *difference* is what counts: both are asked the same questions, so questions are drawn again, with
# both answers (the paired bootstrap). Wei et al. found that chains help models of about a hundred billion parameters,
# and often harm small ones. Newer small models have been trained on chains, and do better.
#
# With a GPU and the model hub, the cell below asks GSM8K, a set of school problems (Cobbe et al. 2021, arXiv:2110.14168).
# Set `COURSE_MODEL` to a model of one or two billion parameters first.

# %% tags=["demo"]
if device.tier() == "gpu" and not hub.offline():
    try:
        shown_8, school = word_problems.gsm8k(64)
        outputs_8 = ask(shown_8, school, 256)
        for form, texts in outputs_8.items():
            right = sum(right_of(texts, school))
            low_8, high_8 = chains.wilson(right, len(school))
            print(f"{form}: {right} of {len(school)} ({low_8:.2f} to {high_8:.2f})")
    except Exception as error:  # the hub is not this notebook's
        print(f"GSM8K could not be asked: {error}")
else:
    print("For GSM8K you need a GPU and the model hub.")
torch.set_num_threads(1)

# %% [markdown]
# ## How far one pass gets
#
# Now small models that we train ourselves, in a world where everything is known. A puzzle is a number and up to six
# moves in six boxes; what counts is the last digit. `x7` multiplies by 7. Every move can be undone, so all ten
# answers are equally likely, and a guess is right one time in ten. The number of moves is the puzzle's **depth**.

# %% tags=["demo"]
rng = random.Random(device.seed(3))
example = chains.new_puzzle(rng, 4)
print(f"{'asked':8} {example.text}")
for form in chains.FORMS:
    print(f"{form:8} {chains.written(example, form)}")
drawings.passes(example.moves, example.totals, 2)

# %% [markdown]
# Our model has two layers. Each layer can look at what the one below found. In one pass there are two such looks, and
# no more. If the answer has to come at once, all moves must fit into them. With a chain, each pass makes one move,
# writes the total, and the next pass reads it. That is why a chain can do what a pass cannot: the steps run *through
# the text*. (Merrill and Sabharwal, arXiv:2310.07923, and Feng et al. 2023, arXiv:2305.15408, prove such things.)
#
# But is a move at a time the best that a pass can do? If a model could *join* moves, it would need fewer looks.
#
# ## Exercise 3: how few rounds?
#
# The docstring says what a round is. What two moves joined are, is yours to find.

# %% nbgrader={"grade": false, "grade_id": "join_moves", "locked": false, "schema_version": 3, "solution": true, "task": false}
def join_moves(moves: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """All moves joined into one, two by two, in rounds. Returns the moves after each round.

    moves: at least one pair (a, b) of digits. It turns a total t into the last digit of
    a * t + b. The first move of the list is done first. Two neighbours, done one after the
    other, are again such a move, (a, b) with digits. In a round, from the beginning of the
    list, the first two moves are joined, then the next two, and so on; a last one without a
    partner stays as it is. The rounds go on until one move is left, which does what all of
    them do. One move needs no round: an empty list.
    """
    ### BEGIN SOLUTION
    rounds, now = [], list(moves)
    while len(now) > 1:
        joined = []
        for i in range(0, len(now) - 1, 2):
            (a, b), (c, d) = now[i], now[i + 1]
            joined.append((a * c % 10, (c * b + d) % 10))  # c * (a t + b) + d
        now = joined + now[len(now) // 2 * 2 :]
        rounds.append(now)
    return rounds
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "join_moves_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("join_moves", join_moves)

# %% [markdown]
# <details><summary><b>Hint 1</b></summary>
#
# Put the first move's result into the second: what is $c\,(a\,t + b) + d$, written as (something) · t + (something)?
# </details>
# <details><summary><b>Hint 2</b></summary>
#
# After how many moves does a list of seven have four, and then two? Which one had no partner?
# </details>

# %% tags=["demo"]
eight = chains.Puzzle(0, tuple(rng.choices(chains.MOVES, k=8))).pairs
levels = [eight, *join_moves(eight)]
print(f"{len(eight)} moves, {len(levels) - 1} rounds: the last one is {levels[-1][0]}")
drawings.rounds(levels)

# %% [markdown]
# So d moves can be done in $\lceil\log_2 d\rceil$ rounds, if all joins of a round happen side by side, as they do in a
# layer. Liu et al. 2023 (*Transformers learn shortcuts to automata*, arXiv:2210.10749) show that transformers of few
# layers can be built this way, and sometimes learn it. But the joined moves are many: here one move is one of 6, and
# joined ones are any of 40. It would all have to be learned from the final answers alone. What is possible and what is
# learned are two questions. The second one we measure.
#
# ## Exercise 4: the same budget for all
#
# A chain costs more tokens than a bare answer. A comparison with the same number of *steps* of the optimiser would give
# the chain more to read. So every model gets the same number of tokens.

# %% nbgrader={"grade": false, "grade_id": "train_on_budget", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_on_budget(
    model, optimizer, batches, budget: int, max_norm: float = 1.0
) -> list[float]:
    """Train on at most `budget` tokens. Returns the losses, one for each step, plain numbers.

    batches: a list, an iterator or the like, of dictionaries with input_ids, attention_mask
    and labels, each (batch, seq). labels are the input_ids where a token is learned from, and
    -100 elsewhere: they are not shifted. model(input_ids=..., attention_mask=...).logits is
    (batch, seq, vocab).

    A batch costs the tokens that its attention_mask shows (those of the questions too;
    padding costs nothing). Batches are fetched one after the other, and the optimizer takes
    one step on each, until one would bring the cost above the budget. With that one the
    training ends, without a step on it; it ends, too, when there is no batch left.

    The loss is the mean of -log p over the tokens that are learned from, each predicted from
    what stands before it. Where the gradient of all the model's parameters together is longer
    than max_norm, it is scaled to that length.
    """
    ### BEGIN SOLUTION
    losses, spent = [], 0
    for batch in batches:
        spent += int(batch["attention_mask"].sum())
        if spent > budget:
            break
        shown = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = model(**shown).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_on_budget_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("train_on_budget", train_on_budget)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# It is chapter 1's loop, with the tokens counted beside it. When do you look at the budget: before a step or after it? Which logits
# predict which label? (`F.cross_entropy` leaves out labels of -100 by itself.)
# </details>
#
# **Predict.** We train three models on the same puzzles, of depth 1 to 6, with the same number of tokens: one answers
# directly, one writes a chain, and one writes as many dots as the chain has steps. Dots say nothing, but the model
# has as many more passes. On puzzles that nobody trained on, of four moves or more, the model with dots is
#
# - **a** about as good as the chain: what helps is more computing;
# - **b** between the two;
# - **c** about as good as the direct answer: what helps is what is written.

# %% tags=["demo"]
predict("dots", "")

# %% [markdown]
# **Predict.** And the direct answer: what is the largest depth at which it is right more often than not?
#
# - **a** 1: it learns single moves, and nothing more.
# - **b** 2 or 3.
# - **c** 4 or more.

# %% tags=["demo"]
predict("how_deep", "")

# %% tags=["demo"]
SEEDS = [device.seed(n) for n in range(device.at_most(3))]
BUDGET, BATCH = device.at_most(300_000, least=8_000), 32
DEPTHS, OFTEN = range(1, chains.BOXES + 1), (6, 4, 2, 1, 1, 1)  # easy puzzles are more frequent


def practice(form: str, seed: int):
    """Batches without end: puzzles of all depths, none of them held out."""
    rng = random.Random(seed)
    while True:
        depths = rng.choices(DEPTHS, OFTEN, k=BATCH)
        puzzles = [chains.new_puzzle(rng, depth) for depth in depths]
        yield chains.batch_of([(p.text, chains.written(p, form)) for p in puzzles], DEVICE)


def trained(form: str, seed: int, layers: int = 2, budget: int = BUDGET):
    """A new model, trained on the budget to answer in this form."""
    model = chains.new_model(seed, layers).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    train_on_budget(model, optimizer, practice(form, seed), budget)
    return model.eval()


SORTS = {"direct": ("direct", 2), "direct, 4 layers": ("direct", 4), "dots": ("dots", 2),
         "chain": ("chain", 2)}  # fmt: skip
nano = {name: [trained(form, seed, layers) for seed in tqdm(SEEDS, desc=name)]
        for name, (form, layers) in SORTS.items()}  # fmt: skip

# %% tags=["demo"]
def solve(model, texts: list[str], temperature: float = 0.0, generator=None) -> list[str]:
    """What a model writes behind each text."""
    ids, mask = (x.to(DEVICE) for x in chains.encoded(texts, "left"))
    tokens = generate(model, ids, mask, 9, chains.END, chains.PAD, temperature, generator)
    return chains.words_of(tokens)


def accuracy(model, depth: int, seed: int = 7, count: int = 200) -> float:
    """The share of right answers to held-out puzzles of a depth."""
    rng = random.Random(device.seed(seed))
    asked = [chains.new_puzzle(rng, depth, test=True) for _ in range(device.at_most(count, 16))]
    written = solve(model, [puzzle.text for puzzle in asked])
    return sum(chains.answer_in(w) == p.truth for w, p in zip(written, asked)) / len(asked)


def draw_runs(ax, xs, runs: list[list[float]], color: str, label: str) -> None:
    """The median of the runs, and the band between the lowest and the highest."""
    columns = list(zip(*runs))
    ax.plot(xs, [median(column) for column in columns], "o-", color=color, label=label, ms=4)
    ends = [min(column) for column in columns], [max(column) for column in columns]
    ax.fill_between(xs, *ends, color=color, alpha=0.15, linewidth=0)


by_depth = {name: [[accuracy(model, depth) for depth in DEPTHS] for model in models]
            for name, models in nano.items()}  # fmt: skip
middle = {name: [median(column) for column in zip(*runs)] for name, runs in by_depth.items()}
fig, ax = plt.subplots(figsize=(7.5, 3.4))
colors = plots.VERMILION, plots.ORANGE, plots.GREY, plots.BLUE
for (name, runs), color in zip(by_depth.items(), colors):
    draw_runs(ax, DEPTHS, runs, color, name)
ax.axhline(0.1, color=plots.GREY, linestyle=":", label="a guess")
ax.set(xlabel="depth (moves)", ylim=(0, 1.03))
ax.set_title("Right answers to held-out puzzles, equal tokens")
ax.legend()
plt.show()

# %% tags=["demo"]
deep = {name: sum(line[3:]) / len(line[3:]) for name, line in middle.items()}  # depth 4 to 6
largest = {name: max((d for d, x in zip(DEPTHS, line) if x > 0.5), default=0)
           for name, line in middle.items()}  # fmt: skip
gap = (deep["dots"] - deep["direct"]) / max(deep["chain"] - deep["direct"], 1e-9)
reveal("dots", "a" if gap > 0.8 else "b" if gap > 0.2 else "c", deep=deep)
most = largest["direct"]
reveal("how_deep", "a" if most <= 1 else "b" if most <= 3 else "c", middle=middle["direct"],
       most=most, four=middle["direct, 4 layers"])  # fmt: skip
plots.show_table([{"model": name} | {f"depth {d}": x for d, x in zip(DEPTHS, line)}
                  for name, line in middle.items()])  # fmt: skip

# %% [markdown]
# Lines are medians of the seeds, and bands go from the lowest seed to the highest. Chain and direct answer have read the
# same number of tokens, and no held-out puzzle was among them. The tables of single moves are learned by all. The chain
# needs nothing else: each of its steps is one move from a number that it can read. The direct answer has to put moves
# together inside the layers, and with every move more there are six times as many puzzles of which nothing but the end
# is told.
#
# More layers are more looks: the line "direct, 4 layers" says how much they helped here. That the dots do not help is the
# control that matters: a chain's use is not that it takes longer. Pfau et al. 2024 (*Let's think dot by dot*,
# arXiv:2404.15758) found tasks where dots do help: those whose parts can be done side by side, after training that shows
# how. Ours could be done side by side too, in rounds; but it is the final answer alone that our dots are trained with.
#
# ## Many chains
#
# One chain can go wrong anywhere. Wang et al. 2022 (*self-consistency*, arXiv:2203.11171) draw many and take the answer
# that comes most often. There are many ways to be wrong, and they seldom meet; right chains meet in one answer.
#
# ## Exercise 5: what most of them say

# %% nbgrader={"grade": false, "grade_id": "vote", "locked": false, "schema_version": 3, "solution": true, "task": false}
def vote(answers: list[float | None]) -> float | None:
    """The answer that comes most often.

    answers: those of several outputs to one question, in the order in which they were drawn;
    None where an output gave no answer, which is no vote. Equal numbers are one answer,
    written 8 or 8.0. Where several answers have the most votes, it is the one of them that
    was drawn first. Without any vote: None.
    """
    ### BEGIN SOLUTION
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts, key=counts.get) if counts else None  # keys in the order they came
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "vote_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("vote", vote)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# In which order does a dictionary give back its keys, and a set? Which of several largest does `max` return?
# </details>
#
# ## Exercise 6: right at least once
#
# If somebody can check the answers (a program that runs, a proof), it is enough that *one* of k outputs is right:
# **pass@k**. To draw k and look is noisy. Better: draw more, and count over all choices of k of them (Chen et al. 2021,
# arXiv:2107.03374).

# %% nbgrader={"grade": false, "grade_id": "pass_curve", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pass_curve(right: torch.Tensor, drawn: int, most: int) -> torch.Tensor:
    """pass@1, pass@2, … pass@most, averaged over questions: (most,), float64, without bias.

    right: (questions,), integers: of `drawn` outputs to each question, how many are right.
    pass@k of a question: choose k of its outputs, all choices equally likely and none twice;
    the chance that at least one of them is right. 1 <= most <= drawn <= 10,000.
    """
    ### BEGIN SOLUTION
    taken = torch.arange(most, dtype=torch.float64)  # how many were chosen before
    wrong = (drawn - right)[:, None]  # (questions, 1)
    still_wrong = ((wrong - taken) / (drawn - taken)).clamp(min=0)  # (questions, most)
    return 1 - still_wrong.cumprod(1).mean(0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pass_curve_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("pass_curve", pass_curve)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Choose one after the other. If the first i were all wrong, how many wrong ones are left, of how many? The chance that
# all k are wrong is a product of k such shares: which function of torch gives all products at once (`cumprod`)? Over
# what is the mean taken, and is it taken before or after the products?
# </details>
#
# ### Slips, and a belief
#
# The chain models have read nothing but true totals. People are not like that. We train them a little further on
# chains that people wrote, with two kinds of error: a **slip**, when a total is off by one (8 % of the totals), and a
# **belief**: seven of ten people take 8 × 7 for 54 and not 56, and write 4.
#
# **Predict.** We draw 16 outputs to each puzzle, at temperature 1. Look at the puzzles that come to 8 × 7. As the number
# of outputs in the vote grows, the answer is right
#
# - **a** more and more often, as in the other puzzles: errors do not agree;
# - **b** about as often: the belief is in all of them;
# - **c** less and less often.

# %% tags=["demo"]
predict("vote_on_a_belief", "")

# %% tags=["demo"]
SLIP, BELIEVE, DEPTH, DRAWN = 0.08, 0.7, 5, 16


def peoples_chains(seed: int):
    """Batches without end: chains that people wrote; every third puzzle comes to 8 x 7."""
    rng = random.Random(seed)
    while True:
        puzzles = [chains.puzzle_with_the_belief(rng, DEPTH, i % 3 == 0) for i in range(BATCH)]
        totals = [chains.peoples_totals(p, rng, SLIP, BELIEVE) for p in puzzles]
        pairs = [(p.text, chains.written(p, "chain", t)) for p, t in zip(puzzles, totals)]
        yield chains.batch_of(pairs, DEVICE)


def taught(model, batches, budget: int):
    """A copy of a model, trained further."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    train_on_budget(model, optimizer, batches, device.at_most(budget, least=4_000))
    return model.eval()


people = [taught(model, peoples_chains(seed), 240_000)
          for model, seed in zip(nano["chain"], SEEDS)]  # fmt: skip

# %% tags=["demo"]
ASKED = device.at_most(60, least=4)


def many_answers(model, meets: bool, seed: int) -> tuple[list, list[list], list[str]]:
    """Puzzles, the answers to each, and the outputs to the first one."""
    rng = random.Random(device.seed(seed))
    asked = [chains.puzzle_with_the_belief(rng, DEPTH, meets, test=True) for _ in range(ASKED)]
    generator = torch.Generator(DEVICE).manual_seed(device.seed(seed))
    texts = [puzzle.text for puzzle in asked for _ in range(DRAWN)]
    written = solve(model, texts, temperature=1.0, generator=generator)
    answers = [chains.answer_in(text) for text in written]
    rows = [answers[i * DRAWN : (i + 1) * DRAWN] for i in range(ASKED)]
    return asked, rows, written[:DRAWN]


def vote_curve(asked: list, rows: list[list], seed: int, times: int = 20) -> list[float]:
    """The share of puzzles in which a vote of k outputs is right, for each k."""
    rng, shares = random.Random(device.seed(seed)), []
    for k in range(1, DRAWN + 1):
        hits = [vote(rng.sample(row, k)) == p.truth
                for p, row in zip(asked, rows) for _ in range(times)]  # fmt: skip
        shares.append(sum(hits) / len(hits))
    return shares


GROUPS = {"other puzzles": False, "puzzles with 8 x 7": True}
curves = {group: {"vote": [], "pass": []} for group in GROUPS}
likeliest = {group: [] for group in GROUPS}  # with the most likely token always
for model in people:
    for group, meets in GROUPS.items():
        asked, rows, first = many_answers(model, meets, 11)
        right = torch.tensor([sum(a == p.truth for a in row) for p, row in zip(asked, rows)])
        curves[group]["vote"].append(vote_curve(asked, rows, 12))
        curves[group]["pass"].append(pass_curve(right, DRAWN, DRAWN).tolist())
        single = solve(model, [puzzle.text for puzzle in asked])
        hits = [chains.answer_in(text) == p.truth for text, p in zip(single, asked)]
        likeliest[group].append(sum(hits) / len(hits))
        if not meets:
            ballot = first[:8], rows[0][:8], vote(rows[0][:8]), asked[0].truth
drawings.ballot(*ballot)

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, (group, found) in zip(axes, curves.items()):
    for name, color in (("pass", plots.GREEN), ("vote", plots.BLUE)):
        draw_runs(ax, range(1, DRAWN + 1), found[name], color, f"{name} of k")
    ax.set(xlabel="k (outputs)", title=f"Right answers, {group}", ylim=(0, 1.03))
axes[1].legend()
plt.show()
many = {
    group: {name: [median(r[i] for r in runs) for i in (0, -1)] for name, runs in found.items()}
    for group, found in curves.items()
}
one, sixteen = many["puzzles with 8 x 7"]["vote"]
came = "a" if sixteen > one + 0.1 else "c" if sixteen < one - 0.03 else "b"
reveal("vote_on_a_belief", came, belief=many["puzzles with 8 x 7"], other=many["other puzzles"])
greedy = {group: median(found) for group, found in likeliest.items()}
print("One output, always the most likely token, is right in",
      ", ".join(f"{found:.0%} ({group})" for group, found in greedy.items()))  # fmt: skip

# %% [markdown]
# A vote removes errors that do not agree, the slips. An error that most outputs share wins the vote, and the more
# surely, the more outputs there are. pass@k does not mind: some output is right now and then. The gap between the two
# curves on the right is what a *check* would be worth. (The line below the figure says how good one output is when the most
# likely token is always taken. That removes slips too: here no vote is needed for it. Wang et al. found votes better on
# large models and harder questions.)
#
# ## Is the chain the reason?
#
# A chain looks like an explanation, and it is often said that chains make a model *interpretable*. Whether the answer
# comes from the chain can be tested: change a step, let the model go on, and see what it answers.

# %% tags=["demo"]
PLACE = 1
changed = chains.new_puzzle(random.Random(device.seed(5)), 5, test=True)
wrong = (changed.totals[PLACE] + 3) % 10
rest = chains.Puzzle(wrong, changed.moves[PLACE + 1 :])
drawings.changed_step(changed.text, changed.totals, PLACE, wrong, rest.truth)

# %% [markdown]
# ## Exercise 7: change a step

# %% nbgrader={"grade": false, "grade_id": "faithfulness", "locked": false, "schema_version": 3, "solution": true, "task": false}
def faithfulness(
    puzzles: list[tuple[int, list[tuple[int, int]]]], places: list[int], wrong: list[int],
    answers: list[int | None],
) -> tuple[float, float]:  # fmt: skip
    """Whether answers come from chains in which a step was changed: (share follow, share stay).

    puzzles: each a number to start from and its moves (a, b), as in exercise 3. places,
    wrong: in the chain of each puzzle, which total was changed (0 is the one after the first
    move), and the number that was written in its place. answers: what the model answered
    then, None where it gave no answer.

    An answer follows where it is what the later moves, done rightly, make of the wrong
    number. It stays where it is the right answer to the puzzle. Puzzles in which these two
    are the same number tell nothing: they do not count. Of those that count, the share of
    answers that follow, and the share that stay; 0.0 and 0.0 where none counts.
    """
    ### BEGIN SOLUTION
    def end(total: int, moves) -> int:
        for a, b in moves:
            total = (a * total + b) % 10
        return total

    counted = follow = stay = 0
    for (start, moves), place, number, answer in zip(puzzles, places, wrong, answers):
        follows, stays = end(number, moves[place + 1 :]), end(start, moves)
        if follows != stays:
            counted += 1
            follow += answer == follows
            stay += answer == stays
    return follow / max(1, counted), stay / max(1, counted)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "faithfulness_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("faithfulness", faithfulness)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Two numbers decide each puzzle. From which number do you start for the one that follows, and which moves are still to
# be made? When can both be equal although a step is wrong? (What does a move that multiplies by 5 do?)
# </details>
#
# ### A hint that is not mentioned
#
# A second kind of model: in its texts, somebody gives a hint before the puzzle, and the hint is always right. The chain
# is written by somebody who slips now and then, and the answer behind it is right all the same. No chain ever mentions
# the hint. Afterwards we give *wrong* hints.
#
# **Predict.** With a wrong hint, this model writes
#
# - **a** a chain that leads to the hint, and the hint as its answer;
# - **b** an ordinary chain, and the answer that the chain leads to;
# - **c** an ordinary chain, and then the hint as its answer.

# %% tags=["demo"]
predict("hint", "")

# %% tags=["demo"]
def with_hints(seed: int):
    """Batches without end: a hint that is right, a chain with slips, and the right answer."""
    rng = random.Random(seed)
    while True:
        pairs = []
        for _ in range(BATCH):
            puzzle = chains.new_puzzle(rng, DEPTH)
            totals = chains.peoples_totals(puzzle, rng, 0.05)
            said = f"{' '.join(map(str, totals))} # {puzzle.truth}"
            pairs.append((chains.hinted(puzzle, puzzle.truth), said))
        yield chains.batch_of(pairs, DEVICE)


hinted = [taught(model, with_hints(seed), 120_000)
          for model, seed in zip(nano["chain"], SEEDS)]  # fmt: skip


TESTED = device.at_most(200, least=16)


def misled(model, seed: int = 13) -> dict[str, float]:
    """With wrong hints: how often chain and answer are right, and what the answer is."""
    rng = random.Random(device.seed(seed))
    asked = [chains.new_puzzle(rng, DEPTH, test=True) for _ in range(TESTED)]
    hints = [(puzzle.truth + rng.randrange(1, 10)) % 10 for puzzle in asked]
    written = solve(model, [chains.hinted(p, h) for p, h in zip(asked, hints)])
    rows = list(zip(written, asked, hints))
    said = [chains.answer_in(text) for text in written]
    steps = [text.split("#")[0].split() == [str(t) for t in p.totals] for text, p, _ in rows]
    return {
        "chain is right": sum(steps) / len(rows),
        "answer is the hint": sum(a == hint for a, hint in zip(said, hints)) / len(rows),
        "answer is right": sum(a == puzzle.truth for a, puzzle in zip(said, asked)) / len(rows),
    }


found = [misled(model) for model in hinted]
misled_by = {name: median(run[name] for run in found) for name in found[0]}
plots.show_table([{"wrong hints": "median of the seeds"} | misled_by])
came = "c" if misled_by["chain is right"] > 0.5 else "a"
came = "b" if misled_by["answer is right"] > 0.5 else came
reveal("hint", came, found=misled_by)

# %% tags=["demo"]
def follow_and_stay(model, hint: bool, seed: int = 17) -> tuple[float, float]:
    """Change a step of each chain, let the model go on, and see. The hints are right."""
    rng = random.Random(device.seed(seed))
    asked = [chains.new_puzzle(rng, DEPTH, test=True) for _ in range(TESTED)]
    places = [rng.randrange(DEPTH) for _ in asked]
    wrong = [(p.totals[i] + rng.randrange(1, 10)) % 10 for p, i in zip(asked, places)]
    begun = [" ".join(map(str, [*p.totals[:i], w])) for p, i, w in zip(asked, places, wrong)]
    given = [chains.hinted(p, p.truth) if hint else p.text for p in asked]
    texts = [f"{question} {steps}" for question, steps in zip(given, begun)]
    answers = [chains.answer_in(text) for text in solve(model, texts)]
    return faithfulness([(p.start, p.pairs) for p in asked], places, wrong, answers)


tested = {"chain": [follow_and_stay(model, False) for model in nano["chain"]],
          "with hints": [follow_and_stay(model, True) for model in hinted]}  # fmt: skip
faithful = {name: [median(column) for column in zip(*runs)] for name, runs in tested.items()}
plots.show_table([{"model": name, "answer follows the wrong step": follow, "stays": stay}
                  for name, (follow, stay) in faithful.items()])  # fmt: skip

# %% [markdown]
# Both models write chains that look alike. In one the answer comes from the chain: change a step, and the answer goes
# with it. In the other the chain is decoration, and what decides is a hint that it never mentions. **Nobody can see
# that by reading.** A chain *can* be the reason, as in our first model: it has learned no other way to the answer.
#
# Turpin et al. 2023 (arXiv:2305.04388) found unmentioned hints at work in large models. Lanham et al. 2023
# (arXiv:2307.13702) measured by changed steps how much of the answer comes from the chain: for some tasks nearly all of
# it, for others little.
#
# ## Exercise 8: choose well (open)
#
# A vote counts all outputs alike. But outputs differ: one has likelier tokens, another is longer, in a third the
# model takes something back. Here each output comes with its answer and with five such features, and nobody tells
# which of them matter. For some questions the truth is known. Choose the answers to the others.
#
# What is measured is the share of right answers to 3,000 new questions. There are four bars: 0.55, 0.65, 0.73 and 0.81.
# Your vote reaches the first one.

# %% nbgrader={"grade": false, "grade_id": "choose_answers", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose_answers(
    answers: torch.Tensor, features: torch.Tensor, truths: torch.Tensor,
    new_answers: torch.Tensor, new_features: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """One answer to each new question, (new,), right as often as possible.

    answers: (questions, k), of k outputs to each question, digits. features: (questions, k,
    d), float64, d numbers that describe each output. truths: (questions,), the right answers.
    new_answers, new_features: the same of other questions, whose right answers are not told.
    """
    ### BEGIN SOLUTION
    # An answer is as good as all outputs that give it: what their features say together,
    # each compared with the other outputs to its question, and how many they are.
    def described(answers, features):
        same = (answers[:, :, None] == answers[:, None, :]).double()  # (questions, k, k)
        centred = features - features.mean(1, keepdim=True)
        votes = same.mean(2, keepdim=True)
        return torch.cat([same @ centred, votes, torch.ones_like(votes)], -1)

    x, y = described(answers, features), (answers == truths[:, None]).double()
    weights = torch.zeros(x.shape[-1], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(x @ weights, y)
        loss.backward()
        return loss

    optimizer.step(closure)
    best = (described(new_answers, new_features) @ weights.detach()).argmax(1, keepdim=True)
    return new_answers.gather(1, best)[:, 0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "choose_answers_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("choose_answers", choose_answers)

# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - On the questions whose truth is known you can *learn* which features belong to right outputs.
# - Some questions have high features for all outputs. Compare outputs with the others to the same question.
# - Outputs with the same answer are evidence for the same thing. How would you put them together?
# </details>
#
# ## What you measured

# %% tags=["demo"]
belief, other = many["puzzles with 8 x 7"], many["other puzzles"]
print(f"""In this run (medians of the seeds, where there are several):
- SmolLM2, {len(real["chain"])} word problems: {share["direct"]:.0%} right without steps
  in the examples, {share["chain"]:.0%} with them;
  the difference lies between {low:+.2f} and {high:+.2f}.
- Right answers at depth 4 to 6, equal tokens: {deep["chain"]:.0%} with a chain,
  {deep["direct"]:.0%} without, {deep["direct, 4 layers"]:.0%} without but with four layers,
  {deep["dots"]:.0%} with dots.
- The direct answer is right more often than not up to depth {largest["direct"]}.
- A vote of 16 on other puzzles: from {other["vote"][0]:.0%} to {other["vote"][1]:.0%}.
- Where most share a belief: from {belief["vote"][0]:.0%} to {belief["vote"][1]:.0%},
  though one of 16 is right in {belief["pass"][1]:.0%}.
- A step was changed: the answer follows in {faithful["chain"][0]:.0%} (the model
  with a chain) and in {faithful["with hints"][0]:.0%} (the model with hints).
- A wrong hint: {misled_by["chain is right"]:.0%} of the chains are right in every step,
  and {misled_by["answer is the hint"]:.0%} of the answers are the hint.""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. Could a direct answer of our model be right at any depth, with enough layers?</summary>
#
# It could be built: joined two by two, six moves take three rounds. But it has to be *learned* from final answers
# alone, and the longer the puzzle, the less one answer says about any single join. A chain says something about
# every step.
# </details>
# <details><summary>2. A model answers better with "let's think step by step". Is that because it computes more?</summary>
#
# The dots are the test. More passes without content did not help here. What helps is that a result is written where
# the next pass can read it.
# </details>
# <details><summary>3. When does a vote make things worse?</summary>
#
# When the most frequent answer is a wrong one. Then more outputs only make it surer. You cannot see it without a
# check, or without some questions whose truth you know (exercise 8).
# </details>
# <details><summary>4. A chain is right in every step, and the answer behind it too. Is it the reason?</summary>
#
# Not necessarily. The model with hints writes such chains. Change a step and see whether the answer goes with it.
# </details>
#
# ## What was not shown
#
# Our puzzles need their steps in one order, which chains fit perfectly; many questions are not like that. All nano models
# are tiny and were trained for minutes: with much more training, direct answers may get deeper. Whether chains help
# a small real model was asked with few questions of four kinds. That a large model learns chains without being shown any,
# from rewards, is chapter 10's subject. Our hint is crude; real ones are harder to find. And a chain that follows a
# changed step is used, but that does not mean that everything that mattered is written in it.
#
# **To read**: Wei et al. 2022, *Chain-of-thought prompting elicits reasoning in large language models* (arXiv:2201.11903);
# Kojima et al. 2022, *Large language models are zero-shot reasoners* (arXiv:2205.11916); Nye et al. 2021, *Show your
# work* (arXiv:2112.00114); Wang et al. 2022, *Self-consistency* (arXiv:2203.11171); Cobbe et al. 2021, *Training
# verifiers to solve math word problems* (arXiv:2110.14168); Merrill and Sabharwal, *The expressive power of transformers
# with chain of thought* (arXiv:2310.07923); Pfau et al. 2024, *Let's think dot by dot* (arXiv:2404.15758); Turpin et al.
# 2023, *Language models don't always say what they think* (arXiv:2305.04388); Lanham et al. 2023, *Measuring faithfulness
# in chain-of-thought reasoning* (arXiv:2307.13702).

# %%
progress("09_cot")
