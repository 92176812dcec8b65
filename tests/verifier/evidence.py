"""The checks of an evidence file. Each begins where its code is yielded, in the order of codes.txt."""

import itertools, uuid
from pathlib import Path
from types import SimpleNamespace as Namespace

from . import signatures, webauthn
from .documents import canonical, digest_of, from_base64url, has_form, nanoseconds, read, read_json, require
from .documents import sha256, thumbprint, to_base64url
from .signatures import Entry, is_signed, part_of, read_key

MOST_IN_BATCH = 32
LARGEST_FILE, LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 4 * 1024**2, 30 * 10**9, 300 * 10**9, 900 * 10**9
STATEMENT, PREDICATE = {"_type": "https://in-toto.io/Statement/v1"}, "urn:countersign:predicate:"
ASSERTION = ("authenticator_data", "client_data_json", "signature", "user_handle")
# What everybody said last: a person decides once, or again after taking it back.
newest = lambda decisions: {canonical(one["person"]): one for one in decisions}
person_of = lambda claims: {"issuer": claims.get("iss"), "subject": claims.get("sub")}
RUN = "countersign/workflow_run/v1"
APPROVED = {"approved", "executing", "succeeded", "failed", "rolled_back", "needs_attention"}
CODES = dict(line.split(" ", 1) for line in Path(__file__).with_name("codes.txt").read_text().splitlines())

def read_trust(data):
    trust = read_json(data)
    require(has_form(trust, "Trust"), "the trust anchors have members that are missing, unknown or malformed")
    signatures.read_verifier_key(trust["log"])
    issuers, endorsers = trust["workload_issuers"], trust["endorsers"]
    list(map(read_key, (key for one in [trust["login"], *issuers] for key in one["keys"])))
    list(map(webauthn.read_cose_key, map(from_base64url, endorsers)))
    witnesses = [signatures.read_verifier_key(one, 4)[2] for one in trust.get("witnesses", [])]
    is_once = all(len({*some}) == len(some) for some in ([one["name"] for one in issuers], endorsers, witnesses))
    require(is_once and trust.get("witnesses_required", 0) <= len(witnesses), "something is there twice, or too few witnesses")
    return trust

def verify(data, trust):
    """The verdict on the bytes of a file. What else it raises is a defect of this program."""
    case, code, found = Namespace(trust=trust, data=data), None, dict.fromkeys(["verdict", "status", "approval", "code"])
    try:
        for code in itertools.chain(*(part(case) for part in (of_form, of_log, of_requester, of_keys, of_statements))):
            pass
    except (ValueError, RecursionError) as broken:
        code, detail = getattr(broken, "code", None) or code, str(broken) and f" ({broken})"
        return found | {"verdict": "invalid", "code": code, "sentence": CODES[code] + detail}
    status, found["approval"] = case.state["status"], case.deployment["approval"]
    found["verdict"] = "approved" if status in APPROVED else "not_approved"
    return found | {"status": status, "sentence": f"Everything holds. The approval is {status}."}

def of_form(case):
    yield "malformed"
    require(len(case.data) <= LARGEST_FILE, "it is larger than 4 MiB")
    case.file = file = read(case.data, "Evidence")
    case.deployment, case.policy = read(file["deployment"], "Deployment"), read(file["policy"], "Policy")
    case.digest, case.entries = digest_of(file["deployment"]), list(map(Entry, file["entries"]))
    case.enrolments, case.ends = ([one.get(name) and Entry(one[name]) for one in file["credentials"]] for name in ("entry", "revoked"))
    case.decisions = [Namespace(form="Decided", file=decision) for decision in file["decisions"]]
    case.endorsements = [
        Namespace(form="Endorsed", file=one["signed"], entry=Entry(one["entry"]), endorses=place)
        for place, credential in enumerate(file["credentials"]) for one in credential["endorsements"]]
    held = [entry for entry in case.entries if entry.record["kind"] == "rollout.intervened"]
    case.interventions = [Namespace(form="Intervening", file=one.record["data"]["signed"], entry=one) for one in held]
    case.statements = case.decisions + case.interventions + case.endorsements
    for one in case.statements:
        one.said = read(one.file["statement"], one.form)["predicate"]
        one.person = one.said["endorser" if one.form == "Endorsed" else "approver"]
    is_whole = lambda said: [name in said for name in ("deployment", "policy_digest", "deployments")] in ([True, True, False], [False, False, True])
    require(all(is_whole(one.said) for one in case.decisions), "a decision is on one or on a list")
    case.signers = [one["sign_in"] for one in file["credentials"] + [one.file for one in case.endorsements + case.interventions] + file["decisions"]]
    list(map(read_key, [signer["key"] for signer in [file["requester"], *case.signers] if "key" in signer]))
    yield "audience_mismatch"
    require(case.deployment["audience"] == case.trust["origin"])
    yield "policy_mismatch"
    require((digest_of(file["policy"]), case.policy["environment"]) == tuple(map(case.deployment.get, ("policy_digest", "environment"))))

