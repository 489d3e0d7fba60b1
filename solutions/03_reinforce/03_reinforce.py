# %% [markdown]
# # 3 · Learning from a reward: REINFORCE
#
# Fine-tuning shows a model what to say. Now you tell it only *how good* its answer was, and it has to find better
# answers by itself. You derive the gradient for that. You check every line of the derivation against exact numbers,
# in a world so small that all answers can be listed. Then you train a language model with the same functions.
#
# **You will be able to**
# - derive the policy gradient, and say what happens to the θ inside the reward;
# - turn it into a loss with the sign, the means and the mask in the right places;
# - say what a baseline may depend on, and how much variance it removes;
# - use the KL term in four places: in the objective, in the reward, as an estimate, in the optimum;
# - write the training loop, train a table and a language model with it, and read the curves.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 the objective | ● ○ ○ | 10 | | 7 the optimum | ● ● ○ | 10 |
# | a derivation, in writing | ● ● ○ | 15 | | 8 all of it in one loss | ● ● ○ | 10 |
# | 2 the gradient | ● ● ○ | 10 | | 9 the training loop | ● ● ○ | 10 |
# | 3 the gradient from samples | ● ● ● | 10 | | 10 where an answer ends | ● ● ○ | 5 |
# | 4 a loss with that gradient | ● ● ○ | 5 | | 11 log-probabilities of a rollout | ● ● ● | 10 |
# | 5 a baseline | ● ○ ○ | 5 | | open task: the quietest gradient | open | as you like |
# | 6 a KL that is never negative | ● ● ● | 10 | | | | |
#
# You need chapter 2, or to know what the log-probability of an answer is. The letters are those of the
# [table in chapter 0](../00_start_here/00_start_here.ipynb): x is a prompt, y an answer, p_θ the policy that is trained,
# p₀ the frozen reference that it starts from, r(x, y) the reward, u(x, y) the true utility.

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from autograder import check, predict, progress, reveal

# %% tags=["demo"]
import random
import time

import matplotlib.pyplot as plt
from IPython.display import display
from tqdm.auto import tqdm

from autograder import earlier
from course import data, device, listed, methods, models, plots, widgets
from course.drawings import c03 as drawings
from data.utility import appraise

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more, and loses on shared cores
print(device.describe_machine())
DEVICE = device.device()
drawings.loop()

# %% [markdown]
# This is the whole chapter in one picture. You write a function for each of its steps.
#
# ## A world that can be listed
#
# There are three questions, and 32 answers to each: the right word or one of three wrong ones, short or as a
# sentence, with or without a polite opening and closing. The reference $p_0$ gives each of them some probability. The
# **reward** $r$ is, for now, the true utility $u$ of this course's world: 3 points for a right answer, 1.2 for an
# opening, 1 for a closing.

# %% tags=["demo"]
world = listed.listed_world()
ref_logps, rewards = world.ref_logps, world.utilities  # (prompts, answers), both
BETA = 1.0
plots.show_table(
    [
        {"answer": world.answers[0][i], "p₀": ref_logps[0, i].exp().item(),
         "reward": rewards[0, i].item()}
        for i in (0, 1, 4, 7, 8, 9, 15)
    ],
    caption=f"{world.prompts[0]} (7 of its {len(world.answers[0])} answers)",
)  # fmt: skip

# %% [markdown]
# ## What we want
#
# We want a policy $p_\theta$ whose answers are good, and which stays near $p_0$. How near is measured by the
# Kullback–Leibler divergence, KL. For one prompt,
#
# $$ J(\theta) = \mathbb{E}_{y\sim p_\theta}\,r(x, y) \;-\; \beta\,\mathrm{KL}(p_\theta \,\|\, p_0), \qquad
# \mathrm{KL}(p_\theta\|p_0) = \mathbb{E}_{y\sim p_\theta} \log\frac{p_\theta(y|x)}{p_0(y|x)}, $$
#
# and for several prompts the mean of that. β is the price of moving away from $p_0$, in points of reward per nat.
# From here on the prompt is left out of the formulas: all of them hold for each prompt.
#
# ## Exercise 1: the objective
#
# In this world every expectation is a sum over 32 answers. Write J exactly. Logits may be of *any* size, also of size
# 1000, where some probabilities are exactly 0 in floating point: J must stay finite there.


