"""The drawings of chapter 00: the map of the course, what a model finds surprising, what a check does."""

from collections.abc import Sequence
from dataclasses import dataclass

from course import data
from course.drawing import Drawing
from course.plots import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

CHECKPOINTS = {"nano-base": BLUE, "nano-sft": GREEN, "nano-instruct": ORANGE, "nano-reward": VERMILION}
STANDS, CORRECTED = "✓", "≠"


@dataclass(frozen=True)
class Chapter:
    """One row of the map. starts, makes: names of checkpoints. Braces name a size, see `sizes`."""

    folder: str
    title: str
    trained: tuple[str, ...]
    lecture: tuple[str, ...] = ()
    verdict: str = ""
    starts: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """The number that the folder's name begins with, as text."""
        return self.folder[:2]


CHAPTERS = [
    Chapter("00_start_here", "start here", ("nothing: you guess once,", "and answer one exercise")),
    Chapter("01_pretraining", "pre-training", ("a new nano model, on {documents}", "documents ({tokens} million tokens)"),
            ("“unsupervised”; next-", "sentence prediction"), CORRECTED, makes=("nano-base",)),
    Chapter("02_sft", "fine-tuning\n(SFT)", ("nano-base, on {instructions}", "questions with answers"),
            ("train on the answer,", "not on the prompt"), STANDS, ("nano-base",), ("nano-sft", "nano-instruct")),
    Chapter("03_reinforce", "REINFORCE", ("nano-sft, on its own answers,", "paid by the true utility"),
            ("“+ β KL”; “not used", "in practice”"), CORRECTED, ("nano-sft",)),
    Chapter("04_reward_model", "reward models", ("a model that gives a score,", "on {preferences} pairs of answers"),
            ("Bradley and Terry’s", "model of a choice"), STANDS, ("nano-instruct",), ("nano-reward",)),
    Chapter("05_ppo", "PPO", ("nano-sft, on its own answers,", "paid by the score of nano-reward"),
            ("4 models, 2 of them", "not named"), CORRECTED, ("nano-sft", "nano-reward")),
    Chapter("06_dpo", "DPO", ("nano-sft, on pairs of answers,", "without a reward model"),
            ("“state of the art”, “one", "hyper-parameter”"), CORRECTED, ("nano-sft",)),
    Chapter("07_finetuning", "full fine-tuning,\nLoRA",
            ("all weights, or a few beside them,", "on {dialect} sentences of a dialect"),
            ("LoRA makes backward", "cheaper"), CORRECTED, ("nano-base",)),
    Chapter("08_icl", "in-context\nlearning", ("no weight changes: the examples", "stand in the prompt"),
            ("“usually 2–5 examples”",), CORRECTED),
    Chapter("09_cot", "chain of thought", ("a model that writes steps", "before its answer"),
            ("chains make a model", "interpretable"), CORRECTED),
    Chapter("10_grpo", "GRPO", ("a model, on its own answers,", "paid by a rule that checks them"),
            ("DeepSeek-R1 is trained", "“with RLHF only”"), CORRECTED),
    Chapter("11_pipeline", "the whole\npipeline", ("one model, through all stages", "in turn"),
            ("first SFT,", "then RLHF"), STANDS, ("nano-base", "nano-instruct")),
]  # fmt: skip

ROW, TOP = 47, 62  # pixels: height of a row, and where the first one begins


def sizes() -> dict[str, str]:
    """How much there is to learn from, counted in the course's own data."""
    corpus = data.load_corpus()
    tokens = sum(len(text.split()) + 1 for text in corpus)  # + 1: <eos>
    sets = {name: f"{len(data.load_jsonl(f'{name}_train')):,}" for name in ("instructions", "preferences", "dialect")}
    return {"documents": f"{len(corpus):,}", "tokens": f"{tokens / 1e6:.1f}"} | sets


def course_map() -> Drawing:
    """All chapters: what is trained in each, from which checkpoint, on what, and whether the lecture stands."""
    counted = sizes()
    picture = Drawing(600, TOP + ROW * len(CHAPTERS) + 34, _alt(counted))
    for x, name in zip((6, 72), ("models", "chapter")):
        picture.text(x, 44, name, 12)
    picture.text(216, 44, "what is trained, on what", 12)
    picture.text(436, 44, "what the lecture says", 12)
    picture.line(0, 55, 600, 55, width=0.6)
    for place, chapter in enumerate(CHAPTERS):
        _row(picture, TOP + ROW * place, chapter, counted)
    _rails(picture)
    _legend(picture, TOP + ROW * len(CHAPTERS) + 12)
    return picture


def _row(picture: Drawing, y: float, chapter: Chapter, counted: dict[str, str]) -> None:
    middle = y + ROW / 2
    picture.box(72, y + 5, 136, ROW - 10, color=SKY)
    picture.text(79, middle, chapter.number, 13, bold=True)
    _lines(picture, 102, middle, chapter.title.split("\n"))
    _lines(picture, 216, middle, [line.format(**counted) for line in chapter.trained])
    if chapter.verdict:
        color = GREEN if chapter.verdict == STANDS else VERMILION
        picture.text(436, middle, chapter.verdict, 15, color=color, bold=True)
        _lines(picture, 454, middle, chapter.lecture)


def _lines(picture: Drawing, x: float, middle: float, lines: Sequence[str]) -> None:
    for i, line in enumerate(lines):
        picture.text(x, middle + 15 * (i - (len(lines) - 1) / 2), line, 12)


