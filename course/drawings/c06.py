"""Chapter 06's drawings: the two roads from pairs to a policy, the reward inside a policy, and a pair in a batch."""

from collections.abc import Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, VERMILION


def two_roads() -> Drawing:
    """From pairs of answers to a policy: by a reward model and PPO, or by DPO."""
    picture = Drawing(
        600, 220,
        alt="Two roads lead from pairs of answers to a policy. The upper one goes from the pairs to a reward model and then "
        "to PPO, which draws new answers at every step. The lower one, DPO, goes from the pairs to the policy directly.",
    )  # fmt: skip
    picture.box(5, 85, 110, 50, "pairs:\nchosen, rejected", GREY, size=12)
    picture.box(180, 20, 110, 50, "reward model", ORANGE)
    picture.box(355, 20, 110, 50, "PPO", ORANGE)
    picture.box(500, 85, 90, 50, "policy", BLUE, bold=True)
    picture.box(180, 150, 285, 50, "DPO: one loss on the pairs", GREEN, bold=True)
    picture.arrow(115, 100, 178, 50)
    picture.arrow(290, 45, 353, 45, "score")
    picture.arrow(465, 50, 520, 83)
    picture.path([(385, 72), (385, 98), (435, 98), (435, 80)], ORANGE, dashed=True)
    picture.arrow(435, 90, 435, 72, color=ORANGE)
    picture.text(400, 112, "new answers at every step", 12, "middle", color=ORANGE)
    picture.arrow(115, 120, 178, 170)
    picture.arrow(465, 170, 520, 137)
    return picture


def reward_inside(
    answers: Sequence[str], utilities: Sequence[float], log_ratios: Sequence[float], constant: float
) -> Drawing:
    """For some answers to one prompt: the utility, β times the log-ratio of the best policy, and the constant between the two."""
    picture = Drawing(
        600, 66 + 36 * len(answers),
        alt="For each answer two bars, its utility and beta times the log-ratio of the best policy. The second ends further to "
        f"the left than the first, for every answer by the same {constant:.2f}.",
    )  # fmt: skip
    low, high = min(0.0, *log_ratios), max(*utilities, *log_ratios, 0.1)
    left, width = 300, 270
    at = lambda value: left + (value - low) / (high - low) * width  # noqa: E731
    picture.line(at(0), 24, at(0), 30 + 36 * len(answers), GREY)
    for i, (answer, u, ratio) in enumerate(zip(answers, utilities, log_ratios, strict=True)):
        y = 26 + 36 * i
        words = answer if len(answer) <= 42 else f"{answer[:40]} …"
        picture.text(left - 14, y + 13, words, 12, "end")
        for offset, value, color in ((2, u, GREEN), (14, ratio, BLUE)):
            picture.bar(min(at(0), at(value)), y + offset, abs(at(value) - at(0)), 9, color)
        picture.line(at(ratio), y + 28, at(u), y + 28, GREY, dashed=True)
        for end in (ratio, u):
            picture.line(at(end), y + 25, at(end), y + 31, GREY)
    for x, color, words in ((left, GREEN, "utility"), (left + 80, BLUE, "β log p*/p₀")):
        picture.bar(x, 3, 14, 9, color)
        picture.text(x + 20, 12, words, 12)
    bottom = 54 + 36 * len(answers)
    picture.text(300, bottom, f"dashed: β log Z = {constant:.2f}, the same for each answer", 12, "middle", color=GREY)
    return picture


def pair_in_a_batch(rows: Sequence[tuple[Sequence[str], Sequence[int], str]]) -> Drawing:
    """The two rows of a pair. rows: the tokens of each, its labels, and what it is called."""
    picture = Drawing(
        600, 50 + 66 * len(rows),
        alt="The chosen and the rejected answer of a pair as two rows of tokens. The prompt is the same in both and is not "
        "counted; the tokens of the answers are coloured, and their log-probabilities are added up.",
    )  # fmt: skip
    colors = {"chosen": GREEN, "rejected": VERMILION}
    for i, (tokens, labels, name) in enumerate(rows):
        y = 12 + 66 * i
        counted = [label != -100 for label in labels]
        first = counted.index(True)
        picture.text(8, y + 12, name, 13, color=colors.get(name), bold=True)
        picture.text(8, y + 32, f"{first} tokens of the prompt, then", 12, color=GREY)
        shown = list(tokens[first:])
        size = 13 if sum(len(t) for t in shown) < 42 else 12
        x, line = 190.0, 0
        for token in shown:
            w = len(token) * size * 0.62 + 10
            if x + w > 592:
                x, line = 190.0, line + 1
            picture.tokens(x, y + 26 * line, [token], [colors.get(name)], size=size)
            x += w + 3
    picture.text(8, 40 + 66 * len(rows), "coloured tokens: log p is added up; the rest is read, and not counted", 12, color=GREY)
    return picture
