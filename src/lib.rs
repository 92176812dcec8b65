//! Countersign: a human-approval gate for CI/CD. This page is the architecture document.
//!
//! A pipeline step **asks**; a person who is allowed to **signs** exactly what was asked, with a
//! security key or passkey; the gate **acts**, once, and can **prove** it to somebody who trusts
//! neither the gate nor its database. One crate, one binary.
//!
//! # The map
//!
//! | folder | what it is | what it may know |
//! | --- | --- | --- |
//! | [`domain`] | the rules, pure: subjects (deployments, executions and updates of jobs, actions, runs of GitHub Actions, changes of the rules), policies, statements, the state machine, the ledger's tree | nothing else of the crate |
//! | [`proof`] | bytes in, verdict out: the strict WebAuthn verifier, registrations, tokens, checkpoints, the evidence of an approval, the export of an audit | `domain` |
//! | [`storage`] | the only SQL, one text for SQLite and PostgreSQL | `domain`, randomness |
//! | [`integrations`] | one file per outside party, the only one that imports that party's crate | `domain`, `proof`, time, randomness |
//! | [`gate`] | the use cases: one function, one transaction; no network | `domain`, `proof`, `storage`, time, randomness, verified types |
//! | [`worker`] | acts on what was committed: rollouts, expiry, notices, what witnesses are offered, what GitHub is shown and answered | the above |
//! | [`api`], [`mcp`], [`web`] | JSON for machines, tools for agents, pages for people | the above |
//! | [`client`] | the public API as a pipeline's job uses it: tokens, patience, long polls, grants | names and texts of `domain`, randomness |
//! | [`config`] | one checked configuration; the only reader of files and environment | |
//! | [`app`], [`server`], [`cli`] | the long-lived parts, every route on one screen, one file per command | all |
//! | [`clock`], [`randomness`] | the only sources of time and of unpredictable bytes | nothing |
//! | [`sandbox`] | Cloud Run, GitHub, token issuers, a directory, witnesses, receivers and servers of metrics as real HTTP servers, for demo and tests | nothing of the service |
//!
//! `tests/gate/tidy.rs` enforces this table.
//!
//! # What always holds
//!
//! 1. **No state change without its ledger entry.** The only way to write an approval is
//!    [`storage::Writer::apply`], which takes a [`domain::approval::Transition`] and writes row,
//!    entry and job in one transaction. Writers take the ledger's head first, so they are serial on
//!    both databases and what they read is current.
//! 2. **No network inside a transaction, no transaction around a network call.** What a use case must
//!    know of the outside is read before and handed in; what it causes outside is a job.
//! 3. **Trust is a type.** [`integrations::workload_oidc::VerifiedRequester`],
//!    [`integrations::github::delivery::VerifiedDelivery`],
//!    [`integrations::login_oidc::VerifiedSignIn`], [`integrations::login_oidc::DirectoryOutage`],
//!    [`proof::verify::LastSignIn`], [`proof::assertion::VerifiedAssertion`],
//!    [`proof::verify::Verified`] and [`gate::authorise::Authorised`] have private fields and one constructor each: the function that
//!    verifies. No service changes without an `Authorised`, and only a deployment becomes one, whatever else
//!    people approve ([`domain::subject`]); no job is changed or runs without a [`gate::authorise::AuthorisedJob`].
//! 4. **The database is not believed.** Before each call that changes the world the worker gathers the
//!    evidence that anybody can download and runs [`proof::verify`] over it, against anchors from the
//!    configuration alone; then it reads the log on to its head, since evidence cannot show that there is
//!    no later entry.
//! 5. **The log only grows, whatever the database says.** [`worker::log`] verifies each entry once, from the
//!    head that is kept outside the database on, and keeps the newest head there before each call.
//!    [`storage::Storage::begin`] writes nothing on top of a log that is shorter or another one, until people
//!    with pinned keys signed for going on ([`gate::recover`]). [`worker::witness`] has strangers sign each
//!    head that was verified, and [`gate::witnessed`] believes of what is kept of that only what verifies.
//! 6. **Everything that can go wrong refuses.** There is no allow by default and no bypass. A database that
//!    cannot be written stops the gate ([`domain::log_fault`]) until [`worker::log`] has written to it again.
//! 7. **Time is an argument, randomness has one source.** [`clock`] and [`randomness`]; lints forbid the rest.
//! 8. **Two versions share a database.** Migrations only add (`tests/gate/tidy/migrations.rs`), and what a version cannot
//!    read it leaves to the next one ([`storage::StorageError::Newer`]); texts are read whole or not at all.
//! 9. **A crash leads back to "observe".** Recovery is the normal path: [`domain::rollout::next_action`] is
//!    asked what to do next from what is recorded and what Cloud Run shows.
//!
//! # One approval, from request to proof
//!
//! 1. `POST /v1/approvals` ([`api::create`]): the token is verified, the running service read from Cloud
//!    Run, and everything frozen into the canonical deployment ([`domain::request`]): the complete
//!    revision template, the exact shares of every step, the way back, what must still hold, who asks,
//!    the policy's digest; where nobody signs for their own commits, also whose they are, by GitHub's API
//!    ([`domain::separation`]). Row, spent token, policy and ledger entry commit together ([`gate::request`]), and with
//!    them the end of an older request for the same service, where the rules say so.
//!    An agent asks by a tool ([`mcp`]) that leads to the same functions ([`api::ask`]).
//! 2. The pipeline waits ([`gate::watch`]): a subscription and nothing else. One task per process follows
//!    the ledger and hands each change to all who wait for it.
//! 3. A person signs in ([`web::sign_in`]), opens the page ([`web::views`]), drawn from the canonical bytes,
//!    and asks for a statement ([`gate::decide::prepare`]): an in-toto statement with the whole deployment, a
//!    nonce and five minutes. Its pre-authentication encoding, hashed, is the WebAuthn challenge
//!    ([`domain::statement`]). The page's script recomputes it before it calls the key.
//! 4. The signature comes back ([`gate::decide::decide`]): verified by [`proof::assertion`], then decision,
//!    nonce, signature counter, ledger entry and rollout job commit together. Until the rollout begins, whoever
//!    signed a yes can take it back by the same way ([`domain::decision::standing`] says what counts then).
//!    What one run asks for as a batch ([`domain::batch`]) can be signed at once ([`gate::batch`]): one statement
//!    lists every deployment in full, and its decisions commit together, one for each approval. Each is proven
//!    without the others.
//! 5. The worker ([`worker`]) takes the job under a lease, verifies log and evidence ([`gate::authorise`]),
//!    observes, asks [`domain::rollout::next_action`], announces the call in the ledger, has the head that
//!    covers it kept outside ([`worker::log`]), makes it, writes down what came back, and observes again,
//!    until the service serves what was signed or a person has to look. A step may be watched for a signed
//!    time ([`domain::plan`]), which counts from its recorded observation, be checked at its end
//!    ([`domain::check`] judges what [`integrations::probe`] and [`integrations::metrics`] read), and pause until
//!    a person signs.
//!    An approver intervenes by an entry that holds the signature ([`gate::intervene`]): to stop and restore,
//!    to go on, to look again, to leave it as it is. The worker follows none that it has not verified.
//! 6. `GET /v1/approvals/{id}/evidence` ([`api::evidence`]) gives the bytes, `countersign verify` checks them
//!    offline ([`cli::verify`], `tests/data/evidence/README.md`), and `countersign audit verify`
//!    recomputes the ledger's tree and the state of every approval from its entries.
//! 7. `countersign audit export` ([`cli::audit`]) writes a period into a folder: entries, tables and evidence.
//!    [`proof::export`] recomputes all of it offline, from the entries up to the signed tree head.
//!
//! Each entry that [`domain::notice`] has a name for also writes what receivers are to be told of it, in the same
//! transaction; [`worker::notices`] sends that, read anew from the signed entry ([`gate::notices`]).
//!
//! A worker pool of Cloud Run goes the same way as a service, under the same names: [`domain::service`] says which of the two
//! a name is, and [`integrations::cloud_run`] alone makes other calls for it. Its revisions share the instances, and it has
//! no address.
//!
//! The execution of a job ([`domain::job`]) goes the same way by one call, a PATCH that updates the job and starts the
//! execution under a name that follows from the approval; [`domain::job::next_job_action`] is asked in the place of
//! [`domain::rollout::next_action`], until the execution has ended. Where what was signed names no execution the
//! PATCH starts none, and the job itself, with the approval's mark and the whole signed template, shows that it took effect.
//!
//! An action ([`domain::action`]) is asked for and signed in the same way, and the gate does nothing itself: its
//! requester gets a grant ([`gate::grants`]) after the evidence was verified as before a call to Cloud Run, and
//! `POST /v1/grants/consume` ([`api::grants`]) ends the approval, once. The tools, the schemas of their arguments
//! and what the page shows of them are part of the policy, and so of what people sign. A command is such an action
//! ([`domain::command`]), and [`cli::exec`] is who takes its grant: it verifies the evidence offline, uses the
//! approval up and becomes the command.
//!
//! A run of GitHub Actions ([`domain::workflow_run`]) that waits at an environment and posted no deployment is asked
//! about by the gate itself ([`worker::github`]), where the policy lists such runs. No token asks: the webhook that was
//! verified is an entry, the run is read again at GitHub, and evidence calls both the gate's own statement. The answer
//! uses the approval up in the entry that announces it ([`gate::rule`]). Which approvals a run posted is read from
//! verified entries ([`gate::runs_asked`]), so that no deleted row hides a refusal.
//!
//! What was refused changes nothing and stands in the ledger all the same ([`gate::refusals`]).
//!
//! # A key, from browser to directory
//!
//! [`gate::enrol`]: webauthn-rs checks the registration; then the person signs in once more with the OpenID
//! nonce set to the digest of the browser's answer, so that the directory's own signature says whose key it is.
//! The digest waits in a cookie of the browser that made the key: rows alone make no directory sign.
//! Where an environment asks whose authenticator it is, [`proof::attestation`] says it from the browser's answer.
//! [`proof::metadata`] is what FIDO says against models of them: frozen into each policy, and no rule.
//! [`gate::own_key`]: whoever has keys signs with one of them for the new one in between.
//! [`gate::endorse`]: where `[enrolment]` asks for it, other approvers sign the record of the enrolment, in chains
//! that end at the keys of `[trust]`; [`gate::first_key`] and [`cli::keys`] lead to the first of these.
//! [`gate::agent_credentials`]: an approver's key signs that an agent may ask. The credential is the entry that
//! says so and no row; [`api::bearer`] makes it a token for one request.
//! [`gate::revoke`]: the owner or any approver ends it, by an entry that [`gate::authorise`] looks for before
//! a rollout begins. [`gate::loss`]: or its owner reports it as lost since a time, and the directory vouches for
//! the report as for a key, or another key of theirs signs it; then what it signed before goes on counting.
//!
//! # A change of the rules
//!
//! [`domain::rulebook`] is everything that decides rights, as one value. Where trust is pinned the first start binds
//! it by an entry ([`gate::start`]). [`cli::serve`] puts the configuration under the rules in force, and has people
//! asked about its own ([`gate::rule_changes`], [`domain::rule_change`]) by the rules of every environment that the
//! change touches. [`gate::rules_in_force`] judges each entry that says it puts rules into force, from bytes, under the rules
//! before it; [`worker::log`] keeps what holds outside the database, and [`storage::Storage`] lets nothing be written
//! by a process that runs with others: it begins again with those, behind a socket that stays open ([`server::Front`]).
//! [`gate::authorise`] acts on nothing that was asked for under rules that were not in force then.
//!
//! # A freeze, and its end
//!
//! [`web::environments`] shows what is frozen and gives out the statement ([`domain::freeze`]); [`gate::freezes`]
//! writes the signature as an entry. [`worker::log`] reads freezes from entries that it verified, keeps them in
//! the head outside the database, and lets an entry lift one only after [`proof::verify::verify_act`] found who
//! signed it and [`domain::role`] that they may. [`domain::hold`] answers whether something may begin now;
//! [`gate::rollout`] asks it in the change that begins a rollout and in each that announces a step of one, and
//! never about the way back.
//!
//! # When it is open, and the glass
//!
//! [`domain::window`] decides from the frozen rules and a time alone whether an environment is open, by the time zones that
//! are built in; [`domain::hold`] asks it where it asks for freezes, and [`proof::verify`] recomputes it for each entry
//! with which something began or went forward. A decision can break the glass ([`domain::policy::BreakGlass`]): a verdict
//! of its own, in a statement of its own form, which counts for rules of its own and is held by nothing. With the change
//! that makes them met [`gate::decide`] writes an exception ([`domain::exception`]), which is red on every page
//! until a second person has signed for it ([`gate::exceptions`]).
//!
//! While the directory cannot be reached, which [`integrations::login_oidc::DirectoryOutage`] says, a key alone signs its
//! owner in where the rules let a last sign-in count for so long ([`gate::key_alone`]): to read, and to break the glass by
//! a statement that says so. The sign-in is the evidence's as always; [`proof::verify`] takes its age from it.
//!
//! # What is changed beside the gate
//!
//! [`worker::drift`] looks at the services that environments cover, and [`domain::drift`] compares each with what
//! the ledger explains: its newest sighting and the rollouts since. What nothing explains is an entry, a notice
//! and open on a page until two people sign the same explanation ([`gate::drift`]). Nothing is changed back.
//!
//! # A log that lost entries
//!
//! [`cli::recover`] says what is gone and gives links; [`web::recovery`] shows the statement ([`domain::recovery`])
//! to people with pinned keys; [`gate::recover`] writes their signatures as an entry in one transaction, and
//! [`worker::log`] verifies that entry ([`proof::recovery`]) before it replaces the head outside. The log goes
//! on under its next name, which follows from verified entries and the head outside, and from no other row.

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod domain;
pub mod gate;
pub mod integrations;
pub mod mcp;
pub mod proof;
pub mod randomness;
pub mod sandbox;
pub mod server;
pub mod storage;
pub mod web;
pub mod worker;
