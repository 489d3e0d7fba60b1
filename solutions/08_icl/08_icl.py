# %% [markdown]
# # 08 · In-context learning: a task in the prompt
#
# A language model can be given a task without any training: one writes some examples into the prompt, and the model
# goes on as they do. No weight changes. This is called **in-context learning**. Here you write the prompts, measure a
# real model, and then look at what is being done: in a small world, where the best possible answer can be computed,
# you train a model that infers the task from its examples, and find the heads that look back.
#
# **You will be able to**
# - build prompts with no, one or several examples, and score labels of any length without common mistakes;
# - say how sure a difference between two ways to ask is, and correct a model's liking for one label;
# - write the exact inference that few-shot prompting amounts to, and train a model that does it;
# - tell the recognition of a known task from the learning of a new one;
# - find an induction head, and see what is lost without it.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 a prompt from examples | ● ○ ○ | 5 | | 6 which table is it | ● ● ● | 15 |
# | 2 the tokens of a label | ● ● ○ | 10 | | 7 a table that nobody knows | ● ● ● | 10 |
# | 3 what a model gives to labels | ● ● ○ | 10 | | 8 the training loop | ● ● ○ | 10 |
# | 4 how sure is a difference | ● ● ○ | 10 | | 9 heads that look back | ● ● ○ | 10 |
# | 5 calibration | ● ● ○ | 10 | | 10 rows alone | open | 20 |
#
# You need to know what a token and a log-probability are (chapter 1). The letters are those of the
# [table in chapter 0](../00_start_here/00_start_here.ipynb): x is what is asked, y an answer.

# %% tags=["imports"]
import torch
import torch.nn.functional as F

from autograder import check, predict, progress, reveal

# %% tags=["demo"]
import random
from statistics import median

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import device, heads, plots, shots, tables, widgets
from course.drawings import c08 as drawings

plots.use_style()
torch.set_num_threads(device.threads())  # the real model is large enough to use them
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## A prompt is a program
#
# The usual words: **zero-shot** is a prompt that only asks; **one-shot** shows one example first; **few-shot** shows
# several. It is often written that "usually 2 to 5" are shown. That number is no rule. GPT-3 was shown as many as
# its context could hold, typically 10 to 100 (Brown et al. 2020), and models with long contexts gain from hundreds
# (Agarwal et al. 2024). How many are needed depends on what has to be found out, and below you compute it.
#
# ## Exercise 1: a prompt from examples
#
# A good prompt is boring: all blocks look alike, and the last one stops where the label has to follow.

# %% nbgrader={"grade": false, "grade_id": "few_shot_prompt", "locked": false, "schema_version": 3, "solution": true, "task": false}
def few_shot_prompt(
    examples: list[tuple[str, str]], query: str, instruction: str = "",
    input_name: str = "Text", label_name: str = "Label",
) -> str:  # fmt: skip
    """A prompt that shows examples and then asks.

    examples: pairs (text, label), in the order in which they are shown; none makes it
    zero-shot. Each is a block of two lines, "{input_name}: {text}" and
    "{label_name}: {label}". Behind them comes a block for the query, whose second line ends
    with the colon: no space and no line break behind it. An instruction that is not empty is
    a block of its own, in front of all others. Between blocks stands one empty line.
    """
    ### BEGIN SOLUTION
    blocks = [instruction] if instruction else []
    blocks += [f"{input_name}: {text}\n{label_name}: {label}" for text, label in examples]
    blocks.append(f"{input_name}: {query}\n{label_name}:")
    return "\n\n".join(blocks)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "few_shot_prompt_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("few_shot_prompt", few_shot_prompt)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which list of blocks gives the prompt if you join it? What is in that list when there is no instruction?
# </details>
#
# Five small tasks, made by code. Two have labels that say what they mean. One asks for a rule of numbers. The last two
# are the first task again: with labels that mean nothing here, and with its two labels turned round.

# %% tags=["demo"]
QUESTIONS = device.at_most(16, least=4)
tasks = shots.tasks(device.seed(0), QUESTIONS)
rows = [(name, task, task.pool[0]) for name, task in tasks.items()]
plots.show_table([
    {"task": name, "labels": " / ".join(task.labels), "an example": " → ".join(example),
     "questions": len(task.asked)}
    for name, task, example in rows
])  # fmt: skip

# %% tags=["demo"]
def prompt_for(task, examples: list, query: str) -> str:
    """Your prompt, with the names that a task has for its lines."""
    return few_shot_prompt(examples, query, "", task.input_name, task.label_name)


mood = tasks["sentiment"]
query = mood.asked[0][0]
three = [prompt_for(mood, mood.pool[:n], query) for n in (0, 1, 3)]
drawings.three_prompts(three)

# %% [markdown]
# ## Exercise 2: the tokens of a label
#
# Which label does a model prefer? We compare the probabilities that it gives to each, so we need to know which tokens
# *are* the label. Two traps wait here. In most tokenizers the space belongs to the word behind it: `␣good` and `good`
# are different tokens, and behind a colon only the first is natural. And a tokenizer may cut a text in other places
# when more text follows.

# %% nbgrader={"grade": false, "grade_id": "with_label", "locked": false, "schema_version": 3, "solution": true, "task": false}
def with_label(prompt: str, label: str, encode) -> tuple[list[int], int]:
    """The token ids of a prompt and a label behind it, and how many of them are prompt.

    encode(text) gives a text's token ids, a list. Between prompt and label stands one space.
    The whole is encoded in one piece, as it would stand in a document. The prompt's part are
    the ids at its beginning that the prompt encoded alone has as well, up to the first that
    differs; all others are the label's.
    """
    ### BEGIN SOLUTION
    ids, alone = encode(f"{prompt} {label}"), encode(prompt)
    first = 0
    while first < len(alone) and ids[first] == alone[first]:
        first += 1
    return ids, first
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "with_label_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("with_label", with_label)

# %% [markdown]
# <details><summary><b>Hint 1</b>: what to encode</summary>
#
# Three texts could be encoded: the prompt, the label, and both as one. Which of them is what a model would read in a
# document? What does encoding the label alone lose?
# </details>
# <details><summary><b>Hint 2</b>: where the label begins</summary>
#
# If the tokenizer makes one token of a colon and the word behind it, whose is that token? Compare the two lists of
# ids from the left.
# </details>
#
# Now the real model. SmolLM2 has 135 million parameters and has read two trillion tokens (Allal et al. 2025). The first
# time, the next cell fetches it.

