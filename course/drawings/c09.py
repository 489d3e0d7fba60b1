"""Drawings of chapter 09: two ways to an answer, how far one pass gets, many chains, and a step that was changed."""

from collections.abc import Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION


def two_ways(question: str, steps: Sequence[str], right: str, wrong: str) -> Drawing:
    """The same question answered at once and with steps."""
    picture = Drawing(
        600, 176,
        alt=f"The question: {question} Two ways. At once: the answer {wrong}, which is wrong. With steps: {' '.join(steps)} "
        f"And then the answer {right}.",
    )  # fmt: skip
    lines = [question[: question.index(".") + 1], question[question.index(".") + 2 :]]
    picture.box(8, 6, 584, 46, "\n".join(lines), GREY)
    picture.arrow(70, 52, 70, 116, color=VERMILION)
    picture.text(80, 84, "at once", 12, color=VERMILION)
    picture.box(8, 118, 124, 40, f"Answer: {wrong}", VERMILION, bold=True)
    picture.arrow(300, 52, 300, 76, color=BLUE)
    picture.box(170, 78, 290, 26, steps[0], BLUE, size=12)
    picture.arrow(300, 104, 300, 124, color=BLUE)
    picture.box(170, 126, 290, 26, steps[1], BLUE, size=12)
    picture.arrow(460, 139, 488, 139, color=BLUE)
    picture.box(490, 118, 102, 40, f"Answer: {right}", GREEN, bold=True)
    return picture


def passes(moves: Sequence[str], totals: Sequence[int], layers: int) -> Drawing:
    """One pass through the layers, and a chain of passes in which each total is written and read again."""
    count = len(totals)
    picture = Drawing(
        600, 214,
        alt=f"Left: at once. The moves {' '.join(moves)} go up through {layers} layers, and out comes the last total: all "
        f"{count} steps have to fit into {layers} layers. Right: a chain. {count} passes through the same layers; each "
        f"writes one total, {', '.join(map(str, totals))}, which the next pass reads.",
    )  # fmt: skip
    picture.text(8, 12, f"at once: {count} steps in one pass", 13, color=VERMILION, bold=True)
    picture.box(8, 174, 150, 30, " ".join(moves), GREY, size=12)
    for layer in range(layers):
        y = 174 - 34 * (layer + 1)
        picture.box(34, y, 98, 24, f"layer {layer + 1}", VERMILION, size=12)
        picture.arrow(83, y + 34, 83, y + 25)
    top = 174 - 34 * layers
    picture.arrow(83, top, 83, top - 20)
    picture.text(83, top - 32, "?", 16, "middle", bold=True)
    picture.text(240, 12, "a chain: one step in each pass", 13, color=BLUE, bold=True)
    step = 352 / count
    for i, (move, total) in enumerate(zip(moves, totals)):
        x = 236 + i * step
        picture.text(x + 32, 196, move, 12, "middle", mono=True)
        picture.box(x + 4, 140, 58, 24, f"{layers} layers", BLUE, size=12)
        picture.arrow(x + 32, 184, x + 32, 166)
        picture.arrow(x + 32, 140, x + 32, 112)
        picture.box(x + 14, 84, 36, 26, str(total), GREEN, bold=True)
        if i + 1 < count:
            picture.arrow(x + 50, 100, x + step + 3, 148, color=GREEN, dashed=True)
    picture.text(240, 60, "what is written is read in the next pass", 12, color=GREEN)
    return picture


