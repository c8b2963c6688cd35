#!/usr/bin/env python3
"""A teacher of grades or of stages: all-mpnet-base-v2, fine-tuned, and what it says of texts that a smaller network is to learn from.

    python3 -m venv teacher && teacher/bin/pip install torch transformers tokenizers safetensors
    teacher/bin/python models/teacher.py grades --model all-mpnet-base-v2 --news news.jsonl --told models/data/own.jsonl \
        --dev dev.jsonl --say news.jsonl --say pool.jsonl --mix news.jsonl 2 --words all-MiniLM-L6-v2 --out taught.jsonl
    teacher/bin/python models/teacher.py stages --model all-mpnet-base-v2 --news stages-news.jsonl --told models/data/own-told.jsonl \
        --dev dev.jsonl --vary stages-news.jsonl --vary pool.jsonl --say models/data/own-told.jsonl --out taught.jsonl

Grades it learns from news and told items together, for two epochs. Stages it learns from news and told negotiations together once, then from the
news alone for three epochs. `--out` gets the lines of `--say`, with `grades`, how probable each is (0, 1, 2), or `stages` (planned, held, offer, agreed,
refused, none), for `demarche train` to learn from; and of `--vary` variants too (the headline alone, the summary alone, both in other places and with
words left out). Where a line has a grade, its `grades` are half that and half the teacher's word. Of `--mix FILE N` it gets N variants of
each item with words taken for like ones (after Jiao et al. 2020, TinyBERT), a quarter of them with the summary of another item; `--words` is the
directory of the base model, whose embeddings say which words are alike. The model's directory holds model.safetensors, config.json and
tokenizer.json (Apache-2.0). It has twelve layers of twice the width: ten times as slow as what demarche serves with, and has six more stages in
a hundred right.
"""
import argparse
import json
import math
import pathlib
import random
import re

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import MPNetConfig, MPNetModel

CLASSES = {"grades": [0, 1, 2], "stages": ["planned", "held", "offer", "agreed", "refused", "none"]}
TOKENS = 80
BATCH = 16
# Share of the target that goes to the other classes: labels are wrong in a few per cent of cases.
SMOOTHING = 0.05
# Lower layers that stay as they are, as the embeddings do: a fifth of the time, and no worse.
FROZEN = 2
# Share of the words that a variant leaves out.
DROPPED = 0.1
# Countries with their peoples and capitals: a variant takes one for another. What a stage is does not hang on who talks.
PLACES = """Iran Iranian Tehran, Israel Israeli Jerusalem, Russia Russian Moscow, Ukraine Ukrainian Kyiv, China Chinese Beijing,
Taiwan Taiwanese Taipei, Pakistan Pakistani Islamabad, India Indian Delhi, Qatar Qatari Doha, Egypt Egyptian Cairo, Turkey Turkish Ankara,
Syria Syrian Damascus, Lebanon Lebanese Beirut, Yemen Yemeni Sanaa, Sudan Sudanese Khartoum, Ethiopia Ethiopian Addis-Ababa,
Rwanda Rwandan Kigali, Venezuela Venezuelan Caracas, Cuba Cuban Havana, Mexico Mexican Mexico-City, Canada Canadian Ottawa,
Brazil Brazilian Brasilia, Japan Japanese Tokyo, Armenia Armenian Yerevan, Azerbaijan Azerbaijani Baku, Serbia Serbian Belgrade,
Kosovo Kosovar Pristina, Greece Greek Athens, Cyprus Cypriot Nicosia, Thailand Thai Bangkok, Cambodia Cambodian Phnom-Penh,
Vietnam Vietnamese Hanoi, Indonesia Indonesian Jakarta, Afghanistan Afghan Kabul, Iraq Iraqi Baghdad, Libya Libyan Tripoli,
Algeria Algerian Algiers, Morocco Moroccan Rabat, Nigeria Nigerian Abuja, Mali Malian Bamako, Switzerland Swiss Geneva, France French Paris,
Germany German Berlin, Britain British London, Italy Italian Rome, Poland Polish Warsaw, Hungary Hungarian Budapest"""
PLACES = [[word.replace("-", " ") for word in place.split()] for place in PLACES.replace("\n", " ").split(",")]
# Words that are left as they are.
LITTLE = set(
    """the and for with from that this will would been were was are has have had but not its his her their they them who whom into over after
    before than then when while amid between among against about our your you she him can could may might must shall should one two three""".split()
)
# MPNet's padding.
PAD = 1
# Like words: so many of the nearest, of at least this cosine. Further ones make nonsense of a headline.
LIKE, COSINE = 8, 0.35
# Shares of the words that a mixed variant changes.
CHANGED = (0.0, 0.15, 0.3)


