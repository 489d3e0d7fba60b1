# %% [markdown]
# # 4 · Reward models
#
# It is hard to say how good an answer is on a scale from 0 to 10: tomorrow the same person may say another number. It
# is easier to say which of two answers is better. In this chapter you turn such comparisons into a number for every
# answer: a **reward model**. You derive its loss, fit it, train it, find out how far it may be trusted, and use it
# for the first time.
#
# **You will be able to**
# - derive Bradley and Terry's model and its loss, and see that it is the one in `trl`;
# - fit scores to a table of wins, and say what comparisons cannot determine;
# - put a head for one number on a language model, read it at the right token, and write the loop that trains it;
# - judge a reward model: against the best that is possible, by what it rewards, by its calibration, with flipped
#   labels, with few pairs, and with annotators who like long answers;
# - use it for best of n, and compute exactly how far that moves a policy.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 who is preferred | ● ○ ○ | 5 | | 6 the training loop | ● ● ○ | 10 |
# | 2 the loss of the pairs | ● ○ ○ | 5 | | 7 does it know how sure it may be | ● ● ○ | 10 |
# | 3 scores from a table of wins | ● ● ● | 15 | | 8 what best of n is worth | ● ● ● | 10 |
# | 4 what pairs cannot tell | ● ● ○ | 5 | | 9 what best of n samples from | ● ● ● | 10 |
# | 5 one number for an answer | ● ● ○ | 5 | | 10 few comparisons (open) | ● ● ● | 15 |
#
# You need chapter 2, or to know what a chat template and a padded batch are. Hints are folded, and stand behind most
# checks. The notation is that of [chapter 0](../00_start_here/00_start_here.ipynb): $x$ is a prompt, $y$ an answer,
# $u(x, y)$ the true utility, and $r_\varphi(x, y)$ a reward that was learned. Code calls the rewards `rewards`; one
# of them is also called a **score**.

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from autograder import check, earlier, predict, progress, reveal

# %% tags=["demo"]
import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import comparisons, data, device, methods, models, plots, reward, widgets
from course.drawings import c04 as drawings
from data.questions import understand
from data.utility import appraise, utility

plots.use_style()
torch.set_num_threads(1)  # more threads gain the nano model little
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## Two answers, one choice
#
# The next cell loads comparisons as a team of annotators would make them: the course's set, and as many again, drawn
# in the same way. Each record has a prompt, the answer that was chosen, and the one that was not. We keep those that
# ask about facts. (The others ask about sums, and our model does not add well enough to judge them.) No prompt of the
# held-out pairs is among the training prompts; but a fact that is held out in one wording may be asked for in the
# other.
#
# These labels were drawn by a program, so here we know what real projects do not know. Every answer of this world has
# a true **utility**: points for a right answer and for a polite opening and closing (*courtesies*). Points are taken away
# for too many courtesies, for too many words, and for an end without a full stop. No model of this chapter sees the utility. We use it only to measure how much of
# it a model has found.

# %% tags=["demo"]
train_records, heldout = comparisons.load()
prompts = {
    name: {r["prompt"] for r in records}
    for name, records in (("train", train_records), ("held out", heldout))
}
for name, records in (("train", train_records), ("held out", heldout)):
    print(f"{name}: {len(records):,} comparisons of answers to {len(prompts[name])} prompts")
shown = ("prompt", "chosen", "rejected")
plots.show_table([{name: r[name] for name in shown} for r in train_records[:6]])
question = understand(heldout[0]["prompt"])
right, wrong = question.full(), question.full(question.candidates[0])
polite = f"of course , {right}"
answers = [wrong, right, polite, f"sure , {polite}", f"{polite} hope this helps ."]
plots.show_table(
    [{"answer": a, "utility": utility(question.text, a)} for a in answers],
    caption=question.text,
)

# %% [markdown]
# ## From a utility to a choice
#
# People do not always choose the better answer. But the larger the difference, the more often they do. A simple model
# of that: an annotator does not see $u$ but $u + T\varepsilon$, with a new random deviation $\varepsilon$ for each
# answer, and chooses the larger number.
#
# **Derive it.** Let the deviations be independent and Gumbel distributed, $P(\varepsilon \le t) = e^{-e^{-t}}$. How
# probable is it that $y_1$ is chosen, if the utilities are $u_1$ and $u_2$? Try it on paper before you unfold.
#
# <details><summary><b>A model derivation</b></summary>
#
# Divide everything by $T$ and write $d = (u_1 - u_2) / T$. Then $y_1$ is chosen if
# $\varepsilon_2 \le d + \varepsilon_1$. For a given $\varepsilon_1 = t$, which has density $e^{-t} e^{-e^{-t}}$, that has
# probability $e^{-e^{-(d + t)}}$. Integrate over $t$:
#
# $$ P = \int e^{-t}\, e^{-e^{-t}}\, e^{-e^{-d} e^{-t}}\, dt = \int_0^\infty e^{-(1 + e^{-d})\, z}\, dz
# = \frac{1}{1 + e^{-d}} = \sigma(d), \qquad z = e^{-t}. $$
#
# So the logistic curve is a consequence of how the deviations are distributed. With normal deviations one gets
# Thurstone's model (1927), whose curve looks nearly the same.
# </details>
#
# This is the model of Bradley and Terry (1952). Zermelo (1929) used it before them, with maximum likelihood, to rate
# chess players. It is often written with $T = 1$.
#
# ## Exercise 1: who is preferred
#
# $$ P(y_1 \succ y_2 \mid x) = \sigma\!\left(\frac{r(x, y_1) - r(x, y_2)}{T}\right), \qquad \sigma(d) = \frac{1}{1 + e^{-d}}. $$
#
# The temperature $T$ says how careful the annotators are. At a very high one they choose by chance, at a very low one
# they nearly always choose the better answer.
#
# The next cell draws how a model will use this (the two scores are made up). Behind the check is a slider for $T$:
# each curve shows the choices of one team of annotators.

# %% tags=["demo"]
drawings.pair_through_one_model(question.text, polite, wrong, (4.2, 0.1), 0.98)

# %% nbgrader={"grade": false, "grade_id": "preference_probability", "locked": false, "schema_version": 3, "solution": true, "task": false}
def preference_probability(
    reward_first: torch.Tensor, reward_second: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """The probability that the first of two answers is preferred, by Bradley and Terry's model.

    reward_first, reward_second: float tensors of equal shape, or of shapes that broadcast; the
    result has their common shape, and gradients flow to both. temperature > 0 divides the
    difference of the rewards. No finite reward is too large, at any temperature: the result is
    never NaN.
    """
    ### BEGIN SOLUTION
    return torch.sigmoid((reward_first - reward_second) / temperature)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "preference_probability_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("preference_probability", preference_probability)

# %% tags=["demo"]
widgets.annotator_explorer(preference_probability)

# %% [markdown]
# ## Exercise 2: the loss of the pairs
#
# The labels are known, the rewards are not. The likelihood of all labels is a product over the pairs; its logarithm,
# with a minus and divided by the number of pairs, is the usual loss of a reward model:
#
# $$ \mathcal{L} = -\frac{1}{N} \sum_{i=1}^{N} \log \sigma\big(r(x_i, y_i^{+}) - r(x_i, y_i^{-})\big), $$
#
# where $y^{+}$ is the chosen answer and $y^{-}$ the rejected one. It is the loss of logistic regression on the
# difference. Write it so that the loss and its gradient stay finite and correct when a difference is huge.
#
# **Derive it.** What is the gradient of one pair's loss with respect to the reward of the chosen answer?
#
# <details><summary><b>A model derivation</b></summary>
#
# With $d = r^{+} - r^{-}$: $\;\frac{d}{dd}\big(-\log \sigma(d)\big) = -\frac{\sigma'(d)}{\sigma(d)} = -(1 - \sigma(d))$,
# because $\sigma' = \sigma (1 - \sigma)$. And $\partial d / \partial r^{+} = 1$, so the gradient is $-(1 - P)$; for the
# rejected answer it is $+(1 - P)$.
# </details>
#
# So a pair whose label has a small probability has a large gradient. The plot behind the check calls such a label
# *surprising*, and minus the gradient its *pull*. A pair whose label is already probable has almost no gradient.


# %% nbgrader={"grade": false, "grade_id": "bradley_terry_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bradley_terry_loss(
    rewards_chosen: torch.Tensor, rewards_rejected: torch.Tensor
) -> torch.Tensor:
    """The mean over the pairs of -log P(chosen is preferred), in nats: a scalar, with gradients
    to both rewards.

    rewards_chosen, rewards_rejected: (pairs,), float. The loss and its gradient are finite for
    differences of any size.
    """
    ### BEGIN SOLUTION
    return -F.logsigmoid(rewards_chosen - rewards_rejected).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bradley_terry_loss_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("bradley_terry_loss", bradley_terry_loss)

