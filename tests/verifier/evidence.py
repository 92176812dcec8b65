"""The checks of an evidence file. Each is called by the code that its failure gives; codes.txt has their order."""

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

from . import log, webauthn
from .encodings import canonical, digest_of, from_base64url, nanoseconds, read_canonical, read_json, require
from .encodings import same, sha256, to_base64url
from .shapes import has_form, read
from .signatures import claims_of, is_signed, read_key, thumbprint

LARGEST_FILE, SECOND = 4 * 1024 * 1024, 10**9
LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 30 * SECOND, 300 * SECOND, 900 * SECOND
PAYLOAD_TYPE = b"application/vnd.in-toto+json"
TYPES = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:countersign:predicate:decision:v1"}
ASSERTION = ("authenticator_data", "client_data_json", "signature", "user_handle")
APPROVED = {"approved", "executing", "succeeded", "failed", "rolled_back", "needs_attention"}
SENTENCES = dict(line.split(" ", 1) for line in Path(__file__).with_name("codes.txt").read_text().splitlines())
sys.setrecursionlimit(5000)  # `fills` may go as deep as there are people in a file.

def read_trust(data):
    """The trust anchors, checked for their form."""
    trust = read_json(data)
    require(has_form(trust, "Trust"), "the trust anchors have members that are missing, unknown or malformed")
    log.read_verifier_key(trust["log"])
    for key in itertools.chain(*(issuer["keys"] for issuer in [trust["login"], *trust["workload_issuers"]])):
        read_key(key)
    is_named_once = len({one["name"] for one in trust["workload_issuers"]}) == len(trust["workload_issuers"])
    require(is_named_once, "two workload issuers of the trust anchors have one name")
    return trust

def verify(data, trust):
    """The verdict on the bytes of a file. What else it raises is a defect of this program."""
    case = SimpleNamespace(trust=trust, data=data)
    for code in SENTENCES:
        try:
            globals()[code](case)
        except (ValueError, RecursionError) as broken:
            code, detail = getattr(broken, "code", None) or code, str(broken)
            return verdict("invalid", SENTENCES[code] + (detail and f" ({detail})"), code)
    status, approval = case.state["status"], case.deployment["approval"]
    outcome = "approved" if status in APPROVED else "not_approved"
    return verdict(outcome, f"Everything holds. The status of the approval is {status}.", None, status, approval)

def verdict(outcome, sentence, code, status=None, approval=None):
    return {"verdict": outcome, "status": status, "approval": approval, "code": code, "sentence": sentence}

def malformed(case):
    require(len(case.data) <= LARGEST_FILE, "it is larger than 4 MiB")
    case.file = file = read_canonical(case.data)
    require(has_form(file, "Evidence"))
    case.signers = [one["sign_in"] for one in file["credentials"] + file["decisions"]]
    for signer in [file["requester"], *case.signers]:
        read_key(signer["key"])
    case.deployment, case.policy = read(file["deployment"], "Deployment"), read(file["policy"], "Policy")
    case.digest = digest_of(file["deployment"])
    statements = [read(one["statement"], "Statement") for one in file["decisions"]]
    case.decisions = [
        SimpleNamespace(file=one, statement=statement, said=statement["predicate"])
        for one, statement in zip(file["decisions"], statements)]
    case.entries = [log.Entry(entry) for entry in file["entries"]]
    case.enrolments = [log.Entry(credential["entry"]) for credential in file["credentials"]]

def audience_mismatch(case):
    require(case.deployment["audience"] == case.trust["origin"])

def policy_mismatch(case):
    require(digest_of(case.file["policy"]) == case.deployment["policy_digest"])
    require(case.policy["environment"] == case.deployment["environment"])

def checkpoint_invalid(case):
    case.size, case.root = log.read_checkpoint(case.file["checkpoint"], case.trust["log"])

def entry_not_included(case):
    for entry in case.entries + case.enrolments:
        require(log.root_of_path(entry.leaf, entry.index, case.size, entry.inclusion) == case.root)

def entry_signature_invalid(case):
    for entry in case.entries + case.enrolments:
        require(entry.is_signed_by(case.trust["log"]), f"entry {entry.index}")

