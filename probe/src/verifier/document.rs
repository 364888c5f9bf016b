//! The Migration document at the start: a file, or a custom resource that is kept an eye on from then on.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::Failure;
use super::home::connect;
use crate::cli::ConfigArgs;
use crate::kubernetes::migration::Resource;
use crate::source::{Seen, Source};

/// Where the document comes from, and what it takes to look after that.
pub(super) struct Origin {
    pub(super) source: Source,
    pub(super) resource: Option<Watched>,
}

/// A custom resource that was read once.
pub(super) struct Watched {
    pub(super) resource: Resource,
    pub(super) seen: watch::Sender<Result<Arc<Seen>, String>>,
    /// Who writes its status.
    pub(super) holder: String,
}

/// Finds the document. The runtime is the one that will look after a custom resource.
pub(super) fn find(args: &ConfigArgs, (namespace, holder): (Option<&str>, &str), runtime: &Runtime) -> Result<Origin, Failure> {
    let Some(name) = &args.migration else {
        let path = args.file.clone().unwrap_or_default();
        return Ok(Origin { source: Source::File(path), resource: None });
    };
    let (client, namespace) = runtime.block_on(connect(namespace))?;
    let resource = Resource::new(&client, &namespace, name);
    let place = resource.place().to_owned();
    let hint = "`kubectl apply -f migration.yaml` makes it, and the verifier's role needs `get` on `migrations` of phasegate.dev";
    let first =
        runtime.block_on(resource.look()).map_err(|why| Failure::given(format!("{place} can not be read: {why}; {hint}")))?;
    let (sender, seen) = watch::channel(Ok(first));
    Ok(Origin {
        source: Source::Resource { place, seen },
        resource: Some(Watched { resource, seen: sender, holder: holder.to_owned() }),
    })
}
