# %% [markdown]
# # 11 · The whole pipeline
#
# Every stage of training now has a chapter. Here they are put together: a base model, fine-tuning on demonstrations,
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
import copy
import random
import time

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import data, device, methods, models, pairs
from course import pipeline, plots, rewarded, rollouts, stages
from course.drawings import c11 as drawings

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more threads
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
    between neighbours, as in torch.quantile. Three numbers: rate, lower end, upper end.
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
    nothing. Returns {"drawn": (kl, error), "by step": (kl, error)}: the mean
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
        parts = (x.split(size) for x in (input_ids, attention_mask, labels))
        for ids, mask, label in zip(*parts):
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
# ## From base to SFT
#
# The stages are run with what *you* wrote in the chapters before. Where an answer of yours has not passed, the course's
# own does the work.

# %% tags=["demo"]
collate = earlier("collate", methods.collate)
train_sft = earlier("train_sft", stages.train_sft)
last_token_rewards = earlier("last_token_rewards", stages.last_token_rewards)
train_reward_model = earlier("train_reward_model", stages.train_reward_model)
ppo_update = earlier("ppo_update", rewarded.ppo_update)
dpo_loss = earlier("dpo_loss", stages.dpo_loss)
pair_logps = earlier("pair_logps", stages.pair_logps)
train_grpo = earlier("train_grpo", stages.train_grpo)

tokenizer = data.load_tokenizer()
base = models.load_nano("base").to(DEVICE).requires_grad_(False)
reader = models.load_nano("instruct").to(DEVICE).requires_grad_(False)  # of the reward model
learned_on = sorted(set(rollouts.questions_about_facts("train")))
heldout = sorted(set(rollouts.questions_about_facts("heldout")))
documents = data.pad_rows([d.text for d in data.load_heldout()[:60]], tokenizer)
print(f"{len(learned_on)} questions to learn from, {len(heldout)} held out, none in both")

# %% [markdown]
# **Predict.** The base model knows stories, facts and sums. We fine-tune it, and then train it from rewards or pairs.
# Which stage makes it forget most of what it was pre-trained on?
#
# - **a** Fine-tuning (SFT).
# - **b** What comes after it: rewards pull harder than demonstrations.
# - **c** Both about equally.

# %% tags=["demo"]
predict("who_forgets", "")

# %% tags=["demo"]
shown, started = data.load_jsonl("demonstrations_train"), time.process_time()
given = base, shown, tokenizer, train_sft, collate
sft = pipeline.fine_tune(*given, device.at_most(320, least=8), device.seed(0))
sft_seconds = time.process_time() - started
ANSWERS = 4  # to each held-out question
resamples = torch.randint(
    len(heldout), (1000, len(heldout)), generator=torch.Generator().manual_seed(device.seed(9))
)


def measure(policy, seed: int) -> dict:
    """What a policy is like on the held-out questions, compared with the fine-tuned model."""
    seen = pipeline.examine(policy, sft, heldout, ANSWERS, device.seed(seed))
    lost = forgetting(base, policy, *(x.to(DEVICE) for x in documents), 30)
    (drawn, drawn_error), (kl, error) = kl_with_error(*seen["rollout"]).values()
    return {"utility": seen["utilities"].mean().item(), "kl": kl, "kl error": error,
            "kl drawn": drawn, "drawn error": drawn_error, "loss": lost["after"],
            "worse": lost["worse"], "utilities": seen["utilities"], "texts": seen["texts"],
            "tokens an answer": seen["tokens"] / len(seen["texts"])}  # fmt: skip


at_base, at_sft = measure(base, 20), measure(sft, 21)
again = measure(sft, 22)["utilities"]  # other answers of the same model: to compare with
columns = ("utility", "kl", "kl error", "kl drawn", "drawn error", "loss", "worse")
both = {"base": at_base, "SFT": at_sft}
plots.show_table([{"policy": n} | {c: m[c] for c in columns} for n, m in both.items()])
rows = zip(heldout, at_base["texts"][::ANSWERS], at_sft["texts"][::ANSWERS])
said = [{"asked": q, "base": plots.last_words(a, 6), "SFT": b} for q, a, b in rows]
plots.show_table(said[:5])