def chain_broken(case):
    ours = {"id": case.deployment["approval"], "deployment_digest": case.digest}
    ours["policy_digest"] = case.deployment["policy_digest"]
    before, case.recorded = None, []
    for version, entry in enumerate(case.entries, 1):
        approval, known = entry.record.get("approval", {}), len(case.recorded)
        is_ours = (ours | {"version": version}).items() <= approval.items()
        require(is_ours and approval.get("previous") == (before and before.hash.hex()))
        is_first = before is None and entry.record["kind"] == "approval.requested"
        require(is_first or before and entry.index > before.index and entry.at >= before.at)
        require(approval["decisions"][:known] == case.recorded)
        for decision in case.decisions[known:len(approval["decisions"])]:
            decision.entry = entry
        before, case.recorded, case.state = entry, approval["decisions"], approval["state"]
    require(before)

def requester_mismatch(case):
    requester, token, key = case.deployment["requester"], *map(case.file["requester"].get, ("token", "key"))
    noted = {"token_digest": digest_of(token), "token_key": thumbprint(key)}
    require(case.entries[0].record.get("data") == noted, "the log recorded another one")
    claims, issuers = claims_of(token), {one["name"]: one for one in case.trust["workload_issuers"]}
    named = requester["claims"] | {"iss": requester["issuer_url"], "sub": requester["subject"]}
    require(same(claims, requester["claims"]) and same(claims, named), "its claims are others")
    case.issuer = issuers.get(requester["issuer"], {})
    pinned = {"issuer": claims["iss"], "audience": claims.get("aud")}
    require(pinned.items() <= case.issuer.items(), "no issuer of this name is pinned with its iss and aud")
    asked = nanoseconds(case.deployment["requested_at"])
    begins = [time_of(claims, name) for name in ("iat", "nbf") if name in claims]
    is_current = all(time <= asked + LEEWAY for time in begins) and asked < time_of(claims, "exp") + LEEWAY
    require(is_current, "it was not valid when the deployment was requested")

def time_of(claims, name):
    require(type(claims.get(name)) is int and 0 <= claims[name] < 10**11, f"its {name} is no time")
    return claims[name] * SECOND

def issuer_key_not_pinned(case, key=None, issuer=None):
    key, issuer = key or case.file["requester"]["key"], issuer or case.issuer
    require(key in (issuer["keys"] or [key]), "", "issuer_key_not_pinned")

def token_signature_invalid(case, token=None, key=None):
    token, key = token or case.file["requester"]["token"], key or case.file["requester"]["key"]
    require(is_signed(token, key), "", "token_signature_invalid")

def requester_not_allowed(case):
    requester, image = case.deployment["requester"], case.deployment["image"].partition("@")[0]
    rules = [rule["claims"].items() for rule in case.policy["requesters"] if rule["issuer"] == requester["issuer"]]
    require(any(all(admits(texts, requester["claims"].get(name)) for name, texts in rule) for rule in rules))
    require(case.deployment["service"] in case.policy["services"] and image in case.policy["images"])

def admits(texts, value):
    """Whether a claim is one of the texts; one that ends in `*` means all that begins like it."""
    is_text = isinstance(value, str)
    return is_text and any(value == text or text[-1:] == "*" and value.startswith(text[:-1]) for text in texts)

def person_of(claims):
    return {"issuer": claims.get("iss"), "subject": claims.get("sub")}

def enrolment_invalid(case):
    case.enrolled = {}
    for credential, entry in zip(case.file["credentials"], case.enrolments):
        registration, token, key = credential["registration"], *map(credential["sign_in"].get, ("id_token", "key"))
        registered = webauthn.read_registration(registration, case.trust["origin"], case.trust["rp_id"])
        claims, digest = claims_of(token), digest_of(registration)
        noted = registered.said | {"person": person_of(claims), "registration_digest": digest}
        noted |= {"sign_in_digest": digest_of(token), "sign_in_key": thumbprint(key)}
        expected = {"kind": "credential.registered", "at": entry.record["at"], "data": noted}
        require(same(entry.record, expected | {"schema": entry.record["schema"]}), "the log recorded another one")
        is_vouched = claims.get("nonce") == to_base64url(bytes.fromhex(digest))
        require(is_vouched and has_form(noted["person"], "Person"), "the ID token names another one, or nobody")
        case.enrolled.setdefault(noted["credential"], (registered, noted["person"], entry.index))

