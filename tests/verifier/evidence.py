"""The checks of an evidence file. Each begins where its code is yielded, in the order of codes.txt."""

import itertools, pathlib, uuid
from types import SimpleNamespace as Namespace
from cryptography.exceptions import InvalidSignature
from . import signatures, webauthn
from .documents import all_differ, canonical, digest_of, from_base64url, has_form, nanoseconds, read, read_json, require
from .documents import sha256, to_base64url

LARGEST_FILE, MOST_IN_BATCH, RUN, RULES = 4 * 1024**2, 32, "countersign/workflow_run/v1", "countersign/policy_change/v1"
OUTAGE = "directory_unreachable_since"
LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 30 * 10**9, 300 * 10**9, 900 * 10**9
ASSERTION = ("authenticator_data", "client_data_json", "signature", "user_handle")
APPROVED = {"approved", "executing", "succeeded", "failed", "rolled_back", "needs_attention"}
CODES = dict(line.split(" ", 1) for line in pathlib.Path(__file__).with_name("codes.txt").read_text().splitlines())

def read_trust(data):
    trust = read_json(data.decode())
    require(has_form(trust, "Trust"), "the trust anchors have members that are missing, unknown or malformed")
    signatures.read_verifier_key(trust["log"])
    list(map(webauthn.read_cose_key, map(from_base64url, trust["endorsers"])))
    witnesses = [signatures.read_verifier_key(one, 4)[2] for one in trust.get("witnesses", [])]
    is_once = all(map(all_differ, ([one["name"] for one in trust["workload_issuers"]], trust["endorsers"], witnesses)))
    require(is_once and trust.get("witnesses_required", 0) <= len(witnesses), "something is there twice, or too few witnesses")
    return trust

def verify(data, trust):
    """The verdict on the bytes of a file. What else it raises is a defect of this program."""
    case, code = Namespace(trust=trust, data=data), None
    parts = (of_form, of_log, of_requester, of_keys, of_statements, of_signing_keys, of_outcome)
    try:
        for code in itertools.chain.from_iterable(part(case) for part in parts):
            pass
    except (ValueError, RecursionError, InvalidSignature) as broken:
        sentence = CODES[code] + (f" ({broken})" if str(broken) else "")
        return {"verdict": "invalid", "status": None, "approval": None, "code": code, "sentence": sentence}
    status, approval = case.state["status"], case.deployment["approval"]
    verdict, sentence = "approved" if status in APPROVED else "not_approved", f"Everything holds. The approval is {status}{', by breaking the glass' * case.by_glass}."
    return {"verdict": verdict, "status": status, "approval": approval, "code": None, "sentence": sentence}

def statement(form, signed, entry=None):
    """What a person signed, and the entry that tells of it, which of_log finds for a decision."""
    document = read(signed["statement"], form)
    said, person = document["predicate"], document["predicate"]["endorser" if form == "Endorsed" else "approver"]
    return Namespace(**signed, **signed["sign_in"], document=document, said=said, person=person, entry=entry, recorded={})

def of_form(case):
    yield "malformed"
    require(len(case.data) <= LARGEST_FILE, "it is larger than 4 MiB")
    case.file = file = read(case.data.decode(), "Evidence")
    case.deployment, case.policy = read(file["deployment"], "Deployment"), read(file["policy"], "Policy")
    case.entries = list(map(signatures.Entry, file["entries"]))
    case.keys = [Namespace(**one, **one["sign_in"], recorded={}) for one in file["credentials"]]
    for key in case.keys:
        key.entered, key.ended = signatures.Entry(key.entry), signatures.Entry(key.revoked) if "revoked" in vars(key) else None
        key.endorsed = [statement("Endorsed", one["signed"], signatures.Entry(one["entry"])) for one in key.endorsements]
    case.decisions = [statement("Decided", one) for one in file["decisions"]]
    intervened = [entry for entry in case.entries if entry.record["kind"] == "rollout.intervened"]
    case.interventions = [statement("Intervening", one.record["data"]["signed"], one) for one in intervened]
    case.endorsements = [one for key in case.keys for one in key.endorsed]
    case.statements = case.decisions + case.interventions + case.endorsements
    yield "audience_mismatch"
    require(case.deployment["audience"] == case.trust["origin"])
    yield "policy_mismatch"
    require(has_form(case.deployment, "UnderPolicy", case.policy | {"policy": file["policy"]}))