# %% [markdown]
# "loss" is that on documents of the pre-training, in nats a token: look at what fine-tuning on questions and answers
# alone has done to it, and keep your guess in mind.
#
# How sure is the win rate of a model against itself? Below your interval draws the *questions* again. Then the same is
# done wrongly, as is easily done: as if each of the comparisons had a question of its own.

# %% tags=["demo"]
itself = win_rate_interval(at_sft["utilities"], again, resamples, 0.9)
single = (at_sft["utilities"].repeat_interleave(ANSWERS, 1).reshape(-1, 1),
          again.repeat(1, ANSWERS).reshape(-1, 1))  # fmt: skip
draws = torch.Generator().manual_seed(device.seed(10))
mixed = torch.randint(len(single[0]), (1000, len(single[0])), generator=draws)
as_if = win_rate_interval(*single, mixed, 0.9)
widths = {"questions": itself[2] - itself[1], "comparisons": as_if[2] - as_if[1]}
for name, found in (("questions drawn again", itself), ("comparisons drawn again", as_if)):
    print(f"{name}: {found[0]:.3f}, from {found[1]:.3f} to {found[2]:.3f}")
# %% [markdown]
# ## Exercise 4: preferences, collected anew
#
# The loop of five steps, as it is often written down: (1) the policy answers, (2) people compare its answers, (3) a reward
# model learns from that, (4) the policy is trained with it, (5) back to 1 with the new policy. Steps 1 and 2 are
# yours. The comparisons must be of answers that *this* policy gives. And the questions that we measure with must not
# be among them.


# %% nbgrader={"grade": false, "grade_id": "collect_preferences", "locked": false, "schema_version": 3, "solution": true, "task": false}
def collect_preferences(
    prompts: list[str], heldout: list[str], k: int, draw, prefers
) -> list[dict[str, str]]:
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
# %% tags=["demo"]
drawings.five_steps()

# %% tags=["demo"]
writer, annotator = pipeline.Writer(sft, device.seed(1)), pipeline.Annotator(device.seed(1))
first_pairs = collect_preferences(learned_on, heldout, 2, writer, annotator)
print(f"{len(learned_on)} questions, {writer.tokens} tokens, {annotator.asked} comparisons")
plots.show_table(first_pairs[:4])
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
def run_pipeline(
    stages: list[dict], policy, budget: int
) -> tuple[object, list[tuple[str, int]]]:
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
# <details><summary><b>Hint</b></summary>
#
# When do you know what a stage needs, and when what it has needed? With which of the two numbers do you decide whether
# to start it, and which one do you take off the budget?
# </details>
# %% [markdown]
# ## All ways, three times each
#
# Every way gets the same number of questions to collect pairs from (six times each, two answers), and PPO and GRPO
# the same number of answers to learn from. The reward model is chapter 4's: a head on the surprises of a frozen
# reader, learned from *these* pairs. Every way runs under your `run_pipeline`, with one budget of generated tokens.
#
# **Predict.** DPO once with all pairs from the fine-tuned model; and DPO in two rounds, half of the pairs from the
# fine-tuned model and half collected anew. Questions and epochs are equally many. The second policy's true utility is
#
# - **a** clearly higher (by 0.2 or more): its pairs are about what it says now;
# - **b** about the same;
# - **c** clearly lower.

# %% tags=["demo"]
predict("pairs_anew", "")

