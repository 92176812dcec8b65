"""Strict readers of JSON (RFC 8259, RFC 8785), base64url and times, and the forms of shapes.txt."""

import base64, datetime, functools, hashlib, json, re
from decimal import Decimal
from pathlib import Path

encode_scalar = json.JSONEncoder(ensure_ascii=False).encode
sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
digest_of = lambda text: sha256(text.encode()).hex()
to_base64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
thumbprint = lambda key_text: to_base64url(sha256(key_text.encode()))

def require(holds, detail="", code=None):
    """Raises a ValueError if something does not hold, with its code if that is not the one of the check."""
    if not holds:
        error = ValueError(detail)
        error.code = code
        raise error

def read_json(data):
    """The value of a JSON text in UTF-8 without byte order mark, repeated members or lone surrogates."""
    numbers = dict.fromkeys(["parse_float", "parse_int", "parse_constant"], _number)
    once = lambda pairs: dict(pairs) if len(dict(pairs)) == len(pairs) else require(False, "a member is repeated")
    value = json.loads(data if isinstance(data, str) else data.decode(), object_pairs_hook=once, **numbers)
    require(_depth(value) <= 127, "JSON is nested too deeply")
    encode_scalar(value).encode()
    return value

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
    if type(value) not in (int, float):
        return encode_scalar(value)
    # As ECMAScript writes it (Number::toString). Python gives the same shortest digits.
    number = float(value)
    if not 1e-6 <= abs(number) < 1e21:
        return repr(number).replace("e-0", "e-") if number else "0"
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

def from_base64url(text, length=None):
    """The bytes of base64url without padding or, where their number is told, of base64 with it."""
    require(isinstance(text, str), "what should be base64 is no text")
    data = base64.b64decode(text) if length else base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    told = base64.b64encode(data).decode() if length else to_base64url(data)
    require(told == text and length in (None, len(data)), "base64 is not canonical, or too short or long")
    return data

def nanoseconds(text):
    """A time in its one spelling: no offset but Z, no zero at the end of a fraction."""
    parts = re.fullmatch(r"((?!0000|9999)\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,8}[1-9]))?Z", text, re.ASCII)
    require(parts, "this is no time")
    since = datetime.datetime(*map(int, parts.groups()[:6])) - datetime.datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * 10**9 + int((parts[7] or "0").ljust(9, "0"))

is_of = lambda numbers: lambda value: type(value) is int and value in numbers
# A form is a function, a regular expression of the canonical JSON, or a tag with the members of each variant.
FORMS = {
    "any": lambda value: True, "given": lambda value: value is not None, "text": str.__instancecheck__,
    "object": dict.__instancecheck__, "bytes": bytes.__instancecheck__,
    "patterns": lambda value: type(value) is dict and has_form([*value.values()], "text**"),
    "texts": lambda value: type(value) is dict and has_form([*value.values()], "text+"),
    "byte": is_of(range(2**8)), "unsigned": is_of(range(2**64)), "signed": is_of(range(-2**63, 2**63)),
    "time": lambda value: type(value) is str and nanoseconds(value) is not None,
}
for line in Path(__file__).with_name("shapes.txt").read_text().splitlines():
    head, *members = line.split()
    name, tag, variant = re.fullmatch(r"([\w#]+)(?:\((\w+)=(.+)\))?", head).groups()
    if members[:1] == ["="]:
        FORMS[name] = re.compile(members[1], re.ASCII | re.DOTALL)
    elif name != "#":
        kinds = dict(member.split(":", 1) for member in members) | ({tag: f"={variant}"} if tag else {})
        shape = {member.rstrip("?"): (kind, member[-1] == "?") for member, kind in kinds.items()}
        FORMS.setdefault(name, (tag, {}))[1][variant] = shape

def has_form(value, form):
    """Whether it has this form. What the reader of a text refuses, raises that reader's ValueError."""
    if form[-1] in "*+":
        return type(value) is list and len(value) >= (form[-1] == "+") and all(has_form(item, form[:-1]) for item in value)
    known = FORMS.get(form)
    if form[0] == "=" or callable(known):
        return value == form[1:] if form[0] == "=" else known(value)
    if isinstance(known, re.Pattern):
        return not isinstance(value, dict | list) and known.fullmatch(canonical(value)) is not None
    variants, told = known[1], type(value) is dict and value.get(known[0])
    members = isinstance(told, str | None) and variants.get(told, variants.get(None))
    return bool(members) and (value.keys() <= members.keys() or "..." in members) and all(
        has_form(value[one], kind) if one in value else may_lack for one, (kind, may_lack) in members.items())

@functools.lru_cache(maxsize=256)
def read(data, form):
    """The value of a JSON text that is in its canonical spelling and of this form. Nobody changes it."""
    is_canonical = canonical(value := read_json(data)).encode() == (data.encode() if isinstance(data, str) else data)
    require(is_canonical and has_form(value, form), f"the {form.lower()} has another form or spelling")
    return value