def of_log(case):
    yield "checkpoint_invalid"
    log, checkpoint, cosignatures = case.trust["log"], case.file["checkpoint"], case.file["cosignatures"]
    size, root = signatures.read_checkpoint(checkpoint, log)
    yield "cosignature_invalid"
    for one in cosignatures:
        signatures.require_cosignature(checkpoint, **one)
    require((witnesses := [one["witness"] for one in cosignatures]) == sorted({*witnesses}))
    yield "not_witnessed"
    require(len({*witnesses} & {*case.trust.get("witnesses", [])}) >= case.trust.get("witnesses_required", 0))
    yield "entry_not_included"
    entries = case.entries + [entry for key in case.keys for entry in (key.entered, key.ended) if entry]
    entries += [one.entry for one in case.endorsements]
    require(all(signatures.root_of_path(entry.leaf, entry.index, size, entry.inclusion) == root for entry in entries))
    yield "entry_signature_invalid"
    for entry in entries:
        entry.require_signed_by(log)
    yield "chain_broken"
    before, case.recorded, facts = None, [], case.deployment | {"deployment": case.file["deployment"]}
    for version, entry in enumerate(case.entries, 1):
        facts |= {"version": version, "previous": before and before.hash.hex()}
        is_next = has_form(entry.record, "Next" if before else "First", facts)
        require(is_next and (not before or entry.index > before.index and entry.at >= before.at))
        approval, known = entry.record["approval"], len(case.recorded)
        require(approval["decisions"][:known] == case.recorded)
        for one, one.recorded in zip(case.decisions[known:], approval["decisions"][known:]):
            one.entry = entry
        before, case.recorded, case.state = entry, approval["decisions"], approval["state"]
    require(before, "there is none")

def of_requester(case):
    yield "requester_mismatch"
    asked, requester, is_rules = case.deployment, case.deployment["requester"], case.deployment["schema"] == RULES
    (token, key), run = map(case.file["requester"].get, ("token", "key")), asked.get("repository", {"id": None})
    # Of a run and of a change of the rules the gate says who asked; nothing else is asked for without a token.
    require((asked["schema"] == RUN or is_rules) == (token is None), "a token is missing, or there where none can be")
    facts = asked | run | {"issuer_url": f"https://{asked.get('host')}", "key": f"github-webhook:{run['id']}"}
    facts |= {"origin": asked["audience"], **{name: canonical(asked[name]) for name in ("before", "after")}} if is_rules else {}
    require(has_form(case.entries[0].record.get("data"), "Requested", case.file["requester"] if token else facts), "another one was recorded")
    if token is None:
        require(has_form(requester, "SaidRequester", facts), "who asked does not follow from what is asked for")
    else:
        claims, issuers = signatures.part_of(token, 1), {one["name"]: one for one in case.trust["workload_issuers"]}
        require(has_form(requester, "TokenRequester", requester["claims"] | {"claims": claims}), "its claims are others")
        issuer = issuers.get(requester["issuer"], {"audience": None})
        require(has_form(claims, "TokenClaims", issuer | {"audiences": [issuer["audience"]]}), "it is of no pinned issuer")
        begins, ends = max(claims.get("iat", 0), claims.get("nbf", 0)) * 10**9, claims["exp"] * 10**9
        require(begins - LEEWAY <= nanoseconds(asked["requested_at"]) < ends + LEEWAY, "it was not valid")
        yield from of_signature(token, key, issuer["keys"])
    yield "requester_not_allowed"
    require(may_ask(asked, case.policy))

def rules_of(before, after):
    """Those of a change of the rules: of each environment that it touches, and of all if it touches more."""
    general = lambda book: [*map(book.get, ("roles", "anchors", "settings")), {name: one["services"] for name, one in book["environments"].items()}]
    return [rule | {"environment": name} for name, one in sorted(before["environments"].items())
        if general(before) != general(after) or one != after["environments"][name] for rule in one["rules"]]

def of_signature(token, key, pinned):
    yield "issuer_key_not_pinned"
    require(not pinned or key in pinned)
    yield "token_signature_invalid"
    signatures.require_token_signature(token, key)

