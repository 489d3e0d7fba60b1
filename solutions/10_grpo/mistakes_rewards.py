"""Wrong answers to chapter 10's first part: what is paid, how it is compared, how success is counted. Each text is the hint
the student reads: what was done, why it is wrong, where to look."""

import math
import re

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 1: a verifier


def _verify_answer(text, truth):
    words = text.split()
    form = re.fullmatch(r"<think> (?:[^<>]* )?</think> <answer> (?:[^<>]* )?</answer>", text) is not None
    once = words.count("<answer>") == 1 and words.count("</answer>") == 1
    inside = words[words.index("<answer>") + 1 : words.index("</answer>")] if once else []
    right = once and len(inside) == 1 and inside[0] == str(truth)
    return float(form), float(right)


changes("verify_answer", _verify_answer, [
    ("format_taken_for_the_answer", "Your second reward is that of the form: an answer of the right form counts as right, whatever number "
     "stands in it. Compare what stands between the marks with truth.", "return float(form), float(right)", "return float(form), float(form)"),
    ("answer_taken_for_the_format", "Your first reward is that for being right. The form is a condition of its own: look at the marks and "
     "their order, and not at the number.", "return float(form), float(right)", "return float(right), float(right)"),
    ("rewards_swapped", "Your two rewards have changed places: first the one for the form, then the one for being right.",
     "return float(form), float(right)", "return float(right), float(form)"),
    ("right_only_in_the_right_form", "You pay for a right answer only where the form is right too. The two are apart: each reward looks at "
     "its own condition.", "right = once", "right = form and once"),
    ("form_only_with_the_right_answer", "You pay for the form only where the answer is right. The two are apart: each reward looks at its own "
     "condition.", "return float(form), float(right)", "return float(form and right), float(right)"),
    ("truth_anywhere_in_the_text", "You look for the truth anywhere in the text. A model that writes all numbers down is then always right: "
     "only what stands between <answer> and </answer> counts.", "right = once and len(inside) == 1 and inside[0] == str(truth)",
     "right = str(truth) in words"),
    ("truth_among_the_words", "You look whether the truth is *among* the words between the marks. An answer that lists several numbers is then "
     "right whenever one of them is: exactly one word is asked for.", "len(inside) == 1 and inside[0] == str(truth)", "str(truth) in inside"),
    ("truth_as_a_part", "You look whether the truth is a *part* of what stands between the marks: then 17 passes for 7. The numbers have to be "
     "equal.", "len(inside) == 1 and inside[0] == str(truth)", "str(truth) in ' '.join(inside)"),
    ("begins_with_the_truth", "You look at the first word between the marks and forget the others. Exactly one word may stand there.",
     "len(inside) == 1 and inside[0] == str(truth)", "inside[:1] == [str(truth)]"),
    ("last_word_counts", "You look at the last word between the marks and forget the others. Exactly one word may stand there.",
     "len(inside) == 1 and inside[0] == str(truth)", "inside[-1:] == [str(truth)]"),
    ("last_number_of_the_text", "You take the last number of the text, marks or no marks. Only what stands between <answer> and </answer> "
     "is the answer.", "right = once and len(inside) == 1 and inside[0] == str(truth)",
     "right = ([w for w in words if re.fullmatch('-?[0-9]+', w)] or [''])[-1] == str(truth)"),
    ("one_digit_only", "You compare one digit only. Numbers may have several, and a minus in front.", "inside[0] == str(truth)",
     "inside[0][-1:] == str(truth)[-1:]"),
    ("sign_ignored", "You ignore the minus sign: -3 is not 3.", "inside[0] == str(truth)", "inside[0].lstrip('-') == str(abs(truth))"),
    ("search_for_fullmatch", "For the form you *search* for the two blocks and do not mind what stands before or behind them. The text has to "
     "be these two blocks and nothing else.", "re.fullmatch(r", "re.search(r"),
    ("anything_behind", "You allow anything behind the answer's block. The text has to end with it.", "re.fullmatch(r", "re.match(r"),
    ("marks_inside_a_block", "Your pattern lets a block hold marks: two thoughts, or two answers, then look like one. Inside a block there is "
     "no mark.", 'r"<think> (?:[^<>]* )?</think> <answer> (?:[^<>]* )?</answer>"', 'r"<think> .*</think> <answer> .*</answer>"'),
    ("anything_between_the_blocks", "You allow words between the two blocks. The answer stands directly behind the thought.",
     "</think> <answer>", "</think> (?:[^<>]* )?<answer>"),
    ("no_thought_needed", "You find the form right without a thought in front. Both blocks are asked for.",
     'r"<think> (?:[^<>]* )?</think> <answer>', 'r"(?:<think> (?:[^<>]* )?</think> )?<answer>'),
    ("empty_blocks_refused", "You refuse an empty block. A block holds any number of words, also none.",
     'r"<think> (?:[^<>]* )?</think> <answer> (?:[^<>]* )?</answer>"', 'r"<think> [^<>]+ </think> <answer> [^<>]+ </answer>"'),
    ("first_answer_of_several", "Of several answers you take the first. A text with two answers has none: exactly one <answer> and one "
     "</answer> are asked for.", 'once = words.count("<answer>") == 1 and words.count("</answer>") == 1',
     'once = "<answer>" in words and "</answer>" in words'),
    ("marks_counted_in_any_order", "You count the marks and do not look at their order.",
     're.fullmatch(r"<think> (?:[^<>]* )?</think> <answer> (?:[^<>]* )?</answer>", text) is not None',
     'all(words.count(m) == 1 for m in ("<think>", "</think>", "<answer>", "</answer>"))'),
])  # fmt: skip


