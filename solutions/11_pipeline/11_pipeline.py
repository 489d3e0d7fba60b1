# %% [markdown]
# # 11 · The whole pipeline
#
# Every stage of the lecture now has a chapter. Here they are put together: a base model, fine-tuning on demonstrations,
# and four ways on from there. You measure all of them in the same way, with seeds and intervals, and then decide.
#
# **You will be able to**
# - compare two policies so that others believe it: a win rate with an interval, a KL with its error;
# - say what a model has forgotten of what it was pre-trained on;
# - collect preferences from the policy as it is *now*, and write the loop that learns from them in rounds;
# - run stages under a budget, and choose between them from a table;
# - hand in a trained policy as a file that nobody has to trust.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 who wins, and how sure that is | ● ● ○ | 10 | | 5 the loop of five steps | ● ● ○ | 15 |
# | 2 how far it has gone | ● ● ● | 10 | | 6 a pipeline with a budget | ● ● ○ | 10 |
# | 3 what was forgotten | ● ● ○ | 10 | | 7 what to choose | ● ● ○ | 10 |
# | 4 preferences, collected anew | ● ● ○ | 10 | | 8 the entry | open | 25 |
#
# You need chapters 2, 4, 5, 6 and 10, or to know what they make. What you wrote there is called again. The letters are
# those of the [table in chapter 0](../00_start_here/00_start_here.ipynb).

# %% tags=["imports"]
from statistics import median

import torch
import torch.nn.functional as F
from safetensors.torch import save

from autograder import check, earlier, predict, progress, reveal

# %% tags=["demo"]
import random
import time

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import comparisons, data, device, methods, models, pairs
from course import pipeline, plots, reward, rewarded, rollouts, stages
from course.drawings import c11 as drawings

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more
print(device.describe_machine())
DEVICE = device.device()
drawings.roads()

# %% [markdown]
# ## How to compare policies
#
# Before anything is trained, we agree on how it will be measured: on questions that no stage has seen, with the true
# utility $u$ that only our world knows. Three measurements have pitfalls, and you write those yourself.
#
# ## Exercise 1: who wins, and how sure that is
#
# Two policies answer the same questions, each several times. How often is an answer of ours better than one of theirs?
# And how sure is that number? Questions differ much in how hard they are, and answers to one question are alike. So
# the questions are what is drawn again in a **bootstrap**: take as many questions as there are, with replacement,
# each with all its answers, and compute the rate again. The spread of these rates is the uncertainty.


# %% nbgrader={"grade": false, "grade_id": "win_rate_interval", "locked": false, "schema_version": 3, "solution": true, "task": false}
def win_rate_interval(
    ours: torch.Tensor, theirs: torch.Tensor, resamples: torch.Tensor, level: float
) -> tuple[float, float, float]:
    """The win rate of our answers over theirs, and the two ends of its bootstrap interval.

    ours: (prompts, k) and theirs: (prompts, m), the utilities of k and m answers to the same
    prompts. The win rate of a prompt: in which share of all k * m comparisons ours is the
    better one; equal ones count one half. The win rate is the mean of that over the prompts.
    resamples: (many, any number), numbers of prompts; each row is a sample drawn with
    replacement, and gives a rate of its own. The interval goes from the quantile
    (1 - level) / 2 of these rates to the quantile 1 - (1 - level) / 2, with straight lines
    between neighbours, as in torch.quantile. Three plain numbers: rate, lower end, upper end.
    """
    ### BEGIN SOLUTION
    ahead = ours[:, :, None] - theirs[:, None, :]  # (prompts, k, m)
    won = (ahead > 0).double() + 0.5 * (ahead == 0).double()
    shares = won.mean((1, 2))  # (prompts,)
    rates = shares[resamples].mean(1)  # (many,)
    tail = (1 - level) / 2
    ends = torch.quantile(rates, torch.tensor([tail, 1 - tail], dtype=rates.dtype))
    return shares.mean().item(), ends[0].item(), ends[1].item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "win_rate_interval_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("win_rate_interval", win_rate_interval)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# With which shape can each of k numbers be compared with each of m? When a question is drawn three times into a