# %% tags=["demo"]
reader = shots.load_reader()
print(reader.note)
short = prompt_for(mood, [], query)
ids, first = with_label(short, "positive", reader.encode)
lost = reader.encode(short) + reader.encode("positive")
drawings.label_tokens(
    shots.pieces(reader, f"{short} positive"), first,
    shots.pieces(reader, short) + shots.pieces(reader, "positive"), ids == lost,
)  # fmt: skip

# %% [markdown]
# ## Exercise 3: what a model gives to labels
#
# The score of a label is $\log p(\text{label} \mid \text{prompt})$: the *sum* of the log-probabilities of its tokens,
# each given the prompt and the label's tokens before it. The sum and not the mean: only the sum is the
# log-probability of the label.

# %% nbgrader={"grade": false, "grade_id": "label_scores", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def label_scores(model, prompt: str, labels: list[str], encode) -> torch.Tensor:
    """log p(label | prompt) of each label, (labels,).

    The tokens of a label are those of exercise 2, and its score is the sum of their
    log-probabilities, each given everything before it. model(input_ids=...), with ids
    (rows, seq) on model.device, returns an object with .logits, (rows, seq, vocab); the
    logits at a place belong to the token that follows it. model takes an attention_mask
    (rows, seq) too. encode(text) gives a text's token ids. Prompts have two tokens at least.
    """
    ### BEGIN SOLUTION
    scores, read = [], {}  # read: what was computed before; labels often share their context
    for label in labels:
        ids, first = with_label(prompt, label, encode)
        context = tuple(ids[:-1])  # the last token need not be read: nothing follows it
        if context not in read:
            row = torch.tensor([context], device=model.device)  # (1, seq)
            read[context] = model(input_ids=row).logits[0].float().log_softmax(-1)
        targets = torch.tensor(ids[first:], device=model.device)
        scores.append(read[context][first - 1 :].gather(1, targets[:, None]).sum())
    return torch.stack(scores).cpu()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "label_scores_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("label_scores", label_scores)

# %% [markdown]
# <details><summary><b>Hint 1</b>: which logits</summary>
#
# If the label's tokens stand at the places `first`, `first + 1`, …: at which places are the logits that speak about
# them?
# </details>
# <details><summary><b>Hint 2</b>: speed</summary>
#
# One row for each label is right. It is faster to see that the last token of a row never has to be read. What do
# labels of one token each share then?
# </details>
#
# What each choice does to four labels behind one question:

# %% tags=["demo"]
ENDS = ("", ", in every way I can think of")
LABELS = [word + end for word in ("good", "bad") for end in ENDS]
scores = label_scores(reader.model, short, LABELS, reader.encode)
encoded = [with_label(short, x, reader.encode) for x in LABELS]
lengths = [len(ids) - first for ids, first in encoded]
rows = zip(LABELS, lengths, scores.tolist())
by_length = [{"label": x, "tokens": n, "sum": s, "mean": s / n} for x, n, s in rows]
plots.show_table(by_length, caption=query)
with_space = label_scores(reader.model, short, ["positive"], reader.encode).item()
ids = torch.tensor([lost], device=DEVICE)
with torch.no_grad():
    logps = reader.model(input_ids=ids).logits[0, -2].float().log_softmax(-1)
spaceless = logps[lost[-1]].item()
print(f"log p of ␣positive {with_space:.1f}, of positive without the space {spaceless:.1f}")

# %% [markdown]
# A longer label can only lose by the sum: each further token multiplies by a probability. That is a real preference
# of the model, and no error of yours. But it is a preference for *words*, and not for what they mean. By the mean a
# long label can win because its end is easy to guess. If labels differ in length, compare them with care: choose
# labels of about equal length, or calibrate (below). The lost space costs several nats: without it we would have
# measured how likely the model finds a strange way of writing.
#
# ### Accuracy, by the number of examples
#
# Each question gets examples of its own, drawn by chance, and the same prompt for all labels.
#
# **Predict.** The task *labels turned round* shows good reviews with the label negative and bad ones with positive.
# After 8 such examples: how often does the model answer as they do?
#
# - **a** Nearly always: eight examples are enough to see that the labels are turned.
# - **b** About half the time.
# - **c** Less often than by chance: it goes on calling good reviews positive.

# %% tags=["demo"]
predict("labels_turned", "")

# %% tags=["demo"]
SHOTS = (0, 1, 2, 4, 8)


def ask(task, examples: list, query: str) -> torch.Tensor:
    """The scores of a task's labels behind its prompt, (labels,)."""
    prompt = prompt_for(task, examples, query)
    return label_scores(reader.model, prompt, task.labels, reader.encode)


def answers(task, count: int, seed: int) -> list[dict]:
    """For each question whether the label with the highest score is right (1.0 or 0.0), and
    the probability that all labels have together, among everything that could follow."""
    rng, found = random.Random(seed), []
    for text, label in task.asked:
        scores = ask(task, shots.draw_examples(task, count, rng), text)
        right = float(task.labels[scores.argmax()] == label)
        found.append({"right": right, "labels": scores.exp().sum().item()})
    return found


asked = {name: {} for name in tasks}  # task → number of examples → what answers() found
for name in tqdm(tasks, desc="tasks"):
    asked[name] = {n: answers(tasks[name], n, device.seed(n)) for n in SHOTS}


def means(what: str) -> dict[str, dict[int, float]]:
    """Of what was found, the mean over the questions: task → number of examples → mean."""
    return {name: {n: sum(x[what] for x in some) / len(some) for n, some in found.items()}
            for name, found in asked.items()}  # fmt: skip


accuracy, mass = means("right"), means("labels")

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), sharey=True)
for ax, found in zip(axes, (accuracy, mass)):
    for (name, points), color in zip(found.items(), plots.CYCLE):
        ax.plot(range(len(SHOTS)), points.values(), "o-", color=color, label=name)
    ax.set_xticks(range(len(SHOTS)), SHOTS)
    ax.set(xlabel="examples in the prompt", ylim=(-0.03, 1.03))
axes[0].set_title("Right, among the labels")
axes[1].set_title("Probability of all labels together")
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
turned = accuracy["labels turned round"][8]
reveal("labels_turned", "a" if turned > 0.75 else "c" if turned < 0.4 else "b", turned=turned)

