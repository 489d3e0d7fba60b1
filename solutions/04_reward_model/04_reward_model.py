# %% [markdown]
# # 4 · Reward models
#
# Nobody can say how good an answer is on a scale from 0 to 10, and say the same tomorrow. Which of two answers is
# better is a question people can answer. In this chapter you turn such comparisons into a number for every answer: a
# **reward model**. You derive it, fit it, train it, find out how far it may be trusted, and put it to its first use.
#
# **You will be able to**
# - write Bradley and Terry's model and its loss, and see that it is the one in `trl`;
# - fit scores to a table of wins, and say what a comparison can never tell;
# - put a head for one number on a language model and read it at the right token, however rows are padded;
# - judge a reward model: against the best that is possible, by its calibration, under noisy labels, and for a bias
#   towards long answers;
# - use it: best of n, with an exact account of how far that moves a policy.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 who is preferred | ● ○ ○ | 5 | | 7 how often is it right | ● ○ ○ | 5 |
# | 2 the loss of the pairs | ● ○ ○ | 10 | | 8 does it know how sure it may be | ● ● ○ | 20 |
# | 3 pairs from a ranking | ● ○ ○ | 10 | | 9 best of n | ● ○ ○ | 5 |
# | 4 scores from a table of wins | ● ● ● | 25 | | 10 what best of n samples from | ● ● ● | 20 |
# | 5 what pairs cannot tell | ● ● ○ | 10 | | 11 how far it goes | ● ○ ○ | 5 |
# | 6 one number for an answer | ● ● ○ | 15 | | | | |
#
# You need chapter 2, or to know what a chat template and a padded batch are.

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from autograder import check, progress

# %% tags=["demo"]
import random
import tempfile
import time

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import data, device, models, plots
from data.questions import understand
from data.utility import CLOSINGS, OPENINGS, appraise, utility

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more, and loses much where cores are shared
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## Two answers, one choice
#
# Here are comparisons as a labelling team would make them: the course's set, and as many again, drawn in the same way.
# Each record has a prompt, the answer that was chosen, and the one that was not. We keep those that ask about facts.
# (The others ask about sums, and judging them takes a model that adds more surely than ours does.)

# %% tags=["demo"]
from data import tasks


def about_facts(records: list[dict]) -> list[dict]:
    """The comparisons whose prompt asks about a fact of the world; the others ask about sums."""
    return [r for r in records if understand(r["prompt"]).kind == "facts"]


heldout = about_facts(data.load_jsonl("preferences_heldout"))
train_records = about_facts(data.load_jsonl("preferences_train") + tasks.preferences(seed=1, train=4096)[0])
print(f"{len(train_records):,} comparisons to learn from, {len(heldout)} held out")
plots.show_table([{name: r[name] for name in ("prompt", "chosen", "rejected")} for r in train_records[:6]])

# %% [markdown]
# These labels were drawn by a program, and that is the beauty of it. Every answer of this world has a true
# **utility** that we can look up: points for being right and for a courteous opening and closing, deductions for too
# many courtesies and for rambling on. No model of this chapter sees it. We do, afterwards, and can say how much of
# the truth was found.

# %% tags=["demo"]
question = understand(heldout[0]["prompt"])
right, wrong = question.full(), question.full(question.candidates[0])
answers = [wrong, right, f"of course , {right}", f"sure , of course , {right}", f"of course , {right} hope this helps ."]
plots.show_table([{"answer": a, "utility": utility(question.text, a)} for a in answers], caption=question.text)

# %% [markdown]
# ## Exercise 1: who is preferred
#
# People do not always choose the better answer. They do so more often the more it is better. Bradley and Terry (1952)
# put it into one formula: with $r$ the reward of an answer,
#
# $$ P(a_1 \succ a_2 \mid p) = \sigma\!\left(\frac{r(p, a_1) - r(p, a_2)}{T}\right), \qquad \sigma(d) = \frac{1}{1 + e^{-d}}. $$
#
# The lecture has $T = 1$. The temperature $T$ says how careful the annotators are: at a high one they toss coins, at
# a low one they never err.