# sample, how often do its answers count? Which axis is then averaged first?
# </details>
#
# ## Exercise 2: how far it has gone
#
# $\mathrm{KL}(p_\theta\|p_0)$ of whole answers cannot be summed. From drawn answers it can be estimated in two ways,
# both without bias:
#
# - **drawn**: $\log p_\theta(y|x) - \log p_0(y|x)$ of the answer that was drawn;
# - **by step**: at each place of that answer, the exact KL between the two distributions of the *next* token; these
#   are added up along the answer. (Why is the mean the same? What the next token adds on average, given the tokens
#   before it, is exactly this KL.)


# %% nbgrader={"grade": false, "grade_id": "kl_with_error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_with_error(
    logits: torch.Tensor, ref_logits: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
) -> dict[str, tuple[float, float]]:
    """Two estimates of KL(policy || reference) from answers drawn from the policy.

    logits, ref_logits: (answers, seq, vocab), of policy and reference, at the places where the
    tokens of the answers were drawn. tokens: (answers, seq). mask: (answers, seq) of integers,
    1 on the tokens of an answer and 0 on padding, where everything is finite and means
    nothing. Returns {"drawn": (kl, error), "by step": (kl, error)}, plain numbers: the mean
    over the answers in nats for a whole answer, and the standard error of that mean (the
    standard deviation has the number of answers minus 1 in it).
    """
    ### BEGIN SOLUTION
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    apart = logps - ref_logps  # (answers, seq, vocab)
    terms = {
        "drawn": apart.gather(-1, tokens[..., None]).squeeze(-1),  # (answers, seq)
        "by step": (logps.exp() * apart).sum(-1),
    }
    found = {}
    for name, term in terms.items():
        of_answers = term.masked_fill(mask == 0, 0.0).sum(1)  # (answers,)
        error = of_answers.std() / len(of_answers) ** 0.5
        found[name] = of_answers.mean().item(), error.item()
    return found
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_with_error_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("kl_with_error", kl_with_error)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What is one observation here: a token, or an answer? What is added up along an answer, and what is averaged? If you
# had four times as many answers, how would the standard error change?
# </details>
#
# ## Exercise 3: what was forgotten
#
# The base model could continue stories, facts and sums. What is left of that after a stage? Its loss on held-out
# documents says it, in nats a token.


# %% nbgrader={"grade": false, "grade_id": "forgetting", "locked": false, "schema_version": 3, "solution": true, "task": false}
def forgetting(
    base, model, input_ids: torch.Tensor, attention_mask: torch.Tensor, size: int
) -> dict[str, float]:
    """The loss of both models on documents: {"before": ..., "after": ..., "worse": ...}.

    input_ids, attention_mask: (documents, seq), integers; padded on the right, the mask is 0
    there, and the padding token may be any. "before" and "after" are the losses of base and of
    model: the mean of -log p over all predicted tokens of all documents, each token counting
    alike; the first token of a document is not predicted. "worse": the share of the documents
    on which the loss of the model is larger than that of base. Both models are in evaluation
    mode. They get input_ids and attention_mask by name, at most `size` documents at a time, in
    as few calls as that allows, and no graph is built.
    """
    ### BEGIN SOLUTION
    labels = input_ids.masked_fill(attention_mask == 0, -100)

    @torch.no_grad()
    def losses_of(reader) -> torch.Tensor:
        """The summed loss of each document, (documents,)."""
        found = []
        for ids, mask, label in zip(*(x.split(size) for x in (input_ids, attention_mask, labels))):
            logits = reader(input_ids=ids, attention_mask=mask).logits[:, :-1]
            surprise = F.cross_entropy(logits.transpose(1, 2), label[:, 1:], reduction="none")
            found.append(surprise.sum(1))  # 0 where the label is -100
        return torch.cat(found)

    before, after = losses_of(base), losses_of(model)
    count = (labels[:, 1:] != -100).sum()
    return {"before": (before.sum() / count).item(), "after": (after.sum() / count).item(),
            "worse": (after > before).float().mean().item()}  # fmt: skip
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "forgetting_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("forgetting", forgetting)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which tokens count, if the padding token can also be a word? If batches differ in their number of tokens, what is
# wrong with the mean of the batches' means?
# </details>
# %% [markdown]
# ## Exercise 4: preferences, collected anew
#
# The loop of five steps, as the lecture has it: (1) the policy answers, (2) people compare its answers, (3) a reward
# model learns from that, (4) the policy is trained with it, (5) back to 1 with the new policy. Steps 1 and 2 are
# yours. The comparisons must be of answers that *this* policy gives. And the questions that we measure with must not
# be among them.