# %% [markdown]
# The right picture says what the examples give above all: the *form*. Without an example, little of the probability is
# on the labels at all. The model would rather write something else. With a few examples nearly all of it is. In the
# left picture we choose among the labels ourselves, and where their names fit what the model knows, it needs no
# example for that. What is odd and what is even it does not find out, with any number of examples. Where the names
# mean nothing or are turned round, the mapping has to come from the prompt alone. The examples do pull the answers
# towards what they show, but with turned labels this model stays far behind what it does with plain ones. Min et al.
# 2022 found that for many tasks wrong labels in the examples hurt little. Wei et al. 2023 found that large models
# follow turned labels, and small ones hardly.
#
# ## Exercise 4: how sure is a difference
#
# Two ways to ask, the same questions. Hard questions are hard for both, so the two accuracies rise and fall together.
# An interval for their *difference* has to use that: it draws **questions**, and takes for each question the answers
# of both ways. A question may be answered in several runs (other examples, another order). These runs are not new
# questions: they come along with theirs.

# %% nbgrader={"grade": false, "grade_id": "paired_differences", "locked": false, "schema_version": 3, "solution": true, "task": false}
def paired_differences(
    first: torch.Tensor, second: torch.Tensor, draws: int, generator: torch.Generator
) -> torch.Tensor:
    """Differences between two accuracies on questions drawn anew, (draws,).

    first: (questions, runs) and second: (questions, other runs), 1.0 where a way to ask was
    right in that run and 0.0 where not. A draw takes as many questions as there are, by
    chance and with replacement. A question that is drawn brings all its runs, in first and
    in second. The difference is the accuracy of second minus that of first. All that is
    random comes from the generator.
    """
    ### BEGIN SOLUTION
    better = second.mean(1) - first.mean(1)  # (questions,)
    drawn = torch.randint(len(better), (draws, len(better)), generator=generator)
    return better[drawn].mean(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "paired_differences_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("paired_differences", paired_differences)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What is drawn, and how often in one draw? Can you first write down one number for each question, and then only draw
# among those?
# </details>
#
# The interval holds the middle 95 % of the drawn differences. Does one example more than none help, and do eight help
# more than one?

# %% tags=["demo"]
def interval(first: list, second: list) -> tuple[float, float, float]:
    """The measured difference, and the middle 95 % of those that your function draws."""
    first, second = torch.tensor(first), torch.tensor(second)
    generator = torch.Generator().manual_seed(device.seed(4))
    found = paired_differences(first, second, 4000, generator)
    low, high = torch.quantile(found, torch.tensor([0.025, 0.975])).tolist()
    return (second.mean() - first.mean()).item(), low, high


compared = {}
for name, found in asked.items():
    column = {n: [[x["right"]] for x in some] for n, some in found.items()}
    compared[name] = {(a, b): interval(column[a], column[b]) for a, b in ((0, 1), (1, 8))}
plots.show_table([
    {"task": name} | {f"{b} instead of {a}": "{:+.2f} [{:+.2f}, {:+.2f}]".format(*found)
                      for (a, b), found in pairs.items()}
    for name, pairs in compared.items()
])  # fmt: skip
widths = [high - low for pairs in compared.values() for _, low, high in pairs.values()]
print(f"{QUESTIONS} questions: the widest interval is {max(widths):.2f} wide.")

# %% [markdown]
# Look at how wide they are. With so few questions a difference of ten points is often no finding at all. Papers about
# prompts that test on a hundred questions have intervals of up to some twenty points.
#
# ## Exercise 5: calibration
#
# A model may like a label because it is a common word, because most examples have it, or because it stood last. Zhao
# et al. 2021 measure that liking: they ask about a text without content, such as "N/A", behind the same examples. The
# probabilities that come, $p_\text{neutral}$, should be equal. They divide by them:
#
# $$ \hat p(y) \propto \frac{p(y)}{p_\text{neutral}(y)}. $$

# %% nbgrader={"grade": false, "grade_id": "calibrated", "locked": false, "schema_version": 3, "solution": true, "task": false}
def calibrated(scores: torch.Tensor, neutral_scores: torch.Tensor) -> torch.Tensor:
    """Calibrated probabilities of the labels, (questions, labels).

    scores: (questions, labels), log p(label | prompt) for each question. neutral_scores:
    (texts, labels), the same for some texts without content behind the same examples. The
    scores of one prompt are of a few labels among all texts that could follow, so both are
    first made probabilities among the labels, prompt by prompt. p_neutral is the mean of
    those probabilities over the texts. Each question's probabilities are divided by it, and
    sum to 1 again. Scores may be as small as -1000.
    """
    ### BEGIN SOLUTION
    neutral = neutral_scores.softmax(-1).mean(0)  # (labels,)
    return (scores.log_softmax(-1) - neutral.log()).softmax(-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "calibrated_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("calibrated", calibrated)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which function makes probabilities of the scores of one prompt? Over which axis is the mean of the neutral texts?
# Division of probabilities: what is it in logarithms?
# </details>
#
# The same four examples in several orders, with both labels twice. Nothing is different but the order.

# %% tags=["demo"]
ORDERS, NEUTRAL = device.at_most(6, least=2), ("N/A", "", "[MASK]")
HARD = tasks["labels without meaning"]
rng = random.Random(device.seed(6))
four = shots.draw_examples(HARD, 4, rng)
orders = [rng.sample(four, 4) for _ in range(ORDERS)]
texts = [text for text, _ in HARD.asked]
truth = torch.tensor([HARD.labels.index(label) for _, label in HARD.asked])
plain, fair, liking = [], [], {"as it is": [], "calibrated": []}
for order in tqdm(orders, desc="orders"):
    scores = torch.stack([ask(HARD, order, text) for text in texts])
    neutral = torch.stack([ask(HARD, order, text) for text in NEUTRAL])
    said = scores.argmax(1), calibrated(scores, neutral).argmax(1)
    plain.append((said[0] == truth).float())
    fair.append((said[1] == truth).float())
    for name, labels in zip(liking, said):
        liking[name].append((labels == 0).float().mean().item())
plain, fair = torch.stack(plain, 1), torch.stack(fair, 1)  # (questions, orders)

# %% tags=["demo"]
by_order = {"as it is": plain.mean(0).tolist(), "calibrated": fair.mean(0).tolist()}
says = f"says {HARD.labels[0]}"
plots.show_table([
    {"labels in their order": " ".join(y for _, y in order), says: p, "right": a,
     f"{says}, calibrated": q, "right, calibrated": b}
    for order, p, q, a, b in zip(orders, *liking.values(), *by_order.values())
], caption=HARD.name)  # fmt: skip
spread = {name: max(found) - min(found) for name, found in by_order.items()}
uneven = {name: sum(abs(x - 0.5) for x in found) / len(found) for name, found in liking.items()}
gain = interval(plain.tolist(), fair.tolist())
print("Right answers, best order minus worst:", {n: round(x, 2) for n, x in spread.items()})
print("How far a label's share is from one half:", {n: round(x, 2) for n, x in uneven.items()})
print("Calibrated minus as it is: {:+.2f} [{:+.2f}, {:+.2f}]".format(*gain))

# %% [markdown]
# Half of the questions want each label. How often the model says one of them depends on the order of the examples, and
# often it says one label nearly always. The last numbers tell how much of that calibration takes away in your run. What
# it cannot do is give the model what it does not know: here the labels mean nothing, and to say both equally often is
# not yet to be right.
#
# Try prompts of your own: which examples move the bars?

# %% tags=["demo"]
def scores_of(prompt: str) -> torch.Tensor:
    """The scores of the two labels of the sentiment task."""
    return label_scores(reader.model, prompt, mood.labels, reader.encode)


widgets.prompt_explorer(mood, few_shot_prompt, scores_of)

# %% [markdown]
# ## What is being done?
#
# In the real model we do not know what could be done at best. So we make a world in which we do. There are 8 **hidden
# tables**. A table gives each of 16 inputs one of 8 labels. A row of text is made so: one table is chosen, and then
# pairs are written, an input by chance and the label that the table gives it. With 5 % chance the label is noise.
# Nobody says which table it is. A row is a few-shot prompt: the pairs are the examples.

# %% tags=["demo"]
torch.set_num_threads(1)  # the models from here on are small and gain nothing from more
known = tables.known_tables(device.seed(0))  # (tables, inputs)
generator = torch.Generator().manual_seed(device.seed(1))
row = tables.draw(known, 1, 6, generator)
drawings.row_of_pairs(row.xs[0].tolist(), row.ys[0].tolist(), known[row.which[0]].tolist())

# %% [markdown]
# ## Exercise 6: which table is it
#
# Somebody who knows all tables can say exactly what to believe. Before any pair, each table $z$ has its prior
# probability. A pair that a table agrees with makes the table likelier, a pair that it does not agree with makes it
# less likely (Bayes). The prediction is the mean over the tables, weighted by the belief in each:
#
# $$ p(z \mid \text{pairs}) \propto p(z) \prod_j p(y_j \mid x_j, z), \qquad
# p(y \mid x, \text{pairs}) = \sum_z p(z \mid \text{pairs})\, p(y \mid x, z). $$

# %% nbgrader={"grade": false, "grade_id": "bayes_predictions", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bayes_predictions(
    xs: torch.Tensor, ys: torch.Tensor, tables: torch.Tensor, labels: int, noise: float,
    prior: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """What to believe and what to predict at each pair, from the pairs before it in the row.

    xs, ys: (rows, pairs), inputs and labels from 0 on. tables: (tables, inputs), the label
    that each gives to each input. All pairs of a row come from one table. A label is the
    table's with the chance 1 - noise; else it is drawn from all labels alike, the table's
    too. labels: how many there are. prior: (tables,), the chances of the tables; all alike
    where it is not given. noise may be 0, and a row may have hundreds of pairs.
    Returns the beliefs, (rows, pairs, tables), and the predictions, (rows, pairs, labels):
    probabilities at pair i that depend on the pairs before i, and the predictions also on the
    input x_i, but not on y_i.
    """
    ### BEGIN SOLUTION
    prior = torch.full((len(tables),), 1 / len(tables)) if prior is None else prior
    right, wrong = torch.tensor([1 - noise + noise / labels, noise / labels]).log()
    logps = torch.where(tables[:, xs] == ys, right, wrong)  # (tables, rows, pairs)
    before = F.pad(logps[..., :-1].cumsum(-1), (1, 0))  # of the pairs before this one
    beliefs = (before + prior.log()[:, None, None]).softmax(0)
    says = F.one_hot(tables[:, xs], labels).float()  # (tables, rows, pairs, labels)
    mixed = torch.einsum("zrp,zrpl->rpl", beliefs, says)
    return beliefs.permute(1, 2, 0), (1 - noise) * mixed + noise / labels
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bayes_predictions_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("bayes_predictions", bayes_predictions)

# %% [markdown]
# <details><summary><b>Hint 1</b>: one pair</summary>
#
# How probable is the label of a table if noise can give it too? And another label? In logarithms, what does a row of
# pairs do to a table?
# </details>
# <details><summary><b>Hint 2</b>: only what stands before</summary>
#
# `cumsum` at place i holds pair i itself. How do you move it by one place, and what stands at the first place?
# </details>
#
# Your beliefs along one row:

# %% tags=["demo"]
beliefs, predictions = bayes_predictions(row.xs, row.ys, known, tables.LABELS, tables.NOISE)
given = row.xs[0].tolist(), row.ys[0].tolist(), beliefs[0].tolist()
drawings.beliefs(*given, row.which[0].item())

# %% [markdown]
# ### How many examples are needed?
#
# **Predict.** With 8 tables, exact inference needs some examples until it is nearly as good as if it knew the table
# (within 5 points). There are now 64 tables, all of them known. How many examples does it need?
#
# - **a** Eight times as many.
# - **b** A few more, but less than twice as many.
# - **c** About two to four times as many.

# %% tags=["demo"]
predict("more_tables", "")

# %% tags=["demo"]
LONG = 17
CEILING = 1 - tables.NOISE + tables.NOISE / tables.LABELS


def exact_accuracy(count: int, noise: float = tables.NOISE) -> list[float]:
    """How often exact inference is right, by the number of pairs before; `count` tables."""
    some = tables.known_tables(device.seed(20 + count), count)
    generator = torch.Generator().manual_seed(device.seed(2))
    rows = tables.draw(some, device.at_most(2000, least=200), LONG, generator, noise)
    _, found = bayes_predictions(rows.xs, rows.ys, some, tables.LABELS, noise)
    return (found.argmax(-1) == rows.ys).float().mean(0).tolist()


exact = {count: exact_accuracy(count) for count in (2, 8, 64, 512)}
needed = {count: next((n for n, a in enumerate(found) if a > CEILING - 0.05), LONG)
          for count, found in exact.items()}  # fmt: skip
fig, ax = plt.subplots(figsize=(7, 3))
for (count, found), color in zip(exact.items(), plots.CYCLE):
    ax.plot(found, "o-", color=color, markersize=3, label=f"{count} tables")
ax.axhline(CEILING, color=plots.GREY, linestyle="--", linewidth=1)
ax.set(xlabel="examples before", title="Exact inference (dashed: the table known)")
ax.legend()
plt.show()
ratio = needed[64] / max(1, needed[8])
reveal("more_tables", "a" if ratio > 5 else "b" if ratio < 2 else "c", needed=needed)

# %% [markdown]
# An example rules out most of the tables that are left, so the number of examples grows like the *logarithm* of the
# number of tasks it has to be told from. "Two to five" is what it takes to pick one of some dozens of tasks that are
# known. Noise, examples that look alike, and tasks that nobody knows need more.
#
# ## Exercise 7: a table that nobody knows
#
# Now a row comes from a table that was made for it alone: each input got a label by chance, all labels alike and each
# input for itself. Then there is nothing to recognise. What can still be predicted? The docstring says what holds. The
# way is yours.

# %% nbgrader={"grade": false, "grade_id": "new_table_predictions", "locked": false, "schema_version": 3, "solution": true, "task": false}
def new_table_predictions(
    xs: torch.Tensor, ys: torch.Tensor, labels: int, noise: float
) -> torch.Tensor:
    """The exact predictions at each pair of rows from new tables, (rows, pairs, labels).

    xs, ys: (rows, pairs), inputs and labels from 0 on. Each row has a table of its own, in
    which every input got one of the labels by chance, all alike, independently. A label in
    the row is the table's with the chance 1 - noise, else drawn from all labels alike, the
    table's too. The probabilities at pair i are those given x_i and all pairs before i.
    noise may be 0, and an input may come hundreds of times.
    """
    ### BEGIN SOLUTION
    right, wrong = torch.tensor([1 - noise + noise / labels, noise / labels]).log()
    logps = torch.where(F.one_hot(ys, labels) == 1, right, wrong)  # (rows, pairs, labels)
    same = (xs[:, :, None] == xs[:, None, :]).tril(-1)  # (rows, i, j): j < i, equal inputs
    evidence = torch.where(same[..., None], logps[:, None], 0.0).sum(2)
    return (1 - noise) * evidence.softmax(-1) + noise / labels
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "new_table_predictions_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("new_table_predictions", new_table_predictions)

# %% [markdown]
# <details><summary><b>Hint 1</b></summary>
#
# The labels of different inputs have nothing to do with each other. Which of the pairs before i say anything about
# the label of x_i?
# </details>
# <details><summary><b>Hint 2</b></summary>
#
# For one input, "which label does the table give it" is a question with as many answers as there are labels. You have
# answered such a question in exercise 6: there the candidates were tables.
# </details>
#
# ## Exercise 8: the training loop
#
# Now a model that is told nothing of tables. It reads rows, $x_1\,y_1\,x_2\,y_2 \dots$ as tokens, and learns to
# predict the labels. It is an ordinary language model, with two layers.

# %% nbgrader={"grade": false, "grade_id": "train_in_context", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_in_context(
    model, optimizer, draw, updates: int, lr_at, max_norm: float = 1.0
) -> list[float]:
    """Train a model to predict the labels of rows x1 y1 x2 y2 …; returns each update's loss.

    draw() gives new rows: token ids, (rows, 2 * pairs), inputs and labels in turn. An update
    draws once. Its loss is the mean of -log p over all labels of its rows, each given
    everything before it in the row; inputs are not learned from. model(ids).logits is
    (rows, 2 * pairs, vocab). Update s, counted from 0, works with the learning rate lr_at(s)
    in every parameter group, and with the gradient's norm clipped to max_norm. The losses are
    plain numbers, before the weights change.
    """
    ### BEGIN SOLUTION
    losses = []
    for step in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        ids = draw()
        logits = model(ids).logits[:, 0::2]  # at each input: (rows, pairs, vocab)
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1::2].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_in_context_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("train_in_context", train_in_context)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# At which places stand the tokens whose logits predict a label? At which places the labels themselves?
# </details>
#
# Three models with different seeds, and beside them exact inference. No weight changes while a model reads: the
# fingerprint is a hash of all its weights, before and after all predictions below.