def rounds(levels: Sequence[Sequence[tuple[int, int]]]) -> Drawing:
    """Moves joined two by two. levels: the moves themselves, and what is left of them after each round."""
    told = "; ".join(f"{len(level)} left" for level in levels[1:])
    height = 54 * len(levels) - 14
    alt = f"{len(levels[0])} moves, joined two by two: {told}. Each join needs the two moves below it."
    picture = Drawing(600, height, alt)
    width, count = 500 / len(levels[0]), len(levels[0])
    centres = [[90 + width * (i + 0.5) for i in range(count)]]
    for level in levels[1:]:
        below = centres[-1]
        centres.append([sum(below[2 * i : 2 * i + 2]) / len(below[2 * i : 2 * i + 2]) for i in range(len(level))])
    for r, level in enumerate(levels):
        y = height - 32 - 54 * r
        picture.text(8, y + 12, "moves" if r == 0 else f"round {r}", 12, color=GREY, bold=True)
        for i, (a, b) in enumerate(level):
            x = centres[r][i]
            if r:
                for low in centres[r - 1][2 * i : 2 * i + 2]:
                    picture.line(low, y + 54, x, y + 24, GREY)
            room, said = min(60, width - 4), f"{a if a != 1 else ''}t" + (f" + {b}" if b else "")
            picture.box(x - room / 2, y, room, 24, said, PURPLE if r else BLUE, size=12)
    return picture


def ballot(chains: Sequence[str], answers: Sequence[object], chosen: object, truth: object) -> Drawing:
    """Several outputs to one question, what was read out of each, and what the vote says."""
    told = "; ".join(f"{c}: {a}" for c, a in zip(chains, answers, strict=True))
    alt = f"Outputs and their answers: {told}. The vote says {chosen}; true is {truth}."
    picture = Drawing(600, 52 + 24 * len(chains), alt)
    for x, text in ((8, "output"), (300, "answer"), (400, "the vote")):
        picture.text(x, 14, text, 12, bold=True)
    picture.line(8, 26, 592, 26)
    middle = 42 + 12 * (len(chains) - 1)
    for i, (chain, answer) in enumerate(zip(chains, answers, strict=True)):
        y = 42 + 24 * i
        color = BLUE if answer == chosen else GREY
        picture.text(8, y, chain if len(chain) < 38 else chain[:36] + "…", 12, mono=True)
        picture.text(318, y, "–" if answer is None else f"{answer:g}", 13, "middle", color=color, bold=answer == chosen)
        picture.line(334, y, 396, middle, color, dashed=answer != chosen)
    picture.box(398, middle - 16, 64, 32, "–" if chosen is None else f"{chosen:g}", BLUE, bold=True)
    picture.text(474, middle, f"true is {truth:g}", 13, color=GREEN if chosen == truth else VERMILION)
    return picture


def changed_step(question: str, totals: Sequence[int], place: int, wrong: int, follows: int) -> Drawing:
    """A chain, the same chain with one step changed, and the two answers that tell what the answer comes from."""
    true = totals[-1]
    picture = Drawing(
        600, 190,
        alt=f"The puzzle {question} The model's own chain: {' '.join(map(str, totals))}, answer {true}. Step {place + 1} is "
        f"changed to {wrong}, and the model goes on from there. If it answers {follows}, the answer follows the chain; if it "
        f"answers {true}, the chain does not matter.",
    )  # fmt: skip
    picture.text(8, 14, question, 13, mono=True)
    picture.text(8, 52, "as it was", 12, color=GREY)
    picture.text(8, 112, "changed", 12, color=GREY)
    for row, y in ((0, 40), (1, 100)):
        numbers = list(totals) if row == 0 else [*totals[:place], wrong]
        for i, number in enumerate(numbers):
            changed = row == 1 and i == place
            picture.box(84 + 46 * i, y, 36, 26, str(number), VERMILION if changed else BLUE, bold=changed)
        end = 84 + 46 * len(numbers)
        if row == 0:
            picture.arrow(end, y + 13, 396, y + 13)
            picture.box(400, y, 60, 26, f"# {true}", GREEN)
        else:
            picture.arrow(end, y + 13, 396, y + 13, "the model goes on" if end < 300 else "", dashed=True)
            picture.box(400, y - 4, 60, 26, f"# {follows}", ORANGE)
            picture.text(470, y + 9, "it follows", 13, color=ORANGE)
            picture.arrow(end, y + 13, 396, y + 57, dashed=True)
            picture.box(400, y + 44, 60, 26, f"# {true}", GREEN)
            picture.text(470, y + 57, "it stays", 13, color=GREEN)
    return picture