def read(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


class Teacher(torch.nn.Module):
    def __init__(self, model, what):
        super().__init__()
        self.field, self.classes = what.removesuffix("s"), CLASSES[what]
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS, strategy="longest_first")
        self.body = MPNetModel(MPNetConfig.from_pretrained(model), add_pooling_layer=False)
        missing = self.body.load_state_dict(load_file(model / "model.safetensors"), strict=False).missing_keys
        if missing:
            raise SystemExit(f"{model} lacks {missing}")
        self.head = torch.nn.Linear(self.body.config.hidden_size, len(self.classes))
        self.drop = torch.nn.Dropout(0.1)
        for name, weight in self.body.named_parameters():
            layer = int(name.split(".")[2]) if name.startswith("encoder.layer.") else -1
            weight.requires_grad = layer >= FROZEN

    def encode(self, item):
        summary = item.get("summary")
        return (self.tokenizer.encode(item["title"], summary) if summary else self.tokenizer.encode(item["title"])).ids

    def forward(self, texts):
        ids = torch.full((len(texts), max(map(len, texts))), PAD)
        for row, text in zip(ids, texts):
            row[: len(text)] = torch.tensor(text)
        mask = (ids != PAD).long()
        with torch.autocast("cpu", torch.bfloat16):
            states = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        return self.head(self.drop((states.float() * weights).sum(1) / weights.sum(1)))

    def label(self, item):
        """How probable the item's label makes each class."""
        target = torch.full((len(self.classes),), SMOOTHING / len(self.classes))
        target[self.classes.index(item[self.field])] += 1 - SMOOTHING
        return target

    @torch.no_grad()
    def say(self, texts):
        self.eval()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        said = torch.empty(len(texts), len(self.classes))
        for at in range(0, len(order), 32):
            said[order[at : at + 32]] = self([texts[i] for i in order[at : at + 32]])
        return said


def learn(teacher, items, epochs, rate, dev):
    """AdamW with warm-up and decay; leaves the running mean of the weights, which is what is measured, in the teacher."""
    texts = [teacher.encode(item) for item in items]
    targets = torch.stack([teacher.label(item) for item in items])
    counts = targets.sum(0)
    # Rare stages count more. Grades are to be as probable as they are.
    weights = (counts + 1) ** (-0.3 if teacher.field == "stage" else 0)
    weights /= (weights * counts).sum() / counts.sum()
    open_ = [weight for weight in teacher.parameters() if weight.requires_grad]
    groups = [([w for w in open_ if w.ndim >= 2], 0.01), ([w for w in open_ if w.ndim < 2], 0.0)]
    optimizer = torch.optim.AdamW([{"params": params, "weight_decay": decay} for params, decay in groups], lr=rate)
    steps, step = epochs * math.ceil(len(texts) / BATCH), 0
    means = [weight.detach().clone() for weight in open_]
    for epoch in range(epochs):
        teacher.train()
        for batch in batches(texts):
            loss = -(targets[batch] * weights * teacher([texts[i] for i in batch]).log_softmax(-1)).sum() / len(batch)
            done = (step + 1) / steps
            for group in optimizer.param_groups:
                group["lr"] = rate * (done / 0.1 if done < 0.1 else (1 - done) / 0.9)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(open_, 1.0)
            optimizer.step()
            step += 1
            with torch.no_grad():
                for mean, weight in zip(means, open_):
                    mean.lerp_(weight, 1 - min(0.995, step / (step + 9)))
        values = [weight.detach().clone() for weight in open_]
        put(open_, means)
        print(f"epoch {epoch + 1} of {epochs}: {measured(teacher, dev)}", flush=True)
        if epoch + 1 < epochs:
            put(open_, values)


def put(weights, values):
    with torch.no_grad():
        for weight, value in zip(weights, values):
            weight.copy_(value)


def batches(texts):
    """Texts of like length together, in a random order."""
    order = random.sample(range(len(texts)), len(texts))
    chunks = [sorted(order[at : at + 16 * BATCH], key=lambda i: len(texts[i])) for at in range(0, len(order), 16 * BATCH)]
    found = [chunk[at : at + BATCH] for chunk in chunks for at in range(0, len(chunk), BATCH)]
    random.shuffle(found)
    return found


def measured(teacher, items):
    said = teacher.say([teacher.encode(item) for item in items])
    truth = torch.tensor([teacher.classes.index(item[teacher.field]) for item in items])
    right = (said.argmax(1) == truth).float().mean()
    told = f"loss {cross_entropy(said, truth):.3f}, {right:.3f} right of {len(items)}"
    if teacher.field == "stage":
        return told
    probable = said.softmax(1)
    two, any_ = average_precision(probable[:, 2], truth == 2), average_precision(1 - probable[:, 0], truth > 0)
    return f"{told}, average precision of grade 2 {two:.3f}, of grades 1 and 2 {any_:.3f}"


def average_precision(scores, right):
    """The mean over the right ones of the share of right ones among those that score as much or more."""
    right = right[scores.argsort(descending=True)].float()
    return (right * right.cumsum(0) / torch.arange(1, len(right) + 1)).sum() / right.sum()


def variants(item):
    """The headline alone, the summary alone, and both with other places and with some words left out."""
    title, summary = item["title"], item.get("summary") or ""
    if summary:
        yield title, ""
    if len(summary.split()) > 5:
        yield summary, ""
    yield elsewhere(title, summary)