# %% tags=["demo"]
BUDGET, REPEATS = 100_000, 6  # generated tokens; how often each question is asked
SEEDS, UPDATES = range(device.at_most(3)), device.at_most(12, least=2)
asked = (learned_on * REPEATS)[: device.at_most(REPEATS * len(learned_on), least=24)]
half = asked[: len(asked) // 2]


def stage(name: str, most: int, run) -> dict:
    """A stage as run_pipeline takes it: the policy is a dictionary of all that is known."""
    return {"name": name, "most": most, "run": run}


def new_pairs(prompts: list[str], seed: int) -> dict:
    """Steps 1 and 2: answers of the present policy, compared."""
    def run(state: dict) -> tuple[dict, int]:
        draw = pipeline.Writer(state["policy"], seed)
        found = collect_preferences(prompts, heldout, 2, draw, pipeline.Annotator(seed))
        return state | {"pairs": state.get("pairs", []) + found}, draw.tokens

    return stage("pairs", len(prompts) * 2 * pipeline.NEW, run)


def reward_model(seed: int) -> dict:
    """Step 3: a reward model from all pairs that there are."""
    def run(state: dict) -> tuple[dict, int]:
        fitted = pipeline.fit_reward(
            reader, state["pairs"], tokenizer, train_reward_model, last_token_rewards,
            device.at_most(128, least=8), seed)  # fmt: skip
        return state | {"reward": fitted}, 0

    return stage("reward model", 0, run)


def from_rewards(train, learn, updates: int, seed: int) -> dict:
    """Step 4: PPO or GRPO with the present reward model, 64 answers an update."""
    def run(state: dict) -> tuple[dict, int]:
        policy, tokens = train(state["policy"], state["start"], state["reward"], learned_on,
                               learn, updates, seed)  # fmt: skip
        return state | {"policy": policy}, tokens

    return stage(train.__name__, updates * 64 * pipeline.NEW, run)


# %% [markdown]
# DPO is one stage, with your loop inside. One round or two: the policy is asked for `prompts` of each round, and the
# reference stays the fine-tuned model.

# %% tags=["demo"]
def dpo(rounds: int, seed: int) -> dict:
    """DPO with your train_in_rounds: as many questions in all, however many the rounds."""
    parts = [asked[i :: rounds] for i in range(rounds)]

    def run(state: dict) -> tuple[dict, int]:
        policy, tokens = copy.deepcopy(state["policy"]).requires_grad_(), [0]
        rest = iter(enumerate(parts))

        def collect(present) -> list[dict]:
            turn, prompts = next(rest)
            luck = seed + 500 * turn
            draw, annotator = pipeline.Writer(present, luck), pipeline.Annotator(luck)
            found = collect_preferences(prompts, heldout, 2, draw, annotator)
            random.Random(luck).shuffle(found)
            tokens[0] += draw.tokens
            return found

        def logps(model, some: list[dict]):
            both = (pairs.examples(some, k, tokenizer) for k in ("chosen", "rejected"))
            return pair_logps(model, *both, tokenizer.pad_token_id)

        optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4, weight_decay=0.0)
        train_in_rounds(
            policy, optimizer, collect, lambda some: logps(policy, some),
            lambda some: logps(state["start"], some), lambda *four: dpo_loss(*four, 0.2),
            rounds=rounds, epochs=2, size=16)  # fmt: skip
        return state | {"policy": policy.eval().requires_grad_(False)}, tokens[0]

    return stage("DPO", len(asked) * 2 * pipeline.NEW, run)


# %% tags=["demo"]
def ways(seed: int) -> dict[str, list[dict]]:
    """The stages of each way, after SFT."""
    a, b = seed + 100, seed + 200
    ppo, grpo = (pipeline.ppo, ppo_update), (pipeline.grpo, train_grpo)
    part = UPDATES // 2
    twice = [new_pairs(half, seed), reward_model(seed), from_rewards(*ppo, part, seed)]
    twice += [new_pairs(half, a), reward_model(a), from_rewards(*ppo, UPDATES - part, b)]
    once = [new_pairs(asked, seed), reward_model(seed)]
    return {"PPO": [*once, from_rewards(*ppo, UPDATES, seed)], "PPO, twice": twice,
            "GRPO": [*once, from_rewards(*grpo, UPDATES, seed)],
            "DPO": [dpo(1, seed)], "DPO, twice": [dpo(2, seed)]}  # fmt: skip


def run_way(name: str, stages_of: list[dict], start, seed: int, known=None) -> dict:
    """One way from a policy, measured, and what it cost."""
    begun = time.process_time()
    state = {"policy": start, "start": start} | (known or {})
    state, spent = run_pipeline(stages_of, state, BUDGET)
    seconds = time.process_time() - begun
    return measure(state["policy"], seed + 30) | {
        "seconds": seconds, "spent": sum(t for _, t in spent), "state": state}  # fmt: skip


