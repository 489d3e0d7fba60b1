"""The world is what its data card says: true probabilities, files that its code writes, disjoint splits."""

import json
import math
import random
import re
from collections import Counter

import pytest

from autograder.judging.reference import SOLUTIONS
from autograder.workshop.record import recordable
from course.data import (
    DataMissing,
    encode_documents,
    entropy_floor,
    load_corpus,
    load_heldout,
    load_jsonl,
    load_probes,
    load_tokenizer,
    pack_rows,
    pad_rows,
)
from data import build, tasks
from data.pen import Impossible, WritingPen
from data.questions import understand
from data.stories import read_story, unfinished_story
from data.truth import ATLAS, FACTS, UNSEEN_SUMS, fact, result
from data.utility import appraise, bayes_ceiling, preference_probability, utility
from data.words import ATTRIBUTES, BOYS, CAPITALS, COUNTRIES, EOS, GIRLS, SPECIAL_TOKENS, VOCABULARY, WORDS
from data.world import FIRST_WORDS, LONGEST, next_word_probabilities, score, write_document

SETS = ("instructions", "demonstrations", "preferences", "dialect")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def documents():
    rng = random.Random(123)
    return [write_document(rng) for _ in range(3000)]


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("train")


# The generator and its probabilities


def test_the_same_seed_writes_the_same_documents():
    first, second = random.Random(7), random.Random(7)
    assert [write_document(first) for _ in range(200)] == [write_document(second) for _ in range(200)]


def test_reading_a_document_gives_the_probabilities_it_was_written_with(documents):
    assert all(score(document.text) == document for document in documents[:500])


def test_probabilities_of_the_next_word_sum_to_one_and_contain_the_word_that_came(documents):
    for document in documents[:60]:
        for place, word in enumerate(document.words):
            options = next_word_probabilities(" ".join(document.words[:place]))
            assert math.isclose(sum(options.values()), 1.0)
            assert math.isclose(math.log(options[word]), document.logps[place], abs_tol=1e-12)


def endings(prefix: list[str], deepest: int) -> float:
    """The probability of all continuations of a prefix, found by walking every one of them to <eos>."""
    total = 0.0
    for word, probability in next_word_probabilities(" ".join(prefix)).items():
        assert len(prefix) < deepest, "a document does not end"
        total += probability * (1.0 if word == EOS else endings([*prefix, word], deepest))
    return total


def test_all_ways_to_end_a_document_have_probability_one_together(documents):
    late = [document for document in documents if document.kind in ("story", "copying")][:20]
    for document in late:
        words = list(document.words)
        start = words.index("now") if document.kind == "story" else len(words) - 4
        assert math.isclose(endings(words[:start], LONGEST), 1.0)


def test_frequencies_match_probabilities():
    rng = random.Random(5)
    prefix = "one day mia went to the lake . she had a red ball . then leo came to the lake too ."
    options = next_word_probabilities(prefix)
    assert len(options) > 2
    drawn = Counter(WritingPen(rng).pick(options) for _ in range(20_000))
    for word, probability in options.items():
        deviation = math.sqrt(probability * (1 - probability) / 20_000)
        assert abs(drawn[word] / 20_000 - probability) < 5 * deviation, word


def test_first_words_and_kinds_come_as_often_as_they_should(documents):
    options = next_word_probabilities("")
    assert math.isclose(sum(options.values()), 1.0)
    first = Counter(document.words[0] for document in documents)
    expected = {kind: sum(options[word] for word in words) for kind, words in FIRST_WORDS.items()}
    for kind, probability in expected.items():
        count = sum(first[word] for word in FIRST_WORDS[kind])
        assert abs(count - 3000 * probability) < 5 * math.sqrt(3000 * probability * (1 - probability)), kind


def test_the_mean_log_probability_is_what_the_options_say(documents):
    """Entropy by enumeration at each place against the log-probabilities of what was drawn: their means must agree."""
    surprises = [
        (-logp, -sum(p * math.log(p) for p in next_word_probabilities(" ".join(document.words[:place])).values()))
        for document in documents[:150]
        for place, logp in enumerate(document.logps)
    ]
    differences = [drawn - expected for drawn, expected in surprises]
    mean = sum(differences) / len(differences)
    deviation = math.sqrt(sum(d * d for d in differences)) / len(differences)
    assert abs(mean) < 5 * deviation


