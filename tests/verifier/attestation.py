"""Who vouches for an authenticator: attestations of the format packed with certificates (WebAuthn Level 3, section 8.2)."""

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from .documents import all_differ, from_base64url, has_form, read_json, require, sha256
from .signatures import ALGORITHMS
from .webauthn import COSE_ALGORITHMS, read_whole_cbor

CONSTRAINTS, USAGE, MODEL, LONGEST_CHAIN = "2.5.29.19", "2.5.29.15", "1.3.6.1.4.1.45724.1.1.4", 6
ECDSA, RSA = {2: "ES256", 3: "ES384"}, {11: "RS256", 12: "RS384", 13: "RS512"}
NAMES = {f"1.2.840.10045.4.3.{last}": ECDSA[last] for last in ECDSA} | {f"1.2.840.113549.1.1.{last}": RSA[last] for last in RSA}
UNREADABLE = x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType, exceptions.UnsupportedAlgorithm
read_certificate = x509.load_der_x509_certificate
says = lambda one, name: next((each.value for each in one.extensions if each.oid.dotted_string == name), None)

def require_signed(by, algorithm, signature, message):
    key = by.public_key()
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1")
    is_modulus = isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192
    require(algorithm and {"ES": is_curve, "RS": is_modulus}.get(algorithm[:2]), "its key is of another kind")
    key.verify(signature, message, *ALGORITHMS[algorithm][1:])

def require_issued(one, by, between):
    may, usage = says(by, CONSTRAINTS), says(by, USAGE)
    require(may and may.ca and (may.path_length is None or between <= may.path_length) and (not usage or usage.key_cert_sign))
    require(one.issuer.public_bytes() == by.subject.public_bytes())
    require_signed(by, NAMES.get(one.signature_algorithm_oid.dotted_string), one.signature, one.tbs_certificate_bytes)

def require_attestation(key, roots):
    """A certificate vouches for the authenticator of a key, and its chain ends at these roots, or anywhere."""
    response = read_json(key.registration)["response"]
    client_data, attestation = (from_base64url(response[name]) for name in ("clientDataJSON", "attestationObject"))
    require(has_form(attestation := read_whole_cbor(attestation), "Packed"))
    algorithm, signature, parts = attestation["attStmt"].values()
    leaf, *above = chain = list(map(read_certificate, parts))
    above += [root for root in roots if root != chain[-1]]
    for between, pair in enumerate(zip([leaf, *above], above)):
        require_issued(*pair, between)
    for one in [leaf, *above]:
        require({each.oid.dotted_string for each in one.extensions if each.critical} <= {CONSTRAINTS, USAGE})
        require(one.not_valid_before_utc.timestamp() <= key.entered.at // 10**9 <= one.not_valid_after_utc.timestamp())
    named = [[part.value for part in leaf.subject if part.oid.dotted_string == f"2.5.4.{last}"] for last in (11, 6, 10, 3)]
    require(named[0] == ["Authenticator Attestation"] and {*map(len, named)} == {1})
    model, may = says(leaf, MODEL), says(leaf, CONSTRAINTS)
    require(may and not may.ca and (not model or model.value == b"\4\x10" + bytes.fromhex(key.aaguid)))
    require(len(parts) <= LONGEST_CHAIN and all_differ(parts))
    require_signed(leaf, COSE_ALGORITHMS.get(algorithm), signature, attestation["authData"] + sha256(client_data))

def met_by(key, roots):
    """What may be asked of whoever vouches for a key: nothing; any certificate; a maker whose root is pinned."""
    def holds(*root):
        try:
            return require_attestation(key, root) is None
        except (ValueError, exceptions.InvalidSignature, *UNREADABLE):
            return False
    return [None] + ["any"] * holds() + ["trusted"] * any(holds(read_certificate(from_base64url(root))) for root in roots)
