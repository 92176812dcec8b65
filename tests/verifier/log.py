"""The log: C2SP verifier keys and checkpoints, entries, and inclusion proofs (RFC 6962)."""

import base64
import re

from .encodings import nanoseconds, require, sha256
from .shapes import read
from .signatures import verifies

def from_base64(text, length):
    data = base64.b64decode(text)
    require(len(data) == length and base64.b64encode(data).decode() == text, "base64 is not canonical")
    return data

def read_verifier_key(text):
    """Name, key id and material of `name+hash+base64` (C2SP signed-note, algorithm 1)."""
    name, key_id, encoded = text.split("+", 2)
    key = from_base64(encoded, 33)
    is_plain = name and not re.search(r"\s", name) and key[0] == 1
    require(is_plain and key_id == sha256(name.encode(), b"\n", key)[:4].hex(), "this is no verifier key")
    return name, bytes.fromhex(key_id), ("Ed25519", key[1:])

def read_checkpoint(text, verifier_key):
    """Size and root of a signed tree head that has one signature line, by this key."""
    name, key_id, material = read_verifier_key(verifier_key)
    form = rf"({re.escape(name)}\n(0|[1-9][0-9]{{0,19}})\n(.*)\n)\n\u2014 {re.escape(name)} (.*)\n"
    parts = re.fullmatch(form, text)
    require(parts and int(parts[2]) < 2**64, "its lines are not those of this log")
    root, signature = from_base64(parts[3], 32), from_base64(parts[4], 68)
    require(signature[:4] == key_id and verifies(material, "EdDSA", signature[4:], parts[1].encode()))
    return int(parts[2]), root

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
    """One entry of the file, decoded."""

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
