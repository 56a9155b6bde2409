//! Memory is given back in the system's pages, whatever their size, and takes nothing along.

use super::*;

const SYSTEM_PAGES: [usize; 4] = [4 << 10, 8 << 10, 16 << 10, 64 << 10];

#[test]
fn only_whole_pages_of_the_system_and_all_of_them() {
    for system in SYSTEM_PAGES {
        for (first, end) in (0..40).flat_map(|first| (first..80).map(move |end| (first, end))) {
            let bytes = first * PAGE_BYTES..end * PAGE_BYTES;
            let whole = whole_pages(bytes.clone(), system);
            let inside = |at: usize| bytes.start <= at && at + system <= bytes.end;
            let expected: Vec<_> = (0..80 * PAGE_BYTES).step_by(system).filter(|at| inside(*at)).collect();
            assert_eq!(whole.clone().step_by(system).collect::<Vec<_>>(), expected, "{bytes:?} of {system}");
            assert!(whole.len().is_multiple_of(system) && whole.start.is_multiple_of(system));
        }
    }
}

/// Slots that a page of the system shares with one in use keep what is in them; the others are given back.
#[test]
fn neighbors_of_what_is_given_back_stay() {
    for system in SYSTEM_PAGES.into_iter().filter(|page| page.is_multiple_of(rustix::param::page_size())) {
        let map = MmapRaw::from(MmapOptions::new().len(1 << 20).map_anon().unwrap());
        let arena = Arc::new(Arena { map, system_page: system });
        let mut writer = ArenaWriter { arena: Arc::clone(&arena), births: Vec::new(), epoch: 1 };
        writer.take(0, 128);
        writer.run_mut(0, 128).fill(7);
        writer.free(5, 100);
        writer.release(5, 100).unwrap();
        let per_page = u32::try_from(system / PAGE_BYTES).unwrap();
        let given = 5u32.next_multiple_of(per_page)..105 / per_page * per_page;
        assert!(given.len() >= 64, "{given:?}");
        for slot in 0..128 {
            let page = arena.page(slot);
            if given.contains(&slot) {
                assert!(page.iter().all(|byte| *byte == 0), "slot {slot} of pages of {system}");
            } else {
                assert!(page.iter().all(|byte| *byte != 0), "slot {slot} of pages of {system}");
            }
            assert!((5..105).contains(&slot) || page.iter().all(|byte| *byte == 7));
        }
    }
}
