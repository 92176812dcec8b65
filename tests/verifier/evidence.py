"""The checks of an evidence file, in the documented order. Each is called by the code that its failure gives."""

import functools
import sys
from types import SimpleNamespace

from . import log, webauthn
from .encodings import Broken, canonical, digest_of, from_base64url, nanoseconds, read_canonical, read_json, require
from .encodings import same, sha256, to_base64url
from .shapes import has_form
from .signatures import check_token, claims_of, read_key, thumbprint

LARGEST_FILE, LONGEST_TOKEN, SECOND = 4 * 1024 * 1024, 16 * 1024, 10**9
LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 30 * SECOND, 300 * SECOND, 900 * SECOND
PAYLOAD_TYPE = b"application/vnd.in-toto+json"
TYPES = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:countersign:predicate:decision:v1"}
sys.setrecursionlimit(5000)  # `fills` may go as deep as there are people in a file.
APPROVED = {"approved", "executing", "succeeded", "failed", "rolled_back", "needs_attention"}

def read_trust(data):
    """The trust anchors, checked for their form."""
    trust = read_json(data)
    require(has_form(trust, "Trust"), "the trust anchors have members that are missing, unknown or malformed")
    log.read_verifier_key(trust["log"])
    for issuer in [trust["login"], *trust["workload_issuers"]]:
        list(map(read_key, issuer["keys"]))
    return trust

def verify(data, trust):
    """The verdict on the bytes of a file. Never raises."""
    case, code = SimpleNamespace(trust=trust, data=data), None
    try:
        for check in CHECKS:
            code = check.__name__
            check(case)
    except Broken as broken:
        return verdict("invalid", str(broken), broken.code or code)
    except Exception as error:  # A defect of this program: nothing is accepted, and it is seen.
        return verdict("invalid", f"{type(error).__name__} in {code}: {error}", "internal_error")
    status, approval = case.state["status"], case.deployment["approval"]
    outcome = "approved" if status in APPROVED else "not_approved"
    return verdict(outcome, f"Everything holds. The status of the approval is {status}.", None, status, approval)

def verdict(outcome, sentence, code, status=None, approval=None):
    return {"verdict": outcome, "status": status, "approval": approval, "code": code, "sentence": sentence}

def malformed(case):
    require(len(case.data) <= LARGEST_FILE, "the file is larger than 4 MiB")
    case.file = file = read_canonical(case.data)
    require(has_form(file, "Evidence"), "the file has members that are missing, unknown or malformed")
    case.signers = [one["sign_in"] for one in file["credentials"] + file["decisions"]]
    for signer in [file["requester"], *case.signers]:
        read_key(signer["key"])
    for token in [file["requester"]["token"], *(signer["id_token"] for signer in case.signers)]:
        parts = token.split(".")
        require(len(token) <= LONGEST_TOKEN and len(parts) == 3, "a token is longer than 16 KiB or has not three parts")
        list(map(from_base64url, parts))
    case.deployment, case.policy = read_text(file["deployment"], "deployment"), read_text(file["policy"], "policy")
    case.digest = digest_of(file["deployment"])
    case.decisions = [SimpleNamespace(file=one, statement=read_text(one["statement"])) for one in file["decisions"]]
    case.entries = [log.Entry(entry, read_text(entry["record"], "record")) for entry in file["entries"]]
    enrolments = [credential["entry"] for credential in file["credentials"]]
    case.enrolments = [log.Entry(entry, read_text(entry["record"], "record")) for entry in enrolments]

@functools.lru_cache(maxsize=1024)
def read_text(text, kind=None):
    """The object of a text in canonical JSON, of this kind of schema if of any. Nobody changes it."""
    value = read_canonical(text)
    is_ours = isinstance(value, dict) and (not kind or value.get("schema") == f"countersign/{kind}/v1")
    require(is_ours, "a text is no object of its schema")
    return value

def audience_mismatch(case):
    require(case.deployment.get("audience") == case.trust["origin"], "the deployment is meant for another gate")

def policy_mismatch(case):
    digest, environment = case.deployment.get("policy_digest"), case.deployment.get("environment")
    is_named = digest_of(case.file["policy"]) == digest and isinstance(environment, str)
    require(is_named and case.policy.get("environment") == environment, "the policy is not the deployment's")