runs = {}
for seed in SEEDS:
    for name, stages_of in tqdm(ways(device.seed(seed)).items(), desc=f"seed {seed}"):
        runs.setdefault(name, []).append(run_way(name, stages_of, sft, seed))

# %% [markdown]
# **Predict.** And without SFT? The same reward model (it was learned from pairs of the fine-tuned model), the same
# GRPO, but from the *base* model. After as many updates its answers
#
# - **a** are as good as those of the others, it only takes a detour;
# - **b** are better than at its start, but far behind the others;
# - **c** have a utility that is hardly better than at its start.

# %% tags=["demo"]
predict("without_sft", "")

# %% tags=["demo"]
for seed in SEEDS:
    known = {"reward": runs["GRPO"][seed]["state"]["reward"]}
    alone = [from_rewards(pipeline.grpo, train_grpo, UPDATES, device.seed(seed))]
    runs.setdefault("GRPO, no SFT", []).append(run_way("no SFT", alone, base, seed, known))
    begun = time.process_time()
    best = pipeline.best_of(sft, known["reward"], heldout, ANSWERS, 8, device.seed(seed))
    best |= {"utility": best["utilities"].mean().item(), "loss": at_sft["loss"],
             "seconds": time.process_time() - begun, "spent": best["tokens"]}  # fmt: skip
    runs.setdefault("best of 8", []).append(best)
gain = median(run["utility"] for run in runs["GRPO, no SFT"]) - at_base["utility"]
others = median(run["utility"] for run in runs["GRPO"]) - at_base["utility"]
came = "a" if gain > 0.8 * others else "b" if gain > 0.1 * others else "c"
end = median(run["utility"] for run in runs["GRPO, no SFT"])
reveal("without_sft", came, before=at_base["utility"], after=end, gain=gain, others=others)
every = [question for question in heldout for _ in range(ANSWERS)]
right = {name: median(rollouts.kinds_of_answers(every, run["texts"])["right"] for run in found)
         for name, found in runs.items() if name != "best of 8"}  # fmt: skip
print(", ".join(f"{name}: {share:.0%} right" for name, share in right.items()))
rows = zip(heldout, runs["GRPO, no SFT"][0]["texts"][::ANSWERS])
plots.show_table([{"asked": q, "without SFT": a} for q, a in rows][:3])

# %% [markdown]
# A reward can only choose among what is said. Some things can be learned from any start: to be shorter, to end with a
# full stop. But a right answer can be rewarded only where one comes up. (In chapter 10 reward alone was enough, since
# that base model was right now and then, and a rule could tell.)
#
# ## The table

# %% tags=["demo"]
holds = pipeline.megabytes(sft, {
    "best of 8": (0, 2), "PPO": (2, 2), "PPO, twice": (2, 2), "GRPO": (1, 2), "DPO": (1, 1),
    "DPO, twice": (1, 1), "GRPO, no SFT": (1, 2), "SFT": (1, 0)})  # fmt: skip


