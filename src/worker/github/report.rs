//! Shows GitHub one approval: what is there already is left as it is, what is not known to be there is looked
//! for before it is made.

use super::{Unsaid, Voice, words};
use crate::domain::approval::Approval;
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::gate::authorise::prove;
use crate::integrations::github::app::{AppError, Shown};
use crate::storage::{Comment, Making, Report, Speaker, StorageError};

/// How many approvals the comment of a pull request tells of.
const MOST_TOLD: u32 = 10;

impl Voice {
    /// Shows the newest version of an approval. Gives the version, and what GitHub refuses for good to show of
    /// it: a permission that the App has not been given stops nothing else.
    pub(super) async fn show(
        &self,
        speaker: &Speaker,
        report: &mut Report,
    ) -> Result<(u64, Option<String>), Unsaid> {
        let approval = self.proved(&report.approval).await?;
        if approval.version < report.wanted {
            let why = format!("its evidence ends with version {}", approval.version);
            return Err(Unsaid::Unproved(why));
        }
        let mut problems = Vec::new();
        for shown in &self.github.shows {
            let outcome = match shown {
                // GitHub made one itself for the environment that a run waits at.
                Shown::Deployment if approval.subject.workflow_run().is_some() => Ok(()),
                Shown::Deployment => self.show_deployment(speaker, report, &approval).await,
                Shown::Check => self.show_check(speaker, report, &approval).await,
                Shown::Comment => self.show_comment(speaker, report, &approval).await,
            };
            match outcome {
                Ok(()) => {}
                Err(Unsaid::GitHub(error @ AppError::Refused { .. })) => {
                    tracing::warn!(approval = %report.approval, %error, "{} cannot be shown at GitHub: see which permissions the App has", shown.in_words());
                    problems.push(format!("{}: {error}", shown.in_words()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((approval.version, (!problems.is_empty()).then(|| problems.join("; "))))
    }

    /// An approval as its evidence proves it, which is all that GitHub is told.
    pub(super) async fn proved(&self, id: &ApprovalId) -> Result<Approval, Unsaid> {
        let stored = match self.storage.approval(id).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Err(Unsaid::Unproved("its row is gone".to_owned())),
            // Such a row stays what it is, and keeps nobody else's from being shown.
            Err(error @ (StorageError::ImpossibleRow { .. } | StorageError::Newer(_))) => {
                return Err(Unsaid::Unproved(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let verified = prove(&self.storage, &self.trust, &stored).await?;
        Ok(Approval {
            subject: verified.subject().clone(),
            policy: verified.policy().clone(),
            version: verified.version(),
            decisions: verified.decisions().to_vec(),
            state: verified.state().clone(),
        })
    }

    /// Notes that what follows makes something that may be there afterwards without our knowing.
    async fn announce(
        &self,
        speaker: &Speaker,
        report: &mut Report,
        making: Making,
    ) -> Result<(), Unsaid> {
        self.keep(speaker).await?;
        if report.made.unsure.insert(making) {
            self.storage.note_made(report).await?;
        }
        Ok(())
    }

    /// Notes that it is there.
    async fn made(&self, report: &mut Report, making: Making) -> Result<(), Unsaid> {
        report.made.unsure.remove(&making);
        Ok(self.storage.note_made(report).await?)
    }

    async fn show_deployment(
        &self,
        speaker: &Speaker,
        report: &mut Report,
        approval: &Approval,
    ) -> Result<(), Unsaid> {
        let status = words::deployment_status(approval, &self.terms.origin);
        let digest = digest_of(&status)?;
        if report.made.status == Some(digest) {
            return Ok(());
        }
        let repository = report.commit.repository;
        let deployment = match report.made.deployment {
            Some(deployment) => deployment,
            None => self.make_deployment(speaker, report, approval).await?,
        };
        // A status is one more each time it is sent: what an unanswered call left there is not repeated.
        let newest = match report.made.unsure.contains(&Making::Status) {
            true => self.github.newest_status(repository, deployment).await?,
            false => None,
        };
        let is_there = newest.is_some_and(|(state, description)| {
            status["state"] == state.as_str() && status["description"] == description.as_str()
        });
        if !is_there {
            self.announce(speaker, report, Making::Status).await?;
            self.github.create_status(repository, deployment, &status).await?;
        }
        report.made.status = Some(digest);
        self.made(report, Making::Status).await
    }

    async fn make_deployment(
        &self,
        speaker: &Speaker,
        report: &mut Report,
        approval: &Approval,
    ) -> Result<u64, Unsaid> {
        let (repository, sha) = (report.commit.repository, report.commit.sha.clone());
        let id = approval.id().as_str();
        let found = match report.made.unsure.contains(&Making::Deployment) {
            true => self.github.find_deployment(repository, &sha, id).await?,
            false => None,
        };
        let deployment = match found {
            Some(deployment) => deployment,
            None => {
                self.announce(speaker, report, Making::Deployment).await?;
                let environment = &approval.subject.environment;
                let title = words::deployment_title(approval);
                self.github.create_deployment(repository, &sha, environment, id, &title).await?
            }
        };
        report.made.deployment = Some(deployment);
        self.made(report, Making::Deployment).await?;
        Ok(deployment)
    }

    async fn show_check(
        &self,
        speaker: &Speaker,
        report: &mut Report,
        approval: &Approval,
    ) -> Result<(), Unsaid> {
        let (repository, sha) = (report.commit.repository, report.commit.sha.clone());
        let mut run = words::check_run(
            approval,
            &self.terms.origin,
            &self.storage.freezes(),
            self.clock.now(),
        );
        let digest = digest_of(&run)?;
        if report.made.check == Some(digest) {
            return Ok(());
        }
        if report.made.check_run.is_none() && report.made.unsure.contains(&Making::CheckRun) {
            let id = approval.id().as_str();
            report.made.check_run = self.github.find_check_run(repository, &sha, id).await?;
        }
        match report.made.check_run {
            // The same change twice changes nothing, so nobody has to know whether it came through.
            Some(id) => {
                self.keep(speaker).await?;
                self.github.update_check_run(repository, id, &run).await?;
            }
            None => {
                self.announce(speaker, report, Making::CheckRun).await?;
                run["head_sha"] = sha.into();
                report.made.check_run = Some(self.github.create_check_run(repository, &run).await?);
            }
        }
        report.made.check = Some(digest);
        self.made(report, Making::CheckRun).await
    }

    async fn show_comment(
        &self,
        speaker: &Speaker,
        report: &mut Report,
        approval: &Approval,
    ) -> Result<(), Unsaid> {
        let repository = report.commit.repository;
        let pull = match report.pull {
            Some(pull) => pull,
            None => {
                let pull = self.github.pull_of(repository, &report.commit.sha).await?;
                report.pull = Some(pull.unwrap_or(0));
                self.storage.note_made(report).await?;
                pull.unwrap_or(0)
            }
        };
        if pull == 0 {
            return Ok(());
        }
        let mut told = Vec::new();
        for id in self.storage.shown_at(repository, pull, MOST_TOLD).await? {
            let one =
                if id == report.approval { Ok(approval.clone()) } else { self.proved(&id).await };
            match one {
                Ok(one) => told.push(one),
                Err(Unsaid::Unproved(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let text =
            words::comment(&told, &self.terms.origin, &self.storage.freezes(), self.clock.now());
        let digest = Digest::of(&text);
        let kept = self.storage.comment(repository, pull).await?;
        if kept.as_ref().is_some_and(|kept| kept.id.is_some() && kept.text == digest) {
            return Ok(());
        }
        let id = match &kept {
            Some(Comment { id: Some(id), .. }) => Some(*id),
            // One was begun, or another gate's database is older than the comment.
            _ => {
                let mark = words::mark(&self.terms.origin);
                self.github.find_comment(repository, pull, &mark).await?
            }
        };
        self.keep(speaker).await?;
        let id = match id {
            Some(id) => match self.github.update_comment(repository, id, &text).await {
                Ok(()) => id,
                // Somebody deleted it.
                Err(AppError::Refused { status: 404 | 410, .. }) => {
                    let forgotten = Comment { id: None, text: digest };
                    self.storage.note_comment(repository, pull, &forgotten).await?;
                    self.github.create_comment(repository, pull, &text).await?
                }
                Err(error) => return Err(error.into()),
            },
            None => self.github.create_comment(repository, pull, &text).await?,
        };
        let comment = Comment { id: Some(id), text: digest };
        self.storage.note_comment(repository, pull, &comment).await?;
        Ok(())
    }
}

fn digest_of(value: &serde_json::Value) -> Result<Digest, Unsaid> {
    let text = to_canonical_json(value).map_err(|error| Unsaid::Unproved(error.to_string()))?;
    Ok(Digest::of(text))
}
