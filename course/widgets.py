"""Pictures with sliders. Each calls the functions that the student wrote and redraws what they return."""

import io
from collections.abc import Callable, Mapping, Sequence


def sampling_explorer(logits, tokens: Sequence[str], next_token_probs: Callable, shown: int = 12):
    """Bars of the next-token distribution under sliders for temperature, top-k and top-p.

    logits: (vocab,) tensor; tokens: the vocab's words; next_token_probs: the reader's own function. Returns the widget.
    The picture is an image that the sliders replace, so it works wherever ipywidgets does, a page without a kernel
    included: there the first picture stays.
    """
    import ipywidgets as widgets

    top = logits.argsort(descending=True)[:shown]
    names = [tokens[int(i)] for i in top]
    before = logits.softmax(-1)[top].tolist()
    options = {"continuous_update": False, "layout": widgets.Layout(width="420px")}
    sliders = {
        "temperature": widgets.FloatSlider(1.0, min=0.0, max=3.0, step=0.1, description="temperature", **options),
        "top_k": widgets.IntSlider(len(tokens), min=1, max=len(tokens), description="top-k", **options),
        "top_p": widgets.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, description="top-p", **options),
    }
    picture = widgets.Image(format="png", width=760)

    def redraw(_=None) -> None:
        knobs = {name: slider.value for name, slider in sliders.items()}
        picture.value = _bars(names, before, next_token_probs(logits[None], **knobs)[0][top].tolist())

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*sliders.values(), picture])


def optimum_explorer(answers: Sequence[str], ref_logps, parts: Mapping, optimal_policy: Callable, shown: int = 16):
    """The best policy for a reward and a price of leaving the reference, under sliders for both.

    answers: the texts; ref_logps: (answers,) tensor; parts: {what is paid for: (its worth, (answers,) tensor of 0 and 1)},
    and the reward is the sum of worth times part; optimal_policy: the reader's own function, called with tensors of one
    row. Shows the `shown` answers that are likeliest under the reference or at the first setting. Returns the widget.
    """
    import ipywidgets as widgets

    options = {"continuous_update": False, "layout": widgets.Layout(width="420px")}
    price = widgets.FloatLogSlider(1.0, base=10, min=-2, max=2, step=0.1, description="beta", **options)
    worths = {
        name: widgets.FloatSlider(worth, min=-3.0, max=5.0, step=0.1, description=name, **options)
        for name, (worth, _) in parts.items()
    }
    picture = widgets.Image(format="png", width=760)

    def optimum():
        rewards = sum(slider.value * parts[name][1] for name, slider in worths.items())
        return optimal_policy(ref_logps[None], rewards[None], price.value)[0][0]

    before = ref_logps.exp()
    order = (before + optimum()).argsort(descending=True)[:shown]
    names = [answers[int(i)] for i in order]

    def redraw(_=None) -> None:
        picture.value = _answer_bars(names, before[order].tolist(), optimum()[order].tolist())

    for slider in (price, *worths.values()):
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([price, *worths.values(), picture])


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