def may_ask(asked, policy):
    """Whether the policy lets this requester ask for this service and image, this tool, this run or this change."""
    if asked["schema"] == RUN:
        said = {"repository_id": str(asked["repository"]["id"]), "workflow": asked["workflow"].partition("@")[0]}
        said |= {name: asked[name] for name in ("branch", "event")}
        return any(listed and fits(listed, said) for listed in policy.get("workflow_runs", []))
    if asked["schema"] == RULES:
        return policy["rules"] == rules_of(asked["before"], asked["after"])
    is_tool = asked.get("tool") in [one["tool"] for one in policy.get("actions", [])]
    is_image = asked.get("image", "").partition("@")[0] in policy["images"] and asked["service"] in policy["services"]
    return (is_tool or is_image) and any(admits(rule, asked["requester"]) for rule in policy["requesters"])

def admits(rule, requester):
    """Whether the rule lets this requester ask. It has to know for whom, where the token is for somebody else's use."""
    said = {name: value for name, value in requester["claims"].items() if isinstance(value, str)}
    is_known = rule["acts_for"]["claim"] in said if "acts_for" in rule else "act" not in requester["claims"]
    return is_known and rule["issuer"] == requester["issuer"] and fits(rule["claims"], said)

def fits(listed, said):
    """Whether everything that is named is one of the texts. One that ends in `*` means all that begins like it."""
    is_like = lambda value, text: value == text or text[-1:] == "*" and value.startswith(text[:-1])
    return all(name in said and any(is_like(said[name], text) for text in texts) for name, texts in listed.items())

def of_keys(case):
    yield "enrolment_invalid"
    trust, login = case.trust, case.trust["login"]
    for one in case.keys:
        one.material, said = webauthn.read_registration(one.registration, trust["origin"], trust["rp_id"])
        claims = signatures.part_of(one.id_token, 1)
        require(has_form(claims, "EnrolmentClaims", vars(one)), "its sign-in is for another registration")
        vars(one).update(said, person={"issuer": claims["iss"], "subject": claims["sub"]}, kept=kept(vars(one)))
        require(has_form(one.entered.record, "Registered", vars(one)), "another one was recorded")
        is_end = one.ended and one.ended.index > one.entered.index and has_form(one.ended.record, "Revocation", vars(one))
        require(is_end or not one.ended, "it was revoked by another entry")
    # A decision that was not recorded is left to the next check, an endorsement and its record too.
    for one in case.keys + case.endorsements + case.interventions + case.decisions:
        yield "sign_in_invalid"
        one.claims = signatures.part_of(one.id_token, 1)
        require(has_form(one.claims, "SignInClaims", login))
        yield from of_signature(one.id_token, one.key, login["keys"])
        yield "sign_in_invalid"
        require(has_form(one.recorded, "SignedIn", vars(one)) and ("gate_groups" not in vars(one) or login.get("gate_groups")))

def require_statement(one, form, subjects, facts):
    """Its statement is of this form, about these subjects, with these facts."""
    is_ours = has_form(one.document, form, facts | {"subjects": subjects})
    require(is_ours and one.credential_id in one.said["credentials"], "it says something else")
    one.assertion = canonical({name: value for name, value in vars(one).items() if name in ASSERTION})

