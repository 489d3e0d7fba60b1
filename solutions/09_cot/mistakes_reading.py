"""Wrong answers to chapter 09's first part: reading an answer, showing examples, voting, counting. Each text is the hint the
student reads."""

import re
from collections import Counter

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 1: what is the answer?


def _extract_answer(text):
    rest = re.compile(r"^Question:", re.M).split(text)[0]
    number = re.compile(r"(?<!\d)-\d[\d,.]*|\d[\d,.]*")

    def value(found):
        whole = re.match(r"-?\d+(,\d\d\d(?!\d))*(\.\d+)?", found).group()
        return float(whole.replace(",", ""))

    words = list(re.finditer(r"answer is|answer:", rest, re.I))
    behind = number.findall(rest[words[-1].end() :]) if words else []
    everything = number.findall(rest)
    if behind:
        return value(behind[0])
    return value(everything[-1]) if everything else None


changes("extract_answer", _extract_answer, [
    ("always_the_last_number", "You always take the last number. Where \"answer is\" or \"answer:\" stands, the first number behind the last of them "
     "is the answer.", "if behind:", "if False:"),
    ("last_number_of_the_question", "You do not cut the text where the model asks itself a new question, so you read numbers of *that question*. From the first "
     "line that begins with \"Question:\" on, nothing counts.", 're.compile(r"^Question:", re.M).split(text)[0]', "text"),
    ("question_inside_a_line", "You cut the text at every \"Question:\". Only a *line that begins* with it is a new question.", 'r"^Question:"', 'r"Question:"'),
    ("question_only_at_the_start", "You cut only where the *whole text* begins with \"Question:\". It is any line that begins with it (re.MULTILINE).",
     'r"^Question:", re.M', 'r"^Question:"'),
    ("cut_at_the_last_question", "You cut the text at the last new question. The first one counts.", "split(text)[0]", "split(text)[:-1]; rest = \"Question:\".join(rest or [text])"),
    ("only_with_the_words", "You find an answer only where \"answer is\" or \"answer:\" stands. Without these words it is the last number.",
     "return value(everything[-1]) if everything else None", "return None"),
    ("nothing_behind_the_words", "Where no number stands behind the last \"answer is\", you give up. Then the last number of the text counts.",
     "return value(everything[-1]) if everything else None", "return value(everything[-1]) if everything and not words else None"),
    ("first_of_several_words", "You look behind the *first* \"answer is\" or \"answer:\". A model corrects itself: the last one counts.", "words[-1]", "words[0]"),
    ("first_number_of_all", "Without the words you take the first number. The last one counts.", "value(everything[-1])", "value(everything[0])"),
    ("capitals_matter", "You find the words only in lower-case letters. Models also write \"Answer:\" and \"The Answer is\".", 'r"answer is|answer:", rest, re.I',
     'r"answer is|answer:", rest'),
    ("only_answer_is", "You look for \"answer is\" alone. \"answer:\" counts too.", 'r"answer is|answer:"', 'r"answer is"'),
    ("only_answer_with_a_colon", "You look for \"answer:\" alone. \"answer is\" counts too.", 'r"answer is|answer:"', 'r"answer:"'),
    ("any_answer", "You look for the word \"answer\" alone. \"this answer\" gives no answer: it must be \"answer is\" or \"answer:\".", 'r"answer is|answer:"', 'r"answer"'),
    ("decimals_lost", "You lose what stands behind the decimal point: 3.75 is read as 3.", "(\\.\\d+)?", ""),
    ("thousands_split", "You split numbers at their commas: 1,250 is one number.", '(?<!\\d)-\\d[\\d,.]*|\\d[\\d,.]*', '(?<!\\d)-\\d[\\d.]*|\\d[\\d.]*'),
    ("commas_as_points", "You take the comma for a decimal point. It stands between groups of three digits.", 'whole.replace(",", "")', 'whole.replace(",", ".").replace(".", "#", whole.count(",") + whole.count(".") - 1).replace("#", "")'),
    ("sign_lost", "You lose the minus sign.", "return float(whole.replace", "return abs(1) * float(whole.lstrip('-').replace"),
    ("every_hyphen_a_sign", "You take every - for a sign. Directly behind a digit, as in 5-3, it is none.", "(?<!\\d)-\\d[\\d,.]*|", "-\\d[\\d,.]*|"),
    ("zero_for_none", "Where there is no number you return 0. Nobody can tell that from a real 0: return None.", "if everything else None", "if everything else 0.0"),
])  # fmt: skip


@mistake("extract_answer")
def words_of_the_new_question_too(text):
    """You look for \"answer is\" in the whole text, behind the new question too. Cut the text first, then look."""
    words = list(re.finditer(r"answer is|answer:", text, re.I))
    return _extract_answer(re.sub("Question:", "", text[words[-1].start() :] if words else text))


# --- Exercise 2: show how it is done


