"""The checks of an evidence file, in the order of codes.txt. Each begins where its code is yielded, with what must hold first (True: nothing)."""

import datetime, itertools, pathlib, types, zoneinfo
from cryptography.exceptions import InvalidSignature
from . import attestation, signatures, webauthn
from .documents import all_differ, canonical, digest_of, from_base64url, has_form, nanoseconds, read, read_json, require, sha256, to_base64url

LARGEST_FILE, MOST_IN_BATCH, LEEWAY, LONGEST_STATEMENT, LONGEST_SIGN_IN = 4 * 1024**2, 32, 30 * 10**9, 300 * 10**9, 900 * 10**9
ASSERTION = ("authenticator_data", "client_data_json", "signature", "user_handle")
TIME_ZONES, DAYS, OUTAGE = zoneinfo.available_timezones(), "mon tue wed thu fri sat sun".split(), "directory_unreachable_since"
CODES = dict(line.split(" ", 1) for line in pathlib.Path(__file__).with_name("codes.txt").read_text().splitlines())

def read_trust(data):
    require(has_form(trust := read_json(data.decode()), "Trust"), "the trust anchors have members that are missing, unknown or malformed")
    signatures.read_verifier_key(trust["log"])
    list(map(webauthn.read_cose_key, map(from_base64url, trust["endorsers"])))
    witnesses = [signatures.read_verifier_key(one, 4)[2] for one in trust.get("witnesses", [])]
    require(all(map(attestation.is_root, trust.get("attestation_roots", []))), "a root is no certificate that may issue others")
    is_once = all(map(all_differ, ([one["name"] for one in trust["workload_issuers"]], trust["endorsers"], witnesses, trust.get("attestation_roots", []))))
    require(is_once and trust.get("witnesses_required", 0) <= len(witnesses), "something is there twice, or too few witnesses")
    return trust

def verify(data, trust):
    """The verdict on the bytes of a file. What else it raises is a defect of this program."""
    case, code = types.SimpleNamespace(trust=trust, data=data, in_windows=True), None
    try:
        for code, *holds in itertools.chain(*(part(case) for part in (of_form, of_log, of_requester, of_keys, of_statements, of_signing_keys, of_outcome))):
            require(*holds)
    except (ValueError, RecursionError, InvalidSignature) as broken:
        return {"verdict": "invalid", "status": None, "approval": None, "code": code, "sentence": CODES[code] + f" ({broken})" * bool(str(broken))}
    status, approval = case.state["status"], case.deployment["approval"]
    verdict = "approved" if has_form(case.state, "Approved") and case.in_windows else "not_approved"
    sentence = f"Everything holds. The approval is {status}{', by breaking the glass' * case.by_glass}{', outside of the windows' * (not case.in_windows)}."
    return {"verdict": verdict, "status": status, "approval": approval, "code": None, "sentence": sentence}

def statement(form, signed, entry=None):
    """What a person signed, and the entry that tells of it, which of_log finds for a decision."""
    document, assertion = read(signed["statement"], form), {name: signed[name] for name in ASSERTION if name in signed}
    said, person = document["predicate"], document["predicate"]["endorser" if form == "Endorsed" else "approver"]
    return types.SimpleNamespace(**signed, **signed["sign_in"], document=document, said=said, person=person, assertion=assertion, entry=entry, recorded={})

def of_form(case):
    yield "malformed", len(case.data) <= LARGEST_FILE, "it is larger than 4 MiB"
    case.file = file = read(case.data.decode(), "Evidence")
    case.deployment, case.policy = read(file["deployment"], "Deployment"), read(file["policy"], "Policy")
    case.entries = list(map(signatures.read_entry, file["entries"]))
    case.keys = [types.SimpleNamespace(**one, **one["sign_in"], recorded={}) for one in file["credentials"]]
    for key in case.keys:
        key.entered, *key.ended = [signatures.read_entry(vars(key)[name]) for name in ("entry", "revoked") if name in vars(key)]
        key.endorsed = [statement("Endorsed", one["signed"], signatures.read_entry(one["entry"])) for one in key.endorsements]
    case.decisions = [statement("Decided", one) for one in file["decisions"]]
    case.interventions = [statement("Intervening", one.record["data"]["signed"], one) for one in case.entries if one.record["kind"] == "rollout.intervened"]
    case.endorsements = [one for key in case.keys for one in key.endorsed]
    case.statements = case.decisions + case.interventions + case.endorsements
    yield "audience_mismatch", case.deployment["audience"] == case.trust["origin"]
    yield "policy_mismatch", has_form(case.deployment, "UnderPolicy", case.policy | {"policy": file["policy"]})