# %% nbgrader={"grade": false, "grade_id": "collect_preferences", "locked": false, "schema_version": 3, "solution": true, "task": false}
def collect_preferences(prompts: list[str], heldout, k: int, draw, prefers) -> list[dict[str, str]]:
    """Pairs of different answers of a policy, labelled: {"prompt", "chosen", "rejected"}.

    prompts: questions; one that stands several times is asked for each of these times.
    heldout: a list of questions that must not be asked. k >= 2: how many answers are drawn to
    each prompt. draw(asked) draws an answer to each entry of a list of prompts, and returns
    the texts in the same order; it is called once, with each prompt k times in a row.
    A pair is made of the first answer to a prompt and the first one that differs from it;
    where all are equal, the prompt gives no pair. prefers(prompt, first, second) asks an
    annotator, once for each pair, with the answers in the order in which they were drawn: is
    the first one preferred? The pairs have the order of the prompts.
    """
    ### BEGIN SOLUTION
    kept = set(heldout)
    asked = [prompt for prompt in prompts if prompt not in kept]
    texts = draw([prompt for prompt in asked for _ in range(k)])
    found = []
    for i, prompt in enumerate(asked):
        first, *others = texts[i * k : (i + 1) * k]
        second = next((text for text in others if text != first), None)
        if second is None:
            continue
        better, worse = (first, second) if prefers(prompt, first, second) else (second, first)
        found.append({"prompt": prompt, "chosen": better, "rejected": worse})
    return found
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "collect_preferences_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("collect_preferences", collect_preferences)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which places of the list of texts belong to prompt number i? What does a pair of equal answers teach (chapter 6,
# question 4)? Who decides which answer is better: the order, the length, or the annotator?
# </details>
# %% [markdown]
# ## Exercise 5: the loop of five steps
#
# Now the loop itself, with DPO in the place of steps 3 and 4: it needs no reward model. In each round the policy is
# asked for new pairs. The reference stays $p_0$ through all rounds, and its numbers for these pairs are needed many
# times, but never change.


