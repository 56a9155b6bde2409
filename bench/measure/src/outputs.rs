//! Files for results, looked at before the minutes of measuring and not after.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Makes sure that every file that was asked for can be written, and that no two are the same. Each comes with the option that
/// names it. What exists is left as it is until there is something to write.
pub fn check_outputs<'a>(asked: impl IntoIterator<Item = (&'a str, Option<&'a Path>)>) -> Result<()> {
    check_outputs_beside([], asked)
}

/// The same, where results are made of files that are read: none of these is to be written over, by whatever name.
pub fn check_outputs_beside<'a>(
    read: impl IntoIterator<Item = &'a Path>,
    asked: impl IntoIterator<Item = (&'a str, Option<&'a Path>)>,
) -> Result<()> {
    // What cannot be found is not in danger, and is complained of by who reads it.
    let read: Vec<PathBuf> = read.into_iter().filter_map(|path| place(path).ok()).collect();
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
        if read.contains(&place) && place.is_file() {
            let path = path.display();
            return Err(Error::Usage(format!(
                "{option} {path}: is the report that is read, and would be lost; give another file"
            )));
        }
        // Into a device or a pipe any number of results may go.
        if !place.exists() || place.is_file() {
            places.push((option, place));
        }
    }
    Ok(())
}

/// Writes a file of results as a whole: what was there before stays until all of the new is, and nothing half written is left.
///
/// # Errors
/// [`Error::Usage`] when the system refuses it, as it does on a full disk.
pub fn write_output(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let to = place(path);
    let written = match &to {
        // Nobody can take the place of a device or a pipe.
        Ok(to) if to.exists() && !to.is_file() => write_all(File::options().write(true).open(to), write),
        Ok(to) => {
            let mut name = to.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.new", std::process::id()));
            let new = to.with_file_name(name);
            match File::create_new(&new) {
                Ok(file) => {
                    let written = write_all(Ok(file), write).and_then(|()| fs::rename(&new, to));
                    if written.is_err() {
                        let _ = fs::remove_file(&new);
                    }
                    written
                }
                // In a directory that takes no new file, the old one may still be written.
                Err(_) => write_all(File::create(to), write),
            }
        }
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    written.map_err(|error| {
        let what = "give a file in a place that takes it";
        Error::Usage(format!("cannot write {}: {error}; {what}", path.display()))
    })
}

fn write_all(file: io::Result<File>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file?);
    write(&mut out)?;
    out.flush()
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
    fn what_is_read_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, other) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let check = |out: &Path| check_outputs_beside([other.as_path(), &file], [("--html", Some(out))]);
        for name in [&file, &link] {
            let said = check(name).unwrap_err().to_string();
            assert!(
                said.contains("is the report that is read") && said.contains("give another file"),
                "{said}"
            );
        }
        assert!(check(&dir.path().join("new")).is_ok());
        assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    }

    #[test]
    fn a_file_is_written_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let fails = |path: &Path| {
            let failed = write_output(path, |out| {
                out.write_all(b"half")?;
                Err(io::ErrorKind::StorageFull.into())
            });
            failed.unwrap_err()
        };
        let said = fails(&file);
        assert_eq!((said.exit_code(), fs::read_to_string(&file).unwrap().as_str()), (2, "old"), "{said}");
        assert_eq!(fails(&dir.path().join("new")).exit_code(), 2);
        write_output(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink());
        write_output(Path::new("/dev/null"), |out| out.write_all(b"new")).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "b"]);
        assert_eq!(
            write_output(Path::new("/dev/full"), |out| out.write_all(b"x")).unwrap_err().exit_code(),
            2
        );
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