def three(values: list[float]) -> str:
    """Median, and in brackets the smallest and the largest over the seeds."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


wins, table = {}, []
for name, found in sorted(runs.items()):
    ours = torch.cat([run["utilities"] for run in found], 1)  # (questions, answers)
    wins[name] = win_rate_interval(ours, again, resamples, 0.9)
    table.append({
        "way": name, "true utility": three([run["utility"] for run in found]),
        "win rate": "{:.2f} ({:.2f} to {:.2f})".format(*wins[name]),
        "KL": three([run["kl"] for run in found]),
        "loss": three([run["loss"] for run in found]),
        "tokens": int(median(run["spent"] for run in found)),
        "seconds": median(run["seconds"] for run in found), "MB": holds[name],
    })  # fmt: skip
plots.show_table(table, f"{len(SEEDS)} seeds; SFT: utility {at_sft['utility']:.2f}, loss "
                        f"{at_sft['loss']:.2f}; base: loss {at_base['loss']:.2f}")  # fmt: skip
drawings.intervals([(name, *found) for name, found in wins.items()])

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(7, 3.4))
marks = dict(zip(runs, ("o", "D", "s", "^", "v", "x", "*")))
for name, color in zip(runs, (*plots.CYCLE, plots.GREY)):
    points = [(run["kl"], run["utility"]) for run in runs[name] if name != "GRPO, no SFT"]
    ax.plot(*zip(*points), marks[name], color=color, ms=6, label=name) if points else None
ax.axhline(at_sft["utility"], color=plots.GREY, lw=1, ls="--")
ax.set(xlabel="KL to the fine-tuned model, nats", ylabel="true utility", title="Each seed")
ax.legend(ncol=2)
plt.show()
# %% [markdown]
# Utility, KL and loss: the median of the seeds, and the smallest and the largest. Win rate: over the fine-tuned model,
# all seeds together, with your interval. KL is the distance to the model that a way started from; for best of 8 it is
# the bound of chapter 4. "MB" is counted: weights, gradients and optimiser of all models that must be there at once.
# Tokens and seconds are those of the training (for best of 8: of the answers that were measured; the row without SFT
# took over a reward model). SFT took the time
# that stands below, once, for all ways.

# %% tags=["demo"]
def middle(name: str, what: str) -> float:
    """The median of the seeds."""
    return median(run[what] for run in runs[name])


after_sft = at_sft["loss"] - at_base["loss"]
later = median(middle(name, "loss") - at_sft["loss"] for name in ("PPO", "GRPO", "DPO"))
came = "a" if after_sft > 2 * abs(later) else "b" if later > 2 * after_sft else "c"
reveal("who_forgets", came, base=at_base["loss"], sft=at_sft["loss"], later=later)
anew = middle("DPO, twice", "utility") - middle("DPO", "utility")
came = "a" if anew > 0.2 else "c" if anew < -0.2 else "b"
numbers = {n: {w: middle(n, w) for w in ("kl", "utility")} for n in ("DPO", "DPO, twice")}
reveal("pairs_anew", came, once=numbers["DPO"], twice=numbers["DPO, twice"])
print(f"SFT took {sft_seconds:.0f} seconds.")

# %% [markdown]
# Compare both "twice" rows with the rows without. Collecting anew is no gain by itself: for DPO it has come out better
# with some seeds and worse with others. As long as a policy still says much of what the old pairs are about, those
# serve as well. It is when it has gone far that they say nothing of it any more (chapter 5's reward hacking, chapter
# 6's "too much").
#
# And against forgetting? The usual remedy is to mix some of the old text into the fine-tuning. A KL penalty does not help here: it holds the
# policy near to a reference that has forgotten already.
#
# Read some answers, too. Numbers are made of them.

# %% tags=["demo"]
shown_ways = ("PPO", "DPO", "GRPO")
rows = zip(heldout, *(runs[name][0]["texts"][::ANSWERS] for name in shown_ways))
plots.show_table([dict(zip(("asked", *shown_ways), row)) for row in rows][:6])
# %% [markdown]
# ## Exercise 7: what to choose
#
# You have a table, and somebody gives you a budget of KL and of tokens. Which way do you take? Each row was run with
# several seeds, and you will have one try. So be careful with the KL, and do not trust one lucky seed.


# %% nbgrader={"grade": false, "grade_id": "best_under_budget", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_under_budget(rows: list[dict], max_kl: float, max_tokens: int) -> str:
    """The name of the row to choose; an empty text where no row is within both budgets.

    Each row: "name"; "utility" and "kl", lists of numbers, one for each seed; and "tokens", an
    integer. A row is within the budgets if the KL of none of its seeds is larger than max_kl,
    and its tokens are not more than max_tokens. Of those, the row with the largest median
    utility is chosen (of an even number of seeds: the mean of the two in the middle); of equal
    ones that with the fewest tokens; of those the first.
    """
    ### BEGIN SOLUTION
    fitting = [row for row in rows if max(row["kl"]) <= max_kl and row["tokens"] <= max_tokens]
    if not fitting:
        return ""
    best = max(fitting, key=lambda row: (median(row["utility"]), -row["tokens"]))
    return best["name"]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best_under_budget_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("best_under_budget", best_under_budget)
# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which of a row's three KLs has to be within the budget so that all of them are? What does `statistics.median` give for
# four numbers, and what `torch.median`? If two rows are equally good, what is left to compare?
# </details>
#
# Three budgets, and what you would do:

# %% tags=["demo"]
choices = [
    {"name": name, "utility": [run["utility"] for run in found],
     "kl": [run["kl"] for run in found], "tokens": max(run["spent"] for run in found)}
    for name, found in runs.items()
]  # fmt: skip
asks = {"whatever it costs": (1000.0, 10**9), "2 nats": (2.0, 10**9),
        "16,000 tokens": (1000.0, 16_000)}  # fmt: skip
chosen = {name: best_under_budget(choices, *budget) for name, budget in asks.items()}
for name, way in chosen.items():
    print(f"{name}: {way}")

# %% [markdown]
# <details><summary><b>To think about</b>: is the choice as sure as it looks?</summary>
#
# Look at the ranges in the table. Where the range of the chosen way overlaps with that of the next one, three seeds
# cannot tell the two apart. And the choice was made with the same questions with which it is reported: the best of
# several noisy numbers is too high on average. Whoever needs the number itself measures once more, on other questions.
# </details>
#
# ## A file that nobody has to trust
#
# A trained policy is handed in as a file. Which file may a stranger open? A *pickle*, in which `torch.save` stores
# weights, can run any code when it is opened. The *safetensors* format holds a header of JSON and then numbers, and
# nothing else. Even so its reader has to be strict: the header may lie.

# %% tags=["demo"]
import json
import pickle
import struct

from autograder.tensors import Refused, read_tensors

small = {"lora_A": torch.zeros(3, 8), "lora_B": torch.ones(12, 3)}
SHAPES = {name: tuple(x.shape) for name, x in small.items()}
good = save(small)
length = int.from_bytes(good[:8], "little")
drawings.checkpoint(json.loads(good[8 : 8 + length]), length, len(good))

# %% tags=["demo"]
forged = {
    "as it should be": good,
    "a pickle": pickle.dumps(small),
    "other shapes": save(small | {"lora_A": torch.zeros(8, 3)}),
    "a NaN": save(small | {"lora_A": torch.full((3, 8), float("nan"))}),
    "a header of 10 GB": struct.pack("<Q", 10**10) + good[8:],
    "one tensor more": save(small | {"extra": torch.zeros(1)}),
    "cut off": good[:-20],
}


def said_of(content: bytes, shapes: dict, kinds=("F32",)) -> str:
    """What the reader says: a refusal is a sentence."""
    try:
        return f"read: {', '.join(read_tensors(content, shapes, kinds))}"
    except Refused as error:
        return str(error)


refusals = {name: said_of(content, SHAPES) for name, content in forged.items()}
plots.show_table([{"file": name, "what the reader says": s} for name, s in refusals.items()])
content, shapes = pipeline.as_checkpoint(runs["GRPO"][0]["state"]["policy"])
whole = said_of(content, shapes, ("F16",))
print(f"A policy of yours: {len(content):,} bytes, {len(whole.split(','))} tensors read.")
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
# bars: 0.40, 0.55, 0.65 and 0.72.


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

    def surprise():
        """Minus the log-probability of all that was said, and of these utilities."""
        x, yes, no = (torch.cat(parts) for parts in zip(*seen))
        utility = features[x] @ (b @ a).T  # (comparisons so far, answers)
        margin = utility.gather(1, yes[:, None]) - utility.gather(1, no[:, None])
        loss = -F.logsigmoid(margin).sum() + 2 * (a.square().sum() + b.square().sum())
        a.grad = b.grad = None
        loss.backward()
        return loss

    for _ in range(rounds):
        asked = torch.randint(len(features), (comparisons // rounds,), generator=generator)
        first, second = torch.multinomial(policy[asked].exp(), 2, generator=generator).T
        better = compare(asked, first, second)
        yes, no = torch.where(better, first, second), torch.where(better, second, first)
        seen.append((asked, yes, no))
        optimizer = torch.optim.LBFGS([a, b], max_iter=40, line_search_fn="strong_wolfe")
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
# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - Which policy is best if the utility is known, and how far may it go? (Chapter 3's closed form: the reference's
#   logits plus utility / β. Which β uses the whole budget?)
# - 240 comparisons say little about a matrix of 12 × 8 numbers. You know its rank. What else do you know of it, before
#   you have seen anything?
# - Which comparisons are worth their price: those of answers that the reference gives, or those that your *new* policy
#   gives? (The loop of five steps.)
# </details>
#
# ## What you measured

# %% tags=["demo"]
def line(name: str) -> str:
    """Utility and KL of a way, medians of the seeds."""
    return f"{middle(name, 'utility'):.2f} at {middle(name, 'kl'):.1f} nats"


lost = ", ".join(f"{name} {middle(name, 'loss'):.2f}" for name in ("PPO", "GRPO", "DPO"))
won = [(n, *wins[n]) for n in ("PPO", "GRPO", "DPO")]
won = "; ".join("{} {:.2f} ({:.2f} to {:.2f})".format(*row) for row in won)
errors = [middle("PPO", name) for name in ("drawn error", "kl error")]
read = sum(said.startswith("read") for said in refusals.values())
print(f"""In this run (medians of {len(SEEDS)} seeds):
- True utility: base {at_base["utility"]:.2f}, SFT {at_sft["utility"]:.2f}; best of 8 \
{middle("best of 8", "utility"):.2f};
  PPO {line("PPO")}; GRPO {line("GRPO")}; DPO {line("DPO")}.
