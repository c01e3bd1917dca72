//! Leases of sessions: one owner at a time, fenced by an epoch that only grows.
//!
//! The clock decides only when somebody *may* take over; that the owner before cannot append any more is decided by the
//! epoch, in the transaction of each append.

use crate::clock::Time;
use crate::db::{Connection, SessionRow, sessions};
use crate::error::{Error, Kind, Result};
use crate::id::SessionId;
use crate::limits::{SESSION_LEASE_TTL, SESSION_OWNER_MAX};

/// Whether nobody else may take the session yet.
pub(crate) fn is_live(row: &SessionRow, now: Time) -> bool {
    let age_nanos = now.as_nanos() - row.last_seen.as_nanos();
    // A clock that jumped back must not make a lease immortal.
    !row.owner.is_empty() && age_nanos.unsigned_abs() < SESSION_LEASE_TTL.as_nanos()
}

/// Gives the session to a new owner, under a new epoch. Sessions of the same workspace whose owners are silent lose
/// theirs: two that wake up at once must not both go on.
pub(crate) async fn take(
    connection: &mut Connection,
    tenant: i64,
    id: SessionId,
    owner: &str,
    dead_epoch: Option<u64>,
    now: Time,
) -> Result<SessionRow> {
    check_owner(owner)?;
    let mut row = find(connection, tenant, id).await?;
    if is_live(&row, now) && dead_epoch != Some(row.epoch) {
        return Err(busy(&row, now, "it is over when its owner ends, or has been silent for so long"));
    }
    for mut other in sessions::owned(connection, tenant, row.workspace).await? {
        if other.id == id {
            continue;
        }
        if is_live(&other, now) {
            return Err(busy(&other, now, "two sessions do not run on one workspace at once: wait, or fork it"));
        }
        other.epoch += 1;
        other.owner.clear();
        sessions::put(connection, tenant, &other).await?;
    }
    row.epoch += 1;
    row.owner = owner.to_owned();
    row.last_seen = now;
    sessions::put(connection, tenant, &row).await?;
    Ok(row)
}

/// Says that the owner lives.
pub(crate) async fn renew(
    connection: &mut Connection,
    tenant: i64,
    id: SessionId,
    epoch: u64,
    now: Time,
) -> Result<()> {
    let mut row = owned(connection, tenant, id, epoch).await?;
    row.last_seen = now;
    sessions::put(connection, tenant, &row).await
}

/// Gives the lease back; fine if it is gone already.
pub(crate) async fn release(connection: &mut Connection, tenant: i64, id: SessionId, epoch: u64) -> Result<()> {
    match owned(connection, tenant, id, epoch).await {
        Ok(mut row) => {
            row.owner.clear();
            sessions::put(connection, tenant, &row).await
        }
        Err(error) if error.kind() == Kind::LeaseLost => Ok(()),
        Err(error) => Err(error),
    }
}

/// The session, if `epoch` is the one of its owner. Whoever changes the log asks here first, in the same transaction.
pub(super) async fn owned(connection: &mut Connection, tenant: i64, id: SessionId, epoch: u64) -> Result<SessionRow> {
    let row = find(connection, tenant, id).await?;
    if row.epoch == epoch && !row.owner.is_empty() {
        return Ok(row);
    }
    let message = match row.owner.as_str() {
        "" => format!("the lease of the session {id} with epoch {epoch} is over: take it again"),
        owner => format!("the session {id} was taken by {owner} (epoch {}, yours is {epoch}): stop", row.epoch),
    };
    Err(Error::new(Kind::LeaseLost, message))
}

async fn find(connection: &mut Connection, tenant: i64, id: SessionId) -> Result<SessionRow> {
    let found = sessions::get(connection, tenant, id).await?;
    found.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no session {id}")))
}

fn check_owner(owner: &str) -> Result<()> {
    if owner.is_empty() || owner.len() > SESSION_OWNER_MAX || owner.chars().any(char::is_control) {
        let message = format!("an owner describes itself in 1 to {SESSION_OWNER_MAX} bytes without control characters");
        return Err(Error::new(Kind::Invalid, message));
    }
    Ok(())
}

fn busy(row: &SessionRow, now: Time, hint: &str) -> Error {
    let silent_seconds = (now.as_nanos() - row.last_seen.as_nanos()).unsigned_abs() / 1_000_000_000;
    let message = format!(
        "the session {} is driven by {} (heard of {silent_seconds} s ago, a lease lives {} s): {hint}",
        row.id,
        row.owner,
        SESSION_LEASE_TTL.as_secs()
    );
    Error::new(Kind::Busy, message)
}