def _rails(picture: Drawing) -> None:
    """One line a checkpoint, from the chapter that makes it to the last that starts from it."""
    for x, (name, color) in zip((10, 26, 42, 58), CHECKPOINTS.items()):
        rows = [place for place, chapter in enumerate(CHAPTERS) if name in chapter.starts + chapter.makes]
        heights = [TOP + ROW * (place + 0.5) for place in rows]
        picture.line(x, heights[0], x, heights[-1], color, width=2)
        for height, place in zip(heights, rows):
            if name in CHAPTERS[place].makes:
                picture.bar(x - 5, height - 5, 10, 10, color, opacity=1)
            else:
                picture.circle(x, height, 4.5, color)


def _legend(picture: Drawing, y: float) -> None:
    x = 6
    for name, color in CHECKPOINTS.items():
        picture.line(x, 18, x + 18, 18, color, width=2)
        picture.text(x + 24, 18, name, 12, mono=True)
        x += 50 + 7.5 * len(name)
    picture.text(600, 18, "■ made   ● used", 12, "end")
    picture.line(0, y - 6, 600, y - 6, width=0.6)
    picture.text(600, y + 10, f"{STANDS} kept   {CORRECTED} corrected in the chapter", 12, "end")


def _alt(counted: dict[str, str]) -> str:
    rows = []
    for chapter in CHAPTERS:
        starts = f", from {' and '.join(chapter.starts)}" if chapter.starts else ""
        makes = f"; makes {' and '.join(chapter.makes)}" if chapter.makes else ""
        trained = " ".join(chapter.trained).format(**counted)
        rows.append(f"{chapter.number} {chapter.title.replace(chr(10), ' ')}: {trained}{starts}{makes}")
    return "The map of the course. " + ". ".join(rows) + "."


def surprises(words: Sequence[str], losses: Sequence[float]) -> Drawing:
    """The words of a sentence as boxes, and over each a bar: the model's loss there, in nats."""
    losses = [float(loss) for loss in losses]
    told = ", ".join(f"{word} {loss:.2f}" for word, loss in zip(words, losses))
    picture = Drawing(600, 190, f"A bar over each word of a sentence, as high as the model's loss there, in nats: {told}.")
    places = picture.tokens(70, 140, words, [SKY] * len(words), size=15, gap=8)
    scale = 95 / max(losses)
    for (left, right), loss in zip(places, losses):
        picture.bar(left, 134, right - left, -max(loss * scale, 1), BLUE)
        picture.text((left + right) / 2, 124 - loss * scale, f"{loss:.2f}", 12, "middle")
    picture.line(64, 134, places[-1][1] + 6, 134)
    picture.text(6, 124, "loss,", 12)
    picture.text(6, 139, "nats", 12)
    return picture


def what_a_check_does(losses: Sequence[float]) -> Drawing:
    """One case of `mean_loss`, answered with the sum: what the probe hands over, what comes back, what the judge says."""
    losses = [float(loss) for loss in losses]
    got, expected = sum(losses), sum(losses) / len(losses)
    picture = Drawing(600, 190, (
        f"A check in four steps. A probe makes losses and calls your function with them. Your function returns {got:.2f}. "
        f"The judge compares that with the answer key, which says {expected:.2f}, and with known mistakes: one of them, the "
        "sum, gives the same number. So the report says: you returned the sum."
    ))  # fmt: skip
    picture.box(4, 8, 112, 66, "1  probe\nmakes an input\nfrom a seed", BLUE)
    picture.box(184, 8, 122, 66, "2  your function\nlosses.sum()", ORANGE)
    picture.box(374, 8, 222, 66, "3  judge\ncompares with what it knows", PURPLE)
    picture.arrow(118, 41, 182, 41, f"{len(losses)} losses")
    picture.arrow(308, 41, 372, 41, f"{got:.2f}")
    picture.box(374, 116, 100, 66, f"answer key\n{expected:.2f}", PURPLE, dashed=True)
    picture.box(482, 116, 114, 66, f"known mistakes\nthe sum: {got:.2f}\n…", PURPLE, dashed=True, size=12)
    picture.arrow(424, 114, 424, 76)
    picture.arrow(539, 114, 539, 76)
    picture.box(4, 116, 302, 66, "4  report\n“You returned the sum. The mean divides it …”", GREEN, size=12)
    picture.arrow(380, 76, 308, 126)
    return picture


def a_chapter() -> Drawing:
    """What one does in a chapter, in its order."""
    picture = Drawing(600, 112, (
        "The steps of a chapter: a drawing, a prediction, a cell to run that says why, an exercise with its check; these "
        "again for each idea; then the open task, and what you measured."
    ))  # fmt: skip
    steps = ["a drawing", "predict", "run it,\nread why", "write it,\ncheck it", "the open\ntask", "what you\nmeasured"]
    colors = [SKY, ORANGE, BLUE, GREEN, PURPLE, VERMILION]
    for i, (step, color) in enumerate(zip(steps, colors)):
        picture.box(4 + 101 * i, 8, 84, 46, step, color)
        if i:
            picture.arrow(101 * i - 12, 31, 101 * i + 2, 31)
    picture.path([(349, 56), (349, 80), (46, 80), (46, 66)], width=1.3)
    picture.arrow(46, 70, 46, 56)
    picture.text(197, 95, "again, for each idea", 12, "middle")
    return picture
