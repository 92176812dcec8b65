"""What keys sign: tokens (RFC 7515 to 7518, 7638, 8037), checkpoints and entries of the log (RFC 6962)."""

import functools, re, types
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from .documents import from_base64url, has_form, nanoseconds, read, read_json, require, sha256

CURVES, COORDINATE_BYTES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}, {"ES256": 32, "ES384": 48}
# The kind of key of each algorithm, and what its signatures are verified with.
ALGORITHMS = {"EdDSA": ("Ed25519",), "ES256": ("P-256", ec.ECDSA(hashes.SHA256())), "ES384": ("P-384", ec.ECDSA(hashes.SHA384()))}
for hashed in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
    ALGORITHMS[f"RS{8 * hashed.digest_size}"] = "RSA", padding.PKCS1v15(), hashed
    ALGORITHMS[f"PS{8 * hashed.digest_size}"] = "RSA", padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed

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
def require_signature(material, algorithm, signature, message):
    """The key signed the message, or InvalidSignature. ECDSA signatures are DER, which OpenSSL reads strictly."""
    kind, *parameters = ALGORITHMS.get(algorithm, [None])
    require(kind == material[0], "the key is of another kind")
    public_key(*material).verify(signature, message, *parameters)

def part_of(token, place):
    """The value of a part of a compact token: its header (0) or its claims (1)."""
    header, claims, _ = token.split(".")
    return read_json(from_base64url((header, claims)[place]).decode())

def require_token_signature(token, key_text):
    """This key signed the compact token, or ValueError. A key that the header brings is not looked at."""
    header, (signed, _, last) = part_of(token, 0), token.rpartition(".")
    require(has_form(header, "Header"), "its header is of another form")
    algorithm, signature = header["alg"], from_base64url(last)
    if half := COORDINATE_BYTES.get(algorithm):
        require(len(signature) == 2 * half, "its signature is too short or long")
        signature = utils.encode_dss_signature(*map(int.from_bytes, (signature[:half], signature[half:])))
    key = read(key_text, "Key")
    material = key.get("crv", key["kty"]), *(from_base64url(key[name]) for name in "nexy" if name in key)
    require_signature(material, algorithm, signature, signed.encode())

def read_verifier_key(text, signature_type=1):
    """Name, key id and material of `name+hash+base64` (C2SP signed-note): type 1 is a log's, 4 a witness's."""
    require(has_form(text, "verifier_key"), "this is no verifier key")
    name, key_id, encoded = text.split("+", 2)
    key = from_base64url(encoded, "base64_33")
    require(key[0] == signature_type and key_id == sha256(name.encode(), b"\n", key)[:4].hex(), "this is no verifier key of its kind")
    return name, bytes.fromhex(key_id), ("Ed25519", key[1:])

def read_checkpoint(text, verifier_key):
    """Size and root of the tree in a checkpoint (C2SP tlog-checkpoint) that this log's key alone signed."""
    name, key_id, material = read_verifier_key(verifier_key)
    parts = re.fullmatch(rf"({re.escape(name)}\n(0|[1-9][0-9]{{0,19}})\n(.*)\n)\n\u2014 {re.escape(name)} (.*)\n", text)
    require(parts and int(parts[2]) < 2**64, "its lines are not those of this log")
    root, signature = from_base64url(parts[3], "base64_32"), from_base64url(parts[4], "base64_68")
    require(signature[:4] == key_id, "it is signed by another key")
    require_signature(material, "EdDSA", signature[4:], parts[1].encode())
    return int(parts[2]), root

def require_cosignature(checkpoint, witness, cosignature):
    """The witness signed the text of a checkpoint (C2SP tlog-cosignature, the Ed25519 type), or ValueError."""
    _, key_id, material = read_verifier_key(witness, 4)
    data, text = from_base64url(cosignature, "base64_76"), checkpoint.partition("\n\n")[0].encode()
    require(data[:4] == key_id and (time := int.from_bytes(data[4:12])) < 10**11, "it is of another key, or at no time")
    require_signature(material, "EdDSA", data[12:], b"cosignature/v1\ntime %d\n%s\n" % (time, text))

def root_of_path(leaf, index, size, path):
    """The root that an inclusion proof leads to (RFC 6962, section 2.1.1, read backwards)."""
    require(index < size and (size > 1) == bool(path), "its inclusion proof is of another place")
    if size == 1:
        return leaf
    split, sibling = 1 << (size - 1).bit_length() - 1, path[-1]
    if index < split:
        return sha256(b"\1", root_of_path(leaf, index, split, path[:-1]), sibling)
    return sha256(b"\1", sibling, root_of_path(leaf, index - split, size - split, path[:-1]))

def read_entry(member):
    index, record, inclusion = member["index"], read(member["record"], "Record"), [*map(bytes.fromhex, member["inclusion"])]
    salt, previous_root, signature = (bytes.fromhex(member[name]) for name in ("salt", "previous_root", "signature"))
    leaf = sha256(b"\0", hashed := sha256(salt, member["record"].encode()))
    signed = signature, b"countersign ledger entry v1\0" + index.to_bytes(8) + previous_root + leaf
    return types.SimpleNamespace(index=index, record=record, at=nanoseconds(record["at"]), hash=hashed, leaf=leaf, inclusion=inclusion, signed=signed)