def elsewhere(*texts):
    others = dict(zip((place[0] for place in PLACES), random.sample(PLACES, len(PLACES))))
    names = {name: other for place in PLACES for name, other in zip(place, others[place[0]])}
    moved = [re.sub(r"\b(" + "|".join(sorted(names, key=len, reverse=True)) + r")\b", lambda found: names[found[0]], text) for text in texts]
    return [" ".join(word for word in text.split() if random.random() >= DROPPED) or text for text in moved]


class Words:
    """Which words are alike, by the input embeddings of a BERT."""

    def __init__(self, base):
        vocabulary = Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab()
        table = load_file(base / "model.safetensors")["embeddings.word_embeddings.weight"].float()
        self.words = [word for word in vocabulary if re.fullmatch("[a-z]{3,}", word) and word not in LITTLE]
        self.rows = torch.nn.functional.normalize(table[[vocabulary[word] for word in self.words]], dim=1)
        self.places = {word: place for place, word in enumerate(self.words)}
        self.known = {}

    def like(self, word):
        if word not in self.known:
            place = self.places.get(word)
            top = (self.rows @ self.rows[place]).topk(LIKE + 1) if place is not None else ((), ())
            self.known[word] = [self.words[i] for cosine, i in zip(*top) if i != place and cosine > COSINE]
        return self.known[word]

    def changed(self, text, share):
        def other(found):
            like = self.like(found[0].lower()) if random.random() < share else []
            if not like:
                return found[0]
            word = random.choice(like)
            return word.capitalize() if found[0][0].isupper() else word

        return re.sub("[A-Za-z]{3,}", other, text)


def mixed(item, others, words):
    """The item with other words, maybe in other places, maybe without its summary or with that of another."""
    title, summary = item["title"], item.get("summary") or ""
    part = random.random()
    if part < 0.25:
        other = random.choice(others)
        summary = other.get("summary") or other["title"]
    elif part < 0.35:
        summary = ""
    elif part < 0.42 and len(summary.split()) > 5:
        title, summary = summary, ""
    if random.random() < 0.3:
        title, summary = elsewhere(title, summary)
    share = random.choice(CHANGED)
    return {"title": words.changed(title, share), "summary": words.changed(summary, share), "grade": 1}


def plain(item):
    return tuple(" ".join((text or "").lower().split()) for text in (item["title"], item.get("summary")))


def distinct(items, known=()):
    """The first item of each text, and none whose text is among the known: `demarche train` refuses a text that comes twice."""
    seen, kept = {plain(item) for item in known}, []
    for item in items:
        if plain(item) not in seen:
            seen.add(plain(item))
            kept.append(item)
    return kept


def with_variants(items):
    """The items, and of each its variants, as texts alone: what they are is the teacher's to say."""
    varied = [{"title": title, "summary": summary, "grade": 1} for item in items for title, summary in variants(item)]
    return items + varied


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=CLASSES)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="directory of all-mpnet-base-v2")
    parser.add_argument("--news", action="append", required=True, help="labelled items of the news; of stages, its negotiations")
    parser.add_argument("--told", action="append", default=[], help="made-up ones")
    parser.add_argument("--dev", required=True, help="labelled items to measure on")
    parser.add_argument("--say", action="append", default=[], help="items to speak of")
    parser.add_argument("--vary", action="append", default=[], help="items to speak of, and variants of them")
    parser.add_argument("--mix", action="append", default=[], nargs=2, metavar=("FILE", "N"), help="items to speak of N mixed variants of")
    parser.add_argument("--words", type=pathlib.Path, help="directory of the base model, for --mix")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    if args.mix and not args.words:
        parser.error("--mix needs --words, the directory of the base model")
    labelled = lambda paths: [item for path in paths for item in read(path) if args.what == "grades" or item["grade"] == 2]
    news, told, dev = (labelled(paths) for paths in (args.news, args.told, [args.dev]))
    words = Words(args.words) if args.mix else None
    sources = [(read(path), int(times)) for path, times in args.mix]
    teacher = Teacher(args.model, args.what)
    if args.what == "grades":
        learn(teacher, news + told, 2, 4e-5, dev)
    else:
        learn(teacher, news + told, 1, 5e-5, dev)
        learn(teacher, news, 3, 2.5e-5, dev)
    said, varied = ([item for path in paths for item in read(path)] for paths in (args.say, args.vary))
    graded = {plain(item) for item in said + varied if args.what == "grades" and "grade" in item}
    items, originals, mixes = distinct(said + with_variants(varied), dev), [], []
    for others, times in sources:
        originals += others
        mixes += [mixed(item, others, words) for item in others for _ in range(times)]
    items += distinct(mixes, items + originals + dev)
    said = teacher.say([teacher.encode(item) for item in items]).softmax(1)
    with args.out.open("w", encoding="utf-8") as out:
        for item, probable in zip(items, said):
            if plain(item) in graded:
                probable = (probable + teacher.label(item)) / 2
            elif args.what == "grades":
                # A line must have one. Of grade 2 without a stage, `none` would be learnt as its stage.
                item = {**item, "grade": 1}
            out.write(json.dumps({**item, args.what: [round(p, 3) for p in probable.tolist()]}) + "\n")


if __name__ == "__main__":
    main()