def of_statements(case):
    yield "endorsement_invalid"
    deployment, last = case.deployment, {}
    is_once = all(all_differ(canonical(one.person) for one in [key, *key.endorsed]) for key in case.keys)
    require(is_once, "by the owner of a key, or by one person twice")
    for key, one in [(key, one) for key in case.keys for one in key.endorsed]:
        require_statement(one, "OurEndorsement", [subject(key.credential, digest_of(key.entry["record"]))], deployment)
        require(has_form(one.entry.record, "Endorsing", vars(one) | {"credential": key.credential}), "another one was recorded")
    yield "statement_mismatch"
    require(len(case.decisions) == len(case.recorded), "the log recorded another number of decisions")
    for one in case.decisions:
        before, listed = last.get(canonical(one.person), {}), one.said.get("deployments", [deployment])
        # A person decides once, or again after taking it back.
        require((before.get("verdict", "withdraw") == "withdraw") != (one.said["decision"] == "withdraw"), "the person decided twice")
        is_listed = canonical(deployment) in map(canonical, listed) and all_differ(other["approval"] for other in listed)
        require(is_listed and ("deployment" in one.said or 2 <= len(listed) <= MOST_IN_BATCH), "its list is another")
        facts = deployment | {"deployment": deployment, "withdraws": before.get("statement_digest")}
        require_statement(one, "OurDecision", sum(map(subjects_of, listed), []), facts)
        is_it = one.recorded.get(OUTAGE) == one.said.get(OUTAGE) and has_form(one.recorded, "DecidedNow", {"reason": None} | one.said | vars(one))
        require(is_it, "another one was recorded")
        last[canonical(one.person)] = one.recorded
    for one in case.interventions:
        require_statement(one, "OurIntervention", subjects_of(deployment), deployment)
    require(all_differ(one.said["nonce"] for one in case.decisions + case.interventions), "one nonce twice")
    yield "statement_time"
    for one in case.statements:
        issued, expires = nanoseconds(one.said["issued_at"]), nanoseconds(one.said["expires_at"])
        ends = nanoseconds(deployment["expires_at"]) if "decision" in one.said else expires
        require(issued <= one.entry.at < expires <= min(issued + LONGEST_STATEMENT, ends))
        require(one.recorded.get("decided_at") in (None, one.entry.record["at"]))
    yield "sign_in_mismatch"
    for one in case.statements:
        require(has_form(one.said, "OnSignIn", {"kept": kept(vars(one))}) and has_form(one.claims, "RecentClaims", one.person))
        signed = one.claims.get(case.trust["login"]["groups_claim"], [])
        one.groups = signed if "groups_must_be_signed" in case.policy else vars(one).get("gate_groups", signed)
        account = one.claims.get(case.policy.get("separation", {}).get("github_id_claim"))
        one.account = int(account) if has_form(account, "account_number") else None
        require(OUTAGE not in one.said or has_form(case.policy, "Bridging"), "the policy bridges no outage")
        longest = LONGEST_SIGN_IN if OUTAGE not in one.said else case.policy["break_glass"]["outage_grace_seconds"] * 10**9
        is_recent = -LEEWAY <= one.entry.at - one.claims["iat"] * 10**9 <= longest + LEEWAY
        require(is_recent and (not one.recorded or (one.groups, one.account) == (one.recorded["groups"], one.recorded.get("github_id"))))

kept = lambda one: canonical({name: one[name] for name in ("gate_groups", "id_token")}) if "gate_groups" in one else one["id_token"]
names_of = lambda person, groups: {f"person:{person['subject']}", *map("group:{}".format, groups)}
subject = lambda name, digest: {"name": name, "digest": {"sha256": digest}}

def subjects_of(asked):
    """What a statement on this is about: its image, if it has one, and its approval, each with a digest."""
    images = [subject(*asked["image"].split("@sha256:"))] if "image" in asked else []
    return [*images, subject(asked["approval"], digest_of(canonical(asked)))]

def of_signing_keys(case):
    yield "credential_not_enrolled"
    for one in case.statements:
        own = [key for key in case.keys if (key.credential, key.person) == (one.credential_id, one.person)]
        one.by, *_ = [key for key in own if key.entered.index < one.entry.index]
    yield "not_endorsed"
    # Every key is an anchor, or endorsed by as many keys as are asked for, which counted before.
    needed, used = case.policy["enrolment"]["endorsements"], case.decisions + case.interventions
    require(needed >= case.trust["endorsements"], "the policy asked for fewer")
    for key in case.keys:
        is_anchor = key.public_key in case.trust["endorsers"]
        counting = [] if is_anchor else key.endorsed
        require(is_anchor or len(counting) == needed, "a key is no anchor, and has more or fewer")
        key.begins, used = max([key.entered.index, *(one.entry.index for one in counting)]), used + counting
    require(all(one.by.begins < one.entry.index for one in used), "a key signed before it counted")
    yield "key_not_accepted"
    rules, others = case.policy.get("keys", {}), []
    is_over = lambda begin, end, name: end.at - begin.at >= rules.get(name, 0) * 10**9
    for one in [one for one in case.decisions if "keys" in case.policy and one.said["decision"] != "withdraw"]:
        now, by, least = one.entry, one.by, max(rules.get("minimum_keys", 1), 1)
        has_ended = lambda key: key.ended and key.ended.index < now.index
        is_replaced = lambda key: key.ended.index > by.entered.index and not is_over(key.ended, now, "replacement_grace_seconds")
        require(is_of_kind(by, rules) and is_over(by.entered, now, "cool_down_seconds") and not has_ended(by))
        # Others of its owner: in use, or given up a short time before together with it.
        own = [key for key in case.keys if key.person == one.person and key.begins < now.index and is_of_kind(key, rules)]
        held = [key.credential for key in own if key is not by and (not has_ended(key) or is_replaced(key))]
        require(len(held) + 1 >= least, "its owner has too few")
        others += held[:least - 1]
    yield "assertion_invalid"
    for one in case.statements:
        issuer, subject, said = (text.encode() for text in (one.person["issuer"], one.person["subject"], one.statement))
        handle = sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject)
        file, challenge = vars(one), sha256(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(said), said)
        require(file.get("user_handle") in (None, to_base64url(handle)), "it names another person")
        parts = [from_base64url(file[name]) for name in ASSERTION[:3]]
        webauthn.check_assertion(one.by.material, *parts, challenge, case.trust["origin"], case.trust["rp_id"])
    yield "unused_credential"
    signed, endorsed = ([one.credential_id for one in some] for some in (case.decisions + case.interventions, case.endorsements))
    require([key.credential for key in case.keys] == [*dict.fromkeys(signed + others + endorsed)])