# %% nbgrader={"grade": false, "grade_id": "train_in_rounds", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_in_rounds(
    policy, optimizer, collect, logps_of, ref_logps_of, loss_of,
    *, rounds: int, epochs: int, size: int, max_norm: float = 1.0,
) -> list[list[float]]:  # fmt: skip
    """Train a policy on its own pairs, in rounds. Returns each round's list of losses.

    In every round, collect(policy) gives a list of pairs, made by the policy as it is then.
    ref_logps_of(pairs) gives two tensors, (pairs,): the reference's log-probabilities of the
    chosen and of the rejected answers. It is called once a round, with all pairs of the round,
    and no graph is built there. Then the optimizer takes its steps: `epochs` times through the
    pairs in their order, `size` of them in a step; the last step of an epoch may have fewer.
    A step goes down the gradient of loss_of(chosen, rejected, ref_chosen, ref_rejected), where
    logps_of(some pairs) gives the first two, with gradients. The norm of the gradient of all
    the optimizer's parameters together is clipped to max_norm. Gradients that were there
    before count for nothing. A round without pairs takes no step. Losses are plain numbers,
    from before the step.
    """
    ### BEGIN SOLUTION
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    losses = []
    for _ in range(rounds):
        found = collect(policy)
        with torch.no_grad():
            ref_chosen, ref_rejected = ref_logps_of(found)
        losses.append([])
        for _ in range(epochs):
            for i in range(0, len(found), size):
                part = slice(i, i + size)
                loss = loss_of(*logps_of(found[part]), ref_chosen[part], ref_rejected[part])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, max_norm)
                optimizer.step()
                losses[-1].append(loss.item())
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_in_rounds_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("train_in_rounds", train_in_rounds)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What has to be done once a round, what once a step? Which of the reference's numbers belong to the pairs of a step?
# </details>
# %% [markdown]
# ## Exercise 6: a pipeline with a budget
#
# The stages cost very different amounts. To compare them, everybody gets the same budget, here counted in generated
# tokens. A stage says beforehand how much it may need *at most*. What does a careful pipeline do with that?


# %% nbgrader={"grade": false, "grade_id": "run_pipeline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def run_pipeline(stages: list[dict], policy, budget: int) -> tuple[object, list[tuple[str, int]]]:
    """Run stages one after the other. Returns the last policy, and what each stage spent.

    Each stage is a dictionary: "name"; "most", the tokens that it may spend at most; and
    "run", a function that takes a policy and returns two things, a new policy and the tokens
    that it has spent. Each stage goes on from the policy that the one before has made. A stage
    is started only if its most is no more than what is left of the budget; the first one that
    is not started ends the pipeline. What a stage did not spend is left to those behind it. A
    stage that has spent more than its most cannot be trusted: then ValueError, with the name
    of the stage in its text. The list has a pair, name and tokens, for each stage that ran.
    """
    ### BEGIN SOLUTION
    left, spent = budget, []
    for stage in stages:
        if stage["most"] > left:
            break
        policy, tokens = stage["run"](policy)
        if tokens > stage["most"]:
            raise ValueError(f"{stage['name']} has spent {tokens}, more than {stage['most']}")
        left -= tokens
        spent.append((stage["name"], tokens))
    return policy, spent
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "run_pipeline_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("run_pipeline", run_pipeline)
# %% [markdown]
# ## Exercise 7: what to choose
#
# You have a table, and somebody gives you a budget of KL and of tokens. Which way do you take? Each row was run with
# several seeds, and you will have one try. So be careful with the KL, and do not trust one lucky seed.


# %% nbgrader={"grade": false, "grade_id": "best_under_budget", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_under_budget(rows: list[dict], max_kl: float, max_tokens: int) -> str | None:
    """The name of the row to choose, or None where no row is within both budgets.

    Each row: "name"; "utility" and "kl", lists of numbers, one for each seed; and "tokens", an
    integer. A row is within the budgets if the KL of none of its seeds is larger than max_kl,
    and its tokens are not more than max_tokens. Of those, the row with the largest median
    utility is chosen (of an even number of seeds: the mean of the two in the middle); of equal
    ones that with the fewest tokens; of those the first.
    """
    ### BEGIN SOLUTION
    fitting = [row for row in rows if max(row["kl"]) <= max_kl and row["tokens"] <= max_tokens]
    if not fitting:
        return None
    best = max(fitting, key=lambda row: (median(row["utility"]), -row["tokens"]))
    return best["name"]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_under_budget_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("best_under_budget", best_under_budget)
