"""Whether a value looks like its description in shapes.txt."""

import functools
import re
from pathlib import Path

from .encodings import canonical, from_base64url, nanoseconds, read_canonical, require

def is_text(value, reader=str):
    try:
        return type(value) is str and reader(value) is not None
    except ValueError:
        return False

def is_whole(value, least, end):
    return type(value) is int and least <= value < end

# A form is a function, a regular expression of the canonical JSON, or a tag with the members of each variant.
FORMS = {
    "any": lambda value: True, "given": lambda value: value is not None, "bytes": lambda value: type(value) is bytes,
    "object": lambda value: type(value) is dict, "text": is_text, "time": lambda value: is_text(value, nanoseconds),
    "base64url": lambda value: is_text(value, from_base64url), "byte": lambda value: is_whole(value, 0, 2**8),
    "signed": lambda value: is_whole(value, -2**63, 2**63), "unsigned": lambda value: is_whole(value, 0, 2**64),
    "patterns": lambda value: type(value) is dict and all(has_form(texts, "text*") for texts in value.values()),
}
for line in Path(__file__).with_name("shapes.txt").read_text().splitlines():
    head, *members = line.split()
    name, tag, variant = re.fullmatch(r"([\w#]+)(?:\((\w+)=(\w+)\))?", head).groups()
    if members[:1] == ["="]:
        FORMS[name] = re.compile(members[1], re.ASCII | re.DOTALL)
    elif name != "#":
        kinds = dict(member.split(":", 1) for member in members) | ({tag: f"={variant}"} if tag else {})
        shape = {member.rstrip("?"): (kind, member[-1] == "?") for member, kind in kinds.items()}
        FORMS.setdefault(name, (tag, {}))[1][variant] = shape

def has_form(value, form):
    if form[-1] in "*+":
        is_list = type(value) is list and len(value) >= (form[-1] == "+")
        return is_list and all(has_form(item, form[:-1]) for item in value)
    if form[0] == "=" or callable(FORMS[form]):
        return value == form[1:] if form[0] == "=" else FORMS[form](value)
    if isinstance(FORMS[form], re.Pattern):
        return not isinstance(value, dict | list) and FORMS[form].fullmatch(canonical(value)) is not None
    tag, variants = FORMS[form]
    is_told = type(value) is dict and isinstance(value.get(tag), str | None) and value.get(tag) in variants
    members = variants[value.get(tag)] if is_told else {}
    # A member called `...` stands for all others.
    return is_told and (value.keys() <= members.keys() or "..." in members) and all(
        has_form(value[name], kind) if name in value else may_lack for name, (kind, may_lack) in members.items())

@functools.lru_cache(maxsize=1024)
def read(text, form):
    """The value of a canonical JSON text of this form. Nobody changes it."""
    value = read_canonical(text)
    require(has_form(value, form), f"the {form.lower()} has members that are missing, unknown or malformed")
    return value
