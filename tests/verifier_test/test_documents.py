"""PYTHONPATH=tests python3 -m unittest verifier_test.test_documents"""

import io
import itertools
import json
import random
import struct
import unittest
from pathlib import Path

from verifier import documents, evidence, signatures, webauthn


class Encodings(unittest.TestCase):
    def test_numbers_as_ecmascript_writes_them(self):
        # RFC 8785, appendix B.
        for bits, text in {
            "0000000000000000": "0", "8000000000000000": "0", "0000000000000001": "5e-324", "8000000000000001": "-5e-324",
            "7fefffffffffffff": "1.7976931348623157e+308", "ffefffffffffffff": "-1.7976931348623157e+308",
            "4340000000000000": "9007199254740992", "c340000000000000": "-9007199254740992", "4430000000000000": "295147905179352830000",
            "44b52d02c7e14af5": "9.999999999999997e+22", "44b52d02c7e14af6": "1e+23", "44b52d02c7e14af7": "1.0000000000000001e+23",
            "444b1ae4d6e2ef4e": "999999999999999700000", "444b1ae4d6e2ef4f": "999999999999999900000", "444b1ae4d6e2ef50": "1e+21",
            "3eb0c6f7a0b5ed8c": "9.999999999999997e-7", "3eb0c6f7a0b5ed8d": "0.000001", "41b3de4355555553": "333333333.3333332",
            "41b3de4355555554": "333333333.33333325", "41b3de4355555555": "333333333.3333333", "41b3de4355555556": "333333333.3333334",
            "41b3de4355555557": "333333333.33333343", "becbf647612f3696": "-0.0000033333333333333333", "43143ff3c1cb0959": "1424953923781206.2",
        }.items():
            self.assertEqual(documents.canonical(struct.unpack(">d", bytes.fromhex(bits))[0]), text)
        for text in ("9007199254740993", "1.0", "-0", "1E5", "1e5", "0.10", "18446744073709551616", "1e400", "9" * 400):
            with self.assertRaises(ValueError):
                documents.read(text, "any")
        self.assertEqual(documents.read("18446744073709552000", "any"), 18446744073709552000)

    def test_members_are_sorted_by_utf_16(self):
        # RFC 8785, section 3.2.3.
        text = '{"\\r":1,"1":2,"\u0080":3,"\u00f6":4,"\u20ac":5,"\U0001f600":6,"\ufb33":7}'
        self.assertEqual(len(documents.read(text, "any")), 7)
        self.assertEqual(documents.canonical("\u20ac$\u000f\nA'B\"\\\\\"/\u007f\u2028"), '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f\u2028"')

    def test_base64url_and_times(self):
        for bad in ("A", "AB", "AA=", "A+", "A\n", "AAAAA"):
            with self.assertRaises(ValueError):
                documents.from_base64url(bad)
        for bad in ("2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.0Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00.0000000001Z", "0000-01-01T00:00:00Z",
                    "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z\n", "\u0662026-01-01T00:00:00Z"):
            with self.assertRaises(ValueError):
                documents.nanoseconds(bad)
        self.assertEqual(documents.nanoseconds("1970-01-02T00:00:00.000000001Z"), 86400 * 10**9 + 1)

    def test_vectors_of_the_w3c(self):
        """All are signed validly, and all lack something that is asked for here: which, by name."""
        path = Path(__file__).parent.parent / "data" / "webauthn-test-vectors.json"
        vectors = json.loads(path.read_text())
        read = 0
        for vector in vectors["vectors"]:
            for kind in ("registration", "authentication"):
                case = vector.get(kind)
                if case is None:
                    continue
                if kind == "registration":
                    data = webauthn.read_whole_cbor(bytes.fromhex(case["attestationObject"]))["authData"]
                    rest = io.BytesIO(data[55 + int.from_bytes(data[53:55]):])
                    webauthn.read_cbor(rest)
                    cose = rest.getvalue()[:rest.tell()]
                else:
                    signature, client = bytes.fromhex(case["signature"]), bytes.fromhex(case["clientDataJSON"])
                    try:
                        algorithm, material = webauthn.read_cose_key(cose)
                    except ValueError:
                        continue
                    message = bytes.fromhex(case["authenticatorData"]) + documents.sha256(client)
                    with self.subTest(vector["title"]):
                        signatures.require_signature(material, algorithm, signature, message)
                    read += 1
        self.assertGreaterEqual(read, 10)