def checkpoint_invalid(case):
    case.size, case.root = log.read_checkpoint(case.file["checkpoint"], case.trust["log"])

def entry_not_included(case):
    for entry in case.entries + case.enrolments:
        root = log.root_of_path(entry.leaf, entry.index, case.size, entry.inclusion)
        require(root == case.root, f"entry {entry.index} is not in the checkpoint's tree")

def entry_signature_invalid(case):
    for entry in case.entries + case.enrolments:
        require(entry.is_signed_by(case.trust["log"]), f"the log key did not sign entry {entry.index} in its place")

def chain_broken(case):
    is_typed = has_form(case.deployment, "Deployment") and has_form(case.policy, "Policy")
    is_typed = is_typed and has_form([entry.record for entry in case.entries], "Record+")
    require(is_typed, "there is no entry, or a text has members that are missing, unknown or malformed")
    deployment_id, policy_digest = case.deployment["approval"], case.deployment["policy_digest"]
    named = {"id": deployment_id, "deployment_digest": case.digest, "policy_digest": policy_digest}
    before, case.recorded = None, []
    for version, entry in enumerate(case.entries, 1):
        approval, previous = entry.record.get("approval", {}), before and before.hash.hex()
        is_next = approval | named | {"version": version} == approval and approval.get("previous") == previous
        require(is_next, f"entry {entry.index} is not version {version} of this approval after the one before")
        entry.at, known = nanoseconds(entry.record["at"]), len(case.recorded)
        is_later = before and entry.index > before.index and entry.at >= before.at
        is_first = before is None and entry.record["kind"] == "approval.requested"
        require(is_first or is_later, f"entry {entry.index} is no request, or not after the entry before it")
        require(approval["decisions"][:known] == case.recorded, f"entry {entry.index} changes a recorded decision")
        for decision in case.decisions[known:len(approval["decisions"])]:
            decision.entry = entry
        before, case.recorded, case.state = entry, approval["decisions"], approval["state"]

def requester_mismatch(case):
    requester, token, key = case.deployment["requester"], *map(case.file["requester"].get, ("token", "key"))
    noted = {"token_digest": digest_of(token), "token_key": thumbprint(key)}
    require(case.entries[0].record.get("data") == noted, "the log recorded another token or key of the requester")
    claims = claims_of(token)
    named = requester["claims"] | {"iss": requester["issuer_url"], "sub": requester["subject"]}
    require(same(claims, requester["claims"]) and same(claims, named), "the token's claims are not the deployment's")
    issuers = {issuer["name"]: issuer for issuer in reversed(case.trust["workload_issuers"])}
    case.issuer, pinned = issuers.get(requester["issuer"], {}), {"issuer": claims["iss"], "audience": claims.get("aud")}
    require(case.issuer | pinned == case.issuer, "no pinned issuer has this name, this iss and this audience")
    asked, until = nanoseconds(case.deployment["requested_at"]), time_of(claims, "exp")
    is_current = all(time_of(claims, name) <= asked + LEEWAY for name in {"iat", *({"nbf"} & claims.keys())})
    require(is_current and asked < until + LEEWAY, "the token was not valid when the deployment was requested")

def time_of(claims, name):
    require(type(claims.get(name)) is int, f"the token's {name} is no time in whole seconds")
    return claims[name] * SECOND

def issuer_key_not_pinned(case):
    key = case.file["requester"]["key"]
    require(key in (case.issuer["keys"] or [key]), "the issuer's key is not pinned")

def token_signature_invalid(case):
    check_token(case.file["requester"]["token"], case.file["requester"]["key"])

def requester_not_allowed(case):
    requester, image = case.deployment["requester"], case.deployment["image"].partition("@")[0]
    rules = [rule["claims"].items() for rule in case.policy["requesters"] if rule["issuer"] == requester["issuer"]]
    admitted = any(all(admits(texts, requester["claims"].get(name)) for name, texts in rule) for rule in rules)
    require(admitted, "the policy does not let this requester ask")
    is_covered = case.deployment["service"] in case.policy["services"] and image in case.policy["images"]
    require(is_covered, "the policy does not cover this service and this image")

