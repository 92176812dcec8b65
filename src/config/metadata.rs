//! `trust.metadata`: what FIDO says of models of authenticators, in a file beside the configuration.

use std::path::Path;
use std::sync::Arc;

use crate::config::check::Check;
use crate::config::file::TrustSection;
use crate::proof::certificate::roots_of_pem;
use crate::proof::metadata::{self, Metadata};

/// The root under which the file is signed, if the configuration names one.
pub(super) fn root(check: &mut Check, trust: &TrustSection) -> Option<String> {
    let key = "trust.metadata_root";
    let file = match (&trust.metadata_root, &trust.metadata) {
        (Some(file), Some(_)) => file,
        (None, None) => return None,
        (None, Some(_)) => {
            check.problem(
                key,
                "is missing, so that nobody knows who signs trust.metadata: name a file with the root certificate, which for FIDO's is GlobalSign Root CA - R3",
            );
            return None;
        }
        (Some(_), None) => {
            check.problem("trust.metadata", "is missing, and trust.metadata_root names who signs it: name the file, https://mds3.fidoalliance.org/ as it was fetched");
            return None;
        }
    };
    let path = check.folder.join(file);
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    match text.and_then(|text| roots_of_pem(&text)).as_deref() {
        Ok([root]) => return Some(root.clone()),
        Ok(_) => check
            .problem(key, format!("{shown} holds more than one certificate: keep the root alone")),
        Err(why) => check.problem(key, format!("{shown} cannot be used: {why}")),
    }
    None
}

/// What the file says, if there is one and a root was found.
pub(super) fn read(
    check: &mut Check,
    file: Option<&Path>,
    root: Option<&str>,
) -> Option<Arc<Metadata>> {
    let (file, root) = (file?, root?);
    let path = check.folder.join(file);
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let read = text.and_then(|text| metadata::read(&text, root).map_err(|error| error.to_string()));
    match read {
        Ok(metadata) => return Some(Arc::new(metadata)),
        Err(why) => check.problem(
            "trust.metadata",
            format!("{shown} cannot be used: {why}. Fetch https://mds3.fidoalliance.org/ anew"),
        ),
    }
    None
}