def is_of_kind(key, rules):
    model, kind = str(uuid.UUID(key.aaguid)), "synced" if key.backup_eligible else "device_bound"
    return model in rules.get("allow", [model]) and model not in rules.get("deny", []) and rules.get("kind", kind) == kind

def of_outcome(case):
    yield "state_mismatch"
    *before, last = [{"verdict": None}, *case.recorded]
    require("reject" not in [one["verdict"] for one in before])
    require(has_form(case.state, "Refused" if last["verdict"] == "reject" else "NotRefused", last))
    yield "quorum_not_met"
    # They count for nothing: who issued the credential of an agent, whom it acts for, who started a run, who shipped it.
    asked, policy, rules = case.deployment, case.policy, case.policy["rules"]
    requester, claims, accounts = asked["requester"], asked["requester"]["claims"], policy.get("github_accounts", {})
    acts_for = [rule["acts_for"] for rule in policy["requesters"] if "acts_for" in rule and admits(rule, requester)]
    behind = [{"issuer": one["directory"], "subject": claims[one["claim"]]} for one in acts_for]
    issued = {"issuer": claims.get("issued_by_issuer"), "subject": claims.get("issued_by_subject")}
    behind += [issued] * (requester["issuer"] == "agent-credential")
    started = [accounts.get(str(asked[name]["id"])) for name in ("actor", "triggering_actor") if name in asked]
    has_asked = lambda person: person in behind or person["subject"] in started
    shipped, said = asked.get("shipped", {"accounts": []}), [claims.get(name) for name in ("repository_id", "sha", "actor_id")]
    hands, place = [str(one["id"]) for one in shipped["accounts"]], [str(shipped.get("repository")), shipped.get("commit")]
    own = lambda person, account: {one for one in accounts if accounts[one] == person["subject"]} | {str(account)} - {"None"}
    is_free = "separation" not in policy or {"image", "run"}.isdisjoint(asked)
    is_apart = lambda *who: is_free or said[:2] == place and said[2] in hands and own(*who) and own(*who).isdisjoint(hands)
    for approval in [entry.record["approval"] for entry in case.entries]:
        last = {canonical(one["person"]): one for one in approval["decisions"] if not has_asked(one["person"])}
        signed = lambda verdict: [one for one in last.values() if one["verdict"] == verdict and is_apart(one["person"], one.get("github_id"))]
        case.by_glass = is_met(policy.get("break_glass", {}).get("rules", []), signed("break_glass"))
        require(approval["state"]["status"] not in APPROVED or case.by_glass or is_met(rules, signed("approve")))
    for one in case.interventions:
        is_listed = has_form(one.groups, "text*") and any(names_of(one.person, one.groups) & {*rule["from"]} for rule in rules)
        may_go_on = one.said["act"] == "restore" or is_apart(one.person, one.account)
        require(is_listed and may_go_on and not has_asked(one.person), "no rule names who intervened")

def is_met(rules, people):
    """Whether any rules together find as many people as they need, so that each has its own (Hall's theorem)."""
    people = [names_of(one["person"], one["groups"]) for one in people]
    groups = [[rule for rule in rules if rule.get("environment") == name] for name in {rule.get("environment") for rule in rules}]
    chosen = (some for group in groups for size in range(len(group)) for some in itertools.combinations(group, size + 1))
    return bool(rules) and all(rule["count"] for rule in rules) and all(
        sum(rule["count"] for rule in some) <= sum(any(person & {*rule["from"]} for rule in some) for person in people)
        for some in chosen)
