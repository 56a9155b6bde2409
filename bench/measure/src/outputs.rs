//! Files for results, looked at before the minutes of measuring and not after.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Makes sure that every file that was asked for can be written, and that no two are the same. Each comes with the option that
/// names it. What exists is left as it is until there is something to write.
pub fn check_outputs<'a>(asked: impl IntoIterator<Item = (&'a str, Option<&'a Path>)>) -> Result<()> {
    let mut places: Vec<(&str, PathBuf)> = Vec::new();
    for (option, path) in asked.into_iter().filter_map(|(option, path)| Some((option, path?))) {
        let place = place(path).and_then(|place| try_to_write(path).map(|()| place));
        let place = place.map_err(|error| {
            let what = "give a file that can be written, in a directory that exists";
            Error::Usage(format!("{option} {}: cannot be written: {error}; {what}", path.display()))
        })?;
        if let Some((other, _)) = places.iter().find(|(_, taken)| *taken == place) {
            let path = path.display();
            return Err(Error::Usage(format!("{other} and {option} both name {path}; give two files")));
        }
        // Into a device or a pipe any number of results may go.
        if !place.exists() || place.is_file() {
            places.push((option, place));
        }
    }
    Ok(())
}

/// The same for all names of a file.
fn place(path: &Path) -> io::Result<PathBuf> {
    if path.exists() {
        return path.canonicalize();
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(dir.canonicalize()?.join(name))
}

fn try_to_write(path: &Path) -> io::Result<()> {
    if path.exists() {
        return File::options().append(true).open(path).map(drop);
    }
    File::create_new(path)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(asked: &[(&str, &Path)]) -> String {
        let asked = asked.iter().map(|(option, path)| (*option, Some(*path)));
        check_outputs(asked).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_cannot_be_written_is_found_and_nothing_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        fs::write(&old, "content").unwrap();
        assert_eq!(refused(&[("--json", &new), ("--html", &old)]), "");
        assert!(!new.exists() && fs::read_to_string(&old).unwrap() == "content");
        for wrong in [dir.path(), &dir.path().join("no/such"), Path::new("/proc/new"), Path::new("")] {
            let said = refused(&[("--json", wrong)]);
            assert!(said.starts_with("--json ") && said.contains("cannot be written: "), "{wrong:?}: {said}");
        }
        assert_eq!(refused(&[("--json", Path::new("/dev/null")), ("--html", Path::new("/dev/null"))]), "");
        assert!(check_outputs([("--json", None)]).is_ok());
    }

    #[test]
    fn two_names_of_one_file_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("b"));
        let around = dir.path().join("../").join(dir.path().file_name().unwrap()).join("a");
        let said = refused(&[("--json", &file), ("--html", &around)]);
        assert!(
            said.starts_with("--json and --html both name ") && said.ends_with("give two files"),
            "{said}"
        );
        fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(refused(&[("--json", &link), ("--hdr", &file)]).starts_with("--json and --hdr both name "));
    }
}