def admits(texts, value):
    """Whether a claim is one of the texts; one that ends in `*` means all that begins like it."""
    return isinstance(value, str) and any(
        value == text or text.endswith("*") and value.startswith(text[:-1]) for text in texts)

def person_of(claims):
    return {"issuer": claims.get("iss"), "subject": claims.get("sub")}

def enrolment_invalid(case):
    case.enrolled = {}
    for credential, entry in zip(case.file["credentials"], case.enrolments):
        registration, token, key = credential["registration"], *map(credential["sign_in"].get, ("id_token", "key"))
        registered = webauthn.read_registration(registration, case.trust["origin"], case.trust["rp_id"])
        claims, digest = claims_of(token), digest_of(registration)
        noted = {
            "person": person_of(claims), "credential": to_base64url(registered.credential_id),
            "public_key": to_base64url(registered.cose_key), "aaguid": registered.aaguid.hex(),
            "backup_eligible": registered.backup_eligible, "registration_digest": digest,
            "sign_in_digest": digest_of(token), "sign_in_key": thumbprint(key),
        }
        expected = {"schema": entry.record["schema"], "kind": "credential.registered", "at": entry.record.get("at")}
        is_record = has_form(entry.record, "Record") and same(entry.record, expected | {"data": noted})
        require(is_record, "the log recorded another enrolment")
        is_vouched = claims.get("nonce") == to_base64url(bytes.fromhex(digest))
        require(is_vouched, "the directory vouched for another registration")
        case.enrolled.setdefault(noted["credential"], (registered, noted["person"], entry.index))

def sign_in_invalid(case):
    login, recorded = case.trust["login"], [entry.record["data"] for entry in case.enrolments] + case.recorded
    for place, signer in enumerate(case.signers):
        token, key = signer["id_token"], signer["key"]
        # A decision that was not recorded is left to the next check.
        noted = [data["sign_in_key"] for data in recorded[place:place + 1]]
        require(noted in ([thumbprint(key)], []), "the log recorded another key of the directory")
        require(key in (login["keys"] or [key]), "the directory's key is not pinned", "issuer_key_not_pinned")
        check_token(token, key)
        claims, client = claims_of(token), login["client_id"]
        is_ours = claims.get("iss") == login["issuer"] and claims.get("aud") in (client, [client])
        is_ours = is_ours and claims.get("azp", client) == client
        require(is_ours, "an ID token is not of the pinned directory for the pinned client")

def statement_mismatch(case):
    require(len(case.decisions) == len(case.recorded), "the file does not hold the decisions that the log recorded")
    deployment, nonces = case.deployment, set()
    named = deployment["image"].split("@sha256:"), (deployment["approval"], case.digest)
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in named]
    ours = {"deployment": deployment, "policy_digest": deployment["policy_digest"], "audience": deployment["audience"]}
    for decision, decision.recorded in zip(case.decisions, case.recorded):
        is_typed = has_form(decision.statement, "Statement")
        require(is_typed, "a statement has members that are missing, unknown or malformed")
        file, said = decision.file, decision.statement["predicate"]
        decision.said = said
        nonces.add(said["nonce"])
        members = ("authenticator_data", "client_data_json", "signature", "user_handle")
        assertion = canonical({name: file[name] for name in members if name in file})
        found = {"person": said["approver"], "verdict": said["decision"], "reason": said.get("reason")}
        found |= {"statement_digest": digest_of(file["statement"]), "credential": file["credential_id"]}
        found |= {"assertion_digest": digest_of(assertion)}
        require(decision.recorded | found == decision.recorded, "a decision is not the one that the log recorded")
        is_ours = same(decision.statement, TYPES | {"subject": subjects, "predicate": said | ours})
        is_named = file["credential_id"] in said["credentials"]
        require(is_ours and is_named, "a statement is not about this approval, or does not name the credential")
    require(len(nonces) == len(case.decisions), "two statements have the same nonce")

def statement_time(case):
    for decision in case.decisions:
        issued, expires = (nanoseconds(decision.said[name]) for name in ("issued_at", "expires_at"))
        decision.at = nanoseconds(decision.recorded["decided_at"])
        require(issued <= decision.at < expires, "a decision was not made while its statement was valid")
        last = min(issued + LONGEST_STATEMENT, nanoseconds(case.deployment["expires_at"]))
        require(expires <= last, "a statement is valid for longer than it may be")
        require(decision.at == decision.entry.at, "a decision is of another time than the entry that records it")

