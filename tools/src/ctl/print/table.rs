//! `-w table`: boxes, for what has one row each: members and endpoints.

use super::super::exit::Exit;
use super::{Answer, Format, cells};
use crate::cli::table::draw;

pub(super) fn render(answer: &Answer) -> Result<Vec<u8>, Exit> {
    let (head, rows): (&[&str], Vec<Vec<String>>) = match answer {
        Answer::MemberList(response) => {
            (&cells::MEMBER, response.members.iter().map(cells::member).collect())
        }
        Answer::Health(all) => (&cells::HEALTH, all.iter().map(cells::health).collect()),
        Answer::Status(all) => (&cells::STATUS, all.iter().map(|(e, s)| cells::status(e, s)).collect()),
        Answer::HashKv(all) => (&cells::HASH_KV, all.iter().map(|(e, h)| cells::hash_kv(e, h)).collect()),
        _ => return Err(Format::Table.unsupported()),
    };
    Ok(draw(head, &rows).into_bytes())
}
