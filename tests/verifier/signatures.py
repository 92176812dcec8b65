"""Keys and signatures: JSON Web Keys and tokens (RFC 7515 to 7518, 7638, 8037), and COSE keys (RFC 9053)."""

import functools

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .encodings import from_base64url, read_canonical, read_json, require, sha256, to_base64url

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "Ed25519": 32}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KINDS = dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], "RSA")
KINDS |= {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
PARAMETERS = {
    "RS": lambda hashed: (padding.PKCS1v15(), hashed), "ES": lambda hashed: (ec.ECDSA(hashed),), "Ed": lambda hashed: (),
    "PS": lambda hashed: (padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed),
}
SMALLEST_RSA, LARGEST_RSA = 2048, 8192
# Of each kind of key: what it says beside its numbers, and the members that are its numbers.
JSON_KEYS = {
    "RSA": ({"kty": "RSA"}, ("n", "e")), "Ed25519": ({"kty": "OKP", "crv": "Ed25519"}, ("x",)),
    "P-256": ({"kty": "EC", "crv": "P-256"}, ("x", "y")), "P-384": ({"kty": "EC", "crv": "P-384"}, ("x", "y")),
}

def read_members(key, kinds, read):
    """Kind and numbers (as bytes) of a key that has exactly the members of its kind; perhaps they are no key."""
    for kind, (fixed, names) in kinds.items():
        if isinstance(key, dict) and key == fixed | {name: key.get(name) for name in names}:
            numbers = [read(key[name]) for name in names]
            length = COORDINATE_BYTES.get(kind)  # None for RSA, whose numbers have no zero byte in front.
            fits = all(len(number) == length if length else number.lstrip(b"\0") == number > b"" for number in numbers)
            require(fits, f"a number of the {kind} key has another length")
            return kind, *numbers
    raise ValueError("a key is of no known kind, or has other members than its kind")

@functools.lru_cache(maxsize=1024)
def read_key(text):
    """The material of a JSON Web Key in the form that RFC 7638 hashes."""
    return read_members(read_canonical(text), JSON_KEYS, from_base64url)

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

def _object(part):
    value = read_json(from_base64url(part))
    require(isinstance(value, dict), "a part of a token is no object")
    return value

@functools.lru_cache(maxsize=1024)
def claims_of(token):
    """The claims of a compact token, believed by nobody yet."""
    _, claims, _ = token.split(".")
    return _object(claims)

def is_signed(token, key_text):
    """Whether this key signed the compact token. A key that the header brings is not looked at."""
    try:
        head, claims, last = token.split(".")
        header, signature = _object(head), from_base64url(last)
        algorithm = header.get("alg")
        require(isinstance(algorithm, str) and "crit" not in header)
        half = COORDINATE_BYTES.get(KINDS.get(algorithm))
        if algorithm.startswith("ES"):
            require(half and len(signature) == 2 * half)
            numbers = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
            signature = utils.encode_dss_signature(*numbers)
        return verifies(read_key(key_text), algorithm, signature, f"{head}.{claims}".encode())
    except (ValueError, RecursionError):
        return False
