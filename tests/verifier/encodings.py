"""Strict readers: JSON (RFC 8259), its canonical form (RFC 8785), base64url, times. They raise ValueError."""

import base64
import datetime
import hashlib
import json
import re
from decimal import Decimal

DEEPEST_NESTING = 127
encode_scalar = json.JSONEncoder(ensure_ascii=False).encode

def require(holds, detail="", code=None):
    """Raises a ValueError if something does not hold, with its code if that is not the one of the check."""
    if not holds:
        error = ValueError(detail)
        error.code = code
        raise error

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def digest_of(text):
    return sha256(text.encode()).hex()

def read_json(data):
    """The value of a JSON text in UTF-8 without byte order mark, repeated members or lone surrogates."""
    text = data if isinstance(data, str) else data.decode()
    hooks = dict.fromkeys(["parse_float", "parse_int", "parse_constant"], _number)
    value = json.loads(text, object_pairs_hook=_members, **hooks)
    require(_depth(value) <= DEEPEST_NESTING, "JSON is nested too deeply")
    encode_scalar(value).encode()
    return value

def _members(pairs):
    members = dict(pairs)
    require(len(members) == len(pairs), "a member is repeated")
    return members

def _number(text):
    number = float(text)
    require(abs(number) < float("inf"), "a number is beyond every double")
    return int(text) if text != "-0" and text.lstrip("-").isdigit() else number

def _depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)

def canonical(value):
    """The canonical JSON text of a value (RFC 8785)."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{encode_scalar(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return _canonical_number(float(value)) if type(value) in (int, float) else encode_scalar(value)

def _canonical_number(number):
    """A number as ECMAScript writes it (Number::toString). Python gives the same shortest digits."""
    if not 1e-6 <= abs(number) < 1e21:
        return repr(number).replace("e-0", "e-") if number else "0"
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

def read_canonical(data):
    """The value of a JSON text that is in canonical form, and of no other."""
    value = read_json(data)
    is_canonical = canonical(value).encode() == (data.encode() if isinstance(data, str) else data)
    require(is_canonical, "JSON is not in its canonical form (RFC 8785)")
    return value

def same(one, other):
    """Whether two values are the same JSON; Python would take 1 for true."""
    return canonical(one) == canonical(other)

def from_base64url(text):
    require(isinstance(text, str), "what should be base64url is no text")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    require(to_base64url(data) == text, "base64url is not canonical")
    return data

def to_base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

def nanoseconds(text):
    """A time in its one spelling: no offset but Z, no zero at the end of a fraction."""
    form = r"((?!0000|9999)\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,8}[1-9]))?Z"
    parts = re.fullmatch(form, text, re.ASCII)
    require(parts, "this is no time")
    since = datetime.datetime(*map(int, parts.groups()[:6])) - datetime.datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * 10**9 + int((parts[7] or "0").ljust(9, "0"))