# %% tags=["demo"]
SEEDS = [device.seed(n) for n in range(device.at_most(3))]
PAIRS = 13  # of a row in training: 0 to 12 examples


def trained(seed: int, draw, updates: int, rate: float):
    """A new model, trained on the rows that draw(generator) gives; and its losses."""
    generator = torch.Generator().manual_seed(seed + 50)
    model = tables.new_model(seed).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    lr_at = lambda s: rate * min(1, (s + 1) / 30, 0.05 + 2 * (1 - s / updates))  # noqa: E731
    rows = lambda: tables.tokens(*draw(generator)[:2]).to(DEVICE)  # noqa: E731
    losses = train_in_context(model, optimizer, rows, updates, lr_at)
    return model.eval(), losses


STEPS = device.at_most(600, least=4)
from_known = lambda g: tables.draw(known, 64, PAIRS, g)  # noqa: E731
recognisers = [trained(s, from_known, STEPS, 4e-3)[0] for s in tqdm(SEEDS, desc="known tables")]
print(f"{sum(p.numel() for p in recognisers[0].parameters()):,} parameters")

# %% tags=["demo"]
before = [tables.fingerprint(model) for model in recognisers]
generator = torch.Generator().manual_seed(device.seed(3))
test = tables.draw(known, device.at_most(2000, least=100), PAIRS, generator)
_, bayes = bayes_predictions(test.xs, test.ys, known, tables.LABELS, tables.NOISE)