def _cot_prompt(examples, question, chain):
    lines = []
    for example in examples:
        said = list(example["steps"]) if chain else []
        said.append("The answer is " + example["answer"] + ".")
        lines += ["Question: " + example["question"], "Answer: " + " ".join(said), ""]
    lines += ["Question: " + question, "Answer:"]
    return "\n".join(lines)


changes("cot_prompt", _cot_prompt, [
    ("space_at_the_end", "Your prompt ends with a space. For most tokenisers the space belongs to the next token (\" 8\"): the model would have to continue with a "
     "token that it never saw there.", '"Answer:"]', '"Answer: "]'),
    ("line_break_at_the_end", "Your prompt ends with a line break. It ends with the colon of \"Answer:\".", 'return "\\n".join(lines)', 'return "\\n".join(lines) + "\\n"'),
    ("steps_without_chain", "You write the steps without a chain too. Then both prompts are the same, and the comparison compares nothing.",
     'list(example["steps"]) if chain else []', 'list(example["steps"])'),
    ("never_steps", "You leave the steps out with a chain too.", 'list(example["steps"]) if chain else []', "[]"),
    ("chain_turned_round", "You write the steps where there should be none, and leave them out where they should be.", "if chain else", "if not chain else"),
    ("steps_behind_the_answer", "You write the answer first and the steps behind it. Then the answer comes without them: what is written later cannot help.",
     'said.append("The answer is " + example["answer"] + ".")', 'said.insert(0, "The answer is " + example["answer"] + ".")'),
    ("steps_on_lines_of_their_own", "You write each step on a line of its own. One space stands between sentences.", '" ".join(said)', '"\\n".join(said)'),
    ("answer_without_its_words", "You write the bare answer. \"The answer is 8.\" shows the model words by which an answer is found.", '"The answer is " + example["answer"] + "."', 'example["answer"]'),
    ("full_stop_missing", "The full stop behind the answer is missing.", 'example["answer"] + "."', 'example["answer"]'),
    ("no_empty_line", "The empty line behind each example is missing.", '" ".join(said), ""]', '" ".join(said)]'),
    ("question_forgotten", "The new question is missing at the end.", 'lines += ["Question: " + question, "Answer:"]', 'lines += ["Answer:"]'),
    ("answer_line_forgotten", "The last line, \"Answer:\", is missing: a model might go on with the question.", 'lines += ["Question: " + question, "Answer:"]', 'lines += ["Question: " + question]'),
    ("new_question_first", "The new question stands before the examples. It comes last: the model continues at the end.",
     "lines = []", 'lines = ["Question: " + question, "Answer:", ""]', 'lines += ["Question: " + question, "Answer:"]', 'lines.pop()'),
    ("examples_backwards", "Your examples come in reverse order.", "in examples:", "in reversed(examples):"),
    ("first_example_only", "You write the first example only.", "in examples:", "in examples[:1]:"),
    ("last_example_lost", "The last example is missing.", "in examples:", "in examples[:-1]:"),
])  # fmt: skip


# --- Exercise 5: what most of them say


def _vote(answers):
    votes, first = {}, {}
    for place, answer in enumerate(answers):
        if answer is None:
            continue
        votes[answer] = votes.get(answer, 0) + 1
        first.setdefault(answer, place)
    return min(votes, key=lambda a: (-votes[a], first[a])) if votes else None


changes("vote", _vote, [
    ("none_may_win", "You count None as a vote: where most outputs give no answer, None wins. It is no vote.", "if answer is None:", "if False:"),
    ("tie_to_the_last", "Of equal counts you take the answer that was drawn last. The one drawn first wins.", "first[a])", "-first[a])"),
    ("tie_to_the_smallest", "Of equal counts you take the smallest answer. The one drawn first wins.", "first[a])", "a)"),
    ("tie_to_the_largest", "Of equal counts you take the largest answer. The one drawn first wins.", "first[a])", "-a)"),
    ("rarest_answer", "You take the answer that comes least often.", "(-votes[a],", "(votes[a],"),
    ("always_the_first", "You take the first answer, however few votes it has.", "(-votes[a], first[a])", "first[a]"),
    ("more_than_half_needed", "You ask for more than half of the votes. The most votes are enough.", "if votes else None", "if votes and 2 * max(votes.values()) > sum(votes.values()) else None"),
    ("none_where_tied", "Where two answers have the most votes you return None. The one drawn first wins.", "if votes else None",
     "if votes and list(votes.values()).count(max(votes.values())) == 1 else None"),
    ("rounded", "You round the answers before you count: 2.25 and 2.5 are different answers.", "votes[answer] = ", "answer = round(answer); votes[answer] = "),
    ("counted_as_text", "You count texts: \"8\" and \"8.0\" are then two answers. Compare numbers.", "votes[answer] = votes.get(answer, 0) + 1\n        first.setdefault(answer, place)",
     "answer = str(answer); votes[answer] = votes.get(answer, 0) + 1\n        first.setdefault(answer, place)",
     "return min(votes, key=lambda a: (-votes[a], first[a])) if votes else None", "return float(min(votes, key=lambda a: (-votes[a], first[a]))) if votes else None"),
    ("zero_is_no_vote", "You leave out the answer 0. It is an answer like any other: ask `is None`.", "if answer is None:", "if not answer:"),
    ("how_many_votes", "You return the number of votes. The answer is asked for.", "return min(votes, key=lambda a: (-votes[a], first[a])) if votes else None",
     "return max(votes.values()) if votes else None"),
    ("zero_without_votes", "Without any vote you return 0. That would be an answer: return None.", "if votes else None", "if votes else 0"),
])  # fmt: skip


