#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The timing models against measured cards: a table of measured, predicted, error.

  tests/bench/validation/validate.py SLUICE [--exact] [--write-exact] [--short]

SLUICE is the program to ask: `sluice probe` for single measurements, `sluice plan` for whole models. measured.json has the
figures and where they are from. A range counts as met inside. Every third point of a group was not used for fitting unless the
group says which. Figures whose conditions the source does not give are printed with the reason and not counted.

Ends with "N passed, M failed": mean error at most 5 %, worst at most 15 %, of all counted points and of the held-out
ones alone. --exact: each probe also gives, to the picosecond, what exact.json says; --write-exact writes that file;
--short leaves the whole models out.
"""
import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MEAN, WORST = 5.0, 15.0


class NoAnswer(Exception):
    pass


def ask(sluice, words):
    run = subprocess.run([sluice, *words], capture_output=True, text=True)
    if run.returncode:
        raise NoAnswer(f"sluice {' '.join(words)}: exit {run.returncode}: {run.stderr.strip()}")
    return json.loads(run.stdout)


def error_of(predicted, measured):
    """Percent; 0 inside a range, else from its nearer end."""
    if isinstance(measured, list):
        low, high = measured
        if low <= predicted <= high:
            return 0.0
        measured = low if predicted < low else high
    return (predicted / measured - 1) * 100


def number(value):
    if isinstance(value, list):
        return "-".join(number(v) for v in value)
    return f"{value:,.0f}" if value >= 10000 else f"{value:.4g}"


def at_batch_1(plan):
    return next(line for line in plan["decode"] if line["batch"] == 1)


def whole_model(sluice, point):
    """Predicted value of a figure of a whole model: a step of it, run by its card programs on the clock."""
    plan = ask(sluice, ["plan", *[str(ROOT / w) if w.startswith("tests/") else w for w in point["plan"]], "--json"])
    decode = at_batch_1(plan)
    bytes_moved = decode["weight_bytes"] + decode["kv_bytes"]
    if point["quantity"] == "board_watts":
        return decode["watts"]
    if point["quantity"] == "static_watts":
        return decode["energy"]["static"] * (decode["watts"] + decode["host_watts"])
    if point["quantity"] == "bandwidth":
        return 100 * bytes_moved * decode["tokens_per_s"] / plan["peak_bytes_per_s"]
    # The same bytes a second with the publisher's bits a weight: the card's speed, not our format's.
    saved = decode["weight_bytes"] * (1 - point["their_bits"] / point["our_bits"])
    return decode["tokens_per_s"] * bytes_moved / (bytes_moved - saved)


def predict(sluice, point, exact):
    if "plan" in point:
        return whole_model(sluice, point)
    answer = ask(sluice, ["probe", *point["probe"]])
    exact[" ".join(point["probe"])] = answer["ps"]
    return answer[point["quantity"]]


def show_group(sluice, group, exact, counted, unanswered, short):
    print(f"\n{group['name']}  ({group['source']})")
    print(f"  fitted: {', '.join(group['fitted']) or 'nothing'}")
    print(f"  {'':64} {'measured':>12} {'predicted':>10} {'error':>8}")
    for i, point in enumerate(group["points"]):
        if short and "plan" in point:
            continue
        held_out = point.get("held_out", i % 3 == 2)
        try:
            predicted = predict(sluice, point, exact)
        except NoAnswer as problem:
            print(f"  {point['what']:64} {number(point['measured']):>12}  NO ANSWER: {problem}")
            unanswered.append(point["what"])
            continue
        error = error_of(predicted, point["measured"])
        marks = ["held out"] * held_out + ([f"not counted: {point['uncounted']}"] if "uncounted" in point else [])
        print(f"  {point['what']:64} {number(point['measured']):>12} {number(predicted):>10} {error:+7.1f} %  {'; '.join(marks)}".rstrip())
        if "uncounted" not in point:
            counted.append((abs(error), held_out, f"{group['name']}: {point['what']}"))


def judge(name, errors):
    mean, worst = sum(e[0] for e in errors) / len(errors), max(errors)
    good = mean <= MEAN and worst[0] <= WORST
    print(f"{name}: {len(errors)} points, mean error {mean:.2f} %, worst {worst[0]:.1f} % ({worst[2]}){'' if good else '  TOO MUCH'}")
    return good


def check_exact(found):
    expected = json.loads((HERE / "exact.json").read_text())
    wrong = [words for words in sorted(expected.keys() | found.keys()) if expected.get(words) != found.get(words)]
    for words in wrong:
        print(f"probe {words}: {found.get(words)} ps, expected {expected.get(words)}")
    print(f"exact: {len(expected)} probes, {len(wrong)} differ")
    return not wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sluice")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--write-exact", action="store_true")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    exact, counted, unanswered = {}, [], []
    for group in json.loads((HERE / "measured.json").read_text())["groups"]:
        show_group(options.sluice, group, exact, counted, unanswered, options.short)
    print()
    results = [judge("all counted", counted), judge("held out", [e for e in counted if e[1]])]
    results.append(not unanswered)
    if options.write_exact:
        (HERE / "exact.json").write_text(json.dumps(exact, indent=0, sort_keys=True) + "\n")
    if options.exact:
        results.append(check_exact(exact))
    print("No card of ours stands behind the predictions: the measured figures are other people's.")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