class Checks(unittest.TestCase):
    LIMIT = {"comparator": "below", "threshold": "1.5"}
    GOOD = [
        {"kind": "http", "path": "/health", "lowest_status": 200, "highest_status": 299, "attempts": 3, "timeout_seconds": 5, "patience_seconds": 0},
        {"kind": "prometheus", "name": "errors", "source": "main", "query": "x", "limit": LIMIT | {"unit": "%"}, "samples": 1, "patience_seconds": 2**32 - 1},
        {"kind": "cloud_monitoring", "name": "errors", "source": "google", "filter": "x", "aligner": "ALIGN_MEAN", "reducer": "REDUCE_MAX",
         "period_seconds": 60, "limit": LIMIT, "samples": 1, "patience_seconds": 300},
    ]

    def test_only_what_a_gate_signs_is_a_check(self):
        step = {"percent": 10, "traffic": []}
        self.assertTrue(documents.has_form(step | {"checks": self.GOOD}, "Step"))
        self.assertFalse(documents.has_form(step | {"checks": []}, "Step"))
        for good in self.GOOD:
            self.assertTrue(documents.has_form(good, "Check"), good)
            for member in good.keys() - {"contains", "reducer"}:
                self.assertFalse(documents.has_form({name: value for name, value in good.items() if name != member}, "Check"), member)
            for bad in ({"kind": "shell"}, {"token": "secret"}, {"patience_seconds": -1}, {"patience_seconds": 2**32}, {"patience_seconds": "1"},
                        {"patience_seconds": 1.5}, {"patience_seconds": None}):
                self.assertFalse(documents.has_form(good | bad, "Check"), bad)
        for bad in ({"comparator": "about"}, {"threshold": 1.5}, {"more": 1}, {"unit": None}):
            self.assertFalse(documents.has_form(self.GOOD[1] | {"limit": self.LIMIT | bad}, "Check"), bad)

    def test_only_what_a_gate_found_is_a_result(self):
        good = {"step": 1, "outcome": "passed", "found": "HTTP 200 from /health", "at": "2026-03-02T09:00:00Z"}
        progress = {"revision_ready": True, "steps_done": 1}
        self.assertTrue(documents.has_form(progress | {"checks": [good]}, "Progress"))
        self.assertFalse(documents.has_form(progress | {"checks": []}, "Progress"))
        for bad in ({"step": -1}, {"outcome": "skipped"}, {"found": None}, {"at": "now"}, {"more": 1}):
            try:
                self.assertFalse(documents.has_form(good | bad, "CheckResult"), bad)
            except ValueError:
                pass


class Matching(unittest.TestCase):
    def test_places_are_filled_where_it_is_possible(self):
        """Against every way there is."""
        chance = random.Random(3)
        for _ in range(3000):
            people = [{"person": {"subject": str(one)}, "groups": chance.sample("abc", chance.randrange(4))}
                      for one in range(chance.randrange(5))]
            rules = [{"from": [f"group:{name}" for name in chance.sample("abc", chance.randrange(3))] + ["person:0"] * chance.randrange(2),
                      "count": chance.randrange(1, 3)} for _ in range(chance.randrange(1, 4))]
            places = [rule["from"] for rule in rules for _ in range(rule["count"])]
            expected = any(
                all(f"person:{one['person']['subject']}" in place or any(f"group:{group}" in place for group in one["groups"])
                    for one, place in zip(order, places))
                for order in itertools.permutations(people, len(places)))
            self.assertEqual(evidence.is_met(rules, people), expected, (people, rules))


if __name__ == "__main__":
    unittest.main()
