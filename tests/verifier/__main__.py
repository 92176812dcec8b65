"""python3 -m verifier FILE --trust TRUST [--json]"""

import argparse
import json
import sys
from pathlib import Path

from .evidence import read_trust, verify

def main():
    parser = argparse.ArgumentParser(prog="verifier", description="Verifies the evidence of an approval.")
    parser.add_argument("file", type=Path, help="the evidence")
    parser.add_argument("--trust", type=Path, required=True, help="the trust anchors")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args()
    try:
        trust, data = read_trust(options.trust.read_bytes()), options.file.read_bytes()
    except (ValueError, OSError, RecursionError) as error:
        parser.error(f"a file cannot be used: {error}")
    found = verify(data, trust)
    print(json.dumps(found) if options.json else f"{found['verdict']}: {found['sentence']}")
    return {"approved": 0, "not_approved": 3, "invalid": 1}[found["verdict"]]

if __name__ == "__main__":
    sys.exit(main())