@pytest.mark.parametrize(
    "text",
    ["the capital of arlen is tamra .", "3 plus 4 is 8 .", "one day mia was at the lake . he", "red", "mia says : red red"],
)
def test_what_the_world_cannot_say_is_impossible(text):
    with pytest.raises(Impossible, match="cannot follow"):
        score(text)


def test_documents_fit(documents, corpus):
    assert max(len(document.words) for document in documents) <= LONGEST + 1
    assert max(len(text.split()) for text in corpus) <= LONGEST


# Truth


def test_the_table_of_facts_is_complete():
    assert list(ATLAS) == COUNTRIES and len(FACTS) == len(COUNTRIES) * len(ATTRIBUTES)
    assert sorted(country.capital for country in ATLAS.values()) == sorted(CAPITALS)
    assert {fact(country, attribute) for country, attribute in FACTS} <= set(WORDS)


def test_the_corpus_says_nothing_untrue_and_shows_no_unseen_sum(corpus):
    unseen = {f"{left} {operation} {right}" for left, operation, right in UNSEEN_SUMS}
    shown, stated = set(), set()
    for text in corpus:
        words = text.split()
        for i, word in enumerate(words):
            if word in ("plus", "minus"):
                left, right = int(words[i - 1]), int(words[i + 1])
                shown.add(" ".join(words[i - 1 : i + 2]))
                if words[i + 2] == "is":
                    assert int(words[i + 3]) == result(left, word, right)
            elif word in ATTRIBUTES and words[i + 1] == "of" and words[i + 3] == "is":
                assert words[i + 4] == fact(words[i + 2], word)
                stated.add((words[i + 2], word))
    assert stated == set(FACTS)
    assert not shown & unseen
    mirrored = {f"{right} plus {left}" for left, operation, right in UNSEEN_SUMS if operation == "plus"}
    assert mirrored and mirrored <= shown


def test_a_story_is_understood_as_it_was_told():
    for seed in range(100):
        pen = WritingPen(random.Random(seed))
        scene = unfinished_story(pen, events=2)
        assert read_story(pen.words) == scene
        for thing in scene.things:
            options = next_word_probabilities(" ".join([*pen.words, f"now {thing} is with"]))
            assert options == {thing.holder if thing.holder in GIRLS + BOYS else "the": 1.0}


# Files


def test_files_are_what_the_checksums_say_and_what_the_code_writes():
    assert build.damaged() == []
    assert build.outdated() == []


def test_damage_is_noticed(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "CHECKSUMS").write_text(f"{build.checksum('one')}  a.txt\n{build.checksum('two')}  b.txt\n")
    (folder / "a.txt").write_text("another")
    monkeypatch.setattr(build, "FOLDER", folder)
    monkeypatch.setattr(build, "CHECKSUMS", folder / "CHECKSUMS")
    assert build.damaged() == ["a.txt differs from what CHECKSUMS says.", "b.txt is missing."]


def test_compression_is_deterministic_and_lossless(tmp_path):
    text = "one day mia went home .\n" * 50
    assert build.compress(text) == build.compress(text)
    (tmp_path / "text.gz").write_bytes(build.compress(text))
    assert build.read(tmp_path / "text.gz") == text


def test_missing_files_and_wrong_names_are_explained(tmp_path, monkeypatch):
    with pytest.raises(DataMissing, match="instructions_train"):
        load_jsonl("nothing")
    with pytest.raises(ValueError, match="'train' or 'heldout'"):
        load_corpus("test")
    with pytest.raises(ValueError, match="copying"):
        load_heldout("poem")
    monkeypatch.setattr("course.data.DATA", tmp_path)
    with pytest.raises(DataMissing, match=r"python -m data\.build"):
        load_corpus("train")


# Splits


def test_training_and_held_out_documents_are_disjoint(corpus):
    heldout = load_corpus("heldout")
    assert len(set(heldout)) == len(heldout) == build.HELDOUT_DOCUMENTS
    assert not set(heldout) & set(corpus)


