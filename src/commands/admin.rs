//! `esker admin`: a link to the admin page, good once.

use crate::context::Context;
use crate::exit::Outcome;

/// Asks the engine for a link and prints it.
pub(crate) async fn run(context: &Context) -> Outcome {
    let link = context.client().await?.admin_link().await?;
    context.printer.result(&link, || link.url.clone())?;
    let minutes = link.expires_s / 60;
    context.printer.remark(&format!("Open it in a browser of this machine; it is good once, for {minutes} minutes."));
    Ok(())
}
