"""Who vouches for an authenticator: attestations of the format packed with certificates (WebAuthn Level 3, section 8.2)."""

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from .documents import all_differ, from_base64url, has_form, read_json, require, sha256
from .signatures import ALGORITHMS
from .webauthn import COSE_ALGORITHMS, read_whole_cbor

CONSTRAINTS, USAGE, MODEL, LONGEST_CHAIN = "2.5.29.19", "2.5.29.15", "1.3.6.1.4.1.45724.1.1.4", 6
# The algorithms of certificates, by what follows 1.2.840 in their names.
NAMED = {"10045.4.3.2": "ES256", "10045.4.3.3": "ES384", "113549.1.1.11": "RS256", "113549.1.1.12": "RS384", "113549.1.1.13": "RS512"}
# A TypeError has a name of which a part is of a strange type.
STRANGE = TypeError, exceptions.UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType
says = lambda one, name: next((each.value for each in one.extensions if each.oid.dotted_string == name), None)

def read_certificate(data):
    one = x509.load_der_x509_certificate(data)
    require({each.oid.dotted_string for each in one.extensions if each.critical} <= {CONSTRAINTS, USAGE}, "something else in it is critical")
    return one

def may_issue(one, between):
    may, usage = says(one, CONSTRAINTS), says(one, USAGE)
    return may and may.ca and (may.path_length is None or between <= may.path_length) and (not usage or usage.key_cert_sign)

def require_signed(by, algorithm, signature, message):
    key = by.public_key()
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1")
    kind = "ES" if is_curve else "RS" if isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192 else None
    require(algorithm and algorithm[:2] == kind, "its key is of another kind")
    key.verify(signature, message, *ALGORITHMS[algorithm][1:])

def require_attestation(key, *roots):
    response = read_json(key.registration)["response"]
    client_data, encoded = (from_base64url(response[name]) for name in ("clientDataJSON", "attestationObject"))
    require(has_form(attestation := read_whole_cbor(encoded), "Packed"))
    algorithm, signature, parts = attestation["attStmt"].values()
    require(len(parts) <= LONGEST_CHAIN and all_differ(parts))
    leaf, *above = map(read_certificate, [*parts, *(root for root in roots if root != parts[-1])])
    for between, (one, by) in enumerate(zip([leaf, *above], [*above, None])):
        require(one.not_valid_before_utc.timestamp() <= key.entered.at // 10**9 <= one.not_valid_after_utc.timestamp())
        if by:
            require(may_issue(by, between) and one.issuer.public_bytes() == by.subject.public_bytes())
            require_signed(by, NAMED.get(one.signature_algorithm_oid.dotted_string.removeprefix("1.2.840.")), one.signature, one.tbs_certificate_bytes)
    named = [[part.value for part in leaf.subject if part.oid.dotted_string == f"2.5.4.{last}"] for last in (11, 6, 10, 3)]
    require(named[0] == ["Authenticator Attestation"] and {*map(len, named)} == {1})
    model, may = says(leaf, MODEL), says(leaf, CONSTRAINTS)
    require(may and not may.ca and (not model or model.value == b"\4\x10" + bytes.fromhex(key.aaguid)))
    require_signed(leaf, COSE_ALGORITHMS.get(algorithm), signature, attestation["authData"] + sha256(client_data))

def holds(check, *given):
    try:
        return check(*given) is not False
    except (ValueError, exceptions.InvalidSignature, *STRANGE):
        return False

def met_by(key, roots):
    """What may be asked of whoever vouches for a key: nothing; any certificate; a maker whose root is pinned."""
    is_trusted = any(holds(require_attestation, key, from_base64url(root)) for root in roots)
    return [None] + ["any"] * holds(require_attestation, key) + ["trusted"] * is_trusted

is_root = lambda text: holds(lambda: bool(may_issue(read_certificate(from_base64url(text)), 0)))