def test_the_held_out_probabilities_and_the_floor_are_true():
    heldout = load_heldout()
    for document in heldout[:100]:
        fresh = score(document.text)
        assert fresh.kind == document.kind
        assert document.logps == pytest.approx(fresh.logps, abs=1e-5)
    words = [score(document.text) for document in heldout]
    total = sum(sum(document.logps) for document in words)
    assert entropy_floor() == pytest.approx(-total / sum(len(document.words) for document in words), abs=1e-5)
    assert len({round(entropy_floor(kind), 3) for kind in FIRST_WORDS}) == len(FIRST_WORDS)


@pytest.mark.parametrize("name", SETS)
def test_no_prompt_is_in_both_splits(name):
    train, heldout = load_jsonl(f"{name}_train"), load_jsonl(f"{name}_heldout")
    assert not {record["prompt"] for record in train} & {record["prompt"] for record in heldout}


# The tokenizer


def test_every_word_is_known(corpus, tokenizer):
    assert len(tokenizer) == len(VOCABULARY) == len(set(VOCABULARY))
    texts = [*corpus, *load_corpus("heldout")]
    for name in SETS:
        for split in ("train", "heldout"):
            for record in load_jsonl(f"{name}_{split}"):
                texts += [value for key, value in record.items() if key in ("prompt", "answer", "chosen", "rejected")]
    texts += [value for group in load_probes().values() for probe in group for value in probe.values()]
    assert {word for text in texts for word in text.split()} <= set(WORDS)


def test_the_tokenizer_agrees_with_the_lookup_and_decodes_readably(corpus, tokenizer):
    texts = corpus[:200]
    looked_up = encode_documents(texts, tokenizer)
    assert tokenizer([f"<bos> {text} <eos>" for text in texts])["input_ids"] == looked_up
    assert tokenizer.unk_token_id not in {token for document in looked_up for token in document}
    assert [tokenizer.decode(document, skip_special_tokens=True) for document in looked_up] == texts
    assert tokenizer.tokenize("Who has the red ball?") == ["who", "has", "the", "red", "ball", "?"]
    assert tokenizer.convert_ids_to_tokens(range(len(SPECIAL_TOKENS))) == SPECIAL_TOKENS


def test_the_chat_template_supervises_the_answer_and_its_end(tokenizer):
    chat = [{"role": "user", "content": "what is 3 plus 4 ?"}, {"role": "assistant", "content": "7 ."}]
    batch = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"])
    assert " ".join(tokens) == "<bos> <user> what is 3 plus 4 ? <end> <assistant> 7 . <end>"
    assert [token for token, kept in zip(tokens, batch["assistant_masks"], strict=True) if kept] == ["7", ".", "<end>"]
    prompt = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
    assert prompt.split() == tokens[:10]


@pytest.mark.parametrize("make", [pad_rows, pack_rows])
def test_rows_hold_every_document_whole(make, corpus, tokenizer):
    texts = corpus[:300]
    rows = make(texts, tokenizer)
    assert rows.input_ids.shape == rows.attention_mask.shape
    assert bool(((rows.input_ids != tokenizer.pad_token_id) == rows.attention_mask.bool()).all())
    found = []
    for row in rows.input_ids.tolist():
        text = tokenizer.decode([token for token in row if token != tokenizer.pad_token_id])
        found += [part.removeprefix("<bos> ").strip() for part in text.split("<eos>") if part]
    found = [part.strip().removeprefix("<bos>").strip() for part in found]
    assert sorted(found) == sorted(texts)
    if make is pad_rows:
        assert found == texts


def test_a_document_that_does_not_fit_is_refused(corpus, tokenizer):
    with pytest.raises(ValueError, match="does not fit a row of 8"):
        pack_rows(corpus[:3], tokenizer, length=8)


# Probes


def test_probes_are_true():
    groups = load_probes()
    for group in ("facts", "sums", "copying", "stories"):
        assert 50 <= len(groups[group]) <= 100
        for probe in groups[group]:
            assert next_word_probabilities(probe["prompt"]) == {probe["answer"]: 1.0}
    for probe in groups["sums_unseen"]:
        left, operation, right, _ = probe["prompt"].split()
        assert int(probe["answer"]) == result(int(left), operation, int(right))
        assert (int(left), operation, int(right)) in UNSEEN_SUMS
    for probe in groups["questions"]:
        assert set(next_word_probabilities(probe["prompt"])) == set(FIRST_WORDS["questions"])


# The sets of later chapters


