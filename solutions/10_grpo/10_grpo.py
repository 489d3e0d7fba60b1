# %% [markdown]
# # 10 · GRPO
#
# Minimal.

# %% tags=["imports"]
import math

import torch

from autograder import check, earlier, predict, progress, reveal


# %% nbgrader={"grade": false, "grade_id": "verify_answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_answer(text: str, truth: int) -> tuple[float, float]:
    """Two rewards of an answer, each 1.0 or 0.0: for its form, and for being right.

    text: what the model wrote, words with spaces between them. The four marks <think>,
    </think>, <answer> and </answer> are words too. The form is right when the text is one
    block <think> … </think> and directly behind it one block <answer> … </answer>, with
    nothing before, between or after them. A block holds any number of words, also none, and
    no mark. The answer is right when the text has exactly one <answer> and exactly one
    </answer>, and what stands between them is one word, a whole number such as 7 or -3,
    equal to truth. Each reward looks at its own condition alone.
    """
    ### BEGIN SOLUTION
    words = text.split()
    marks = [w for w in words if w in ("<think>", "</think>", "<answer>", "</answer>")]
    form = (
        marks == ["<think>", "</think>", "<answer>", "</answer>"]
        and words[0] == "<think>"
        and words[-1] == "</answer>"
        and words.index("<answer>") == words.index("</think>") + 1
    )
    right = False
    if words.count("<answer>") == 1 and words.count("</answer>") == 1:
        inside = words[words.index("<answer>") + 1 : words.index("</answer>")]
        right = len(inside) == 1 and inside[0] == str(truth)
    return float(form), float(right)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "verify_answer_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("verify_answer", verify_answer)


# %% nbgrader={"grade": false, "grade_id": "group_advantages", "locked": false, "schema_version": 3, "solution": true, "task": false}
def group_advantages(rewards: torch.Tensor, eps: float = 1e-4) -> torch.Tensor:
    """Each reward compared with those of its group, (prompts, k).

    rewards: (prompts, k), of k >= 2 answers to each prompt, as floats. An advantage is the
    reward minus the mean of its group, divided by the group's standard deviation plus eps.
    The standard deviation has k - 1 in its denominator. A group of equal rewards gets zeros.
    """
    ### BEGIN SOLUTION
    centred = rewards - rewards.mean(1, keepdim=True)  # (prompts, k)
    return centred / (rewards.std(1, keepdim=True) + eps)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "group_advantages_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("group_advantages", group_advantages)


# %% nbgrader={"grade": false, "grade_id": "grpo_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def grpo_loss(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor,
    mask: torch.Tensor, clip_low: float, clip_high: float, per: str,
    max_tokens: int | None = None, extra: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """The loss of GRPO, a scalar, in one of three normalisations.

    logps, old_logps: (answers, seq), log-probabilities of the tokens now and when they were
    drawn. advantages: (answers,), one for all tokens of an answer. mask: (answers, seq) of
    integers 0 and 1, 1 on the tokens of the answer, at least one in each row; what stands on
    padding is finite and means nothing: there old and new may be a hundred nats apart.

    The loss of a token is minus the smaller of ratio * A and clipped ratio * A, where the
    ratio is clipped to the range from 1 - clip_low to 1 + clip_high; where extra, (answers,
    seq), is given, it is added to that. Then, by `per`:
    "answer": the mean of an answer's tokens, and the mean of that over the answers;
    "token": the mean over all answer tokens of the batch;
    "constant": the sum over all answer tokens, divided by max_tokens times the number of
    answers.
    Gradients flow through logps and extra, and not through old_logps and advantages.
    """
    ### BEGIN SOLUTION
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)  # before exp
    ratio = log_ratio.exp()  # (answers, seq)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    weight = advantages.detach()[:, None]  # (answers, 1)
    losses = -torch.minimum(ratio * weight, clipped * weight)
    if extra is not None:
        losses = losses + extra
    losses = losses.masked_fill(mask == 0, 0.0)
    if per == "answer":
        return (losses.sum(1) / mask.sum(1)).mean()
    if per == "token":
        return losses.sum() / mask.sum()
    return losses.sum() / (len(losses) * max_tokens)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "grpo_loss_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("grpo_loss", grpo_loss)


