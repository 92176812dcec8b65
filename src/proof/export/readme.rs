//! What the folder is, in its own words.

use crate::proof::export::Range;

/// The text of README.txt, which follows from the range alone.
pub fn readme(origin: &str, range: &Range) -> String {
    let Range { from, until, first, end, .. } = range;
    format!(
        "Audit export of the approval gate {origin}

Period: from {from} to before {until}. All times are in UTC.
It holds the entries {first} to before {end} of the gate's ledger, and nothing of the period is left out.

What is in this folder
  entries.jsonl     every entry of the ledger in the period: its record, salt, leaf hash, the root of the tree
                    before it and the log key's signature
  events.*          the same entries in plain words: what, who, when
  approvals.*       every approval that changed in the period: who asked for what, the exact changes, its end
  decisions.*       who signed what, when, with which key, beside the id of whoever started the request
  rollouts.*        every call to Cloud Run that was announced, what was observed, and how it ended
  keys.*            keys that were registered, suspended or revoked in the period
  sign_ins.*        who signed in, with which groups
  policies.*        the rules: every change in the period, and the text that each approval was decided under
  evidence/         one file for each of these approvals, which proves it by itself
  neighbours.jsonl  the entry right before the period and the one right after it: nothing between them is missing
  range.json        where the period is in the log, and the hashes that lead from it to the signed tree head
  checkpoint.txt    the signed tree head (C2SP tlog-checkpoint)
  cosignatures.json  what witnesses signed of it (C2SP tlog-cosignature), by their verifier keys
  trust.json        the trust anchors that the gate used; verify with those that you pinned yourself
  manifest.json     size and SHA-256 of every file, and what was asked of the ledger
  manifest.dsse.json  the manifest in an envelope signed by the gate's log key (DSSE, Ed25519)

Files that end in .jsonl hold one JSON object a line; .csv holds the same rows for a spreadsheet. A cell that
would be a formula begins with an apostrophe.

How to check it, offline
  countersign audit verify FOLDER --trust TRUST.json
recomputes every hash, signature and table in here. It says what does not hold by code, file and line.
What it cannot show: that no entry was added to the log after the tree head in checkpoint.txt. Compare that
head with a newer one from {origin}/log/checkpoint.
"
    )
}