- Pairs collected anew: PPO {line("PPO, twice")}; DPO {line("DPO, twice")}.
- Without SFT: from {at_base["utility"]:.2f} to {end:.2f}.
- Win rate over SFT: {won}.
- Loss on documents of the pre-training: base {at_base["loss"]:.2f}, SFT {at_sft["loss"]:.2f};
  then {lost}.
- Standard error of PPO's KL: {errors[0]:.2f} from drawn tokens, {errors[1]:.2f} by step.
- Held at once: {", ".join(f"{n} {holds[n]:.0f} MB" for n in ("PPO", "GRPO", "DPO"))}.
- {read} of {len(refusals)} files was read, the others refused with a sentence.""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. Why are the questions drawn again for an interval, and not the answers?</summary>
#
# What you want to say holds for *new questions*. Answers to one question are alike, so twenty answers to one question
# are not twenty observations. Whoever draws answers again gets an interval for these same questions.
# </details>
# <details><summary>2. The reference of the second round: should it be the model after the first round?</summary>
#
# One can do that. Then each round may go as far from the last as β allows, and the whole way from $p_0$ is not limited.
# With $p_0$ as the reference in all rounds the price stays the same one.
# </details>
# <details><summary>3. A reward model that was learned in the first round is used in the second. What goes wrong?</summary>
#
# It has seen answers of the fine-tuned model. The policy now says other things, and there its scores were never
# compared with anybody's opinion (chapter 5). New pairs are about what is said now.
# </details>
# <details><summary>4. The judge draws its new prompts from a seed that is made of your file. What for?</summary>
#
# If the prompts were fixed, one could fit them, or look them up. So every file has its own prompts, nobody knows them
# before the file is finished, and the same file is always measured in the same way.
# </details>
#
# ## What was not shown
#
# Fine-tuning was run once, and three seeds of everything after it say only roughly how much the ways scatter. The rates,
# β and the numbers of updates were taken from the earlier chapters and not tuned again; with others the order of the
# ways can be another one. People were simulated, and their taste had a formula. Helpfulness is not the only thing that
# models are trained for: nothing here was about safety. Large models are trained with more stages than five, and their
# parts are run side by side on many machines. That old text, mixed in, keeps a model from forgetting was said and not
# tried.
#
# **To read**: Ouyang et al. 2022, *Training language models to follow instructions with human feedback*
# (arXiv:2203.02155); Stiennon et al. 2020, *Learning to summarize from human feedback* (arXiv:2009.01325); Bai et al.
# 2022, *Training a helpful and harmless assistant with reinforcement learning from human feedback* (arXiv:2204.05862),
# whose models were trained anew about once a week; DeepSeek-AI 2025, *DeepSeek-R1* (arXiv:2501.12948); Gao, Schulman and
# Hilton 2022, *Scaling laws for reward model overoptimization* (arXiv:2210.10760).

# %%
progress("11_pipeline")