# %% nbgrader={"grade": false, "grade_id": "kl_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_gradient(
    logits: torch.Tensor, ref_logits: torch.Tensor, estimator: str, use: str
) -> torch.Tensor:
    """The expected gradient at the logits of a KL estimator in one of its uses, exactly.

    logits, ref_logits: (prompts, answers); policy p and reference p_0 are the softmax over
    the answers. estimator: "k1", "k2" or "k3", of d = log p(y) - log p_0(y):
    d, d**2 / 2 and exp(-d) - 1 + d. Answers are drawn from p. use:
    "loss": the estimate is minimised, and differentiated like any loss;
    "reward": it is a price in the reward, a constant k that is minimised by the
    score-function gradient E[k ∇ log p];
    "ratio": p(y) / p̄(y) times the estimate is minimised, where p̄ is p held constant;
    both factors are differentiated.
    Returns (prompts, answers): for each prompt the expectation over its answers, a sum and
    no sample, of the same dtype as logits. It is the gradient to go *down*.
    """
    ### BEGIN SOLUTION
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    d = (logps - ref_logps).detach()  # (prompts, answers)
    value = {"k1": d, "k2": d**2 / 2, "k3": torch.expm1(-d) + d}[estimator]
    slope = {"k1": torch.ones_like(d), "k2": d, "k3": -torch.expm1(-d)}[estimator]
    weight = {"loss": slope, "reward": value, "ratio": value + slope}[use]
    probs = logps.detach().exp()
    return probs * (weight - (probs * weight).sum(-1, keepdim=True))  # E[weight ∇ log p]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_gradient_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("kl_gradient", kl_gradient)


# %% nbgrader={"grade": false, "grade_id": "kl_term", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_term(
    logps: torch.Tensor, old_logps: torch.Tensor, ref_logps: torch.Tensor
) -> torch.Tensor:
    """A KL penalty for the loss, one number for each sample, of the samples' shape (any).

    logps, old_logps, ref_logps: log-probabilities of the same samples under the policy p that
    is trained, under the older policy that drew them, and under the reference p_0. A number
    depends on its own sample alone. Whatever the three policies are (each gives every answer
    some probability):
    - no number is negative;
    - the expectation over the older policy's samples is KL(p || p_0);
    - so its gradient is that of KL(p || p_0), in expectation.
    Gradients flow through logps, and not through old_logps and ref_logps.
    """
    ### BEGIN SOLUTION
    log_ratio = logps - ref_logps.detach()
    k3 = torch.expm1(-log_ratio) + log_ratio
    return (logps - old_logps.detach()).exp() * k3
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_term_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("kl_term", kl_term)


# %% nbgrader={"grade": false, "grade_id": "drawn_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def drawn_logps(
    logits: torch.Tensor, tokens: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0
) -> torch.Tensor:
    """log p of each token under the distribution that it was really drawn from.

    logits: (..., vocab), the model's, of ordinary size; tokens: (...), one drawn from each.
    temperature > 0: the logits were divided by it. 0 < top_p <= 1: of the distribution at
    that temperature only the most likely tokens were kept, as few as have a sum of at least
    top_p, and the others could not be drawn. Returns (...): log-probabilities, -inf for a
    token that could not be drawn. Gradients flow to the logits; for tokens that could be
    drawn they are finite.
    """
    ### BEGIN SOLUTION
    logps = (logits / temperature).log_softmax(-1)
    ordered, order = logps.detach().sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()  # the sum of all that are more likely
    left_out = (before >= top_p) & (top_p < 1)
    left_out = torch.zeros_like(left_out).scatter(-1, order, left_out)  # in the old order
    kept = logps.masked_fill(left_out, -torch.inf).log_softmax(-1)
    return kept.gather(-1, tokens[..., None])[..., 0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "drawn_logps_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("drawn_logps", drawn_logps)


# %% nbgrader={"grade": false, "grade_id": "pass_at_k", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pass_at_k(right: int, drawn: int, k: int) -> float:
    """The chance that at least one of k answers is right, without bias.

    `drawn` answers were drawn to a question, and `right` of them are right, 0 <= right <=
    drawn. Choose k of them, 1 <= k <= drawn, without putting any back, all choices equally
    likely: the chance that a right one is among them. drawn is at most 10,000.
    """
    ### BEGIN SOLUTION
    all_wrong = 1.0
    for i in range(k):  # one after the other, each from what is left
        all_wrong *= (drawn - right - i) / (drawn - i)
    return 1.0 - all_wrong
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pass_at_k_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("pass_at_k", pass_at_k)


# %% nbgrader={"grade": false, "grade_id": "rejection_sample", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rejection_sample(
    answers: list[list[str]], rewards: torch.Tensor, most: int
) -> list[tuple[int, int]]:
    """Which answers to learn from: pairs (prompt, place), in the order of prompts and places.

    answers[i][j]: a text, the j-th answer drawn to prompt i. rewards: (prompts, k), 1 where
    it is right and 0 where it is not. Chosen are right answers only. Of answers with the
    same text to the same prompt the first one alone counts. Of what is left of a prompt, the
    first `most` are taken.
    """
    ### BEGIN SOLUTION
    chosen = []
    for i, texts in enumerate(answers):
        seen = []
        for j, text in enumerate(texts):
            if rewards[i, j] == 1 and text not in seen and len(seen) < most:
                seen.append(text)
                chosen.append((i, j))
    return chosen
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rejection_sample_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("rejection_sample", rejection_sample)


