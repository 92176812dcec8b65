"""What keys sign: tokens (RFC 7515 to 7518, 7638, 8037), checkpoints and entries of the log (RFC 6962)."""

import functools, re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .documents import from_base64url, has_form, nanoseconds, read, read_json, require, sha256

CURVES, COORDINATE_BYTES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}, {"ES256": 32, "ES384": 48}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KINDS = {a + b: "RSA" for a in ("RS", "PS") for b in HASHES} | {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
PARAMETERS = {
    "ES": lambda hashed: (ec.ECDSA(hashed),), "Ed": lambda hashed: (), "RS": lambda hashed: (padding.PKCS1v15(), hashed),
    "PS": lambda hashed: (padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed),
}

def read_key(text):
    """Kind and numbers (as bytes) of a JSON Web Key in the form that RFC 7638 hashes."""
    key = read(text, "Key")
    return key.get("crv", key["kty"]), *(from_base64url(key[name]) for name in "nexy" if name in key)

def public_key(kind, *numbers):
    """The key, or ValueError if the numbers are none: a point off the curve, a modulus that is too short."""
    if kind == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(*numbers)
    first, second = map(int.from_bytes, numbers)
    if kind in CURVES:
        return ec.EllipticCurvePublicNumbers(first, second, CURVES[kind]).public_key()
    require(2048 <= first.bit_length() <= 8192, "an RSA key is too short or too long")
    return rsa.RSAPublicNumbers(second, first).public_key()

@functools.lru_cache(maxsize=8192)
def verifies(material, algorithm, signature, message):
    """Whether the key signed the message. ECDSA signatures are DER, which OpenSSL reads strictly."""
    try:
        require(KINDS.get(algorithm) == material[0])
        public_key(*material).verify(signature, message, *PARAMETERS[algorithm[:2]](HASHES.get(algorithm[2:])))
        return True
    except (InvalidSignature, ValueError):
        return False

def part_of(token, place):
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
        if half := COORDINATE_BYTES.get(algorithm):
            require(len(signature) == 2 * half)
            signature = utils.encode_dss_signature(*map(int.from_bytes, (signature[:half], signature[half:])))
        return verifies(read_key(key_text), algorithm, signature, signed.encode())
    except (ValueError, RecursionError):
        return False

def read_verifier_key(text, signature_type=1):
    """Name, key id and material of `name+hash+base64` (C2SP signed-note): type 1 is a log's, 4 a witness's."""
    name, key_id, encoded = text.split("+", 2)
    key = from_base64url(encoded, 33)
    is_plain = name and not re.search(r"[\s\0-\x1f]", name) and key[0] == signature_type
    require(is_plain and key_id == sha256(name.encode(), b"\n", key)[:4].hex(), "this is no verifier key")
    return name, bytes.fromhex(key_id), ("Ed25519", key[1:])

def read_checkpoint(text, verifier_key):
    name, key_id, material = read_verifier_key(verifier_key)
    parts = re.fullmatch(rf"({re.escape(name)}\n(0|[1-9][0-9]{{0,19}})\n(.*)\n)\n\u2014 {re.escape(name)} (.*)\n", text)
    require(parts and int(parts[2]) < 2**64, "its lines are not those of this log")
    root, signature = from_base64url(parts[3], 32), from_base64url(parts[4], 68)
    require(signature[:4] == key_id and verifies(material, "EdDSA", signature[4:], parts[1].encode()))
    return int(parts[2]), root

def is_cosigned(checkpoint, witness, cosignature):
    """Whether the witness signed the text of a checkpoint (C2SP tlog-cosignature, the Ed25519 type)."""
    _, key_id, material = read_verifier_key(witness, 4)
    data, text = from_base64url(cosignature, 76), checkpoint.partition("\n\n")[0].encode()
    message = b"cosignature/v1\ntime %d\n%s\n" % (time := int.from_bytes(data[4:12]), text)
    return data[:4] == key_id and time < 10**11 and verifies(material, "EdDSA", data[12:], message)

def root_of_path(leaf, index, size, path):
    """The root that an inclusion proof leads to (RFC 6962, section 2.1.1, read backwards)."""
    require(index < size and (size > 1) == bool(path), "its inclusion proof is of another place")
    if size == 1:
        return leaf
    split, sibling = 1 << ((size - 1).bit_length() - 1), path[-1]
    if index < split:
        return sha256(b"\1", root_of_path(leaf, index, split, path[:-1]), sibling)
    return sha256(b"\1", sibling, root_of_path(leaf, index - split, size - split, path[:-1]))

class Entry:
    def __init__(self, member):
        self.index, self.record = member["index"], read(member["record"], "Record")
        self.at, names = nanoseconds(self.record["at"]), ("previous_root", "signature", "salt")
        self.previous_root, self.signature, salt = (bytes.fromhex(member[name]) for name in names)
        self.inclusion = [bytes.fromhex(node) for node in member["inclusion"]]
        self.hash = sha256(salt, member["record"].encode())
        self.leaf = sha256(b"\0", self.hash)

    def is_signed_by(self, verifier_key):
        message = b"countersign ledger entry v1\0" + self.index.to_bytes(8) + self.previous_root + self.leaf
        return verifies(read_verifier_key(verifier_key)[2], "EdDSA", self.signature, message)
