"""The checks of an evidence file in the documented order. Each is called by the code that its failure gives."""

from types import SimpleNamespace

from . import log, webauthn
from .encodings import Broken, canonical, digest_of, from_base64url, nanoseconds, read_canonical, read_json, require, same
from .encodings import sha256, to_base64url
from .shapes import has_form, read
from .signatures import check_token, claims_of, read_key, thumbprint

LARGEST_FILE = 4 * 1024 * 1024
SECOND = 10**9
LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 30 * SECOND, 300 * SECOND, 900 * SECOND
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
    case, code = SimpleNamespace(trust=trust), "malformed"
    try:
        for check in CHECKS:
            code = check.__name__
            check(case, data) if check is malformed else check(case)
    except Broken as broken:
        return invalid(broken.code or code, str(broken))
    except Exception as error:  # A defect of this program: nothing is accepted, and it is seen.
        return invalid("internal_error", f"{type(error).__name__} in {code}: {error}")
    status = case.state["status"]
    verdict = "approved" if status in APPROVED else "not_approved"
    sentence = f"Everything holds. The approval is {status.replace('_', ' ')}."
    return {"verdict": verdict, "status": status, "approval": case.deployment["approval"], "code": None, "sentence": sentence}

def invalid(code, sentence):
    return {"verdict": "invalid", "status": None, "approval": None, "code": code, "sentence": sentence}

def malformed(case, data):
    require(len(data) <= LARGEST_FILE, "the file is larger than 4 MiB")
    case.file = file = read_canonical(data)
    require(has_form(file, "Evidence"), "the file has members that are missing, unknown or malformed")
    for signer in [file["requester"], *(one["sign_in"] for one in file["decisions"] + file["credentials"])]:
        read_key(signer["key"])
    case.deployment, case.policy = read(file["deployment"], "Deployment"), read(file["policy"], "Policy")
    case.decisions = [SimpleNamespace(file=one, said=read(one["statement"], "Statement")) for one in file["decisions"]]
    case.entries, case.enrolments = (
        [log.Entry(entry, read(entry["record"], "Record")) for entry in entries]
        for entries in (file["entries"], [credential["entry"] for credential in file["credentials"]]))

def audience_mismatch(case):
    require(case.deployment["audience"] == case.trust["origin"], "the deployment is meant for another gate")

def policy_mismatch(case):
    require(digest_of(case.file["policy"]) == case.deployment["policy_digest"], "the deployment names another policy")
    require(case.policy["environment"] == case.deployment["environment"], "the policy is of another environment")

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
    require(case.entries, "the file holds no entry of the approval")
    named = (case.deployment["approval"], digest_of(case.file["deployment"]), case.deployment["policy_digest"])
    index, at, previous, case.recorded = -1, None, None, []
    for version, entry in enumerate(case.entries, 1):
        approval = entry.record.get("approval", {})
        names = tuple(approval.get(name) for name in ("id", "deployment_digest", "policy_digest"))
        require(names == named, f"entry {entry.index} is not about this approval")
        require(approval["version"] == version, f"entry {entry.index} is not version {version} of the approval")
        require(approval.get("previous") == previous, f"entry {entry.index} does not name the entry before it")
        require(version > 1 or entry.record["kind"] == "approval.requested", "the first entry is not that of the request")
        now = nanoseconds(entry.record["at"])
        require(entry.index > index and (at is None or now >= at), f"entry {entry.index} is not after the one before it")
        known = len(case.recorded)
        require(approval["decisions"][:known] == case.recorded, f"entry {entry.index} changes a recorded decision")
        for decision in case.decisions[known:len(approval["decisions"])]:
            decision.entry = entry
        index, at, previous, case.recorded, case.state = (
            entry.index, now, entry.hash.hex(), approval["decisions"], approval["state"])

def requester_mismatch(case):
    requester, token, key = case.deployment["requester"], case.file["requester"]["token"], case.file["requester"]["key"]
    noted = {"token_digest": digest_of(token), "token_key": thumbprint(key)}
    require(same(case.entries[0].record.get("data"), noted), "the log recorded another token or key of the requester")
    claims = claims_of(token)
    require(same(claims, requester["claims"]), "the token's claims are not those of the deployment")
    named = (claims.get("iss"), claims.get("sub")) == (requester["issuer_url"], requester["subject"])
    require(named, "the token's iss and sub are not those of the deployment")
    pinned = (requester["issuer"], claims["iss"], claims.get("aud"))
    case.issuers = [issuer for issuer in case.trust["workload_issuers"]
                    if (issuer["name"], issuer["issuer"], issuer["audience"]) == pinned]
    require(case.issuers, "no pinned issuer has this name, this iss and this audience")
    asked, until = nanoseconds(case.deployment["requested_at"]), time_of(claims, "exp")
    is_current = all(time_of(claims, name) <= asked + LEEWAY for name in ("nbf", "iat") if name in claims)
    require(is_current and asked < until + LEEWAY, "the token was not valid when the deployment was requested")

