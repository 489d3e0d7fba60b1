"""Pictures with sliders. Each calls the functions that the student wrote and redraws what they return.

The pictures are images that the sliders replace, so they work wherever ipywidgets does, a page without a kernel included:
there the first picture stays.
"""

import io
from collections.abc import Callable, Mapping, Sequence


def sampling_explorer(logits, tokens: Sequence[str], next_token_probs: Callable, shown: int = 12):
    """Bars of the next-token distribution under sliders for temperature, top-k and top-p.

    logits: (vocab,) tensor; tokens: the vocab's words; next_token_probs: the reader's own function. Returns the widget.
    """
    import ipywidgets as widgets

    top = logits.argsort(descending=True)[:shown]
    names = [tokens[int(i)] for i in top]
    before = logits.softmax(-1)[top].tolist()
    options = _slider_options()
    sliders = {
        "temperature": widgets.FloatSlider(1.0, min=0.0, max=3.0, step=0.1, description="temperature", **options),
        "top_k": widgets.IntSlider(len(tokens), min=1, max=len(tokens), description="top-k", **options),
        "top_p": widgets.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, description="top-p", **options),
    }

    def draw() -> bytes:
        knobs = {name: slider.value for name, slider in sliders.items()}
        return _bars(names, before, next_token_probs(logits[None], **knobs)[0][top].tolist())

    return _under([*sliders.values()], draw)


def optimum_explorer(answers: Sequence[str], ref_logps, parts: Mapping, optimal_policy: Callable, shown: int = 16):
    """The best policy for a reward and a price of leaving the reference, under sliders for both.

    answers: the texts; ref_logps: (answers,) tensor; parts: {what is paid for: (its worth, (answers,) tensor of 0 and 1)},
    and the reward is the sum of worth times part; optimal_policy: the reader's own function, called with tensors of one
    row. Shows the `shown` answers that are likeliest under the reference or at the first setting. Returns the widget.
    """
    import ipywidgets as widgets

    options = _slider_options()
    price = widgets.FloatLogSlider(1.0, base=10, min=-2, max=2, step=0.1, description="beta", **options)
    worths = {
        name: widgets.FloatSlider(worth, min=-3.0, max=5.0, step=0.1, description=name, **options)
        for name, (worth, _) in parts.items()
    }

    def optimum():
        rewards = sum(slider.value * parts[name][1] for name, slider in worths.items())
        return optimal_policy(ref_logps[None], rewards[None], price.value)[0][0]

    before = ref_logps.exp()
    order = (before + optimum()).argsort(descending=True)[:shown]
    names = [answers[int(i)] for i in order]
    draw = lambda: _answer_bars(names, before[order].tolist(), optimum()[order].tolist())  # noqa: E731
    return _under([price, *worths.values()], draw)


def annotator_explorer(preference_probability: Callable, shown: float = 6.0):
    """The curve P(first preferred) against the difference of two rewards, under a slider for the temperature.

    preference_probability: the reader's own function. Returns the widget.
    """
    import ipywidgets as widgets

    options = _slider_options()
    slider = widgets.FloatLogSlider(1.0, base=10, min=-1, max=1, step=0.05, description="temperature", **options)
    return _under([slider], lambda: _preference_curve(preference_probability, slider.value, shown), width=640)


def credit_explorer(rewards, values, gae: Callable):
    """The advantage of every token of one answer, under sliders for lambda and for the score of the whole answer.

    rewards, values: (seq,) tensors, the last reward without the score; gae: the reader's own function. Returns the widget.
    """
    import ipywidgets as widgets

    options = _slider_options()
    lam = widgets.FloatSlider(0.95, min=0.0, max=1.0, step=0.05, description="lambda", **options)
    score = widgets.FloatSlider(1.0, min=-1.0, max=2.0, step=0.1, description="score", **options)

    def draw() -> bytes:
        earned = rewards.clone()[None]
        earned[0, -1] += score.value
        return _credit(gae(earned, values[None], earned * 0 + 1, 1.0, lam.value)[0].tolist(), values.tolist())

    return _under([lam, score], draw)


def rank_explorer(update, low_rank: Callable):
    """A weight's update, the nearest matrix of some rank, and the difference, under a slider for the rank, with the error.

    update: (d_out, d_in) tensor; low_rank: the reader's own function. Returns the widget.
    """
    import ipywidgets as widgets

    slider = widgets.IntSlider(4, min=1, max=min(update.shape), description="rank", **_slider_options())

    def draw() -> bytes:
        B, A = low_rank(update, slider.value)
        return _three_matrices(update, B @ A, slider.value)

    return _under([slider], draw)


def prompt_explorer(task, few_shot_prompt: Callable, scores_of: Callable, shown: int = 6):
    """Choose examples and a question, and see the probabilities of the labels move.

    task: a shots.Task; few_shot_prompt: the reader's own function; scores_of(prompt): the labels' scores, (labels,).
    Returns the widget.
    """
    import ipywidgets as widgets

    examples = task.pool[:shown]
    boxes = [widgets.Checkbox(False, description=f"{text} → {label}", indent=False, layout=widgets.Layout(width="640px"))
             for text, label in examples]  # fmt: skip
    asked = widgets.Dropdown(options=[text for text, _ in task.asked[:8]], description="question")
    turned = widgets.Checkbox(False, description="turn the labels of the examples round", indent=False)

    def draw() -> bytes:
        chosen = [example for example, box in zip(examples, boxes, strict=True) if box.value]
        if turned.value:
            chosen = [(text, task.labels[task.labels.index(label) - 1]) for text, label in chosen]
        prompt = few_shot_prompt(chosen, asked.value, "", task.input_name, task.label_name)
        return _prompt_and_bars(prompt, task.labels, scores_of(prompt).softmax(-1).tolist())

    return _under([*boxes, turned, asked], draw)


