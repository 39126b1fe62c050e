#!/usr/bin/env python3
"""Reads spec/vectors with a decoder that was written from the pages of the specification alone. README.md beside it says more.

One line for each file; ends with 0 if every vector is as it should be, else with 1.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import cells
import circuits
import content
import crypto
import evidence
import folders
import kept
import keys
import link
import links
import membership
import messages
import onion
import parity
import requests
import state
import values
from flips import flips_of
from reader import Mismatch, Refused

PAGES = [cells, circuits, content, crypto, evidence, folders, kept, keys, link, links, membership, messages, onion, parity]
PAGES += [requests, state, values]
DECODERS = {name: pair for page in PAGES for name, pair in page.VECTORS.items()}
# Whose cases a file's cases need beside themselves.
BESIDE = {name: other for page in PAGES for name, other in getattr(page, "BESIDE", {}).items()}
# Fields of valid cases of which a change may pass unnoticed, and why; never one of the first byte.
UNNOTICED = {
    (name, field): why
    for page in PAGES
    for name, fields in getattr(page, "UNNOTICED", {}).items()
    for field, why in fields.items()
}


def load(folder, name):
    """A file's valid cases and its invalid ones, each with what it needs beside itself."""
    vectors = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if set(vectors) - {"description", "spec", "cases", "invalid"}:
        raise Mismatch("a part of the file is not known")
    cases, invalid = vectors["cases"], vectors.get("invalid", [])
    if not cases or (DECODERS[name][1] is None) != (not invalid):
        raise Mismatch("no cases where there are to be some, or the other way round")
    beside = {}
    if name in BESIDE:
        other = json.loads((folder / f"{BESIDE[name]}.json").read_text(encoding="utf-8"))
        beside = {"beside": other["cases"]}
    return cases, invalid, beside


def complaint_of(case, beside, check):
    """What is wrong with a valid case; nothing if all is well."""
    try:
        check(case | beside)
    except (Mismatch, Refused) as wrong:
        return str(wrong)
    except Exception as wrong:  # What no page foresees is a complaint, too.
        return repr(wrong)
    return None


def complaint_of_invalid(case, beside, refuse):
    """What is wrong with a case that must be refused: nothing if it is, for the vector's reason."""
    try:
        refuse(case | beside)
    except Refused as refusal:
        reason, error = str(refusal), case["error_id"]
        return None if reason == error else f"refused as {reason!r}, the vector has {error!r}"
    except Exception as wrong:
        return repr(wrong)
    return "not refused"


def check_file(folder, name):
    """Checks one file, prints a line, and returns how much is wrong."""
    begun = time.monotonic()
    check, refuse = DECODERS[name]
    cases, invalid, beside = load(folder, name)
    wrong = [(f"case {place}", complaint_of(case, beside, check)) for place, case in enumerate(cases)]
    wrong += [(repr(case["name"]), complaint_of_invalid(case, beside, refuse)) for case in invalid]
    wrong = [f"{case}: {complaint}" for case, complaint in wrong if complaint is not None]
    spent = time.monotonic() - begun
    state = f"{len(wrong)} WRONG" if wrong else "ok"
    print(f"{name:15} {len(cases):3} valid {len(invalid):3} invalid {spent:6.1f} s  {state}", flush=True)
    for line in wrong:
        print(f"    {line}")
    return len(wrong)


def self_test_file(folder, name):
    """Changes each field of each valid case, and returns how many changes nobody noticed though somebody should have; and the
    fields of which a change passed, as it may."""
    check = DECODERS[name][0]
    cases, _, beside = load(folder, name)
    noticed, passed, missed = 0, {}, []
    for place, case in enumerate(cases):
        for field, where, changed in flips_of(case):
            if complaint_of(changed, beside, check) is not None:
                noticed += 1
            elif (name, field) in UNNOTICED and not where.endswith(" byte 0"):
                passed[field] = passed.get(field, 0) + 1
            else:
                missed.append(f"case {place}: {where}")
    total = noticed + sum(passed.values()) + len(missed)
    print(f"{name:15} {noticed:5} of {total:5} changes noticed, {len(missed)} missed", flush=True)
    for field, count in passed.items():
        print(f"    {count} of {field} may pass: {UNNOTICED[name, field]}")
    for line in missed:
        print(f"    MISSED {line}")
    return len(missed), passed


def self_test(folder, names):
    """Whether a changed vector is noticed. What is told to pass unnoticed and does not is wrong, too: the reason is gone."""
    wrong = 0
    for name in names:
        missed, passed = self_test_file(folder, name)
        wrong += missed
        for stale in {field for file, field in UNNOTICED if file == name} - set(passed):
            print(f"    STALE {stale}: every change is noticed")
            wrong += 1
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=Path(__file__).resolve().parent.parent / "vectors", metavar="DIR")
    parser.add_argument("--self-test", action="store_true", help="then change each field in memory, and see whether it is noticed")
    parser.add_argument("names", nargs="*", metavar="NAME", help="files without their ending; all, if none is named")
    arguments = parser.parse_args()
    files = {path.stem for path in arguments.vectors.glob("*.json")}
    if files != set(DECODERS):
        print(f"WRONG: files without a decoder, or decoders without a file: {sorted(files ^ set(DECODERS))}")
        return 1
    if unknown := set(arguments.names) - files:
        parser.error(f"no such file: {sorted(unknown)}")
    names = sorted(arguments.names or files)
    wrong = sum(check_file(arguments.vectors, name) for name in names)
    if arguments.self_test:
        wrong += self_test(arguments.vectors, names)
    print("all as the specification has it" if not wrong else f"{wrong} WRONG")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
