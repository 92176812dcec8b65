"""Strict readers of JSON (RFC 8259, RFC 8785), base64url and times, and the forms of shapes.txt."""

import base64, datetime, decimal, functools, hashlib, json, pathlib, re

encode_scalar = json.JSONEncoder(ensure_ascii=False).encode
sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
digest_of = lambda fact: sha256((fact if isinstance(fact, str) else canonical(fact)).encode()).hex()
to_base64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
all_differ = lambda values: len({*(values := list(values))}) == len(values)

def require(holds, detail=""):
    """Raises a ValueError if something does not hold: the check that has begun, has failed."""
    if not holds:
        raise ValueError(detail)

def read_json(text):
    """The value of a JSON text without byte order mark, repeated members or lone surrogates."""
    once = lambda pairs: dict(pairs) if len(dict(pairs)) == len(pairs) else require(False, "a member is repeated")
    whole = lambda digits: int(digits) if digits != "-0" and abs(float(digits)) < float("inf") else float(digits)
    value = json.loads(text, object_pairs_hook=once, parse_int=whole)
    canonical(value).encode()
    return value

def canonical(value, deepest=127):
    """The canonical JSON text of a value (RFC 8785)."""
    require(deepest or not isinstance(value, dict | list), "JSON is nested too deeply")
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{encode_scalar(name)}:{canonical(value[name], deepest - 1)}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, deepest - 1) for item in value) + "]"
    if type(value) not in (int, float):
        return encode_scalar(value)
    # As ECMAScript writes it (Number::toString). Python gives the same shortest digits.
    number = float(value) or 0.0
    require(abs(number) < float("inf"), "a number is beyond every double")
    is_plain = number == 0 or 1e-6 <= abs(number) < 1e21
    return format(decimal.Decimal(repr(number)).normalize(), "f") if is_plain else repr(number).replace("e-0", "e-")

def from_base64url(text, form="base64url"):
    """The bytes of base64url without padding, or of another form of base64, in its one spelling."""
    require(has_form(text, form), "base64 is not canonical, or too short or long")
    return base64.b64decode(text + "==", b"-_")

def nanoseconds(text):
    """A time in its one spelling: no offset but Z, no zero at the end of a fraction."""
    require(parts := re.fullmatch(r"((?!0000|9999)\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,8}[1-9]))?Z", text, re.ASCII), "this is no time")
    whole = datetime.datetime(*map(int, parts.groups()[:6]), tzinfo=datetime.UTC).timestamp()
    return int(whole) * 10**9 + int((parts[7] or "0").ljust(9, "0"))

# A form is a function, or each kind of object that it may be: the forms of its members, and those that it needs.
FORMS = {"any": lambda value: True, "given": lambda value: value is not None, "text": str.__instancecheck__, "bytes": bytes.__instancecheck__}
FORMS["time"] = lambda value: type(value) is str and nanoseconds(value) is not None
OF_FACT = {"$": lambda fact: fact, "#": digest_of, "%": lambda text: to_base64url(sha256(text.encode()))}
for name, *words in map(str.split, pathlib.Path(__file__).with_name("shapes.txt").read_text().splitlines()):
    if words[0] == "from":
        FORMS[name] = lambda value, numbers=range(int(words[1]), int(words[3]) + 1): type(value) is int and value in numbers
    elif words[0] == "=":
        FORMS[name] = lambda value, like=re.compile(words[1], re.A | re.S): isinstance(value, str | int | float | None) and bool(like.fullmatch(canonical(value)))
    elif name != "#":
        members = {"...?": "never"} | dict(word.split(":", 1) for word in words)
        FORMS.setdefault(name, []).append(({member.rstrip("?"): form for member, form in members.items()}, {member for member in members if member[-1] != "?"}))

def has_form(value, form, facts={}):
    """Whether it has this form, with these facts. What a reader of texts refuses, raises that reader's ValueError."""
    if form[-1] in "*+":
        return type(value) is list and len(value) >= (form[-1] == "+") and all(has_form(item, form[:-1], facts) for item in value)
    if form[0] == "=":
        return value == form[1:]
    if form[0] in OF_FACT:
        return form[1:] in facts and canonical(value) == canonical(OF_FACT[form[0]](facts[form[1:]]))
    if form[0] == "@":
        return type(value) is str and read(value, form[1:]) is not None
    if callable(FORMS[form]):
        return FORMS[form](value)
    return type(value) is dict and any(
        needed <= {name if name in forms else "..." for name in value} and
        all(has_form(inner, forms.get(name, forms["..."]), facts) for name, inner in value.items())
        for forms, needed in FORMS[form])

@functools.lru_cache(maxsize=256)
def read(text, form):
    """The value of a JSON text that is in its canonical spelling and of this form. Nobody changes it."""
    require(canonical(value := read_json(text)) == text and has_form(value, form), f"the {form.lower()} has another form or spelling")
    return value