def sign_in_invalid(case):
    login, recorded = case.trust["login"], [entry.record["data"] for entry in case.enrolments] + case.recorded
    for signer, noted in itertools.zip_longest(case.signers, recorded[:len(case.signers)]):
        claims, key, client = claims_of(signer["id_token"]), signer["key"], login["client_id"]
        audience = claims.get("aud")
        audience = audience if isinstance(audience, list) else [audience]
        is_ours = audience and all(one == client for one in [*audience, claims.get("azp", client)])
        require(is_ours and claims.get("iss") == login["issuer"])
        issuer_key_not_pinned(case, key, login)
        token_signature_invalid(case, signer["id_token"], key)
        # A decision that was not recorded is left to the next check.
        require(noted is None or noted["sign_in_key"] == thumbprint(key), "the log recorded another key")

def statement_mismatch(case):
    require(len(case.decisions) == len(case.recorded), "the log recorded another number of decisions")
    deployment = case.deployment
    named = deployment["image"].split("@sha256:"), (deployment["approval"], case.digest)
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in named]
    ours = {"deployment": deployment} | {name: deployment[name] for name in ("policy_digest", "audience")}
    for decision, decision.recorded in zip(case.decisions, case.recorded):
        file, said = decision.file, decision.said
        assertion = canonical({name: file[name] for name in ASSERTION if name in file})
        found = {
            "person": said["approver"], "verdict": said["decision"], "reason": said.get("reason"),
            "statement_digest": digest_of(file["statement"]), "credential": file["credential_id"],
            "assertion_digest": digest_of(assertion)}
        require(found.items() <= decision.recorded.items(), "the log recorded another decision")
        is_ours = same(decision.statement, TYPES | {"subject": subjects, "predicate": said | ours})
        require(is_ours and file["credential_id"] in said["credentials"], "it is about another approval or credential")
    for name in ("nonce", "approver"):
        others = {canonical(decision.said[name]) for decision in case.decisions}
        require(len(others) == len(case.decisions), f"two have the same {name}")

def statement_time(case):
    for decision in case.decisions:
        issued, expires = (nanoseconds(decision.said[name]) for name in ("issued_at", "expires_at"))
        decision.at = nanoseconds(decision.recorded["decided_at"])
        last = min(issued + LONGEST_STATEMENT, nanoseconds(case.deployment["expires_at"]))
        require(issued <= decision.at < expires <= last and decision.at == decision.entry.at)

def sign_in_mismatch(case):
    for decision in case.decisions:
        token, said = decision.file["sign_in"]["id_token"], decision.said
        claims = claims_of(token)
        require(digest_of(token) == said["sign_in_digest"] and person_of(claims) == said["approver"])
        groups, age = claims.get(case.trust["login"]["groups_claim"], []), decision.at - time_of(claims, "iat")
        require(groups == decision.recorded["groups"] and -LEEWAY <= age <= LONGEST_SIGN_IN + LEEWAY)

def credential_not_enrolled(case):
    for decision in case.decisions:
        decision.registered, person, index = case.enrolled.get(decision.file["credential_id"], (None, None, None))
        require(person == decision.said["approver"] and index < decision.entry.index)

def assertion_invalid(case):
    for decision in case.decisions:
        issuer, subject = (decision.said["approver"][name].encode() for name in ("issuer", "subject"))
        handle = sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject)
        require(decision.file.get("user_handle") in (None, to_base64url(handle)), "it names another person")
        statement = decision.file["statement"].encode()
        challenge = sha256(b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE, len(statement), statement))
        parts = [from_base64url(decision.file[name]) for name in ASSERTION[:3]]
        webauthn.check_assertion(decision.registered, *parts, challenge, case.trust["origin"], case.trust["rp_id"])

def unused_credential(case):
    used = list(dict.fromkeys(decision.file["credential_id"] for decision in case.decisions))
    require([entry.record["data"]["credential"] for entry in case.enrolments] == used)

def state_mismatch(case):
    refusals = [decision for decision in case.recorded if decision["verdict"] == "reject"]
    require(bool(refusals) == (case.state["status"] == "rejected"))
    for refusal in refusals:
        words = {"by": refusal["person"], "name": refusal["name"], "reason": refusal["reason"]}
        require([refusal] == case.recorded[-1:] == refusals and words.items() <= case.state.items())

def quorum_not_met(case):
    people = [(decision["person"]["subject"], decision["groups"]) for decision in case.recorded]
    require(case.state["status"] not in APPROVED or fills(case.policy["rules"], people))

def fills(rules, people):
    """Whether every place of every rule can have a person of its own (a bipartite matching by augmenting paths)."""
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
