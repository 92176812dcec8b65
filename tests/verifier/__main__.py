"""python3 -m verifier FILE --trust TRUST [--json], or --batch with one case a line on standard input."""

import argparse
import base64
import functools
import json
import sys
from pathlib import Path

from .evidence import LARGEST_FILE, read_trust, verdict, verify

read_trust_file = functools.lru_cache(maxsize=64)(lambda path: read_trust(read_file(path)))
read_trust_text = functools.lru_cache(maxsize=64)(lambda text: read_trust(text.encode()))
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, OSError, RecursionError)

def read_file(path):
    with Path(path).open("rb") as file:
        return file.read(LARGEST_FILE + 1)

READERS = {"file": read_file, "text": lambda text: text.encode(errors="surrogatepass"), "base64": base64.b64decode}

def answer(line):
    """The verdict on one case: {"file" or "text" or "base64", "trust": path or object}."""
    try:
        case = json.loads(line)
        named = isinstance(case["trust"], str)
        trust = read_trust_file(case["trust"]) if named else read_trust_text(json.dumps(case["trust"]))
        data, = (read(case[name]) for name, read in READERS.items() if name in case)
    except UNREADABLE as error:
        return verdict("invalid", f"this case cannot be read: {type(error).__name__}: {error}", "usage")
    return verify(data, trust)

def main():
    parser = argparse.ArgumentParser(prog="verifier", description="Verifies the evidence of an approval.")
    parser.add_argument("file", nargs="?", help="the evidence")
    parser.add_argument("--trust", help="the trust anchors")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument("--batch", action="store_true", help="read cases as JSON lines, print a verdict for each")
    options = parser.parse_args()
    if options.batch:
        for line in sys.stdin.buffer:
            print(json.dumps(answer(line)), flush=True)
        return 0
    try:
        trust, data = read_trust_file(options.trust), read_file(options.file)
    except UNREADABLE as error:
        parser.error(f"name the evidence and, with --trust, the trust anchors ({error})")
    found = verify(data, trust)
    words = f"{found['verdict']} ({found['code'] or found['status']}): {found['sentence']}"
    print(json.dumps(found) if options.json else words)
    return {"approved": 0, "not_approved": 3, "invalid": 1}[found["verdict"]]

if __name__ == "__main__":
    sys.exit(main())