def time_of(claims, name):
    require(type(claims.get(name)) is int, f"the token's {name} is no time in whole seconds")
    return claims[name] * SECOND

def issuer_key_not_pinned(case):
    key = case.file["requester"]["key"]
    require(any(not issuer["keys"] or key in issuer["keys"] for issuer in case.issuers), "the issuer's key is not pinned")

def token_signature_invalid(case):
    check_token(case.file["requester"]["token"], case.file["requester"]["key"], "requester's")

def requester_not_allowed(case):
    requester, image = case.deployment["requester"], case.deployment["image"].partition("@")[0]
    rules = [rule["claims"].items() for rule in case.policy["requesters"] if rule["issuer"] == requester["issuer"]]
    admitted = any(all(admits(texts, requester["claims"].get(name)) for name, texts in rule) for rule in rules)
    require(admitted, "the policy does not let this requester ask")
    is_covered = case.deployment["service"] in case.policy["services"] and image in case.policy["images"]
    require(is_covered, "the policy does not cover this service and this image")

def admits(texts, value):
    """Whether a claim's value is one of the texts; one that ends in `*` means all that begins like it."""
    return isinstance(value, str) and any(value == text or text[-1:] == "*" and value.startswith(text[:-1]) for text in texts)

def person_of(claims):
    return {"issuer": claims.get("iss"), "subject": claims.get("sub")}

def enrolment_invalid(case):
    case.enrolled = {}
    for credential, entry in zip(case.file["credentials"], case.enrolments):
        registration, token, key = (credential["registration"], *map(credential["sign_in"].get, ("id_token", "key")))
        registered = webauthn.read_registration(registration, case.trust["origin"], case.trust["rp_id"])
        claims, digest = claims_of(token), digest_of(registration)
        noted = {
            "person": person_of(claims), "credential": to_base64url(registered.credential_id),
            "public_key": to_base64url(registered.cose_key), "aaguid": registered.aaguid.hex(),
            "backup_eligible": registered.backup_eligible, "registration_digest": digest,
            "sign_in_digest": digest_of(token), "sign_in_key": thumbprint(key),
        }
        is_enrolment = entry.record["kind"] == "credential.registered" and "approval" not in entry.record
        require(is_enrolment and same(entry.record.get("data"), noted), "the log recorded another enrolment")
        nonce = to_base64url(bytes.fromhex(digest))
        require(claims.get("nonce") == nonce, "the directory vouched for another registration")
        case.enrolled.setdefault(noted["credential"], (registered, noted["person"], entry.index))

def sign_in_invalid(case):
    login, recorded = case.trust["login"], [decision["sign_in_key"] for decision in case.recorded]
    # A decision that was not recorded is refused by the next check.
    keys = [entry.record["data"]["sign_in_key"] for entry in case.enrolments] + recorded + [None] * len(case.decisions)
    for signer, noted in zip(case.file["credentials"] + case.file["decisions"], keys):
        token, key = signer["sign_in"]["id_token"], signer["sign_in"]["key"]
        meant = (claims_of(token).get("iss"), claims_of(token).get("aud")) == (login["issuer"], login["client_id"])
        require(meant, "an ID token is not of the pinned directory for the pinned client")
        require(not login["keys"] or key in login["keys"], "the directory's key is not pinned", "issuer_key_not_pinned")
        check_token(token, key, "ID")
        require(noted in (thumbprint(key), None), "the log recorded another key of the directory")

def statement_mismatch(case):
    require(len(case.decisions) == len(case.recorded), "the file does not hold the decisions that the log recorded")
    deployment, nonces = case.deployment, {decision.said["predicate"]["nonce"] for decision in case.decisions}
    repository, _, image_digest = deployment["image"].partition("@sha256:")
    subjects = (repository, image_digest), (deployment["approval"], digest_of(case.file["deployment"]))
    for decision, recorded in zip(case.decisions, case.recorded):
        statement, said, file = decision.said, decision.said["predicate"], decision.file
        members = ("authenticator_data", "client_data_json", "signature", "user_handle")
        assertion = canonical({name: file[name] for name in members if name in file})
        found = {
            "person": said["approver"], "verdict": said["decision"], "reason": said.get("reason"),
            "statement_digest": digest_of(file["statement"]), "credential": file["credential_id"],
            "assertion_digest": digest_of(assertion),
        }
        require(recorded | found == recorded, "a decision is not the one that the log recorded")
        about = {
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:countersign:predicate:decision:v1",
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
            "predicate": said | {"deployment": deployment} | {name: deployment[name] for name in ("policy_digest", "audience")},
        }
        require(same(statement, about), "a statement is not about this approval")
        require(file["credential_id"] in said["credentials"], "a credential signed that the statement does not name")
        decision.said, decision.recorded = said, recorded
    require(len(nonces) == len(case.decisions), "two statements have the same nonce")

