"""Keys and signatures: JSON Web Keys and tokens (RFC 7515 to 7518, 7638, 8037), and COSE keys (RFC 9053)."""

import functools

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .encodings import from_base64url, read_json, require, sha256, to_base64url
from .shapes import has_form, read

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
SIGNATURE_BYTES = {"ES256": 64, "ES384": 96}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KINDS = dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], "RSA")
KINDS |= {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
PARAMETERS = {
    "ES": lambda hashed: (ec.ECDSA(hashed),), "Ed": lambda hashed: (),
    "RS": lambda hashed: (padding.PKCS1v15(), hashed),
    "PS": lambda hashed: (padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed),
}
SMALLEST_RSA, LARGEST_RSA = 2048, 8192

def read_key(text):
    """Kind and numbers (as bytes) of a JSON Web Key in the form that RFC 7638 hashes; perhaps they are no key."""
    key = read(text, "Key")
    return key.get("crv", key["kty"]), *(from_base64url(key[name]) for name in "nexy" if name in key)

def thumbprint(key_text):
    return to_base64url(sha256(key_text.encode()))

def public_key(kind, *numbers):
    """The key, or ValueError if the numbers are none: a point off the curve, a modulus that is too short."""
    if kind == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(*numbers)
    first, second = map(int.from_bytes, numbers)
    if kind in CURVES:
        return ec.EllipticCurvePublicNumbers(first, second, CURVES[kind]).public_key()
    require(SMALLEST_RSA <= first.bit_length() <= LARGEST_RSA, "an RSA key is too short or too long")
    return rsa.RSAPublicNumbers(second, first).public_key()

@functools.lru_cache(maxsize=8192)
def verifies(material, algorithm, signature, message):
    """Whether the key signed the message. ECDSA signatures are DER, in the one encoding that DER allows."""
    if KINDS.get(algorithm) != material[0]:
        return False
    try:
        parameters = PARAMETERS[algorithm[:2]](HASHES.get(algorithm[2:]))
        public_key(*material).verify(signature, message, *parameters)
        is_ecdsa = algorithm.startswith("ES")
        return not is_ecdsa or utils.encode_dss_signature(*utils.decode_dss_signature(signature)) == signature
    except (InvalidSignature, ValueError):
        return False

def part_of(token, place):
    """The header (0) or the claims (1) of a compact token, believed by nobody yet."""
    header, claims, _ = token.split(".")
    value = read_json(from_base64url((header, claims)[place]))
    require(isinstance(value, dict), "a part of a token is no object")
    return value

def is_signed(token, key_text):
    """Whether this key signed the compact token. A key that the header brings is not looked at."""
    try:
        header, (signed, _, last) = part_of(token, 0), token.rpartition(".")
        require(has_form(header, "Header"))
        algorithm, signature = header["alg"], from_base64url(last)
        if algorithm in SIGNATURE_BYTES:
            half = len(signature) // 2
            require(len(signature) == SIGNATURE_BYTES[algorithm])
            numbers = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
            signature = utils.encode_dss_signature(*numbers)
        return verifies(read_key(key_text), algorithm, signature, signed.encode())
    except (ValueError, RecursionError):
        return False
