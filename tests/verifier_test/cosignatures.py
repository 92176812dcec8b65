"""Files in which the cosignatures of witnesses do not hold."""

from . import maker
from .maker import OTHER_LOG_KEY

BAD = {
    "cosignature_invalid": [
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, key=OTHER_LOG_KEY) | {"witness": ours[0]["witness"]}]},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign("other\n1\nAA==\n\n")]},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, seconds=10**11)]},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, name="a b")]},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, name="a\x1cb")]},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, name="")]},
        {"cosignatures": lambda ours, checkpoint: ours * 2},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, "x", OTHER_LOG_KEY), *ours]},
        {"cosignatures": lambda ours, checkpoint: [one | {"cosignature": one["cosignature"][:-4] + "===="} for one in ours]},
        {"cosignatures": lambda ours, checkpoint: [one | {"cosignature": one["cosignature"] + "\n"} for one in ours]},
        {"cosignatures": lambda ours, checkpoint: [one | {"cosignature": ""} for one in ours]},
        {"cosignatures": lambda ours, checkpoint: [one | {"witness": maker.verifier_key("w", OTHER_LOG_KEY)} for one in ours]},
    ],
    "not_witnessed": [
        {"cosignatures": lambda ours, checkpoint: []},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, "x", OTHER_LOG_KEY)]},
        {"cosignatures": lambda ours, checkpoint: [maker.cosign(checkpoint, "other.example")]},
    ],
}