def shares_right(probs: torch.Tensor, rows) -> list[float]:
    """How often the likeliest label is the one that came, by the number of examples before."""
    return (probs.argmax(-1) == rows.ys).float().mean(0).tolist()


found = [tables.predictions(model, test.xs, test.ys) for model in recognisers]
by_shots = {"exact": shares_right(bayes, test)}
by_shots["models"] = [shares_right(p, test) for p in found]
gaps = [abs(median(column) - a) for *column, a in zip(*by_shots["models"], by_shots["exact"])]
distance = [F.kl_div(p.clamp(min=1e-9).log(), bayes, reduction="none").sum(-1).mean().item()
            for p in found]  # fmt: skip
after = [tables.fingerprint(model) for model in recognisers]

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(7, 3))
points = [[{"right": a} for a in run] for run in by_shots["models"]]
plots.band(ax, points, "right", plots.BLUE, "models (median, lowest, highest)")
ax.plot(by_shots["exact"], "--", color=plots.ORANGE, label="exact inference")
ax.set(xlabel="examples before", title="Rows of the known tables: right answers", ylim=(0, 1))
ax.legend(loc="lower right")
plt.show()
print(f"Largest gap of the median to exact inference: {max(gaps):.3f}")
print("KL of the predictions from exact inference, nats:", [round(d, 3) for d in distance])
print("Fingerprints:", before[0], "before,", after[0], "after; equal:", before == after)

