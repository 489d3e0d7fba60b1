"""Probes of chapter 09's first part: to read an answer out of what a model wrote, and to show it how to write."""

import random

from autograder.chapters.probing import as_number
from autograder.exercise import Exercise, Unexpected

TOPIC = "09_cot"

# ---------------------------------------------------------------------------------------------------------------------
extract_answer = Exercise("extract_answer", TOPIC, "Exercise 1: what is the answer?", plain=True)


def _read(answer, texts: list[str]) -> dict:
    """The answer read out of each text, under the text's own words."""
    found = {}
    for text in texts:
        value = answer(text)
        if isinstance(value, str):
            raise Unexpected("A number or None is asked for; your function returned text.")
        found[text.replace("\n", " ⏎ ") or "(an empty text)"] = None if value is None else as_number(value, "The answer")
    return found


def _numbers(seed: int, count: int = 6) -> list[int]:
    """Different numbers of one or two digits, none of which is a part of another."""
    return random.Random(seed).sample(range(11, 99), count)


@extract_answer.case
def said_with_the_word(answer, seed):
    """“answer is” or “answer:” stands before it, in capitals or not."""
    a, b, c, d, e, f = _numbers(seed)
    return _read(answer, [
        f"The answer is {a}.", f"{b} + {c} = {d}. So the answer is {d} apples.", f"Step 1: {e} eggs.\nAnswer: {f}",
        f"THE ANSWER IS {b}! (And not {c}.)", f" the final answer: {c}", f"**Answer: {e}**", f"answer:{a}",
    ])  # fmt: skip


@extract_answer.case
def not_the_last_number(answer, seed):
    """Other numbers stand behind it: the first one behind the words is the answer."""
    a, b, c, d, e, f = _numbers(seed)
    return _read(answer, [
        f"The answer is {a}, because {b} + {c} = {a} and {d} is too many.", f"Answer: {e} of {f}.",
        f"The answer is, in euros, {c} and {d} cents.", f"so, answer: {d}, since {b} < {c}", f"The Answer Is {f} for {a}",
    ])  # fmt: skip


@extract_answer.case
def said_several_times(answer, seed):
    """The words stand there more than once: the last time counts."""
    a, b, c, d, e, f = _numbers(seed)
    return _read(answer, [
        f"The answer is {a}. No, wait: {b} - {c}. The answer is {d}.", f"Answer: {e}. Checked: the answer is {f}.",
        f"The answer is {c}. Let me check: {a}. Answer: {b}. {d} were left over.",
    ])  # fmt: skip


@extract_answer.case
def without_the_word(answer, seed):
    """The words are missing, or no number stands behind the last of them: the last number of the text."""
    a, b, c, d, e, f = _numbers(seed)
    return _read(answer, [
        f"Bob has {a} + {b} = {c}. Together they have {d} apples.", f" {e}", f"{a} apples. The answer is easy.",
        f"The answer is {f}. I hope that this answer is clear.", f"She answered {b} times in {c} days",
    ])  # fmt: skip


@extract_answer.case
def no_number_at_all(answer, seed):
    """Where there is no number, None."""
    (a,) = _numbers(seed, 1)
    return _read(answer, ["", "I do not know.", "The answer is unclear.", "Question: what now?", "...", f"{a}"])


@extract_answer.case
def the_next_question(answer, seed):
    """The model goes on and asks itself a new question: from that line on, nothing counts."""
    a, b, c, d, e, f = _numbers(seed)
    return _read(answer, [
        f" They have {a} apples.\n\nQuestion: Tom has {b} pens and {c} books. How many things?\nAnswer: The answer is {d}.",
        f"The answer is {e}.\nQuestion: {f} birds sit on a roof.", f"Question: {a} and {b}?\nAnswer: {c}",
        f"It is {d}.\nQuestion: who?\nThe answer is {e}.\nQuestion: when?\nThe answer is {f}.",
        f"A good Question: has one answer. The answer is {b}.",
    ])  # fmt: skip


@extract_answer.case
def numbers_of_all_kinds(answer, seed):
    """Commas between thousands, decimals, a minus, signs of money, a full stop behind; 5-3 has no minus sign in it."""
    a, b, c, d, e, f = _numbers(seed)
    rest = 100 + 7 * f
    return _read(answer, [
        f"The answer is {a},{rest}.", f"Answer: ${b}.{c}", f"The answer is -{d}.", f"It costs {e},{rest},{rest}.75 in all.",
        f"In all {a}-{b}", f"Answer: {f}.", f"The answer is ({c})", f"from {d} to -{e}.5", f"The answer is {b}%.",
        f"Answer: €{d},{e}0",
    ])  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
cot_prompt = Exercise("cot_prompt", TOPIC, "Exercise 2: show how it is done")

_NAMES = ["Anna", "Bob", "Mira", "Tom", "Ines", "Karl"]


def _examples(seed: int, count: int) -> list[dict]:
    """Worked examples of different lengths."""
    rng, made = random.Random(seed), []
    for i in range(count):
        a, b = rng.randrange(2, 9), rng.randrange(2, 9)
        steps = [f"{_NAMES[i]} has {a} + {b} = {a + b} shells.", f"That makes {a} + {a + b} = {2 * a + b}.", "That is all."]
        question = f"A child has {a} shells and {_NAMES[i]} has {b} more. How many are there?"
        made.append({"question": question, "steps": steps[: 1 + (i + seed) % 3], "answer": str(2 * a + b)})
    return made


def _prompt(answer, examples, question: str, chain: bool) -> str:
    text = answer(examples, question, chain)
    if not isinstance(text, str):
        raise Unexpected(f"One text is asked for; your function returned {type(text).__name__}.")
    return text


@cot_prompt.case
def with_steps(answer, seed):
    """With the steps of each example, and the new question at the end."""
    return {"prompt": _prompt(answer, _examples(seed, 3), "Tom has 4 cats. How many legs have they?", True)}


@cot_prompt.case
def without_steps(answer, seed):
    """Without steps: of each example question and answer alone."""
    return {"prompt": _prompt(answer, _examples(seed, 4), "Tom has 4 cats. How many legs have they?", False)}


@cot_prompt.case
def no_example(answer, seed):
    """No example: the new question's two lines."""
    question = f"What is {seed % 7} + 2?"
    return {f"chain_{chain}": _prompt(answer, [], question, chain) for chain in (True, False)}


@cot_prompt.case
def examples_without_a_step(answer, seed):
    """An example that has no steps is written as without a chain, with one space."""
    examples = _examples(seed, 2)
    examples[seed % 2] = examples[seed % 2] | {"steps": []}
    return {"prompt": _prompt(answer, examples, "And now?", True)}


@cot_prompt.case
def how_it_ends(answer, seed):
    """The prompt ends with the colon of “Answer:”. Nothing stands behind it, no space either."""
    found = {chain: _prompt(answer, _examples(seed, 1 + seed % 2), "How many?", chain) for chain in (True, False)}
    return {f"the_last_ten_characters_chain_{chain}": text[-10:] for chain, text in found.items()}
