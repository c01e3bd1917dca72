//! Which database owns a bucket: objects `t/<tenant>/owner/<n>`, create-only. The database remembers its number (0: it is
//! the first, which wrote none); a rebuild takes the next. A database whose number is not the highest is out of date.

use bytes::Bytes;

use crate::bucket::{Bucket, Created};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::TenantId;

/// Setting of the database: its number.
pub(crate) const OWNER: &str = "owner";

fn folder(tenant: TenantId) -> String {
    format!("t/{tenant}/owner")
}

/// The highest number; 0 if the bucket was never taken over.
pub(crate) async fn highest(bucket: &Bucket, tenant: TenantId) -> Result<u64> {
    let listed = bucket.list(&folder(tenant)).await?;
    let number = |name: &str| u64::from_str_radix(name.rsplit('/').next()?, 16).ok();
    Ok(listed.iter().filter_map(|object| number(&object.name)).max().unwrap_or(0))
}

/// Takes the bucket over; returns the number.
pub(crate) async fn take(bucket: &Bucket, tenant: TenantId, now: Time) -> Result<u64> {
    let number = highest(bucket, tenant).await? + 1;
    let text = serde_json::json!({ "format": 0, "owner": number, "time": now }).to_string();
    match bucket.create(&format!("{}/{number:016x}", folder(tenant)), Bytes::from(text)).await? {
        Created::New => Ok(number),
        Created::Existed => {
            Err(Error::new(Kind::Conflict, "somebody else takes this bucket over at this moment: only one may"))
        }
    }
}

/// Takes back what [`take`] has written, for a database that never came to be.
pub(crate) async fn give_back(bucket: &Bucket, tenant: TenantId, number: u64) -> Result<()> {
    bucket.delete(&format!("{}/{number:016x}", folder(tenant))).await
}

/// Refuses a database that is out of date.
pub(crate) async fn check(bucket: &Bucket, tenant: TenantId, own: u64) -> Result<()> {
    let highest = highest(bucket, tenant).await?;
    if highest > own {
        let message = format!(
            "the bucket {} was taken over by a rebuild ({highest}), this database is of before ({own}): use the data folder \
             that was rebuilt, both together would delete each other's data",
            bucket.url()
        );
        return Err(Error::new(Kind::Denied, message));
    }
    Ok(())
}
