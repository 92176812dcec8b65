"""Who vouches for an authenticator: attestations of the format packed with certificates (WebAuthn Level 3, section 8.2)."""

from cryptography import exceptions, x509
from .documents import all_differ, from_base64url, has_form, read_json, require, sha256
from .signatures import ALGORITHMS
from .webauthn import COSE_ALGORITHMS, read_whole_cbor

CONSTRAINTS, USAGE, MODEL, LONGEST_CHAIN = "2.5.29.19", "2.5.29.15", "1.3.6.1.4.1.45724.1.1.4", 6
ECDSA, RSA = {2: "ES256", 3: "ES384"}, {11: "RS256", 12: "RS384", 13: "RS512"}
NAMES = {f"1.2.840.10045.4.3.{last}": ECDSA[last] for last in ECDSA} | {f"1.2.840.113549.1.1.{last}": RSA[last] for last in RSA}
KINDS = {"secp256r1": "ES", "secp384r1": "ES"} | {bits: "RS" for bits in range(2048, 8193)}
FAILED = ValueError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion
says = lambda one, name: next((each.value for each in one.extensions if each.oid.dotted_string == name), None)

def read_certificate(data):
    one = x509.load_der_x509_certificate(data)
    require({each.oid.dotted_string for each in one.extensions if each.critical} <= {CONSTRAINTS, USAGE}, "something else is critical")
    return one

def require_signed(by, algorithm, signature, message):
    key = by.public_key()
    require(algorithm and algorithm[:2] == KINDS.get(key.curve.name if hasattr(key, "curve") else getattr(key, "key_size", None)))
    key.verify(signature, message, *ALGORITHMS[algorithm][1:])

def require_issued(one, by, between):
    may, usage = says(by, CONSTRAINTS), says(by, USAGE)
    require(may and may.ca and (may.path_length is None or between <= may.path_length) and (not usage or usage.key_cert_sign))
    require(one.issuer.public_bytes() == by.subject.public_bytes())
    require_signed(by, NAMES.get(one.signature_algorithm_oid.dotted_string), one.signature, one.tbs_certificate_bytes)

def require_attestation(key, roots):
    response = read_json(key.registration)["response"]
    client_data, attestation = (from_base64url(response[name]) for name in ("clientDataJSON", "attestationObject"))
    require(has_form(attestation := read_whole_cbor(attestation), "Packed"))
    algorithm, signature, parts = attestation["attStmt"].values()
    leaf, *above = chain = [read_certificate(part) for part in parts]
    above += [root for root in roots if root != chain[-1]]
    for between, pair in enumerate(zip([leaf, *above], above)):
        require_issued(*pair, between)
    periods = [(one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp()) for one in (leaf, *above)]
    require(len(parts) <= LONGEST_CHAIN and all_differ(parts) and all(begin <= key.entered.at // 10**9 <= end for begin, end in periods))
    named = [[part.value for part in leaf.subject if part.oid.dotted_string == f"2.5.4.{last}"] for last in (11, 6, 10, 3)]
    require(named[0] == ["Authenticator Attestation"] and {*map(len, named)} == {1})
    (model, constraints) = (says(leaf, name) for name in (MODEL, CONSTRAINTS))
    require(constraints and not constraints.ca and (not model or model.value == b"\4\x10" + bytes.fromhex(key.aaguid)))
    require_signed(leaf, COSE_ALGORITHMS.get(algorithm), signature, attestation["authData"] + sha256(client_data))

def met_by(key, roots):
    """What may be asked of whoever vouches for a key: nothing; any certificate; a maker whose root is pinned."""
    def holds(*root):
        try:
            return require_attestation(key, root) is None
        except FAILED:
            return False
    return [None] + ["any"] * holds() + ["trusted"] * any(holds(read_certificate(from_base64url(root))) for root in roots)
