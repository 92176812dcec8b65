"""An independent verifier of evidence files, written from tests/data/evidence/README.md alone."""
