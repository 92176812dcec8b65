"""The log: C2SP verifier keys and checkpoints, entries, and inclusion proofs (RFC 6962)."""

import functools
import re

from .encodings import from_base64, from_hex, require, sha256
from .signatures import verifies

@functools.lru_cache(maxsize=64)
def read_verifier_key(text):
    """Name, key id and material of `name+hash+base64` (C2SP signed-note, algorithm 1)."""
    parts = re.fullmatch(r"([^\s+]+)\+([^+]*)\+(.*)", text, re.DOTALL)
    require(parts, "the log's verifier key is not name+hash+base64")
    key = from_base64(parts[3], 33)
    key_id = sha256(parts[1].encode(), b"\n", key)[:4]
    require(key[0] == 1 and from_hex(parts[2], 4) == key_id, "the log's verifier key does not hold together")
    return parts[1], key_id, ("Ed25519", key[1:])

def read_checkpoint(text, verifier_key):
    """Size and root of a signed tree head that has one signature line, by this key."""
    name, key_id, material = read_verifier_key(verifier_key)
    form = rf"({re.escape(name)}\n(0|[1-9][0-9]{{0,19}})\n(.*)\n)\n\u2014 {re.escape(name)} (.*)\n"
    parts = re.fullmatch(form, text)
    require(parts and int(parts[2]) < 2**64, "the checkpoint is not three lines and one signature line of this log")
    root, signature = from_base64(parts[3], 32), from_base64(parts[4], 68)
    is_signed = signature[:4] == key_id and verifies(material, "EdDSA", signature[4:], parts[1].encode())
    require(is_signed, "the log key did not sign the checkpoint")
    return int(parts[2]), root

def root_of_path(leaf, index, size, path):
    """The root that an inclusion proof leads to; it must be exactly as long as the leaf's place asks."""
    require(index < size, "an entry's index is not below the checkpoint's size")
    node, last = leaf, size - 1
    for sibling in path:
        require(last > 0, "an inclusion proof is too long")
        while index == last and not index & 1:  # A node without a sibling moves up as it is.
            index, last = index >> 1, last >> 1
        node = sha256(b"\x01", sibling, node) if index & 1 else sha256(b"\x01", node, sibling)
        index, last = index >> 1, last >> 1
    require(last == 0, "an inclusion proof is too short")
    return node

class Entry:
    """One entry of the file, decoded."""
    def __init__(self, member, record):
        self.index, self.record = member["index"], record
        self.previous_root, self.signature = bytes.fromhex(member["previous_root"]), bytes.fromhex(member["signature"])
        self.inclusion = [bytes.fromhex(node) for node in member["inclusion"]]
        self.hash = sha256(bytes.fromhex(member["salt"]), member["record"].encode())
        self.leaf = sha256(b"\0", self.hash)

    def is_signed_by(self, verifier_key):
        message = b"countersign ledger entry v1\0" + self.index.to_bytes(8) + self.previous_root + self.leaf
        return verifies(read_verifier_key(verifier_key)[2], "EdDSA", self.signature, message)