# %% [markdown]
# The model has never heard of Bayes. It has only learned to predict. But the best prediction *is* the mean over the
# tables weighted by the belief in each, and so a model that predicts well has to compute something that comes to the
# same (Xie et al. 2022 describe in-context learning so). Everything that looks like learning at the time of reading is
# inference, done by fixed weights.
#
# ### Recognised, or learned?
#
# **Predict.** Now rows from new tables, which no training row came from. What do these models do with an input that
# *has stood in the row already*, with its label beside it?
#
# - **a** Nearly always right: the answer stands there, one only has to look.
# - **b** Better than chance, but far from what can be known.
# - **c** About as often right as by chance.

# %% tags=["demo"]
predict("new_tables", "")

# %% tags=["demo"]
FEW = 3  # different inputs of a row of new tables, so that they come again soon


def again(rows) -> torch.Tensor:
    """Which pairs have an input that stood in their row before, (rows, pairs)."""
    return (rows.xs[:, :, None] == rows.xs[:, None, :]).tril(-1).any(-1)


def right_again(model, rows) -> float:
    """How often a model is right where the input has stood in the row before."""
    found = tables.predictions(model, rows.xs, rows.ys).argmax(-1) == rows.ys
    return found[again(rows)].float().mean().item()


generator = torch.Generator().manual_seed(device.seed(5))
fresh = tables.draw_new(device.at_most(1000, least=100), 12, generator, inputs=FEW)
best = new_table_predictions(fresh.xs, fresh.ys, tables.LABELS, tables.NOISE)
possible = (best.argmax(-1) == fresh.ys)[again(fresh)].float().mean().item()
recognised = [right_again(model, fresh) for model in recognisers]
chance = 1 / tables.LABELS
middle = median(recognised)
came = "a" if middle > 0.9 * possible else "c" if middle < chance + 0.06 else "b"
reveal("new_tables", came, middle=middle, possible=possible, chance=chance)

# %% [markdown]
# These models have learned to *recognise* a task among those that they know. A new task is something else: it has to
# be learned from the row alone. That can be learned too, if training needs it. We train again, with a new table for
# every row. Then knowing tables is of no use, and looking back is.

# %% tags=["demo"]
STEPS_NEW = device.at_most(800, least=4)
from_new = lambda g: tables.draw_new(64, 12, g, inputs=FEW)  # noqa: E731
learners = [trained(s, from_new, STEPS_NEW, 6e-3)[0] for s in tqdm(SEEDS, desc="new tables")]
learned = [right_again(model, fresh) for model in learners]
old = tables.draw(known, device.at_most(1000, least=100), 12, generator)
table = {"trained on known tables": recognisers, "trained on new tables": learners}
kinds = [{"model": name, "first time, known table": median(
              shares_right(tables.predictions(m, old.xs, old.ys), old)[4] for m in models),
          "again, new table": median(right_again(m, fresh) for m in models)}
         for name, models in table.items()]  # fmt: skip
plots.show_table(kinds, caption=f"right answers (at best {possible:.2f} in the last column)")

# %% [markdown]
# ## Exercise 9: heads that look back
#
# How can a model find the label of an input that stood in the row before? One known way is an **induction head**
# (Olsson et al. 2022): at an input it looks at what stood *behind the same input* earlier, and copies it. Attention
# shows whether a head looks there.

# %% nbgrader={"grade": false, "grade_id": "induction_scores", "locked": false, "schema_version": 3, "solution": true, "task": false}
def induction_scores(attentions: torch.Tensor, xs: torch.Tensor) -> torch.Tensor:
    """How much each head looks at the labels that its input had before, (layers, heads).

    attentions: (layers, rows, heads, 2 * pairs, 2 * pairs), from each place (the axis before
    the last) to each place (the last axis); every row of numbers sums to 1. xs: (rows, pairs):
    in the row, the input of pair i stands at the place 2i and its label at 2i + 1. For an
    input that stood in its row before, add up the attention from its place to the labels of
    all earlier pairs with that same input. A head's score is the mean over all such inputs of
    all rows; there is at least one.
    """
    ### BEGIN SOLUTION
    same = (xs[:, :, None] == xs[:, None, :]).tril(-1)  # (rows, i, j): j < i, equal inputs
    to_labels = attentions[..., 0::2, 1::2]  # (layers, rows, heads, i, j)
    found = (to_labels * same[:, None]).sum((1, 3, 4))  # (layers, heads)
    return found / same.any(-1).sum()  # how many inputs stood in their row before
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "induction_scores_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("induction_scores", induction_scores)

# %% [markdown]
# <details><summary><b>Hint 1</b>: which part of the attention</summary>
#
# From inputs to labels: which rows and which columns of the attention are these, with a step of 2?
# </details>
# <details><summary><b>Hint 2</b>: which pairs</summary>
#
# Make a table (rows, i, j) that is true where pair j stands before pair i and has the same input. What is its sum
# over j good for, and what is `any`?
# </details>
#
# We look for such heads in the real model. It reads pairs of random words that have nothing to do with each other,
# and then the same pairs in another order: new tables, in words. Below the map of all its heads: where the strongest
# of them looks, on a row of only four pairs.

