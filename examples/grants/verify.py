"""Lets one call through that people signed: the enforcement point of a tool, in Python.

    python3 verify.py GATE AUDIENCE TOOL < CALL

CALL is {"grant": "...", "arguments": {...}}, as an agent presents it. Exit code 0 and the arguments on standard
output: call the tool with these now, once. Anything else: do not. Needs PyJWT with cryptography.
"""

import json
import sys
import urllib.error
import urllib.request

import jwt


def read(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def let_through(gate, audience, tool, call):
    """The arguments to call the tool with. Raises whatever stands in the way."""
    # 1. The gate signed it, for us, for this tool, and its time is not over. No more than a cheap first look:
    #    a token that nobody used yet looks like one that was used.
    header = jwt.get_unverified_header(call["grant"])
    if header.get("typ") != "countersign-grant+jwt":
        raise ValueError("this is a token of another kind")
    keys = jwt.PyJWKSet.from_dict(read(f"{gate}/.well-known/jwks.json"))
    claims = jwt.decode(
        call["grant"], keys[header["kid"]], algorithms=["EdDSA"], issuer=gate, audience=audience,
        options={"require": ["exp", "nbf", "aud", "iss", "jti"]},
    )
    if claims["tool"] != tool:
        raise ValueError("this grant is for another tool")
    # 2. The gate uses it up, for exactly these arguments. Only its 200 lets the call through.
    used = read(f"{gate}/v1/grants/consume", {**call, "audience": audience})
    return used["arguments"]


if __name__ == "__main__":
    try:
        print(json.dumps(let_through(*sys.argv[1:4], json.load(sys.stdin))))
    except urllib.error.HTTPError as refused:
        sys.exit(f"refused by the gate: {json.load(refused)['detail']}")
    except Exception as error:
        sys.exit(f"refused: {error}")