@mistake("verify_answer")
def last_answer_of_several(text, truth):
    """Of several answers you take the last. A text with two answers has none: exactly one <answer> and one </answer> are
    asked for."""
    form, _ = _verify_answer(text, truth)
    found = re.findall(r"<answer> (\S+) </answer>", text)
    return form, float(bool(found) and found[-1] == str(truth))


# --- Exercise 2: compared with the group


def _group_advantages(rewards, eps=1e-4):
    mean = rewards.mean(1, keepdim=True)
    spread = rewards.std(1, keepdim=True)
    return (rewards - mean) / (spread + eps)


changes("group_advantages", _group_advantages, [
    ("advantage_without_eps", "eps is missing. In a group of equal rewards the standard deviation is 0, and 0 / 0 is NaN: one such group "
     "spoils the whole update.", "(spread + eps)", "spread"),
    ("std_over_the_batch", "Your standard deviation is that of all rewards of the batch. Each group is divided by its own.",
     "rewards.std(1, keepdim=True)", "rewards.std()"),
    ("mean_over_the_batch", "Your mean is that of all rewards of the batch. An answer is compared with the others to the *same* prompt.",
     "rewards.mean(1, keepdim=True)", "rewards.mean()"),
    ("both_over_the_batch", "Mean and standard deviation are those of the whole batch. An answer is compared with the others to the *same* "
     "prompt.", "rewards.mean(1, keepdim=True)", "rewards.mean()", "rewards.std(1, keepdim=True)", "rewards.std()"),
    ("over_the_prompts", "You compare the answers of a column, each to another prompt. A group is a row.", "rewards.mean(1, keepdim=True)",
     "rewards.mean(0)", "rewards.std(1, keepdim=True)", "rewards.std(0)"),
    ("std_with_k_below", "Your standard deviation has k in its denominator; k - 1 is asked for (torch's default).",
     "rewards.std(1, keepdim=True)", "rewards.std(1, keepdim=True, unbiased=False)"),
    ("divided_by_the_variance", "You divide by the variance. It is the standard deviation, its square root.", "rewards.std(", "rewards.var("),
    ("eps_under_the_root", "eps stands under the root, beside the variance. It is added to the standard deviation.", "(spread + eps)",
     "(spread.square() + eps).sqrt()"),
    ("eps_as_a_floor", "You take the larger of the standard deviation and eps. They are added.", "(spread + eps)", "spread.clamp(min=eps)"),
    ("eps_fixed", "Your eps is always 0.0001. It is an argument.", "(spread + eps)", "(spread + 1e-4)"),
    ("not_divided", "You do not divide by the standard deviation. (Dr. GRPO leaves it away, with good reasons; here it is asked for.)",
     "return (rewards - mean) / (spread + eps)", "return rewards - mean"),
    ("not_centred", "You do not subtract the mean of the group: then all answers are praised when all rewards are positive.",
     "(rewards - mean)", "rewards"),
    ("leave_one_out_divided", "You subtract the mean of the *other* answers, as chapter 3 does. GRPO's mean has the answer's own reward in it.",
     "(rewards - mean)", "(rewards - mean) * rewards.shape[1] / (rewards.shape[1] - 1)"),
    ("sign_turned", "The sign is wrong: answers above the mean of their group get a positive advantage.", "(rewards - mean)", "(mean - rewards)"),
    ("subtracted_from_the_median", "You subtract the median. It is the mean.", "rewards.mean(1, keepdim=True)",
     "rewards.median(1, keepdim=True).values"),
])  # fmt: skip


# --- Exercise 7: right at least once


def _pass_at_k(right, drawn, k):
    wrong = drawn - right
    if k > wrong:
        return 1.0
    return 1.0 - math.prod((wrong - i) / (drawn - i) for i in range(k))


