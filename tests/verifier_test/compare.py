"""PYTHONPATH=tests python3 -m verifier_test.compare FOLDER [--bundles LEAST] [--damaged LEAST]

Verifies every file of evidence that the tests of the first verifier left in a folder, and tells where the verdicts
differ, or that there are fewer than LEAST. A JSON file is one of these:

- One case or a list of cases: {"name", "trust": object, "verdict", "code": text or null} and the evidence, as
  "evidence": text or, where it is not UTF-8, as "evidence_base64": text. Anchors that a verifier refuses to use are a
  verdict "invalid" with the code "usage".
- Damaged copies of one file that verifies: {"trust", "base": text, "count", "damage": [[code, edits], ...]}.
- Damaged copies of one assertion that verifies: {"key": the COSE key, "challenge", "origin", "rp_id", "assertion":
  [authenticator data, client data, signature], "count", "damage": [[the part, edits], ...]}, bytes in base64url.
- Windows, and whether they are open at some moments: {"windows", "moments": [[seconds since 1970, open], ...]}.

An edit is [where, how many bytes are removed there, the bytes that are put there in base64url]; edits follow each other.
"""

import argparse
import base64
import collections
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from verifier.documents import from_base64url
from verifier.evidence import is_open, read_trust, verify
from verifier.webauthn import check_assertion, read_cose_key


def evidence_of(case):
    if "evidence_base64" in case:
        return base64.b64decode(case["evidence_base64"], validate=True)
    return case["evidence"].encode()


def verdict_on(case):
    try:
        trust = read_trust(json.dumps(case["trust"]).encode())
    except (ValueError, RecursionError) as error:
        return {"verdict": "invalid", "code": "usage", "sentence": str(error)}
    return verdict_of(evidence_of(case), trust)


def verdict_of(data, trust):
    try:
        return verify(data, trust)
    except Exception as error:  # A defect of the second verifier is told like any other disagreement.
        return {"verdict": "defect", "code": type(error).__name__, "sentence": str(error)}


def edited(data, edits):
    for at, removed, inserted in edits:
        data = data[:at] + from_base64url(inserted) + data[at + removed:]
    return data


def cases_of(content):
    """The verdicts on one file's cases: (name, of the first verifier, of the second, its sentence)."""
    for case in content if isinstance(content, list) else [content]:
        second = verdict_on(case)
        first = case["verdict"], case.get("code")
        yield case["name"], first, (second["verdict"], second["code"]), second["sentence"]


def damaged_files_of(content):
    trust, base = read_trust(json.dumps(content["trust"]).encode()), content["base"].encode()
    assert verify(base, trust)["verdict"] == "approved", "the file that was damaged did not verify before"
    for code, edits in content["damage"]:
        second = verdict_of(edited(base, edits), trust)
        yield f"damage {edits}", ("invalid", code), (second["verdict"], second["code"]), second["sentence"]


def damaged_assertions_of(content):
    key = (*read_cose_key(from_base64url(content["key"])), False)
    rest = from_base64url(content["challenge"]), content["origin"], content["rp_id"]
    base = [from_base64url(part) for part in content["assertion"]]
    check_assertion(key, *base, *rest)
    for part, edits in content["damage"]:
        parts = [edited(data, edits) if place == part else data for place, data in enumerate(base)]
        try:
            check_assertion(key, *parts, *rest)
            found = "accepted", ""
        except (ValueError, RecursionError, InvalidSignature) as error:
            found = "refused", str(error)
        except Exception as error:
            found = "defect", f"{type(error).__name__}: {error}"
        yield f"part {part}, damage {edits}", "refused", *found


def moments_of(content):
    for at, first in content["moments"]:
        yield f"{content['windows']} at {at}", first, is_open(content["windows"], at * 10**9), ""


def compare(folder):
    """How many cases of each kind there are, and a line for every one on which the verifiers disagree."""
    counts, disagreements = collections.Counter(), []
    for path in sorted(Path(folder).glob("*.json")):
        content = json.loads(path.read_bytes())
        is_damage = isinstance(content, dict) and "damage" in content
        is_clock = isinstance(content, dict) and "moments" in content
        kind = "damaged" if is_damage else "moments" if is_clock else "bundles"
        read = moments_of if is_clock else cases_of
        if is_damage:
            read = damaged_assertions_of if "assertion" in content else damaged_files_of
        before = counts[kind]
        for name, first, second, sentence in read(content):
            counts[kind] += 1
            if first != second:
                disagreements.append(f"{path.name}: {name}: the first says {first}, the second {second}: {sentence}")
        if is_damage:
            counts["damaged by the first"] += content["count"]
            if counts[kind] - before != content["count"]:
                disagreements.append(f"{path.name}: the first counted {content['count']}, not {counts[kind] - before}")
    return counts, disagreements


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundles", type=int, default=1, metavar="LEAST")
    parser.add_argument("--damaged", type=int, default=0, metavar="LEAST")
    given = parser.parse_args()
    counts, disagreements = compare(given.folder)
    print(*disagreements, sep="\n", end="\n" if disagreements else "")
    print(f"{counts['bundles']} bundles: the verifiers disagree on {len(disagreements)} cases in all")
    print(f"{counts['moments']} moments were looked at by the clocks of windows")
    print(f"{counts['damaged by the first']} damaged ones were refused by the first, {counts['damaged']} by the second")
    too_few = counts["bundles"] < given.bundles or counts["damaged"] < given.damaged
    if too_few:
        print(f"There are too few: at least {given.bundles} bundles and {given.damaged} damaged ones are expected.")
    return 1 if too_few or disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
