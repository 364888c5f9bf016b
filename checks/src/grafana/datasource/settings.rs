//! What Grafana itself says of a datasource.

use url::Url;

use crate::loki::names::{Address, Loki};
use crate::net::shown;
use crate::outcome::Outcome;

use super::super::datasources::{Datasource, Datasources};
use super::{NO_DATASOURCE, NOT_PROXIED, WRONG_TYPE, WRONG_URL};

/// The plugin of datasources that lead to a Loki.
pub(super) const LOKI: &str = "loki";
/// Datasources that are named in one evidence.
const FEW: usize = 5;

/// Whether the datasource with this uid leads to that Loki, as far as its settings say. `grafana` is where Grafana itself is.
pub(super) fn judge(datasources: &Datasources, uid: &str, loki: &Loki, grafana: &Url) -> Outcome {
    let Some(found) = datasources.by_uid(uid) else {
        return NO_DATASOURCE.because(format!("Grafana has none with the uid {uid}; {}", twins(datasources, uid)));
    };
    if found.plugin != LOKI {
        return WRONG_TYPE.because(format!("{} is of type {}", named(found), found.plugin));
    }
    let url = Url::parse(&found.url).ok();
    let address = url.as_ref().and_then(Address::of);
    if !address.is_some_and(|address| loki.is_at(&address, grafana)) {
        return WRONG_URL.because(format!("{}, which is not {} by any of its names", named(found), loki.name));
    }
    if !found.access.is_empty() && found.access != "proxy" {
        return NOT_PROXIED.because(format!("{}: access is {}", named(found), found.access));
    }
    let from_file = if found.read_only { "provisioned" } else { "made by hand" };
    Outcome::pass(format!("{}, {from_file}; {}", named(found), twins(datasources, uid)))
}

/// A datasource in words.
pub(super) fn named(datasource: &Datasource) -> String {
    let place = match Url::parse(&datasource.url) {
        Ok(url) => format!("leads to {}", shown(&url)),
        Err(_) if datasource.url.is_empty() => "leads nowhere".to_owned(),
        Err(_) => "leads to something that is no URL".to_owned(),
    };
    format!("\"{}\" ({}) {place}", datasource.name, datasource.uid)
}

/// The other datasources that lead to a Loki.
fn twins(datasources: &Datasources, uid: &str) -> String {
    let twins: Vec<String> = datasources.0.iter().filter(|other| other.plugin == LOKI && other.uid != uid).map(named).collect();
    match twins.len() {
        0 => "no other of type loki".to_owned(),
        many if many > FEW => {
            format!("{many} others of type loki: {}; …", twins.iter().take(FEW).cloned().collect::<Vec<_>>().join("; "))
        }
        _ => format!("others of type loki: {}", twins.join("; ")),
    }
}
