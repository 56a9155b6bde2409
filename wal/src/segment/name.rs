//! File names. A segment's name is its id; files not in the log have other endings.

use std::path::{Path, PathBuf};

/// What a file in the log's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `0000000000000001.wal`: a segment, or the one prepared to follow the last.
    Segment(u64),
    /// `0000000000000001.new`: being written with zeros; worthless after a crash.
    New(u64),
    /// `0000000000000001.spare`: a released segment, waiting to be used again.
    Spare(u64),
    /// Not ours.
    Other,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        let Some((stem, ending)) = name.split_once('.') else { return Self::Other };
        let lower_hex = stem.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if stem.len() != 16 || !lower_hex {
            return Self::Other;
        }
        let Ok(id) = u64::from_str_radix(stem, 16) else { return Self::Other };
        match ending {
            "wal" => Self::Segment(id),
            "new" => Self::New(id),
            "spare" => Self::Spare(id),
            _ => Self::Other,
        }
    }

    pub(crate) fn in_dir(self, dir: &Path) -> PathBuf {
        match self {
            Self::Segment(id) => dir.join(format!("{id:016x}.wal")),
            Self::New(id) => dir.join(format!("{id:016x}.new")),
            Self::Spare(id) => dir.join(format!("{id:016x}.spare")),
            Self::Other => dir.to_path_buf(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let dir = Path::new("d");
        for name in [Name::Segment(1), Name::New(0xabc), Name::Spare(u64::MAX)] {
            let path = name.in_dir(dir);
            assert_eq!(Name::parse(path.file_name().unwrap().to_str().unwrap()), name);
        }
        for other in ["1.wal", "000000000000000A.wal", "0000000000000001.wal.bak", "0000000000000001", "x"] {
            assert_eq!(Name::parse(other), Name::Other, "{other}");
        }
    }
}
