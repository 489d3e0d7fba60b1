# %% [markdown]
# # Start here
#
# Ten minutes, so that you know how the notebooks work before they get hard. You will see the map of the course, make
# a first prediction, and answer a first exercise: once wrongly, then well. You need some Python, and no GPU.

# %% [markdown]
# ## Cells
#
# A notebook is a column of cells. Click into the grey cell below and press **Shift + Enter**: it runs, and the next
# cell is selected. Run the cells from top to bottom. If something looks odd, *Kernel → Restart Kernel and Run All
# Cells* starts again from nothing. (The folded cell above installs the course where it is missing. Run it too: where
# the course is there, it does nothing.)

# %% tags=["imports"]
import torch

from autograder import check, predict, progress, reveal

# %% tags=["demo"]
from course import device, reading
from course.drawings import c00 as drawings

print(device.describe_machine())

# %% [markdown]
# ## The map
#
# A language model is trained in stages. Each chapter is one stage, and in each you write the parts that matter
# yourself. All of it happens in a small world that a program made up: stories, sums, and facts about invented
# countries. So we know what is true there, and every claim of the course can be measured on your machine.

# %% tags=["demo"]
drawings.course_map()

# %% [markdown]
# The coloured lines are **checkpoints**: models that were saved after a stage, and from which a later one starts. They
# come with the course, so you may begin with any chapter.
#
# The course follows a lecture, «Процесс обучения LLM» (“How language models are trained”, in Russian). It is not needed
# here. The last column says where the course keeps to it (✓) and where it corrects it (≠). What is wrong, and how you
# can see it, stands in a table at the end of this page.

# %% [markdown]
# ## Predict, then run
#
# Before a cell shows something surprising, the course asks what you expect. Choose an answer first: a result is
# easier to remember after a guess, and most of all after a wrong one. Predictions are not graded.
#
# A trained model reads this sentence about a country of its world, word by word:
#
# > the capital of sarvik is hollin .
#
# Before each word it says how probable every possible next word is. If the word that comes had the probability $p$,
# the **loss** there is $-\log p$: 0 when the model was certain and right, high when it did not expect the word. Its
# unit is called *nat*.
#
# **Predict.** Where is the loss highest?
#
# - **a** at “the”: it is the first word, and nothing stands before it;
# - **b** at “sarvik”, the country;
# - **c** at “hollin”, its capital: this word the model has to know.
#
# Write your letter between the quotation marks, and run the cell.

# %% tags=["demo"]
predict("first_guess", "")

# %% [markdown]
# Now let the model read. The first time this takes some seconds.

# %% tags=["demo"]
words = "the capital of sarvik is hollin .".split()
losses = reading.losses_of(" ".join(words))  # (7,): one loss a word
drawings.surprises(words, losses)

# %% tags=["demo"]
at = {"a": losses[0].item(), "b": losses[3].item(), "c": losses[5].item()}
reveal("first_guess", max(at, key=at.get), the=at["a"], country=at["b"], capital=at["c"])

# %% [markdown]
# A cell like this one says what came out on *your* machine, and why. It also says which thought leads to each choice.

# %% [markdown]
# ## Your first exercise
#
# An exercise is a function for you to write. A model has one loss for each word, and people report the mean of these
# losses. Write it: `mean_loss(losses)` takes a tensor of any shape and returns the mean of all its elements.
#
# **Answer wrongly first.** Replace the line that raises `NotImplementedError` with `return losses.sum()`, run the
# cell, and run the check under it. You will see what a wrong answer looks like here: which cases fail, what was
# expected, what your function returned, and, if the mistake is a known one, what you probably did. Then correct it.

# %% nbgrader={"grade": false, "grade_id": "mean_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mean_loss(losses: torch.Tensor) -> torch.Tensor:
    """The mean of all elements of `losses`, a float tensor of any shape."""
    ### BEGIN SOLUTION
    return losses.mean()
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "mean_loss_check", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("mean_loss", mean_loss)

# %% [markdown]
# <details><summary><b>Hint 1</b>: what does the shape do?</summary>
#
# How many numbers are in a tensor of shape (3, 5)? What does `losses.sum()` give when every loss is 1?
# </details>
# <details><summary><b>Hint 2</b>: the function you want</summary>
#
# Tensors have a method for it: `losses.mean()`. Without an axis it averages over all elements.
# </details>
#
# Exercises come with hints like these. Open one at a time, and only after you have tried.

# %% tags=["demo"]
print(f"the mean loss on the sentence above: {float(mean_loss(losses)):.2f} nats a word")

# %% [markdown]
# ## What a check does
#
# Suppose that you returned the sum, and that the input was the losses of the sentence above:

# %% tags=["demo"]
drawings.what_a_check_does(losses)