# %% tags=["demo"]
differences = torch.linspace(-6, 6, 121, requires_grad=True)
losses = torch.stack([bradley_terry_loss(d[None], torch.zeros(1)) for d in differences])
pull = -torch.autograd.grad(losses.sum(), differences)[0]  # by autograd, from your loss
fig, ax = plt.subplots(figsize=(6.5, 3))
ax.plot(differences.detach(), losses.detach(), label="loss")
ax.plot(differences.detach(), pull, label="pull: minus the gradient")
ax.set(
    xlabel="reward of the chosen answer minus reward of the rejected one",
    title="Surprising labels pull",
)
plots.name_lines(ax)
plt.show()

# %% [markdown]
# <details><summary><b>Hint</b> for exercise 2</summary>
#
# What is `torch.sigmoid(torch.tensor(-200.0))` in a float, and what is its logarithm? Is there a function in
# `torch.nn.functional` that does both steps at once?
# </details>
#
# ## Exercise 3: scores from a table of wins
#
# First solve the problem without a language model. There are some players, and a table of who beat whom how often.
# Which scores make the table most likely? Zermelo solved this for chess, and public rankings of chatbots (*arenas*)
# use it today.
#
# $$ \max_s \; \sum_{i, j} w_{ij} \log \sigma(s_i - s_j), \qquad w_{ij} \text{ how often } i \text{ beat } j $$
#
# The exercise says what is wanted, not how to compute it. Any method is allowed. Is the objective concave? What is
# its gradient? Is anything left undetermined?


# %% nbgrader={"grade": false, "grade_id": "fit_scores", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_scores(wins: torch.Tensor) -> torch.Tensor:
    """The scores of greatest likelihood under Bradley and Terry's model, (players,), shifted so
    that they sum to 0.

    wins: (players, players), integers or floats; wins[i, j] >= 0 is how often i beat j, the
    diagonal is 0. A pair may never have met. The likelihood has a maximum, and the scores there
    are to be found to four decimals. wins is left as it is.
    """
    ### BEGIN SOLUTION
    wins = wins.double()
    games, scores = wins + wins.T, torch.zeros(len(wins), dtype=torch.float64)
    for _ in range(
        25
    ):  # Newton's method: the objective is concave, a handful of steps would do
        p = torch.sigmoid(scores[:, None] - scores[None, :])  # (players, players)
        gradient = (wins - games * p).sum(1)
        weights = games * p * (1 - p)
        curvature = weights.sum(1).diag() - weights  # of the negative objective
        scores = scores + torch.linalg.solve(
            curvature + 1.0, gradient
        )  # the 1 holds their sum at 0
    return scores
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fit_scores_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("fit_scores", fit_scores)

# %% [markdown]
# <details><summary><b>Hint 1</b>: where is the top?</summary>
#
# Write down the derivative with respect to one score $s_i$. Each game of player $i$ adds something: what, if it was won,
# and what, if it was lost? At the top every player has won as many games as its score predicts.
# </details>
# <details><summary><b>Hint 2</b>: the simplest way up</summary>
#
# How far does a step have to go? The gradient, divided by each player's number of games, is a safe step; how many of
# them are needed if players have met only their neighbours? If you stop too early, all scores are too close to 0.
# (With a fixed learning rate, an optimiser such as Adam keeps moving around the top: let the rate fall.)
# </details>
# <details><summary><b>Hint 3</b>: Newton's method</summary>
#
# With $v_{ij} = (w_{ij} + w_{ji})\, p_{ij} (1 - p_{ij})$, minus the second derivative is `v.sum(1).diag() - v`. Why is it
# singular, and what happens to a solution if you add 1 to every entry?
# </details>
#
# In the next cell, five players whose true scores we know play more and more games. Then a general optimiser solves a
# **logistic regression** without an intercept (one row a game, +1 in the winner's column, −1 in the loser's, every
# label 1): it is the same problem.

# %% tags=["demo"]
true_scores = torch.tensor([-1.2, -0.5, 0.1, 0.4, 1.2])
fitted = {}
for games in (10, 100, 1000):
    wins = comparisons.tournament(true_scores, games, seed=device.seed(0))
    fitted[games] = torch.as_tensor(fit_scores(wins)).float()
score_errors = {
    games: (s - true_scores).square().mean().sqrt().item() for games, s in fitted.items()
}

fig, ax = plt.subplots(figsize=(5.2, 3.8))
ax.axline((0, 0), slope=1, color=plots.GREY, linewidth=1)
for games, scores in fitted.items():
    ax.scatter(
        true_scores, scores, label=f"{games} games a pair: off by {score_errors[games]:.2f}"
    )
ax.set(xlabel="true score", ylabel="fitted score", title="Scores from wins")
ax.legend()
plt.show()
regression = comparisons.logistic_regression(wins)
regression_difference = (torch.as_tensor(fit_scores(wins)) - regression).abs().max().item()
print(f"largest difference to a logistic regression: {regression_difference:.1e}")

# %% [markdown]
# ## Exercise 4: what pairs cannot tell
#
# Add 100 to every score of the table: no probability changes. With prompts it is worse. Answers are compared only
# with answers *to the same prompt*, so each prompt has a constant of its own that comparisons cannot determine,
# however many there are:
#
# $$ r(x, y) \quad\text{and}\quad r(x, y) + c(x) \quad\text{have the same likelihood.} $$
#
# This has consequences. Rewards of two models cannot be compared directly. First fix the constants: make the rewards
# of each prompt sum to zero. The mean rewards of two policies can be compared only on the *same* prompts, where the
# constants are the same for both. And in chapter 6, DPO does not need its $\beta \log Z(x)$, because that is such a
# constant.

# %% tags=["demo"]
two = [
    (understand(r["prompt"]).text, (r["utility_chosen"], r["utility_rejected"]))
    for r in (heldout[0], heldout[5])
]
drawings.constant_that_cancels(two, (3.0, -2.0))

