"""Whether a document looks like its description in shapes.txt."""

import re
from pathlib import Path

from .encodings import canonical, from_base64url, nanoseconds

def is_time(value):
    return type(value) is str and nanoseconds(value) is not None

def is_base64url(value):
    try:
        return from_base64url(value) is not None
    except ValueError:
        return False

def is_patterns(value):
    return type(value) is dict and all(has_form(texts, "text*") for texts in value.values())

# A form is a function, a regular expression of the canonical JSON, or a tag with the members of each variant.
FORMS = {"any": lambda value: True, "object": lambda value: type(value) is dict}
FORMS |= {"text": lambda value: type(value) is str}
FORMS |= {"given": lambda value: value is not None, "time": is_time, "base64url": is_base64url, "patterns": is_patterns}
FORMS["index"] = lambda value: type(value) is int and 0 <= value < 2**53
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
    return is_told and value.keys() <= members.keys() and all(
        has_form(value[name], kind) if name in value else may_lack for name, (kind, may_lack) in members.items())