changes("pass_at_k", _pass_at_k, [
    ("with_putting_back", "You take (1 - right/drawn)^k: that is k draws *with* putting back. From a finite sample it is biased; choose k of "
     "the drawn ones, and put none back.", "(wrong - i) / (drawn - i)", "wrong / drawn", "if k > wrong:", "if wrong == 0:"),
    ("all_wrong_instead", "You return the chance that all k are wrong. Asked for is the opposite.", "return 1.0 - math.prod", "return math.prod",
     "return 1.0\n", "return 0.0\n"),
    ("all_right_instead", "You return the chance that *all* k are right. One right answer among them is enough.", "return 1.0 - math.prod",
     "return math.prod", "(wrong - i) / (drawn - i)", "max(right - i, 0) / (drawn - i)", "return 1.0\n", "return float(k <= right)\n"),
    ("one_factor_too_few", "There is a factor too few in your product: k answers are chosen, so there are k factors.", "range(k)", "range(k - 1)"),
    ("one_factor_too_many", "There is a factor too many in your product: k answers are chosen, so there are k factors.", "range(k)",
     "range(min(k + 1, drawn))"),
    ("only_the_share", "You return the share of right answers. That is k = 1.", "return 1.0 - math.prod((wrong - i) / (drawn - i) for i in range(k))",
     "return right / drawn"),
    ("k_times_the_share", "You multiply the share by k. Chances of events that can happen together do not add up.",
     "return 1.0 - math.prod((wrong - i) / (drawn - i) for i in range(k))", "return min(1.0, k * right / drawn)"),
    ("only_when_none_wrong", "You give 1 only where no answer is wrong. It is 1 already where *fewer than k* are wrong.",
     "if k > wrong:", "if wrong == 0:", "math.prod((wrong - i) / (drawn - i) for i in range(k))",
     "abs(math.prod((wrong - i or 1) / (drawn - i) for i in range(k)))"),
    ("right_and_wrong_swapped", "You count with the right answers where the wrong ones belong. All k wrong: they are chosen from the wrong ones.",
     "wrong = drawn - right", "wrong = right"),
    ("denominator_stays", "Your denominators are all `drawn`. What has been chosen is no longer there: one fewer each time.",
     "(drawn - i)", "drawn"),
    ("numerator_stays", "Your numerators all stay the same. A wrong answer that has been chosen is no longer there: one fewer each time.",
     "(wrong - i) / (drawn - i)", "wrong / (drawn - i)", "if k > wrong:", "if wrong == 0:"),
])  # fmt: skip


# --- Exercise 8: rejection sampling


def _rejection_sample(answers, rewards, most):
    chosen = []
    for i, texts in enumerate(answers):
        kept = {}
        for j, text in enumerate(texts):
            if rewards[i][j] > 0.5:
                kept.setdefault(text, j)
        chosen += [(i, j) for j in list(kept.values())[:most]]
    return chosen


changes("rejection_sample", _rejection_sample, [
    ("all_that_was_drawn", "You keep answers that are not right. Rejection means that what is wrong is thrown away.", "if rewards[i][j] > 0.5:",
     "if True:"),
    ("the_wrong_ones", "You keep the wrong answers and throw the right ones away.", "> 0.5", "< 0.5"),
    ("the_same_text_twice", "You keep the same text several times. What the model says often anyway would count several times; the first "
     "one is enough.", "kept.setdefault(text, j)", "kept[j] = j"),
    ("last_of_equal_texts", "Of equal texts you keep the last place. The first one counts.", "kept.setdefault(text, j)", "kept.pop(text, 0); kept[text] = j"),
    ("later_place_of_equal_texts", "Of equal texts you note the last place where the text stands. The first one counts.",
     "kept.setdefault(text, j)", "kept[text] = j"),
    ("seen_at_other_prompts", "You leave out a text that was chosen for *another* prompt. There it was the answer to another question.",
     "chosen = []", "chosen, everywhere = [], {}", "kept = {}", "kept, before = {}, set(everywhere)", "kept.setdefault(text, j)",
     "kept.setdefault(text, j) if text not in before else None; everywhere[text] = j"),
    ("most_is_ignored", "You take all right answers. `most` is the largest number of each prompt.", "[:most]", ""),
    ("most_of_all_prompts", "You stop after `most` answers in all. It is the largest number of *each* prompt.", "return chosen", "return chosen[:most]"),
    ("most_before_equal_texts", "You look at the first `most` right answers and leave out equal texts afterwards. Leave them out first.",
     "if rewards[i][j] > 0.5:", "if rewards[i][j] > 0.5 and sum(rewards[i][:j] > 0.5) < most:"),
    ("the_last_of_them", "You take the last `most` of a prompt. The first ones are asked for.", "[:most]", "[-most:]"),
    ("one_of_each_prompt", "You take one answer of each prompt only. Up to `most` are asked for.", "[:most]", "[:1]"),
    ("best_even_if_wrong", "You take the best answer of a prompt even where it is wrong. A prompt without a right answer gives nothing.",
     "if rewards[i][j] > 0.5:", "if rewards[i][j] == max(rewards[i]):"),
    ("pairs_turned_round", "Your pairs are turned round: first the prompt, then the place.", "[(i, j) for", "[(j, i) for"),
    ("one_too_many", "You take one answer more than `most`.", "[:most]", "[: most + 1]"),
])  # fmt: skip


@mistake("rejection_sample")
def misaligned_by_one(answers, rewards, most):
    """You look at the reward of the answer *behind* it: texts and rewards are out of step. Both have the same order."""
    return _rejection_sample(answers, torch.roll(rewards, -1, 1), most)


@mistake("rejection_sample")
def rewards_of_the_next_prompt(answers, rewards, most):
    """You look at the rewards of another prompt: row i of the rewards belongs to answers[i]."""
    return _rejection_sample(answers, torch.roll(rewards, -1, 0), most)
