//! Where the newest head of the log is kept outside the database.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::integrations::cloud_storage::{CloudObject, Held, ObjectError, ObjectSettings};
use crate::integrations::outbound::OutboundHttp;

/// The place, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogHeadPlace {
    /// Nowhere: this process alone remembers it.
    Memory,
    /// A file, on another disk than the database's where there is one.
    File(PathBuf),
    /// An object of Cloud Storage.
    Object(ObjectSettings),
}

/// The place, in use.
pub enum LogHead {
    /// Nowhere.
    Memory,
    /// A file.
    File(PathBuf),
    /// An object, and what it held when it was read last: its generation is what a write replaces.
    Object(Box<CloudObject>, Mutex<Option<Held>>),
}

/// The place cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogHeadError {
    /// A file.
    #[error("{path} cannot be {what} ({cause})")]
    File {
        /// Which.
        path: String,
        /// What was tried.
        what: &'static str,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// An object of Cloud Storage.
    #[error("{name} cannot be {what} ({cause})")]
    Object {
        /// Which.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What came back.
        cause: ObjectError,
    },
}

impl LogHead {
    /// Begins to use a place. Nothing is touched yet.
    pub fn new(place: LogHeadPlace, http: &OutboundHttp) -> Self {
        match place {
            LogHeadPlace::Memory => Self::Memory,
            LogHeadPlace::File(path) => Self::File(path),
            LogHeadPlace::Object(settings) => {
                let object = Box::new(CloudObject::new(settings, http.clone()));
                Self::Object(object, Mutex::default())
            }
        }
    }

    /// What is kept there, if anything is.
    ///
    /// # Errors
    /// If it cannot be told.
    pub async fn read(&self) -> Result<Option<String>, LogHeadError> {
        match self {
            Self::Memory => Ok(None),
            Self::File(path) => {
                let path = path.clone();
                blocking(move || read_file(&path)).await
            }
            Self::Object(object, held) => {
                let found =
                    object.read().await.map_err(|cause| object_fault(object, "read", cause))?;
                let text = found.as_ref().map(|found| found.text.clone());
                *held.lock().unwrap_or_else(PoisonError::into_inner) = found;
                Ok(text)
            }
        }
    }

    /// Replaces what is kept there, which is `before` as it was read last, for good. False: it is something
    /// else by now, and stays.
    ///
    /// # Errors
    /// If it was not done, or may not survive a loss of power.
    pub async fn replace(&self, before: Option<&str>, text: &str) -> Result<bool, LogHeadError> {
        match self {
            Self::Memory => Ok(true),
            Self::File(path) => {
                let (path, text) = (path.clone(), text.to_owned());
                let before = before.map(str::to_owned);
                blocking(move || replace_file(&path, before.as_deref(), &text)).await
            }
            Self::Object(object, held) => {
                let held = held.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if held.as_ref().map(|held| held.text.as_str()) != before {
                    return Ok(false);
                }
                let generation = held.map_or(0, |held| held.generation);
                let replaced = object.replace(generation, text).await;
                replaced.map_err(|cause| object_fault(object, "written", cause))
            }
        }
    }
}

/// Files block their thread, so they get one of their own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogHeadError> + Send + 'static,
) -> Result<T, LogHeadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let cause = std::io::Error::other(error);
        Err(LogHeadError::File { path: "the log's head".to_owned(), what: "used", cause })
    })
}

fn fault(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> LogHeadError {
    let path = path.display().to_string();
    move |cause| LogHeadError::File { path, what, cause }
}

fn object_fault(object: &CloudObject, what: &'static str, cause: ObjectError) -> LogHeadError {
    LogHeadError::Object { name: object.name().to_string(), what, cause }
}

fn read_file(path: &Path) -> Result<Option<String>, LogHeadError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(path, "read")(error)),
    }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whoever reads finds the old text or the new one, whenever the power fails: the new one is written
/// beside the old one and then takes its name. A lock keeps other processes of this machine away.
fn replace_file(path: &Path, before: Option<&str>, text: &str) -> Result<bool, LogHeadError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (lock, new) = (beside(".lock"), beside(".new"));
    let locked = private_file(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(fault(&lock, "locked"))?;
    if read_file(path)?.as_deref() != before {
        return Ok(false);
    }
    let written = private_file(&new).and_then(|mut file| {
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(fault(&new, "written"))?;
    std::fs::rename(&new, path).map_err(fault(path, "replaced"))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder_synced = File::open(folder).and_then(|folder| folder.sync_all());
    folder_synced.map_err(fault(folder, "written"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_was_read_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head");
        let place = LogHead::File(path.clone());
        assert_eq!(place.read().await.unwrap(), None);
        assert!(!place.replace(Some("something"), "1").await.unwrap());
        assert!(place.replace(None, "1").await.unwrap());
        assert!(!place.replace(None, "2").await.unwrap());
        assert!(place.replace(Some("1"), "2").await.unwrap());
        assert_eq!(place.read().await.unwrap().as_deref(), Some("2"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(place.read().await.is_err());
        assert!(place.replace(Some("2"), "3").await.is_err());
        drop(folder);
        let gone = place.replace(None, "3").await.unwrap_err().to_string();
        assert!(gone.contains("cannot be locked"), "{gone}");
    }
}
