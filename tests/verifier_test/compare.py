"""PYTHONPATH=tests python3 -m verifier_test.compare FOLDER

Verifies every file of evidence that the tests of the first verifier left in a folder, and tells where the verdicts
differ. A JSON file holds one case or a list of cases: {"name", "trust": object, "verdict", "code": text or null} and
the evidence, as "evidence": text or, where it is not UTF-8, as "evidence_base64": text. Anchors that a verifier refuses
to use are a verdict "invalid" with the code "usage".
"""

import base64
import json
import sys
from pathlib import Path

from verifier.evidence import read_trust, verify


def evidence_of(case):
    if "evidence_base64" in case:
        return base64.b64decode(case["evidence_base64"], validate=True)
    return case["evidence"].encode()


def verdict_on(case):
    try:
        trust = read_trust(json.dumps(case["trust"]).encode())
    except (ValueError, RecursionError) as error:
        return {"verdict": "invalid", "code": "usage", "sentence": str(error)}
    try:
        return verify(evidence_of(case), trust)
    except Exception as error:  # A defect of the second verifier is told like any other disagreement.
        return {"verdict": "defect", "code": type(error).__name__, "sentence": str(error)}


def compare(folder):
    """How many files there are, and a line for every one on which the verifiers disagree."""
    count, disagreements = 0, []
    for path in sorted(Path(folder).glob("*.json")):
        cases = json.loads(path.read_bytes())
        for case in cases if isinstance(cases, list) else [cases]:
            first, second = (case["verdict"], case.get("code")), verdict_on(case)
            count += 1
            if first != (second["verdict"], second["code"]):
                disagreements.append(
                    f"{path.name}: {case['name']}: the first says {first[0]} ({first[1]}), "
                    f"the second {second['verdict']} ({second['code']}): {second['sentence']}")
    return count, disagreements


def main():
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    count, disagreements = compare(sys.argv[1])
    for line in disagreements:
        print(line)
    if count == 0:
        print("There is no file to compare.")
    elif disagreements:
        print(f"{count} files: the two verifiers agree on {count - len(disagreements)}, not on {len(disagreements)}")
    else:
        print(f"{count} files: the two verifiers agree on all")
    return 0 if count and not disagreements else 1


if __name__ == "__main__":
    sys.exit(main())
