"""Registrations and assertions, strictly (WebAuthn Level 3, sections 7.1 and 7.2), and the CBOR in them."""

import io, struct, uuid
from .documents import from_base64url, has_form, read_json, require, sha256, to_base64url
from .signatures import ALGORITHMS, public_key, require_signature

HEADER_BYTES, LONGEST_CLIENT_DATA, LONGEST_CREDENTIAL_ID, DEEPEST_CBOR = 37, 4096, 1023, 8
# Somebody was present and verified; then whether the key may be backed up; the last one is. Nothing else may be set but these.
IS_ELIGIBLE, ATTESTED, EXTENDED = {0b00101: False, 0b01101: True, 0b11101: True}, 0b01000000, 0b10000000
SIMPLE, COSE_ALGORITHMS = {0xF4: False, 0xF5: True, 0xF6: None}, {-7: "ES256", -35: "ES384", -8: "EdDSA", -257: "RS256"}
is_client_data = lambda data, form, facts: len(data) <= LONGEST_CLIENT_DATA and has_form(read_json(data.decode()), form, facts)

def take(stream, length):
    require(len(data := stream.read(min(length, len(stream.getbuffer())))) == length, "bytes end too early")
    return data

def read_cbor(stream, depth=0):
    """The next value, in the canonical form of CTAP2. Floats and tags are refused."""
    first = take(stream, 1)[0]
    major, argument = divmod(first, 32)
    if first in SIMPLE:
        return SIMPLE[first]
    if argument >= 24:
        width = 1 << (argument - 24)
        argument = int.from_bytes(take(stream, width))
        require(width <= 8 and argument >= max(24, 1 << 4 * width), "a length in CBOR is indefinite, or a number not the shortest")
    if major < 2:
        return ~argument if major else argument
    if major < 4:
        content = take(stream, argument)
        return content if major == 2 else content.decode()
    require(major < 6 and depth < DEEPEST_CBOR, "CBOR has a tag or a float, or is nested too deeply")
    items = [read_cbor(stream, depth + 1) for _ in range(argument * (major - 3))]
    names = items[::2]
    # Numbers, negative numbers, texts; in each the shorter first, then by their bytes.
    place = lambda name: (2, len(name.encode()), name) if isinstance(name, str) else (name < 0, abs(name))
    require(major == 4 or {*map(type, names)} <= {int, str} and names == sorted({*names}, key=place), "the keys of a CBOR map are not in order")
    return items if major == 4 else dict(zip(names, items[1::2]))

def read_whole_cbor(data):
    value = read_cbor(stream := io.BytesIO(data))
    require(not stream.read(), "bytes are left over")
    return value

def read_cose_key(data):
    """Algorithm and material of a COSE key that has exactly the members of its kind."""
    key = read_whole_cbor(data)
    shown = lambda value: to_base64url(value) if type(value) is bytes else f"{type(value).__name__}:{value}"
    require(isinstance(key, dict) and has_form({repr(name): shown(key[name]) for name in key}, "Cose"), "the COSE key is of no accepted kind")
    algorithm = COSE_ALGORITHMS[key[3]]
    material = ALGORITHMS[algorithm][0], *(key[name] for name in (-1, -2, -3) if type(key.get(name)) is bytes)
    public_key(*material)
    return algorithm, material

def read_registration(text, origin, rp_id):
    """The key of a browser's answer, and what the log records of it."""
    require(has_form(answer := read_json(text), "Registration"), "this is no browser's answer to a registration")
    client_data, encoded = (from_base64url(answer["response"][name]) for name in ("clientDataJSON", "attestationObject"))
    is_ours = is_client_data(client_data, "CreateData", {"origin": origin})
    # Whose key it is says the directory. Who vouches for its authenticator, attestation.py says where a policy asks for it.
    require(is_ours and has_form(attestation := read_whole_cbor(encoded), "Attestation"), "its client data are another's, or its attestation is malformed")
    rp_id_hash, flags, _, aaguid, length = struct.unpack(">32sBI16sH", take(stream := io.BytesIO(attestation["authData"]), 55))
    is_eligible = IS_ELIGIBLE.get(flags & ~EXTENDED ^ ATTESTED)
    require(rp_id_hash == sha256(rp_id.encode()) and is_eligible is not None, "it is for another RP id, nobody was verified, or unsound flags")
    credential_id, begin = take(stream, length), stream.tell()
    require(answer["id"] == answer["rawId"] == to_base64url(credential_id) and 1 <= length <= LONGEST_CREDENTIAL_ID, "it names another credential")
    read_cbor(stream)
    cose_key = stream.getvalue()[begin:stream.tell()]
    require((not flags & EXTENDED or isinstance(read_cbor(stream), dict)) and not stream.read(), "bytes are left over")
    said = {"credential": answer["id"], "aaguid": aaguid.hex(), "backup_eligible": is_eligible, "public_key": to_base64url(cose_key)}
    return (*read_cose_key(cose_key), is_eligible), said | {"model": str(uuid.UUID(bytes=aaguid)), "kind": ("device_bound", "synced")[is_eligible]}

def check_assertion(key, data, client_data, signature, challenge, origin, rp_id):
    algorithm, material, is_eligible = key
    is_ours = is_client_data(client_data, "GetData", {"origin": origin, "challenge": to_base64url(challenge)})
    is_plain = len(data) == HEADER_BYTES and data[:32] == sha256(rp_id.encode()) and IS_ELIGIBLE.get(data[32]) == is_eligible
    require(is_ours and is_plain, "its client data are another's, or it is of another RP id, or has other flags or more data")
    require_signature(material, algorithm, signature, data + sha256(client_data))
