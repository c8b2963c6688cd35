#!/usr/bin/env python3
"""How well alerts are gathered into stories: B-cubed precision, recall and F1 (Bagga and Baldwin 1998) on labelled items.

    benches/stories_b3.py target/release/demarche LABELS ITEMS...

LABELS has {"id", "set", "story"} a line (models/data/stories.jsonl), ITEMS {"id", "title", "summary", "date", "source"} a
line. Every labelled item is made an alert (--threshold 0) by a backfill in the order of its dates; each set on its own. Whatever
DEMARCHE_* is set holds, e.g. DEMARCHE_MODEL__SCORER=linear, DEMARCHE_STORIES__SIMILARITY=0.2.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def record(item):
    outlet = re.sub("[^a-z0-9]+", "", item["source"].lower()) or "x"
    url = f"https://{outlet}.example/{item['id']}"
    return {"id": item["id"], "title": item["title"], "summary": item["summary"], "date": item["date"] + "T12:00:00Z", "url": url}


def found(program, items):
    """The story that the program gives each item, by the item's id."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "items.jsonl"), pathlib.Path(folder, "alerts.jsonl")
        source.write_text("".join(json.dumps(record(item)) + "\n" for item in items), encoding="utf-8")
        command = [program, "backfill", source, "--threshold", "0", "--state", f"{folder}/state", "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {alert["item"]["url"].rsplit("/", 1)[1]: alert["story"]["id"] for alert in read(out)}


def b_cubed(gold, found):
    def members(stories):
        of = collections.defaultdict(set)
        for item, story in stories.items():
            of[story].add(item)
        return of

    labelled, gathered = members(gold), members(found)
    both = {item: len(labelled[gold[item]] & gathered[found[item]]) for item in gold}
    precision = sum(both[item] / len(gathered[found[item]]) for item in gold) / len(gold)
    recall = sum(both[item] / len(labelled[gold[item]]) for item in gold) / len(gold)
    return precision, recall, 2 * precision * recall / (precision + recall)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, labels, *files = sys.argv[1:]
    items = {item["id"]: item for path in files for item in read(path)}
    sets = collections.defaultdict(dict)
    for label in read(labels):
        sets[label["set"]][label["id"]] = label["story"]
    print("set                  items  stories  found  precision  recall  F1")
    for name, gold in sets.items():
        gathered = found(program, sorted((items[item] for item in gold), key=lambda item: (item["date"], item["id"])))
        numbers = b_cubed(gold, gathered)
        print(f"{name:<19}  {len(gold):>5}  {len(set(gold.values())):>7}  {len(set(gathered.values())):>5}", end="")
        print("  {:>9.3f}  {:>6.3f}  {:.3f}".format(*numbers))


if __name__ == "__main__":
    main()
