#!/usr/bin/env python3
"""demarche beside what one would write in Python, on the same items, one after the other in one run.

    python3 -m venv rivals && rivals/bin/pip install onnx onnxruntime tokenizers safetensors scikit-learn
    rivals/bin/python benches/rivals.py --items unlabelled.jsonl --train train.jsonl

Rivals: the same MiniLM in ONNX Runtime (int8, batches of 8 sorted by length) that scores everything, and the same behind a linear model (tf-idf of words
and pairs, logistic regression) that passes on the highest tenth. With `--dev dev.jsonl` a list of keywords too, and how well it does there. Both get what they need in memory; texts are cut at 80 tokens, as demarche does. demarche is
measured by its own bench (`cargo bench --bench scoring`): cascade, transformer alone and prefilter alone. All rates are by the median of the rounds; the two
rivals are measured as long before demarche as behind it, since a machine's pace drifts.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from tokenizers import Tokenizer

TOKENS = 80
BATCH = 8
HEADS = 12
WIDTH = 384
LAYERS = 6
# Seconds that a rival is measured for before demarche, and again behind it.
LONG = 15


def graph_of(weights):
    """The encoder with mean pooling as an ONNX graph: ids, mask and segments in, one vector of 384 a text out."""
    nodes, initializers, count = [], {}, [0]

    def constant(name, value):
        initializers.setdefault(name, numpy_helper.from_array(numpy.array(value, order="C"), name))
        return name

    def weight(name, transposed=False):
        value = weights[name]
        return constant(name + (".T" if transposed else ""), value.T if transposed else value)

    def node(kind, inputs, **attributes):
        count[0] += 1
        output = f"{kind}_{count[0]}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(x, name):
        return node("Add", [node("MatMul", [x, weight(name + ".weight", True)]), weight(name + ".bias")])

    def norm(x, name):
        return node("LayerNormalization", [x, weight(name + ".weight"), weight(name + ".bias")], axis=-1, epsilon=1e-12)

    def heads(x, order):
        split = node("Reshape", [x, constant("split", numpy.array([0, 0, HEADS, WIDTH // HEADS]))])
        return node("Transpose", [split], perm=order)

    def gelu(x):
        half = node("Mul", [x, constant("half", numpy.float32(0.5))])
        erf = node("Erf", [node("Div", [x, constant("root2", numpy.float32(2**0.5))])])
        return node("Mul", [half, node("Add", [erf, constant("one", numpy.float32(1))])])

    length = node("Gather", [node("Shape", ["ids"]), constant("axis1", numpy.array(1))])
    places = node("Range", [constant("zero", numpy.array(0)), length, constant("step", numpy.array(1))])
    x = node("Add", [
        node("Gather", [weight("embeddings.word_embeddings.weight"), "ids"]),
        node("Gather", [weight("embeddings.token_type_embeddings.weight"), "segments"]),
    ])
    x = node("Add", [x, node("Gather", [weight("embeddings.position_embeddings.weight"), places])])
    x = norm(x, "embeddings.LayerNorm")
    mask = node("Cast", ["mask"], to=TensorProto.FLOAT)
    spread = node("Unsqueeze", [mask, constant("axes12", numpy.array([1, 2]))])
    hidden = node("Mul", [node("Sub", [constant("one", numpy.float32(1)), spread]), constant("low", numpy.float32(-1e4))])
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        q = heads(linear(x, at + "attention.self.query"), [0, 2, 1, 3])
        k = heads(linear(x, at + "attention.self.key"), [0, 2, 3, 1])
        v = heads(linear(x, at + "attention.self.value"), [0, 2, 1, 3])
        scores = node("Div", [node("MatMul", [q, k]), constant("scale", numpy.float32((WIDTH // HEADS) ** 0.5))])
        mixed = node("MatMul", [node("Softmax", [node("Add", [scores, hidden])], axis=-1), v])
        joined = node("Reshape", [node("Transpose", [mixed], perm=[0, 2, 1, 3]), constant("join", numpy.array([0, 0, WIDTH]))])
        x = norm(node("Add", [linear(joined, at + "attention.output.dense"), x]), at + "attention.output.LayerNorm")
        inner = gelu(linear(x, at + "intermediate.dense"))
        x = norm(node("Add", [linear(inner, at + "output.dense"), x]), at + "output.LayerNorm")
    column = node("Unsqueeze", [mask, constant("axes2", numpy.array([2]))])
    total = node("ReduceSum", [node("Mul", [x, column]), constant("axes1", numpy.array([1]))], keepdims=0)
    nodes.append(helper.make_node("Div", [total, node("ReduceSum", [mask, constant("axes1", numpy.array([1]))], keepdims=1)], ["pooled"]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("ids", "mask", "segments")]
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", WIDTH])
    graph = helper.make_graph(nodes, "minilm", inputs, [output], list(initializers.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class MiniLm:
    """MiniLM in int8 and a head of three grades (its weights do not matter to its speed)."""

    def __init__(self, base, threads):
        self.tokens = Tokenizer.from_file(str(base / "tokenizer.json"))
        self.tokens.no_padding()
        self.tokens.enable_truncation(TOKENS)
        with tempfile.TemporaryDirectory() as folder:
            plain, small = f"{folder}/plain.onnx", f"{folder}/int8.onnx"
            onnx.save(graph_of(load_file(str(base / "model.safetensors"))), plain)
            quantize_dynamic(plain, small, weight_type=QuantType.QInt8)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            self.session = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
        self.head = numpy.random.default_rng(1).normal(size=(WIDTH, 3)).astype("float32")

    def score(self, items):
        encoded = self.tokens.encode_batch(items)
        scores = numpy.zeros((len(items), 3), "float32")
        order = sorted(range(len(items)), key=lambda i: len(encoded[i].ids))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            longest = max(len(encoded[i].ids) for i in batch)
            fill = lambda part: numpy.array([part(encoded[i]) + [0] * (longest - len(encoded[i].ids)) for i in batch], "int64")
            feed = {"ids": fill(lambda e: e.ids), "mask": fill(lambda e: e.attention_mask), "segments": fill(lambda e: e.type_ids)}
            scores[batch] = self.session.run(None, feed)[0] @ self.head
        return scores, sum(len(e.ids) for e in encoded) / max(1, len(items))


class Linear:
    def __init__(self, train):
        texts = [f"{item['title']} {item.get('summary') or ''}" for item in train]
        self.words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        self.model = LogisticRegression(C=10, max_iter=300).fit(self.words.fit_transform(texts), [item["grade"] == 2 for item in train])

    def highest_tenth(self, items):
        scores = self.model.predict_proba(self.words.transform([" ".join(item) for item in items]))[:, 1]
        return numpy.argsort(-scores)[: len(items) // 10]


KEYWORDS = re.compile(
    r"\b(talks?|negotiat\w+|ceasefire|cease-fire|truce|peace (?:plan|deal|process|agreement)|mediat\w+|envoys?|diploma\w+|summit|treaty|accord|agreement|"
    r"deal|pact|delegations?|foreign ministers?|prisoner (?:swap|exchange)|hostage (?:deal|release)|proposals?|bilateral|trilateral|memorandum|sanctions relief|"
    r"roadmap|back-?channel|rounds? of|normali[sz]ation)\b",
    re.I,
)


def keywords(items):
    """How many words of talks an item holds, those of the title twice."""
    return [2 * len(KEYWORDS.findall(title)) + len(KEYWORDS.findall(summary)) for title, summary in items]


def read(path, most=None):
    with open(path, encoding="utf-8") as lines:
        items = [json.loads(line) for _, line in zip(range(most or 10**9), lines)]
    return items


def seconds(work):
    """Seconds of each round, of as many as take LONG, three at least."""
    each = []
    while sum(each) < LONG or len(each) < 3:
        started = time.perf_counter()
        work()
        each.append(time.perf_counter() - started)
    return each


def say(name, rate):
    print(f"{name:<52} {rate:>10.0f} items/s", flush=True)


def demarche(items_file, n):
    environment = dict(os.environ, DEMARCHE_BENCH_ITEMS=str(pathlib.Path(items_file).resolve()))
    root = pathlib.Path(__file__).parent.parent
    started = time.time()
    command = ["cargo", "bench", "--bench", "scoring", "--", "--noplot"]
    output = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    target = root / (os.environ.get("CARGO_TARGET_DIR") or "target")
    rates = {}
    for kind in ("linear", "auto", "transformer"):
        file = target / "criterion/scoring" / kind / "new/estimates.json"
        if file.stat().st_mtime < started:
            raise SystemExit(f"{file} is of an earlier run: was {kind} measured?")
        estimates = json.loads(file.read_text())
        rates[kind] = n * 1e9 / estimates["median"]["point_estimate"]
        say("demarche, " + {"auto": "cascade", "linear": "prefilter alone"}.get(kind, kind + " alone"), rates[kind])
    for line in re.findall(r"\w+: resident .*", output):
        print("  " + line)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", required=True, help="items to score, one JSON object a line")
    parser.add_argument("--train", required=True, help="labelled items for the rival's linear model")
    parser.add_argument("--dev", help="labelled items to measure the list of keywords on")
    parser.add_argument("--base", type=pathlib.Path, default=pathlib.Path.home() / ".cache/demarche/all-MiniLM-L6-v2")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    items = [(item["title"], item.get("summary") or "") for item in read(arguments.items, 2_000)]
    model, linear = MiniLm(arguments.base, arguments.threads), Linear(read(arguments.train))
    print(f"{len(items)} items, {model.score(items)[1]:.0f} tokens on average; {arguments.threads} threads")
    say("keyword list", len(items) / statistics.median(seconds(lambda: keywords(items))))
    if arguments.dev:
        dev = read(arguments.dev)
        found = keywords([(item["title"], item.get("summary") or "") for item in dev])
        precision = lambda least: average_precision_score([item["grade"] >= least for item in dev], found)
        print(f"  average precision on dev: grade 2 {precision(2):.3f}, grades 1 and 2 {precision(1):.3f}")
    rivals = {
        "ONNX int8, everything": lambda: model.score(items),
        "linear model, then ONNX int8 on a tenth": lambda: model.score([items[i] for i in linear.highest_tenth(items)]),
    }
    before = {name: seconds(work) for name, work in rivals.items()}
    ours = demarche(arguments.items, len(items))
    rates = {name: len(items) / statistics.median(before[name] + seconds(work)) for name, work in rivals.items()}
    for name, rate in rates.items():
        say(name, rate)
    everything, tenth = rates.values()
    print(f"cascade: {ours['auto'] / everything:.1f} times the first rival, {ours['auto'] / tenth:.2f} times the second")
    print(f"transformer alone: {ours['transformer'] / everything:.2f} times the first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