# %% [markdown]
# The **probe** makes inputs from a few fixed seeds and calls your function. The **judge** compares what comes back
# with what the reference solution returned on the same inputs. The reference itself is not on your machine, only its
# outputs: the answer key. So write your function as you like: loops, one line, a library call. What counts is what it
# returns. It must also leave its arguments unchanged, because the code that calls it may need them again.
#
# If you work in an editor rather than in a notebook, put your functions into a file and run
# `autograder check 00_start_here my_answers.py`.

# %% [markdown]
# ## How a chapter goes

# %% tags=["demo"]
drawings.a_chapter()

# %% [markdown]
# - An **open task** has no single right answer. It has bars, such as “a loss below 1.4”: each one that you reach
#   counts. The judge measures your result itself.
# - **What you wrote is used again.** Later chapters call an answer of yours that has passed; where there is none,
#   they call the course's own.
# - **Numbers differ** a little between machines. So the pages print the numbers of your own run. Every random step
#   starts from a seed, so on one machine a run repeats. All seeds go through `device.seed`: start Jupyter with
#   `COURSE_SEED=1` in the environment, and every chapter draws other random numbers. So you can see whether a result
#   was chance.
# - **The dose.** Every chapter runs on a laptop in minutes. Where there is a GPU, the same cells train for longer.
#   With `COURSE_TIER=cpu` or `gpu` you choose yourself. `COURSE_DOSE=0.02` runs a whole chapter quickly, but the
#   models then learn almost nothing.

# %% tags=["demo"]
torch.manual_seed(device.seed(0))
print(torch.rand(3))  # run this cell again: the same three numbers

# %% [markdown]
# ## Progress
#
# The course remembers, in one small file in your home folder, which exercises you have passed and how many of your
# predictions came true. This shows it:

# %%
progress()

# %% [markdown]
# ## If you are in a class
#
# Save the notebook and hand in the `.ipynb` file, as your instructor asks. Change only the answer cells and your
# predictions; add cells of your own wherever you like. Grading runs your functions on fresh seeds, gives points for
# every case that passes, and sends back a report like the ones you see here. Cells that train for minutes are not run
# again in grading.
#
# Now open [01_pretraining](../01_pretraining/01_pretraining.ipynb), where you train a language model. The tables
# below are for looking things up.

# %% [markdown]
# ## To look up
#
# <details><summary><b>The signs of the formulas</b></summary>
#
# | sign | in code | what it is |
# |:--|:--|:--|
# | $x$ | `prompt` | the prompt: what the model is given (chapter 01 has no prompts: there, $x$ is the whole text) |
# | $y$, $y_t$ | `answer` | the answer, and its token number $t$ |
# | $p_\theta(y \mid x)$ | `model`, `policy` | the model that is trained, with its weights $\theta$. In reinforcement learning it is called the **policy** |
# | $\log p_\theta(y_t \mid x, y_{\lt t})$ | `logps` | log-probabilities of the tokens of an answer |
# | $p_0$ | `reference`, `ref_logps` | the **reference**: the frozen model from which training starts |
# | $r(x, y)$, $r_t$ | `rewards` | a **reward**: a number that says how good an answer was, and that training makes large (the lecture's $Q$); the part of it that one token gets |
# | $r_\varphi(x, y)$ | `scores`; in chapter 04 `rewards` | a reward that a model has *learned*: a **score** |
# | $u(x, y)$ | `utility` | the **true utility** of an answer. Only a made-up world has one |
# | $A$ | `advantages` | how much better an answer, or a token, was than expected |
# | $V_\psi$ | `values` | what a value model expects |
# | $\lvert V \rvert$ | `VOCAB` | the number of tokens in the vocabulary |
# | $\mathrm{KL}(p_\theta \,\Vert\, p_0)$ | `kl` | how far the policy has moved away from the reference |
# | $\beta$ | `beta` | the price of that distance |
# | $p_{\text{old}}$, $\rho$ | `old_logps`, `ratio` | the policy as it was when it wrote the answers; how much likelier an answer has become since |
# | $\varepsilon$ | `clip` | how far from 1 PPO lets the ratio $\rho$ count |
# | $\gamma, \lambda$ | `gamma`, `lam` | how much later rewards and later expectations count |
# | $\tau$, $T$ | `temperature` | how random a draw is; how careless an annotator is |
# | $\sigma(z)$ | `sigmoid` | $1 / (1 + e^{-z})$: a number as a probability |
# | $\nabla \log p_\theta$ | | a direction in which something becomes likelier. Statistics calls it the *score function*: no score is meant |
# | $\mathbb{E}$, $\log$ | | a mean over what is random; the natural logarithm, so that losses are in nats |
# </details>

