"""The checks of an evidence file, in the order of codes.txt, each called by the code that it gives."""

from pathlib import Path
from types import SimpleNamespace

from . import signatures, webauthn
from .documents import canonical, digest_of, from_base64url, has_form, nanoseconds, read, read_json, require
from .documents import sha256, to_base64url
from .signatures import is_signed, part_of, read_key, thumbprint

LARGEST_FILE, SECOND = 4 * 1024 * 1024, 10**9
LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 30 * SECOND, 300 * SECOND, 900 * SECOND
TYPES = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:countersign:predicate:decision:v1"}
ASSERTION = ("authenticator_data", "client_data_json", "signature", "user_handle")
APPROVED = {"approved", "executing", "succeeded", "failed", "rolled_back", "needs_attention"}
CODES = dict(line.split(" ", 1) for line in Path(__file__).with_name("codes.txt").read_text().splitlines())

def read_trust(data):
    """The trust anchors, checked for their form."""
    trust = read_json(data)
    require(has_form(trust, "Trust"), "the trust anchors have members that are missing, unknown or malformed")
    signatures.read_verifier_key(trust["log"])
    issuers = trust["workload_issuers"]
    list(map(read_key, sum((one["keys"] for one in [trust["login"], *issuers]), [])))
    endorsers = {key: webauthn.read_cose_key(from_base64url(key)) for key in trust["endorsers"]}
    named = ((endorsers, trust["endorsers"]), ({one["name"] for one in issuers}, issuers))
    require(all(len(once) == len(all_) for once, all_ in named), "two issuers have one name, or endorsers are one")
    return trust

def verify(data, trust):
    """The verdict on the bytes of a file. What else it raises is a defect of this program."""
    case = SimpleNamespace(trust=trust, data=data)
    found = dict.fromkeys(["verdict", "status", "approval", "code"])
    for code in CODES:
        try:
            globals()[code](case)
        except (ValueError, RecursionError) as broken:
            code, detail = getattr(broken, "code", None) or code, str(broken) and f" ({broken})"
            return found | {"verdict": "invalid", "code": code, "sentence": CODES[code] + detail}
    status, found["approval"] = case.state["status"], case.deployment["approval"]
    found |= {"verdict": "approved" if status in APPROVED else "not_approved", "status": status}
    return found | {"sentence": f"Everything holds. The approval is {status}."}

def malformed(case):
    require(len(case.data) <= LARGEST_FILE, "it is larger than 4 MiB")
    case.file = file = read(case.data, "Evidence")
    case.signers = [one["sign_in"] for one in file["credentials"] + file["decisions"]]
    list(map(read_key, [signer["key"] for signer in [file["requester"], *case.signers]]))
    case.deployment, case.policy = read(file["deployment"], "Deployment"), read(file["policy"], "Policy")
    case.digest = digest_of(file["deployment"])
    case.decisions = [SimpleNamespace(file=decision) for decision in file["decisions"]]
    for decision in case.decisions:
        decision.said = read(decision.file["statement"], "Statement")["predicate"]
    case.entries = [signatures.Entry(entry) for entry in file["entries"]]
    case.enrolments = [signatures.Entry(credential["entry"]) for credential in file["credentials"]]

def audience_mismatch(case):
    require(case.deployment["audience"] == case.trust["origin"])

def policy_mismatch(case):
    found = {"policy_digest": digest_of(case.file["policy"]), "environment": case.policy["environment"]}
    require(found.items() <= case.deployment.items())

def checkpoint_invalid(case):
    case.size, case.root = signatures.read_checkpoint(case.file["checkpoint"], case.trust["log"])

def entry_not_included(case):
    for entry in case.entries + case.enrolments:
        require(signatures.root_of_path(entry.leaf, entry.index, case.size, entry.inclusion) == case.root)

def entry_signature_invalid(case):
    for entry in case.entries + case.enrolments:
        require(entry.is_signed_by(case.trust["log"]), f"entry {entry.index}")