def of_log(case):
    yield "checkpoint_invalid", True
    log, checkpoint, witnesses = case.trust["log"], case.file["checkpoint"], [one["witness"] for one in case.file["cosignatures"]]
    size, root = signatures.read_checkpoint(checkpoint, log)
    yield "cosignature_invalid", witnesses == sorted({*witnesses}), "they are not in order"
    for one in case.file["cosignatures"]:
        signatures.require_cosignature(checkpoint, **one)
    yield "not_witnessed", len({*witnesses} & {*case.trust.get("witnesses", [])}) >= case.trust.get("witnesses_required", 0)
    yield "entry_not_included", True
    entries = case.entries + [entry for key in case.keys for entry in (key.entered, *key.ended)] + [one.entry for one in case.endorsements]
    require(all(signatures.root_of_path(entry.leaf, entry.index, size, entry.inclusion) == root for entry in entries))
    yield "entry_signature_invalid", True
    for entry in entries:
        signatures.require_signature(signatures.read_verifier_key(log)[2], "EdDSA", *entry.signed)
    yield "chain_broken", case.entries, "there is none"
    case.recorded, facts = [], case.deployment | {"deployment": case.file["deployment"]}
    for version, (before, entry) in enumerate(itertools.pairwise([None, *case.entries]), 1):
        facts |= {"version": version, "previous": before and before.hash.hex()}
        require(has_form(entry.record, "Next" if before else "First", facts) and (not before or entry.index > before.index and entry.at >= before.at))
        known, case.recorded, case.state = case.recorded, entry.record["approval"]["decisions"], entry.record["approval"]["state"]
        require(case.recorded[:len(known)] == known)
        for one, one.recorded in [*zip(case.decisions, case.recorded)][len(known):]:
            one.entry = entry

def of_requester(case):
    asked, asker, run = case.deployment, case.file["requester"], case.deployment.get("repository", {})
    facts = asked | run | {"issuer_url": f"https://{asked.get('host')}", "key": f"github-webhook:{run.get('id')}"} | asker
    yield "requester_mismatch", has_form(case.entries[0].record.get("data"), "Requested", facts), "another one was recorded"
    if "token" not in asker:
        require(has_form(asked, "SaidByGate", facts), "who asked does not follow from what is asked for")
    else:
        claims, requester = signatures.part_of(asker["token"], 1), asked["requester"]
        require(has_form(asked, "SaidByToken", requester["claims"] | {"claims": claims}), "its claims are others")
        issuer, = [one for one in case.trust["workload_issuers"] if one["name"] == requester["issuer"]]
        require(has_form(claims, "TokenClaims", issuer | {"audiences": [issuer["audience"]]}), "it is of no pinned issuer")
        begins = max(claims.get("iat", 0), claims.get("nbf", 0)) * 10**9
        require(begins - LEEWAY <= nanoseconds(asked["requested_at"]) < claims["exp"] * 10**9 + LEEWAY, "it was not valid")
        yield from of_signature(asker["token"], asker["key"], issuer["keys"])
    yield "requester_not_allowed", may_ask(asked, case.policy)

def rules_of(before, after):
    """Those of a change of the rules: of each environment that it touches, and of all if it touches more."""
    general = lambda book: [*map(book.get, ("roles", "anchors", "settings")), {name: (one["services"], one.get("jobs")) for name, one in book["environments"].items()}]
    return [rule | {"environment": name} for name, one in sorted(before["environments"].items())
        if general(before) != general(after) or one != after["environments"][name] for rule in one["rules"]]

def of_signature(token, key, pinned):
    yield "issuer_key_not_pinned", not pinned or key in pinned
    yield "token_signature_invalid", True
    signatures.require_token_signature(token, key)

