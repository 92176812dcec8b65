"""Keys and signatures: JSON Web Keys and tokens (RFC 7515 to 7518, 7638, 8037), and what COSE keys share with them."""

import functools

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .encodings import Broken, from_base64url, read_canonical, read_json, require, sha256, to_base64url

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "Ed25519": 32}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KINDS = dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], "RSA")
KINDS |= {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
FOREIGN = {"crit", "jwk", "jku", "x5u"}
SMALLEST_RSA, LARGEST_RSA = 2048, 8192

@functools.lru_cache(maxsize=1024)
def read_key(text):
    """Kind and numbers (as bytes) of a JSON Web Key in the form that RFC 7638 hashes; perhaps they are no key."""
    match read_canonical(text):
        case {"kty": "RSA", "n": n, "e": e, **others} if not others:
            return "RSA", from_base64url(n), from_base64url(e)
        case {"kty": "EC", "crv": "P-256" | "P-384" as curve, "x": x, "y": y, **others} if not others:
            return curve, from_base64url(x), from_base64url(y)
        case {"kty": "OKP", "crv": "Ed25519", "x": x, **others} if not others:
            return "Ed25519", from_base64url(x)
    raise Broken("the key is of no known kind, or has other members than RFC 7638 hashes")

def thumbprint(key_text):
    return to_base64url(sha256(key_text.encode()))

def public_key(material):
    """The key, or nothing if the numbers are none: of another length, a point off the curve, a short modulus."""
    kind, *numbers = material
    lengths = {len(number) for number in numbers}
    if any(number[:1] in (b"", b"\0") for number in numbers) if kind == "RSA" else lengths != {COORDINATE_BYTES[kind]}:
        return None
    try:
        if kind == "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(*numbers)
        first, second = map(int.from_bytes, numbers)
        if kind in CURVES:
            return ec.EllipticCurvePublicNumbers(first, second, CURVES[kind]).public_key()
        fits = SMALLEST_RSA <= first.bit_length() <= LARGEST_RSA
        return rsa.RSAPublicNumbers(second, first).public_key() if fits else None
    except (ValueError, UnsupportedAlgorithm):
        return None

@functools.lru_cache(maxsize=8192)
def verifies(material, algorithm, signature, message):
    """Whether the key signed the message. ECDSA signatures are DER, in the one encoding that DER allows."""
    key, hashed = public_key(material), HASHES.get(algorithm[2:])
    if key is None or KINDS.get(algorithm) != material[0]:
        return False
    try:
        if algorithm == "EdDSA":
            key.verify(signature, message)
        elif algorithm.startswith("ES"):
            key.verify(signature, message, ec.ECDSA(hashed))
            return utils.encode_dss_signature(*utils.decode_dss_signature(signature)) == signature
        else:
            pss = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
            key.verify(signature, message, pss if algorithm.startswith("PS") else padding.PKCS1v15(), hashed)
        return True
    except (InvalidSignature, ValueError):
        return False

@functools.lru_cache(maxsize=1024)
def claims_of(token):
    """The claims of a compact token, believed by nobody yet."""
    claims = read_json(from_base64url(token.split(".")[1]))
    require(isinstance(claims, dict), "a token's claims are an object")
    return claims

def check_token(token, key_text):
    """That this key signed the compact token."""
    try:
        signed, _, last = token.rpartition(".")
        header, signature = read_json(from_base64url(signed.partition(".")[0])), from_base64url(last)
        is_plain = isinstance(header, dict) and isinstance(header.get("alg"), str) and not header.keys() & FOREIGN
        require(is_plain, "a token's header names no algorithm, a key of its own, or extensions")
        if header["alg"] in ("ES256", "ES384"):
            half = COORDINATE_BYTES[KINDS[header["alg"]]]
            require(len(signature) == 2 * half, "a token's signature is not two numbers of the curve's length")
            numbers = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
            signature = utils.encode_dss_signature(*numbers)
        is_signed = verifies(read_key(key_text), header["alg"], signature, signed.encode())
        require(is_signed, "the key did not sign the token")
    except Broken as broken:
        raise Broken(str(broken), "token_signature_invalid") from None
