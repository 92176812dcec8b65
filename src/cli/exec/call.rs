//! The command as this machine sees it: what would run, where, and what its files hold.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::ending::{NotRun, Reason};
use crate::domain::command::{Command, HashedFile};
use crate::domain::digest::Digest;

/// How much of a file is read at once.
const PART: usize = 64 * 1024;

/// What the command line names, before anything was read.
#[derive(Clone, Debug)]
pub struct Named {
    /// The program's name and its arguments.
    pub words: Vec<OsString>,
    /// The files that it depends on.
    pub files: Vec<PathBuf>,
    /// Whether it may run on this machine alone.
    pub on_this_host: bool,
    /// Where programs are looked for.
    pub search: String,
}

impl Named {
    /// What runs here under this variable PATH.
    pub fn new(
        words: Vec<OsString>,
        files: Vec<PathBuf>,
        on_this_host: bool,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let search = environment.get("PATH").cloned().unwrap_or_default();
        Self { words, files, on_this_host, search }
    }

    /// Reads everything, as it is now.
    ///
    /// # Errors
    /// If it cannot be signed, or is not there.
    pub fn read(&self) -> Result<Command, NotRun> {
        let words = self.words.iter().map(|word| text(word.as_os_str(), "a word of the command"));
        let command = words.collect::<Result<Vec<String>, NotRun>>()?;
        let directory = std::env::current_dir()
            .map_err(|error| NotRun::usage(format!("this directory has no name here: {error}")))?;
        let program = self.program(&directory, command.first().map_or("", String::as_str))?;
        let mut files = Vec::new();
        for path in &self.files {
            files.push(hashed(path)?);
        }
        files.sort();
        files.dedup();
        Ok(Command {
            command,
            program: hashed(&program)?,
            directory: text(directory.as_os_str(), "the directory")?,
            files,
            host: self.on_this_host.then(host).transpose()?,
        })
    }

    /// The file that a shell would execute. An empty part of PATH means nothing here: that it is the current
    /// directory surprises most.
    fn program(&self, directory: &Path, name: &str) -> Result<PathBuf, NotRun> {
        let found = if name.contains('/') {
            // Without the dots that stand for nothing.
            let path: PathBuf = directory.join(name).components().collect();
            if path.is_file() && !is_program(&path) {
                let why = format!("{} may not be executed: nothing was asked", path.display());
                return Err(NotRun::because(Reason::NotStarted, "not_executable", why));
            }
            Some(path).filter(|path| is_program(path))
        } else {
            let parts = self.search.split(':').filter(|part| !part.is_empty() && !name.is_empty());
            parts.map(|part| directory.join(part).join(name)).find(|path| is_program(path))
        };
        found.ok_or_else(|| {
            let why = format!("there is no program {name:?} here: give its path, or correct PATH");
            NotRun::because(Reason::NotFound, "not_found", why)
        })
    }
}

/// Puts the command in the place of this process: terminal, signals and exit code are its own then. Comes back
/// only if it cannot be started.
pub fn become_command(command: &Command, variables: &[(&str, &std::ffi::OsStr)]) -> std::io::Error {
    let mut process = std::process::Command::new(&command.program.path);
    if let [name, arguments @ ..] = &command.command[..] {
        process.arg0(name).args(arguments);
    }
    process.current_dir(&command.directory).envs(variables.iter().copied()).exec()
}

fn is_program(path: &Path) -> bool {
    let may_run = |mode: u32| mode & 0o111 != 0;
    path.metadata().is_ok_and(|found| found.is_file() && may_run(found.permissions().mode()))
}

fn text(text: &std::ffi::OsStr, what: &str) -> Result<String, NotRun> {
    text.to_str().map(str::to_owned).ok_or_else(|| {
        NotRun::usage(format!("{what} is no UTF-8 text ({text:?}), so that it cannot be signed"))
    })
}

fn hashed(path: &Path) -> Result<HashedFile, NotRun> {
    let sha256 = digest(path).map_err(|error| {
        let why =
            format!("{} cannot be read, so that it cannot be signed: {error}", path.display());
        NotRun::usage(why)
    })?;
    Ok(HashedFile { path: text(path.as_os_str(), "the name of a file")?, sha256 })
}

/// The SHA-256 of a file of any size.
fn digest(path: &Path) -> std::io::Result<Digest> {
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA256));
    let mut part = vec![0; PART];
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(count) => context.update(&part[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok(Digest::from_bytes(bytes))
}

/// What this machine is called.
fn host() -> Result<String, NotRun> {
    let asked = std::process::Command::new("uname").arg("-n").output();
    let name = asked.ok().filter(|asked| asked.status.success());
    let name = name.and_then(|asked| String::from_utf8(asked.stdout).ok());
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.ok_or_else(|| NotRun::usage("this machine does not say its name (uname -n)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(words: &[&str], files: &[&str], search: &str) -> Named {
        Named {
            words: words.iter().map(OsString::from).collect(),
            files: files.iter().map(PathBuf::from).collect(),
            on_this_host: false,
            search: search.to_owned(),
        }
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-program");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let search = format!("/nowhere::{}", folder.path().display());
        let is_found = |words: &[&str], search: &str| named(words, &[], search).read().is_ok();
        assert!(!is_found(&["a-program"], &search), "it may not be executed");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let command = named(&["a-program", "", "b c"], &[], &search).read().unwrap();
        assert_eq!(Path::new(&command.program.path), path);
        assert_eq!(command.command, ["a-program", "", "b c"]);
        assert_eq!(command.program.sha256, Digest::of("#!/bin/sh\n"));
        let by_path = [path.to_str().unwrap()];
        assert!(is_found(&by_path, ""));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = named(&by_path, &[], "").read().unwrap_err();
        assert_eq!(refused.reason, Reason::NotStarted);
        for (words, search) in [(&["a-program"][..], ""), (&[""], &search), (&["/"], &search)] {
            let refused = named(words, &[], search).read().unwrap_err();
            assert_eq!(refused.reason, Reason::NotFound, "{words:?}");
        }
    }

    #[test]
    fn files_are_named_once_and_must_be_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("b"), vec![7; 3 * PART + 1]).unwrap();
        std::fs::write(path("a"), "").unwrap();
        let (a, b) = (path("a"), path("b"));
        let command = named(&["/bin/sh"], &[&b, &a, &b], "").read().unwrap();
        assert_eq!(command.files.iter().map(|file| &file.path).collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(command.files[1].sha256, Digest::of(vec![7; 3 * PART + 1]));
        for bad in [path("c"), folder.path().to_str().unwrap().to_owned()] {
            let refused = named(&["/bin/sh"], &[&bad], "").read().unwrap_err();
            assert_eq!(refused.error.unwrap().0, "usage");
        }
    }

    #[test]
    fn what_is_no_text_cannot_be_signed() {
        use std::os::unix::ffi::OsStringExt;
        let word = OsString::from_vec(vec![b'a', 0xff]);
        let named = Named { words: vec!["/bin/sh".into(), word], ..named(&[], &[], "") };
        assert!(named.read().unwrap_err().error.unwrap().1.contains("UTF-8"));
    }
}