def may_ask(asked, policy):
    if "run" in asked:
        said = {"repository_id": str(asked["repository"]["id"]), "workflow": asked["workflow"].partition("@")[0], "branch": asked["branch"], "event": asked["event"]}
        return any(listed and fits(listed, said) for listed in policy.get("workflow_runs", []))
    if "before" in asked:
        return policy["rules"] == rules_of(asked["before"], asked["after"])
    is_tool = asked.get("tool") in [one["tool"] for one in policy.get("actions", [])]
    is_image = asked.get("image", "").partition("@")[0] in policy["images"] and asked.get("service", asked.get("job")) in policy["services"] + policy.get("jobs", [])
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
    yield "enrolment_invalid", True
    trust, login = case.trust, case.trust["login"]
    for one in case.keys:
        one.material, said = webauthn.read_registration(one.registration, trust["origin"], trust["rp_id"])
        require(has_form(claims := signatures.part_of(one.id_token, 1), "EnrolmentClaims", vars(one)), "its sign-in is for another registration")
        vars(one).update(said, person={"issuer": claims["iss"], "subject": claims["sub"]}, kept=kept(vars(one)))
        require(has_form(one.entered.record, "Registered", vars(one)), "another one was recorded")
        one.meets = attestation.met_by(one, trust.get("attestation_roots", []))
        require(all(end.index > one.entered.index and has_form(end.record, "Revocation", vars(one)) for end in one.ended), "it was revoked by another entry")
    # A decision that was not recorded is left to the next check, an endorsement and its record too.
    for one in case.keys + case.endorsements + case.interventions + case.decisions:
        yield "sign_in_invalid", True
        one.claims = signatures.part_of(one.id_token, 1)
        require(has_form(one.claims, "SignInClaims", login))
        yield from of_signature(one.id_token, one.key, login["keys"])
        yield "sign_in_invalid", has_form(one.recorded, "SignedIn", vars(one)) and ("gate_groups" not in vars(one) or login.get("gate_groups"))

def of_statements(case):
    deployment, last = case.deployment, {}
    yield "endorsement_invalid", all(all_differ(canonical(one.person) for one in [key, *key.endorsed]) for key in case.keys), "by its owner, or one person twice"
    for key, one in [(key, one) for key in case.keys for one in key.endorsed]:
        require_statement(one, "OurEndorsement", deployment | {"subjects": [subject(key.credential, digest_of(key.entry["record"]))]})
        require(has_form(one.entry.record, "Endorsing", vars(one) | {"credential": key.credential}), "another one was recorded")
    yield "statement_mismatch", len(case.decisions) == len(case.recorded), "the log recorded another number of decisions"
    for one in case.decisions:
        standing, listed = last.get(canonical(one.person)), one.said.get("deployments", [deployment])
        # A person decides once, or again after taking it back.
        require(not standing or "withdraws" in one.said, "the person decided twice")
        is_listed = canonical(deployment) in map(canonical, listed) and all_differ(other["approval"] for other in listed)
        require(is_listed and ("deployment" in one.said or 2 <= len(listed) <= MOST_IN_BATCH), "its list is another")
        require_statement(one, "OurDecision", deployment | {"deployment": deployment, "withdraws": standing, "subjects": sum(map(subjects_of, listed), [])})
        is_it = one.recorded.get(OUTAGE) == one.said.get(OUTAGE) and has_form(one.recorded, "DecidedNow", {"reason": None} | one.said | vars(one))
        require(is_it, "another one was recorded")
        last[canonical(one.person)] = None if "withdraws" in one.said else digest_of(one.statement)
    for one in case.interventions:
        require_statement(one, "OurIntervention", deployment | {"subjects": subjects_of(deployment)})
    require(all_differ(one.said["nonce"] for one in case.decisions + case.interventions), "one nonce twice")
    yield "statement_time", True
    for one in case.statements:
        ends = (deployment if "decision" in one.said else one.said)["expires_at"]
        issued, expires, ends = map(nanoseconds, (one.said["issued_at"], one.said["expires_at"], ends))
        is_in_time = issued <= one.entry.at < expires <= min(issued + LONGEST_STATEMENT, ends)
        require(is_in_time and one.recorded.get("decided_at") in (None, one.entry.record["at"]))
    yield "sign_in_mismatch", True
    for one in case.statements:
        require(has_form(one.said, "OnSignIn", {"kept": kept(vars(one))}) and has_form(one.claims, "RecentClaims", one.person))
        signed = one.claims.get(case.trust["login"]["groups_claim"], [])
        one.groups = signed if "groups_must_be_signed" in case.policy else vars(one).get("gate_groups", signed)
        account = one.claims.get(case.policy.get("separation", {}).get("github_id_claim"))
        one.account = int(account) if has_form(account, "account_number") else None
        require(OUTAGE not in one.said or has_form(case.policy, "Bridging"), "the policy bridges no outage")
        longest = case.policy["break_glass"]["outage_grace_seconds"] * 10**9 if OUTAGE in one.said else LONGEST_SIGN_IN
        is_recent = -LEEWAY <= one.entry.at - one.claims["iat"] * 10**9 <= longest + LEEWAY
        require(is_recent and (not one.recorded or (one.groups, one.account) == (one.recorded["groups"], one.recorded.get("github_id"))))