def of_log(case):
    yield "checkpoint_invalid"
    size, root = signatures.read_checkpoint(case.file["checkpoint"], case.trust["log"])
    yield "cosignature_invalid"
    witnesses = [one["witness"] for one in case.file["cosignatures"] if signatures.is_cosigned(case.file["checkpoint"], **one)]
    require(witnesses == sorted({*witnesses}) and len(witnesses) == len(case.file["cosignatures"]))
    yield "not_witnessed"
    require(len({*witnesses} & {*case.trust.get("witnesses", [])}) >= case.trust.get("witnesses_required", 0))
    entries = case.entries + case.enrolments + [*filter(None, case.ends), *(one.entry for one in case.endorsements)]
    yield "entry_not_included"
    require(all(signatures.root_of_path(entry.leaf, entry.index, size, entry.inclusion) == root for entry in entries))
    yield "entry_signature_invalid"
    require(all(entry.is_signed_by(case.trust["log"]) for entry in entries))
    yield "chain_broken"
    before, case.recorded, deployment = None, [], case.deployment
    ours = {"id": deployment["approval"], "policy_digest": deployment["policy_digest"], "deployment_digest": case.digest}
    for version, entry in enumerate(case.entries, 1):
        approval, known = entry.record.get("approval", {}), len(case.recorded)
        is_ours = (ours | {"version": version}).items() <= approval.items()
        require(is_ours and approval.get("previous") == (before and before.hash.hex()))
        is_later = before and entry.index > before.index and entry.at >= before.at
        require((is_later if before else entry.record["kind"] == "approval.requested") and approval["decisions"][:known] == case.recorded)
        for decision in case.decisions[known:len(approval["decisions"])]:
            decision.entry = entry
        before, case.recorded, case.state = entry, approval["decisions"], approval["state"]
    require(before, "there is none")

def of_requester(case):
    yield "requester_mismatch"
    requester, (token, key) = case.deployment["requester"], map(case.file["requester"].get, ("token", "key"))
    # Of a run alone the gate says who asked; nothing else is asked for without a token.
    require((token is None) == (case.deployment["schema"] == RUN), "a token is missing, or there where none can be")
    if token is None:
        yield from of_run(case, requester)
        return
    noted = {"token_digest": digest_of(token), "token_key": thumbprint(key)}
    require(case.entries[0].record.get("data") == noted, "the log recorded another one")
    claims, issuers = part_of(token, 1), {one["name"]: one for one in case.trust["workload_issuers"]}
    named = requester["claims"] | {"iss": requester["issuer_url"], "sub": requester["subject"]}
    require(canonical(claims) == canonical(requester["claims"]) == canonical(named), "its claims are others")
    audience = stated[0] if isinstance(stated := claims.get("aud"), list) and len(stated) == 1 else stated
    pinned, issuer = {"issuer": claims["iss"], "audience": audience}, issuers.get(requester["issuer"], {})
    require(pinned.items() <= issuer.items(), "no issuer of this name is pinned with its iss and aud")
    asked = nanoseconds(case.deployment["requested_at"])
    begins = max([0, *(time_of(claims, name) for name in ("iat", "nbf") if name in claims)])
    require(begins - LEEWAY <= asked < time_of(claims, "exp") + LEEWAY, "it was not valid")
    require_signed(token, key, issuer["keys"])
    yield "requester_not_allowed"
    asked, policy, tools = case.deployment, case.policy, [one["tool"] for one in case.policy.get("actions", [])]
    is_image = asked.get("image", "").partition("@")[0] in policy["images"]
    require(asked.get("tool") in tools or is_image and asked["service"] in policy["services"])
    require(any(admits(rule, requester) for rule in policy["requesters"]))

def admits(rule, requester):
    """Whether the rule lets this requester ask. It has to know for whom, where the token is for somebody else's use."""
    said = {name: value for name, value in requester["claims"].items() if isinstance(value, str)}
    is_known = rule["acts_for"]["claim"] in said if "acts_for" in rule else "act" not in requester["claims"]
    return is_known and rule["issuer"] == requester["issuer"] and fits(rule["claims"], said)

