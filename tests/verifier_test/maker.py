"""Makes evidence from scratch, with keys of its own, so that each rule can be broken in a file that is signed anew."""

import base64
import copy
import datetime
import hashlib
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

ORIGIN, RP_ID = "https://gate.example.com", "gate.example.com"
START = 1_790_000_000
LOG_NAME = "gate.example.com/log"
# Made once; generating RSA keys takes time.
RSA_KEY = rsa.generate_private_key(65537, 2048)
SMALL_RSA_KEY = rsa.generate_private_key(65537, 1024)
EC_KEY, EC384_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED_KEY, LOG_KEY = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
OTHER_LOG_KEY, WITNESS_KEY = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hex_of(text):
    return sha(text.encode()).hex()


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def canonical(value):
    """Enough of RFC 8785 for what this maker writes: names in ASCII, whole numbers."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def time(seconds):
    moment = datetime.datetime.fromtimestamp(START + seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment.microsecond:06d}".rstrip("0").rstrip("."))+ "Z"


def number(value, length=None):
    return b64u(value.to_bytes(length or (value.bit_length() + 7) // 8))


def jwk(key):
    public = key.public_key()
    numbers = public.public_numbers() if hasattr(public, "public_numbers") else None
    if isinstance(key, rsa.RSAPrivateKey):
        return canonical({"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)})
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = key.curve.key_size // 8
        return canonical({
            "kty": "EC", "crv": f"P-{key.curve.key_size}", "x": number(numbers.x, size), "y": number(numbers.y, size)})
    return canonical({"kty": "OKP", "crv": "Ed25519", "x": b64u(public.public_bytes_raw())})


def sign(key, algorithm, message):
    hashed = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(algorithm[2:])
    if algorithm == "EdDSA":
        return key.sign(message)
    if algorithm.startswith("ES"):
        return key.sign(message, ec.ECDSA(hashed))
    if algorithm.startswith("PS"):
        return key.sign(message, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
    return key.sign(message, padding.PKCS1v15(), hashed)


def jws(key, algorithm, claims, header=None):
    head = b64u(json.dumps({"alg": algorithm, "typ": "JWT"} | (header or {})).encode())
    signed = head + "." + b64u((claims if isinstance(claims, str) else json.dumps(claims)).encode())
    signature = sign(key, algorithm, signed.encode())
    if algorithm.startswith("ES"):
        size = key.curve.key_size // 8
        signature = b"".join(half.to_bytes(size) for half in utils.decode_dss_signature(signature))
    return signed + "." + b64u(signature)


def cbor(value):
    def head(major, argument):
        if argument < 24:
            return bytes([major << 5 | argument])
        width = 0 if argument < 1 << 8 else 1 if argument < 1 << 16 else 2
        return bytes([major << 5 | 24 + width]) + argument.to_bytes(1 << width)

    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(5, len(value)) + b"".join(cbor(name) + cbor(inner) for name, inner in value.items())


def cose(key):
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = public.public_numbers()
        return cbor({1: 3, 3: -257, -1: numbers.n.to_bytes(256), -2: numbers.e.to_bytes(3)})
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return cbor({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()})
    size, numbers = key.curve.key_size // 8, public.public_numbers()
    algorithm, curve = {32: (-7, 1), 48: (-35, 2)}[size]
    return cbor({1: 2, 3: algorithm, -1: curve, -2: numbers.x.to_bytes(size), -3: numbers.y.to_bytes(size)})


CREDENTIAL_ALGORITHMS = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}


def algorithm_of(key):
    text = json.loads(jwk(key))
    return CREDENTIAL_ALGORITHMS[text.get("crv", "RSA")]


class Tree:
    """The RFC 6962 tree of some leaves, by the definition."""

    def __init__(self):
        self.leaves = []

    def root(self, leaves=None):
        leaves = self.leaves if leaves is None else leaves
        if len(leaves) <= 1:
            return leaves[0] if leaves else sha()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return sha(b"\1", self.root(leaves[:split]), self.root(leaves[split:]))

    def path(self, index, leaves=None):
        leaves = self.leaves if leaves is None else leaves
        if len(leaves) <= 1:
            return []
        split = 1 << (len(leaves) - 1).bit_length() - 1
        if index < split:
            return self.path(index, leaves[:split]) + [self.root(leaves[split:])]
        return self.path(index - split, leaves[split:]) + [self.root(leaves[:split])]


def verifier_key(name=LOG_NAME, key=LOG_KEY, kind=1):
    raw = bytes([kind]) + key.public_key().public_bytes_raw()
    return name + "+" + sha(name.encode(), b"\n", raw)[:4].hex() + "+" + base64.b64encode(raw).decode()


def note(size, root, name=LOG_NAME, key=LOG_KEY, signer=None, cosigned=False):
    text = f"{name}\n{size}\n{base64.b64encode(root).decode()}\n"
    signer = signer or name
    key_id = base64.b64decode(verifier_key(signer, key).split("+", 2)[2])
    key_id = sha(signer.encode(), b"\n", key_id)[:4]
    line = "\u2014 " + signer + " " + base64.b64encode(key_id + key.sign(text.encode())).decode() + "\n"
    return text + "\n" + line * (2 if cosigned else 1)


def cosign(checkpoint, name="witness.example", key=WITNESS_KEY, seconds=1_790_000_100):
    witness, text = verifier_key(name, key, 4), checkpoint.split("\n\n")[0] + "\n"
    signature = key.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
    data = bytes.fromhex(witness.split("+")[1]) + seconds.to_bytes(8) + signature
    return {"witness": witness, "cosignature": base64.b64encode(data).decode()}


def trust():
    return {
        "schema": "countersign/trust/v1", "note": "for the tests", "origin": ORIGIN, "rp_id": RP_ID, "log": verifier_key(),
        "endorsements": 0, "endorsers": [],
        "login": {"issuer": "https://id.example.com", "client_id": "gate", "groups_claim": "groups", "keys": [jwk(EC_KEY)]},
        "workload_issuers": [
            {"name": "github", "issuer": "https://token.example.com", "audience": ORIGIN, "keys": [jwk(RSA_KEY)]}],
        "witnesses": [verifier_key("witness.example", WITNESS_KEY, 4)], "witnesses_required": 1,
    }


class Person:
    def __init__(self, subject, groups, key, backup=False):
        self.subject, self.groups, self.key, self.backup = subject, groups, key, backup
        self.id = sha(subject.encode())[:20]
        self.identity = {"issuer": "https://id.example.com", "subject": subject}


def people():
    return [Person("alice", ["ops"], EC_KEY), Person("bob", ["ops", "security"], ED_KEY, backup=True)]


NOTHING = lambda value, *where: value  # noqa: E731


class Maker:
    """Every argument changes one thing before it is hashed and signed: a function of the value (and of where it stands)."""

    def __init__(self, verdicts=("approve", "approve"), signers=None, final="succeeded", workload=(RSA_KEY, "RS256"),
                 directory=(EC_KEY, "ES256"), count=2, **changes):
        self.verdicts, self.final, self.count = verdicts, final, count
        self.signers = (signers or people())[:len(verdicts)]
        self.workload_key, self.workload_algorithm = workload
        self.directory_key, self.directory_algorithm = directory
        self.changes = changes
        self.tree = Tree()
        self.entries, self.enrolments = [], []

    def change(self, name, value, *where):
        changed = self.changes.get(name, NOTHING)(copy.deepcopy(value), *where)
        return changed

    def append(self, record, where):
        """Writes one entry and gives it; the inclusion proof comes when the tree is complete."""
        text = self.change("record_text", canonical(self.change("record", record, where)), where)
        salt, index, previous = sha(b"salt", text.encode()), len(self.tree.leaves), self.tree.root()
        entry_hash = sha(salt, text.encode())
        leaf = sha(b"\0", entry_hash)
        message = b"countersign ledger entry v1\0" + index.to_bytes(8) + previous + leaf
        self.tree.leaves.append(leaf)
        return self.change("entry", {
            "index": index, "record": text, "salt": salt.hex(), "previous_root": previous.hex(),
            "signature": LOG_KEY.sign(message).hex()}, where)

    def filler(self):
        self.append({"schema": "countersign/record/v1", "kind": "person.signed_in", "at": time(-90), "data": {}}, "filler")

    def id_token(self, person, issued, where, nonce=None):
        claims = {
            "iss": "https://id.example.com", "aud": "gate", "sub": person.subject, "groups": person.groups,
            "iat": START + issued, "exp": START + issued + 300, "name": person.subject.title()}
        if nonce:
            claims["nonce"] = nonce
        claims = self.change("id_claims", claims, where)
        token = jws(self.directory_key, self.directory_algorithm, claims, self.changes.get("id_header"))
        return {"id_token": self.change("id_token", token, where), "key": self.change("id_key", jwk(self.directory_key), where)}

    def enrol(self, person, where):
        client = self.change("create_data", {
            "type": "webauthn.create", "challenge": b64u(bytes(32)), "origin": ORIGIN, "crossOrigin": False}, where)
        flags = 0x45 | (0x08 if person.backup else 0)
        data = sha(RP_ID.encode()) + bytes([flags]) + bytes(4) + bytes(range(16))
        data += len(person.id).to_bytes(2) + person.id + self.change("cose", cose(person.key), where)
        data = self.change("create_authenticator_data", data, where)
        attestation = self.change("attestation", cbor({"fmt": "none", "attStmt": {}, "authData": data}), where)
        registration = self.change("registration", {
            "id": b64u(person.id), "rawId": b64u(person.id), "type": "public-key", "extensions": {},
            "response": {"attestationObject": b64u(attestation), "clientDataJSON": b64u(json.dumps(client).encode()),
                         "transports": ["usb"]}}, where)
        text = registration if isinstance(registration, str) else json.dumps(registration)
        sign_in = self.id_token(person, -80, f"enrol-{where}", b64u(sha(text.encode())))
        end = data.find(person.id) + len(person.id)
        record = {"schema": "countersign/record/v1", "kind": "credential.registered", "at": time(-70), "data": self.change(
            "enrolment", {
                "person": person.identity, "credential": b64u(person.id), "public_key": b64u(data[end:]),
                "aaguid": bytes(range(16)).hex(), "backup_eligible": person.backup, "registration_digest": hex_of(text),
                "sign_in_digest": hex_of(sign_in["id_token"]), "sign_in_key": b64u(sha(sign_in["key"].encode()))}, where)}
        entry = self.append(record, f"enrol-{where}")
        self.enrolments.append({"registration": text, "sign_in": sign_in, "entry": entry, "endorsements": []})

    def decide(self, place, verdict):
        person = self.signers[place]
        sign_in = self.id_token(person, -30, f"decision-{place}")
        statement = {
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:countersign:predicate:decision:v1",
            "subject": [
                {"name": "registry.example/app/web", "digest": {"sha256": "ab" * 32}},
                {"name": self.deployment["approval"], "digest": {"sha256": hex_of(self.deployment_text)}}],
            "predicate": {
                "decision": verdict, "deployment": self.deployment, "policy_digest": self.deployment["policy_digest"],
                "approver": person.identity, "credentials": [b64u(person.id)], "sign_in_digest": hex_of(sign_in["id_token"]),
                "audience": ORIGIN, "nonce": b64u(sha(b"nonce", bytes([place]))), "issued_at": time(10 * place + 10),
                "expires_at": time(10 * place + 310)}}
        if verdict == "reject":
            statement["predicate"]["reason"] = "Too early – é"
        statement = canonical(self.change("statement", statement, place))
        body = statement.encode()
        kind = b"application/vnd.in-toto+json"
        challenge = sha(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body))
        client = self.change("client_data", json.dumps({
            "type": "webauthn.get", "challenge": b64u(challenge), "origin": ORIGIN, "crossOrigin": False}), place).encode()
        data = self.change(
            "authenticator_data", sha(RP_ID.encode()) + bytes([0x0D if person.backup else 0x05]) + bytes([0, 0, 0, 9]), place)
        signature = sign(person.key, algorithm_of(person.key), data + sha(client))
        issuer, subject = b"https://id.example.com", person.subject.encode()
        signed = {
            "statement": statement, "credential_id": b64u(person.id), "authenticator_data": b64u(data),
            "client_data_json": b64u(client), "signature": b64u(self.change("signature", signature, place)),
            "user_handle": b64u(sha(b"countersign user handle v1\0", len(issuer).to_bytes(8), issuer, subject)),
            "sign_in": sign_in}
        signed = self.change("decision", signed, place)
        names = ("authenticator_data", "client_data_json", "signature", "user_handle")
        predicate = json.loads(statement)["predicate"]
        recorded = {
            "person": person.identity, "name": person.subject.title(), "groups": person.groups, "verdict": verdict,
            "reason": predicate.get("reason"), "decided_at": time(10 * place + 15), "statement_digest": hex_of(statement),
            "credential": signed["credential_id"],
            "assertion_digest": hex_of(canonical({name: signed[name] for name in names if name in signed})),
            "sign_in_key": b64u(sha(sign_in["key"].encode()))}
        return signed, self.change("recorded", recorded, place)

    def make(self):
        policy = self.change("policy", {
            "schema": "countersign/policy/v1", "environment": "production",
            "services": ["projects/demo/locations/europe-west1/services/web"], "images": ["registry.example/app/web"],
            "requesters": [{"issuer": "github", "claims": {"repository_id": ["1001"], "ref": ["refs/heads/main", "refs/tags/v*"]}}],
            "rules": [{"from": ["group:ops", "person:carol"], "count": self.count}], "expires_in_seconds": 3600,
            "execute_within_seconds": 3600, "newer_request": "supersede", "max_pending": 100,
            "default_steps": [100], "enrolment": {"endorsements": 0, "trust": "pinned", "requires_pinned_trust": False}})
        policy_text = canonical(policy)
        claims = self.change("claims", {
            "iss": "https://token.example.com", "aud": ORIGIN, "sub": "repo:demo/web", "repository_id": "1001",
            "ref": "refs/heads/main", "iat": START - 5, "nbf": START - 5, "exp": START + 295, "run_attempt": 1})
        share = {"revision": "web-00007", "percent": 100}
        self.deployment = self.change("deployment", {
            "schema": "countersign/deployment/v1", "approval": "apr_" + "a2" * 13, "audience": ORIGIN, "environment": "production",
            "service": "projects/demo/locations/europe-west1/services/web", "image": "registry.example/app/web@sha256:" + "ab" * 32,
            "proposed": {"containers": [{"env": [{"name": "X", "value": "\u20ac\r\n\u00e9\"\\"}]}], "timeout": "300s"},
            "plan": {"revision": "web-00008", "steps": [{"percent": 100, "traffic": [{"revision": "web-00008", "percent": 100}]}],
                     "rollback": [share]},
            "preconditions": {"service": "present", "uid": "u", "generation": 7, "serving": [share], "running": {"a": None}},
            "requester": {"issuer": "github", "issuer_url": "https://token.example.com", "subject": "repo:demo/web",
                          "key": "github:1001", "claims": claims},
            "reason": "Release 8", "title": "Web", "links": [{"title": "Run", "url": "https://ci.example/1"}],
            "commit": {"headline": "Fix", "url": "https://c.example/1", "authored_at": time(-1000.5)},
            "policy_digest": hex_of(policy_text), "requested_at": time(0), "expires_at": time(1800)})
        self.deployment_text = canonical(self.deployment)
        token = jws(self.workload_key, self.workload_algorithm, self.change("token_claims", claims), self.changes.get("header"))
        requester = {"token": self.change("token", token), "key": self.change("key", jwk(self.workload_key))}

        self.filler()
        if not self.changes.get("enrol_late"):
            for place, person in enumerate(self.signers):
                self.enrol(person, place)
        chain = [("approval.requested", 0, {"status": "pending"}, [])]
        signed, recorded = [], []
        for place, verdict in enumerate(self.verdicts):
            one, noted = self.decide(place, verdict)
            signed.append(one)
            recorded.append(noted)
            status = {"status": "pending"}
            if verdict == "reject":
                status = {"status": "rejected", "at": time(10 * place + 15), "by": noted["person"], "name": noted["name"],
                          "reason": noted["reason"]}
            elif place + 1 == self.count:
                status = {"status": "approved", "at": time(10 * place + 15)}
            chain.append(("approval.decided", 10 * place + 15, status, list(recorded)))
        for kind, at, state in {
            "pending": [], "expired": [("approval.expired", 1800, {"status": "expired", "at": time(1800)})],
            "succeeded": [
                ("rollout.begun", 60, {"status": "executing", "since": time(60), "progress": {
                    "revision_ready": False, "steps_done": 0, "generation": 8,
                    "intent": {"call": {"kind": "move_traffic", "step": 0}, "etag": "e", "at": time(60)}}}),
                ("rollout.ended", 70.25, {"status": "succeeded", "at": time(70.25), "serving": {
                    "revision": "web-00008", "uri": "https://web.example", "traffic": [share], "generation": 9,
                    "observed_at": time(70)}})],
        }["pending" if "reject" in self.verdicts else self.final]:
            chain.append((kind, at, state, list(recorded)))
        previous = None
        for version, (kind, at, state, decisions) in enumerate(chain, 1):
            approval = {
                "id": self.deployment["approval"], "version": version, "deployment_digest": hex_of(self.deployment_text),
                "policy_digest": self.deployment["policy_digest"], "state": state, "decisions": decisions}
            record = {"schema": "countersign/record/v1", "kind": kind, "at": time(at), "approval": approval}
            if version == 1:
                record["data"] = {"token_digest": hex_of(requester["token"]), "token_key": b64u(sha(requester["key"].encode()))}
            else:
                approval["previous"] = previous
            entry = self.append(record, version)
            previous = sha(bytes.fromhex(entry["salt"]), entry["record"].encode()).hex()
            self.entries.append(entry)
            self.filler()
        if self.changes.get("enrol_late"):
            for place, person in enumerate(self.signers):
                self.enrol(person, place)
        for entry in self.entries + [one["entry"] for one in self.enrolments]:
            entry["inclusion"] = [node.hex() for node in self.tree.path(entry["index"])]
        checkpoint = self.change("checkpoint", note(len(self.tree.leaves), self.tree.root()), self.tree)
        return self.change("file", {
            "schema": "countersign/evidence/v1", "deployment": self.deployment_text,
            "policy": self.change("policy_text", policy_text),
            "requester": requester, "decisions": signed, "credentials": self.enrolments, "entries": self.entries,
            "checkpoint": checkpoint, "cosignatures": self.change("cosignatures", [cosign(checkpoint)], checkpoint)})


def make(**changes):
    return canonical(Maker(**changes).make()).encode()