# %% tags=["demo"]
torch.set_num_threads(device.threads())
PAIRED, ROWS = 8, device.at_most(12, least=2)
generator = torch.Generator().manual_seed(device.seed(7))
ids, xs = shots.word_rows(reader, ROWS, PAIRED, generator)
scores = induction_scores(heads.attentions(reader.model, ids), xs)  # (layers, heads)
fig, ax = plt.subplots(figsize=(8, 2.6))
picture = ax.imshow(scores.T, vmin=0, vmax=1, cmap="viridis", aspect="auto")
ax.set(xlabel="layer", ylabel="head", title="Induction scores of the real model")
ax.grid(False)
fig.colorbar(picture, label="score")
plt.show()
layer, head = divmod(scores.argmax().item(), scores.shape[1])
few_ids, few_xs = shots.word_rows(reader, 1, 4, generator)
weights = heads.attentions(reader.model, few_ids)[layer, 0, head]
pairs = few_xs[0].tolist()
drawings.looking_back(pairs, pairs, weights.tolist(), f"layer {layer}, head {head}")

# %% [markdown]
# **Predict.** We switch off the heads whose score is at least half of the strongest. As a comparison, we switch off as
# many others, drawn by chance, three times. When a pair comes again: how often is the right second word the likeliest of the eight
# second words of the row?
#
# - **a** Without the heads that look back hardly more often than by chance. Without the others as often as before.
# - **b** Both times somewhat less often: such work is shared by many heads.
# - **c** Both times as often as before: so few heads of so many are not missed.

# %% tags=["demo"]
predict("heads_off", "")

# %% tags=["demo"]
@torch.no_grad()
def copied(model) -> float:
    """How often the right second word is the row's likeliest one, where a pair comes again."""
    logits = model(input_ids=ids.to(DEVICE)).logits[:, 2 * PAIRED :: 2].float().cpu()
    words = ids[:, 1 : 2 * PAIRED : 2]  # (rows, words): the second words, when they come first
    among = logits.gather(2, words[:, None].expand(-1, PAIRED, -1))
    said = words.gather(1, among.argmax(-1))
    return (said == ids[:, 2 * PAIRED + 1 :: 2]).float().mean().item()


def without(some: list[tuple[int, int]]) -> float:
    """What copied() gives while some heads, (layer, head), are switched off."""
    with heads.switched_off(reader.model, some):
        return copied(reader.model)


# %% tags=["demo"]
luck = random.Random(device.seed(8))
places = [divmod(i, scores.shape[1]) for i in range(scores.numel())]  # (layer, head)
strong = [place for place in places if scores[place] >= scores.max() / 2]
rest = [place for place in places if place not in strong]
count = min(len(strong), len(rest))
by_chance = [without(luck.sample(rest, count)) for _ in range(device.at_most(3))]
off = {"all": copied(reader.model), "without those that look back": without(strong),
       "without as many others (median)": median(by_chance)}  # fmt: skip
plots.show_table([{"heads": name, "right": x} for name, x in off.items()])
whole, blind, weak = off.values()
came = "c" if whole - blind < 0.1 else "b" if whole - weak > (whole - blind) / 2 else "a"
reveal("heads_off", came, whole=whole, blind=blind, weak=weak, count=len(strong),
       of=len(places), chance=1 / PAIRED)  # fmt: skip

# %% [markdown]
# A few heads carry much of this copying, and the rest of the model cannot stand in for them. Have our small models such
# heads, too? Their scores alone do not tell: a head that looks at all earlier labels alike, whatever their input, also
# gets a score. So we ask of each head: of the attention that it gives to *labels*, which share goes to those of the
# same input? Where that is more than nine tenths, we say that the head looks back, and switch it off.

# %% tags=["demo"]
few = tables.Rows(*(x[:200] for x in fresh))


def looking_back(model) -> list[tuple[int, int]]:
    """The heads, (layer, head), that look at labels of the same input and hardly at others."""
    seen = heads.attentions(model, tables.tokens(few.xs, few.ys))
    repeated = again(few)[:, None, :, None]
    to_labels = (seen[..., 0::2, 1::2] * repeated).sum((1, 3, 4)) / repeated.sum()
    share = induction_scores(seen, few.xs) / to_labels
    return [tuple(place) for place in (share > 0.9).nonzero().tolist()]


places = [(layer, head) for layer in range(2) for head in range(4)]  # of a small model
small = {}  # what it was trained on → for each model: how many look back, and what is right
for name, models in table.items():
    small[name] = []
    for model in models:
        some = looking_back(model)
        rest = [place for place in places if place not in some]
        others = luck.sample(rest, min(len(some), len(rest)))
        right = []
        for switched_off in ([], some, others):
            with heads.switched_off(model, switched_off):
                right.append(right_again(model, few))
        small[name].append([len(some), *right])
plots.show_table([
    {"model": name, "heads that look back": f"{n} of {len(places)}", "right": whole_,
     "without them": blind_, "without as many others": weak_}
    for name, found in small.items() for n, whole_, blind_, weak_ in found
])  # fmt: skip

# %% [markdown]
# Of the models that needed to look back in training, most have heads for it, and without these they are right far less
# often. Where a row says 0 of 8, no single head passes nine tenths, and yet the model may be right: what a head does cannot
# simply be read off such a table. Heads work together, and what one of them finds may be of use only with another.
#
# ## Exercise 10: rows alone (open)
#
# The models above were not told the tables either: they found them in the rows. Now you do that, by hand. You get rows
# of pairs, and nothing else: not the tables, not their number, not the noise. Predict the last label of new rows.
#
# Nobody tells you how. What is measured is the mean distance of your predictions, in nats, from those of somebody who
# knows the tables: KL(exact ‖ yours). There are four bars: 0.80, 0.40, 0.15 and 0.06.

