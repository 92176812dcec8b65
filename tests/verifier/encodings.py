"""Strict readers: JSON (RFC 8259) and its canonical form (RFC 8785), base64url, hexadecimal, times."""

import base64
import datetime
import functools
import hashlib
import json
import re
from decimal import Decimal
from json.encoder import encode_basestring

DEEPEST_NESTING = 127

class Broken(ValueError):
    """Something does not hold. The code is that of the check that was made, unless it names its own."""
    def __init__(self, sentence, code=None):
        super().__init__(sentence)
        self.code = code

def require(holds, sentence, code=None):
    if not holds:
        raise Broken(sentence, code)

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def digest_of(text):
    return sha256(text.encode()).hex()

def read_json(data):
    """Any JSON text without repeated members; bytes must be UTF-8 without a byte order mark."""
    try:
        text = data if isinstance(data, str) else data.decode()
        value = json.loads(text, object_pairs_hook=_members, parse_constant=lambda name: require(False, f"{name} is no JSON"))
        if text.count("[") + text.count("{") > DEEPEST_NESTING:
            require(_depth(value) <= DEEPEST_NESTING, "the JSON is nested too deeply")
        if "\\u" in text:  # Refuses surrogates that stand alone.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except Broken:
        raise
    except (ValueError, RecursionError) as error:
        raise Broken(f"this is no JSON in UTF-8: {error}") from None

def _members(pairs):
    members = dict(pairs)
    require(len(members) == len(pairs), "a member of the JSON is repeated")
    return members

def _depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)

def canonical(value):
    """The canonical JSON text of a value (RFC 8785)."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{encode_basestring(name)}:{canonical(value[name])}" for name in names) + "}"
    return _canonical_number(value)

def _canonical_number(number):
    """A number as ECMAScript writes it (Number::toString): the shortest digits of the double."""
    require(abs(number) < 2**1024, "a number of the JSON is beyond every double")
    sign, digits, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    digits = "".join(map(str, digits))
    point = len(digits) + exponent
    if digits == "0":
        return digits
    if len(digits) <= point <= 21:
        text = digits + "0" * exponent
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1:+d}"
    return "-" * sign + text

def read_canonical(data):
    """The value of a JSON text that is in canonical form, and of no other."""
    value = read_json(data)
    require(canonical(value) == (data if isinstance(data, str) else data.decode()), "the JSON is not in its canonical form (RFC 8785)")
    return value

def same(one, other):
    """Whether two values are the same JSON; Python would take 1 for true."""
    return canonical(one) == canonical(other)

def from_base64url(text):
    is_alphabet = isinstance(text, str) and re.fullmatch("[A-Za-z0-9_-]*", text) and len(text) % 4 != 1
    require(is_alphabet, "this is no base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    require(to_base64url(data) == text, "this base64url has stray bits")
    return data

def to_base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

def from_base64(text, length):
    """Standard base64 with padding, of so many bytes."""
    require(re.fullmatch("[A-Za-z0-9+/]*={0,2}", text) and len(text) % 4 == 0, "this is no base64")
    data = base64.b64decode(text)
    require(len(data) == length and base64.b64encode(data).decode() == text, f"this is no base64 of {length} bytes")
    return data

def from_hex(text, length):
    require(re.fullmatch(f"[0-9a-f]{{{2 * length}}}", text), f"this is not {length} bytes in lower-case hexadecimal")
    return bytes.fromhex(text)

TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,8}[1-9]))?Z", re.ASCII)

@functools.lru_cache(maxsize=4096)
def nanoseconds(text):
    """A time in its one spelling: no offset but Z, no zero at the end of a fraction."""
    parts = TIME.fullmatch(text)
    require(parts, "this is no time in UTC")
    try:
        since = datetime.datetime(*map(int, parts.groups()[:6])) - datetime.datetime(1970, 1, 1)
    except ValueError:
        raise Broken("this is no time that exists") from None
    return (since.days * 86400 + since.seconds) * 10**9 + int((parts[7] or "0").ljust(9, "0"))
