//! Anonymous memory of the real server.

use std::time::Instant;

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows, skipped};
use crate::storage::server::Server;
use measure::machine::status_bytes;

pub(super) const KIND: Kind = Kind {
    name: "memory",
    title: "anonymous memory of the server, 1 M keys (48 B, 256 B values), idle after a checkpoint",
    minutes: 3.0,
    space: |sizes| Space {
        written: 3 * sizes.million * 400 + (1 << 30),
        at_once: 2 * sizes.million * 400 + (1 << 30),
    },
    run,
};

const VALUE: usize = 256;

const SPECS: [Spec; 3] = [
    Spec::at_most("anonymous memory, idle", "MB", 60.0),
    Spec::shown("anonymous memory when the last put is answered", "MB"),
    Spec::shown("puts/s of the load", "1/s"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let Some(program) = bench.arguments.server.clone() else {
        return Ok(skipped(kind.name, kind.title, "no server given: --server PATH names a graven program"));
    };
    let scratch = bench.dir.fresh(kind.name)?;
    let (keys, idle) = (bench.sizes.million, bench.sizes.idle);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(1, Repeat::No, |bench| {
        let server = Server::start(&program, scratch.path())?;
        let begun = Instant::now();
        server.fill(&bench.stop, keys, VALUE)?;
        let took = begun.elapsed();
        let memory = || {
            let bytes = status_bytes(&server.pid().to_string(), "RssAnon");
            bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e6)
        };
        let loaded = memory();
        bench.stop.sleep(idle)?;
        let settled = memory();
        server.stop()?;
        Ok([settled, loaded, keys as f64 / took.as_secs_f64()])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("{keys} puts by 64 gRPC callers, then {idle:?} without requests, longer than a checkpoint's interval"),
    ))
}