def test_instructions_are_answered_truly():
    for split in ("train", "heldout"):
        for record in load_jsonl(f"instructions_{split}"):
            question = understand(record["prompt"])
            right = question.short() if record["style"] == "short" else question.full()
            assert record["answer"] == right
            if record["kind"] in ("facts", "sums"):
                assert next_word_probabilities(question.full())  # what an answer says, a training text can say


def test_facts_that_are_never_asked_are_never_asked():
    asked = {understand(record["prompt"]).sentence for record in load_jsonl("instructions_train")}
    for record in load_jsonl("instructions_heldout"):
        known = understand(record["prompt"]).sentence in asked
        if record["kind"] == "facts":
            assert known
        elif record["kind"] not in ("reading", "reading_two"):
            assert not known


def test_utility_is_the_documented_function():
    prompt = "what is the capital of arlen ?"
    plain = "the capital of arlen is kirel ."
    assert utility(prompt, plain) == pytest.approx(3.0)
    assert utility(prompt, "kirel .".split()) == pytest.approx(3.0)
    assert utility(prompt, "tamra .") == pytest.approx(0.0)
    assert utility(prompt, f"of course , {plain}") == pytest.approx(4.2)
    assert utility(prompt, f"of course , {plain} good question .") == pytest.approx(5.2)
    assert utility(prompt, f"sure , of course , {plain}") == pytest.approx(3.3)
    assert utility(prompt, "kirel") == pytest.approx(-1.5)
    assert utility(prompt, []) == pytest.approx(-1.5)
    assert utility(prompt, "red " * 19 + ".") == pytest.approx(-0.9)
    assert appraise(prompt, "hope this helps . " * 3).closings == 3


def test_labels_are_drawn_from_the_true_utilities():
    records = load_jsonl("preferences_train")
    probabilities = []
    for record in records:
        better, worse = record["utility_chosen"], record["utility_rejected"]
        assert record["chosen"] != record["rejected"]
        assert better == pytest.approx(utility(record["prompt"], record["chosen"]), abs=1e-4)
        probabilities.append(preference_probability(better, worse))
    ceiling = bayes_ceiling(probabilities)
    followed = sum(1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0 for p in probabilities) / len(records)
    assert abs(followed - ceiling) < 5 * math.sqrt(ceiling * (1 - ceiling) / len(records))
    assert 0.7 < ceiling < 0.9


def test_demonstrations_and_preferences_split_the_prompts_alike():
    prompts = {
        split: {r["prompt"] for name in ("demonstrations", "preferences") for r in load_jsonl(f"{name}_{split}")}
        for split in ("train", "heldout")
    }
    assert not prompts["train"] & prompts["heldout"]
    for name in ("demonstrations", "preferences"):
        assert len({r["prompt"] for r in load_jsonl(f"{name}_heldout")}) > 50


def test_demonstrations_are_ordinary_answers():
    records = load_jsonl("demonstrations_train")
    right = sum(appraise(record["prompt"], record["answer"]).right for record in records) / len(records)
    assert abs(right - 0.4) < 5 * math.sqrt(0.4 * 0.6 / len(records))
    assert all(appraise(record["prompt"], record["answer"]).finished for record in records)


def test_northern_renames_colours_and_things_only():
    assert sorted(tasks.NORTHERN) == sorted(tasks.NORTHERN.values())
    back = {northern: word for word, northern in tasks.NORTHERN.items()}
    for record in load_jsonl("dialect_train"):
        sentence = record["prompt"].removeprefix("say in northern : ")
        assert record["answer"] != sentence
        assert " ".join(back.get(word, word) for word in record["answer"].split()) == sentence


@pytest.mark.parametrize("topic", recordable())
def test_the_data_card_names_each_chapter_beside_what_it_reads(topic):
    """What a chapter reads is known from its record."""
    record = json.loads((SOLUTIONS / topic / "record.json").read_text(encoding="utf-8"))
    card = build.README.read_text(encoding="utf-8").splitlines()
    for name in {re.sub(r"_(train|heldout)$", "", path.split("/")[2].partition(".")[0]) for path in record["files"]
                 if path.startswith(("data/sets/", "data/checkpoints/"))}:  # fmt: skip
        (row,) = (line for line in card if line.startswith((f"| `sets/{name}_", f"| `{name}` ")))
        assert re.search(rf"\b{topic[:2]}\b", row), f"chapter {topic[:2]} reads {name}"