# %% nbgrader={"grade": false, "grade_id": "center_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def center_rewards(rewards: torch.Tensor, prompt_ids: torch.Tensor) -> torch.Tensor:
    """The rewards, each minus the mean of the rewards of all answers to the same prompt:
    (answers,).

    rewards: (answers,), float; prompt_ids: (answers,), integers: equal where two answers belong
    to the same prompt. They come in any order and are any numbers, negative ones too. The
    rewards keep their order, and the input is left as it is.
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
# Which answers belong together? What does the table `prompt_ids[:, None] == prompt_ids[None, :]` say, and what does it
# do, as numbers, to a vector of rewards?
# </details>
#
# ## Exercise 5: one number for an answer
#
# Now the language model. Take off the head that predicts words and put a **scalar head** on: one vector, whose
# product with the last hidden state is the reward. The model computes such a product at every position. Only one
# position has seen the whole answer: that of the last real token, the end mark.
#
# Where that token stands depends on the padding. Padding is on the right for training, on the left for generation,
# and on both sides in a batch that was sampled from left-padded prompts (chapter 5). The attention mask tells you.

# %% tags=["demo"]
said = [*f"<assistant> {right}".split(), "<end>"]
pads = {"on the right": (0, 3), "on the left": (3, 0), "on both sides": (1, 2)}
drawings.where_the_score_is_read(
    [["<pad>"] * a + said + ["<pad>"] * b for a, b in pads.values()],
    [[0] * a + [1] * len(said) + [0] * b for a, b in pads.values()],
    list(pads),
)

# %% nbgrader={"grade": false, "grade_id": "last_token_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def last_token_rewards(
    token_rewards: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """The output of the scalar head at each row's last real token: (batch,), with its gradient.

    token_rewards: (batch, seq), the head's output at every position; attention_mask: (batch,
    seq), 1 (or True) on real tokens and 0 (or False) on padding, which may stand on the right,
    on the left, or on both sides. Every row has at least one real token; the real ones stand
    together. Both are left as they are.
    """
    ### BEGIN SOLUTION
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    last = (attention_mask.long() * (places + 1)).argmax(1)  # (batch,): the largest real place
    return token_rewards.gather(1, last[:, None])[:, 0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "last_token_rewards_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("last_token_rewards", last_token_rewards)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# In which column of the mask does the last 1 of a row stand? If you multiply a row of the mask by 1, 2, 3, …, where
# is the largest number? Then `gather`, or an index for the rows and one for the columns.
# </details>
#
# The body is our nano model. The head is a linear layer without a bias: a bias would be one more constant that pairs
# cannot determine. Two libraries have the same model ready-made, and we compare yours with them, with the same
# weights on the same rows. `transformers` finds the last token by looking for the padding id. `trl` gets raw
# conversations and does everything itself: template, batch, head, loss.


# %% tags=["demo"]
class HeadOnBody(torch.nn.Module):
    """A language model's body with a head for one number."""

    def __init__(self, language_model):
        super().__init__()
        self.body = language_model.model  # embeddings and layers, without the head for words
        self.head = torch.nn.Linear(language_model.config.hidden_size, 1, bias=False)
        torch.nn.init.zeros_(self.head.weight)  # every answer begins at 0, every pair at log 2

    def forward(self, input_ids, attention_mask):
        """The rewards, (batch,)."""
        out = self.body(input_ids=input_ids, attention_mask=attention_mask)
        token_rewards = self.head(out.last_hidden_state).squeeze(-1)  # (batch, seq)
        return last_token_rewards(token_rewards, attention_mask)


# %% tags=["demo"]
from course import library_rewards

tokenizer = data.load_tokenizer()
rows_of = comparisons.Rows(tokenizer, DEVICE)
base = models.load_nano("base")
ours = HeadOnBody(base).to(DEVICE).eval()
torch.manual_seed(device.seed(0))
torch.nn.init.normal_(ours.head.weight, std=0.1)
library = library_rewards.ready_made(ours.body, ours.head, base.config)
eight = train_records[:8]
yes, no = ([(r["prompt"], r[k]) for r in eight] for k in ("chosen", "rejected"))
with torch.no_grad():
    sides = [rows_of(yes), rows_of(yes, side="left")]
    head_difference = max(
        (ours(**rows) - library(**rows).logits[:, 0]).abs().max().item() for rows in sides
    )
    loss_ours = bradley_terry_loss(ours(**rows_of(yes)), ours(**rows_of(no))).item()
trl_difference = abs(loss_ours - library_rewards.trl_loss(library, eight, tokenizer))
print(f"largest difference of a reward to transformers: {head_difference:.1e}")
print(f"loss {loss_ours:.6f}; difference to trl: {trl_difference:.1e}")

# %% [markdown]
# ### Two ways to break it
#
# First: read the reward at the *last column* instead, padding or not. Score the same answer twice: alone, and in a
# batch with a longer one.
#
# Second: rows that are longer than a limit are cut off, mostly at the end, and then the two answers of a pair may be
# *equal*. Such a pair has the loss log 2 for every model and no gradient; an accuracy may count it as right, as wrong
# or not at all. And a row that lost its end mark is judged in the middle. Libraries have done this without a warning.
# The cell below counts such pairs.
#
# **Predict.** What happens to the two scores that were read at the last column?
# - **a** They are equal: a causal model does not look at padding.
# - **b** They differ, though the answer is the same.
# - **c** There is an error: padding has no hidden state.

# %% tags=["demo"]
predict("score_on_the_padding", "")

# %% tags=["demo"]
short, long = (question.text, right), (question.text, f"sure , {polite} hope this helps .")
states = lambda rows: ours.body(**rows).last_hidden_state  # noqa: E731
with torch.no_grad():
    alone, beside = rows_of([short]), rows_of([short, long])
    at_last_column = [ours.head(states(rows))[0, -1, 0].item() for rows in (alone, beside)]
    at_last_token = [ours(**rows)[0].item() for rows in (alone, beside)]
plots.show_table([
    {"read at": name, "alone": a, "beside a longer answer": b}
    for name, (a, b) in (("last column", at_last_column), ("last token", at_last_token))
])  # fmt: skip
moved = abs(at_last_column[0] - at_last_column[1])
reveal("score_on_the_padding", "b" if moved > 1e-3 else "a", moved=moved)
yes, no = ([(r["prompt"], r[k]) for r in heldout] for k in ("chosen", "rejected"))
cut_away = []
for limit in (24, 18, 15):
    ids = [rows_of(texts, longest=limit)["input_ids"] for texts in (yes, no)]
    both = [F.pad(x, (0, limit - x.shape[1]), value=tokenizer.pad_token_id) for x in ids]
    equal = (both[0] == both[1]).all(1)  # (pairs,)
    ends = [
        len(rows_of.words(a)) <= limit and len(rows_of.words(b)) <= limit
        for a, b in zip(yes, no)
    ]
    cut_away.append(
        {"at most": limit, "equal pairs": int(equal.sum()), "pairs with both ends": sum(ends)}
    )
plots.show_table(cut_away, caption=f"{len(heldout)} held-out pairs, cut off at some length")
longest = max(len(rows_of.words((r["prompt"], r[k]))) for r in train_records for k in shown[1:])
most = base.config.max_position_embeddings
print(f"uncut, the longest row has {longest} tokens; the model takes {most}")

# %% [markdown]
# Neither gives an error message. What to do: choose the limit by the data, leave out pairs in which one answer would
# be cut (`trl` 1.16 does so where a limit is set), and count what you left out.
#
# ## How good can it be?
#
# The simplest measure is the **accuracy**: how often the chosen answer has the larger reward, a tie counted half.
# What accuracy is possible? Not 1: the labels were drawn, and sometimes the worse answer was chosen. The best
# predictor knows the true utilities and always names the better answer. Its accuracy is the **Bayes ceiling**. The
# labels also have an entropy, which is the **floor** of the loss. And since we know how probable each label was, we
# can ask for the *expected* accuracy and loss over all labels that these annotators might have given. This removes
# the chance in the labels that were drawn.

# %% tags=["demo"]
true_chosen = torch.tensor([r["utility_chosen"] for r in heldout])  # (pairs,)
true_rejected = torch.tensor([r["utility_rejected"] for r in heldout])
label_probs = preference_probability(true_chosen, true_rejected)  # of the label that was drawn


def expected_accuracy(effect: torch.Tensor) -> float:
    """How often annotators who decide by the true utilities agree with a reward. effect:
    (pairs,), the reward of the chosen answer minus that of the rejected one."""
    ahead = (torch.sign(effect) + 1) / 2  # 1, 0, or one half for a tie
    return (label_probs * ahead + (1 - label_probs) * (1 - ahead)).mean().item()


def expected_loss(effect: torch.Tensor) -> float:
    """The expected Bradley-Terry loss of a reward under those annotators."""
    return (
        -(label_probs * F.logsigmoid(effect) + (1 - label_probs) * F.logsigmoid(-effect))
        .mean()
        .item()
    )


true_effect = true_chosen - true_rejected
ceiling, floor = expected_accuracy(true_effect), expected_loss(true_effect)
drawn_accuracy = ((torch.sign(true_effect) + 1) / 2).mean().item()
print(
    f"Bayes ceiling {ceiling:.3f}; on the labels as drawn the truth has {drawn_accuracy:.3f}"
)
print(f"entropy of the labels {floor:.3f} nats; saying nothing has log 2 = {math.log(2):.3f}")