require_statement = lambda one, form, facts: require(has_form(one.document, form, facts) and one.credential_id in one.said["credentials"], "it says something else")
kept = lambda one: {name: one[name] for name in ("gate_groups", "id_token")} if "gate_groups" in one else one["id_token"]
is_named = lambda person, groups, rules: any({f"person:{person['subject']}", *map("group:{}".format, groups)} & {*rule["from"]} for rule in rules)
subject = lambda name, digest: {"name": name, "digest": {"sha256": digest}}
subjects_of = lambda asked: ([subject(*asked["image"].split("@sha256:"))] if "image" in asked else []) + [subject(asked["approval"], digest_of(asked))]

def of_signing_keys(case):
    yield "credential_not_enrolled", True
    for one in case.statements:
        one.by, *_ = [key for key in case.keys if (key.credential, key.person) == (one.credential_id, one.person) and key.entered.index < one.entry.index]
    # Every key is an anchor, or endorsed by as many keys as are asked for, which counted before.
    needed, used, anchors = case.policy["enrolment"]["endorsements"], case.decisions + case.interventions, case.trust["endorsers"]
    yield "not_endorsed", needed >= case.trust["endorsements"], "the policy asked for fewer"
    for key in case.keys:
        counting = [] if key.public_key in anchors else key.endorsed
        require(key.public_key in anchors or len(counting) == needed, "a key is no anchor, and has more or fewer")
        key.begins, used = max([key.entered.index, *(one.entry.index for one in counting)]), used + counting
    require(all(one.by.begins < one.entry.index for one in used), "a key signed before it counted")
    yield "key_not_accepted", True
    rules, others = case.policy.get("keys", {}), []
    is_over = lambda begin, end, name: end.at - begin.at >= rules.get(name, 0) * 10**9
    is_model = lambda key: key.model in rules.get("allow", [key.model]) and key.model not in rules.get("deny", []) + rules.get("suspended", [])
    is_of_kind = lambda key: is_model(key) and key.kind == rules.get("kind", key.kind) and rules.get("attestation") in key.meets
    for one in [one for one in case.decisions if "keys" in case.policy and one.said["decision"] != "withdraw"]:
        now, by, least = one.entry, one.by, max(rules.get("minimum_keys", 1) - 1, 0)
        before = lambda key: [end for end in key.ended if end.index < now.index]
        require(is_of_kind(by) and is_over(by.entered, now, "cool_down_seconds") and not before(by))
        # Others of its owner: in use, or given up a short time before together with it.
        is_held = lambda key: all(end.index > by.entered.index and not is_over(end, now, "replacement_grace_seconds") for end in before(key))
        own = [key for key in case.keys if key.person == one.person and key.begins < now.index and is_of_kind(key)]
        held = [key.credential for key in own if key is not by and is_held(key)]
        require(len(held) >= least, "its owner has too few")
        others += held[:least]
    yield "assertion_invalid", True
    for one in case.statements:
        issuer, subject, said = (text.encode() for text in (one.person["issuer"], one.person["subject"], one.statement))
        handle = to_base64url(sha256(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject))
        require(one.assertion.get("user_handle", handle) == handle, "it names another person")
        challenge = sha256(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(said), said)
        parts = [from_base64url(one.assertion[name]) for name in ASSERTION[:3]]
        webauthn.check_assertion(one.by.material, *parts, challenge, case.trust["origin"], case.trust["rp_id"])
    signed, endorsed = ([one.credential_id for one in some] for some in (case.decisions + case.interventions, case.endorsements))
    yield "unused_credential", [key.credential for key in case.keys] == [*dict.fromkeys(signed + others + endorsed)]

