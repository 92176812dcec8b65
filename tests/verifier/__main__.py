"""python3 -m verifier FILE --trust TRUST prints the verdict as JSON."""

import json, pathlib, sys
from .evidence import read_trust, verify
try:
    file, _, trust = (word for word in sys.argv[1:] if word != "--json")
    found = verify(pathlib.Path(file).read_bytes(), read_trust(pathlib.Path(trust).read_bytes()))
except (ValueError, OSError, RecursionError) as error:
    sys.exit(sys.stderr.write(f"{__doc__} This cannot be used: {error}\n") and 2)
print(json.dumps(found))
sys.exit({"approved": 0, "not_approved": 3, "invalid": 1}[found["verdict"]])
