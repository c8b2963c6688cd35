#!/usr/bin/env python3
"""Feeds to alerts, end to end: demarche beside what one would write in Python, on the same feed documents, one after the other.

    python3 -m venv rivals && rivals/bin/pip install feedparser onnx onnxruntime tokenizers safetensors scikit-learn
    rivals/bin/python benches/backfill_rivals.py --binary target/release/demarche --items unlabelled.jsonl --train train.jsonl

The items are written as RSS documents of 30 each. demarche reads all of them (`demarche backfill`, its start, its state and its synced alert file included);
the rivals, which are slower, a slice, and their start and the loading of their models is not counted. Both rivals read with feedparser and score with MiniLM in
ONNX Runtime (int8, sorted by length, all processors; see rivals.py): the first everything, the second the tenth that a linear model thinks most of.
Peak memory is the kernel's count for each process. With `--rounds N` everything is run N times in turn, and the best of each is shown.
"""
import argparse
import html
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

PER_DOCUMENT = 30
# Items that a rival scores at once: enough to sort them by length.
AT_ONCE = 1_500


def write_feeds(folder, items, most):
    """Writes RSS documents of `items`, repeated under other headlines until there are `most`; how many items."""
    folder.mkdir(parents=True)
    count = 0
    while count < most:
        chunk, outlet = [], count // PER_DOCUMENT % 200
        for place in range(count, min(most, count + PER_DOCUMENT)):
            item, again = items[place % len(items)], place // len(items)
            title = item["title"] + (f" ({again})" if again else "")
            chunk.append(
                f"<item><title>{html.escape(title)}</title><link>https://outlet{outlet}.example/news/{place}</link>"
                f'<guid isPermaLink="false">{place}</guid><pubDate>Tue, 06 Feb 2024 {place // 125 % 24:02}:00:00 GMT</pubDate><category>News</category>'
                f"<description>{html.escape('<p>' + html.escape(item.get('summary') or '') + '</p>')}</description></item>"
            )
        head = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Outlet {outlet}</title><link>https://outlet{outlet}.example/</link>'
        directory = folder / f"{count // 30_000:05}"
        directory.mkdir(exist_ok=True)
        (directory / f"{count:09}.xml").write_text(head + "".join(chunk) + "</channel></rss>\n", encoding="utf-8")
        count += len(chunk)
    return count


def documents(folder):
    return sorted(path for path in folder.rglob("*.xml"))


def rival(arguments):
    """Reads a slice of the documents and writes what it would alert to; prints items and seconds."""
    import feedparser

    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from rivals import Linear, MiniLm, read

    model = MiniLm(arguments.base, arguments.threads)
    linear = Linear(read(arguments.train)) if arguments.rival == "tenth" else None
    started, count = time.perf_counter(), 0
    with open(os.devnull, "w", encoding="utf-8") as alerts:

        def score(entries):
            texts = [(entry.get("title", ""), re.sub(r"<[^>]+>", " ", html.unescape(entry.get("summary", "")))) for entry in entries]
            chosen = range(len(texts)) if linear is None else linear.highest_tenth(texts)
            scores, _ = model.score([texts[place] for place in chosen])
            for place, row in zip(chosen, scores):
                if row[2] > row[:2].max():
                    alerts.write(json.dumps({"title": texts[place][0], "link": entries[place].get("link"), "score": float(row[2])}) + "\n")

        held = []
        for path in documents(arguments.feeds)[: arguments.documents]:
            held += feedparser.parse(path.read_bytes()).entries
            if len(held) >= AT_ONCE:
                score(held)
                count, held = count + len(held), []
        if held:
            score(held)
        count += len(held)
    print(json.dumps({"items": count, "seconds": time.perf_counter() - started}))


def measured(command, **more):
    """Runs `command`; its output, seconds and peak memory in bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **more)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return output, time.perf_counter() - started, usage.ru_maxrss * 1024


def run_demarche(arguments, feeds):
    with tempfile.TemporaryDirectory() as state:
        command = [str(arguments.binary), "backfill", "--json", str(feeds), "--state", state, "--out", f"{state}/alerts.jsonl"]
        output, seconds, peak = measured(command, env=dict(os.environ, DEMARCHE_LOG__LEVEL="error"))
    counts = json.loads(output)
    return {"items": sum(row["read"] for row in counts["sources"]), "seconds": seconds, "peak": peak, "alerts": counts["alert"], "settled": sum(row["settled"] for row in counts["sources"])}


def run_rival(arguments, feeds, kind):
    command = [sys.executable, __file__, "--rival", kind, "--feeds", str(feeds), "--documents", str(arguments.slice // PER_DOCUMENT)]
    command += ["--train", arguments.train, "--base", str(arguments.base), "--threads", str(arguments.threads)]
    output, _, peak = measured(command)
    return {**json.loads(output.splitlines()[-1]), "peak": peak}


def best(results):
    fastest = max(results, key=lambda result: result["items"] / result["seconds"])
    return {**fastest, "rate": fastest["items"] / fastest["seconds"], "peak": max(result["peak"] for result in results)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, help="demarche, built for release with the transformer")
    parser.add_argument("--items", help="JSON lines with title and summary; the labelled ones if left out")
    parser.add_argument("--train", required=True, help="labelled items (grade 2: negotiation) for the rival's linear model")
    parser.add_argument("--most", type=int, default=50_000, help="items that demarche reads")
    parser.add_argument("--slice", type=int, default=3_000, help="items that each rival reads")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--base", type=pathlib.Path, default=pathlib.Path.home() / ".cache/demarche/all-MiniLM-L6-v2")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    for name, kind in [("--rival", str), ("--feeds", pathlib.Path), ("--documents", int)]:
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rival:
        return rival(arguments)
    if not arguments.binary:
        parser.error("--binary is wanted")
    with open(arguments.items or arguments.train, encoding="utf-8") as lines:
        items = [json.loads(line) for _, line in zip(range(arguments.most), lines)]
    with tempfile.TemporaryDirectory() as folder:
        feeds = pathlib.Path(folder) / "feeds"
        written = write_feeds(feeds, items, arguments.most)
        size = sum(path.stat().st_size for path in documents(feeds))
        print(f"{written} items in {size / 1e6:.0f} MB of RSS; {arguments.threads} threads; best of {arguments.rounds}", flush=True)
        ours, everything, tenth = [], [], []
        for _ in range(arguments.rounds):
            ours.append(run_demarche(arguments, feeds))
            everything.append(run_rival(arguments, feeds, "everything"))
            tenth.append(run_rival(arguments, feeds, "tenth"))
    ours = best(ours)
    print(f"{'':<52} {'items':>8} {'seconds':>8} {'items/s':>8} {'demarche is':>12} {'peak MiB':>9}")
    names = ["demarche backfill", "feedparser + MiniLM int8, everything", "feedparser + linear + MiniLM int8 on a tenth"]
    for name, result in zip(names, [ours, best(everything), best(tenth)]):
        times = f"{ours['rate'] / result['rate']:.1f} x" if result is not ours else ""
        print(f"{name:<52} {result['items']:>8} {result['seconds']:>8.1f} {result['rate']:>8.0f} {times:>12} {result['peak'] / 2**20:>9.0f}")
    print(f"demarche: {ours['alerts']} alerts; the quick model alone settled {ours['settled']} items")
    return 0


if __name__ == "__main__":
    sys.exit(main())
