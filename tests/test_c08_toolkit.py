"""What chapter 08's pages are given: the world of hidden tables, tasks for prompts, heads that are switched off, drawings."""

import random
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from course import heads, hub, shots, tables, widgets
from course.drawings import c08 as drawings


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rows_come_from_their_tables_but_for_the_noise():
    known = tables.known_tables(0)
    rows = tables.draw(known, 3000, 9, generator(0), noise=0.2)
    agrees = (known[rows.which].gather(1, rows.xs) == rows.ys).float().mean().item()
    assert agrees == pytest.approx(0.8 + 0.2 / tables.LABELS, abs=0.01)
    counts = rows.which.bincount(minlength=tables.TABLES) / 3000
    assert ((counts - 1 / tables.TABLES).abs() < 0.03).all()
    assert set(rows.xs.flatten().tolist()) == set(range(tables.INPUTS))


def test_new_rows_have_tables_of_their_own_and_few_inputs_where_that_is_asked():
    rows = tables.draw_new(2000, 12, generator(1), noise=0.0, inputs=3)
    for xs, ys in zip(rows.xs[:200].tolist(), rows.ys[:200].tolist(), strict=True):
        assert len(set(xs)) <= 3 and len(set(zip(xs, ys, strict=True))) == len(set(xs)), "one label for each input"
    assert set(rows.which.tolist()) == {-1}
    first = rows.ys[rows.xs[:, 0] == 0][:, 0].bincount(minlength=tables.LABELS).float()
    assert (first / first.sum() - 1 / tables.LABELS).abs().max() < 0.12


def test_tokens_are_inputs_and_labels_in_turn():
    ids = tables.tokens(torch.tensor([[1, 2]]), torch.tensor([[0, 7]]))
    assert ids.tolist() == [[1, tables.INPUTS, 2, tables.INPUTS + 7]]


def test_a_fingerprint_tells_of_the_smallest_change():
    model = tables.new_model(0, layers=1)
    before = tables.fingerprint(model)
    assert tables.fingerprint(tables.new_model(0, layers=1)) == before
    weight = model.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert tables.fingerprint(model) != before


def test_a_models_predictions_depend_on_what_stands_before_alone():
    model = tables.new_model(1).eval()
    rows = tables.draw(tables.known_tables(0), 3, 6, generator(2))
    probs = tables.predictions(model, rows.xs, rows.ys)
    assert probs.shape == (3, 6, tables.LABELS) and torch.allclose(probs.sum(-1), torch.ones(3, 6), atol=1e-5)
    other = rows.ys.clone()
    other[:, 3:] = (other[:, 3:] + 1) % tables.LABELS
    changed = tables.predictions(model, rows.xs, other)
    assert torch.allclose(probs[:, :4], changed[:, :4], atol=1e-6) and not torch.allclose(probs[:, 4:], changed[:, 4:])


def test_a_head_that_is_switched_off_writes_nothing_and_comes_back():
    model = tables.new_model(2, layers=2).eval()
    ids = torch.randint(tables.INPUTS + tables.LABELS, (2, 8), generator=generator(0))
    with torch.no_grad():
        before = model(ids).logits
        with heads.switched_off(model, [(1, 2)]):
            without = model(ids).logits
        again = model(ids).logits
        size = model.model.layers[1].self_attn.head_dim
        model.model.layers[1].self_attn.o_proj.weight[:, 2 * size : 3 * size] = 0
        by_weights = model(ids).logits
    assert torch.equal(before, again) and not torch.allclose(before, without)
    torch.testing.assert_close(without, by_weights, rtol=1e-5, atol=1e-6)


def test_attention_sums_to_one_and_sees_no_future():
    model = tables.new_model(3, layers=2).eval()
    seen = heads.attentions(model, torch.randint(20, (3, 10), generator=generator(0)))
    assert seen.shape == (2, 3, 4, 10, 10)
    torch.testing.assert_close(seen.sum(-1), torch.ones(2, 3, 4, 10), rtol=0, atol=1e-5)
    assert (seen.triu(1) == 0).all()


def test_tasks_ask_what_no_example_shows_each_label_as_often():
    found = shots.tasks(0, 24)
    assert list(found) == ["sentiment", "kind", "odd or even", "labels without meaning", "labels turned round"]
    for task in found.values():
        assert not set(task.asked) & set(task.pool) and len(task.pool) >= 6
        counts = [sum(label == y for _, y in task.asked) for label in task.labels]
        assert len(set(counts)) == 1 and counts[0] > 0, task.name
    plain, turned = found["sentiment"], found["labels turned round"]
    assert [t for t, _ in plain.asked] == [t for t, _ in turned.asked]
    assert all(a != b for (_, a), (_, b) in zip(plain.asked, turned.asked, strict=True))


def test_examples_are_even_among_labels_and_different():
    rng = random.Random(0)
    for task in shots.tasks(0, 24).values():
        for count in (0, 1, 2, 4, 8):
            found = shots.draw_examples(task, count, rng)
            counts = [sum(label == y for _, y in found) for label in task.labels]
            assert len(set(found)) == count and max(counts) - min(counts) <= 1


def test_without_a_chat_model_a_stand_in_reads(monkeypatch):
    def none():
        raise hub.NoChatModel("there is none")

    monkeypatch.setattr(hub, "load_chat_model", none)
    reader = shots.load_reader()
    assert not reader.real and "there is none" in reader.note
    ids = reader.encode("Text: a\nLabel: é")
    with torch.no_grad():
        assert reader.model(input_ids=torch.tensor([ids])).logits.shape == (1, len(ids), 256)
    assert "".join(shots.pieces(reader, "a b\n")) == "a␣b↵"


def test_the_widget_shows_a_prompt_and_changes_with_it():
    task = shots.tasks(0, 8)["sentiment"]
    asked = []

    def scores_of(prompt):
        asked.append(prompt)
        return torch.zeros(2)

    build = lambda examples, query, *names: " | ".join([*(f"{t}={y}" for t, y in examples), query])  # noqa: E731
    shown = widgets.prompt_explorer(task, build, scores_of)
    first = shown.children[-1].value
    assert first[:4] == b"\x89PNG" and len(asked) == 1
    shown.children[0].value = True
    assert len(asked) == 2 and task.pool[0][0] in asked[1] and shown.children[-1].value != first


XS, YS = [3, 5, 3, 3], [1, 2, 1, 4]
EVEN = [[1 / (i + 1) if j <= i else 0.0 for j in range(8)] for i in range(8)]


@pytest.mark.parametrize(
    "drawing",
    [
        drawings.three_prompts(["Text: a\nLabel:", "Text: b\nLabel: x\n\nText: a\nLabel:", "Do.\n\nText: a\nLabel:"]),
        drawings.label_tokens(["Label", ":", "␣good"], 2, ["Label", ":", "good"], False),
        drawings.row_of_pairs(XS, YS, [0, 0, 0, 1, 0, 2]),
        drawings.beliefs(XS, YS, [[0.25] * 4, [0.1, 0.2, 0.3, 0.4]] * 2, 2),
        drawings.looking_back(XS, YS, EVEN, "layer 1, head 2"),
    ],
    ids=["prompts", "label", "row", "beliefs", "looking"],
)
def test_a_drawing_is_a_picture_with_a_text(drawing):
    root = ElementTree.fromstring(drawing.svg())
    assert drawing.width <= 600 and len(drawing.alt) > 60 and root.get("aria-label") == drawing.alt
    sizes = [float(node.get("font-size")) for node in root.iter() if node.get("font-size")]
    assert sizes and min(sizes) >= 12
