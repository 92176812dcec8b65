"""Registrations and assertions, strictly (WebAuthn Level 3, sections 7.1 and 7.2), and the CBOR in them."""

from .documents import from_base64url, has_form, read_json, require, sha256, to_base64url
from .signatures import KINDS, public_key, verifies

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED, EXTENDED, RESERVED = 1, 4, 8, 16, 64, 128, 2 | 32
HEADER_BYTES, LONGEST_CLIENT_DATA, LONGEST_CREDENTIAL_ID, DEEPEST_CBOR = 37, 4096, 1023, 8
SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}
ALGORITHMS = {-7: "ES256", -35: "ES384", -8: "EdDSA", -257: "RS256"}
# The y of the points of Ed25519 whose order divides 8: for such keys a signature is no proof.
FIELD, EIGHTH = 2**255 - 19, 0x5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826
SMALL_ORDER = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}

def take(data, at, length):
    require(at + length <= len(data), "bytes end too early")
    return data[at:at + length], at + length

def read_cbor(data, at, depth=0):
    """One value in the canonical form of CTAP2, and where the next begins. Floats and tags are refused."""
    first, at = take(data, at, 1)
    major, argument = divmod(first[0], 32)
    if first[0] in SIMPLE:
        return SIMPLE[first[0]], at
    if argument >= 24:
        width = 1 << (argument - 24)
        number, at = take(data, at, width)
        argument = int.from_bytes(number)
        is_shortest = argument >= (24 if width == 1 else 1 << (4 * width))
        require(width <= 8 and is_shortest, "a length in CBOR is indefinite, or a number not the shortest")
    if major < 2:
        return (~argument if major else argument), at
    if major < 4:
        content, at = take(data, at, argument)
        return (content if major == 2 else content.decode()), at
    require(major < 6 and depth < DEEPEST_CBOR, "CBOR has a tag or a float, or is nested too deeply")
    items, places = [], []
    for _ in range(argument * (major - 3)):
        begin = at
        item, at = read_cbor(data, at, depth + 1)
        items.append(item)
        places.append((data[begin] >> 5, at - begin, data[begin:at]))
    if major == 4:
        return items, at
    is_sorted = places[::2] == sorted({*places[::2]}) and {place[0] for place in places[::2]} <= {0, 1, 3}
    require(is_sorted, "the keys of a CBOR map are not in order, or neither numbers nor texts")
    return dict(zip(items[::2], items[1::2])), at

def read_cose_key(data):
    """Algorithm and material of a COSE key that has exactly the members of its kind."""
    key, end = read_cbor(data, 0)
    is_map = isinstance(key, dict) and {*map(type, [*key, *key.values()])} == {int, bytes}
    require(is_map and end == len(data), "the COSE key is no map of numbers and bytes")
    written = {int: "int:{}".format, bytes: to_base64url}
    texts = {str(name): written[type(value)](value) for name, value in key.items()}
    require(has_form(texts, "Cose"), "the COSE key is of no accepted kind, or has other members")
    algorithm = ALGORITHMS[key[3]]
    material = KINDS[algorithm], *(key[name] for name in (-1, -2, -3) if type(key.get(name)) is bytes)
    public_key(*material)
    y = int.from_bytes(key[-2], "little") % 2**255 % FIELD
    require(algorithm != "EdDSA" or y not in SMALL_ORDER, "the key is a point of small order")
    return algorithm, material

def check_client_data(data, kind, origin, challenge=None):
    is_sound = has_form(said := read_json(data), "ClientData") and len(data) <= LONGEST_CLIENT_DATA
    found = is_sound and (said["type"], said["origin"], challenge and said["challenge"])
    require(found == (kind, origin, challenge), "the client data is malformed, framed, or of another type, origin or challenge")

def check_flags(data, rp_id):
    require(len(data) >= HEADER_BYTES and data[:32] == sha256(rp_id.encode()), "it is for another RP id")
    flags = data[32]
    is_sound = not flags & RESERVED and (flags & ELIGIBLE or not flags & BACKED_UP)
    require(flags & PRESENT and flags & VERIFIED and is_sound, "nobody was verified, or unsound flags")
    return flags

def read_registration(text, origin, rp_id):
    answer = read_json(text)
    require(has_form(answer, "Registration"), "this is no browser's answer to a registration")
    check_client_data(from_base64url(answer["response"]["clientDataJSON"]), "webauthn.create", origin)
    encoded = from_base64url(answer["response"]["attestationObject"])
    attestation, end = read_cbor(encoded, 0)
    require(has_form(attestation, "Attestation") and end == len(encoded), "the attestation is malformed")
    # No attestation roots are pinned, and whose key it is says the directory: a statement is not judged.
    require(attestation["fmt"] != "none" or not attestation["attStmt"], "an attestation of no format")
    data, flags = attestation["authData"], check_flags(attestation["authData"], rp_id)
    header, at = take(data, HEADER_BYTES, 18)
    credential_id, at = take(data, at, int.from_bytes(header[16:]))
    is_named = flags & ATTESTED and answer["id"] == answer["rawId"] == to_base64url(credential_id)
    require(is_named and 1 <= len(credential_id) <= LONGEST_CREDENTIAL_ID, "it names another credential")
    end = read_cbor(data, at)[1]
    cose_key, is_eligible = data[at:end], bool(flags & ELIGIBLE)
    extensions, end = read_cbor(data, end) if flags & EXTENDED else ({}, end)
    require(isinstance(extensions, dict) and end == len(data), "bytes are left over")
    said = {"credential": answer["id"], "aaguid": header[:16].hex(), "backup_eligible": is_eligible}
    return (*read_cose_key(cose_key), is_eligible), said | {"public_key": to_base64url(cose_key)}

def check_assertion(key, data, client_data, signature, challenge, origin, rp_id):
    check_client_data(client_data, "webauthn.get", origin, to_base64url(challenge))
    flags, (algorithm, material, is_eligible) = check_flags(data, rp_id), key
    is_plain = len(data) == HEADER_BYTES and not flags & (ATTESTED | EXTENDED)
    require(is_plain and bool(flags & ELIGIBLE) == is_eligible, "more data, or another backup eligibility")
    require(verifies(material, algorithm, signature, data + sha256(client_data)), "the key did not sign it")