@mistake("vote")
def tie_by_the_order_of_a_set(answers):
    """You look for the most frequent one in a set. A set has its own order, so who wins a tie is luck: the one drawn first
    wins."""
    given = [a for a in answers if a is not None]
    return max(set(given), key=given.count) if given else None


@mistake("vote")
def mean_of_the_answers(answers):
    """You average the answers. A mean may be a number that no output gave; the most frequent answer is asked for."""
    given = [a for a in answers if a is not None]
    return sum(given) / len(given) if given else None


@mistake("vote")
def middle_answer(answers):
    """You take the answer in the middle of the sorted ones. The most frequent one is asked for."""
    given = sorted(a for a in answers if a is not None)
    return given[len(given) // 2] if given else None


@mistake("vote")
def moved_to_the_front(answers):
    """Of equal counts you take the answer that *reached* that count first. The one that was drawn first wins."""
    counts, best = Counter(), None
    for answer in answers:
        if answer is not None:
            counts[answer] += 1
            if best is None or counts[answer] > counts[best]:
                best = answer
    return best


# --- Exercise 6: right at least once


def _pass_curve(right, drawn, most):
    rows = []
    for r in right.tolist():
        wrong, all_wrong, row = drawn - r, 1.0, []
        for i in range(most):
            all_wrong *= max(wrong - i, 0) / (drawn - i)
            row.append(1.0 - all_wrong)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64).mean(0)


changes("pass_curve", _pass_curve, [
    ("with_putting_back_too", "You take 1 - (share of wrong ones)^k. That chooses k outputs and puts each one back: from a finite sample it is biased. Choose none "
     "twice.", "max(wrong - i, 0) / (drawn - i)", "wrong / drawn"),
    ("denominators_stay", "Your denominators are all `drawn`. What was chosen is no longer there: one fewer each time.", "(drawn - i)", "drawn"),
    ("numerators_stay", "Your numerators stay the same. A wrong output that was chosen is no longer there: one fewer each time.", "max(wrong - i, 0)", "min(wrong, drawn - i)"),
    ("all_wrong_chance", "You return the chance that all k are wrong. Asked for is the opposite.", "1.0 - all_wrong", "all_wrong"),
    ("all_right_chance", "You return the chance that all k are right. One right output is enough.", "drawn - r, 1.0", "r, 1.0", "1.0 - all_wrong", "all_wrong"),
    ("begins_with_nothing", "Your curve begins with k = 0, the chance with no output at all. It begins with pass@1.", "all_wrong *= max(wrong - i, 0) / (drawn - i)\n            row.append(1.0 - all_wrong)",
     "row.append(1.0 - all_wrong)\n            all_wrong *= max(wrong - i, 0) / (drawn - i)"),
    ("one_for_each_question", "You return a curve for each question. Their mean is asked for.", ".mean(0)", ""),
    ("mean_over_k", "You take the mean over k and not over the questions.", ".mean(0)", ".mean(1)"),
    ("summed_over_questions", "You sum over the questions. Their mean is asked for.", ".mean(0)", ".sum(0)"),
    ("in_float32", "Your curve is float32. float64 is asked for: products of thousands of shares are long.", "torch.float64", "torch.float32"),
    ("share_for_all_k", "You return pass@1 for all k.", "row.append(1.0 - all_wrong)", "row.append(r / drawn)"),
    ("k_times_the_share_of_right", "You multiply the share of right outputs by k. Chances of things that can happen together do not add up.", "row.append(1.0 - all_wrong)",
     "row.append(min(1.0, (i + 1) * r / drawn))"),
])  # fmt: skip


@mistake("pass_curve")
def curve_of_the_average_question(right, drawn, most):
    """You average the counts first and then draw one curve. The average question is not the average of the questions: take
    the mean of the curves."""
    share = 1 - right.double().mean() / drawn
    taken = torch.arange(most, dtype=torch.float64)
    return 1 - ((share * drawn - taken) / (drawn - taken)).clamp(min=0).cumprod(0)


@mistake("pass_curve")
def first_k_outputs_only(right, drawn, most):
    """You look whether the number of right outputs is at least 1, whatever k is: that is pass@k for k = all of them."""
    return (right > 0).double().mean().expand(most).clone()