def _slider_options() -> dict:
    """What all sliders have in common: the picture is drawn anew when one is let go, not at every step of the way."""
    import ipywidgets as widgets

    return {"continuous_update": False, "layout": widgets.Layout(width="420px")}


def _under(sliders: Sequence, draw: Callable[[], bytes], width: int = 760):
    """The picture that draw() gives, below the sliders, drawn anew when one of them moves."""
    import ipywidgets as widgets

    picture = widgets.Image(format="png", width=width)

    def redraw(_=None) -> None:
        picture.value = draw()

    for slider in sliders:
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*sliders, picture])


def _prompt_and_bars(prompt: str, labels: Sequence[str], probs: Sequence[float]) -> bytes:
    """A PNG: the prompt as text, and under it one bar a label."""
    from matplotlib.figure import Figure

    from course.plots import BLUE

    lines = prompt.count("\n") + 1
    figure = Figure(figsize=(8, 0.9 + 0.17 * lines + 0.3 * len(labels)), layout="constrained")
    text, bars = figure.subplots(2, 1, height_ratios=(0.17 * lines + 0.2, 0.5 + 0.3 * len(labels)))
    text.axis("off")
    text.text(0, 1, prompt, va="top", family="monospace", fontsize=8)
    bars.barh(labels, probs, color=BLUE)
    bars.set(xlim=(0, 1), xlabel="probability among the labels")
    bars.invert_yaxis()
    return _png(figure)


def _three_matrices(update, nearest, rank: int) -> bytes:
    """A PNG of three matrices in one scale of colours, the last of them what the second lacks."""
    from matplotlib.figure import Figure

    rest = update - nearest
    share = float(rest.square().sum() / update.square().sum())
    numbers = rank * sum(update.shape)
    shown = f"rank {rank}: {numbers:,} of {update.numel():,} numbers"
    names = ("the update", shown, f"what is missing: {share:.0%} of the square")
    largest = 3 * float(update.square().mean().sqrt())
    figure = Figure(figsize=(9, 2.1), layout="constrained")
    for axes, name, matrix in zip(figure.subplots(1, 3), names, (update, nearest, rest), strict=True):
        axes.imshow(matrix, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=9)
    return _png(figure)


def _preference_curve(preference_probability: Callable, temperature: float, shown: float) -> bytes:
    """A PNG of the curve, beside that of temperature 1, with the probability at a difference of 1 marked."""
    import torch
    from matplotlib.figure import Figure

    from course.plots import BLUE, GREY, VERMILION

    differences = torch.linspace(-shown, shown, 201)
    zero = torch.zeros(())
    figure = Figure(figsize=(6.5, 3.1), layout="constrained")
    axes = figure.subplots()
    axes.plot(differences, preference_probability(differences, zero), color=GREY, linewidth=1.2, label="temperature 1")
    axes.plot(differences, preference_probability(differences, zero, temperature), color=BLUE, linewidth=2)
    at_one = float(preference_probability(torch.ones(()), zero, temperature))
    axes.plot([1], [at_one], "o", color=VERMILION)
    place = {"xytext": (3.2, 0.35), "arrowprops": {"arrowstyle": "-", "color": VERMILION, "linewidth": 0.8}}
    axes.annotate(f"a difference of 1: {at_one:.0%}", (1, at_one), color=VERMILION, va="center", **place)
    axes.set(ylim=(-0.02, 1.02), xlabel="reward of the first minus reward of the second", ylabel="the first is preferred")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def _credit(advantages: Sequence[float], values: Sequence[float]) -> bytes:
    """A PNG of bars, one a token, and above them what the value model expected before each."""
    from matplotlib.figure import Figure

    from course.plots import BLUE, GREY, VERMILION

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    places = range(1, len(values) + 1)
    axes.step(places, values, where="mid", color=GREY, label="value before the token")
    axes.bar(places, advantages, color=[BLUE if a >= 0 else VERMILION for a in advantages], width=0.6, label="advantage")
    axes.set(ylim=(-2.3, 2.3), xlabel="token", xticks=list(places))
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def _answer_bars(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> bytes:
    """A PNG of two sets of horizontal bars, the first answer on top."""
    from matplotlib.figure import Figure

    from course.plots import BLUE, GREY

    figure = Figure(figsize=(8, 0.8 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, before, color=GREY, alpha=0.35, label="the reference")
    axes.barh(names, after, color=BLUE, height=0.45, label="the optimum")
    axes.set(xlim=(0, 1), xlabel="probability")
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    return _png(figure)


def _bars(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> bytes:
    """A PNG of two sets of bars."""
    from matplotlib.figure import Figure

    from course.plots import BLUE, GREY

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(names, before, color=GREY, alpha=0.35, label="softmax of the logits")
    axes.bar(names, after, color=BLUE, width=0.5, label="after your settings")
    axes.set(ylim=(0, 1), ylabel="probability")
    axes.tick_params(axis="x", rotation=40)
    axes.legend()
    return _png(figure)


def _png(figure) -> bytes:
    """A matplotlib figure as the bytes of a picture."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()