# %% nbgrader={"grade": false, "grade_id": "exact_objective", "locked": false, "schema_version": 3, "solution": true, "task": false}
def exact_objective(
    logits: torch.Tensor, ref_logits: torch.Tensor, rewards: torch.Tensor, beta: float
) -> torch.Tensor:
    """J = E[reward] - beta KL(policy || reference), averaged over the prompts.

    logits, ref_logits, rewards: (prompts, answers). Policy and reference are the softmax over
    the answers; the policy's logits may be of any size. Expectation and KL are those of the
    policy, in nats, summed over all answers. Returns a scalar through which a gradient flows
    to the policy's logits.
    """
    ### BEGIN SOLUTION
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)  # (prompts, answers)
    shaped = rewards - beta * (logps - ref_logps)
    return (logps.exp() * shaped).sum(-1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "exact_objective_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("exact_objective", exact_objective)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which numbers are the weights in $\mathbb{E}_{y\sim p}$, and do you then still divide by the number of answers? Which
# function gives log p without ever taking the logarithm of a 0?
# </details>
#
# ### The sign of the KL term
#
# The objective is often written with a **plus** in front of the KL. What would a plus do? Real rewards have flaws, so
# we put one into ours: it gives 1.2 points for *every* opening, although one is enough. There is one more answer now,
# “certainly , certainly , …”, which is very rare under $p_0$. Our rule overrates it; its true utility is below zero.
#
# **Predict.** Starting at p₀, we maximise each of the two objectives with exact gradients. Where does each policy
# end?
#
# - **a** Both end at the overrated answer: the reward is highest there.
# - **b** With minus, mostly on good answers; with plus, everything is on the overrated answer.
# - **c** With minus, everything is on one good answer; with plus, it stays near p₀.

# %% tags=["demo"]
predict("plus_sign", "")


# %% tags=["demo"]
def climb(ref_logits, rewards, beta: float, steps: int = 800) -> torch.Tensor:
    """Gradient ascent on the exact objective, from p_0: the logits where it ends."""
    logits = ref_logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (-exact_objective(logits, ref_logits, rewards, beta)).backward()
        optimizer.step()
    return logits.detach()


overrated, flawed_ref, flawed, true = listed.with_a_flaw(world)  # one more answer, the last one
ends = {"p₀": flawed_ref, "− β KL": climb(flawed_ref, flawed, BETA),
        "+ β KL": climb(flawed_ref, flawed, -BETA)}  # fmt: skip
flaw = {
    name: {"E[r]": (p * flawed).sum(-1).mean().item(), "E[u]": (p * true).sum(-1).mean().item(),
           "overrated": p[:, -1].mean().item()}
    for name, p in ((name, logits.softmax(-1)) for name, logits in ends.items())
}  # fmt: skip
display(drawings.two_pulls(*(logits[0].softmax(-1) for logits in ends.values())))
plots.show_table(
    [{"policy": name} | found for name, found in flaw.items()],
    caption=f"“{overrated}” is paid {flawed[0, -1]:.1f}, and worth {true[0, -1]:.1f}",
)
plus, minus = flaw["+ β KL"], flaw["− β KL"]
came = "b" if plus["overrated"] > 0.9 > minus["overrated"] else "a"
reveal("plus_sign", came, plus=plus["E[u]"], minus=minus["E[u]"], start=flaw["p₀"]["E[u]"])

# %% [markdown]
# With a plus the policy is *rewarded* for moving away from $p_0$, most of all towards answers that are rare under
# $p_0$. The KL is convex in the probabilities and the expected reward is linear. So their sum is convex, and a convex
# function of probabilities is largest at a corner: all probability on one answer. Look at both columns: E[r] is
# highest with plus, and E[u], what we wanted, is lower than before the training. With a minus the objective is
# concave, its optimum is spread over many answers, and a rare answer has to be overrated by a lot before it matters.
# So the sign has to be a minus. You compute this optimum in exercise 7.
#
# ## The gradient, line by line
#
# In chapters 1 and 2, θ was in the function under the expectation, and the data did not depend on it. Here θ is in
# the *distribution*. Leave the KL out for now, and let $f(y)$ be a number for each answer that does not depend on θ.
# Then
#
# $$ \nabla_\theta \sum_y p_\theta(y) f(y) \;\overset{(1)}{=}\; \sum_y f(y)\,\nabla p_\theta(y)
# \;\overset{(2)}{=}\; \sum_y p_\theta(y)\, f(y)\, \frac{\nabla p_\theta(y)}{p_\theta(y)}
# \;\overset{(3)}{=}\; \mathbb{E}_{y\sim p_\theta}\big[f(y)\,\nabla \log p_\theta(y)\big]. $$
#
# (1) the gradient goes under the sum; (2) multiply and divide by $p_\theta(y)$, so that it is an expectation again;
# (3) $\nabla p / p = \nabla \log p$. This is the **score-function** gradient (Williams 1992). It is useful because an
# expectation can be estimated from samples, and because only the values of $f$ are needed, not its gradient.
#
# ## A derivation, in writing
#
# But J is not of that form: with the KL in it, the function under the expectation depends on θ as well:
# $f_\theta(y) = r(y) - \beta \log\frac{p_\theta(y)}{p_0(y)}$. Derive $\nabla_\theta J$ for one prompt. Start from
# $J(\theta) = \sum_y p_\theta(y)\, f_\theta(y)$, and end with an expression that can be estimated from samples. In a
# class, your instructor reads it. If you learn alone, compare it with the model derivation below. There are six
# points:
#
# | points | for |
# |---|---|
# | 2 | the product rule: both terms are there |
# | 1 | the first term as an expectation, by $\nabla p = p\,\nabla\log p$ |
# | 2 | the second term worked out, with the reason for its value |
# | 1 | the result in one line, and what it says about the θ inside the reward |

# %% [markdown] nbgrader={"grade": true, "grade_id": "derivation", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
# By the product rule there are two terms:
#
# $$ \nabla J = \sum_y f_\theta(y)\,\nabla p_\theta(y) + \sum_y p_\theta(y)\,\nabla f_\theta(y). $$
#
# In the first, replace the gradient of p by p times the gradient of its logarithm; it becomes
# $\mathbb{E}[f_\theta(y)\,\nabla\log p_\theta(y)]$ over answers of the policy.
#
# In the second, r and the reference hold no parameters, so what remains of the integrand's gradient is
# $-\beta\,\nabla\log p_\theta(y)$. Hence the second term is
# $-\beta\sum_y p_\theta(y)\nabla\log p_\theta(y) = -\beta\sum_y\nabla p_\theta(y) = -\beta\,\nabla\sum_y p_\theta(y)$,
# and since probabilities always sum to one, that is the gradient of a constant: zero.
#
# So $\nabla J = \mathbb{E}\big[\big(r(y) - \beta\log\tfrac{p_\theta(y)}{p_0(y)}\big)\nabla\log p_\theta(y)\big]$: the
# parameters inside the reward contribute nothing, and it may be held constant under the gradient.

# %% [markdown]
# <details><summary><b>A model derivation</b>: open it when yours is written</summary>
#
# *Two terms.* J is a sum of products, and both factors depend on θ:
# $\nabla J = \underbrace{\textstyle\sum_y (\nabla p_\theta(y))\, f_\theta(y)}_{A} + \underbrace{\textstyle\sum_y
# p_\theta(y)\, (\nabla f_\theta(y))}_{B}$. If you write A alone, you use a rule that was made for an $f$ without θ.
#
# *A.* With $\nabla p = p \nabla \log p$ it reads $A = \mathbb{E}\big[f_\theta\,\nabla\log p_\theta\big]$. It can be
# estimated: draw answers, average.
#
# *B.* Of $f_\theta = r - \beta\log p_\theta + \beta\log p_0$ only the middle part has a θ, so
# $\nabla f_\theta = -\beta \nabla\log p_\theta$ and $B = -\beta\,\mathbb{E}[\nabla\log p_\theta]$. Now read
# $\nabla p = p\nabla\log p$ backwards:
# $\mathbb{E}[\nabla\log p_\theta] = \nabla\big(\sum_y p_\theta(y)\big) = \nabla 1$. A constant does not change, so
# $B = 0$ for every β.
#
# *Result.* $\nabla J = A$, where $f_\theta$ is used as a plain number. In code: compute the reward with its KL part,
# and `detach` it.
# </details>
#
# **Check yourself with numbers.** Each line of a derivation says that two quantities are equal. The next cell
# computes them for a policy halfway to the optimum. The gradient of J is measured by finite differences, so that
# nothing is assumed. The numbers are float64, because differences of nearly equal numbers lose digits.

# %% tags=["demo"]
climbed = climb(ref_logps, rewards, BETA)
halfway = 0.5 * ref_logps + 0.5 * climbed
theta, r, ref = (t[:1].double() for t in (halfway, rewards, ref_logps))  # (1, answers)
probs = theta.softmax(-1)[0]
grad_p = torch.autograd.functional.jacobian(lambda t: t.softmax(-1), theta[0])  # row y: ∇ p(y)
grad_logp = torch.autograd.functional.jacobian(lambda t: t.log_softmax(-1), theta[0])
f = (r - BETA * (theta.log_softmax(-1) - ref))[0]

differences = torch.stack([
    (exact_objective(theta + s, ref, r, BETA) - exact_objective(theta - s, ref, r, BETA)) / 2e-5
    for s in 1e-5 * torch.eye(theta.shape[1], dtype=torch.float64)
])  # fmt: skip
first, second = f @ grad_p, probs @ (-BETA * grad_logp)  # the two terms of the product rule
lines = {
    "two terms, against finite differences": (first + second - differences).abs().max().item(),
    "first term, as an expectation": (first - (probs * f) @ grad_logp).abs().max().item(),
    "second term, its largest entry": second.abs().max().item(),
}
plots.show_table(
    [{"line": name, "largest difference": f"{gap:.0e}"} for name, gap in lines.items()]
)

# %% [markdown]
# If your derivation gives another second term than the last line shows, look at it again.
#
# ## Exercise 2: the gradient
#
# For a softmax, ∇ log p is simple: $\nabla_\theta \log p_\theta(y) = \text{onehot}(y) - p_\theta$. Write the exact
# $\mathbb{E}[f(y)\nabla\log p_\theta(y)]$, the mean over prompts included.


# %% nbgrader={"grade": false, "grade_id": "score_function_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
def score_function_gradient(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """E[f(y) ∇ log p(y)] by enumeration, averaged over the prompts; ∇ is taken at the logits.

    logits, values: (prompts, answers); the policy p is the softmax over the answers, of
    logits of any size, and values holds f(y), constants even if they were computed from the
    logits. Returns the gradient, (prompts, answers).
    """
    ### BEGIN SOLUTION
    probs, values = logits.softmax(-1).detach(), values.detach()  # (prompts, answers)
    expected = (probs * values).sum(-1, keepdim=True)  # (prompts, 1)
    return probs * (values - expected) / len(logits)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "score_function_gradient_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("score_function_gradient", score_function_gradient)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Take one logit, that of answer b. In the sum over y of $p(y) f(y) (\text{onehot}(y) - p)$, which terms have a 1 at
# b, and what do all of them have there? What is left when you put p(b) outside a bracket?
# </details>
#
# ## Exercise 3: the gradient from samples
#
# A language model has more answers than can be listed. So draw $k$ answers for each prompt and average. This is
# **REINFORCE** in its plainest form:
#
# $$ \hat g = \frac1k\sum_{i=1}^{k} r(y_i)\,\nabla\log p_\theta(y_i), \qquad y_i\sim p_\theta. $$
#
# The judge draws many of your estimates. Their mean must be the exact gradient, within its standard error, and they
# must vary as estimates from independent samples do.
#
# (REINFORCE was derived for an $f$ without θ, and is often used for J, which has θ under the expectation, without an
# explanation. You derived why that is right: the second term is the gradient of a sum that is always 1. A cell behind
# the check compares your gradient with autograd of J.)


# %% nbgrader={"grade": false, "grade_id": "policy_gradient_estimate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_gradient_estimate(
    logits: torch.Tensor, rewards: torch.Tensor, k: int, generator: torch.Generator
) -> torch.Tensor:
    """One Monte-Carlo estimate of E[reward(y) ∇ log p(y)], averaged over the prompts.

    logits, rewards: (prompts, answers); ∇ is taken at the logits. For each prompt draw k
    answers from the softmax of its logits, all independent of each other and with the
    generator, and average reward(y) ∇ log p(y) over them. No baseline. Returns (prompts,
    answers).
    """
    ### BEGIN SOLUTION
    probs = logits.softmax(-1).detach()  # (prompts, answers)
    drawn = torch.multinomial(probs, k, replacement=True, generator=generator)  # (prompts, k)
    grad_logps = F.one_hot(drawn, probs.shape[-1]) - probs[:, None]  # (prompts, k, answers)
    return (rewards.gather(1, drawn)[..., None] * grad_logps).mean(1) / len(probs)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "policy_gradient_estimate_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("policy_gradient_estimate", policy_gradient_estimate)

# %% [markdown]
# <details><summary><b>Hint 1</b>: drawing</summary>
#
# May the same answer come twice among k independent draws? What does `torch.multinomial` do about that unless you tell it
# otherwise?
# </details>
# <details><summary><b>Hint 2</b>: ∇ log p of a sample</summary>
#
# What is the shape of k one-hot vectors for each prompt, and how must p be shaped to be subtracted from them? Over which axis is
# then the mean over samples, and where does the mean over prompts come in?
# </details>

# %% tags=["demo"]
logits = halfway.clone().requires_grad_()
exact_objective(logits, ref_logps, rewards, BETA).backward()
shaped = rewards - BETA * (halfway.log_softmax(-1) - ref_logps)  # r - β log(p/p₀), every answer
exact_gradient = torch.as_tensor(score_function_gradient(halfway, shaped)).float()
autograd_gap = (exact_gradient - logits.grad).abs().max().item()
ones = torch.ones_like(halfway)
extra_term = abs(BETA * score_function_gradient(halfway, ones)).max().item()
print(f"your gradient against autograd of J: {autograd_gap:.0e}")
print(f"the second term, -β E[∇ log p]:      {extra_term:.0e}")

ESTIMATES = device.at_most(3000, least=30)
generator = torch.Generator().manual_seed(device.seed(0))
estimates = torch.stack([
    policy_gradient_estimate(halfway, shaped, 4, generator) for _ in tqdm(range(ESTIMATES))
])  # (estimates, prompts, answers)  # fmt: skip
standard_error = estimates.std(0) / math.sqrt(ESTIMATES)
error = estimates.mean(0) - exact_gradient
overall = (error.norm() / standard_error.norm()).item()
fig, ax = plt.subplots(figsize=(8, 3))
ax.plot(estimates[0, 0], color=plots.ORANGE, linewidth=1, label="one estimate, k = 4")
ax.plot(estimates.mean(0)[0], color=plots.BLUE, lw=5, alpha=0.35, label=f"mean of {ESTIMATES}")
ax.plot(exact_gradient[0], color=plots.BLUE, linewidth=1.2, label="exact")
ax.set(xlabel="answer", ylabel="gradient at its logit", title="Right on average")
ax.legend()
plt.show()
print(f"length of the mean's error, in standard errors: {overall:.2f}")

# %% tags=["demo"]
drawings.update(torch.tensor([0.35, 0.25, 0.2, 0.12, 0.08]), [0, 1, 3], [1.0, 1.0, 4.0])

# %% [markdown]
# The mean of many estimates is right: its error is of the size of its standard error. A single one is mostly noise.
# The drawing shows what one does to five answers, of which three were drawn, all with positive rewards. The answer
# with the high reward becomes more likely. Answers with a small reward may become *less* likely, and so do the
# answers that were not drawn: all probabilities together are 1.
#
# ## Exercise 4: a loss with that gradient
#
# For a transformer, ∇ log p is not written by hand. Autograd finds it, if we give it a **surrogate loss** whose
# gradient is $-\hat g$:
#
# $$ \mathcal L = -\frac1n\sum_{i=1}^n A_i \log p_\theta(y_i), \qquad \log p_\theta(y_i) = \sum_t \log p_\theta(y_{i,t}\mid\dots). $$
#
# The weight $A_i$ is called the **advantage**; so far it is just the reward. It is a constant. The *value* of this
# loss means nothing: it may rise while the policy improves. We use only its gradient.


# %% nbgrader={"grade": false, "grade_id": "reinforce_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reinforce_loss(
    logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Minus advantage times log p(answer), averaged over the batch: its gradient is minus ĝ.

    logps: (batch, seq), log-probabilities of sampled tokens; mask: (batch, seq), 1 or True on
    the tokens of the answer, 0 or False behind it, where logps mean nothing; advantages:
    (batch,), constants even if they were computed from logps. log p(answer) is the sum over
    the answer's tokens. Returns a scalar through which a gradient flows to logps alone.
    """
    ### BEGIN SOLUTION
    answer_logps = (logps * mask).sum(-1)  # (batch,)
    return -(advantages.detach() * answer_logps).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reinforce_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("reinforce_loss", reinforce_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# An optimiser makes a loss small, and good answers are to become likelier: which sign? Which of the two means in your
# code, over tokens or over answers, does the formula not have?
# </details>
#
# The next cell computes the gradient twice from the same samples: by autograd of your loss, and by the formula for
# $\hat g$. The drawing below it prepares the next exercise: answers of this world, with the mean reward of the
# *others* beside each.

# %% tags=["demo"]
logits = halfway.clone().requires_grad_()
generator = torch.Generator().manual_seed(device.seed(5))
drawn = torch.multinomial(halfway.softmax(-1), 4, replacement=True, generator=generator)
sample_logps = logits.log_softmax(-1).gather(1, drawn).reshape(-1, 1)  # answers of one token
values = shaped.gather(1, drawn)  # (prompts, k)
reinforce_loss(sample_logps, values.flatten(), torch.ones_like(sample_logps)).backward()
grad_logps = F.one_hot(drawn, halfway.shape[1]) - halfway.softmax(-1)[:, None]
by_hand = (values[..., None] * grad_logps).mean(1) / len(halfway)
loss_gap = (logits.grad + by_hand).abs().max().item()
print(f"gradient of your loss against minus the formula, same samples: {loss_gap:.0e}")

generator = torch.Generator().manual_seed(device.seed(3))
some = torch.multinomial(ref_logps[0].exp(), 5, replacement=True, generator=generator)
paid = rewards[0, some]
drawings.advantages(paid, methods.leave_one_out_advantages(paid[None])[0])

# %% [markdown]
# ## Exercise 5: a baseline
#
# $\mathbb{E}[b\,\nabla\log p] = b\cdot 0$ for every constant $b$. So any number may be subtracted from the rewards
# without changing the expectation: a **baseline**. It must not depend on the answer that it is subtracted from. It may
# depend on the prompt, and on *other* answers.
#
# If several answers were drawn for each prompt, there is a good baseline at no cost: the mean of the others. That is
# **leave one out**. The drawing above shows what it does to five answers of this world.


# %% nbgrader={"grade": false, "grade_id": "leave_one_out_advantages", "locked": false, "schema_version": 3, "solution": true, "task": false}
def leave_one_out_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """Each reward minus the mean reward of the *other* answers to the same prompt.

    rewards: (prompts, k), k >= 2 answers sampled for each prompt. Returns (prompts, k). The
    rewards are not changed.
    """
    ### BEGIN SOLUTION
    k = rewards.shape[1]
    others = (rewards.sum(1, keepdim=True) - rewards) / (k - 1)  # (prompts, k)
    return rewards - others
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "leave_one_out_advantages_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("leave_one_out_advantages", leave_one_out_advantages)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What is the sum of the others, if you have the sum of all? How many others are there?
# </details>
#
# **Predict.** Now subtract the mean of *all* four rewards, the answer's own included. What happens to the mean of
# many estimates?
#
# - **a** Nothing: a mean of rewards is a baseline like any other.
# - **b** It keeps its direction and becomes shorter.
# - **c** It becomes longer.
# - **d** It points somewhere else.

# %% tags=["demo"]
predict("own_reward", "")

# %% tags=["demo"]
K = 4
constants = torch.linspace(-2, 8, 21).tolist()
kinds = {
    "no baseline": lambda v: v,
    "constant: the expected value": lambda v: v - (halfway.softmax(-1) * shaped).sum(-1).mean(),
    "leave one out": leave_one_out_advantages,
    "mean of the group, its own included": lambda v: v - v.mean(1, keepdim=True),
} | {b: (lambda v, b=b: v - b) for b in constants}
found = {name: listed.many_estimates(halfway, shaped, K, kind, seed=device.seed(0))
         for name, kind in kinds.items()}  # each (estimates, prompts, answers)  # fmt: skip
scatter = {name: e.var(0).sum().sqrt().item() for name, e in found.items()}
along = (exact_gradient / exact_gradient.square().sum()).flatten()
size = {name: (e.mean(0).flatten() @ along).item() for name, e in found.items()}  # 1: no bias
plots.show_table([
    {"baseline": name, "scatter of an estimate": scatter[name], "mean, along ∇J": size[name]}
    for name in kinds if name not in constants
])  # fmt: skip

fig, ax = plt.subplots(figsize=(7.5, 3))
ax.plot(constants, [scatter[b] for b in constants], color=plots.BLUE, label="constant b")
ax.axhline(scatter["leave one out"], color=plots.GREEN, label="leave one out")
ax.axhline(exact_gradient.norm().item(), color=plots.GREY, ls="--", label="length of ∇J")
ax.plot([0], [scatter["no baseline"]], "o", color=plots.VERMILION, label="none")
ax.set(xlabel="b", ylabel="scatter of one estimate", ylim=(0, None), title=f"k = {K}")
ax.legend(loc="upper center", fontsize=8)
plt.show()
own = size["mean of the group, its own included"]
mean = found["mean of the group, its own included"].mean(0).flatten()
angle = F.cosine_similarity(mean, exact_gradient.flatten(), dim=0).item()
reveal("own_reward", "d" if angle < 0.9 else "b" if own < 0.9 else "c" if own > 1.1 else "a",
       own=own, factor=(K - 1) / K, angle=angle)  # fmt: skip

# %% [markdown]
# Leave-one-out comes close to the best constant, which is not known before. A constant that is far from the best is
# no better than none. The mean of the whole group contains the answer's own reward, so it *depends on the answer*,
# and the gradient becomes too short by the factor $(k-1)/k$. Only its length is wrong, and GRPO (Shao et al. 2024)
# accepts that.
#
# It is often said that REINFORCE is not used in practice. Plain REINFORCE is not. With a leave-one-out baseline it is
# **RLOO** (Kool et al. 2019; Ahmadian et al. 2024). With the group's mean, divided by the group's standard deviation,
# it is the advantage of **GRPO**, which reasoning models are trained with.
#
# ## Exercise 6: a KL that is never negative
#
# You will want to *watch* the KL during training, but there you have only samples. The definition gives an estimate
# directly: $k_1 = d = \log p_\theta(y) - \log p_0(y)$. Its mean is the KL. But a single $k_1$ is often negative, and
# the mean of a few may be too, although no KL is negative. Half the square, $k_2 = d^2/2$, is never negative, but it
# is biased.
#
# Find an estimate that is both: right on average, for *every* policy and reference, and never negative. There is
# exactly one that uses only $d$.


# %% nbgrader={"grade": false, "grade_id": "kl_estimate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_estimate(logps: torch.Tensor, ref_logps: torch.Tensor) -> torch.Tensor:
    """For each sample of the policy, an estimate of KL(policy || reference), in nats.

    logps, ref_logps: log-probabilities of samples that were drawn from the policy, of the same
    shape, any. Returns a tensor of that shape, not averaged, through which a gradient flows to
    both. Each estimate depends on its own sample's logps - ref_logps alone, is never negative,
    and has the KL as its expectation, whatever policy and reference are (both give every answer
    some probability).
    """
    ### BEGIN SOLUTION
    log_ratio = logps - ref_logps
    return torch.expm1(-log_ratio) + log_ratio
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_estimate_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("kl_estimate", kl_estimate)

# %% [markdown]
# <details><summary><b>Hint 1</b></summary>
#
# You may add to $d$ anything whose mean under $p_\theta$ is zero. What is the mean of $p_0(y)/p_\theta(y)$ under
# $p_\theta$, whatever the two are? And how does one write that ratio with $d$?
# </details>
# <details><summary><b>Hint 2</b></summary>
#
# So $d + \lambda\,(e^{-d} - 1)$ is right on average for every λ. Draw it for a few λ. At $d = 0$ it is 0: what must
# its slope be there, if it is never to fall below zero?
# </details>
#
# Yours is called $k_3$ (Schulman 2020). In this world the mean and the spread of each estimator are sums over all
# answers. The next cell computes them for policies between $p_0$ and the optimum, and beyond it.

# %% tags=["demo"]
estimators = {
    "k1": lambda logps, ref_logps: logps - ref_logps,
    "k2": lambda logps, ref_logps: 0.5 * (logps - ref_logps) ** 2,
    "k3": kl_estimate,
}
exact_kls, bias, spread = [], *({name: [] for name in estimators} for _ in range(2))
for t in torch.linspace(0.05, 1.6, 32).tolist():
    logps = (t * climbed + (1 - t) * ref_logps).double().log_softmax(-1)
    ref = ref_logps.double()
    weights = logps.exp() / len(logps)
    exact_kls.append((weights * (logps - ref)).sum().item())
    for name, estimator in estimators.items():
        estimate = estimator(logps, ref)
        mean = (weights * estimate).sum().item()
        bias[name].append(mean - exact_kls[-1])
        spread[name].append((weights * (estimate - mean) ** 2).sum().sqrt().item())

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
for name, color in zip(estimators, (plots.BLUE, plots.ORANGE, plots.GREEN)):
    left.plot(exact_kls, bias[name], label=name, color=color, ls="--" if name == "k3" else "-")
    right.plot(exact_kls, spread[name], color=color)
left.set(xlabel="exact KL, nats", title="Bias")
right.set(xlabel="exact KL, nats", title="Spread of one sample")
left.legend()
plt.show()
NEAR, FAR = 2, -1  # a policy near the reference, and one far away
plots.show_table([
    {"exact KL": exact_kls[i]} | {f"spread of {name}": spread[name][i] for name in spread}
    for i in (NEAR, FAR)
])  # fmt: skip

# %% [markdown]
# $k_1$ and $k_3$ have no bias anywhere. Near the reference, where training begins, $k_3$ varies far less than $k_1$.
# Far away it is the other way round, because of the exponential in $k_3$.
#
# ## Exercise 7: the optimum
#
# With the right sign the problem has an answer in closed form:
#
# $$ p_*(y) = \frac{1}{Z}\,p_0(y)\,e^{r(y)/\beta}, \qquad Z = \sum_y p_0(y)\,e^{r(y)/\beta}. $$
#
# Put $r = \beta\log\frac{p_*}{p_0} + \beta\log Z$ into J and see:
# $J(\theta) = \beta\log Z - \beta\,\mathrm{KL}(p_\theta\|p_*)$. A KL is never negative, and zero only between equals.
# So $p_*$ is the maximum, and β log Z is the highest possible J. For a language model the sum Z has too many terms.
# Here it can be computed. Take care with small β: r/β becomes large.


# %% nbgrader={"grade": false, "grade_id": "optimal_policy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def optimal_policy(
    ref_logps: torch.Tensor, rewards: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The policy that makes E[reward] - beta KL(policy || reference) largest, and log Z.

    ref_logps: log-probabilities of the reference, minus infinity where it excludes an answer;
    rewards, of any size: both (prompts, answers); beta > 0, possibly tiny. Returns the
    optimum's probabilities (prompts, answers), and log Z (prompts,), where Z = sum over y of
    p_0(y) exp(reward(y) / beta).
    """
    ### BEGIN SOLUTION
    unnormalised = ref_logps + rewards / beta  # (prompts, answers), in logarithms
    log_z = unnormalised.logsumexp(-1)  # (prompts,)
    return (unnormalised - log_z[:, None]).exp(), log_z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "optimal_policy_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("optimal_policy", optimal_policy)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# How large is exp(r/β) for r = 5 and β = 0.001? Which function takes the logarithm of a sum of exponentials without ever
# computing them?
# </details>
#
# Is it the policy to which your exact gradient led? Then move the sliders: one for β, and one for each reward.

# %% tags=["demo"]
best_probs, log_z = optimal_policy(ref_logps, rewards, BETA)
best_value = BETA * log_z.mean().item()
climbed_value = exact_objective(climbed, ref_logps, rewards, BETA).item()
climbed_distance = listed.total_variation(climbed.softmax(-1), best_probs)
start_distance = listed.total_variation(ref_logps.exp(), best_probs)
print(f"β log Z = {best_value:.4f}; J where the exact gradient led: {climbed_value:.4f}")
print(f"total variation to p*: {start_distance:.3f} at p₀, {climbed_distance:.5f} there")
seen = [appraise(world.prompts[0], answer) for answer in world.answers[0]]
parts = {
    "right": (3.0, torch.tensor([float(a.right) for a in seen])),
    "opening": (1.2, torch.tensor([float(a.openings > 0) for a in seen])),
    "closing": (1.0, torch.tensor([float(a.closings > 0) for a in seen])),
}
widgets.optimum_explorer(world.answers[0], ref_logps[0], parts, optimal_policy)

# %% [markdown]
# ### Where to put the KL: in the reward, or in the loss
#
# Libraries do both. Some subtract β k from the reward, which is then held constant. Others add β times the mean of k
# to the loss, and let autograd differentiate it. As measurements, $k_1$ and $k_3$ agree. As parts of a loss they do
# not (arXiv:2506.09477, arXiv:2512.21852).
#
# **Predict.** You draw answers, and add the mean of their $k_1$ to the loss, differentiated. Its value is an unbiased
# estimate of the KL. Where does its gradient pull, on average?
#
# - **a** Back to p₀: its mean is the KL, so its gradient's mean is the KL's gradient.
# - **b** Nowhere: it is zero on average.
# - **c** Away from p₀.

# %% tags=["demo"]
predict("k1_as_loss", "")


# %% tags=["demo"]
def mean_gradient(estimate_of, ratio: bool = False) -> torch.Tensor:
    """The expected gradient of an estimate at samples of the halfway policy, by enumeration."""
    logits = halfway.clone().requires_grad_()
    logps = logits.log_softmax(-1)
    weights = logps.exp().detach()  # how often each answer is drawn: no gradient
    if ratio:
        weights = weights * (logps - logps.detach()).exp()  # this is 1, with a gradient
    (weights * estimate_of(logps, ref_logps)).sum(-1).mean().backward()
    return logits.grad


nothing = torch.zeros_like(rewards)
logits = halfway.clone().requires_grad_()
exact_objective(logits, ref_logps, nothing, -1.0).backward()  # the KL alone
forward = logits.grad
backward = (halfway.softmax(-1) - ref_logps.exp()) / len(halfway)  # ∇ KL(p₀‖p), at the logits
as_loss = {name: mean_gradient(k) for name, k in estimators.items()}
as_loss["ratio · k3"] = mean_gradient(kl_estimate, ratio=True)
pulls = {
    name: {"length": g.norm().item(), "distance to ∇KL(p‖p₀)": (g - forward).norm().item(),
           "distance to ∇KL(p₀‖p)": (g - backward).norm().item()}
    for name, g in as_loss.items()
}  # fmt: skip
plots.show_table([{"as a loss": name} | pull for name, pull in pulls.items()])
back = (as_loss["k1"] * forward).sum() > 0
came = "b" if pulls["k1"]["length"] < 1e-3 else "a" if back else "c"
reveal("k1_as_loss", came, length=pulls["k1"]["length"])

# %% tags=["demo"]
in_reward = {}
for name, estimator in estimators.items():
    logits = ref_logps.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        with torch.no_grad():
            value = rewards - BETA * estimator(logits.log_softmax(-1), ref_logps)
        gradient = torch.as_tensor(score_function_gradient(logits.detach(), value))
        logits.grad = -gradient.to(logits)
        optimizer.step()
    probs = logits.detach().softmax(-1)
    in_reward[name] = {
        "J": exact_objective(logits.detach(), ref_logps, rewards, BETA).item(),
        "total variation to p*": listed.total_variation(probs, best_probs),
        "answers below p₀/10": (probs < ref_logps.exp() / 10).float().mean().item(),
    }
plots.show_table(
    [{"in the reward": name} | end for name, end in in_reward.items()],
    caption=f"200 exact updates; the most that J can be is {best_value:.3f}",
)

# %% [markdown]
# As *losses* (first table):
#
# - $k_1$ does nothing: its gradient is zero.
# - $k_2$ has exactly the gradient of KL(p‖p₀), the one we want.
# - $k_3$ has the gradient of KL(p₀‖p), which is another KL.
# - $k_3$ times the ratio p/p̄ (p̄ is p, held constant) has the one we want again.
#
# Chapter 10 makes an exercise of it.
#
# Inside the *reward* (second table) your derivation needs $k_1$. We followed the exact gradient of
# $\mathbb{E}[(r - \beta k)\,\nabla\log p]$, where the bracket is held constant. Only $k_1$ leads to p*. The other two
# are never negative. So they also punish an answer that has become *less* likely. The penalty makes it even less
# likely, and the next penalty is larger: most answers that are not among the best disappear.
#
# ## Exercise 8: all of it in one loss
#
# An answer's **shaped reward** is $r(y) - \beta\,(\log p_\theta(y) - \log p_0(y))$, as a number. Compare it with
# those of the other answers to the same prompt, and multiply log p with the result. You have written all the pieces.
# This time answers have tokens, because the same function will train a table and a language model.


# %% nbgrader={"grade": false, "grade_id": "policy_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_loss(
    logps: torch.Tensor,
    ref_logps: torch.Tensor,
    rewards: torch.Tensor,
    mask: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """The REINFORCE loss with the KL-shaped reward and the leave-one-out baseline: a scalar.

    logps, ref_logps: (prompts, k, seq), log-probabilities of the answers' tokens under the
    policy that drew them and under the reference; mask: (prompts, k, seq), 1 or True on the
    tokens of an answer, behind which neither means anything; rewards: (prompts, k), of whole
    answers. The loss: minus the mean over all answers of advantage times log p(answer).
    Advantages are constants: a gradient flows to logps alone.
    """
    ### BEGIN SOLUTION
    log_ratio = ((logps - ref_logps) * mask).sum(-1)  # (prompts, k), of whole answers
    shaped = (rewards - beta * log_ratio).detach()
    advantages = leave_one_out_advantages(shaped).flatten()  # (prompts * k,)
    return reinforce_loss(logps.flatten(0, 1), advantages, mask.flatten(0, 1))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "policy_loss_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("policy_loss", policy_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What comes first, the KL or the baseline? `reinforce_loss` takes a batch of answers: what do (prompts, k, seq) and
# (prompts, k) have to become?
# </details>
#
# ## Exercise 9: the training loop
#
# From here on the loop is yours. It knows nothing of tables, tokens or KL: `sample` draws answers, `loss_of` makes a
# loss of them. In reinforcement learning the data depend on the policy, so every update needs new answers.


# %% nbgrader={"grade": false, "grade_id": "train_on_reward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_on_reward(policy, optimizer, sample, loss_of, rates: list[float]) -> list[float]:
    """Train a policy on its own answers. Returns the mean reward of each update's answers.

    There are as many updates as rates, and rates[i] is the learning rate of update i, for all
    of the optimizer's groups. In each update the policy answers once, as it is then: sample()
    returns logps, ref_logps, rewards and mask of its answers. Then the optimizer takes one
    step down the gradient of loss_of(logps, ref_logps, rewards, mask), of that loss alone;
    where the gradient of all the policy's parameters together is longer than 1, it is scaled
    to length 1. The mean rewards are plain numbers, one an update.
    """
    ### BEGIN SOLUTION
    earned = []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        logps, ref_logps, rewards, mask = sample()
        loss = loss_of(logps, ref_logps, rewards, mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm=1.0)
        optimizer.step()
        earned.append(rewards.mean().item())
    return earned
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_on_reward_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("train_on_reward", train_on_reward)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# It is the loop of chapters 1 and 2. What has to be cleared before a new gradient is computed? Which function of
# `torch.nn.utils` measures the length of all gradients together, and where must it stand?
# </details>
#
# Now learn from samples alone: sixteen answers to each prompt, and no sum over all answers. Because we know $p_*$, we
# can see how close the policy comes. Several seeds run with the baseline, as many without.


# %% tags=["demo"]
def loss_without_baseline(logps, ref_logps, rewards, mask):
    """The same, with the shaped rewards themselves as weights. One token an answer."""
    weights = rewards - BETA * (logps - ref_logps).detach()[..., 0]
    return reinforce_loss(logps.flatten(0, 1), weights.flatten(), mask.flatten(0, 1))


def learn(loss_of, seed: int, k: int = 16) -> list[float]:
    """Train a table of logits from samples; the total variation to p* before every update."""
    generator = torch.Generator().manual_seed(seed)
    policy, distances = listed.TablePolicy(ref_logps), []

    def sample():
        probs = policy.logits.detach().softmax(-1)
        distances.append(listed.total_variation(probs, best_probs))
        drawn = torch.multinomial(probs, k, replacement=True, generator=generator)
        logps = policy.logits.log_softmax(-1).gather(1, drawn)[..., None]  # (prompts, k, 1)
        from_ref = ref_logps.gather(1, drawn)[..., None]
        return logps, from_ref, rewards.gather(1, drawn), torch.ones_like(logps)

    rates = torch.linspace(0.05, 0, device.at_most(1000, least=10)).tolist()
    train_on_reward(policy, torch.optim.Adam(policy.parameters()), sample, loss_of, rates)
    return distances


losses = {
    "leave one out": lambda *batch: policy_loss(*batch, BETA),
    "no baseline": loss_without_baseline,
}
SEEDS = [device.seed(n) for n in range(device.at_most(3))]
learned = {name: torch.tensor([learn(loss, seed) for seed in tqdm(SEEDS, desc=name)])
           for name, loss in losses.items()}  # each (seeds, updates)  # fmt: skip
COLORS = {"leave one out": plots.GREEN, "no baseline": plots.VERMILION}
fig, ax = plt.subplots(figsize=(7.5, 3.2))
for name, runs in learned.items():
    steps = range(runs.shape[1])
    ax.fill_between(steps, runs.amin(0), runs.amax(0), color=COLORS[name], alpha=0.25)
    ax.plot(runs.mean(0), color=COLORS[name], label=name)
ax.set(yscale="log", xlabel="update", ylabel="total variation to p*",
       title=f"Learning from samples; bands over {len(SEEDS)} seeds")  # fmt: skip
ax.legend()
plt.show()
reached = {name: runs[:, -1].tolist() for name, runs in learned.items()}
print({name: [f"{tv:.4f}" for tv in tvs] for name, tvs in reached.items()})

# %% [markdown]
# The difference is large, and there is a reason. At the optimum the shaped reward of every answer is the same:
# $r - \beta\log\frac{p_*}{p_0} = \beta\log Z$. So leave-one-out advantages are exactly zero there, and near the
# optimum the noise goes to zero. Without a baseline every answer keeps the weight β log Z, and the noise stays.
#
# **A good place for a break.** To go on another day, open this notebook, click on this cell, and choose *Run All
# Above Selected Cell*: about a minute, and everything is in place.
#
# ## The same functions on a language model
#
# Now we train the nano model, after supervised fine-tuning on ordinary answers. It has not been trained to prefer
# some answers to others. A *rule* gives the reward: the same true utility, computed from the text. An answer that
# does not end with a full stop costs 1.5 points, and an empty answer is one of those. Sampling is what you wrote in
# chapter 2.
#
# ## Exercise 10: where an answer ends
#
# Some rows end earlier than others. What stands behind the end mark must not count in the loss. The end mark itself
# must count: to stop is a choice of the policy.


# %% nbgrader={"grade": false, "grade_id": "answer_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def answer_mask(tokens: torch.Tensor, end_id: int) -> torch.Tensor:
    """1 on the tokens of each answer, its first end_id included; 0 on everything behind that.

    tokens: (batch, new), what was sampled; behind the first end_id of a row anything may
    stand. A row without end_id counts as a whole. Returns (batch, new), of any dtype.
    """
    ### BEGIN SOLUTION
    is_end = (tokens == end_id).long()
    ends_before = is_end.cumsum(1) - is_end  # how many end tokens stand in front of each token
    return (ends_before == 0).long()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "answer_mask_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("answer_mask", answer_mask)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# How many end marks stand *in front of* each token? What does a running sum of `tokens == end_id` count too many?
# </details>
#
# ## Exercise 11: log-probabilities of a rollout
#
# A **rollout** is prompts, sampled tokens and a mask. For the loss we need log p of each sampled token, once under the
# policy, with gradient, and once under the reference. One forward pass over prompt and answer together gives them all.


# %% nbgrader={"grade": false, "grade_id": "rollout_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rollout_logps(
    model,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    tokens: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """log p of each sampled token given everything before it, in nats; 0 where the mask is 0.

    input_ids, attention_mask: (batch, seq), prompts padded on the left, with any id. tokens:
    (batch, new), what the model wrote behind them; mask: (batch, new), 1 or True on the
    tokens of the answer. model(input_ids=..., attention_mask=...) returns something with
    .logits, (batch, length, vocab): those at a place predict the token at the next. Returns
    (batch, new), through which a gradient flows to the model.
    """
    ### BEGIN SOLUTION
    rows = torch.cat([input_ids, tokens], dim=1)  # (batch, seq + new)
    seen = torch.cat([attention_mask, mask.to(attention_mask.dtype)], dim=1)
    logits = model(input_ids=rows, attention_mask=seen).logits
    logits = logits[:, input_ids.shape[1] - 1 : -1]  # (batch, new, vocab)
    logps = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)  # (batch, new)
    return logps.masked_fill(mask == 0, 0.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rollout_logps_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("rollout_logps", rollout_logps)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the rows</summary>
#
# Join prompts and tokens to rows. What must the attention mask of the joined rows be on the prompts' padding, and on
# the answers?
# </details>
# <details><summary><b>Hint 2</b>: which logits</summary>
#
# Logits at a place predict the *next* token. So at which place is the first new token predicted? And what does the last
# place predict?
# </details>
#
# The next cell shows your mask and your log-probabilities on answers of the nano model. Near 0, it was sure of the
# token.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
END, PAD = tokenizer.get_vocab()["<end>"], tokenizer.pad_token_id
reference = models.load_nano("sft").to(DEVICE)
train_prompts = sorted({record["prompt"] for record in data.load_jsonl("preferences_train")})
test_prompts = sorted({record["prompt"] for record in data.load_jsonl("preferences_heldout")})
print(f"{len(train_prompts)} prompts to practise on, {len(test_prompts)} others for the test")
generate = earlier("generate_answers", methods.generate_answers)


def answers_of(model, prompts: list[str], generator) -> tuple[torch.Tensor, ...]:
    """Ids and mask of the prompts (batch, seq), and a sampled answer to each (batch, new)."""
    ids, attention_mask = methods.prompt_batch(prompts, tokenizer, DEVICE)
    tokens = generate(model, ids, attention_mask, 24, END, PAD, 1.0, generator)
    return ids, attention_mask, tokens


asked = [test_prompts[0], test_prompts[-1], test_prompts[20], test_prompts[40]]
ids, attention_mask, tokens = answers_of(
    reference, asked, torch.Generator(DEVICE).manual_seed(device.seed(2))
)
with torch.no_grad():
    mask = answer_mask(tokens, END).long()
    logps = rollout_logps(reference, ids, attention_mask, tokens, mask)  # (batch, new)
for row, keep, logp in zip(tokens.tolist(), mask.tolist(), logps.tolist()):
    plots.show_tokens(
        tokenizer.convert_ids_to_tokens(row),
        [plots.BLUE if k else None for k in keep],
        [f"{round(x, 1) + 0:.1f}" if k else "–" for x, k in zip(logp, keep)],
    )

# %% [markdown]
# ### Twelve prompts, four answers each
#
# `sample` is all that is new. The reward is computed for the *whole* answer, and so is its KL: the sum over its tokens.
#
# **Predict.** Three things are rewarded: a right answer (3 points), an opening (1.2), a closing (1). For each, we
# measure the share of answers that have it. Which share grows most in the first third of the training?
#
# - **a** Right answers: they bring most points.
# - **b** An opening or a closing: such polite words bring less, but they can be added to any answer.
# - **c** All by about the same.

# %% tags=["demo"]
predict("first_learned", "")

# %% tags=["demo"]
NANO_BETA, PER_UPDATE, SAMPLES = 0.1, 12, 4
WHAT = {
    "right": lambda a: a.right,
    "opening": lambda a: a.openings > 0,
    "closing": lambda a: a.closings > 0,
}


def rollout(policy, prompts: list[str], generator):
    """Sampled answers: their texts, what they are worth, and what policy_loss needs of each."""
    ids, attention_mask, tokens = answers_of(policy, prompts, generator)
    mask = answer_mask(tokens, END).long()
    logps = rollout_logps(policy, ids, attention_mask, tokens, mask)  # (batch, new)
    with torch.no_grad():
        ref_logps = rollout_logps(reference, ids, attention_mask, tokens, mask)
    texts = methods.answer_texts(tokens, mask, tokenizer, END)
    judged = [appraise(x, y) for x, y in zip(prompts, texts)]
    return texts, judged, logps, ref_logps, mask


def sampler(policy, seed: int, log: list):
    """The sample() of train_on_reward for a language model; it logs what answers are like."""
    rng, generator = random.Random(seed), torch.Generator(DEVICE).manual_seed(seed)

    def sample():
        prompts = [x for x in rng.sample(train_prompts, PER_UPDATE) for _ in range(SAMPLES)]
        _, judged, logps, ref_logps, mask = rollout(policy, prompts, generator)
        kl = (logps - ref_logps).detach().sum(1).mean().item()
        log.append([sum(map(is_so, judged)) / len(judged) for is_so in WHAT.values()] + [kl])
        rewards = torch.tensor([a.utility for a in judged], device=DEVICE).view(-1, SAMPLES)
        shape = (PER_UPDATE, SAMPLES, -1)
        return logps.view(shape), ref_logps.view(shape), rewards, mask.view(shape)

    return sample


# %% tags=["demo"]
def unshaped(logps, ref_logps, rewards, mask):
    """Without a baseline: the shaped rewards themselves weigh log p."""
    kl = ((logps - ref_logps) * mask).sum(-1).detach()  # (prompts, k)
    weights = (rewards - NANO_BETA * kl).flatten()
    return reinforce_loss(logps.flatten(0, 1), weights, mask.flatten(0, 1))


NANO_LOSSES = {
    "leave one out": lambda *batch: policy_loss(*batch, NANO_BETA),
    "no baseline": unshaped,
}
rates = [1e-3 * min(1, (i + 1) / 5) for i in range(device.updates(45, least=6))]
started, trained = time.perf_counter(), {}
for name, loss_of in NANO_LOSSES.items():
    for seed in tqdm(SEEDS, desc=name):
        policy, log = models.load_nano("sft").to(DEVICE), []
        optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
        earned = train_on_reward(policy, optimizer, sampler(policy, seed, log), loss_of, rates)
        trained[name, seed] = policy.eval(), earned, log
print(f"{len(trained)} runs of {len(rates)} updates in {time.perf_counter() - started:.0f} s")


# %% tags=["demo"]
@torch.no_grad()
def measure(policy, repeats: int = 4) -> tuple[dict, list[str]]:
    """On the test prompts, some answers each: reward, what it is made of, KL by k1 and k3."""
    prompts = [x for x in test_prompts for _ in range(repeats)]
    generator = torch.Generator(DEVICE).manual_seed(device.seed(7))
    texts, judged, logps, ref_logps, _ = rollout(policy, prompts, generator)
    k1, k3 = (logps - ref_logps).sum(1), kl_estimate(logps.sum(1), ref_logps.sum(1))
    found = {"reward": sum(a.utility for a in judged) / len(judged)}
    found |= {what: sum(map(is_so, judged)) / len(judged) for what, is_so in WHAT.items()}
    return found | {"k1": k1.mean().item(), "k3": k3.mean().item()}, texts[::repeats]


at_start, texts_before = measure(reference)
at_end = {key: measure(policy)[0] for key, (policy, *_) in trained.items()}
texts_after = measure(trained["leave one out", SEEDS[0]][0])[1]
plots.show_table(
    [{"policy": "before"} | at_start]
    + [{"policy": f"{name}, seed {seed}"} | found for (name, seed), found in at_end.items()],
    caption=f"{len(test_prompts)} prompts that were not practised, 4 answers each",
)
rows = list(zip(test_prompts, texts_before, texts_after))[::9]
plots.show_table([{"asked": x, "before": before, "after": after} for x, before, after in rows])

# %% tags=["demo"]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.1))
smooth = lambda curve: F.avg_pool1d(torch.tensor(curve)[None], 5, stride=1)[0]  # noqa: E731
for name, color in COLORS.items():
    for seed in SEEDS:
        _, earned, log = trained[name, seed]
        label = name if seed == SEEDS[0] else None
        axes[0].plot(smooth(earned), color=color, linewidth=1, label=label)
        axes[1].plot(smooth([row[-1] for row in log]), color=color, linewidth=1)
logs = torch.tensor([trained["leave one out", seed][2] for seed in SEEDS])
for i, (what, color) in enumerate(zip(WHAT, (plots.BLUE, plots.ORANGE, plots.PURPLE))):
    axes[2].plot(smooth(logs[..., i].mean(0).tolist()), color=color, label=what)
for ax, title in zip(axes, ("Reward", "KL to the start, nats (k1)", "Shares, leave one out")):
    ax.set(xlabel="update", title=title)
axes[0].legend(fontsize=8)
axes[2].legend(fontsize=8)
plt.show()
third = len(rates) // 3
early = {what: (logs[:, third - 3 : third + 3, i].mean() - logs[:, :3, i].mean()).item()
         for i, what in enumerate(WHAT)}  # growth of each share, first third  # fmt: skip
ranked = sorted(early, key=early.get)
close = early[ranked[-1]] - early[ranked[0]] < 0.05
came = "c" if close else "a" if ranked[-1] == "right" else "b"
reveal("first_learned", came, third=third, right=early["right"], opening=early["opening"],
       closing=early["closing"])  # fmt: skip

# %% [markdown]
# Now read the columns of the first table, and not only the curves. A polite word can be added to any answer, and is
# rewarded every time. A *right* answer brings most, but it has to be drawn by chance before it can be made more
# likely. So the model becomes surer of facts that it already gave sometimes. A policy learns what brings reward most
# easily, and that need not be what you wanted most.
#
# Compare the columns k1 and k3, too. These policies are several nats away from the reference, and there one rare
# answer can change a mean of $k_3$ a lot, as you have seen. β is a price, not a limit: it does not keep the KL below
# a given number.
#
# And the baseline? In the small world it decided how close the policy came to the optimum. Here there are few updates,
# far from any optimum, and gradients are scaled to length 1 at most. Look at the rows of the table, seed by seed: where
# those with the baseline and those without overlap, so few runs do not show that it helped.
#
# ## Open task: the quietest gradient
#
# Rewards are often expensive: a person gives them, or a large model. Here you may ask for the rewards of k = 4
# answers to each prompt. Estimate the gradient from them with as little noise as you can. There are ten answers to
# each prompt, and you know the probabilities of all of them. Any way of choosing the four is allowed, if the weights
# correct for it.
#
# The judge measures, over many prompts with rewards you have not seen: whether the estimate is right on average, and
# its mean squared error, in units of what leave-one-out has. The bars are at 2, 1.25, 0.75 and 0.5. A biased estimate
# reaches none.


# %% nbgrader={"grade": false, "grade_id": "quiet_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quiet_gradient(
    logits: torch.Tensor, reward_of, k: int, generator: torch.Generator
) -> torch.Tensor:
    """An unbiased estimate of the gradient of E[reward(y)] at the logits, one for each prompt.

    logits: (prompts, 10), the policy's, of ordinary size. reward_of(drawn), for drawn
    (prompts, m) of numbers of answers, returns their rewards (prompts, m). It may be called
    more than once, but for no more than k = 4 answers a prompt in all; the same answer asked
    for twice counts twice. All that is random comes from the generator. Returns (prompts, 10),
    not divided by the number of prompts.
    """
    ### BEGIN SOLUTION
    # ∇ = ½ Σ_ij p_i p_j (r_i - r_j)(e_i - e_j): a sum over pairs, which needs no baseline.
    # Draw a *set* of k different answers, and divide each pair by how often it is in the set.
    probs = logits.softmax(-1)  # (prompts, answers)
    sets = torch.combinations(torch.arange(probs.shape[1]), k)  # (sets, k)
    chance = probs.log()[:, sets].sum(-1).softmax(-1)  # (prompts, sets): k draws, if all differ
    member = F.one_hot(sets, probs.shape[1]).sum(1).float()  # (sets, answers)
    pair = torch.einsum("ps,sa,sb->pab", chance, member, member)  # both are in the set
    chosen = torch.multinomial(chance, 1, generator=generator)[:, 0]
    drawn, inside = sets[chosen], member[chosen]
    rewards = torch.zeros_like(probs).scatter(1, drawn, reward_of(drawn))
    weights = inside[:, :, None] * inside[:, None] * probs[:, :, None] * probs[:, None] / pair
    return (weights * (rewards[:, :, None] - rewards[:, None])).sum(-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "quiet_gradient_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("quiet_gradient", quiet_gradient)

# %% [markdown]
# ## What you measured
#
# In this very run (medians over the seeds, with leave-one-out where nothing else is said):

# %% tags=["demo"]
median = lambda numbers: sorted(numbers)[len(numbers) // 2]  # noqa: E731
loo = [found for (name, _), found in at_end.items() if name == "leave one out"]
end = {what: median([found[what] for found in loo]) for what in ("reward", *WHAT)}
told = {
    "second term of the gradient": f"{lines['second term, its largest entry']:.0e}",
    "flawed reward, + β KL": f"E[r] {plus['E[r]']:.2f}, E[u] {plus['E[u]']:.2f}",
    "flawed reward, − β KL": f"E[r] {minus['E[r]']:.2f}, E[u] {minus['E[u]']:.2f}",
    "scatter of an estimate": f"{scatter['no baseline']:.2f} without a baseline, "
                              f"{scatter['leave one out']:.2f} with leave-one-out",
    "own reward in the baseline": f"∇J comes out {own:.2f} times as long",
    "J with k1, k2, k3 in the reward": ", ".join(f"{e['J']:.2f}" for e in in_reward.values()),
    "distance to p*, from samples": f"{median(reached['no baseline']):.4f} without a baseline, "
                                    f"{median(reached['leave one out']):.4f} with",
} | {f"language model: {what}": f"{at_start[what]:.2f} → {end[what]:.2f}" for what in end}
plots.show_table([{"measured": name, "in this run": text} for name, text in told.items()])

# %% [markdown]
# ## Questions
#
# <details><summary>All rewards are 100 points higher. What changes in plain REINFORCE, and what with leave-one-out?</summary>
#
# The expected gradient changes in neither. The variance of the plain estimate becomes enormous, because every ∇ log p
# gets a weight near 100. Leave-one-out advantages are differences of rewards: they do not change at all.
# </details>
# <details><summary>Why is the KL-shaped reward held constant, although it has θ in it?</summary>
#
# Because the gradient that would flow through it is −β E[∇ log p], and that is zero. If it is left in, the expected
# gradient is the same, but there is more noise. In an exact sum over answers it adds nothing at all.
# </details>
# <details><summary>Four answers to a prompt all get the same reward. What does the model learn from them?</summary>
#
# Without a KL term nothing: all advantages are zero. This happens with prompts that are too easy or too hard, so in
# training with rules such prompts are often left out.
# </details>
# <details><summary>Your policy's k1 was negative in one batch. Is that a bug?</summary>
#
# Not by itself: a mean of a few k1 may fall below zero though the KL cannot. Look at k3, which cannot be negative, or
# at more samples. If the mean of many stays below zero, the samples do not come from the policy whose log p you use.
# </details>
# <details><summary>The loss of an update went up. Is the training failing?</summary>
#
# The value of this loss says nothing: it is only used to get a gradient. Watch the reward, its parts, and the KL.
# </details>
#
# ## What was not shown
#
# In real projects no rule knows the true utility: chapter 4 learns the reward from comparisons. Chapter 5 uses each
# sample more than once. One small model and few seeds say nothing about how fast a large one learns. β and the
# learning rate were not tuned here.
#
# **To read**: Williams 1992, *Simple statistical gradient-following algorithms* (Machine Learning 8); Kool et al.
# 2019, *Buy 4 REINFORCE samples, get a baseline for free* (ICLR workshop); Ahmadian et al. 2024, *Back to basics*
# (RLOO, arXiv:2402.14740); Shao et al. 2024, *DeepSeekMath* (GRPO, arXiv:2402.03300); Schulman 2020, *Approximating
# KL divergence* (blog); Korbak et al. 2022, *RL with KL penalties is better viewed as Bayesian inference*
# (arXiv:2205.11275); Ziegler et al. 2019, *Fine-tuning language models from human preferences* (arXiv:1909.08593). On
# the KL inside a loss: arXiv:2506.09477 and arXiv:2512.21852.

# %%
progress("03_reinforce")
