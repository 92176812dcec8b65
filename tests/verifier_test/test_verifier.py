"""PYTHONPATH=tests python3 -m unittest verifier_test.test_verifier"""

import base64
import copy
import json
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import utils

from verifier import evidence

from . import compare, cosignatures, maker
from .maker import EC384_KEY, EC_KEY, ED_KEY, OTHER_LOG_KEY, RSA_KEY, SMALL_RSA_KEY, Person, b64u, canonical, make, time

TRUST = evidence.read_trust(json.dumps(maker.trust(), indent=2).encode())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def verify(data, trust=TRUST):
    return evidence.verify(data, trust)


def setting(**members):
    """A change that sets members (or, given None, removes them) wherever it is called."""
    gone = {name for name, inner in members.items() if inner is None}
    return lambda value, *where: {name: inner for name, inner in (value | members).items() if name not in gone}


def at(place, change):
    return lambda value, *where: change(value) if where == (place,) else value


def in_predicate(**members):
    return at(0, lambda statement: statement | {"predicate": statement["predicate"] | members})


def in_approval(number, /, **members):
    return at(number, lambda record: record | {"approval": setting(**members)(record["approval"])})


def with_flags(flags, extra=b""):
    return at(0, lambda data: data[:32] + bytes([flags]) + data[33:] + extra)


def in_client(text=None, **members):
    return at(0, lambda data: text(data) if text else json.dumps(setting(**members)(json.loads(data))))


def pinned(**members):
    return evidence.read_trust(json.dumps(maker.trust() | members).encode())


def pinned_login(**members):
    return pinned(login=maker.trust()["login"] | members)


def pinned_issuer(**members):
    return pinned(workload_issuers=[maker.trust()["workload_issuers"][0] | members])


def flip(text):
    return text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]


def malleable(signature):
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, ORDER - s)


def reordered(file):
    return file | {"credentials": file["credentials"][::-1]}


TWO_RULES = [{"from": ["group:ops"], "count": 1}, {"from": ["group:security"], "count": 1}]
OPS_TWICE = [Person("alice", ["ops"], EC_KEY), Person("dan", ["ops"], ED_KEY)]

