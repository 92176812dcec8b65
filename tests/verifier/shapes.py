"""Whether a value looks like its description in shapes.txt."""

import functools
import re
from pathlib import Path

from .encodings import canonical, from_base64url, nanoseconds, read_canonical, require

# A form is a type, a range of whole numbers, a regular expression of the canonical JSON, a function, or a tag with
# the members of each variant.
FORMS = {
    "any": lambda value: True, "given": lambda value: value is not None,
    "bytes": bytes, "object": dict, "text": str,
    "patterns": lambda value: type(value) is dict and has_form([*value.values()], "text**"),
    "byte": range(2**8), "unsigned": range(2**64), "signed": range(-2**63, 2**63),
    "base64url": lambda value: from_base64url(value) is not None,
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
    """Whether it has this form. What a reader that is a form refuses, raises that reader's ValueError."""
    if form[-1] in "*+":
        is_list = type(value) is list and len(value) >= (form[-1] == "+")
        return is_list and all(has_form(item, form[:-1]) for item in value)
    match FORMS.get(form):
        case None:
            return value == form.removeprefix("=")
        case type() as kind:
            return type(value) is kind
        case range() as numbers:
            return type(value) is int and value in numbers
        case re.Pattern() as pattern:
            return type(value) not in (dict, list) and pattern.fullmatch(canonical(value)) is not None
        case (tag, variants):
            pass
        case function:
            return function(value)
    is_told = type(value) is dict and isinstance(value.get(tag), str | None) and value.get(tag) in variants
    members = variants[value.get(tag)] if is_told else {}
    # A member called `...` stands for all others.
    return is_told and (value.keys() <= members.keys() or "..." in members) and all(
        has_form(value[name], kind) if name in value else may_lack
        for name, (kind, may_lack) in members.items())

@functools.lru_cache(maxsize=1024)
def read(text, form):
    """The value of a canonical JSON text of this form. Nobody changes it."""
    value = read_canonical(text)
    require(has_form(value, form), f"the {form.lower()} has members that are missing, unknown or malformed")
    return value