# %% nbgrader={"grade": false, "grade_id": "predict_from_rows", "locked": false, "schema_version": 3, "solution": true, "task": false}
def predict_from_rows(
    train_xs: torch.Tensor, train_ys: torch.Tensor, xs: torch.Tensor, ys: torch.Tensor,
    labels: int, generator: torch.Generator,
) -> torch.Tensor:  # fmt: skip
    """Probabilities of the label of each new row's last input, (new rows, labels).

    train_xs, train_ys: (rows, pairs), inputs and labels from 0 on, of rows to learn from. xs:
    (new rows, n + 1) and ys: (new rows, n): each new row has n examples and one input more,
    whose label is asked for. All pairs of a row come from one table, which is one of a few
    (at most ten, equally frequent) that nobody has seen. A table gives each input one label.
    Now and then a label is noise: any label, all alike. All that is random comes from the
    generator. A row of the result sums to 1.
    """
    ### BEGIN SOLUTION
    # Expectation maximisation: guess tables, ask which row is from which, count, and again.
    inputs, kinds = int(max(train_xs.max(), xs.max())) + 1, 10
    cells = F.one_hot(train_xs * labels + train_ys, inputs * labels).sum(1).float()
    best, best_logp = None, -torch.inf
    for _ in range(12):
        table = torch.rand(kinds, inputs * labels, generator=generator) + 1.0
        for _ in range(40):
            chances = table.view(kinds, inputs, labels) + 0.1
            chances = (chances / chances.sum(-1, keepdim=True)).view(kinds, -1)
            logps = cells @ chances.log().T  # (rows, kinds)
            table = logps.softmax(1).T @ cells  # counts, shared out by belief
        if logps.logsumexp(1).sum() > best_logp:
            best, best_logp = table.view(kinds, inputs, labels), logps.logsumexp(1).sum()
    # A table gives one label: what else was counted is noise, the same everywhere.
    share = best.sum((1, 2)) / best.sum()
    noise = (1 - best.amax(-1).sum() / best.sum()) * labels / (labels - 1)
    found = best.argmax(-1)  # (kinds, inputs)
    agrees = found[:, xs[:, :-1]] == ys  # (kinds, new rows, n)
    right, wrong = torch.stack([1 - noise + noise / labels, noise / labels]).log()
    belief = (torch.where(agrees, right, wrong).sum(-1) + share.log()[:, None]).softmax(0)
    says = F.one_hot(found[:, xs[:, -1]], labels).float()  # (kinds, new rows, labels)
    return (1 - noise) * torch.einsum("kr,krl->rl", belief, says) + noise / labels
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "predict_from_rows_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("predict_from_rows", predict_from_rows)

# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - Which of the rows you have read look as if they came from the same table as the new one?
# - If you knew for each row which table it is from, how would you find the tables? And if you knew the tables, how would
#   you find which row is from which?
# - A table gives one label to an input. What is all the rest that you count?
# </details>
#
# ## What you measured

# %% tags=["demo"]
fewest, most = SHOTS[0], SHOTS[-1]
lines = [f"- {name}: {found[fewest]:.0%} right with none, {found[most]:.0%} with {most}; "
         f"all labels together get {mass[name][fewest]:.0%} and {mass[name][most]:.0%}."
         for name, found in accuracy.items()]  # fmt: skip
print("In this run, with the real model:" if reader.real else "In this run, with a stand-in:")
print("\n".join(lines))
print(f"""\
- With {QUESTIONS} questions, the intervals of a difference are up to {max(widths):.2f} wide.
- The same four examples in other orders: accuracies {spread["as it is"]:.2f} apart, and
  {spread["calibrated"]:.2f} calibrated.
In the world of tables (medians of {len(SEEDS)} models):
- Exact inference needs {needed[8]} examples to tell 8 tables apart, {needed[64]} for 64 and
  {needed[512]} for 512.
- The models are within {max(gaps):.3f} of exact inference at every number of examples, and not
  one weight changed.
- On new tables they are right in {middle:.0%} at inputs that they have just seen
  (chance {chance:.0%}, possible {possible:.0%}). Trained on new tables: {median(learned):.0%}.
- In the real model {len(strong)} of {scores.numel()} heads look back. It copies {whole:.0%} of
  the words rightly, without these heads {blind:.0%}, without as many others {weak:.0%}.""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. A prompt with ten examples works, and no weight has changed. Where is what was learned?</summary>
#
# In the activations: in what the layers compute from this prompt. When the next prompt comes, it is gone. Fine-tuning
# puts it into the weights, where it stays, for every prompt.
# </details>
# <details><summary>2. A model is at 95 % with four examples. Has it learned the task from them?</summary>
#
# One cannot tell from that number. Give it labels that mean nothing, or turn them round. If it still follows, it has
# learned a mapping from the prompt. If not, it has recognised a task that it knew.
# </details>
# <details><summary>3. Why do the models of the known tables not look back, although that would help on new tables?</summary>
#
# In their training it was never needed: who knows the table knows the label, also of an input that has not come yet.
# What training does not ask for is not learned.
# </details>
# <details><summary>4. A paper tests a prompt on 100 questions and finds 3 points more. What do you want to see?</summary>
#
# A paired interval over the questions, and other sets and orders of examples. Three points of 100 are three questions.
# </details>
# <details><summary>5. A label of one token competes with a label of three. Is the sum unfair?</summary>
#
# The sum is the probability of that text. If you want to know which *meaning* the model prefers, that is another
# question, and none of sum and mean answers it. Choose labels of like length, or divide by what the label gets behind
# a neutral text.
# </details>
#
# ## What was not shown
#
# The real model is small, and our tasks are a few dozen made-up questions. Larger models follow arbitrary and turned
# labels better; the same cells run with them (set COURSE_MODEL). A chat model was asked without its chat template. In
# our world the task is one of a list or entirely new. Between the two lies most of what language models meet: tasks
# that are put together from known parts. Whether a real model computes anything like exact inference is an open
# question; here it does because we chose a world in which that is the best prediction. And examples were drawn by
# chance, while choosing them well can help much.
#
# **To read**: Brown et al. 2020, *Language models are few-shot learners* (arXiv:2005.14165); Zhao et al. 2021, *Calibrate
# before use* (arXiv:2102.09690); Lu et al. 2022, *Fantastically ordered prompts* (arXiv:2104.08786); Min et al. 2022,
# *Rethinking the role of demonstrations* (arXiv:2202.12837); Xie et al. 2022, *An explanation of in-context learning as
# implicit Bayesian inference* (arXiv:2111.02080); Olsson et al. 2022, *In-context learning and induction heads*
# (arXiv:2209.11895); Chan et al. 2022, *Data distributional properties drive emergent in-context learning in
# transformers* (arXiv:2205.05055); Wei et al. 2023, *Larger language models do in-context learning differently*
# (arXiv:2303.03846); Pan et al. 2023, on recognising and learning tasks (arXiv:2305.09731); Agarwal et al. 2024,
# *Many-shot in-context learning* (arXiv:2404.11018).

# %%
progress("08_icl")
