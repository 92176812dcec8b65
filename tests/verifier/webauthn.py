"""Registrations and assertions, strictly (WebAuthn Level 3, sections 7.1 and 7.2), and the CBOR in them."""

import functools
from collections import namedtuple

from .encodings import from_base64url, read_json, require, sha256, to_base64url
from .signatures import public_key, verifies

PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED, EXTENDED, RESERVED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80, 0x22
HEADER_BYTES, LONGEST_CLIENT_DATA, LONGEST_CREDENTIAL_ID, DEEPEST_CBOR = 37, 4096, 1023, 8
# By the COSE values of kty, alg and, where there is one, crv: the algorithm, the kind of key and its numbers.
COSE_KEYS = {(2, -7, 1): ("ES256", "P-256", (-2, -3)), (2, -35, 2): ("ES384", "P-384", (-2, -3))}
COSE_KEYS |= {(1, -8, 6): ("EdDSA", "Ed25519", (-2,)), (3, -257): ("RS256", "RSA", (-1, -2))}
Registered = namedtuple("Registered", "credential_id cose_key aaguid backup_eligible")

def take(data, at, length):
    require(at + length <= len(data), "the bytes end too early")
    return data[at:at + length], at + length

def read_cbor(data, at, depth=0):
    """One value in the canonical form of CTAP2, and where the next begins. Floats and tags are refused."""
    first, at = take(data, at, 1)
    major, argument = first[0] >> 5, first[0] & 0x1F
    require(depth <= DEEPEST_CBOR and argument < (24 if major == 7 else 28), "the CBOR is too deep or not canonical")
    if argument >= 24:
        width = 1 << (argument - 24)
        number, at = take(data, at, width)
        argument = int.from_bytes(number)
        require(argument >= (24 if width == 1 else 1 << (4 * width)), "a number in the CBOR is not the shortest")
    if major in (2, 3):
        content, at = take(data, at, argument)
        return (content if major == 2 else content.decode(errors="surrogateescape")), at
    if major in (4, 5):
        items, members, before = [], {}, (0, 0)
        for _ in range(argument):
            begin = at
            item, at = read_cbor(data, at, depth + 1)
            items.append(item)
            if major == 5:
                place = (data[begin] >> 5, at - begin, data[begin:at])
                require(type(item) in (int, str) and before < place, "the keys of a CBOR map are not in order")
                before = place
                members[item], at = read_cbor(data, at, depth + 1)
        return (members if major == 5 else items), at
    simple = {20: False, 21: True, 22: None}
    require(major < 2 or major == 7 and argument in simple, "the CBOR has a tag or an unknown simple value")
    return (simple[argument] if major == 7 else -1 - argument if major else argument), at

@functools.lru_cache(maxsize=1024)
def read_cose_key(data):
    """Algorithm and material of a COSE key that has exactly the members of its kind."""
    key, end = read_cbor(data, 0)
    require(isinstance(key, dict) and end == len(data), "the COSE key is no map")
    head = tuple(key.get(name) for name in ((1, 3) if key.get(1) == 3 else (1, 3, -1)))
    require(all(type(value) is int for value in head) and head in COSE_KEYS, "the COSE key is of no accepted kind")
    algorithm, kind, numbers = COSE_KEYS[head]
    is_plain = len(key) == len(head) + len(numbers) and all(type(key.get(name)) is bytes for name in numbers)
    material = (kind, *(key[name] for name in numbers)) if is_plain else None
    require(is_plain and public_key(material), "the COSE key has other members than its kind has, or is no key")
    return algorithm, material

def check_client_data(data, kind, origin, challenge=None):
    require(len(data) <= LONGEST_CLIENT_DATA, "the client data is longer than 4 KiB")
    said = read_json(data)
    require(isinstance(said, dict) and said.get("type") == kind, f"the client data is not of type {kind}")
    from_base64url(said.get("challenge"))
    require(challenge in (None, said["challenge"]), "the key signed another challenge than this statement's")
    require(said.get("origin") == origin, "the key was used for another origin")
    require(said.get("crossOrigin", False) is False and "topOrigin" not in said, "the key was used inside a frame")

def check_flags(data, rp_id):
    """The flags of authenticator data for this RP id, with a person who was present and verified."""
    is_ours = data[:32] == sha256(rp_id.encode()) and len(data) >= HEADER_BYTES
    require(is_ours, "the authenticator data is for another RP id")
    flags = data[32]
    require(flags & PRESENT and flags & VERIFIED, "the person was not both present and verified")
    is_sound = not flags & RESERVED and (flags & BACKUP_ELIGIBLE or not flags & BACKED_UP)
    require(is_sound, "reserved bits are set, or the credential is backed up without being eligible")
    return flags

@functools.lru_cache(maxsize=1024)
def read_registration(text, origin, rp_id):
    """What a browser's answer at registration says, if it holds together."""
    answer = read_json(text)
    response = answer.get("response") if isinstance(answer, dict) and answer.get("type") == "public-key" else None
    require(isinstance(response, dict), "this is no browser's answer to a registration")
    check_client_data(from_base64url(response.get("clientDataJSON")), "webauthn.create", origin)
    encoded = from_base64url(response.get("attestationObject"))
    attestation, end = read_cbor(encoded, 0)
    is_map = isinstance(attestation, dict) and list(attestation) == ["fmt", "attStmt", "authData"]
    require(is_map and end == len(encoded), "the attestation object is not the map that it must be")
    # No attestation roots are pinned, and whose key it is says the directory: the statement is not judged.
    form, statement, data = attestation.values()
    is_typed = isinstance(form, str) and isinstance(statement, dict) and isinstance(data, bytes)
    is_sound = is_typed and (form != "none" or not statement)
    require(is_sound, "the attestation object's members are not what they must be")
    flags = check_flags(data, rp_id)
    require(flags & ATTESTED, "the authenticator data holds no credential")
    aaguid, at = take(data, HEADER_BYTES, 16)
    length, at = take(data, at, 2)
    credential_id, at = take(data, at, int.from_bytes(length))
    is_named = answer.get("id") == answer.get("rawId") == to_base64url(credential_id)
    require(is_named and 1 <= len(credential_id) <= LONGEST_CREDENTIAL_ID, "the answer names another credential")
    end = read_cbor(data, at)[1]
    cose_key = data[at:end]
    read_cose_key(cose_key)
    extensions, end = read_cbor(data, end) if flags & EXTENDED else ({}, end)
    require(isinstance(extensions, dict) and end == len(data), "bytes are left over after the authenticator data")
    return Registered(credential_id, cose_key, aaguid, bool(flags & BACKUP_ELIGIBLE))

def check_assertion(registered, data, client_data, signature, challenge, origin, rp_id):
    check_client_data(client_data, "webauthn.get", origin, to_base64url(challenge))
    flags = check_flags(data, rp_id)
    is_plain = len(data) == HEADER_BYTES and not flags & (ATTESTED | EXTENDED)
    require(is_plain, "the authenticator data has more in it than an assertion's")
    is_same = bool(flags & BACKUP_ELIGIBLE) == registered.backup_eligible
    require(is_same, "backup eligibility is not as it was registered")
    algorithm, material = read_cose_key(registered.cose_key)
    require(verifies(material, algorithm, signature, data + sha256(client_data)), "the key did not make this signature")
