//! Compares: the condition of a transaction.

use std::cmp::Ordering;

use api::etcdserverpb::Compare;
use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use engine::{Contents, Head, Item, KeyRange};

/// Whether all compares hold at the view's own revision, and how many of them were looked at to find out.
pub(crate) fn all_hold(view: Contents<'_>, compares: &[Compare]) -> Result<(bool, usize), engine::Error> {
    for (before, compare) in compares.iter().enumerate() {
        if !holds(view, compare)? {
            return Ok((false, before + 1));
        }
    }
    Ok((true, compares.len()))
}

/// With a range, every key in it must satisfy; an absent key counts as one whose numbers are all 0, but has no
/// value to compare with.
fn holds(view: Contents<'_>, compare: &Compare) -> Result<bool, engine::Error> {
    let at = view.revision();
    if compare.range_end.is_empty() {
        return match view.get(&compare.key, at)? {
            Some(item) => satisfies(&item, compare),
            None => Ok(absent(compare)),
        };
    }
    let range = KeyRange::from_etcd(compare.key.clone(), compare.range_end.clone());
    let mut any = false;
    let mut keys = view.range(&range, at);
    while let Some(item) = keys.try_next()? {
        any = true;
        if !satisfies(&item, compare)? {
            return Ok(false);
        }
    }
    Ok(any || absent(compare))
}

fn absent(compare: &Compare) -> bool {
    compare.target != CompareTarget::Value as i32
        && agrees(number_order(&Head::default(), compare).unwrap_or(Ordering::Equal), compare)
}

fn satisfies(item: &Item<'_, '_>, compare: &Compare) -> Result<bool, engine::Error> {
    let order = if compare.target == CompareTarget::Value as i32 {
        let wanted = match &compare.target_union {
            Some(TargetUnion::Value(value)) => &value[..],
            _ => &[],
        };
        item.value()?.cmp(wanted)
    } else {
        number_order(&item.head, compare).unwrap_or(Ordering::Equal)
    };
    Ok(agrees(order, compare))
}

/// How a key's number stands to the one given. A number given for another target counts as none, which is 0; an
/// unknown target compares equal.
fn number_order(head: &Head, compare: &Compare) -> Option<Ordering> {
    let (number, wanted) = match CompareTarget::try_from(compare.target).ok()? {
        CompareTarget::Version => (
            head.version,
            match compare.target_union {
                Some(TargetUnion::Version(wanted)) => wanted,
                _ => 0,
            },
        ),
        CompareTarget::Create => (
            head.create,
            match compare.target_union {
                Some(TargetUnion::CreateRevision(wanted)) => wanted,
                _ => 0,
            },
        ),
        CompareTarget::Mod => (
            head.modified,
            match compare.target_union {
                Some(TargetUnion::ModRevision(wanted)) => wanted,
                _ => 0,
            },
        ),
        CompareTarget::Lease => (
            head.lease,
            match compare.target_union {
                Some(TargetUnion::Lease(wanted)) => wanted,
                _ => 0,
            },
        ),
        CompareTarget::Value => return None,
    };
    Some(number.cmp(&wanted))
}

/// An unknown relation always holds.
fn agrees(order: Ordering, compare: &Compare) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}
