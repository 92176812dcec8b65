"""python3 -m verifier FILE --trust TRUST [--json], or --batch with one case a line on standard input."""

import argparse
import base64
import functools
import json
import sys
from pathlib import Path

from .encodings import Broken
from .evidence import LARGEST_FILE, invalid, read_trust, verify

read_trust_file = functools.lru_cache(maxsize=64)(lambda path: read_trust(read_file(path)))
read_trust_text = functools.lru_cache(maxsize=64)(lambda text: read_trust(text.encode()))

def read_file(path):
    with Path(path).open("rb") as file:
        return file.read(LARGEST_FILE + 1)

def answer(line):
    """The verdict on one case: {"file" or "text" or "base64", "trust": path or object}."""
    try:
        case = json.loads(line)
        trust = case["trust"]
        trust = read_trust_file(trust) if isinstance(trust, str) else read_trust_text(json.dumps(trust))
        readers = {"file": read_file, "text": lambda text: text.encode(errors="surrogatepass"), "base64": base64.b64decode}
        data, = (read(case[name]) for name, read in readers.items() if name in case)
    except (AttributeError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        return invalid("usage", f"this case cannot be read: {type(error).__name__}: {error}")
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
    if not options.file or not options.trust:
        parser.error("name the evidence file and, with --trust, the trust anchors")
    try:
        trust, data = read_trust_file(options.trust), read_file(options.file)
    except (Broken, OSError) as error:
        parser.error(str(error))
    verdict = verify(data, trust)
    code = f" [{verdict['code']}]" if verdict["code"] else ""
    print(json.dumps(verdict) if options.json else f"{verdict['verdict']}: {verdict['sentence']}{code}")
    return {"approved": 0, "not_approved": 3, "invalid": 1}[verdict["verdict"]]

if __name__ == "__main__":
    sys.exit(main())