# %% [markdown]
# <details><summary><b>Words of the field</b></summary>
#
# | word | what is meant here | first in |
# |:--|:--|:--|
# | token, vocabulary | a piece of text with a number; all the pieces there are | [01](../01_pretraining/01_pretraining.ipynb) |
# | logits | one number for each possible next token, before they become probabilities | [01](../01_pretraining/01_pretraining.ipynb) |
# | loss, nat | the mean of $-\log p$ of what should have come; its unit, with the natural logarithm | [01](../01_pretraining/01_pretraining.ipynb) |
# | batch, padding, mask | texts side by side; what fills the short ones up; which places count | [01](../01_pretraining/01_pretraining.ipynb) |
# | update, learning rate | one change of all weights; how large it is | [01](../01_pretraining/01_pretraining.ipynb) |
# | held out | kept away from training, so that one can measure on it | [01](../01_pretraining/01_pretraining.ipynb) |
# | floor | the lowest loss that is possible: the entropy of the text | [01](../01_pretraining/01_pretraining.ipynb) |
# | sampling, temperature | drawing the next token at random; how random the draw is | [01](../01_pretraining/01_pretraining.ipynb) |
# | checkpoint | the weights of a model, saved | [01](../01_pretraining/01_pretraining.ipynb) |
# | fine-tuning, SFT | more training on other data; on answers that people wrote (*supervised*) | [02](../02_sft/02_sft.ipynb) |
# | chat template | the marks that say who speaks, and where an answer ends | [02](../02_sft/02_sft.ipynb) |
# | greedy | always the most probable token, without a draw | [02](../02_sft/02_sft.ipynb) |
# | policy, reward | the model that answers and is trained; a number that says how good its answer was | [03](../03_reinforce/03_reinforce.ipynb) |
# | rollout | answers that the policy has sampled, to learn from | [03](../03_reinforce/03_reinforce.ipynb) |
# | baseline | in 01: a simple method to compare with. From 03 on: what is subtracted from a reward | [03](../03_reinforce/03_reinforce.ipynb) |
# | preference pair | two answers to one prompt, and which one somebody chose | [04](../04_reward_model/04_reward_model.ipynb) |
# | reward model | a model that has learned from such pairs to give a score | [04](../04_reward_model/04_reward_model.ipynb) |
# | calibration | when a model says 70 %, is it right in 70 of 100 cases? | [04](../04_reward_model/04_reward_model.ipynb) |
# | best of n | sample n answers, keep the one with the highest score | [04](../04_reward_model/04_reward_model.ipynb) |
# | advantage, value model | how much better than expected; the model that predicts what to expect | [05](../05_ppo/05_ppo.ipynb) |
# | reward hacking | the score rises, while the quality that was really wanted falls | [05](../05_ppo/05_ppo.ipynb) |
# | RLHF | reinforcement learning from human feedback: what the field calls chapters 03 to 05 together | [05](../05_ppo/05_ppo.ipynb) |
# | DPO | learning from pairs without a reward model | [06](../06_dpo/06_dpo.ipynb) |
# | LoRA, adapter | training small matrices beside the weights, not the weights | [07](../07_finetuning/07_finetuning.ipynb) |
# | in-context learning | learning from examples in the prompt; no weight changes | [08](../08_icl/08_icl.ipynb) |
# | chain of thought | steps that a model writes before its answer | [09](../09_cot/09_cot.ipynb) |
# | GRPO | rewards compared within a group of answers to one prompt | [10](../10_grpo/10_grpo.ipynb) |
# </details>

# %% [markdown]
# <details><summary><b>The lecture, heading by heading</b></summary>
#
# Names in `code` are exercises.
#
# | heading | what you write or measure | where |
# |:--|:--|:--|
# | Предобучение: pre-training | `make_labels`, `causal_lm_loss`, `train`; `mask_tokens`, `nsp_pairs` | [01](../01_pretraining/01_pretraining.ipynb) |
# | Supervised fine-tune (SFT) | `render_chat`, `answer_labels`, `sft_loss`, `train_sft` | [02](../02_sft/02_sft.ipynb) |
# | RLHF: the objective, REINFORCE | `exact_objective`, `score_function_gradient`, `reinforce_loss`, `policy_loss` | [03](../03_reinforce/03_reinforce.ipynb) |
# | RLHF: the reward model | `bradley_terry_loss`, `last_token_rewards`, `train_reward_model` | [04](../04_reward_model/04_reward_model.ipynb) |
# | RL pipeline, PPO | `gae`, `clipped_policy_loss`, `value_loss`, `ppo_update` | [05](../05_ppo/05_ppo.ipynb) |
# | DPO | `recovered_rewards`, `dpo_loss`, `train_dpo` | [06](../06_dpo/06_dpo.ipynb) |
# | Pipeline обучения: the whole pipeline | `run_pipeline`, `train_in_rounds`; `verify_answer`, `train_grpo` | [10](../10_grpo/10_grpo.ipynb), and [11](../11_pipeline/11_pipeline.ipynb) |
# | Full fine-tune | `train_only`, `fine_tune`; what is forgotten: `forgetting` | [07](../07_finetuning/07_finetuning.ipynb), and [11](../11_pipeline/11_pipeline.ipynb) |
# | Дообучение части слоёв: some of the layers | `train_only` | [07](../07_finetuning/07_finetuning.ipynb) |
# | PEFT: LoRA | `low_rank`, `lora_linear`, `add_lora`, `set_merged`, `linear_costs` | [07](../07_finetuning/07_finetuning.ipynb) |
# | Альтернативы: DoRA, prefix tuning, OFT, BOFT, GSOFT | `dora_weight`, `prefix_logits`, `cayley`, `rotate` | [07](../07_finetuning/07_finetuning.ipynb) |
# | In-context learning | `bayes_predictions`, `new_table_predictions`, `train_in_context`, `induction_scores` | [08](../08_icl/08_icl.ipynb) |
# | Few-shot, one-shot, zero-shot | `few_shot_prompt`, `with_label`, `label_scores`, `paired_differences`, `calibrated` | [08](../08_icl/08_icl.ipynb) |
# | Chain-of-thought (CoT) | `extract_answer`, `cot_prompt`, `train_on_budget`, `vote`, `faithfulness`; `pass_at_k` | [09](../09_cot/09_cot.ipynb), and [10](../10_grpo/10_grpo.ipynb) |
# </details>

