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
    """The value of a JSON text in UTF-8 without a byte order mark, repeated members or surrogates that stand alone."""
    try:
        text = data if isinstance(data, str) else data.decode()
        hooks = {"parse_float": _double, "parse_int": _whole, "parse_constant": _double}
        value = json.loads(text, object_pairs_hook=_members, **hooks)
        too_many = text.count("[") + text.count("{") > DEEPEST_NESTING
        require(not too_many or _depth(value) <= DEEPEST_NESTING, "it is nested too deeply")
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise Broken(f"this is no strict JSON: {error}") from None

def _members(pairs):
    members = dict(pairs)
    require(len(members) == len(pairs), "a member is repeated")
    return members

def _double(text):
    require(abs(float(text)) < float("inf"), "a number is beyond every double")
    return float(text)

def _whole(text):
    _double(text)
    return int(text)

def _depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)

def canonical(value):
    """The canonical JSON text of a value (RFC 8785)."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{encode_basestring(name)}:{canonical(value[name])}" for name in names) + "}"
    return json.dumps(value) if value is None or isinstance(value, bool) else _canonical_number(value)

def _canonical_number(number):
    """A number as ECMAScript writes it (Number::toString): the shortest digits of the double."""
    sign, digits, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    digits = "".join(map(str, digits))
    point = len(digits) + exponent
    if digits == "0":
        return digits
    if 0 < point <= 21:
        text = digits + "0" * exponent if exponent >= 0 else f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + f".{digits[1:]}".rstrip(".") + f"e{point - 1:+d}"
    return "-" * sign + text

def read_canonical(data):
    """The value of a JSON text that is in canonical form, and of no other."""
    value, text = read_json(data), data if isinstance(data, str) else data.decode(errors="replace")
    require(canonical(value) == text, "the JSON is not in its canonical form (RFC 8785)")
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
    is_alphabet = re.fullmatch("[A-Za-z0-9+/]+={0,2}", text) and len(text) % 4 == 0
    data = base64.b64decode(text) if is_alphabet else b""
    require(len(data) == length and base64.b64encode(data).decode() == text, f"this is no base64 of {length} bytes")
    return data

def from_hex(text, length):
    require(re.fullmatch(f"[0-9a-f]{{{2 * length}}}", text), f"this is not {length} bytes in lower-case hexadecimal")
    return bytes.fromhex(text)

@functools.lru_cache(maxsize=4096)
def nanoseconds(text):
    """A time in its one spelling (no offset but Z, no zero at the end of a fraction), or nothing."""
    parts = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,8}[1-9]))?Z", text, re.ASCII)
    try:
        since = parts and datetime.datetime(*map(int, parts.groups()[:6])) - datetime.datetime(1970, 1, 1)
    except ValueError:
        return None
    return parts and (since.days * 86400 + since.seconds) * 10**9 + int((parts[7] or "0").ljust(9, "0"))