def of_run(case, requester):
    asked, repository = case.deployment, case.deployment["repository"]
    require(case.entries[0].record.get("data") == {"delivery": asked["delivery"]}, "the log recorded another webhook")
    named = {"issuer": "github-webhook", "issuer_url": "https://" + asked["host"], "subject": repository["name"]}
    named |= {"key": f"github-webhook:{repository['id']}", "claims": {}}
    require(requester == named, "who asked does not follow from the repository")
    yield "requester_not_allowed"
    said = {"repository_id": str(repository["id"]), "workflow": asked["workflow"].partition("@")[0]}
    said |= {name: asked[name] for name in ("branch", "event")}
    require(any(listed and fits(listed, said) for listed in case.policy.get("workflow_runs", [])))

def fits(listed, said):
    """Whether everything that is named is one of the texts. One that ends in `*` means all that begins like it."""
    return all(name in said and any(text in (said[name], said[name][:len(text) - 1] + "*") for text in listed[name])
        for name in listed)

def time_of(claims, name):
    require(type(claims.get(name)) is int and 0 <= claims[name] < 10**11, f"its {name} is no time")
    return claims[name] * 10**9

def require_signed(token, key, pinned):
    is_pinned = key in (pinned or [key])
    require(is_pinned and is_signed(token, key), "", "token_signature_invalid" if is_pinned else "issuer_key_not_pinned")

def require_recorded(entry, kind, data):
    record = {"schema": entry.record["schema"], "kind": kind, "at": entry.record["at"], "data": data}
    require(canonical(entry.record) == canonical(record), "another one was recorded")

def require_statement(one, kind, subjects, ours):
    """Its statement is of this kind, about these subjects, and says what is ours. Gives the digests of it."""
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects]
    predicate = {name: value for name, value in (one.said | ours).items() if value is not None}
    members = {"predicateType": PREDICATE + kind, "subject": subjects, "predicate": predicate}
    is_ours = canonical(STATEMENT | members) == one.file["statement"]
    require(is_ours and one.file["credential_id"] in one.said["credentials"], "it says something else")
    assertion = canonical({name: one.file[name] for name in ASSERTION if name in one.file})
    return {"statement_digest": digest_of(one.file["statement"]), "assertion_digest": digest_of(assertion)}

def of_keys(case):
    """A key is its credential's id, its owner, the entry of its enrolment, and its material."""
    yield "enrolment_invalid"
    trust, case.keys = case.trust, []
    for credential, entry, end in zip(case.file["credentials"], case.enrolments, case.ends):
        registration, token = credential["registration"], credential["sign_in"]["id_token"]
        key, said = webauthn.read_registration(registration, trust["origin"], trust["rp_id"])
        claims, digest = part_of(token, 1), sha256(registration.encode())
        noted = said | {"person": person_of(claims), "registration_digest": digest.hex()}
        noted |= {"sign_in_digest": digest_of(token), "sign_in_key": thumbprint(credential["sign_in"]["key"])}
        require_recorded(entry, "credential.registered", noted)
        require(has_form(noted["person"], "Person") and claims.get("nonce") == to_base64url(digest))
        is_end = end and has_form(end.record, "Revocation") and end.record["data"]["credential"] == noted["credential"]
        require(not end or is_end and end.index > entry.index, "it was not revoked by the entry that is said to")
        case.keys.append((noted["credential"], noted["person"], entry, key))
    yield "sign_in_invalid"
    login = trust["login"]
    # A decision that was not recorded is left to the next check, an endorsement and its record too.
    signed = itertools.chain([{}] * (len(case.signers) - len(case.decisions)), case.recorded, itertools.repeat({}))
    for signer, noted in zip(case.signers, signed):
        claims, client = part_of(signer["id_token"], 1), login["client_id"]
        named = claims.get("azp", client), *(claims["aud"] if isinstance(claims.get("aud"), list) else [claims.get("aud")])
        require(claims.get("iss") == login["issuer"] and named == (client,) * max(len(named), 2))
        require_signed(signer["id_token"], signer["key"], login["keys"])
        require(noted.get("sign_in_key") in (None, thumbprint(signer["key"])))