# %% nbgrader={"grade": false, "grade_id": "train_grpo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_grpo(
    policy, optimizer, sample, logps_of, updates: int, *, steps: int, clip_low: float,
    clip_high: float, per: str, max_tokens: int, beta: float, max_norm: float = 1.0,
) -> list[float]:  # fmt: skip
    """Train a policy on its own answers. Returns the mean reward of each update's answers.

    In each update, the policy answers once, as it is then: sample() returns a dictionary
    with "rewards" (prompts, k), and, for the same answers in the same order, one row each,
    "logps", "ref_logps" and "mask", all (prompts * k, seq). There may be more in it.
    logps_of(batch), with that dictionary, gives the present log-probabilities of the
    answers' tokens, with gradients.

    Then the optimizer takes `steps` steps on these answers. Each goes down the gradient of
    grpo_loss (with clip_low, clip_high, per, max_tokens), where every token also pays beta
    times its kl_term. "logps" are those of the policy that drew, in all steps. The
    advantages are those of the groups. Where the gradient of all the policy's parameters
    together is longer than max_norm, it is scaled to that length. The mean rewards are plain
    numbers.
    """
    ### BEGIN SOLUTION
    earned = []
    for _ in range(updates):
        batch = sample()
        drawn, ref_logps, mask = (batch[name] for name in ("logps", "ref_logps", "mask"))
        advantages = group_advantages(batch["rewards"]).flatten()  # (answers,)
        for _ in range(steps):
            logps = logps_of(batch)
            extra = beta * kl_term(logps, drawn, ref_logps)
            loss = grpo_loss(
                logps, drawn, advantages, mask, clip_low, clip_high, per, max_tokens, extra
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
            optimizer.step()
        earned.append(batch["rewards"].mean().item())
    return earned
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_grpo_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("train_grpo", train_grpo)


# %% nbgrader={"grade": false, "grade_id": "learn_from_checks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learn_from_checks(
    features: torch.Tensor, start: torch.Tensor, check_answers, budget: int,
    generator: torch.Generator,
) -> torch.Tensor:  # fmt: skip
    """Weights (d,) of a policy that is right as often as possible, also on new prompts.

    features: (prompts, answers, d). A policy with weights w, (d,), gives the answers to a
    prompt the probabilities softmax(features @ w). To each prompt exactly one answer is
    right. start: (d,), weights that are right now and then. check_answers(prompts, drawn),
    two tensors (m,) of numbers, returns the rewards (m,): 1.0 where the answer is right, else
    0.0. It may be called many times, for at most `budget` answers in all. All that is random
    comes from the generator.
    """
    ### BEGIN SOLUTION
    # Each check is a fact about one answer, and stays true: keep all of them, and find the
    # weights under which what was seen is likely, of wrong answers too.
    weights = start.clone().requires_grad_()
    asked, drawn, seen = (torch.empty(0, dtype=torch.long) for _ in range(3))
    rounds = 8
    for _ in range(rounds):
        prompts = torch.randint(len(features), (budget // rounds,), generator=generator)
        probs = (features[prompts] @ weights.detach()).softmax(-1)
        answers = torch.multinomial(probs, 1, generator=generator)[:, 0]
        rewards = check_answers(prompts, answers)
        asked, drawn = torch.cat([asked, prompts]), torch.cat([drawn, answers])
        seen = torch.cat([seen, rewards.long()])
        optimizer = torch.optim.Adam([weights], lr=0.1)
        for _ in range(25):
            logps = (features[asked] @ weights).log_softmax(-1)
            logps = logps.gather(1, drawn[:, None])[:, 0].clamp(max=-1e-4)
            likelihood = torch.where(seen == 1, logps, torch.log1p(-logps.exp()))
            optimizer.zero_grad()
            (-likelihood.mean()).backward()
            optimizer.step()
    return weights.detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "learn_from_checks_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("learn_from_checks", learn_from_checks)

# %%
progress("10_grpo")