# %% [markdown]
# ## Exercise 6: the training loop
#
# A batch of pairs goes through the model, chosen and rejected answers as rows of *one* batch: first all chosen
# answers, then, in the same order, the rejected ones. Then come your loss, its gradient, and a step. Write the loop.


# %% nbgrader={"grade": false, "grade_id": "train_reward_model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_reward_model(
    model, batches, optimizer, lr_at, max_norm: float = 1.0, after_step=None
) -> list[float]:
    """Train a reward model on pairs; returns the Bradley-Terry loss of every update, a plain
    number, from before its weights change.

    batches: an iterable of dicts of tensors, one dict an update; model(**batch) gives the
    rewards, (2 * pairs,): of the chosen answers first, then of the rejected ones in the same
    order. Update s, counted from 0, works with the learning rate lr_at(s) in every parameter
    group; the norm of the gradient of all the model's parameters is clipped to max_norm.
    after_step(s, loss) is called after each update. The model is put in training mode first.
    Gradients that were there before count for nothing.
    """
    ### BEGIN SOLUTION
    losses = []
    model.train()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        rewards_chosen, rewards_rejected = model(**batch).chunk(2)  # (pairs,) each
        loss = bradley_terry_loss(rewards_chosen, rewards_rejected)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_reward_model_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("train_reward_model", train_reward_model)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which half of the model's output belongs to the chosen answers? In which order do these stand: gradients to zero, loss,
# backward, clip, step? What is left in `.grad` when you begin? And what kind of thing is `loss` until you call `.item()`?
# </details>
#
# ## Training, by the book
#
# “By the book” means: in the usual way. We take `nano-instruct`, which knows the answers (made with the method of
# chapter 2, from right answers in all manners), put a new head on, and train all of it: with twice as many pairs as
# above, and with three seeds, because one run says little. (It takes some minutes, most of this chapter's time.)
#
# **Predict.** The annotators give about 3 points for being right, 1.2 for an opening and 1 for a closing: these are
# their *prices*. The rewards of a model have prices too. At the end of this training, for which of the three is the
# model's price the largest share of the annotators' price?
# - **a** Being right: it has the highest price, so its gradients are the largest.
# - **b** The courtesies.
# - **c** About the same share of all three.

# %% tags=["demo"]
predict("what_is_learned", "")

# %% tags=["demo"]
yes, no = ([(r["prompt"], r[k]) for r in train_records] for k in ("chosen", "rejected"))
held_texts = [(r["prompt"], r[k]) for k in ("chosen", "rejected") for r in heldout]
held_rows, N = rows_of(held_texts), len(heldout)
TEXTBOOK = {"updates": device.updates(900), "pairs": 32, "rate": 2e-3, "seeds": 3}
more_records, _ = comparisons.load(more_sets=3)
more = [[(r["prompt"], r[k]) for r in more_records] for k in ("chosen", "rejected")]
lengths = [max(len(rows_of.words(text)) for text in pair) for pair in zip(*more)]


@torch.no_grad()
def effect_of(model, rows: dict) -> torch.Tensor:
    """Reward of the chosen minus that of the rejected held-out answer, (pairs,)."""
    rewards = torch.cat([model(**part) for part in comparisons.parts(rows)]).cpu()
    return rewards[:N] - rewards[N:]


def paid(effect: torch.Tensor) -> dict[str, float]:
    """What a reward pays for each thing in which two answers differ, by least squares."""
    return comparisons.prices(held_texts[:N], held_texts[N:], effect)


