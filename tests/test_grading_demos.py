"""What an answer sees of demonstration cells in the notebook it sees in grading too, as far as that is cheap."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.grading.cells import is_check, is_demo
from autograder.grading.demos import definitions, names_left_out, names_of_demonstrations, names_used, parts_to_run
from autograder.judging.reference import SOLUTIONS, Reference, is_solution

TOPICS = sorted(path.name for path in SOLUTIONS.iterdir() if (path / f"{path.name}.py").exists())

# Why a name of a demonstration is not there in grading: what it begins with, and what that is. Everything else that a
# demonstration defines must be there. What is computed from one of these is left out with it.
LONG = {
    "a loop or a block: training, measuring, drawing": "for while with",
    "what a function of the demonstration fills while it trains": "a_function_that_fills_it",
    "a figure": "plt.subplots plt.figure",
    "a model": "models.load_nano models.new_nano models.new_nano_bert models.load_card models.save_checkpoint "
    "HeadOnBody LlamaForSequenceClassification get_peft_model copy.deepcopy new_value_model hub.load_chat_model base",
    "a data set": "data.load_corpus data.load_heldout data.load_jsonl data.load_probes data.entropy_floor "
    "data.encode_documents data.pad_rows sentences nsp_pairs encode_pairs twice about_facts understand example "
    "style_example all_answers utility appraise features_of ids_of read comparisons.load comparisons.Rows rows_of",
    "what was trained, and what trains": "train train_sft train_reward train_ppo fine_tune learn climb reinforce "
    "train_by_the_book train_on_surprises comparisons.logistic_regression "
    "torch.optim.AdamW torch.optim.LBFGS tqdm make_trainer RewardTrainer GRPOTrainer GRPOConfig time.perf_counter",
    "what a model or a trained table gives": "token_losses prompt_ids bert_scores answers_of exact_match continuations "
    "by_position real_encode real_answers plain_loss prompt_batch sample_answers measure examine prices plain_rewards "
    "library_rewards.ready_made comparisons.least_expected paid median reward.RewardModel.of torch.sign torch.sigmoid "
    "heldout_rewards price_of_a_word best_of scatter_of total_variation many_estimates draw_answers next F.pad "
    "F.cosine_similarity",
    "what the toolkit computes or draws for a page": "reading.losses_of ngrams.as_characters "
    "libraries.trl_loss start_of F.one_hot "
    "torch.zeros_like listed.many_estimates "
    "listed.listed_world listed.with_a_flaw listed.total_variation mean_gradient drawings.update logprob_of",
    "what an answer gives": "count_ngrams generate generate_answers "
    "make_labels causal_lm_loss mask_tokens collate "
    "render_chat pack_examples exact_objective "
    "score_function_gradient policy_gradient_estimate optimal_policy fit_scores bradley_terry_loss center_rewards "
    "preference_probability expected_accuracy calibration_bins earlier torch.autograd.grad memory_budget token_rewards "
    "clipped_policy_loss torch.autograd.functional.jacobian",
    "rollouts, and what is computed from them": "rollouts.draw rollouts.words rollouts.scores rollouts.scores_on_the_way "
    "rollouts.token_logps rollouts.new_value_model rollouts.bytes_in_training rollouts.questions_about_facts "
    "rollouts.policy_loss_of_trl many_steps tuned median torch.ones_like earlier",
    "pairs, and what is computed from them": "comparisons.load pairs.examples pairs.look_at pairs.trl_losses pairs.worths "
    "pairs.utility_at pairs.descend pairs.best_of_n dpo_loss distance recovered_rewards preferences manners.load_manner "
    "reference_logps pair_logps train_dpo ppo_curve rollouts.bytes_of torch.meshgrid trained_anew real_look LoraConfig",
    "drawn by chance": "torch.multinomial torch.randn torch.rand torch.randint",
    "puzzles, answers to them, and what is measured of them": "luck puzzles.puzzle draw group_advantages four_answers kl_term "
    "puzzles.trl_loss draw_and_score shown at_the_end",
    "chains, word problems, and what was written to them": "word_problems.apples word_problems.problems word_problems.sums_in "
    "ask hub.offline chains.paired_interval chains.new_puzzle chains.Puzzle",
    "prompts, rows of hidden tables, and what is measured of them": "shots.tasks shots.load_reader shots.draw_examples "
    "shots.word_rows prompt_for with_label label_scores means interval tables.known_tables tables.draw tables.draw_new "
    "tables.Rows bayes_predictions new_table_predictions exact_accuracy induction_scores heads.attentions without copied",
    "the stages of the pipeline, what is measured of them, and files": "pipeline.fine_tune pipeline.Writer pipeline.megabytes "
    "pipeline.as_checkpoint time.process_time win_rate_interval collect_preferences best_under_budget middle said_of save",
    "ways to fine-tune, and what is measured of them": "batch_of look with_lora broken_or_not adapted timed linear_costs "
    "whole_step turning torch.linalg.svdvals torch.linalg.solve nn.Linear random_numbers rotate adapters.new_prefix",
}


def demo(source: str):
    return new_code_cell(source, metadata={"tags": ["demo"]})


def notebook(*cells):
    return new_notebook(cells=[new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells])


def run(nb) -> dict:
    """The names there are after the cells that run, and of demonstrations the parts that do."""
    namespace: dict = {}
    for index, source in enumerate(sources_run(nb)):
        exec(compile(source, f"<cell {index}>", "exec"), namespace)
    return namespace


def _one_word(reason: str) -> str:
    return reason.removesuffix("()").replace(" ", "_")


def sources_run(nb) -> list[str]:
    parts = parts_to_run(nb)
    shown = [(i, c) for i, c in enumerate(nb.cells) if c.cell_type == "code" and (i in parts or not is_demo(c))]
    return [parts[i].source if i in parts else c.source for i, c in shown]


def test_imports_constants_functions_and_classes_that_an_answer_uses():
    nb = notebook(
        demo("import math\nfrom statistics import mean as average\nPAD, END = 0, 1\nraise SystemExit('long')"),
        demo("WORDS = {w: i for i, w in enumerate('a b'.split())}\ndef helper(x): return math.floor(x) + PAD"),
        demo("class Box:\n    size = 3"),
        "def answer(x): return [helper(x), average([1, 3]), WORDS['b'], Box.size, END]",
        "result = answer(2.5)",
    )
    assert run(nb)["result"] == [2, 2, 1, 3, 1]


def test_a_notebook_that_uses_nothing_of_demonstrations_pays_nothing():
    nb = notebook(
        demo("import math\nPAD = 0\ndef helper(): ..."), "def answer(PAD, math):\n    'PAD and math'\n    helper = 1"
    )
    assert parts_to_run(nb) == {}


def test_only_what_is_used_is_run():
    nb = notebook(demo("from os import path, no_such_name\nA = 1\nB = undefined_name\nC = A + 1"), "print(C, path)")
    (part,) = parts_to_run(nb).values()
    assert part.names == ["path", "A", "C"]
    assert "no_such_name" not in part.source
    assert "undefined_name" not in part.source


def test_a_statement_that_fails_costs_no_other():
    nb = notebook(
        demo("import no_such_module_anywhere\nA = {}['missing']\nB = 2"),
        "x = lambda: A or no_such_module_anywhere\ny = B",
    )
    assert run(nb)["y"] == 2


@pytest.mark.parametrize(
    "long",
    [
        "X = train()",
        "X = models.load(3)",
        "for X in range(3): pass",
        "with open('f') as X: pass",
        "model = train()\nX = model.config",
        "X = [train(i) for i in range(3)]",
        "X = {}\nfor i in range(3): X[i] = train(i)",
        "X = []\nX.append(train())",
        "X = 1\nX = train()",
        "X = 1\ndel X",
        "def X(y=train()): ...",
        "X = 1\nX += train()",
        "X = []\ndef step():\n    X.append(3)\nstep()",
    ],
)
def test_what_is_long_is_not_run_and_leaves_no_half_a_value(long):
    nb = notebook("import random as models", demo(long), "def answer(): return X")
    assert "X" not in run(nb)
    assert names_left_out(nb)["X"]
    assert "X" in names_of_demonstrations(nb)


@pytest.mark.parametrize(
    "cheap",
    [
        "X = 5",
        "X: int = 5",
        "Y = X = 5",
        "X, *Y = 5, 6, 7",
        "X = 2\nX += 3",
        "Y = {}\nY['a'] = 5\nX = Y['a']",
        "Y = []\nY.append(5)\nX = Y[0]",
        "if True:\n    X = 5\nelse:\n    X = 6",
        "try:\n    import no_such_module\nexcept ImportError:\n    X = 5",
        "Z = train()\nX = [Z for Z in (5, 6)][0]",
        "from operator import *\nX = 5\nY = add",
        "X = (lambda: 5)\nX = 5",
        "%matplotlib inline\nX = 5",
    ],
)
def test_what_is_cheap_is_run(cheap):
    nb = notebook(demo(cheap), "def answer(): return X")
    namespace = run(nb)
    assert namespace["X"] == 5


def test_what_a_later_long_cell_changes_is_missing_from_there_on_and_not_stale():
    nb = notebook(demo("X = 1"), "first = X", demo("X = train()"), "second = globals().get('X', 'missing')")
    namespace = run(nb)
    assert (namespace["first"], namespace["second"]) == (1, "missing")


def test_a_long_demonstration_takes_nothing_from_the_student():
    nb = notebook("X = 'own'", demo("X = train()"), "second = X")
    assert run(nb)["second"] == "own"


def test_names_used_are_the_global_ones_also_behind_magics():
    source = "%time f(PAD)\n!ls\ndef g(x, y=Q):\n    z = [w for w in x if w != END]\n    return z + globals()['BOS']"
    assert names_used(source) >= {"f", "PAD", "Q", "END", "BOS"}
    assert not names_used(source) & {"x", "y", "z", "w"}
    assert names_used("def f(:") == set()
    assert names_used("x += 1") == {"x"}
    assert names_used("(" * 5000) == set()


def test_definitions_tell_an_edited_demonstration_from_a_different_call():
    assert definitions("import a\ntrain()") == definitions("# note\nimport a\ntrain(for_ever=True)")
    assert definitions("import a, b") != definitions("import a")


@pytest.mark.parametrize("topic", TOPICS)
def test_the_chapter_itself_uses_nothing_of_its_demonstrations(topic):
    """So that a submission that does not either pays nothing."""
    nb = Reference(topic).notebook
    assert parts_to_run(nb) == {}
    exercises = {
        name for cell in nb.cells if is_solution(cell) for name in re.findall(r"^def (\w+)", cell.source, re.M)
    }
    assert not exercises & names_of_demonstrations(nb)


@pytest.mark.slow
@pytest.mark.parametrize("topic", TOPICS)
def test_every_name_above_an_exercise_is_there_in_grading_or_long(topic):
    chapter = Reference(topic).notebook
    chapter.cells = [cell for cell in chapter.cells if cell.cell_type == "code" and not is_check(cell)]
    known = {word for words in LONG.values() for word in words.split()}
    everything = names_of_demonstrations(chapter)
    uses_all = notebook(*chapter.cells, f"[{', '.join(sorted(everything))}]")
    parts = parts_to_run(uses_all)
    namespace, missing, unexplained = {}, set(), {}
    for index, cell in enumerate(chapter.cells):
        if is_solution(cell):
            above = notebook(*chapter.cells[:index])
            left_out = names_left_out(above)
            missing |= names_of_demonstrations(above) - {"*"} - set(left_out) - set(namespace)
            derived = everything  # `x = model.config` is left out because of `model`
            unexplained |= {n: r for n, r in left_out.items() if _one_word(r) not in known and r not in derived}
        if index in parts or not is_demo(cell):
            exec(parts[index].source if index in parts else cell.source, namespace)
    assert not missing, "these are cheap to define by their text, and were not there when the cells had run"
    assert not unexplained, "these are not defined in grading: is it cheap (CHEAP_CALLS), or long (LONG above)?"