def of_outcome(case):
    *before, last = [{"verdict": "none"}, *case.recorded]
    yield "state_mismatch", "reject" not in [one["verdict"] for one in before] and has_form({"last": last, "state": case.state}, "Outcome", last)
    yield "quorum_not_met", True
    # They count for nothing: who issued the credential of an agent, whom it acts for, who started a run, who shipped it.
    asked, policy, rules = case.deployment, case.policy, case.policy["rules"]
    requester, claims, accounts = asked["requester"], asked["requester"]["claims"], policy.get("github_accounts", {})
    acts_for = [rule["acts_for"] for rule in policy["requesters"] if "acts_for" in rule and admits(rule, requester)]
    behind = [(one["directory"], claims[one["claim"]]) for one in acts_for]
    behind += [(claims.get("issued_by_issuer"), claims.get("issued_by_subject"))] * (requester["issuer"] == "agent-credential")
    started = [accounts.get(str(asked[name]["id"])) for name in ("actor", "triggering_actor") if name in asked]
    has_asked = lambda person: (person["issuer"], person["subject"]) in behind or person["subject"] in started
    shipped, said = asked.get("shipped", {"accounts": []}), [claims.get(name) for name in ("repository_id", "sha", "actor_id")]
    hands, place = [str(one["id"]) for one in shipped["accounts"]], [str(shipped.get("repository")), shipped.get("commit")]
    own = lambda person, account: {one for one in accounts if accounts[one] == person["subject"]} | {str(account)} - {"None"}
    is_free = "separation" not in policy or {"image", "run"}.isdisjoint(asked)
    is_apart = lambda *who: is_free or said[:2] == place and said[2] in hands and own(*who) and own(*who).isdisjoint(hands)
    for entry, approval in [(entry, entry.record["approval"]) for entry in case.entries]:
        last = {canonical(one["person"]): one for one in approval["decisions"] if not has_asked(one["person"])}
        signed = lambda verdict: [one for one in last.values() if one["verdict"] == verdict and is_apart(one["person"], one.get("github_id"))]
        case.by_glass = is_met(policy.get("break_glass", {}).get("rules", []), signed("break_glass"))
        require(not has_form(approval["state"], "Approved") or case.by_glass or is_met(rules, signed("approve")))
        case.in_windows &= case.by_glass or not has_form(entry.record, "Forward") or is_open(policy.get("windows", {}), entry.at)
    for one in case.interventions:
        may_go_on = one.said["act"] == "restore" or is_apart(one.person, one.account)
        require(has_form(one.groups, "text*") and is_named(one.person, one.groups, rules) and not has_asked(one.person) and may_go_on, "no rule names them")

def is_met(rules, people):
    """Whether any rules together find as many people as they need, so that each has its own (Hall's theorem)."""
    groups = [[rule for rule in rules if rule.get("environment") == name] for name in {rule.get("environment") for rule in rules}]
    chosen = (some for group in groups for size in range(len(group)) for some in itertools.combinations(group, size + 1))
    is_found = lambda some: 0 < sum(rule["count"] for rule in some) <= sum(is_named(one["person"], one["groups"], some) for one in people)
    return bool(rules) and all(map(is_found, chosen))

def is_open(windows, at):
    opened, closed = windows.get("open", []), windows.get("closed", [])
    now = lambda one: datetime.datetime.fromtimestamp(at // 10**9, zoneinfo.ZoneInfo(one["time_zone"]))
    clock = lambda one: now(one).isoformat()[11:16]
    # One that has not begun today may have yesterday. Past midnight it is within by either of the first two, else by both.
    began = lambda one: DAYS[now(one).weekday() - (clock(one) < one["from"])]
    is_within = lambda one: (one["from"] <= clock(one)) + (clock(one) < one["to"]) + (one["to"] <= one["from"]) == 2
    is_known = {one["time_zone"] for one in opened + closed} <= TIME_ZONES
    return is_known and not any(one["from"] <= now(one).isoformat()[:16] < one["to"] for one in closed) and (
        not opened or any(day == began(one) and is_within(one) for one in opened for day in one["days"]))
