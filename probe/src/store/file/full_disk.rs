//! A disk that is really full.

use super::tests::open;
use super::*;
use crate::audit::verify;
use crate::store::testing::{boot, fact, now, state_of};
use crate::testing::disk::SmallDisk;

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.path().join("state");
    let (mut store, _) = open(&dir);
    let mut kept = vec![fact("first", 1.into())];
    store.append(&kept, now(1), &boot(1)).unwrap();
    store.checkpoint(&state_of(&kept), now(1), &boot(1)).unwrap();

    let big = |n: usize| fact(&format!("big-{n}"), "x".repeat(9000).into());
    let error = loop {
        let event = big(kept.len());
        match store.append(std::slice::from_ref(&event), now(2), &boot(2)) {
            Ok(()) => kept.push(event),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("No space left on device"), "{error}");
    let filler = disk.fill();
    let head = store.head();
    assert_eq!(head.seq, u64::try_from(kept.len()).unwrap());
    for _ in 0..3 {
        store.append(&[fact("small", 1.into())], now(3), &boot(3)).unwrap_err();
        store.checkpoint(&state_of(&kept), now(3), &boot(3)).unwrap_err();
        assert_eq!((store.head(), verify_dir(&dir).unwrap()), (head.clone(), head.clone()));
    }
    drop(store);
    let (mut store, loaded) = open(&dir);
    assert_eq!(loaded.unwrap().state.durable, state_of(&kept).durable, "a full disk can still be read");
    store.append(&[fact("small", 1.into())], now(4), &boot(4)).unwrap_err();

    fs::remove_file(filler).unwrap();
    let event = fact("small", 1.into());
    store.append(std::slice::from_ref(&event), now(5), &boot(5)).unwrap();
    kept.push(event);
    assert_eq!(verify(&Head::genesis(), &store.audit(0, 1000).unwrap().frames), Ok(store.head()));
    drop(store);
    assert_eq!(open(&dir).1.unwrap().state.durable, state_of(&kept).durable);
}