def of_statements(case):
    yield "endorsement_invalid"
    trust, keys, deployment = case.trust, case.keys, case.deployment
    people = [*enumerate(key[1] for key in keys), *((one.endorses, one.person) for one in case.endorsements)]
    require(len({*map(str, people)}) == len(people), "by the owner of a key, or by one person twice")
    for one in case.endorsements:
        name, record = keys[one.endorses][0], case.file["credentials"][one.endorses]["entry"]["record"]
        noted = {"credential": name, "endorser": one.person, "signed_with": one.file["credential_id"]}
        noted["sign_in_key"] = thumbprint(one.file["sign_in"]["key"])
        noted |= require_statement(one, "endorsement:v1", [(name, digest_of(record))], {"audience": trust["origin"]})
        require_recorded(one.entry, "credential.endorsed", noted)
        one.recorded = {"decided_at": one.entry.record["at"]}
    yield "statement_mismatch"
    require(len(case.decisions) == len(case.recorded), "the log recorded another number of decisions")
    subjects = subjects_of(deployment)
    ours = {"deployment": deployment} | {name: deployment[name] for name in ("policy_digest", "audience")}
    for place, (one, one.recorded) in enumerate(zip(case.decisions, case.recorded)):
        found = {"person": one.person, "verdict": one.said["decision"], "reason": one.said.get("reason")}
        takes_back, before = one.said["decision"] == "withdraw", newest(case.recorded[:place]).get(canonical(one.person), {})
        kind, ours["withdraws"] = ("withdrawal:v1", before.get("statement_digest")) if takes_back else ("decision:v1", None)
        listed, told = one.said.get("deployments"), ours
        if listed is not None:
            kind, told = "batch-decision:v1", {"audience": deployment["audience"], "withdraws": None}
            require_batch(listed, deployment, takes_back)
        about = subjects if listed is None else [each for other in listed for each in subjects_of(other)]
        found |= {"credential": one.file["credential_id"]} | require_statement(one, kind, about, told)
        is_next = takes_back == (before.get("verdict", "withdraw") != "withdraw")
        require(found.items() <= one.recorded.items() and is_next, "another one was recorded, or the person decided twice")
    for one in case.interventions:
        one.recorded = {"decided_at": one.entry.record["at"]}
        require_statement(one, "intervention:v1", subjects, {"audience": deployment["audience"]})
    require(len({*(nonces := [one.said["nonce"] for one in case.decisions + case.interventions])}) == len(nonces), "one nonce twice")
    yield "statement_time"
    for one in case.statements:
        issued, expires = (nanoseconds(one.said[name]) for name in ("issued_at", "expires_at"))
        ends = deployment if "deployments" in one.said else one.said.get("deployment", one.said)
        last = min(issued + LONGEST_STATEMENT, nanoseconds(ends["expires_at"]))
        require(issued <= one.entry.at < expires <= last and one.recorded["decided_at"] == one.entry.record["at"])
    yield "sign_in_mismatch"
    for one in case.statements:
        claims = part_of(token := one.file["sign_in"]["id_token"], 1)
        require(digest_of(token) == one.said["sign_in_digest"] and person_of(claims) == one.person)
        one.groups = groups = claims.get(trust["login"]["groups_claim"], [])
        is_recent = -LEEWAY <= one.entry.at - time_of(claims, "iat") <= LONGEST_SIGN_IN + LEEWAY
        require(groups == one.recorded.get("groups", groups) and is_recent)
    yield "credential_not_enrolled"
    for one in case.statements:
        named = one.file["credential_id"], one.person
        one.by, *_ = [at for at, key in enumerate(keys) if key[:2] == named and key[2].index < one.entry.index]
    yield "not_endorsed"
    # Every key is an anchor, or endorsed by as many keys as are asked for, which counted before.
    needed, counts, before = case.policy["enrolment"]["endorsements"], {}, -1
    require(needed >= trust["endorsements"], "the policy asked for fewer")
    is_before = lambda one: counts.get(one.by, one.entry.index) < one.entry.index
    while before < len(counts):
        before = len(counts)
        for place, entry in enumerate(case.enrolments):
            own = [one for one in case.endorsements if one.endorses == place]
            if entry.record["data"]["public_key"] in trust["endorsers"]:
                counts[place] = entry.index
            elif len(own) == needed and all(map(is_before, own)):
                counts[place] = max([entry.index, *(one.entry.index for one in own)])
    require(len(counts) == len(keys) and all(map(is_before, case.decisions + case.interventions)), "no anchor, or a key signed before it counted")
    yield "key_not_accepted"
    rules, others = case.policy.get("keys", {}), [] # Others: in use, or given up a short time before together with it.
    fits = [model in rules.get("allow", [model]) and model not in rules.get("deny", []) and rules.get("kind", kind) == kind
        for one in case.enrolments for model in [str(uuid.UUID(one.record["data"]["aaguid"]))]
        for kind in ["synced" if one.record["data"]["backup_eligible"] else "device_bound"]]
    for one in (one for one in case.decisions if "keys" in case.policy and one.said["decision"] != "withdraw"):
        is_over = lambda begin, name: one.entry.at - begin.at >= rules.get(name + "_seconds", 0) * 10**9
        ended = lambda end: end and end.index < one.entry.index
        is_held = lambda end: not ended(end) or end.index > keys[one.by][2].index and not is_over(end, "replacement_grace")
        own = [key[0] for at, key in enumerate(keys) if at != one.by and key[1] == one.person and fits[at] and is_held(
            case.ends[at]) and counts[at] < one.entry.index]
        require(fits[one.by] and is_over(keys[one.by][2], "cool_down") and not ended(case.ends[one.by]))
        require(len(own) + 1 >= (needed := max(rules.get("minimum_keys", 1), 1)), "its owner has too few")
        others += own[:needed - 1]
    yield "assertion_invalid"
    for one in case.statements:
        issuer, subject = (one.person[name].encode() for name in ("issuer", "subject"))
        handle = sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject)
        require(one.file.get("user_handle") in (None, to_base64url(handle)), "it names another person")
        challenge = sha256(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(said := one.file["statement"].encode()), said)
        parts = [from_base64url(one.file[name]) for name in ASSERTION[:3]]
        webauthn.check_assertion(keys[one.by][3], *parts, challenge, trust["origin"], trust["rp_id"])
    yield "unused_credential"
    signed = [[one.file["credential_id"] for one in some] for some in (case.decisions + case.interventions, case.endorsements)]
    require([key[0] for key in keys] == [*dict.fromkeys(signed[0] + others + signed[1])])
    yield "state_mismatch"
    refusals = [one["verdict"] == "reject" and [one["person"], one["name"], one["reason"]] for one in case.recorded]
    told = case.state["status"] == "rejected" and [case.state[name] for name in ("by", "name", "reason")]
    require(not any(refusals[:-1]) and (refusals or [False])[-1] == told)
    yield "quorum_not_met"
    # Whoever issued the credential of an agent, or has it act for them, asked through it, whoever started a run asked, and they count for nothing.
    said, named = (asks := case.deployment["requester"])["claims"], [
        one["acts_for"] for one in case.policy["requesters"] if "acts_for" in one and admits(one, asks)]
    behind = [{"issuer": one["directory"], "subject": said[one["claim"]]} for one in named]
    if asks["issuer"] == "agent-credential":
        behind.append({"issuer": said.get("issued_by_issuer"), "subject": said.get("issued_by_subject")})
    started = [str(case.deployment[name]["id"]) for name in ("actor", "triggering_actor") if name in case.deployment]
    owners = {case.policy.get("github_accounts", {}).get(account) for account in started}
    asked = lambda person: person in behind or person["subject"] in owners
    for told in (entry.record["approval"] for entry in case.entries):
        people = [one for one in newest(told["decisions"]).values() if one["verdict"] == "approve" and not asked(one["person"])]
        require(told["state"]["status"] not in APPROVED or is_met(case.policy["rules"], people))
    anybody = [{"from": sum((rule["from"] for rule in case.policy["rules"]), []), "count": 1}]
    may_sign = lambda one: not asked(one.person) and has_form(one.groups, "text*") and is_met(anybody, [vars(one)])
    require(all(map(may_sign, case.interventions)), "no rule names who intervened")

def subjects_of(asked):
    """What a statement on this is about: its image, if it has one, and its approval, each with a digest."""
    images = [text.split("@sha256:") for name, text in asked.items() if name == "image"]
    return [*images, (asked["approval"], digest_of(canonical(asked)))]

def require_batch(listed, deployment, takes_back):
    """It lists 2 to 32 deployments for one gate, each approval once, and exactly this one among them."""
    is_ours = 2 <= len(listed) <= MOST_IN_BATCH and canonical(deployment) in map(canonical, listed) and not takes_back
    is_once = len({other["approval"] for other in listed}) == len(listed)
    require(is_ours and is_once and all("image" in other and other["audience"] == deployment["audience"] for other in listed), "its list is another")

def is_met(rules, people):
    """Whether any rules together find as many people as they need, so that each has its own (Hall's theorem)."""
    people = [{f"person:{one['person']['subject']}", *map("group:{}".format, one["groups"])} for one in people]
    chosen = itertools.chain.from_iterable(itertools.combinations(rules, size + 1) for size in range(len(rules)))
    return bool(rules) and all(rule["count"] for rule in rules) and all(
        sum(rule["count"] for rule in some) <= sum(any(person & {*rule["from"]} for rule in some) for person in people)
        for some in chosen)