def sign_in_mismatch(case):
    for decision in case.decisions:
        token, said = decision.file["sign_in"]["id_token"], decision.said
        claims = claims_of(token)
        is_theirs = digest_of(token) == said["sign_in_digest"] and person_of(claims) == said["approver"]
        require(is_theirs, "a statement names another sign-in, or the sign-in is of another person")
        is_recorded = claims.get(case.trust["login"]["groups_claim"], []) == decision.recorded["groups"]
        require(is_recorded, "the log recorded other groups than the directory signed")
        is_fresh = -LEEWAY <= decision.at - time_of(claims, "iat") <= LONGEST_SIGN_IN + LEEWAY
        require(is_fresh, "a sign-in is not of the 15 minutes before the decision")

def credential_not_enrolled(case):
    for decision in case.decisions:
        decision.registered, person, index = case.enrolled.get(decision.file["credential_id"], (None, None, None))
        is_enrolled = person == decision.said["approver"] and index < decision.entry.index
        require(is_enrolled, "a credential signed that was not enrolled for the approver before")

def assertion_invalid(case):
    for decision in case.decisions:
        issuer, subject = (decision.said["approver"][name].encode() for name in ("issuer", "subject"))
        handle = sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject)
        is_theirs = decision.file.get("user_handle") in (None, to_base64url(handle))
        require(is_theirs, "the authenticator named another person")
        statement = decision.file["statement"].encode()
        challenge = sha256(b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE, len(statement), statement))
        names = ("authenticator_data", "client_data_json", "signature")
        parts = [from_base64url(decision.file[name]) for name in names]
        webauthn.check_assertion(decision.registered, *parts, challenge, case.trust["origin"], case.trust["rp_id"])

def unused_credential(case):
    used = list(dict.fromkeys(decision.file["credential_id"] for decision in case.decisions))
    listed = [entry.record["data"]["credential"] for entry in case.enrolments]
    require(listed == used, "the credentials are not those that signed, each once, in the order of their first use")

def state_mismatch(case):
    refusals = [decision for decision in case.recorded if decision["verdict"] == "reject"]
    if case.state["status"] != "rejected":
        return require(not refusals, "a person refused, and the approval is not rejected")
    require(refusals and refusals == case.recorded[-1:], "the approval is rejected, and not by its last decision")
    words = {"by": refusals[0]["person"], "name": refusals[0]["name"], "reason": refusals[0]["reason"]}
    require(case.state | words == case.state, "the state names another refusal than the one that was signed")

def quorum_not_met(case):
    people = {decision["person"]["subject"]: decision["groups"] for decision in reversed(case.recorded)}
    is_met = case.state["status"] not in APPROVED or fills(case.policy["rules"], list(people.items()))
    require(is_met, "the people who signed yes do not meet the policy's rules")

def fills(rules, people):
    """Whether every place of every rule can have a person of its own (augmenting paths of a bipartite matching)."""
    names = [{f"person:{subject}", *(f"group:{group}" for group in groups)} for subject, groups in people]
    places = [set(rule["from"]) for rule in rules for _ in range(min(rule["count"], len(people) + 1))]
    holds = {}  # The place of a person.

    def seat(place, asked):
        for person in range(len(people)):
            if person not in asked and places[place] & names[person]:
                asked.add(person)
                if person not in holds or seat(holds[person], asked):
                    holds[person] = place
                    return True
        return False

    is_possible = rules and all(rule["count"] for rule in rules) and len(places) <= len(people)
    return bool(is_possible) and all(seat(place, set()) for place in range(len(places)))

CHECKS = [
    malformed, audience_mismatch, policy_mismatch, checkpoint_invalid, entry_not_included, entry_signature_invalid,
    chain_broken, requester_mismatch, issuer_key_not_pinned, token_signature_invalid, requester_not_allowed,
    enrolment_invalid, sign_in_invalid, statement_mismatch, statement_time, sign_in_mismatch, credential_not_enrolled,
    assertion_invalid, unused_credential, state_mismatch, quorum_not_met,
]