def chain_broken(case):
    before, case.recorded, deployment = None, [], case.deployment
    ours = {"id": deployment["approval"], "policy_digest": deployment["policy_digest"]}
    ours["deployment_digest"] = case.digest
    for version, entry in enumerate(case.entries, 1):
        approval, known = entry.record.get("approval", {}), len(case.recorded)
        is_ours = (ours | {"version": version}).items() <= approval.items()
        require(is_ours and approval.get("previous") == (before and before.hash.hex()))
        is_next = before and entry.index > before.index and entry.at >= before.at
        require(is_next if before else entry.record["kind"] == "approval.requested")
        require(approval["decisions"][:known] == case.recorded)
        for decision in case.decisions[known:len(approval["decisions"])]:
            decision.entry = entry
        before, case.recorded, case.state = entry, approval["decisions"], approval["state"]
    require(before, "there is none")

def requester_mismatch(case):
    requester, (token, key) = case.deployment["requester"], map(case.file["requester"].get, ("token", "key"))
    noted = {"token_digest": digest_of(token), "token_key": thumbprint(key)}
    require(case.entries[0].record.get("data") == noted, "the log recorded another one")
    claims, issuers = part_of(token, 1), {one["name"]: one for one in case.trust["workload_issuers"]}
    named = requester["claims"] | {"iss": requester["issuer_url"], "sub": requester["subject"]}
    require(canonical(claims) == canonical(requester["claims"]) == canonical(named), "its claims are others")
    pinned = {"issuer": claims["iss"], "audience": claims.get("aud")}
    case.signed = token, key, issuers.get(requester["issuer"], {})
    require(pinned.items() <= case.signed[2].items(), "no issuer of this name is pinned with its iss and aud")
    asked = nanoseconds(case.deployment["requested_at"])
    begins = [time_of(claims, name) for name in ("iat", "nbf") if name in claims]
    require(max(begins, default=0) - LEEWAY <= asked < time_of(claims, "exp") + LEEWAY, "it was not valid")

def time_of(claims, name):
    require(type(claims.get(name)) is int and 0 <= claims[name] < 10**11, f"its {name} is no time")
    return claims[name] * SECOND

def issuer_key_not_pinned(case):
    _, key, issuer = case.signed
    require(key in (issuer["keys"] or [key]), "", "issuer_key_not_pinned")

def token_signature_invalid(case):
    require(is_signed(*case.signed[:2]), "", "token_signature_invalid")

def requester_not_allowed(case):
    requester, image = case.deployment["requester"], case.deployment["image"].partition("@")[0]
    require(case.deployment["service"] in case.policy["services"] and image in case.policy["images"])
    rules = [rule["claims"] for rule in case.policy["requesters"] if rule["issuer"] == requester["issuer"]]
    require(any(all(admits(rule[name], requester["claims"].get(name)) for name in rule) for rule in rules))

def admits(texts, value):
    """Whether a claim is one of the texts; one that ends in `*` means all that begins like it."""
    return isinstance(value, str) and any(
        value == text or text[-1:] == "*" and value.startswith(text[:-1]) for text in texts)

def person_of(claims):
    return {"issuer": claims.get("iss"), "subject": claims.get("sub")}

def enrolment_invalid(case):
    case.enrolled = []
    for credential, entry in zip(case.file["credentials"], case.enrolments):
        registration, token = credential["registration"], credential["sign_in"]["id_token"]
        key, said = webauthn.read_registration(registration, case.trust["origin"], case.trust["rp_id"])
        claims, digest = part_of(token, 1), sha256(registration.encode())
        noted = said | {"person": person_of(claims), "registration_digest": digest.hex()}
        noted |= {"sign_in_digest": digest_of(token), "sign_in_key": thumbprint(credential["sign_in"]["key"])}
        record = {"schema": entry.record["schema"], "kind": "credential.registered", "at": entry.record["at"]}
        require(canonical(entry.record) == canonical(record | {"data": noted}), "another one was recorded")
        require(has_form(noted["person"], "Person") and claims.get("nonce") == to_base64url(digest))
        case.enrolled.append((noted["credential"], noted["person"], entry.index, key))