# %% tags=["demo"]
def train_by_the_book(seed: int) -> list[dict]:
    """A head on a body, all of it trained; what the held-out pairs say of it on the way."""
    torch.manual_seed(seed)
    model, curve = HeadOnBody(models.load_nano("instruct")).to(DEVICE), []
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    updates, size = TEXTBOOK["updates"], TEXTBOOK["pairs"]
    drawn = comparisons.epochs(len(lengths), size, updates, seed, lengths)
    batches = (rows_of([texts[i] for texts in more for i in batch]) for batch in drawn)
    rate = comparisons.warm_then_fall(updates, TEXTBOOK["rate"])
    bar = tqdm(total=updates, desc=f"seed {seed}", mininterval=1.0)

    def measure(step: int, loss: float) -> None:
        bar.update()
        if (step + 1) % max(5, updates // 6) == 0:
            effect = effect_of(model, held_rows)
            point = {"update": step + 1, "effect": effect} | paid(effect)
            curve.append(point | {"accuracy": expected_accuracy(effect)})

    train_reward_model(model, batches, optimizer, rate, after_step=measure)
    bar.close()
    return curve


textbook = [train_by_the_book(device.seed(0))]

# %% tags=["demo"]
textbook += [train_by_the_book(device.seed(s)) for s in range(1, TEXTBOOK["seeds"])]
true_prices = paid(true_effect)
ends = [curve[-1] for curve in textbook]
median = lambda values: torch.tensor(list(values)).median().item()  # noqa: E731
plain_accuracy = median(end["accuracy"] for end in ends)
shares = {k: median(end[k] / true_prices[k] for end in ends) for k in comparisons.PAID_FOR[:3]}
shares = {k: round(share, 2) + 0.0 for k, share in shares.items()}  # 0.0, and not -0.0
manners_alone = expected_accuracy(
    true_effect - 3.0 * comparisons.difference(held_texts, "being right")
)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for curve in textbook:
    steps = [point["update"] for point in curve]
    axes[0].plot(
        steps, [p["accuracy"] for p in curve], color=plots.BLUE, marker="o", markersize=3, lw=1
    )
for name, color in zip(shares, (plots.VERMILION, plots.GREEN, plots.ORANGE)):
    series = torch.tensor([[p[name] / true_prices[name] for p in curve] for curve in textbook])
    axes[1].fill_between(steps, series.amin(0), series.amax(0), color=color, alpha=0.15)
    axes[1].plot(steps, series.median(0).values, color=color, label=name)
axes[0].set(xlabel="update", title=f"Accuracy, {len(textbook)} seeds", ylim=(0.5, 0.85))
axes[1].set(xlabel="update", title="Share of the true price", ylim=(-0.2, 1.6))
plots.mark_levels(axes[0], {"Bayes ceiling": ceiling, "manners only": manners_alone})
plots.mark_levels(axes[1], {"all of it": 1.0})
plots.name_lines(axes[1])
plt.show()
courtesies = (shares["an opening"] + shares["a closing"]) / 2
ratio = shares["being right"] / courtesies
most = "a" if ratio > 1.25 else "b" if ratio < 0.8 else "c"
reveal("what_is_learned", most, right=shares["being right"], courtesies=courtesies)

# %% [markdown]
# The left picture has two levels: the ceiling, and the accuracy of a judge who knows all prices but cannot tell right
# from wrong (*manners only*). What causes the gap to the ceiling? We give the model the true price of one thing at a
# time, leave the rest as it is, and measure its accuracy again. The last line gives it all four prices. What is still
# missing then comes from things that have no price, but change the model's rewards.


# %% tags=["demo"]
def repaired(effect: torch.Tensor, names) -> float:
    """The accuracy of a reward whose prices of these things are set to the true ones."""
    found = paid(effect)
    for name in names:
        wanting = true_prices[name] - found[name]
        effect = effect + wanting * comparisons.difference(held_texts, name)
    return expected_accuracy(effect)


repairs = [
    ("nothing", ()),
    *((n, (n,)) for n in comparisons.PAID_FOR),
    ("all four", comparisons.PAID_FOR),
]
gaps = {name: median(repaired(end["effect"], names) for end in ends) for name, names in repairs}
plots.show_table([{"set to its true price": n, "accuracy": a, "below the ceiling": ceiling - a}
                  for n, a in gaps.items()], caption="medians over the seeds")  # fmt: skip
by_seed = [round(end["being right"], 2) + 0.0 for end in ends]
true = true_prices["being right"]
print(f"paid for being right: {by_seed} by seed; the annotators pay {true:.2f}")
begun = sum(price > true / 3 for price in by_seed)
print(f"{begun} of {len(ends)} pay a third of it, or more, after {TEXTBOOK['updates']} updates")

# %% [markdown]
# Why is that hard? To see that an answer is wrong, a model has to find the right word and *compare* it with the word
# that came. The body knows the right word: it was trained to expect it. But that comparison was made in the head for
# words, which we have taken off. So the body has to learn a new one, from labels of which many are chance. Or it
# learns by heart which word goes with which of the few training prompts, which would help on these alone. A seed begins
# to see which answer is right rather suddenly, and the seeds need not begin at the same time: the last line counts
# those that have begun. Such a curve may still rise at the end, so more updates may help: on a GPU this section takes
# three times as many. This run does not say how far a larger model gets, or one that saw more prompts.
#
# ## What did it expect?
#
# Can we have the comparison without training for it? We also keep the head for words. At every place it tells how
# likely the next word was. The **surprise** of a word is $-\log p$, as in chapter 1. A wrong word usually has a
# larger surprise than the right one, so the surprise is such a comparison, ready-made. The language model with its
# head for words is now only a *reader*: it is frozen, and reads everything before the training begins. Then comes a
# head on surprises (`reward.SurpriseHead`; read it, it has twenty lines). At each word a small network sees the word
# and the reader's log-probability of it. Its outputs are added up from word to word, and your function reads one
# number at the last token. Your loop trains it. That takes only seconds, because the reader has already done its
# part.
#
# The head's output at each position says what the reward would be if the answer ended at that word. The differences
# from word to word show which words earn the reward: below the picture, green words raise it and red ones lower it.
# The reader and this head together are the reward model with which chapter 5 begins. Yours is saved; chapter 5 takes
# the one that comes with the course, made in the same way.


# %% tags=["demo"]
reader = models.load_nano("instruct").to(DEVICE).requires_grad_(False)


@torch.no_grad()
def read(texts: list, size: int = 256) -> dict[str, torch.Tensor]:
    """(prompt, answer) pairs as the reader sees them: input_ids, attention_mask, and logps of
    each word, all (texts, longest)."""
    rows = rows_of(texts)
    logps = torch.zeros(rows["input_ids"].shape, device=DEVICE)
    for some in rows["attention_mask"].sum(1).argsort().split(size):  # similar lengths together
        seq = int(rows["attention_mask"][some].sum(1).max())
        part = {name: value[some, :seq] for name, value in rows.items()}
        logps[some, :seq] = reward.expectations(reader, **part)
    return rows | {"logps": logps}


train_read, held_read = read([*yes, *no]), read(held_texts)
lowest = comparisons.least_expected(held_read["logps"], held_read, rows_of)  # (texts,)
is_right = torch.tensor([appraise(*text).right for text in held_texts])
fig, ax = plt.subplots(figsize=(6.5, 2.8))
groups = (("right", is_right, plots.GREEN), ("wrong", ~is_right, plots.VERMILION))
for name, which, color in groups:
    bins = dict(bins=40, range=(-14, 0), alpha=0.6, color=color)
    ax.hist(lowest[which].clamp(min=-14), label=f"{name} answers", **bins)
ax.set(
    xlabel="log p of the least expected word, courtesies left out, nats",
    ylabel="answers",
    title="What is wrong surprises the reader",
)
ax.legend()
plt.show()
told_apart = (lowest[is_right][:, None] > lowest[~is_right][None]).float().mean().item()
print(
    f"of a right and a wrong answer the right one surprises less in {told_apart:.1%} of cases"
)

# %% tags=["demo"]
class OnSurprises(reward.SurpriseHead):
    """The head on surprises, read at the last real token: (batch,)."""

    def forward(self, input_ids, attention_mask, logps):
        return last_token_rewards(
            super().forward(input_ids, attention_mask, logps), attention_mask
        )


UPDATES, SIZE = device.at_most(192, least=12), 64
number = {prompt: i for i, prompt in enumerate(dict.fromkeys(text[0] for text in held_texts))}
held_ids = torch.tensor([number[prompt] for prompt, _ in held_texts])  # of prompts
centered = center_rewards(torch.cat([true_chosen, true_rejected]), held_ids)
FIRST = torch.arange(len(yes))  # rows of train_read: the chosen ones, then the rejected ones
SECOND = FIRST + len(yes)


def train_on_surprises(winners, losers, name: str, seed: int = device.seed(0), after_step=None):
    """A head trained on pairs of rows, winners[i] preferred to losers[i]; and its losses."""
    torch.manual_seed(seed)
    model = OnSurprises(reader.get_input_embeddings().weight).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1.0)
    drawn = comparisons.epochs(len(winners), SIZE, UPDATES, seed)
    rows = (torch.cat([winners[batch], losers[batch]]) for batch in drawn)
    batches = (
        {k: v[some] for k, v in train_read.items()}
        for some in tqdm(rows, desc=name, total=UPDATES)
    )
    losses = train_reward_model(
        model,
        batches,
        optimizer,
        comparisons.warm_then_fall(UPDATES, 5e-3),
        after_step=after_step and (lambda step, loss: after_step(model, step + 1)),
    )
    return model.eval(), losses


def examine(model) -> dict[str, float]:
    """What the held-out pairs say of a reward model; at scale 1 its rewards are as far apart as
    the utilities. To compare those of different prompts, the constants have to go."""
    with torch.no_grad():
        rewards = center_rewards(model(**held_read).cpu(), held_ids)  # (2 * pairs,)
    effect = rewards[:N] - rewards[N:]
    found = {"accuracy": expected_accuracy(effect), "loss": expected_loss(effect)}
    found["correlation"] = torch.corrcoef(torch.stack([rewards, centered]))[0, 1].item()
    return found | {"scale": (rewards @ centered / (centered @ centered)).item()} | paid(effect)


# %% tags=["demo"]
history = []


def note(model, update: int) -> None:
    """Examine the model now and then."""
    if update % (UPDATES // 12) == 0:
        history.append({"update": update} | examine(model))


reward_model, losses = train_on_surprises(FIRST, SECOND, "on surprises", after_step=note)
result = examine(reward_model)
others = [
    examine(train_on_surprises(FIRST, SECOND, f"seed {s}", seed=device.seed(s))[0])
    for s in (1, 2)
]
seeds = [found["accuracy"] for found in (result, *others)]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.3))
smooth = torch.tensor(losses).unfold(0, 12, 1).mean(-1)
axes[0].plot(
    range(12, len(losses) + 1), smooth, color=plots.SKY, lw=1.2, label="training, mean of 12"
)
for ax, key in ((axes[0], "loss"), (axes[1], "accuracy")):
    ax.plot(
        [p["update"] for p in history],
        [p[key] for p in history],
        color=plots.BLUE,
        marker="o",
        markersize=3,
        label="held out, expected",
    )
    ax.set(xlabel="update", title=key)
axes[0].set(ylim=(0.35, 0.75))
axes[1].set(ylim=(0.5, 0.85))
axes[0].legend()
plots.mark_levels(axes[0], {"entropy of the labels": floor, "log 2": math.log(2)})
plots.mark_levels(axes[1], {"Bayes ceiling": ceiling, "by the book": plain_accuracy})
plt.show()
judges = {
    "the annotators": true_prices,
    "by the book": paid(ends[0]["effect"]),
    "on surprises": paid(effect_of(reward_model, held_read)),
}
plots.show_table([{"paid by": name} | row for name, row in judges.items()])
print(
    f"accuracy of three seeds: {[round(a, 3) for a in seeds]}; Bayes ceiling {ceiling:.3f}"
)

# %% tags=["demo"]
def show_reward(answer: str) -> float:
    """The words of an answer to our question, with what each adds to its reward."""
    row = read([(question.text, answer)])
    with torch.no_grad():
        so_far = reward.SurpriseHead.forward(reward_model, **row)[0]  # (seq,)
    words = [*answer.split(), "<end>"]
    added = so_far.diff()[-len(words) :].tolist()
    colors = [plots.GREEN if x > 0.2 else plots.VERMILION if x < -0.2 else None for x in added]
    plots.show_tokens(words, colors, [f"{x:+.1f}" for x in added])
    return so_far[-1].item()