# Each builds a file, signed anew, in which one thing does not hold.
BAD = {
    "malformed": [
        {"file": setting(extra=1)}, {"file": setting(schema="countersign/evidence/v2")}, {"file": setting(checkpoint=None)},
        {"file": lambda file: file | {"deployment": file["deployment"] + " "}},
        {"file": lambda file: file | {"policy": file["policy"].replace('"count":2', '"count":2.0')}},
        {"file": lambda file: file | {"policy": file["policy"].replace('"count":2', '"count":2,"count":2')}},
        {"entry": at(1, setting(salt="AB" * 32))}, {"entry": at(1, setting(salt="ab"))},
        {"entry": at(1, setting(signature="ab"))}, {"entry": at(1, setting(index=-1))}, {"entry": at(1, setting(index=True))},
        {"decision": at(0, lambda one: one | {"signature": one["signature"] + "="})},
        {"decision": at(0, setting(user_handle="AB"))}, {"decision": at(0, setting(credential_id="a"))},
        {"deployment": setting(schema="x")}, {"policy": setting(schema=None)}, {"record": at("enrol-0", setting(schema="x"))},
        {"key": lambda key: key.replace('"kty"', '"kid":"x","kty"')}, {"key": lambda key: key.replace('"AQAB"', '"AQB"')},
        {"key": lambda key: key.replace('"n":"', '"n":"AA')}, {"entry": at(1, setting(index=2**64))},
        {"file": lambda file: file["decisions"][0].update(statement="[]") or file},
        {"statement": at(0, setting(extra=1))}, {"statement": in_predicate(nonce="AAAA")}, {"statement": in_predicate(nonce="A" * 42 + "B")},
        {"record": at("enrol-0", setting(extra=1))}, {"record": at("enrol-0", setting(at="2026-09-21"))},
        {"policy": setting(expires_in_seconds=-1)}, {"policy": setting(newer_request="replace")}, {"policy": setting(max_pending=-1)}, {"policy": setting(enrolment={"endorsements": 0, "trust": "pinned"})},
        {"policy": setting(enrolment={"endorsements": 0, "trust": "half", "requires_pinned_trust": False})}, {"policy": setting(default_steps=[256])},
        {"deployment": setting(title=7)}, {"deployment": setting(links=[])},
        {"deployment": setting(requested_at="2026-09-21T14:13:20.10Z")}, {"deployment": setting(image="a/b:1@sha256:" + "ab" * 32)},
        {"deployment": setting(service="projects/demo/locations/x/services/Web")}, {"policy": setting(rules=[{"from": ["ops"], "count": 1}])},
        {"record": at(2, setting(data=None, extra=1))}, {"record": in_approval(2, state={"status": "pending", "at": time(0)})},
        {"record": in_approval(2, state={"": 1})}, {"deployment": setting(expires_at="2026-02-30T00:00:00Z")},
    ],
    "audience_mismatch": [{"deployment": setting(audience="https://other.example.com")}],
    "policy_mismatch": [
        {"policy_text": lambda text: text.replace("3600", "3601")}, {"policy": setting(environment="staging")}],
    "checkpoint_invalid": [
        {"checkpoint": lambda note, tree: maker.note(len(tree.leaves), tree.root(), key=OTHER_LOG_KEY)},
        {"checkpoint": lambda note, tree: maker.note(len(tree.leaves), tree.root(), name="other")},
        {"checkpoint": lambda note, tree: maker.note(len(tree.leaves), tree.root(), cosigned=True)},
        {"checkpoint": lambda note, tree: maker.note(f"0{len(tree.leaves)}", tree.root())},
        {"checkpoint": lambda note, tree: note.replace("\n\n", "\nextension\n\n")}, {"checkpoint": lambda note, tree: note[:-1]},
        {"checkpoint": lambda note, tree: note + "\n"}, {"checkpoint": lambda note, tree: ""},
    ],
    "entry_not_included": [
        {"entry": at(1, lambda entry: entry | {"salt": "00" * 32})},
        {"file": lambda file: file["entries"][0]["inclusion"].pop() and file},
        {"file": lambda file: file["entries"][0]["inclusion"].append("00" * 32) or file},
        {"file": lambda file: file["credentials"][0]["entry"]["inclusion"].reverse() or file},
        {"entry": at(1, setting(index=2**53)), "file": lambda file: file | {"decisions": []}},
        {"checkpoint": lambda note, tree: maker.note(0, maker.sha())},
        {"checkpoint": lambda note, tree: maker.note(len(tree.leaves), maker.sha())},
    ],
    "entry_signature_invalid": [
        {"entry": at(1, setting(previous_root="00" * 32))}, {"entry": at("enrol-0", setting(signature="00" * 64))},
    ],
    "chain_broken": [
        {"file": setting(entries=[])}, {"file": lambda file: file | {"entries": file["entries"][1:]}},
        {"file": lambda file: file["entries"].pop(1) and file}, {"file": lambda file: file["entries"].reverse() or file},
        {"record": in_approval(2, version=3)}, {"record": at(1, setting(kind="approval.decided"))},
        {"record": in_approval(1, previous="00" * 32)}, {"record": in_approval(2, previous=None)},
        {"record": in_approval(3, previous="00" * 32)}, {"record": at(2, setting(at=time(-1)))},
        {"record": in_approval(2, id="apr_" + "b" * 26)}, {"record": in_approval(3, deployment_digest="00" * 32)},
        {"record": in_approval(3, policy_digest="00" * 32)}, {"record": in_approval(4, decisions=[])},
        {"record": at(3, setting(approval=None))},
    ],
    "requester_mismatch": [
        {"record": at(1, setting(data={"token_digest": "00" * 32, "token_key": "x"}))}, {"record": at(1, setting(data=None))},
        {"file": lambda file: file["requester"].update(token=flip(file["requester"]["token"])) or file},
        {"token_claims": setting(ref="refs/heads/evil")}, {"claims": setting(iss="https://other")}, {"claims": setting(sub="x")},
        {"claims": setting(aud="https://other")}, {"claims": setting(aud=[maker.ORIGIN] * 2)}, {"claims": setting(aud=[])}, {"claims": setting(exp=maker.START - 30)},
        {"claims": setting(nbf=maker.START + 31)}, {"claims": setting(iat=maker.START + 31)}, {"claims": setting(exp=None)},
        {"claims": setting(exp="soon")}, {"claims": setting(iat=maker.START + 0.5)}, {"claims": setting(exp=10**11)},
        {"claims": setting(iat=-1)}, {"token": lambda token: "a.b"}, {"token": lambda token: "e30.e30.e30"}, {"token": lambda token: "..."[1:]},
        {"deployment": lambda one: one | {"requester": one["requester"] | {"issuer": "gitlab"}}},
    ],
    "issuer_key_not_pinned": [
        {"workload": (EC_KEY, "ES256")}, {"directory": (EC384_KEY, "ES384")},
        {"workload": (SMALL_RSA_KEY, "RS256")},
    ],
    "token_signature_invalid": [
        {"token": flip}, {"header": {"alg": "RS384"}}, {"header": {"alg": "none"}}, {"header": {"alg": "HS256"}},
        {"header": {"alg": "ES256"}}, {"header": {"alg": 7}}, {"header": {"crit": ["x"]}}, {"id_header": {"alg": "RS256"}},
        {"id_token": lambda token, where: flip(token) if where == "decision-0" else token},
        {"token": lambda token: token + "="},
    ],
    "requester_not_allowed": [
        {"claims": setting(ref="refs/heads/mainly")}, {"claims": setting(repository_id=1001)}, {"claims": setting(ref=None)},
        {"policy": setting(services=[])}, {"policy": setting(images=["registry.example/app"])}, {"policy": setting(requesters=[])},
        {"policy": setting(requesters=[{"issuer": "gitlab", "claims": {}}])},
    ],
    "enrolment_invalid": [
        {"registration": at(0, lambda one: "{")}, {"registration": at(0, lambda one: one | {"id": "AAAA"})},
        {"registration": at(0, lambda one: json.dumps(one).replace('"id"', '"id": "x", "id"', 1))},
        {"create_data": at(0, setting(type="webauthn.get"))}, {"create_data": at(0, setting(origin="https://evil.example"))},
        {"create_data": at(0, setting(crossOrigin=True))}, {"create_data": at(0, setting(topOrigin="https://evil.example"))},
        {"create_authenticator_data": at(0, lambda data: data + b"\0")},
        {"create_authenticator_data": at(0, lambda data: data[:32] + b"\x41" + data[33:])},
        {"create_authenticator_data": at(0, lambda data: data[:32] + b"\x44" + data[33:])},
        {"create_authenticator_data": at(0, lambda data: data[:32] + b"\x47" + data[33:])},
        {"create_authenticator_data": at(0, lambda data: data[:32] + b"\x55" + data[33:])},
        {"create_authenticator_data": at(0, lambda data: bytes(32) + data[32:])},
        {"attestation": at(0, lambda data: data + b"\0")}, {"attestation": at(0, lambda data: data[:-1])},
        {"attestation": at(0, lambda data: b"\xbf" + data[1:] + b"\xff")}, {"attestation": at(0, lambda data: b"")},
        {"attestation": at(0, lambda data: b"\x81" * 2000)}, {"attestation": at(0, lambda data: data.replace(b"none", b"nonf\xff"))},
        {"cose": at(0, lambda key: key.replace(b"\x26", b"\x38\x06"))}, {"cose": at(0, lambda key: key[:-1] + b"\0" )},
        {"enrolment": at(0, setting(backup_eligible=True))}, {"enrolment": at(0, setting(backup_eligible=0))},
        {"enrolment": at(0, setting(aaguid="00" * 16))}, {"enrolment": at(0, setting(sign_in_key="x"))},
        {"enrolment": at(0, setting(person={"issuer": "https://id.example.com", "subject": "mallory"}))},
        {"record": at("enrol-0", setting(kind="person.signed_in"))}, {"enrolment": at(0, setting(more=1))},
        {"id_claims": lambda claims, where: claims | {"nonce": "x"} if where == "enrol-0" else claims},
        {"id_claims": at("enrol-0", setting(sub=None)), "enrolment": at(0, setting(person={"issuer": "https://id.example.com", "subject": None}))},
        {"registration": at(0, lambda one: one | {"response": one["response"] | {"transports": "usb"}})},
        {"registration": at(0, lambda one: one | {"type": "password"})}, {"record": at("enrol-0", setting(data=None))},
        # No empty statement of no format, members out of order, a length that is not the shortest, text that is no UTF-8.
        {"attestation": at(0, lambda data: data.replace(b"attStmt\xa0", b"attStmt\xa1\x61a\x01"))},
        {"attestation": at(0, lambda data: b"\xa3" + data[10:19] + data[1:10] + data[19:])},
        {"attestation": at(0, lambda data: data.replace(b"\x63fmt", b"\x78\x03fmt"))},
        {"attestation": at(0, lambda data: data.replace(b"dnone", b"dnon\xff"))},
        {"cose": at(0, lambda key: maker.cbor({1: 1, 3: -8, -1: 6, -2: bytes(32)}))},
        {"cose": at(0, lambda key: maker.cbor({1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\3"}))},
        {"cose": at(0, lambda key: maker.cbor({1: 3, 3: -257, -1: b"\xff" * 255, -2: b"\1\0\1"}))},
    ],
    "sign_in_invalid": [
        {"id_claims": at("decision-0", setting(aud="other"))}, {"id_claims": at("decision-0", setting(iss="https://x"))},
        {"recorded": at(0, setting(sign_in_key="x"))}, {"id_claims": at("enrol-0", setting(aud=["gate", "other"]))},
        {"id_claims": at("decision-0", setting(azp="other"))}, {"id_claims": at("decision-0", setting(aud=[]))},
        {"id_claims": at("decision-0", setting(azp=None, aud=None))}, {"id_token": lambda token, where: "x" if where == "decision-0" else token},
    ],
    "statement_mismatch": [
        {"file": lambda file: file["decisions"].pop() and file}, {"file": lambda file: file["decisions"].reverse() or file},
        {"recorded": at(0, setting(reason="other"))}, {"recorded": at(0, setting(verdict="reject"))},
        {"recorded": at(0, setting(credential="x"))}, {"recorded": at(0, setting(assertion_digest="00" * 32))},
        {"recorded": at(0, setting(statement_digest="00" * 32))},
        {"recorded": at(0, setting(person={"issuer": "https://id.example.com", "subject": "mallory"}))},
        {"statement": at(0, setting(predicateType="x"))}, {"statement": at(0, setting(subject=[]))},
        {"statement": in_predicate(audience="x")}, {"statement": in_predicate(policy_digest="00" * 32)},
        {"statement": in_predicate(credentials=[])}, {"statement": lambda one, place: one | {"predicate": one["predicate"] | {"nonce": b64u(bytes(32))}}},
        {"statement": at(0, lambda one: one | {"predicate": one["predicate"] | {"deployment": one["predicate"]["deployment"] | {"reason": "x"}}})},
        {"decision": at(0, lambda one: one | {"credential_id": "AAAA"})},
        # One person, whatever key signs, counts once.
        {"signers": [Person("alice", ["ops"], EC_KEY), Person("alice", ["ops"], EC_KEY)],
         "file": lambda file: file | {"credentials": file["credentials"][:1]}},
    ],
    "statement_time": [
        {"statement": in_predicate(issued_at=time(16))}, {"statement": in_predicate(expires_at=time(15))},
        {"statement": in_predicate(expires_at=time(310.5))}, {"deployment": setting(expires_at=time(300))}, {"recorded": at(0, setting(decided_at=time(14)))},
    ],
    "sign_in_mismatch": [
        {"statement": in_predicate(sign_in_digest="00" * 32)}, {"id_claims": at("decision-0", setting(sub="mallory"))},
        {"id_claims": at("decision-0", setting(groups=["ops", "admins"]))}, {"id_claims": at("decision-0", setting(groups=None))},
        {"id_claims": at("decision-0", setting(iat=maker.START + 15 - 931))}, {"id_claims": at("decision-0", setting(iat=maker.START + 46))},
    ],
    "credential_not_enrolled": [
        {"file": lambda file: file["credentials"].pop() and file}, {"enrol_late": True},
        {"statement": lambda one, place: one | {"predicate": one["predicate"] | {"credentials": [b64u(one_.id) for one_ in maker.people()]}},
         "decision": lambda one, place: one | {"credential_id": b64u(maker.people()[1 - place].id)}},
    ],
    "not_endorsed": [
        {"policy": setting(enrolment={"endorsements": 1, "trust": "pinned", "requires_pinned_trust": False})},
    ],
    "key_not_accepted": [{"policy": setting(keys={"minimum_keys": 2})}, {"policy": setting(keys={"kind": "synced"})}],
    "assertion_invalid": [
        {"client_data": in_client(type="webauthn.create")}, {"client_data": in_client(challenge=b64u(bytes(32)))},
        {"client_data": in_client(origin="https://gate.example.com.evil")}, {"client_data": in_client(crossOrigin=True)},
        {"client_data": in_client(topOrigin="https://x")}, {"client_data": in_client(text=lambda data: "\ufeff" + data)},
        {"client_data": in_client(text=lambda data: data.replace('"type"', '"type": "webauthn.get", "type"'))},
        {"client_data": in_client(padding="x" * 4096)}, {"client_data": in_client(text=lambda data: "[" * 100000)},
        {"client_data": in_client(text=lambda data: data[:-1] + ', "deep": ' + "[" * 127 + "]" * 127 + "}")},
        {"authenticator_data": with_flags(0x01)}, {"authenticator_data": with_flags(0x04)}, {"authenticator_data": with_flags(0x07)},
        {"authenticator_data": with_flags(0x25)}, {"authenticator_data": with_flags(0x0D)}, {"authenticator_data": with_flags(0x15)},
        {"authenticator_data": with_flags(0x45)}, {"authenticator_data": with_flags(0x85, b"\xa0")},
        {"authenticator_data": with_flags(0x05, b"\0")}, {"authenticator_data": at(0, lambda data: bytes(32) + data[32:])},
        {"signature": at(0, lambda signature: signature + b"\0")}, {"signature": at(0, lambda signature: b"")},
        {"signature": at(0, lambda signature: b"\x30\x81" + signature[1:])}, {"signature": at(1, lambda signature: signature[:-1])},
        {"decision": at(0, lambda one: one | {"user_handle": b64u(bytes(32))})},
    ],
    "unused_credential": [{"file": reordered}, {"file": lambda file: file["credentials"].append(file["credentials"][0]) or file}],
    "state_mismatch": [
        {"verdicts": ("reject",), "record": in_approval(2, state={"status": "pending"})},
        {"verdicts": ("approve", "reject"), "record": in_approval(3, state={"status": "approved", "at": time(25)})},
        {"record": in_approval(5, state={"status": "rejected", "at": time(70), "by": maker.people()[0].identity, "name": "x", "reason": None})},
        {"verdicts": ("reject",), "record": in_approval(2, state={
            "status": "rejected", "at": time(15), "by": maker.people()[1].identity, "name": "Alice", "reason": "Too early – é"})},
    ],
    "quorum_not_met": [
        {"verdicts": ("approve",), "final": "succeeded"}, {"policy": setting(rules=[])}, {"policy": setting(rules=TWO_RULES), "signers": OPS_TWICE},
        {"policy": setting(rules=[{"from": ["group:ops"], "count": 0}])}, {"verdicts": (), "final": "succeeded"},
        {"policy": setting(rules=[{"from": ["person:carol"], "count": 1}])},
    ],
}


class Verdicts(unittest.TestCase):
    def test_good_files(self):
        for expected, changes in [
            (("approved", "succeeded"), {}), (("approved", "succeeded"), {"verdicts": ("approve",), "count": 1}),
            (("not_approved", "rejected"), {"verdicts": ("approve", "reject")}), (("not_approved", "rejected"), {"verdicts": ("reject",)}),
            (("not_approved", "pending"), {"verdicts": (), "final": "pending"}),
            (("not_approved", "expired"), {"verdicts": ("approve",), "final": "expired"}),
            (("approved", "approved"), {"final": "pending"}), (("approved", "succeeded"), {"policy": setting(rules=TWO_RULES)}),
            (("approved", "succeeded"), {"decision": setting(user_handle=None)}),
            (("approved", "succeeded"), {"id_claims": lambda claims, where: claims | {"aud": ["gate"], "azp": "gate"}}),
            (("approved", "succeeded"), {"deployment": setting(proposed={"\u20ac": 1.5, "a": 1e21})} ),
            (("approved", "succeeded"), {"signers": [Person("alice", ["ops"], RSA_KEY), Person("carol", [], EC384_KEY)]}),
            # (r, n - s) verifies too: the log's assertion digest is what fixes the one that was made.
            (("approved", "succeeded"), {"signature": at(0, malleable)}),
            (("approved", "succeeded"), {"claims": setting(iat=None, nbf=None, aud=[maker.ORIGIN])}), (("approved", "succeeded"), {"record": at(3, setting(data=1))}),
            (("approved", "succeeded"), {"header": {"jwk": {}, "jku": "x", "x5u": 1}}),
            (("approved", "succeeded"), {"id_claims": lambda claims, where: claims | {"aud": ["gate", "gate"]}}),
            (("approved", "succeeded"), {"attestation": at(0, lambda data: data.replace(b"\x64none", b"\x66packed"))}),
        ]:
            with self.subTest(changes):
                verdict = verify(make(**changes))
                self.assertEqual((verdict["verdict"], verdict["status"]), expected, verdict)

    def test_every_algorithm_of_tokens(self):
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            self.assertEqual(verify(make(workload=(RSA_KEY, algorithm)))["verdict"], "approved")
        for key, algorithm in ((EC_KEY, "ES256"), (EC384_KEY, "ES384"), (ED_KEY, "EdDSA")):
            verdict = verify(make(workload=(key, algorithm), directory=(key, algorithm)), evidence.read_trust(json.dumps(
                maker.trust() | {"login": maker.trust()["login"] | {"keys": []},
                                 "workload_issuers": [maker.trust()["workload_issuers"][0] | {"keys": []}]}).encode()))
            self.assertEqual(verdict["verdict"], "approved", verdict)
        weak = verify(make(workload=(SMALL_RSA_KEY, "RS256")), pinned_issuer(keys=[]))
        self.assertEqual(weak["code"], "token_signature_invalid")

    def test_each_code(self):
        codes = set(evidence.CODES)
        # Endorsements are made by the first verifier's tests alone: see test_the_saved_vectors.
        bad = BAD | cosignatures.BAD
        self.assertEqual(codes - {"endorsement_invalid"}, set(bad))
        for code, variants in bad.items():
            for number, changes in enumerate(variants):
                with self.subTest(code=code, number=number):
                    verdict = verify(make(**changes))
                    self.assertEqual(verdict["code"], code, verdict)

    def test_another_trust(self):
        data = make()
        for code, trust in [
            ("audience_mismatch", pinned(origin="https://x")), ("checkpoint_invalid", pinned(log=maker.verifier_key(key=OTHER_LOG_KEY))),
            ("requester_mismatch", pinned(workload_issuers=[])), ("issuer_key_not_pinned", pinned_issuer(keys=[maker.jwk(EC_KEY)])),
            ("enrolment_invalid", pinned(rp_id="example.com")), ("sign_in_invalid", pinned_login(client_id="x")),
            ("sign_in_invalid", pinned_login(issuer="x")), ("sign_in_mismatch", pinned_login(groups_claim="roles")),
            ("issuer_key_not_pinned", pinned_login(keys=[maker.jwk(RSA_KEY)])),
            ("not_witnessed", pinned(witnesses=[maker.verifier_key("w", OTHER_LOG_KEY, 4)])),
        ]:
            self.assertEqual(verify(data, trust)["code"], code)
        for bad in [b"", b"{}", b"[]", json.dumps(maker.trust() | {"more": 1}).encode(), json.dumps(maker.trust() | {"log": "a+b+c"}).encode(),
                    json.dumps(maker.trust() | {"workload_issuers": maker.trust()["workload_issuers"] * 2}).encode(),
                    json.dumps(maker.trust() | {"witnesses": maker.trust()["witnesses"] * 2}).encode(),
                    json.dumps(maker.trust() | {"witnesses": [maker.verifier_key()]}).encode(),
                    json.dumps(maker.trust() | {"witnesses_required": 2}).encode(),
                    json.dumps(maker.trust() | {"witnesses_required": -1}).encode()]:
            with self.assertRaises(ValueError):
                evidence.read_trust(bad)


    def test_the_saved_vectors(self):
        folder = Path(__file__).parent.parent / "data" / "evidence"
        trust = evidence.read_trust((folder / "trust.json").read_bytes())
        for name, expected in (("good-approved.json", "approved"), ("good-rejected.json", "not_approved"), ("good-withdrawn.json", "approved"), ("good-batch.json", "approved")):
            self.assertEqual(verify((folder / name).read_bytes(), trust)["verdict"], expected)
        bad = json.loads((folder / "bad.json").read_bytes())
        endorsing = evidence.read_trust((folder / "endorsed" / "trust.json").read_bytes())
        good = (folder / "endorsed" / "good-approved.json").read_bytes()
        self.assertEqual(verify(good, endorsing)["verdict"], "approved")
        endorsed = json.loads((folder / "endorsed" / "bad.json").read_bytes())
        self.assertEqual({case["code"] for case in bad + endorsed}, set(evidence.CODES))
        for cases, anchors in ((bad, trust), (endorsed, endorsing)):
            for case in cases:
                self.assertEqual(verify(case["evidence"].encode(), anchors)["code"], case["code"], case["name"])


class Damage(unittest.TestCase):
    def refused(self, data):
        verdict = verify(data)
        self.assertEqual(verdict["verdict"], "invalid")
        self.assertNotEqual(verdict["code"], "internal_error", verdict)

    def test_one_bit_of_every_byte(self):
        data, chance = make(), random.Random(1)
        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 1 << chance.randrange(8)
            self.refused(bytes(damaged))

    def test_cuts_insertions_and_noise(self):
        data, chance = make(), random.Random(2)
        for _ in range(1500):
            begin, end = sorted(chance.randrange(len(data)) for _ in range(2))
            for damaged in (data[:begin], data[end:], data[:begin] + chance.randbytes(3) + data[begin:],
                            data[:begin] + data[end + 1:], data[:end] + data[begin:end + 1] + data[end:]):
                self.refused(damaged)
        for damaged in (b"", b"\xef\xbb\xbf" + data, data + b"\n", b" " + data, b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**5, b"1e999",
                        b"-", b"NaN", b'"\\ud800"', b'"\\ud800":1}', b"\xff", b" " * (4 * 2**20 + 1), b"[" * 127 + b"]" * 127):
            self.refused(damaged)

    def test_every_leaf_of_another_kind(self):
        file = json.loads(make())

        def variants(value):
            for other in (None, True, 0, -1, 1.5, 2**70, "", "\u0000", "x", [], {}, [[]], {"a": {}}):
                yield other
            for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
                for other in variants(value[name]):
                    changed = copy.copy(value)
                    changed[name] = other
                    yield changed

        for changed in variants(file):
            if changed != file:
                self.refused(canonical(changed).encode())

    def test_every_leaf_of_an_embedded_text(self):
        file = json.loads(make())
        for member in ("deployment", "policy"):
            for change in [lambda text: text.replace("1", "2", 1), lambda text: text[:-1], lambda text: "", lambda text: "null",
                           lambda text: "[" * 5000]:
                self.refused(canonical(file | {member: change(file[member])}).encode())


class CommandLine(unittest.TestCase):
    def run_verifier(self, *arguments, text=None):
        command = [sys.executable, "-m", "verifier", *arguments]
        folder = Path(__file__).parent.parent
        return subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=60)

    def test_exit_codes(self):
        with tempfile.TemporaryDirectory() as folder:
            trust, good, rejected, bad = (Path(folder) / name for name in ("trust", "good", "rejected", "bad"))
            trust.write_text(json.dumps(maker.trust(), indent=1))
            good.write_bytes(make())
            rejected.write_bytes(make(verdicts=("reject",)))
            bad.write_bytes(make()[:-1])
            for path, code in ((good, 0), (rejected, 3), (bad, 1), (Path("nowhere"), 2)):
                self.assertEqual(self.run_verifier(str(path), "--trust", str(trust)).returncode, code)
            self.assertEqual(self.run_verifier(str(good)).returncode, 2)
            self.assertEqual(self.run_verifier(str(good), "--trust", str(good)).returncode, 2)
            shown = json.loads(self.run_verifier(str(good), "--trust", str(trust), "--json").stdout)
            self.assertEqual(list(shown), ["verdict", "status", "approval", "code", "sentence"])


    def test_comparing_tells_every_disagreement(self):
        trust, good = maker.trust(), make()
        twice = trust | {"workload_issuers": trust["workload_issuers"] * 2}
        cases = [
            {"name": "good", "evidence": good.decode(), "trust": trust, "verdict": "approved", "code": None},
            {"name": "cut", "evidence": good[:-1].decode(), "trust": trust, "verdict": "invalid", "code": "malformed"},
            {"name": "bytes", "evidence_base64": base64.b64encode(b"\xff").decode(), "trust": trust, "verdict": "invalid", "code": "malformed"},
            {"name": "anchors", "evidence": good.decode(), "trust": twice, "verdict": "invalid", "code": "usage"},
        ]
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(compare.compare(folder), ({}, []))
            Path(folder, "1.json").write_text(json.dumps(cases))
            Path(folder, "2.json").write_text(json.dumps(cases[0]))
            self.assertEqual(compare.compare(folder), ({"bundles": 5}, []))
            Path(folder, "3.json").write_text(json.dumps(cases[0] | {"code": "malformed", "verdict": "invalid"}))
            counts, (line,) = compare.compare(folder)
            self.assertEqual(counts, {"bundles": 6})
            self.assertIn("3.json: good: the first says ('invalid', 'malformed'), the second ('approved', None)", line)

    def test_comparing_counts_what_is_damaged(self):
        good = make().decode()
        damage = [["malformed", [[0, 1, ""]]], ["malformed", [[0, 0, "IA"]]], ["quorum_not_met", [[len(good), 0, "IA"]]]]
        run = {"trust": maker.trust(), "base": good, "count": 4, "damage": damage}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "damage.json").write_text(json.dumps(run))
            counts, (verdict, count) = compare.compare(folder)
            self.assertEqual(counts, {"damaged": 3, "damaged by the first": 4})
            self.assertIn("the first says ('invalid', 'quorum_not_met'), the second ('invalid', 'malformed')", verdict)
            self.assertIn("the first counted 4, not 3", count)


if __name__ == "__main__":
    unittest.main()