def sign_in_invalid(case):
    login, recorded = case.trust["login"], [entry.record["data"] for entry in case.enrolments] + case.recorded
    for place, signer in enumerate(case.signers):
        claims, key, client = part_of(signer["id_token"], 1), signer["key"], login["client_id"]
        audience = claims["aud"] if isinstance(claims.get("aud"), list) else [claims.get("aud")]
        require(claims.get("iss") == login["issuer"] and audience)
        require(all(one == client for one in [*audience, claims.get("azp", client)]))
        case.signed = signer["id_token"], key, login
        issuer_key_not_pinned(case)
        token_signature_invalid(case)
        # A decision that was not recorded is left to the next check.
        require(all(noted["sign_in_key"] == thumbprint(key) for noted in recorded[place:place + 1]))

def statement_mismatch(case):
    require(len(case.decisions) == len(case.recorded), "the log recorded another number of decisions")
    deployment = case.deployment
    named = deployment["image"].split("@sha256:"), (deployment["approval"], case.digest)
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in named]
    ours = {"deployment": deployment} | {name: deployment[name] for name in ("policy_digest", "audience")}
    for decision, decision.recorded in zip(case.decisions, case.recorded):
        file, said = decision.file, decision.said
        assertion = canonical({name: file[name] for name in ASSERTION if name in file})
        found = {"person": said["approver"], "verdict": said["decision"], "reason": said.get("reason")}
        found |= {"statement_digest": digest_of(file["statement"]), "credential": file["credential_id"]}
        found |= {"assertion_digest": digest_of(assertion)}
        require(found.items() <= decision.recorded.items(), "another decision was recorded")
        statement = canonical(TYPES | {"subject": subjects, "predicate": said | ours})
        require(statement == file["statement"] and file["credential_id"] in said["credentials"])
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
        claims = part_of(token, 1)
        require(digest_of(token) == said["sign_in_digest"] and person_of(claims) == said["approver"])
        groups = claims.get(case.trust["login"]["groups_claim"], [])
        is_recent = -LEEWAY <= decision.at - time_of(claims, "iat") <= LONGEST_SIGN_IN + LEEWAY
        require(groups == decision.recorded["groups"] and is_recent)

def credential_not_enrolled(case):
    for decision in case.decisions:
        named, index = [decision.file["credential_id"], decision.said["approver"]], decision.entry.index
        keys = [key for *theirs, enrolled_at, key in case.enrolled if theirs == named and enrolled_at < index]
        require(keys)
        decision.key = keys[0]

def assertion_invalid(case):
    for decision in case.decisions:
        issuer, subject = (decision.said["approver"][name].encode() for name in ("issuer", "subject"))
        handle = sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject)
        require(decision.file.get("user_handle") in (None, to_base64url(handle)), "it names another person")
        statement = decision.file["statement"].encode()
        challenge = sha256(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(statement), statement)
        parts = [from_base64url(decision.file[name]) for name in ASSERTION[:3]]
        webauthn.check_assertion(decision.key, *parts, challenge, case.trust["origin"], case.trust["rp_id"])

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
    people = [(one["person"]["subject"], one["groups"]) for one in case.recorded]
    require(case.state["status"] not in APPROVED or is_met(case.policy["rules"], people))

def is_met(rules, people):
    """Whether every place of every rule can have a person of its own."""
    people = [{f"person:{subject}", *map("group:{}".format, groups)} for subject, groups in people]
    places = [set(rule["from"]) for rule in rules for _ in range(min(rule["count"], len(people) + 1))]
    # Those that few can fill come first, so that what cannot be filled is found at once.
    places.sort(key=lambda place: sum(bool(place & person) for person in people))
    return bool(rules) and all(rule["count"] for rule in rules) and can_fill(places, people)

def can_fill(places, people):
    return not places or len(places) <= len(people) and any(
        places[0] & person and can_fill(places[1:], people[:at] + people[at + 1:])
        for at, person in enumerate(people))