for answer in (right, polite, f"sure , {polite}", f"of course , {wrong}"):
    show_reward(answer)
made_from = {"nano-instruct": models.load_card("nano-instruct")["sha256"]}
card = {"made by": "solutions/04_reward_model", "from": made_from, **result}
both_together = reward.RewardModel.of(reader, reward_model)
print("saved in", models.save_checkpoint(both_together, "my_checkpoints/nano-reward", card))

# %% [markdown]
# ## Exercise 7: does it know how sure it may be
#
# An accurate reward model says *which* answer is preferred. A **calibrated** one also says *how often*: of the pairs
# for which it predicts 70 %, the first answer should win 70 %. Put the predictions into bins, and compare the mean
# prediction of each bin with the share of wins in it. The mean distance between the two is the **expected calibration
# error** (Naeini et al. 2015; Guo et al. 2017 made it known for neural networks).


# %% nbgrader={"grade": false, "grade_id": "calibration_bins", "locked": false, "schema_version": 3, "solution": true, "task": false}
def calibration_bins(
    probabilities: torch.Tensor, outcomes: torch.Tensor, num_bins: int
) -> dict[str, torch.Tensor]:
    """What a reliability diagram shows, in num_bins bins of equal width over [0, 1].

    probabilities: (pairs,), predicted probabilities that the first answer wins; outcomes:
    (pairs,), integers, 1 where it did, else 0.
    Bin b, from 0, holds the predictions p with b / num_bins <= p < (b + 1) / num_bins; the last
    one holds p = 1, too.
    Returns "predicted", the mean prediction in each bin, and "observed", the share of outcomes
    that are 1 in it, NaN where a bin is empty; "count", how many predictions it holds, 0 where
    it is empty: each (num_bins,). And "error", a number: the mean of |predicted - observed|, in
    which each bin weighs as much as it holds predictions.
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
# Which mask picks the predictions of bin $b$, and what does `mean()` give where the mask is empty? May such a bin
# count in the error? What weight has each of the others?
# </details>
#
# The next cell measures it for our model. In every second held-out pair the rejected answer is put first, so that
# both outcomes occur. Even the true probabilities would not have an error of 0: a bin holds a few dozen pairs, and
# their share of wins is partly chance. So we also draw labels from the *model's own* predictions, many times, and
# compute the error again. That is the **noise floor**: the error that a perfectly calibrated model would show here.
# Only what is above it says something about the model.

# %% tags=["demo"]
turn = torch.where(torch.arange(N) % 2 == 0, 1.0, -1.0)
predicted = torch.sigmoid(turn * effect_of(reward_model, held_read))
bins = calibration_bins(predicted, (turn > 0).long(), 8)
calibration_error = float(bins["error"])
g = torch.Generator().manual_seed(device.seed(3))
by_luck = torch.tensor([
    float(calibration_bins(predicted, (luck < predicted).long(), 8)["error"])
    for luck in torch.rand(200, N, generator=g)
])  # fmt: skip
noise_floor, noise_top = by_luck.median().item(), by_luck.quantile(0.95).item()
print(
    f"calibration error {calibration_error:.3f}; of a perfectly calibrated model on such pairs "
    f"{noise_floor:.3f} in the median, above {noise_top:.3f} in one case of twenty"
)
drawings.calibration_in_bins(bins["predicted"], bins["observed"], bins["count"])

# %% [markdown]
# ## Careless annotators, and few comparisons
#
# Now **flip** 10 % of the training labels at random, and then 30 %: the other answer counts as chosen. And, without
# flips, learn from only 128 and only 512 pairs, with as many updates as before.
#
# **Predict.** What is damaged most when 30 % of the labels are flipped?
# - **a** The order of the answers, and with it the accuracy.
# - **b** The scale of the rewards.
# - **c** Both in the same way: nearly a third of each is lost.

# %% tags=["demo"]
predict("turned_labels", "")

# %% tags=["demo"]
noise, few, few_models = {0.0: result}, {}, {}
for share in (0.1, 0.3):
    g = torch.Generator().manual_seed(device.seed(1))
    turned = torch.rand(len(yes), generator=g) < share  # (pairs,)
    pairs = torch.where(turned, SECOND, FIRST), torch.where(turned, FIRST, SECOND)
    noise[share] = examine(train_on_surprises(*pairs, f"{share:.0%} flipped")[0])
for n in (128, 512):
    few_models[n], few_losses = train_on_surprises(FIRST[:n], SECOND[:n], f"{n} pairs")
    few[n] = {"training loss": sum(few_losses[-12:]) / 12} | examine(few_models[n])
few[len(yes)] = {"training loss": sum(losses[-12:]) / 12} | result
kept = ("loss", "accuracy", "scale")
plots.show_table(
    [{"flipped": f"{s:.0%}"} | {k: r[k] for k in kept} for s, r in noise.items()]
)
plots.show_table(
    [
        {"pairs": n} | {k: r[k] for k in ("training loss", "loss", "accuracy")}
        for n, r in few.items()
    ]
)
lost = {"scale": 1 - noise[0.3]["scale"] / noise[0.0]["scale"]}
lost["accuracy"] = 1 - (noise[0.3]["accuracy"] - 0.5) / (noise[0.0]["accuracy"] - 0.5)
gap = lost["scale"] - lost["accuracy"]
most = "c" if abs(gap) < 0.1 else "b" if gap > 0 else "a"
reveal("turned_labels", most, scale=lost["scale"], accuracy=lost["accuracy"])

# %% [markdown]
# Labels that are flipped at random prefer no kind of answer, so their effects cancel on average. But the loss asks
# for rewards that predict the labels, and the labels have become less predictable. So a model with a small scale need
# not be a bad one. (In chapter 5, a KL penalty of the same strength counts more against smaller rewards.) With few
# pairs, compare the training loss with the entropy of the labels, which was printed above. A model whose training
# loss is well below it has learned chance labels by heart, and its held-out loss shows it.
#
# ## Annotators who like long answers
#
# People tend to prefer the longer of two answers, and so do reward models trained on their choices (Singhal et al.
# 2023). So we make such annotators: they add a quarter of a point to the true utility for every word. How could you
# find that out, if you did not know it? Compare pairs of answers of *known* quality: in a linear regression, explain
# the difference of the rewards by the difference of the utilities and the difference of the lengths.

# %% tags=["demo"]
LIKING = 0.25  # utility per word, in the eyes of these annotators
seen = [
    torch.tensor([r[f"utility_{k}"] for r in train_records]) for k in ("chosen", "rejected")
]
words = [torch.tensor([comparisons.total_words(t) for t in texts]) for texts in (yes, no)]
p = preference_probability(seen[0] + LIKING * words[0], seen[1] + LIKING * words[1])  # (pairs,)
same = torch.rand(len(p), generator=torch.Generator().manual_seed(device.seed(2))) < p
biased_model, _ = train_on_surprises(
    torch.where(same, FIRST, SECOND), torch.where(same, SECOND, FIRST), "who like it long"
)
longer = torch.tensor([comparisons.total_words(t) for t in held_texts])
causes = torch.stack([true_effect, longer[:N] - longer[N:]], dim=1)  # (pairs, 2)
word_prices = {}
for name, model in (("honest", reward_model), ("like it long", biased_model)):
    effect = effect_of(model, held_read)
    point, word = torch.linalg.lstsq(causes, effect[:, None]).solution[:, 0].tolist()
    word_prices[name] = {
        "a point of utility": point,
        "a word": word,
        "points for ten words": 10 * word / point,
    }
plots.show_table([{"annotators": name} | found for name, found in word_prices.items()])

# %% [markdown]
# The biased model has learned correctly what its annotators like. The loss cannot show the bias, because it only
# measures agreement with their labels. A comparison of answers of known quality can.
#
# ## Exercise 8: what best of n is worth
#
# The simplest use of a reward needs no training at all: let the model answer $n$ times, and keep the answer with the
# largest reward. What is that worth? Say there are $m$ samples for each prompt, with their rewards and their true
# utilities. You could split them into groups of $n$, but that uses only few of the possible groups, and depends on
# the order. Take instead the mean over *all* ways of choosing $n$ of the $m$ samples: it is unbiased too, and has
# less noise. There are far too many ways to try them all.


# %% nbgrader={"grade": false, "grade_id": "best_of_n_utility", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_of_n_utility(rewards: torch.Tensor, utilities: torch.Tensor, n: int) -> torch.Tensor:
    """For each prompt, the mean utility of the best of n samples, over all ways of choosing n
    different ones of its samples: (prompts,), exact.

    rewards, utilities: (prompts, samples), float, with 1 <= n <= samples <= 100. The best is
    the sample with the largest reward. Samples of a row with equal rewards have equal
    utilities.
    """
    ### BEGIN SOLUTION
    samples = rewards.shape[1]
    ways = [math.comb(place, n - 1) / math.comb(samples, n) for place in range(samples)]
    upwards = utilities.gather(1, rewards.argsort(1))  # (prompts, samples), worst reward first
    return upwards @ torch.tensor(ways, dtype=upwards.dtype, device=upwards.device)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_of_n_utility_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("best_of_n_utility", best_of_n_utility)

# %% [markdown]
# <details><summary><b>Hint 1</b></summary>
#
# Sort the samples of a prompt by their reward. In how many of the choices is the one at place $i$ the best? What must be
# true of the others?
# </details>
# <details><summary><b>Hint 2</b></summary>
#
# It is the best if it is chosen and the other $n - 1$ come from the samples below it. How many ways is that, of how many
# in all? `math.comb` counts exactly; what happens to its numbers if you make floats of them *before* you divide?
# </details>
#
# ## Exercise 9: what best of n samples from
#
# Choosing among $n$ samples is sampling from *another* distribution $p_n$: a policy that has moved away from $p_0$. On a
# finite set of answers it can be written down.


# %% nbgrader={"grade": false, "grade_id": "best_of_n_probs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_of_n_probs(probs: torch.Tensor, rewards: torch.Tensor, n: int) -> torch.Tensor:
    """How probable each answer is as the best of n independent draws: (answers,), sums to 1.

    probs: (answers,), the probabilities of a draw, float64, some perhaps 0; rewards:
    (answers,), float, in no order; n >= 1. Of equally good draws the first is kept: answers of
    one reward share what falls to them in proportion to their probs.
    """
    ### BEGIN SOLUTION
    worse = (rewards[None, :] < rewards[:, None]).to(probs.dtype) @ probs  # (answers,)
    equal = (rewards[None, :] == rewards[:, None]).to(probs.dtype) @ probs
    kept = (worse + equal) ** n - worse**n  # the best of n is as good as this answer
    return torch.where(probs > 0, probs / equal * kept, 0.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_of_n_probs_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("best_of_n_probs", best_of_n_probs)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Without ties: let $F$ be the probability that a draw is no better than $y$, and $F_<$ that it is worse. How probable
# is it that *all* of $n$ draws are no better? And that all are worse? With ties, what do all answers of this reward
# get together, and how do they share it?
# </details>
#
# How far from $p_0$ does that take us? There is a formula that is often quoted (Stiennon et al. 2020):
#
# $$ \mathrm{KL}(p_n \,\|\, p_0) \le \log n - \frac{n - 1}{n}. $$
#
# <details><summary><b>Where it comes from</b></summary>
#
# Let every answer be improbable and no two equally good. Then $F$, the share of draws that are no better, is uniform on
# [0, 1] for one draw, and $p_n$ has the density $n F^{n-1}$ against $p_0$ (it is the derivative of $F^n$). So
#
# $$ \mathrm{KL} = \int_0^1 n F^{n-1} \log(n F^{n-1})\, dF = \log n + (n-1) \int_0^1 n F^{n-1} \log F\, dF
# = \log n - \frac{n-1}{n}. $$
#
# Where answers tie or are probable, several values of $F$ fall together into one answer. To put values together can only
# make a KL smaller, so the formula becomes a bound (Beirami et al. 2024).
# </details>
#
# **Predict.** A policy has five possible answers, and the *best* one comes six times in ten. What does the KL of best
# of n do as $n$ grows to 128?
# - **a** It grows like $\log n - (n-1)/n$.
# - **b** It grows at first and then stays constant, far below that.
# - **c** It falls again in the end, since the best answer is a frequent one.

# %% tags=["demo"]
predict("kl_of_best_of_n", "")

# %% tags=["demo"]
toys = {  # probabilities and rewards
    "forty equally likely answers": ([1 / 40] * 40, range(40)),
    "five answers, the worst is frequent": ([0.6, 0.1, 0.1, 0.1, 0.1], range(5)),
    "five answers, the best is frequent": ([0.1, 0.1, 0.1, 0.1, 0.6], range(5)),
}
counts = [1, 2, 4, 8, 16, 32, 64, 128]
bounds = [math.log(n) - (n - 1) / n for n in counts]
fig, ax = plt.subplots(figsize=(6.8, 3.5))
ax.plot(counts, bounds, color=plots.GREY, linestyle="--", label="log n − (n − 1)/n")
kls = {}
for name, (probs, rewards) in toys.items():
    probs, rewards = torch.tensor(probs).double(), torch.tensor([float(r) for r in rewards])
    best = [best_of_n_probs(probs, rewards, n) for n in counts]
    kls[name] = [torch.xlogy(b, b / probs).sum().item() for b in best]  # KL(best of n || probs)
    ax.plot(counts, kls[name], marker="o", markersize=3, label=name)
ax.set(
    xscale="log", xlabel="n", ylabel="KL from the policy, nats", title="A bound, not the truth"
)
ax.legend()
plt.show()
last, top = kls["five answers, the best is frequent"][-1], -math.log(0.6)
reveal(
    "kl_of_best_of_n",
    "b" if last < 0.5 * bounds[-1] else "a",
    kl=last,
    bound=bounds[-1],
    top=top,
)

# %% [markdown]
# ## Best of n on the nano model
#
# The policy is `nano-sft`. It was trained on ordinary answers: sometimes right, with or without courtesies. It
# answers held-out prompts 32 times each. Then four judges choose: the truth, our reward model, the one that saw 128
# pairs, and the one that learned from annotators who like it long. Every choice is counted at its *true* utility.

# %% tags=["demo"]
generate_answers = earlier("generate_answers", methods.generate_answers)
policy, SAMPLES = models.load_nano("sft").to(DEVICE).eval(), 32
asked = list(number)[:: max(1, len(number) // device.at_most(48, least=4))]
end = rows_of.word_id["<end>"]
torch.manual_seed(device.seed(0))
sampled = []
for i in tqdm(range(0, len(asked), 8), desc="sampling"):
    several = [prompt for prompt in asked[i : i + 8] for _ in range(SAMPLES)]
    ids, mask = methods.prompt_batch(several, tokenizer, DEVICE)
    drawn = generate_answers(
        policy, ids, mask, 24, end, tokenizer.pad_token_id, temperature=1.0
    )
    sampled += zip(several, tokenizer.batch_decode(drawn, skip_special_tokens=True))
shape = (len(asked), SAMPLES)
truth = torch.tensor([utility(*text) for text in sampled]).view(shape)  # (prompts, samples)
plots.show_table([{"asked": text[0], "answer": text[1], "utility": utility(*text)}
                  for text in sampled[:4]])  # fmt: skip

# %% tags=["demo"]
sampled_read = read(sampled)
with torch.no_grad():
    by = {name: model(**sampled_read).cpu().view(shape) for name, model in (
        (f"{len(yes):,} pairs", reward_model), ("128 pairs", few_models[128]),
        ("annotators who like it long", biased_model))}  # fmt: skip
NS = [1, 2, 4, 8, 16, 32]
curves = {name: [best_of_n_utility(rewards, truth, n).mean().item() for n in NS]
          for name, rewards in ({"the truth": truth} | by).items()}  # fmt: skip
fig, ax = plt.subplots(figsize=(7.2, 3.6))
for (name, values), color in zip(
    curves.items(), (plots.GREY, plots.BLUE, plots.ORANGE, plots.VERMILION)
):
    ax.plot(NS, values, marker="o", markersize=4, color=color, label=name)
ax.set(xscale="log", xlabel="n", ylabel="true utility", title="Best of n, by four judges")
ax.set_xticks(NS, [str(n) for n in NS])
plots.name_lines(ax)
plt.show()
at_most = [math.log(n) - (n - 1) / n for n in NS]
by_n = zip(*curves.values())
plots.show_table([
    {"n": n, "KL at most": kl} | dict(zip(curves, values))
    for n, kl, values in zip(NS, at_most, by_n)
])  # fmt: skip

# %% [markdown]
# The distance between a curve and the grey one is what that judge did not know. All of these answers are still
# ordinary ones of the policy. A policy that is *trained* on the reward can move away from the kind of answers from
# which the reward was learned, and then the curve may turn down: chapter 5.
#
# ## Exercise 10: few comparisons, careless annotators (open)
#
# Many solutions are possible here, and some are better than others. A small project describes each answer by 20
# features, and has 160 comparisons by eight annotators, twenty each. Four of them are careful and choose as Bradley
# and Terry say. The other four toss a coin each time, and you are not told which four. The utility is the sum of the
# features times their prices; prices come from a normal distribution around 0 with a standard deviation of 0.5,
# features from the standard normal one. Give scores to 100 answers that were not compared.
#
# What is measured: how much worse your scores predict the choices of careful annotators between all pairs of the
# held-out answers than the true utilities do, in nats a pair, as a mean over 40 such worlds. The bars: 0.25, 0.185
# and 0.172. Scores that are all 0 have about 0.34. The scale of your scores matters, as you have seen above.


# %% nbgrader={"grade": false, "grade_id": "scores_from_few", "locked": false, "schema_version": 3, "solution": true, "task": false}
def scores_from_few(
    features: torch.Tensor, pairs: torch.Tensor, annotators: torch.Tensor, heldout: torch.Tensor
) -> torch.Tensor:
    """Scores of held-out answers, (heldout answers,), learned from a few comparisons.

    features: (answers, 20), float64. pairs: (comparisons, 2), rows of features: the chosen
    answer and the rejected one. annotators: (comparisons,), from 0 to 7: who chose. heldout:
    (heldout answers, 20), float64, the features of the answers to be scored.
    """
    ### BEGIN SOLUTION
    d = features[pairs[:, 0]] - features[pairs[:, 1]]  # (comparisons, 20)
    people = F.one_hot(annotators, 8).to(d.dtype)  # (comparisons, annotators)
    prices = torch.zeros(d.shape[1], dtype=d.dtype)
    careful = torch.full((8,), 0.5, dtype=d.dtype)  # how probably each annotator is careful
    for _ in range(60):  # prices as probable as can be, then who is careful, and so on
        weight = people @ careful  # (comparisons,)
        p = torch.sigmoid(d @ prices)
        gradient = d.T @ (weight * (1 - p)) - prices / 0.25
        curvature = d.T @ (d * (weight * p * (1 - p))[:, None]) + torch.eye(len(prices)) / 0.25
        prices = prices + torch.linalg.solve(curvature, gradient)
        evidence = (F.logsigmoid(d @ prices) - math.log(0.5)) @ people  # (annotators,)
        careful = torch.sigmoid(evidence)
    return heldout @ prices
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "scores_from_few_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("scores_from_few", scores_from_few)

# %% [markdown]
# <details><summary><b>Three questions on the way</b></summary>
#
# 1. Which prices make the choices most likely? That alone reaches the first bar.
# 2. You know where prices come from. How does that enter the likelihood, and what does it do to the prices?
# 3. If you knew the prices, how would you find the careless annotators? And if you knew these, how would you find the
#    prices?
# </details>
#
# ## What you measured

# %% tags=["demo"]
ours_at, truth_at = list(curves.values())[1], curves["the truth"]
long, honest = (word_prices[k]["points for ten words"] for k in ("like it long", "honest"))
print(f"""In this run:
- The Bayes ceiling was {ceiling:.3f}. A judge of manners alone would have {manners_alone:.3f}.
- The model by the book had {plain_accuracy:.3f} after {TEXTBOOK["updates"]} updates (median of
  {len(textbook)} seeds). It paid {shares["being right"]:.0%} of the true price for being right,
  and {courtesies:.0%} for the courtesies.