def statement_time(case):
    for decision in case.decisions:
        times = decision.said["issued_at"], decision.recorded["decided_at"], decision.said["expires_at"]
        issued, decision.decided, expires = map(nanoseconds, times)
        require(issued <= decision.decided < expires, "a decision was not made while its statement was valid")
        longest = min(issued + LONGEST_STATEMENT, nanoseconds(case.deployment["expires_at"]))
        require(expires <= longest, "a statement is valid for longer than it may be")
        require(times[1] == decision.entry.record["at"], "a decision is of another time than the entry that records it")

def sign_in_mismatch(case):
    for decision in case.decisions:
        token = decision.file["sign_in"]["id_token"]
        claims = claims_of(token)
        require(digest_of(token) == decision.said["sign_in_digest"], "a statement names another sign-in")
        require(person_of(claims) == decision.said["approver"], "a sign-in is of another person than the approver")
        groups = claims.get(case.trust["login"]["groups_claim"], [])
        require(groups == decision.recorded["groups"], "the log recorded other groups than the directory signed")
        age = decision.decided - time_of(claims, "iat")
        require(-LEEWAY <= age <= LONGEST_SIGN_IN + LEEWAY, "a sign-in is not of the 15 minutes before the decision")

def credential_not_enrolled(case):
    for decision in case.decisions:
        decision.registered, person, index = case.enrolled.get(decision.file["credential_id"], (None, None, None))
        require(person == decision.said["approver"], "a credential signed that is not enrolled for the approver")
        require(index < decision.entry.index, "a credential signed before it was enrolled")

def assertion_invalid(case):
    payload_type = b"application/vnd.in-toto+json"
    for decision in case.decisions:
        statement, (issuer, subject) = decision.file["statement"].encode(), map(str.encode, decision.said["approver"].values())
        handle = to_base64url(sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject))
        require(decision.file.get("user_handle", handle) == handle, "the authenticator named another person")
        challenge = sha256(b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type, len(statement), statement))
        assertion = map(from_base64url, map(decision.file.get, ("authenticator_data", "client_data_json", "signature")))
        webauthn.check_assertion(decision.registered, *assertion, challenge, case.trust["origin"], case.trust["rp_id"])

def unused_credential(case):
    used = list(dict.fromkeys(decision.file["credential_id"] for decision in case.decisions))
    listed = [entry.record["data"]["credential"] for entry in case.enrolments]
    require(listed == used, "the credentials are not those that signed, each once, in the order of their first use")

def state_mismatch(case):
    refusals = [decision for decision in case.recorded if decision["verdict"] == "reject"]
    if case.state["status"] != "rejected":
        return require(not refusals, "a person refused, and the approval is not rejected")
    require(refusals and refusals == case.recorded[-1:], "the approval is rejected, and its last decision is no refusal")
    words = {"by": refusals[0]["person"], "name": refusals[0]["name"], "reason": refusals[0]["reason"]}
    require(case.state | words == case.state, "the state names another refusal than the one that was signed")

def quorum_not_met(case):
    people = {decision["person"]["subject"]: decision["groups"] for decision in reversed(case.recorded)}
    is_met = case.state["status"] not in APPROVED or fills(case.policy["rules"], list(people.items()))
    require(is_met, "the people who signed yes do not meet the policy's rules")

def fills(rules, people):
    """Whether every place of every rule can have a person of its own (augmenting paths of a bipartite matching)."""
    if not rules or any(rule["count"] == 0 for rule in rules) or sum(rule["count"] for rule in rules) > len(people):
        return False
    names = [{f"person:{subject}", *(f"group:{group}" for group in groups)} for subject, groups in people]
    places = [set(rule["from"]) for rule in rules for _ in range(rule["count"])]
    holder, seat = {}, {}  # The person of a place, the place of a person.
    for place in range(len(places)):
        waiting, wanted = [place], {}
        free = None
        for open_place in waiting:
            for person in range(len(people)):
                if free is None and person not in wanted and places[open_place] & names[person]:
                    wanted[person] = open_place
                    free = person if person not in seat else waiting.append(seat[person])
        if free is None:
            return False
        while free is not None:
            taken = seat[free] = wanted[free]
            holder[taken], free = free, holder.get(taken)
    return True

CHECKS = [
    malformed, audience_mismatch, policy_mismatch, checkpoint_invalid, entry_not_included, entry_signature_invalid,
    chain_broken, requester_mismatch, issuer_key_not_pinned, token_signature_invalid, requester_not_allowed,
    enrolment_invalid, sign_in_invalid, statement_mismatch, statement_time, sign_in_mismatch, credential_not_enrolled,
    assertion_invalid, unused_credential, state_mismatch, quorum_not_met,
]
