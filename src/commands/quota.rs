//! `esker quota show|set|clear`: how much a workspace, or all together, may hold.

use api::wire::quota::{Quota, SetQuota};

use crate::cli::Quota as Options;
use crate::context::Context;
use crate::exit::Outcome;
use crate::print;

/// Shows or changes a quota.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let client = context.client().await?;
    let quota = match options {
        Options::Show { workspace } => client.quota(workspace.as_deref()).await?,
        Options::Set { workspace, bytes, files } => {
            let present = client.quota(workspace.as_deref()).await?;
            let request = SetQuota { bytes: bytes.or(present.bytes), files: files.or(present.files) };
            client.set_quota(workspace.as_deref(), &request).await?
        }
        Options::Clear { workspace } => client.set_quota(workspace.as_deref(), &SetQuota::default()).await?,
    };
    context.printer.result(&quota, || text(&quota))
}

fn text(quota: &Quota) -> String {
    let bytes = quota.bytes.map_or_else(|| "no limit".to_owned(), |max| format!("of {}", print::size(max)));
    let files = quota.files.map_or_else(|| "no limit".to_owned(), |max| format!("of {}", print::count(max)));
    format!("bytes  {} ({bytes})\nfiles  {} ({files})", print::size(quota.used_bytes), print::count(quota.used_files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_and_what_may_be_stand_side_by_side() {
        let quota = Quota { bytes: Some(10 << 30), files: None, used_bytes: 1536, used_files: 1_000 };
        assert_eq!(text(&quota), "bytes  1.5 KiB (of 10.0 GiB)\nfiles  1,000 (no limit)");
    }
}