# %% nbgrader={"grade": false, "grade_id": "preference_probability", "locked": false, "schema_version": 3, "solution": true, "task": false}
def preference_probability(
    reward_first: torch.Tensor, reward_second: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """The probability that the first of two answers is preferred, by Bradley and Terry's model.

    reward_first, reward_second: float tensors of equal shape, or of shapes that broadcast; the result has their common
    shape, and gradients flow to both. temperature > 0 divides the difference of the rewards. No finite reward is too large,
    at any temperature: the result is never NaN.
    """
    ### BEGIN SOLUTION
    return torch.sigmoid((reward_first - reward_second) / temperature)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "preference_probability_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("preference_probability", preference_probability)

# %% [markdown]
# Move the slider. Each curve is what a team of annotators does.

# %% tags=["demo"]
from course import widgets

widgets.annotator_explorer(preference_probability)

# %% [markdown]
# ## Exercise 2: the loss of the pairs
#
# The labels are known, the rewards are not. The likelihood of all labels is a product over the pairs; its logarithm,
# with a minus and divided by the number of pairs, is the loss of every reward model:
#
# $$ \mathcal{L} = -\frac{1}{N} \sum_{i=1}^{N} \log \sigma\big(r(p_i, a_i^{w}) - r(p_i, a_i^{l})\big), $$
#
# where $a^w$ is the chosen answer (it *won*) and $a^l$ the rejected one. It is the loss of logistic regression on the
# difference. Write it so that it stays finite, and keeps its gradient, when a difference is huge.


# %% nbgrader={"grade": false, "grade_id": "bradley_terry_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bradley_terry_loss(rewards_chosen: torch.Tensor, rewards_rejected: torch.Tensor) -> torch.Tensor:
    """The mean over the pairs of -log P(chosen is preferred), in nats: a scalar, with gradients to both rewards.

    rewards_chosen, rewards_rejected: (pairs,), float. The loss and its gradient are finite for differences of any size.
    """
    ### BEGIN SOLUTION
    return -F.logsigmoid(rewards_chosen - rewards_rejected).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bradley_terry_loss_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("bradley_terry_loss", bradley_terry_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `torch.sigmoid(torch.tensor(-200.0))` is 0 in a float, and log 0 is −∞. `F.logsigmoid` does both steps at once.
# </details>
#
# The gradient of a pair's loss with respect to the chosen reward is $-(1 - P)$. So the more surprising a label, the
# harder it pulls. A pair that is already as it should be pulls hardly at all:

# %% tags=["demo"]
differences = torch.linspace(-6, 6, 121)
losses = torch.stack([bradley_terry_loss(d[None], torch.zeros(1)) for d in differences])
fig, ax = plt.subplots(figsize=(6.5, 3.2))
ax.plot(differences, losses, label="loss")
ax.plot(differences, 1 - preference_probability(differences, torch.zeros(())), label="pull")
ax.set(xlabel="reward of the chosen less reward of the rejected answer", title="Surprising labels pull")
plots.name_lines(ax)
plt.show()

# %% [markdown]
# ## Exercise 3: pairs from a ranking
#
# It costs an annotator little more to *rank* $k$ answers than to compare two, and a ranking holds many comparisons:
# $k(k-1)/2$ of them where no two answers tie. InstructGPT was trained on rankings of 4 to 9 answers (Ouyang et al.
# 2022).


# %% nbgrader={"grade": false, "grade_id": "ranking_pairs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ranking_pairs(ranks: list[int]) -> list[tuple[int, int]]:
    """All comparisons that a ranking holds, as pairs of places (i, j): answer i is preferred to answer j.

    ranks[i] is the rank of answer i, any integer: the smaller, the better. Places begin with 0. Two answers of the same
    rank tie and give no pair. Each comparison occurs once; the pairs may come in any order. ranks is left as it is.
    """
    ### BEGIN SOLUTION
    places = range(len(ranks))
    return [(i, j) for i in places for j in places if ranks[i] < ranks[j]]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ranking_pairs_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("ranking_pairs", ranking_pairs)

# %% tags=["demo"]
ranking = ["7 .", "8 .", "3 plus 4 is 7 .", "of course , 7 ."]
for i, j in ranking_pairs([3, 4, 2, 1]):
    print(f"{ranking[i]:<16} is better than   {ranking[j]}")

# %% [markdown]
# The pairs of one ranking are not independent: they share answers, and an annotator in a hurry spoils all of them at
# once. InstructGPT put all pairs of a ranking into the same batch and gave each ranking the weight of one example;
# drawn one by one, as if they had nothing to do with each other, they made the model overfit.
#
# ## Exercise 4: scores from a table of wins
#
# Before there is a language model in it, solve the plain problem. Some players, a table of who beat whom how often:
# which scores make the table most likely? This is how chess players and, in arenas, chatbots are rated.
#
# $$ \max_s \; \sum_{i, j} w_{ij} \log \sigma(s_i - s_j), \qquad w_{ij} \text{ how often } i \text{ beat } j $$
#
# The objective is concave, so every way up leads to the top: gradient ascent, Newton's method, or an algorithm of
# your own. Its gradient is worth knowing: for each player, the wins it has less the wins that its score predicts,
#
# $$ \frac{\partial}{\partial s_i} = \sum_j \big( w_{ij} - (w_{ij} + w_{ji})\, \sigma(s_i - s_j) \big). $$


# %% nbgrader={"grade": false, "grade_id": "fit_scores", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_scores(wins: torch.Tensor) -> torch.Tensor:
    """The scores of greatest likelihood under Bradley and Terry's model, (players,), shifted so that they sum to 0.

    wins: (players, players), integers or floats; wins[i, j] >= 0 is how often i beat j, the diagonal is 0. A pair may never
    have met. The likelihood has a maximum, and the scores there are to be found to four decimals. wins is left as it is.
    """
    ### BEGIN SOLUTION
    wins = wins.double()
    games, scores = wins + wins.T, torch.zeros(len(wins), dtype=torch.float64)
    for _ in range(25):  # Newton's method: the objective is concave, a handful of steps would do
        p = torch.sigmoid(scores[:, None] - scores[None, :])  # (players, players)
        gradient = (wins - games * p).sum(1)
        weights = games * p * (1 - p)
        curvature = weights.sum(1).diag() - weights  # of the negative objective; flat along a common shift
        scores = scores + torch.linalg.solve(curvature + 1.0, gradient)  # the 1 holds their sum at 0
    return scores
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fit_scores_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("fit_scores", fit_scores)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the simplest way</summary>
#
# Begin with zeros. Repeat a thousand times: add the gradient above to the scores, divided by each player's number of
# games. Subtract the mean at the end. Whoever stops too early has scores that are all too close to 0. (An optimiser
# such as Adam trembles around the top while its rate is fixed: let the rate fall.)
# </details>
# <details><summary><b>Hint 2</b>: Newton's method</summary>
#
# With $v_{ij} = (w_{ij} + w_{ji})\, p_{ij} (1 - p_{ij})$, minus the second derivative is `v.sum(1).diag() - v`. It is
# singular, because a common shift changes nothing: add 1 to every entry before you solve.
# </details>
#
# Five players whose true scores we know, and what the wins say about them. The dots approach the line as the games
# become more.

# %% tags=["demo"]
torch.manual_seed(0)
true_scores = torch.tensor([-1.2, -0.5, 0.1, 0.4, 1.2])
fitted = {}
for games in (10, 100, 1000):
    wins = torch.zeros(5, 5)
    for i, j in ranking_pairs([1, 2, 3, 4, 5]):
        p = preference_probability(true_scores[i], true_scores[j])
        wins[i, j] = torch.bernoulli(p.expand(games)).sum().clamp(1, games - 1)  # nobody wins or loses all of them
        wins[j, i] = games - wins[i, j]
    fitted[games] = torch.as_tensor(fit_scores(wins)).float()
score_errors = {games: (scores - true_scores).square().mean().sqrt().item() for games, scores in fitted.items()}

fig, ax = plt.subplots(figsize=(5.2, 4))
ax.axline((0, 0), slope=1, color=plots.GREY, linewidth=1)
for games, scores in fitted.items():
    ax.scatter(true_scores, scores, label=f"{games} games a pair: off by {score_errors[games]:.2f}")
ax.set(xlabel="true score", ylabel="fitted score", title="Scores from wins")
ax.legend()
plt.show()

# %% [markdown]
# It is a **logistic regression** without an intercept: one row a game, +1 in the winner's column, −1 in the loser's,
# and every label 1. Let a general optimiser solve that, and compare.

# %% tags=["demo"]
design, counts = [], []
for i in range(5):
    for j in range(5):
        if wins[i, j] > 0:
            design.append(F.one_hot(torch.tensor(i), 5) - F.one_hot(torch.tensor(j), 5))
            counts.append(wins[i, j])
design, counts = torch.stack(design).double(), torch.stack(counts).double()
weights = torch.zeros(5, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-16)


def logistic_loss() -> torch.Tensor:
    """The loss of logistic regression on the games, each row weighted by how often it occurred."""
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(design @ weights, torch.ones(len(design)).double(), counts)
    loss.backward()
    return loss


optimizer.step(logistic_loss)
regression = weights.detach() - weights.detach().mean()
regression_difference = (torch.as_tensor(fit_scores(wins)) - regression).abs().max().item()
print(f"largest difference to a logistic regression: {regression_difference:.1e}")

# %% [markdown]
# ## Exercise 5: what pairs cannot tell
#
# Add 100 to every score of the table: no probability changes. With prompts it is worse. Answers are compared only
# with answers *to the same prompt*, so each prompt has a constant of its own that no number of comparisons will ever
# determine:
#
# $$ r(p, a) \quad\text{and}\quad r(p, a) + c(p) \quad\text{have the same likelihood.} $$
#
# This is not a detail. It is why an average reward over different prompts means little, why rewards of two models
# cannot be compared as they stand, and, in chapter 6, why DPO never needs to know its $\beta \log Z(p)$: that is such
# a constant. To compare rewards, first fix the constants: make the rewards of each prompt sum to zero.


# %% nbgrader={"grade": false, "grade_id": "center_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def center_rewards(rewards: torch.Tensor, prompt_ids: torch.Tensor) -> torch.Tensor:
    """The rewards, each less the mean of the rewards of all answers to the same prompt: (answers,).

    rewards: (answers,), float; prompt_ids: (answers,), integers: equal where two answers belong to the same prompt. They
    come in any order and are any numbers, negative ones too. The rewards keep their order, and the input is left as it is.
    """
    ### BEGIN SOLUTION
    same = (prompt_ids[:, None] == prompt_ids[None, :]).to(rewards.dtype)  # (answers, answers)
    return rewards - same @ rewards / same.sum(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "center_rewards_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("center_rewards", center_rewards)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `prompt_ids[:, None] == prompt_ids[None, :]` is a table of which answers belong together. As numbers, a matrix
# product with it sums the rewards of each answer's prompt.
# </details>
#
# See that the loss does not see it. We take the true utilities for rewards, add a random constant to each prompt, and
# compute the loss of the held-out pairs again.

# %% tags=["demo"]
torch.manual_seed(0)
true_chosen = torch.tensor([r["utility_chosen"] for r in heldout])  # (pairs,)
true_rejected = torch.tensor([r["utility_rejected"] for r in heldout])
constants = 10 * torch.randn(len(heldout))
loss_true = bradley_terry_loss(true_chosen, true_rejected).item()
loss_shifted = bradley_terry_loss(true_chosen + constants, true_rejected + constants).item()
shift_difference = abs(loss_true - loss_shifted)
both, prompt_of_answer = torch.cat([true_chosen, true_rejected]), torch.arange(len(heldout)).repeat(2)
recovered = center_rewards(both + constants.repeat(2), prompt_of_answer) - center_rewards(both, prompt_of_answer)
print(f"loss {loss_true:.5f}, with the constants {loss_shifted:.5f}: a difference of {shift_difference:.1e}")
print(f"largest difference of the centred rewards: {recovered.abs().max():.1e}")

# %% [markdown]
# ## Exercise 6: one number for an answer
#
# Now the language model. Take its body off the word-predicting head and put a **scalar head** on: one vector, whose
# product with the last hidden state is the reward. The model computes such a product at every position; only one of
# them has seen the whole answer, the one at the last real token, the end mark.
#
# Where that token stands depends on the padding. On the right for training, on the left for generation, and on both
# sides for a batch that was sampled from left-padded prompts (chapter 5). The attention mask knows.


# %% nbgrader={"grade": false, "grade_id": "last_token_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def last_token_rewards(token_rewards: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The output of the scalar head at each row's last real token: (batch,), with its gradient.

    token_rewards: (batch, seq), the head's output at every position; attention_mask: (batch, seq), 1 (or True) on real
    tokens and 0 (or False) on padding, which may stand on the right, on the left, or on both sides. Every row has at least
    one real token; the real ones stand together. Both are left as they are.
    """
    ### BEGIN SOLUTION
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    last = (attention_mask.long() * (places + 1)).argmax(1)  # (batch,): the largest place among the real ones
    return token_rewards.gather(1, last[:, None])[:, 0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "last_token_rewards_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("last_token_rewards", last_token_rewards)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Multiply the mask by 1, 2, 3, …: the largest number of a row stands at its last real token. Then `gather`, or an
# index for the rows and one for the columns.
# </details>

# %% [markdown]
# The body is our nano model. A linear layer without a bias is the head; a bias would be one more constant that no
# pair can see.


# %% tags=["demo"]
class HeadOnBody(torch.nn.Module):
    """A language model's body with a head for one number."""

    def __init__(self, language_model):
        super().__init__()
        self.body = language_model.model  # embeddings and layers, without the word-predicting head
        self.head = torch.nn.Linear(language_model.config.hidden_size, 1, bias=False)
        torch.nn.init.zeros_(self.head.weight)  # every answer begins at 0, and every pair at log 2

    def forward(self, input_ids, attention_mask):
        """The rewards, (batch,)."""
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (batch, seq, width)
        return last_token_rewards(self.head(hidden).squeeze(-1), attention_mask)


# %% tags=["demo"]
tokenizer = data.load_tokenizer()
word_id = tokenizer.get_vocab()


def ids_of(prompt: str, answer: str | None = None) -> list[int]:
    """Token ids of a prompt and its answer in the chat format; without an answer, up to where it would begin."""
    text = f"<bos> <user> {prompt} <end> <assistant>" + (f" {answer} <end>" if answer is not None else "")
    return [word_id[word] for word in text.split()]


def padded(rows: list[list[int]], side: str = "right") -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and attention_mask, (rows, longest)."""
    longest = max(map(len, rows))
    fill = [[tokenizer.pad_token_id] * (longest - len(row)) for row in rows]
    ids = [f + row if side == "left" else row + f for row, f in zip(rows, fill)]
    mask = [[0] * len(f) + [1] * len(row) if side == "left" else [1] * len(row) + [0] * len(f) for row, f in zip(rows, fill)]
    return torch.tensor(ids, device=DEVICE), torch.tensor(mask, device=DEVICE)


# %% [markdown]
# `transformers` has such models ready-made: `LlamaForSequenceClassification` with one label. It finds the last token
# by looking for the padding id. Same weights, same rows, on either side:

# %% tags=["demo"]
from transformers import LlamaForSequenceClassification

torch.manual_seed(0)
ours = HeadOnBody(models.load_nano("base")).to(DEVICE).eval()
torch.nn.init.normal_(ours.head.weight, std=0.1)
config = models.load_nano("base").config
config.num_labels = 1
library = LlamaForSequenceClassification(config).to(DEVICE).eval()
library.model.load_state_dict(ours.body.state_dict())
library.score.load_state_dict(ours.head.state_dict())
few = [ids_of(r["prompt"], r["chosen"]) for r in train_records[:5]]
with torch.no_grad():
    head_difference = max(
        (ours(*batch) - library(*batch).logits[:, 0]).abs().max().item() for batch in (padded(few), padded(few, "left"))
    )
print(f"largest difference to transformers: {head_difference:.1e}")

# %% [markdown]
# ### Is it the loss of the library?
#
# `trl` trains reward models too. It gets raw conversations and does everything itself: template, batch, head, loss.
# On the same eight pairs:

# %% tags=["demo"]
from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from course.quiet import hush_libraries

hush_libraries()


def conversations(record: dict) -> dict:
    """A comparison as trl wants it."""
    ask = {"role": "user", "content": record["prompt"]}
    return {k: [ask, {"role": "assistant", "content": record[k]}] for k in ("chosen", "rejected")}


trainer = RewardTrainer(
    model=library,
    args=RewardConfig(
        tempfile.mkdtemp(), use_cpu=DEVICE.type == "cpu", bf16=False, gradient_checkpointing=False, max_length=None,
        report_to=[], disable_tqdm=True, save_strategy="no", logging_strategy="no", dataloader_pin_memory=False,
    ),
    train_dataset=Dataset.from_list([conversations(r) for r in train_records[:8]]),
    processing_class=tokenizer,
)  # fmt: skip
theirs = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
with torch.no_grad():
    trainer.model.eval()
    loss_theirs = trainer.compute_loss(trainer.model, {k: v.to(trainer.model.device) for k, v in theirs.items()}).item()
    chosen, rejected = (ours(*padded([ids_of(r["prompt"], r[k]) for r in train_records[:8]])) for k in ("chosen", "rejected"))
    loss_ours = bradley_terry_loss(chosen, rejected).item()
trl_difference = abs(loss_ours - loss_theirs)
print(f"yours {loss_ours:.6f}   trl {loss_theirs:.6f}   difference {trl_difference:.1e}")

# %% [markdown]
# ## Exercise 7: how often is it right
#
# The plainest measure: in how many pairs is the chosen answer ahead? A tie is a coin toss.


# %% nbgrader={"grade": false, "grade_id": "pair_accuracy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pair_accuracy(rewards_chosen: torch.Tensor, rewards_rejected: torch.Tensor) -> torch.Tensor:
    """The share of pairs, a number from 0 to 1, in which the chosen answer has the larger reward; a tie counts half.

    rewards_chosen, rewards_rejected: (pairs,), float. Only equal rewards tie, not those that nearly are.
    """
    ### BEGIN SOLUTION
    return (torch.sign(rewards_chosen - rewards_rejected) + 1).mean() / 2
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pair_accuracy_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("pair_accuracy", pair_accuracy)

# %% [markdown]
# What accuracy can one hope for? Not 1: the labels were drawn, and often enough the worse answer was chosen. The best
# predictor knows the true utilities and bets on the better answer. Its accuracy is the **Bayes ceiling**, and since we
# know the truth we can compute it. The labels themselves have an entropy, which is the **floor** of the loss.

# %% tags=["demo"]
label_probs = preference_probability(true_chosen, true_rejected)  # of the label that was drawn, (pairs,)
ceiling = torch.maximum(label_probs, 1 - label_probs).mean().item()
floor = -(label_probs * label_probs.log() + (1 - label_probs) * (1 - label_probs).log()).mean().item()
ceiling_drawn = float(pair_accuracy(true_chosen, true_rejected))
print(f"Bayes ceiling {ceiling:.3f}; on the labels as they happened to be drawn, the truth itself scores {ceiling_drawn:.3f}")
print(f"entropy of the labels {floor:.3f} nats")

# %% [markdown]
# The two numbers of the first line differ by luck: with a few hundred labels an accuracy is uncertain by a percent or
# two. Knowing the truth, we can do without the luck. We will count, for each held-out pair, how probable it is that a
# fresh annotator agrees with the model.


# %% tags=["demo"]
def expected_accuracy(rewards_chosen: torch.Tensor, rewards_rejected: torch.Tensor) -> float:
    """How often annotators who decide by the true utilities would agree with the rewards."""
    ahead = (torch.sign(rewards_chosen - rewards_rejected) + 1) / 2
    return (label_probs * ahead + (1 - label_probs) * (1 - ahead)).mean().item()

# %% [markdown]
# ## Training, by the book
#
# Nothing new: a batch of pairs goes through the model, chosen and rejected answers as rows of one batch; your loss, a
# gradient, a step. We begin with `nano-sft`, the model that answers as people do, and put a fresh head on.

# %% tags=["demo"]
SIZE = 32
pairs = [(r["prompt"], r["chosen"], r["rejected"]) for r in train_records]
chosen_texts = [(r["prompt"], r["chosen"]) for r in heldout]
rejected_texts = [(r["prompt"], r["rejected"]) for r in heldout]


def rate(update: int, updates: int, highest: float) -> float:
    """The learning rate: it warms up over ten updates, then falls along a cosine."""
    return highest * min(1, (update + 1) / 10) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * update / updates)))


def step(optimizer, loss: torch.Tensor, lr: float) -> float:
    """One update with clipped gradients; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    return loss.item()


# %% tags=["demo"]
torch.manual_seed(0)
PLAIN_UPDATES = device.updates(240)
plain_model = HeadOnBody(models.load_nano("sft")).to(DEVICE).train()
optimizer = torch.optim.AdamW(plain_model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
rng = random.Random(0)
for update in tqdm(range(PLAIN_UPDATES), desc="head on a body"):
    batch = rng.sample(pairs, SIZE)
    rows = [ids_of(p, yes) for p, yes, _ in batch] + [ids_of(p, no) for p, _, no in batch]
    rewards_chosen, rewards_rejected = plain_model(*padded(rows)).chunk(2)  # (SIZE,) each
    step(optimizer, bradley_terry_loss(rewards_chosen, rewards_rejected), rate(update, PLAIN_UPDATES, 1e-3))


# %% tags=["demo"]
@torch.no_grad()
def plain_rewards(texts: list[tuple[str, str]]) -> torch.Tensor:
    """The rewards of (prompt, answer) pairs by the plain model, (texts,)."""
    rows = [ids_of(*text) for text in texts]
    return torch.cat([plain_model.eval()(*padded(rows[i : i + 256])).cpu() for i in range(0, len(rows), 256)])


plain_chosen, plain_rejected = plain_rewards(chosen_texts), plain_rewards(rejected_texts)
plain_accuracy = expected_accuracy(plain_chosen, plain_rejected)
print(f"expected accuracy {plain_accuracy:.3f} after {PLAIN_UPDATES} updates; the ceiling is {ceiling:.3f}")

# %% [markdown]
# That is a long way below the ceiling. What has it learned? Regress the differences of its rewards on what the two
# answers differ in.


# %% tags=["demo"]
def features_of(text: tuple[str, str]) -> list[float]:
    """What the true utility looks at: right, an opening, a closing, courtesies beyond those."""
    a = appraise(*text)
    return [float(a.right), float(a.openings > 0), float(a.closings > 0), max(a.openings - 1, 0.0) + max(a.closings - 1, 0.0)]


PAID_FOR = ("being right", "an opening", "a closing", "a surplus courtesy")
differs = torch.tensor([features_of(a) for a in chosen_texts]) - torch.tensor([features_of(a) for a in rejected_texts])


def prices(effect: torch.Tensor) -> dict[str, float]:
    """What a reward model pays for each of them, by least squares; effect: reward of the chosen less of the rejected."""
    return dict(zip(PAID_FOR, torch.linalg.lstsq(differs, effect[:, None]).solution[:, 0].tolist()))


true_prices = prices(true_chosen - true_rejected)
plain_prices = prices(plain_chosen - plain_rejected)
plots.show_table([{"paid by": "the annotators"} | true_prices, {"paid by": "this model"} | plain_prices])

# %% [markdown]
# Manners, and next to nothing for being right, which matters most. To see that an answer is wrong one has to work out
# the right one and *compare*: is this the word I expected? Where a language model has to learn to compare from a few
# thousand labels, many of them tosses of a coin, it learns what is easier to see. Large models bring the comparison
# with them; ours, of three layers, does not. (Longer training does not help much here: try it.)
#
# ## What did it expect?
#
# The comparison is not lost, though. A language model tells us at every place how likely the next word was: its
# **surprise** at a wrong answer is all we need. So we give the head both, the word and the model's log-probability of
# it. For that we want a **reader** who knows the answers, whatever they are wrapped in. `nano-instruct` is one: the
# method of chapter 2, with right answers in all manners.

# %% tags=["demo"]
from course import reward

reader = models.load_nano("instruct").to(DEVICE).requires_grad_(False)


@torch.no_grad()
def read(texts: list[tuple[str, str]], size: int = 256) -> dict[str, torch.Tensor]:
    """(prompt, answer) pairs as the reader sees them: input_ids, attention_mask, and logps of each word; (texts, longest)."""
    ids, mask = padded([ids_of(*text) for text in texts])
    logps = torch.zeros(ids.shape, device=DEVICE)
    for some in mask.sum(1).argsort().split(size):  # similar lengths together: little padding
        seq = int(mask[some].sum(1).max())
        logps[some, :seq] = reward.expectations(reader, ids[some, :seq], mask[some, :seq])
    return {"input_ids": ids, "attention_mask": mask, "logps": logps}


train_rows = read([(p, a) for p, a, _ in pairs] + [(p, a) for p, _, a in pairs])  # the chosen ones, then the rejected ones
heldout_rows = read(chosen_texts + rejected_texts)

# %% [markdown]
# The least likely word of each held-out answer, courtesies left out:

# %% tags=["demo"]
polite = torch.tensor([word_id[w] for phrase in (*OPENINGS, *CLOSINGS) for w in phrase.split() if w != "."], device=DEVICE)
ids, speaker = heldout_rows["input_ids"], word_id["<assistant>"]
in_answer = (ids == speaker).cumsum(1).bool() & (ids != speaker) & ~torch.isin(ids, polite)  # (answers, seq)
lowest = heldout_rows["logps"].masked_fill(~in_answer, 0.0).amin(1).cpu()  # (answers,)
is_right = torch.tensor([appraise(*text).right for text in chosen_texts + rejected_texts])
fig, ax = plt.subplots(figsize=(6.5, 3))
for name, which, color in (("right answers", is_right, plots.GREEN), ("wrong answers", ~is_right, plots.VERMILION)):
    ax.hist(lowest[which].clamp(min=-14), bins=40, range=(-14, 0), alpha=0.6, color=color, label=name)
ax.set(xlabel="log p of the least expected word, nats", ylabel="answers", title="The reader is surprised by what is wrong")
ax.legend()
plt.show()
told_apart = ((lowest[is_right][:, None] > lowest[~is_right][None]).float().mean()).item()
print(f"of a right and a wrong answer, the right one is less surprising in {told_apart:.1%} of the cases")

# %% [markdown]
# Now the head. At each word a small network sees the word and the reader's log-probability of it. What it finds adds
# up from word to word, and one number is read off at the last token, by your function. The reader is frozen and has
# read everything already, so training takes seconds. This is all there is to it:

# %% tags=["demo"]
import inspect

print(inspect.getsource(reward.SurpriseHead))


# %% tags=["demo"]
def rewards_of(judge, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """The rewards of what was read, (rows,)."""
    return last_token_rewards(judge(**rows), rows["attention_mask"])


# %% tags=["demo"]
UPDATES, BATCH, MAX_LR = device.at_most(192, least=12), 64, 5e-3
N = len(pairs)
CHOSEN, REJECTED = torch.arange(N), torch.arange(N) + N  # rows of train_rows


def train_reward(winners: torch.Tensor, losers: torch.Tensor, name: str, seed: int = 0, after_update=None):
    """A reward model trained on pairs of rows (winners[i] was preferred to losers[i]), and the loss of every update."""
    torch.manual_seed(seed)
    model = reward.SurpriseHead(reader.get_input_embeddings().weight).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1.0)
    rng, order, losses = random.Random(seed), [], []
    for update in tqdm(range(UPDATES), desc=name, mininterval=1.0):
        if len(order) < BATCH:  # a new epoch
            order += rng.sample(range(len(winners)), len(winners))
        batch = torch.tensor([order.pop() for _ in range(BATCH)])
        rows = torch.cat([winners[batch], losers[batch]])  # (2 * BATCH,)
        rewards = rewards_of(model, {k: v[rows] for k, v in train_rows.items()})
        losses.append(step(optimizer, bradley_terry_loss(*rewards.chunk(2)), rate(update, UPDATES, MAX_LR)))
        if after_update is not None:
            after_update(model, update + 1)
    return model.eval(), losses


# %% [markdown]
# What we measure on the held-out pairs, whose prompts occur in no training pair. `expected_accuracy` and
# `expected_loss` are over the labels that annotators *might* have given, so no luck of the draw is in them. For the
# correlation with the true utility the constants of the prompts have to go first: your `center_rewards`.

# %% tags=["demo"]
prompt_number = {prompt: i for i, prompt in enumerate(dict.fromkeys(r["prompt"] for r in heldout))}
heldout_ids = torch.tensor([prompt_number[prompt] for prompt, _ in chosen_texts + rejected_texts])
true_centered = center_rewards(torch.cat([true_chosen, true_rejected]), heldout_ids)


@torch.no_grad()
def heldout_rewards(model) -> tuple[torch.Tensor, torch.Tensor]:
    """The rewards of the chosen and of the rejected held-out answers, (pairs,) each."""
    return rewards_of(model, heldout_rows).cpu().chunk(2)


def examine(model) -> dict[str, float]:
    """What the held-out pairs say of a reward model."""
    chosen, rejected = heldout_rewards(model)
    centered = center_rewards(torch.cat([chosen, rejected]), heldout_ids)
    loss = -(label_probs * F.logsigmoid(chosen - rejected) + (1 - label_probs) * F.logsigmoid(rejected - chosen))
    return {
        "expected_accuracy": expected_accuracy(chosen, rejected),
        "accuracy": float(pair_accuracy(chosen, rejected)),
        "expected_loss": loss.mean().item(),
        "correlation": torch.corrcoef(torch.stack([centered, true_centered]))[0, 1].item(),
        "scale": ((centered @ true_centered) / (true_centered @ true_centered)).item(),
    }

# %% tags=["demo"]
history = []


def note_progress(model, update: int) -> None:
    """Examine the model now and then."""
    if update % (UPDATES // 12) == 0:
        history.append({"update": update} | examine(model))


started = time.perf_counter()
reward_model, losses = train_reward(CHOSEN, REJECTED, "reward model", after_update=note_progress)
result = examine(reward_model)
print(f"{UPDATES} updates of {BATCH} pairs in {time.perf_counter() - started:.0f} s")
plots.show_table([{"held out": name, "": value} for name, value in result.items()])
print(f"Bayes ceiling {ceiling:.3f}: {ceiling - result['expected_accuracy']:.3f} above the model")

# %% [markdown]
# Was it luck? Two more heads, which differ from the first in nothing but their seed:

# %% tags=["demo"]
seed_results = [result] + [examine(train_reward(CHOSEN, REJECTED, f"seed {s}", seed=s)[0]) for s in (1, 2)]
plots.show_table([{"seed": seed} | found for seed, found in enumerate(seed_results)])

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.4))
smooth = torch.tensor(losses).unfold(0, 12, 1).mean(-1)
axes[0].plot(range(12, len(losses) + 1), smooth, color=plots.SKY, linewidth=1.2, label="training, mean of 12 updates")
for ax, key in ((axes[0], "expected_loss"), (axes[1], "expected_accuracy")):
    ax.plot([p["update"] for p in history], [p[key] for p in history], color=plots.BLUE, marker="o", markersize=3, label="held out")
    ax.set(xlabel="update")
axes[0].set(ylabel="loss, nats", title="Loss", ylim=(0.35, 0.75))
axes[1].set(ylabel="expected accuracy", title="Accuracy", ylim=(0.5, 0.85))
axes[0].legend()
plots.mark_levels(axes[0], {"floor": floor, "log 2": math.log(2)})
plots.mark_levels(axes[1], {"ceiling": ceiling, "head on a body": plain_accuracy})
plt.show()

# %% [markdown]
# The grey levels are what the best possible model would reach. Nobody who trains on real comparisons knows them: an
# accuracy of 0.75 may be a bad model, or a perfect one with careless annotators.

# %% tags=["demo"]
held_chosen, held_rejected = heldout_rewards(reward_model)
found_prices = prices(held_chosen - held_rejected)
plots.show_table(
    [{"paid by": "the annotators"} | true_prices, {"paid by": "head on a body"} | plain_prices, {"paid by": "this model"} | found_prices]
)

# %% [markdown]
# The head's output at each position says what the reward would be if the answer had been left at that word. Its
# differences show which words earn it.


# %% tags=["demo"]
def show_reward(prompt: str, answer: str) -> float:
    """The words of an answer, with what each of them adds to the reward. Returns the reward of the whole."""
    row = read([(prompt, answer)])
    with torch.no_grad():
        so_far = reward_model(**row)[0]  # (seq,)
    words = [*answer.split(), "<end>"]
    added = so_far.diff()[-len(words) :].tolist()
    plots.show_tokens(words, [plots.GREEN if x > 0.2 else plots.VERMILION if x < -0.2 else None for x in added], [f"{x:+.1f}" for x in added])
    return so_far[-1].item()


for answer in (right, f"of course , {right}", f"sure , of course , {right}", f"of course , {wrong}"):
    show_reward(question.text, answer)

# %% [markdown]
# Chapter 5 begins with this model. Keep yours; the chapter takes the one that comes with the course, made in the same
# way.

# %% tags=["demo"]
card = {"made by": "solutions/04_reward_model", "from": {"nano-instruct": models.load_card("nano-instruct")["sha256"]}, **result}
folder = models.save_checkpoint(reward.RewardModel.of(reader, reward_model), "my_checkpoints/nano-reward", card)
print("saved in", folder)

# %% [markdown]
# ## Exercise 8: does it know how sure it may be
#
# A reward model that is right says *who* is preferred. One that is **calibrated** also says *how often*: of the pairs
# for which it predicts 70 %, the first answer should win 70 %. Put the predictions into bins, and compare the mean
# prediction of each bin with the share of wins in it. The mean distance between the two is the **expected calibration
# error** (Guo et al. 2017).


# %% nbgrader={"grade": false, "grade_id": "calibration_bins", "locked": false, "schema_version": 3, "solution": true, "task": false}
def calibration_bins(probabilities: torch.Tensor, outcomes: torch.Tensor, num_bins: int) -> dict[str, torch.Tensor]:
    """What a reliability diagram shows, in num_bins bins of equal width over [0, 1].

    probabilities: (pairs,), predicted probabilities that the first answer wins; outcomes: (pairs,), integers, 1 where it
    did, else 0.
    Bin b, from 0, holds the predictions p with b / num_bins <= p < (b + 1) / num_bins; the last one holds p = 1, too.
    Returns "predicted", the mean prediction in each bin, and "observed", the share of outcomes that are 1 in it, NaN where
    a bin is empty; "count", how many predictions it holds, 0 where it is empty: each (num_bins,). And "error", a number:
    the mean of |predicted - observed|, in which each bin weighs as much as it holds predictions.
    """
    ### BEGIN SOLUTION
    which = (probabilities * num_bins).long().clamp(max=num_bins - 1)  # (pairs,)
    inside = F.one_hot(which, num_bins).to(probabilities.dtype)  # (pairs, num_bins)
    count = inside.sum(0)
    predicted = probabilities @ inside / count  # 0 / 0 is NaN, as it should be
    observed = outcomes.to(probabilities.dtype) @ inside / count
    error = ((predicted - observed).abs() * count).nansum() / count.sum()
    return {"predicted": predicted, "observed": observed, "count": count, "error": error}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "calibration_bins_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("calibration_bins", calibration_bins)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# A loop over the bins with a mask each is good enough. Where the mask is empty, `mean()` gives NaN by itself; leave
# those bins out of the error.
# </details>

# %% [markdown]
# Draw the picture for our model. In every other held-out pair the rejected answer is put first, so that both outcomes
# occur.

# %% tags=["demo"]
first_chosen = torch.arange(len(heldout)) % 2 == 0
signed = torch.where(first_chosen, held_chosen - held_rejected, held_rejected - held_chosen)
predicted = preference_probability(signed, torch.zeros(()))
bins = calibration_bins(predicted, first_chosen.long(), 10)
fig, ax = plt.subplots(figsize=(4.6, 4.2))
ax.axline((0, 0), slope=1, color=plots.GREY, linewidth=1)
ax.plot(bins["predicted"], bins["observed"], marker="o")
for x, y, n in zip(bins["predicted"], bins["observed"], bins["count"]):
    if n > 0:
        ax.annotate(f"{int(n)}", (x, y), xytext=(5, -10), textcoords="offset points", fontsize=8, color=plots.GREY)
ax.set(xlabel="predicted", ylabel="share of wins", xlim=(0, 1), ylim=(0, 1), title="Is it as sure as it may be?")
plt.show()
calibration_error = float(bins["error"])
print(f"expected calibration error {calibration_error:.3f}")

# %% [markdown]
# The small numbers say how many pairs a point stands for. Even a perfect model would not lie exactly on the line: a
# share of wins among fifty pairs is uncertain by several percent. How far does one get with the truth itself?

# %% tags=["demo"]
true_signed = torch.where(first_chosen, true_chosen - true_rejected, true_rejected - true_chosen)
true_bins = calibration_bins(preference_probability(true_signed, torch.zeros(())), first_chosen.long(), 10)
true_calibration_error = float(true_bins["error"])
print(f"expected calibration error of the true probabilities: {true_calibration_error:.3f}")

# %% [markdown]
# ## Careless annotators
#
# Now turn some of the training labels round, at random: 10 %, then 30 %. What do you expect of the accuracy, and of
# the scale of the rewards?

# %% tags=["demo"]
noise_results = {0.0: result}
for share in (0.1, 0.3):
    turned = torch.rand(N, generator=torch.Generator().manual_seed(1)) < share  # (pairs,)
    winners, losers = torch.where(turned, REJECTED, CHOSEN), torch.where(turned, CHOSEN, REJECTED)
    noise_results[share] = examine(train_reward(winners, losers, f"{share:.0%} turned round")[0])
plots.show_table(
    [
        {"labels turned round": f"{share:.0%}"} | {k: r[k] for k in ("expected_accuracy", "correlation", "scale")}
        for share, r in noise_results.items()
    ]
)

# %% [markdown]
# The *order* of the answers suffers little: turned labels point in no particular direction, and average out. The
# *scale* shrinks, because the loss asks for rewards that predict the labels, and these labels have become less
# predictable. So a small scale need not mean a bad model. It means that a KL penalty of the same strength (chapter 5)
# weighs more against it.
#
# ## Few comparisons
#
# The same number of updates, on fewer pairs.

# %% tags=["demo"]
few_results, few_models = {}, {}
for n in (128, 512):
    few_models[n], few_losses = train_reward(CHOSEN[:n], REJECTED[:n], f"{n} pairs")
    few_results[n] = {"training_loss": sum(few_losses[-12:]) / 12} | examine(few_models[n])
few_results[N] = {"training_loss": sum(losses[-12:]) / 12} | result
plots.show_table(
    [
        {"pairs": n} | {k: r[k] for k in ("training_loss", "expected_loss", "expected_accuracy", "correlation")}
        for n, r in few_results.items()
    ]
)

# %% [markdown]
# With few pairs the training loss falls below the entropy of the labels: it learns the coin tosses by heart. The
# held-out loss shows it.
#
# ## Annotators who like it long
#
# People tend to prefer the longer of two answers, and so do reward models trained on their choices (Singhal et al.
# 2023). Let us make such annotators: to the true utility they add a quarter of a point for every word.

# %% tags=["demo"]
LIKING = 0.25  # utility per word, in the eyes of these annotators
utilities, word_counts = [], []
for name in ("chosen", "rejected"):
    utilities.append(torch.tensor([r[f"utility_{name}"] for r in train_records]))
    word_counts.append(torch.tensor([float(len(r[name].split())) for r in train_records]))
p = preference_probability(utilities[0] + LIKING * word_counts[0], utilities[1] + LIKING * word_counts[1])  # (pairs,)
same = torch.rand(N, generator=torch.Generator().manual_seed(2)) < p  # they, too, choose the first
biased_model, _ = train_reward(torch.where(same, CHOSEN, REJECTED), torch.where(same, REJECTED, CHOSEN), "who like it long")

# %% [markdown]
# How would you find that out, if nobody had told you? Compare pairs of answers of *known* quality: regress the
# difference of the rewards on the difference of the utilities and on the difference of the lengths.


# %% tags=["demo"]
lengths = [torch.tensor([float(len(a.split())) for _, a in texts]) for texts in (chosen_texts, rejected_texts)]
causes = torch.stack([true_chosen - true_rejected, lengths[0] - lengths[1]], dim=1)  # (pairs, 2)


def price_of_a_word(model) -> dict[str, float]:
    """What a reward model pays for a point of true utility, and for a word at equal utility, by least squares."""
    chosen, rejected = heldout_rewards(model)
    point, word = torch.linalg.lstsq(causes, (chosen - rejected)[:, None]).solution[:, 0].tolist()
    return {"a point of utility": point, "a word": word, "points for ten words": 10 * word / point}


word_prices = {"honest": price_of_a_word(reward_model), "like it long": price_of_a_word(biased_model)}
plots.show_table([{"annotators": name} | found for name, found in word_prices.items()])

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(6.5, 3.4))
gap = causes[:, 1].clamp(-8, 8)
for name, model, color in (("honest", reward_model, plots.BLUE), ("like it long", biased_model, plots.VERMILION)):
    chosen, rejected = heldout_rewards(model)
    unexplained = (chosen - rejected) / word_prices[name]["a point of utility"] - causes[:, 0]
    seen = sorted(set(gap.tolist()))
    ax.plot(seen, [unexplained[gap == x].mean() for x in seen], marker="o", markersize=3, color=color, label=name)
ax.set(xlabel="words more than the other answer", ylabel="points beyond the utility", title="What a word is worth")
plots.name_lines(ax)
plt.show()

# %% [markdown]
# The biased model is a faithful one: it has learned what its annotators like, and its accuracy on *their* labels would
# be fine. Nothing in the training curve warns you.

# %% [markdown]
# ## Exercise 9: best of n
#
# The simplest use of a reward needs no training at all: let the model answer $n$ times, and keep the answer with the
# largest reward.


# %% nbgrader={"grade": false, "grade_id": "best_of_n", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_of_n(rewards: torch.Tensor, n: int) -> torch.Tensor:
    """For each prompt, the place of the best among its first n samples: (prompts,), integers from 0 to n - 1.

    rewards: (prompts, samples) with samples >= n >= 1, left as they are. Of equally good samples the earlier one.
    """
    ### BEGIN SOLUTION
    return rewards[:, :n].argmax(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_of_n_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("best_of_n", best_of_n)

# %% [markdown]
# ## Exercise 10: what best of n samples from
#
# Choosing among $n$ samples is sampling from *another* distribution: a policy that has moved away from $p_0$. On a
# finite set of answers it can be written down. The best of $n$ draws has the reward of answer $a$ exactly if all draws
# are at most as good as $a$, and not all are worse.


# %% nbgrader={"grade": false, "grade_id": "best_of_n_probs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_of_n_probs(probs: torch.Tensor, rewards: torch.Tensor, n: int) -> torch.Tensor:
    """How probable each answer is as the best of n independent draws: (answers,), which sums to 1.

    probs: (answers,), the probabilities of a draw, float64, some perhaps 0; rewards: (answers,), float, in no order; n >= 1.
    Of equally good draws the first is kept: answers of one reward share what falls to them in proportion to their probs.
    """
    ### BEGIN SOLUTION
    worse = (rewards[None, :] < rewards[:, None]).to(probs.dtype) @ probs  # (answers,): a draw is worse than this answer
    equal = (rewards[None, :] == rewards[:, None]).to(probs.dtype) @ probs  # ... or just as good
    kept = (worse + equal) ** n - worse**n  # the best of n is as good as this answer
    return torch.where(probs > 0, probs / equal * kept, 0.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_of_n_probs_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("best_of_n_probs", best_of_n_probs)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Without ties: let $F$ be the probability that a draw is no better than $a$, and $F_<$ that it is worse. Then the
# answer is $F^n - F_<^n$. With ties, that is what all answers of this reward get together.
# </details>
#
# ## Exercise 11: how far it goes
#
# How far from $p_0$ does that take us? There is a formula everybody quotes (Stiennon et al. 2020):
#
# $$ \mathrm{KL}(p_n \,\|\, p_0) \le \log n - \frac{n - 1}{n}. $$
#
# It was long taken for an equality. It is one only where every answer is improbable and no two are equally good;
# elsewhere it is a bound, and may be far too large (Beirami et al. 2024).


# %% nbgrader={"grade": false, "grade_id": "best_of_n_kl", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_of_n_kl(n: int) -> float:
    """The upper bound log n - (n - 1) / n, in nats, for the KL divergence of best of n, n >= 1, from the sampled policy."""
    ### BEGIN SOLUTION
    return math.log(n) - (n - 1) / n
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_of_n_kl_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("best_of_n_kl", best_of_n_kl)

# %% [markdown]
# On a small set of answers everything can be computed exactly: the distribution, its KL divergence from $p_0$, and the
# bound beside it. Three policies: forty equally likely answers, five answers of which one is frequent, and five whose
# *best* one is the frequent one.

# %% tags=["demo"]
toys = {
    "forty equally likely answers": (torch.full((40,), 1 / 40).double(), torch.arange(40.0)),
    "five answers, the worst is frequent": (torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1]).double(), torch.arange(5.0)),
    "five answers, the best is frequent": (torch.tensor([0.1, 0.1, 0.1, 0.1, 0.6]).double(), torch.arange(5.0)),
}
counts = [1, 2, 4, 8, 16, 32, 64, 128]


def exact_kl(best: torch.Tensor, probs: torch.Tensor) -> float:
    """KL(best || probs) in nats."""
    return torch.where(best > 0, best * (best / probs).log(), 0.0).sum().item()


bounds = [best_of_n_kl(n) for n in counts]
kls = {name: [exact_kl(best_of_n_probs(*toy, n), toy[0]) for n in counts] for name, toy in toys.items()}
fig, ax = plt.subplots(figsize=(6.8, 3.6))
ax.plot(counts, bounds, color=plots.GREY, linestyle="--", label="log n − (n − 1)/n")
for name, values in kls.items():
    ax.plot(counts, values, marker="o", markersize=3, label=name)
ax.set(xscale="log", xlabel="n", ylabel="KL from the policy, nats", title="A bound, not the truth")
ax.legend()
plt.show()

# %% [markdown]
# Once the best answer is found every time, drawing more changes nothing: the KL stays at $-\log p_0$ of the best
# answer, while the formula goes on growing. For long answers, each of them improbable, it is nearly exact.
#
# ## Best of n on the nano model
#
# The policy is `nano-sft`: it answers as people do, often right, more or less courteous. Let it answer held-out
# prompts 32 times each.

# %% tags=["demo"]
policy = models.load_nano("sft").to(DEVICE).eval()
SAMPLES = 32
asked = list(prompt_number)[:: max(1, len(prompt_number) // device.at_most(48, least=4))]
END = word_id["<end>"]


@torch.no_grad()
def sample_answers(prompts: list[str], count: int, new: int = 24) -> list[list[str]]:
    """`count` answers of the policy to each prompt, drawn from its own distribution."""
    ids, mask = padded([ids_of(prompt) for prompt in prompts], side="left")
    drawn = policy.generate(
        ids, attention_mask=mask, do_sample=True, top_k=0, num_return_sequences=count, max_new_tokens=new,
        eos_token_id=END, pad_token_id=tokenizer.pad_token_id,
    )[:, ids.shape[1] :].tolist()  # fmt: skip
    words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    texts = [" ".join(words[t] for t in (row[: row.index(END)] if END in row else row)) for row in drawn]
    return [texts[i : i + count] for i in range(0, len(texts), count)]


torch.manual_seed(0)
answers = []
for i in tqdm(range(0, len(asked), 8), desc="sampling"):
    answers += sample_answers(asked[i : i + 8], SAMPLES)
texts = [(prompt, answer) for prompt, row in zip(asked, answers) for answer in row]
shape = (len(asked), SAMPLES)
truth = torch.tensor([utility(*text) for text in texts]).view(shape)  # (prompts, samples)
plots.show_table([{"asked": p, "answer": a, "utility": utility(p, a)} for p, a in texts[:3] + texts[SAMPLES : SAMPLES + 3]])

# %% [markdown]
# Now let four judges choose: the truth, our reward model, the one that saw few pairs, and the one that learned from
# annotators who like it long. Every choice is scored by the *true* utility. To waste nothing, the 32 samples are cut
# into groups of $n$.


# %% tags=["demo"]
def utility_of_best(rewards: torch.Tensor, n: int) -> float:
    """The mean true utility of the best of n by these rewards; 32 samples make 32 / n groups."""
    groups = best_of_n(rewards.reshape(-1, n), n)  # (prompts * groups,)
    return truth.reshape(-1, n).gather(1, groups[:, None]).mean().item()


sampled_rows = read(texts)


@torch.no_grad()
def rewards_by(model) -> torch.Tensor:
    """A reward for each sample, (prompts, samples)."""
    return rewards_of(model, sampled_rows).cpu().view(shape)


judges = {
    "the truth": truth,
    f"{N:,} pairs": rewards_by(reward_model),
    "128 pairs": rewards_by(few_models[128]),
    "annotators who like it long": rewards_by(biased_model),
}
NS = [1, 2, 4, 8, 16, 32]
curves = {name: [utility_of_best(rewards, n) for n in NS] for name, rewards in judges.items()}

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(7.4, 3.8))
for (name, values), color in zip(curves.items(), (plots.GREY, plots.BLUE, plots.ORANGE, plots.VERMILION)):
    ax.plot(NS, values, marker="o", markersize=4, color=color, label=name)
ax.set(xscale="log", xlabel="n", ylabel="true utility", title="Best of n, by four judges")
ax.set_xticks(NS, [str(n) for n in NS])
plots.name_lines(ax)
plt.show()
plots.show_table(
    [{"n": n, "KL at most": best_of_n_kl(n)} | {name: values[i] for name, values in curves.items()} for i, n in enumerate(NS)]
)

# %% [markdown]
# Every judge gains at first, and no judge is the truth. What lies between a curve and the grey one is what the judge
# did not know: with few pairs it knows less, and with biased annotators it pays for words that are worth nothing. All
# of these answers were at least written by the policy. A policy that is *trained* on the reward can leave the answers
# on which the reward was learned, and then the curve may turn down: chapter 5.
#
# ## What you have seen
#
# - Comparisons determine rewards up to a **constant per prompt**, by logistic regression on differences.
# - The loss is `-logsigmoid(chosen - rejected)`, as in `trl`; a surprising label pulls hardest.
# - An accuracy means nothing without the **ceiling** that the annotators' own uncertainty sets.
# - A head can only read what is in the body: what an answer is compared *with* has to be there.
# - Noise shrinks the scale of the rewards more than it spoils their order; a bias is learned faithfully.
# - Best of $n$ moves the policy by **at most** $\log n - (n-1)/n$ nats.
#
# **To read**: Bradley and Terry 1952, *Rank analysis of incomplete block designs*; Hunter 2004, *MM algorithms for
# generalized Bradley–Terry models*; Ouyang et al. 2022, *InstructGPT* (arXiv:2203.02155); Stiennon et al. 2020
# (arXiv:2009.01325); Guo et al. 2017, *On calibration* (arXiv:1706.04599); Singhal et al. 2023, *A long way to go*
# (arXiv:2310.03716); Gao et al. 2022, *Scaling laws for reward model over-optimization* (arXiv:2210.10760); Beirami et
# al. 2024 (arXiv:2401.01879).

# %%
progress("04_reward_model")
