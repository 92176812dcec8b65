"""What each document must look like: every member that must be there, that may be (?), and no other."""

import functools
import re

from .encodings import Broken, from_base64url, from_hex, nanoseconds, read_canonical, require

# NAME or NAME(TAG=VARIANT), then members with their forms: `*` is a list, `+` one that is not empty, `=` the very text.
TABLE = """
Person issuer:text subject:text
Share revision:text percent:byte
Step percent:byte traffic:Share*
Plan revision:text steps:Step* rollback:Share*
Commit headline:text author?:text authored_at?:time url:text
Link title:text url:text
Before(service=absent)
Before(service=present) uid:text generation:signed serving:Share* running:any
Requester issuer:text issuer_url:text subject:text key:text claims:object
Deployment schema:=countersign/deployment/v1 approval:approval audience:text environment:text service:service image:image \
 proposed:any plan:Plan preconditions:Before requester:Requester commit?:Commit reason:text title?:text body?:text \
 links?:Link+ policy_digest:digest requested_at:time expires_at:time
Admitted issuer:text claims:patterns
Rule from:principal* count:byte
Policy schema:=countersign/policy/v1 environment:text services:service* images:text* requesters:Admitted* rules:Rule* \
 expires_in_seconds:unsigned default_steps:byte*
Digest sha256:digest
Subject name:text digest:Digest
Predicate decision:verdict reason?:text deployment:Deployment policy_digest:digest approver:Person credentials:text* \
 sign_in_digest:digest audience:text nonce:nonce issued_at:time expires_at:time
Statement _type:text predicateType:text subject:Subject* predicate:Predicate
Call(kind=create_service)
Call(kind=create_revision)
Call(kind=move_traffic) step:unsigned
Call(kind=restore)
Intent call:Call etag?:text at:time
Progress revision_ready:boolean steps_done:unsigned generation?:signed restoring?:text intent?:Intent
Serving revision:text uri:text traffic:Share* generation:signed observed_at:time
State(status=pending)
State(status=approved) at:time
State(status=executing) since:time progress:Progress
State(status=succeeded) at:time serving:Serving
State(status=failed) at:time reason:text
State(status=rolled_back) at:time reason:text
State(status=needs_attention) at:time reason:text progress:Progress
State(status=rejected) at:time by:Person name:text reason:text_or_null
State(status=expired) at:time
State(status=cancelled) at:time
State(status=superseded) at:time by:approval
State(status=withdrawn) at:time by:Person
Decision person:Person name:text groups:text* verdict:verdict reason:text_or_null decided_at:time statement_digest:digest \
 credential:text assertion_digest:digest sign_in_key:text
Approval id:approval version:unsigned deployment_digest:digest policy_digest:digest state:State decisions:Decision* \
 previous?:digest
Record schema:=countersign/record/v1 kind:text at:time approval?:Approval data?:not_null
SignIn id_token:text key:text
Entry index:unsigned record:text salt:digest previous_root:digest signature:signature inclusion:digest*
Token token:text key:text
Signed statement:text credential_id:base64url authenticator_data:base64url client_data_json:base64url \
 signature:base64url user_handle?:base64url sign_in:SignIn
Enrolment registration:text sign_in:SignIn entry:Entry
Evidence schema:=countersign/evidence/v1 deployment:text policy:text requester:Token decisions:Signed* \
 credentials:Enrolment* entries:Entry* checkpoint:text
Login issuer:text client_id:text groups_claim:text keys:text*
Issuer name:text issuer:text audience:text keys:text*
Trust schema:=countersign/trust/v1 note?:text_or_null origin:text rp_id:text log:text login:Login workload_issuers:Issuer*
"""
PART = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
SERVICE = rf"projects/{PART}(?:[.:]{PART})*/locations/{PART}/services/(?=[^/]{{1,49}}$){PART}"
IMAGE = r"(?=[^@]{3,255}@)(?!\.{1,2}/)[a-z0-9._:-]+(?:/(?!\.{1,2}[/@])[a-z0-9._:-]+)*/(?!\.{1,2}@)[a-z0-9._-]+@sha256:[0-9a-f]{64}"

def matches(expression):
    return lambda value: type(value) is str and re.fullmatch(expression, value, re.ASCII | re.DOTALL) is not None

def readable(read):
    def is_readable(value):
        try:
            return type(value) is str and read(value) is not False
        except Broken:
            return False
    return is_readable

FORMS = {
    "any": lambda value: True, "not_null": lambda value: value is not None, "object": lambda value: type(value) is dict,
    "text": lambda value: type(value) is str, "text_or_null": lambda value: value is None or type(value) is str,
    "boolean": lambda value: type(value) is bool, "byte": lambda value: type(value) is int and 0 <= value < 2**8,
    "unsigned": lambda value: type(value) is int and 0 <= value < 2**64,
    "signed": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "patterns": lambda value: type(value) is dict and all(has_form(texts, "text*") for texts in value.values()),
    "time": readable(nanoseconds), "base64url": readable(from_base64url), "digest": matches("[0-9a-f]{64}"),
    "nonce": readable(lambda text: len(from_base64url(text)) == 32), "signature": readable(lambda text: from_hex(text, 64)),
    "approval": matches("apr_[a-z2-7]{26}"), "verdict": matches("approve|reject"), "service": matches(SERVICE),
    "image": matches(IMAGE), "principal": matches("(?:group|person):.+"),
}
for head, *fields in map(str.split, TABLE.replace("\\\n", "").strip().splitlines()):
    name, tag, variant = re.fullmatch(r"(\w+)(?:\((\w+)=(\w+)\))?", head).groups()
    forms = {field.partition(":")[0]: field.partition(":")[2] for field in fields} | ({tag: f"={variant}"} if tag else {})
    FORMS.setdefault(name, (tag, {}))[1][variant] = forms

def has_form(value, form):
    if form[-1] in "*+":
        is_list = type(value) is list and (value or form[-1] == "*")
        return is_list and all(has_form(item, form[:-1]) for item in value)
    if form[0] == "=":
        return value == form[1:]
    if callable(FORMS[form]):
        return FORMS[form](value)
    tag, variants = FORMS[form]
    if type(value) is not dict or not isinstance(value.get(tag), str | None):
        return False
    members = variants.get(value.get(tag), {"": "any"})
    known = {name.rstrip("?") for name in members}
    return value.keys() <= known and all(
        has_form(value[name.rstrip("?")], kind) if name.rstrip("?") in value else name[-1:] == "?"
        for name, kind in members.items())

@functools.lru_cache(maxsize=1024)
def read(text, form):
    """The value of a canonical JSON text of this form. Nobody changes it."""
    value = read_canonical(text)
    require(has_form(value, form), f"the {form.lower()} has members that are missing, unknown or malformed")
    return value