- The head on surprises had {min(seeds):.3f} to {max(seeds):.3f} in three seeds. Its calibration
  error was {calibration_error:.3f}; luck alone makes {noise_floor:.3f}.
- With 30 % of the labels flipped it kept {1 - lost["scale"]:.0%} of its scale, and
  {1 - lost["accuracy"]:.0%} of its accuracy above chance.
- Annotators who like it long made it pay {long:.1f} points for ten words, honest ones
  {honest:.1f}.
- Best of {NS[-1]} by our reward model brought the utility from {ours_at[0]:.2f} to
  {ours_at[-1]:.2f}, by the truth itself to {truth_at[-1]:.2f}. It moved the policy by at most
  {at_most[-1]:.2f} nats.""")

# %% [markdown]
# ## Questions
#
# <details><summary><b>1. Reward model A has an accuracy of 0.75 on its labels, B has 0.70 on others. Which is better?</b></summary>
#
# The numbers do not say. Each has its own ceiling, which depends on how sure its annotators were and on how different
# the two answers of a pair were. Compare both on the same pairs, and if you can with the agreement of two annotators.
# </details>
#
# <details><summary><b>2. A ranking of four answers holds six pairs. May they be drawn into batches one by one, as if they were
# independent?</b></summary>
#
# They share answers, and one careless annotator makes all six unreliable, so they say less than six pairs from six
# people. InstructGPT (Ouyang et al. 2022) put all pairs of a ranking into one batch and gave each ranking the weight
# of one example; drawn one by one they made that model overfit.
# </details>
#
# <details><summary><b>3. Our features explain a pair's choice, but a model sees the courtesies only. Are the prices that it
# finds for them the true ones?</b></summary>
#
# No, they are smaller. What it does not see (who is right) acts like more carelessness: choices are less predictable, and the
# best scale for what it does see is smaller, as with flipped labels. Look at the prices of the model by the book
# again.
# </details>
#
# <details><summary><b>4. Why do papers about real reward models not give the Bayes ceiling?</b></summary>
#
# Because it is not known: nobody knows the probabilities of the labels. One can let several people judge the same pairs.
# How often they agree with one another bounds how well one model can agree with all of them.
# </details>
#
# ## What was not shown
#
# Sums; real people, who do not disagree only by chance; prompts that are really new (a held-out fact may have been
# asked for in other words); a reward model that is as large as its policy; whether a head on surprises gives high
# rewards to bad answers of a kind that this policy does not give. Chapter 5 tries the last one.
#
# **To read**: Zermelo 1929, *Die Berechnung der Turnier-Ergebnisse als ein Maximumproblem der
# Wahrscheinlichkeitsrechnung*; Bradley and Terry 1952, *Rank analysis of incomplete block designs*; Hunter 2004, *MM
# algorithms for generalized Bradley–Terry models*; Stiennon et al. 2020 (arXiv:2009.01325); Ouyang et al. 2022,
# *InstructGPT* (arXiv:2203.02155); Naeini et al. 2015, *Obtaining well calibrated probabilities using Bayesian
# binning*; Guo et al. 2017, *On calibration of modern neural networks* (arXiv:1706.04599); Singhal et al. 2023, *A
# long way to go* (arXiv:2310.03716); Gao et al. 2022, *Scaling laws for reward model overoptimization*
# (arXiv:2210.10760); Beirami et al. 2024 (arXiv:2401.01879).

# %%
progress("04_reward_model")
