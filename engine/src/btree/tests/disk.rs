//! Files in memory; the recording and failing disk is `proof::disk`.

use std::sync::Arc;

use crate::file::File;

pub(super) use crate::proof::disk::memory_file;

/// A file in memory holding `bytes`.
pub(super) fn holding(bytes: &[u8]) -> Arc<dyn File> {
    let file = memory_file();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(0, bytes).unwrap();
    Arc::new(file)
}