# %% [markdown]
# <details><summary><b>The lecture, and what the course corrects</b></summary>
#
# Where the lecture is wrong, or newer results say something else, the course gives you something to write, draw or
# measure that shows it.
#
# | the lecture says | the course | where |
# |:--|:--|:--|
# | pre-training is *unsupervised* | it is self-supervised: the text is its own label | [01](../01_pretraining/01_pretraining.ipynb) |
# | next-sentence prediction is one of the tasks of pre-training | it was dropped soon after BERT; you see what it learns, and what it does not | [01](../01_pretraining/01_pretraining.ipynb) |
# | maximise $\mathbb{E}\,Q + \beta\,\mathrm{KL}$ | **minus**: the KL is a price. With a plus the optimum is one single answer | [03](../03_reinforce/03_reinforce.ipynb) |
# | REINFORCE, derived for an $f$ without $\theta$, optimises that objective | there is a $\theta$ inside; the term that it adds is zero on average, and you show why | [03](../03_reinforce/03_reinforce.ipynb) |
# | REINFORCE is not used in practice | plain REINFORCE is not; with a baseline its family trains today's models | [03](../03_reinforce/03_reinforce.ipynb), and [10](../10_grpo/10_grpo.ipynb) |
# | one letter $\theta$ for the policy and for the reward model; $Q(s, a)$ beside $Q(a, p)$ | two models, two letters: $p_\theta$ and $r_\varphi$, and $r(x, y)$ everywhere | [04](../04_reward_model/04_reward_model.ipynb) |
# | the reward model $r_\theta$ | pairs tell it only up to a constant for each prompt | [04](../04_reward_model/04_reward_model.ipynb), and [06](../06_dpo/06_dpo.ipynb) |
# | PPO keeps 4 models, two of which it does not name | all four are named, and their memory is measured | [05](../05_ppo/05_ppo.ipynb) |
# | DPO is the state of the art, with one hyper-parameter and two models | it was so in 2023; the learning rate matters as much; one model in memory is enough | [06](../06_dpo/06_dpo.ipynb) |
# | full fine-tuning is the most stable, and the best | best at the new task perhaps; what was known before is forgotten, and the rate decides how much: measured for eight methods | [07](../07_finetuning/07_finetuning.ipynb) |
# | LoRA works because hidden representations lie near a low-dimensional manifold | it is about the *change* of the weights: a low rank is enough to learn with, though the change that full training makes has none; both are measured | [07](../07_finetuning/07_finetuning.ipynb) |
# | $\Delta W = A B^\top$ | the same as the paper's $(\alpha/r)\, B A$, with one factor zero at the start | [07](../07_finetuning/07_finetuning.ipynb) |
# | LoRA makes the backward pass cheaper, and saves much memory | by a third at most, counted and measured; what is saved is the optimiser's memory and the weights' gradients | [07](../07_finetuning/07_finetuning.ipynb) |
# | few-shot means 2 to 5 examples | often as many as fit; how many are needed depends on what has to be told apart, and is computed | [08](../08_icl/08_icl.ipynb) |
# | a chain of thought makes a model easier to interpret | the written steps need not be why it answers so | [09](../09_cot/09_cot.ipynb) |
# | DeepSeek-R1 was trained with RLHF only | that was R1-*Zero*, and with rewards that a rule checks, not people | [10](../10_grpo/10_grpo.ipynb), and [11](../11_pipeline/11_pipeline.ipynb) |
# </details>
