"""An independent verifier of evidence files, written from tests/data/evidence/README.md; `evidence` makes the checks."""