# %% [markdown]
# ## Exercise 8: the entry (open)
#
# Now you run a pipeline of your own, and hand in what it has made. The world is small, and you have seconds. A policy
# gives the answers to a prompt with features $f$ the probabilities softmax$(W f)$. The reference has the weights
# $W_0$. Your entry is a small change of them, made of two matrices (LoRA, chapter 7): $W = W_0 + BA$, with $A$ of shape
# (3, features) and $B$ of shape (answers, 3). You may ask an annotator to compare answers, 240 times and no more.
#
# Your function returns the *bytes of a checkpoint*. The judge reads them as data, with the reader above. It draws new
# prompts, with a seed made from your bytes, so that nobody can have seen them. There it measures your KL, which must be
# at most 1 nat (5 % more is forgiven, as new prompts are not the old ones), and your true utility: the gain over the
# reference, as a share of what somebody who knows $u$ could gain with this KL. It is the mean over four worlds. The
# bars: 0.40, 0.60, 0.70 and 0.76.


# %% nbgrader={"grade": false, "grade_id": "best_entry", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_entry(
    features: torch.Tensor, reference: torch.Tensor, compare, comparisons: int, max_kl: float,
    generator: torch.Generator,
) -> bytes:  # fmt: skip
    """A checkpoint in the safetensors format with the float32 tensors "lora_A" and "lora_B".

    features: (prompts, d), of prompts to practise with; the first feature is always 1, the
    others come from the standard normal distribution. reference: (answers, d), W_0.
    compare(asked, first, second), three integer tensors (m,) of prompts and of two different
    answers to each, returns (m,), True where the annotator prefers the first, by Bradley and
    Terry. It may be called many times, for at most `comparisons` comparisons in all.
    The utility of answer j to a prompt is U[j] @ features, where U, (answers, d), is a matrix
    of rank 3. max_kl: of the mean KL to the reference over the prompts. lora_A: (3, d),
    lora_B: (answers, 3). All that is random comes from the generator.
    """
    ### BEGIN SOLUTION
    # The loop of five steps: draw pairs from the present policy, have them compared, fit the
    # utility (of rank 3, and not too large), and take the optimum that the KL allows.
    answers, d = reference.shape
    ref_logps = (features @ reference.T).log_softmax(-1)  # (prompts, answers)
    rank_3 = [0.3 * torch.randn(3, d, generator=generator),
              0.3 * torch.randn(answers, 3, generator=generator)]  # fmt: skip
    a, b = (x.requires_grad_() for x in rank_3)
    policy, seen, rounds = ref_logps, [], 4

    def kl_of(logps):
        return (logps.exp() * (logps - ref_logps)).sum(-1).mean().item()

    for _ in range(rounds):
        asked = torch.randint(len(features), (comparisons // rounds,), generator=generator)
        first, second = torch.multinomial(policy[asked].exp(), 2, generator=generator).T
        better = compare(asked, first, second)
        seen.append((asked, torch.where(better, first, second), torch.where(better, second, first)))
        x, yes, no = (torch.cat(parts) for parts in zip(*seen))
        optimizer = torch.optim.LBFGS([a, b], max_iter=40, line_search_fn="strong_wolfe")

        def surprise(x=x, yes=yes, no=no):
            optimizer.zero_grad()
            utility = features[x] @ (b @ a).T  # (comparisons, answers)
            margin = utility.gather(1, yes[:, None]) - utility.gather(1, no[:, None])
            loss = -F.logsigmoid(margin).sum() + 2 * (a.square().sum() + b.square().sum())
            loss.backward()
            return loss

        optimizer.step(surprise)
        utility = features @ (b @ a).detach().T  # (prompts, answers)
        low, high = 0.0, 20.0  # 1 / β
        for _ in range(30):
            middle = (low + high) / 2
            within = kl_of((ref_logps + middle * utility).log_softmax(-1)) <= 0.98 * max_kl
            low, high = (middle, high) if within else (low, middle)
        policy = (ref_logps + low * utility).log_softmax(-1)
    return save({"lora_A": a.detach().clone(), "lora_B": low * b.detach()})
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_entry_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("best_entry", best_entry)
