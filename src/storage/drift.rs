//! What the ledger says of services: sightings, rollouts, and explanations of what no approval explains.
//! Entries that the log key did not sign in their places are left out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::digest::Digest;
use crate::domain::drift::{
    DRIFT_EXPLAINED, DRIFT_FOUND, Finding, RecordedExplanation, RolloutSeen, SERVICE_OBSERVED,
    Sighting,
};
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::{Entry, Record};
use crate::domain::service::ServiceName;
use crate::storage::column::{Row, big_int};
use crate::storage::error::Result;
use crate::storage::ledger::{EntryRow, entry_columns};
use crate::storage::writer::step;
use crate::storage::{Storage, StorageError, Writer};

/// A sighting with its place in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptSighting {
    /// The index of its entry.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// What was seen.
    pub sighting: Sighting,
    entry_hash: Digest,
    is_drift: bool,
}

fn names(service: &ServiceName) -> String {
    // A service's name has no character that LIKE or JSON knows.
    format!("%\"service\":\"{service}\"%")
}

impl Storage {
    /// The newest sighting of a service.
    pub async fn newest_sighting(&self, service: &ServiceName) -> Result<Option<KeptSighting>> {
        const SQL: &str = entry_columns!(
            "WHERE kind IN ('service.observed', 'drift.found') AND record LIKE $1 \
             ORDER BY entry_index DESC LIMIT 4"
        );
        let rows: Vec<EntryRow> =
            sqlx::query_as(SQL).bind(names(service)).fetch_all(&mut *self.reader().await?).await?;
        for row in rows {
            let kept = self.read_sighting(&Entry::try_from(row)?).await?;
            if let Some(kept) = kept.filter(|kept| kept.sighting.service == *service) {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Every sighting before this moment, in order.
    pub async fn sightings(&self, until: Timestamp) -> Result<Vec<KeptSighting>> {
        const SQL: &str = entry_columns!(
            "WHERE kind IN ('service.observed', 'drift.found') AND at < $1 ORDER BY entry_index"
        );
        let rows: Vec<EntryRow> = sqlx::query_as(SQL)
            .bind(until.as_microsecond())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut sightings = Vec::with_capacity(rows.len());
        for row in rows {
            sightings.extend(self.read_sighting(&Entry::try_from(row)?).await?);
        }
        Ok(sightings)
    }

    async fn read_sighting(&self, entry: &Entry) -> Result<Option<KeptSighting>> {
        let Ok(record) = Record::parse(&entry.record) else { return Ok(None) };
        let is_drift = record.kind == DRIFT_FOUND;
        if !(is_drift || record.kind == SERVICE_OBSERVED) || !self.is_signed(entry).await? {
            return Ok(None);
        }
        let key = entry.index.to_string();
        let row = Row { table: "ledger_entries", key: &key };
        let sighting =
            serde_json::from_value(record.data).map_err(|error| row.impossible("record", error))?;
        let (at, entry_hash) = (record.at, entry.entry_hash);
        Ok(Some(KeptSighting { entry: entry.index, at, sighting, entry_hash, is_drift }))
    }

    /// The rollouts of a service that have an entry after this one or are under way, in the order of their
    /// newest entries; all of them without one.
    pub async fn rollouts_since(
        &self,
        service: &ServiceName,
        after: Option<u64>,
    ) -> Result<Vec<RolloutSeen>> {
        const SQL: &str = "SELECT a.id, MAX(e.entry_index) AS newest FROM approvals a \
            JOIN ledger_entries e ON e.approval_id = a.id \
            WHERE a.service = $1 AND e.kind LIKE 'rollout.%' \
            GROUP BY a.id, a.status HAVING MAX(e.entry_index) > $2 OR a.status = 'executing' \
            ORDER BY newest";
        let after = after.map(big_int).transpose()?.unwrap_or(-1);
        let rows: Vec<(String, i64)> = sqlx::query_as(SQL)
            .bind(service.as_str())
            .bind(after)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut rollouts = Vec::with_capacity(rows.len());
        for (id, newest) in rows {
            let row = Row { table: "approvals", key: &id };
            let approval: ApprovalId = row.parse("id", &id)?;
            rollouts.extend(self.rollout_at(&approval, row.number("newest", newest)?).await?);
        }
        Ok(rollouts)
    }

    /// What an entry says of a rollout, if the log key signed it and the row holds what it commits to.
    async fn rollout_at(&self, id: &ApprovalId, index: u64) -> Result<Option<RolloutSeen>> {
        let Some(entry) = self.entry(index).await? else { return Ok(None) };
        let Ok(record) = Record::parse(&entry.record) else { return Ok(None) };
        let Some(logged) = record.approval.filter(|logged| logged.id == *id) else {
            return Ok(None);
        };
        if !self.is_signed(&entry).await? {
            return Ok(None);
        }
        let stored = self.approval(id).await?.map(|stored| stored.approval.subject);
        let same = stored.filter(|subject| *subject.digest() == logged.deployment_digest);
        let plan = same.and_then(|subject| Some(subject.subject().deployment()?.plan.clone()));
        let approval = id.clone();
        Ok(plan.map(|plan| RolloutSeen { approval, plan, state: logged.state }))
    }

    /// Every change that no approval explains, with its explanations, in order.
    pub async fn findings(&self) -> Result<Vec<Finding>> {
        let mut explanations: BTreeMap<u64, Vec<RecordedExplanation>> = BTreeMap::new();
        for (index, record) in self.signed_records(DRIFT_EXPLAINED).await? {
            let key = index.to_string();
            let row = Row { table: "ledger_entries", key: &key };
            let one: RecordedExplanation = serde_json::from_value(record.data)
                .map_err(|error| row.impossible("record", error))?;
            explanations.entry(one.entry).or_default().push(one);
        }
        let sightings = self.sightings(Timestamp::MAX).await?;
        let findings = sightings.into_iter().filter(|kept| kept.is_drift).map(|kept| Finding {
            entry: kept.entry,
            at: kept.at,
            entry_hash: kept.entry_hash,
            found: kept.sighting,
            explanations: explanations.remove(&kept.entry).unwrap_or_default(),
        });
        Ok(findings.collect())
    }
}

impl Writer {
    /// The index of the newest sighting of a service, as it is inside this change.
    pub async fn newest_sighting(&mut self, service: &ServiceName) -> Result<Option<u64>> {
        const SQL: &str = "SELECT MAX(entry_index) FROM ledger_entries \
            WHERE kind IN ('service.observed', 'drift.found') AND record LIKE $1";
        let newest: Option<i64> = step!(self, async {
            let query = sqlx::query_scalar(SQL).bind(names(service));
            Ok::<_, StorageError>(query.fetch_one(&mut *self.transaction).await?)
        })?;
        let row = Row { table: "ledger_entries", key: service.as_str() };
        newest.map(|index| row.number("entry_index", index)).transpose()
    }
}
