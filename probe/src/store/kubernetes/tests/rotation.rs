//! The trail is bounded, whatever happens on the way.

use super::*;

/// Segments that are kept.
const MOST: usize = 2;

/// A ledger that has not been shortened yet, and what happened in it.
struct Long {
    shelf: Shelf,
    store: KubernetesStore,
    events: Vec<Event>,
}

/// Much happens, and little of it stays.
fn much() -> Vec<Event> {
    let mut events = story(11);
    for id in 1..60 {
        let Some(Event::OverrideCreated { probe, stamp, until, .. }) = story(5).pop() else { panic!("it is the fifth") };
        let reason = format!("{id}: {}", "x".repeat(12_000));
        events.push(Event::OverrideCreated { id, probe, stamp: stamp.clone(), reason, ticket: None, until });
        events.push(Event::OverrideEnded { id, stamp });
    }
    events
}

impl Long {
    fn new() -> Self {
        let shelf = Shelf::default();
        shelf.0.lock().most = Some(MOST);
        let (mut store, _) = shelf.open(1);
        let events = much();
        for (at, event) in (1..).zip(&events) {
            append(&mut store, at, event).unwrap();
        }
        assert!(store.book.segments.len() > MOST + 1, "{:?}", store.book.segments);
        Self { shelf, store, events }
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.store.checkpoint(&state_of(&self.events), now(900), &boot(900))
    }

    fn append(&mut self, event: Event) {
        append(&mut self.store, 901, &event).unwrap();
        self.events.push(event);
    }

    /// The segments that are there, whoever names them.
    fn there(&self) -> Vec<String> {
        self.shelf.names().into_iter().filter(|name| name.contains("-events-")).collect()
    }
}

/// Whether this ledger holds everything of these events, and the frames from its anchor on.
fn is_whole(store: &KubernetesStore, loaded: Option<Loaded>, events: &[Event]) {
    assert_eq!(loaded.unwrap().state.durable, state_of(events).durable);
    let start = store.anchor().unwrap_or_else(Head::genesis);
    let mut told = store.base().unwrap().unwrap_or_default();
    assert_eq!(told.past.head, start);
    let (mut frames, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let page = store.audit(from, 7).unwrap();
        assert_eq!(page.anchor, store.anchor());
        frames.extend(page.frames);
        next = page.next;
    }
    assert_eq!(verify(&start, &frames), Ok(store.head()));
    assert_eq!(store.head().seq, u64::try_from(events.len()).unwrap());
    for frame in &frames {
        told.take(frame).unwrap();
    }
    assert_eq!(told.past.state.durable, state_of(events).durable, "looking back leads to the same end");
    assert_eq!(told.exceptions.len(), 60, "and nothing of the checklist is missing");
}

#[test]
fn the_oldest_segments_go_with_a_checkpoint() {
    let mut long = Long::new();
    let before = long.there();
    assert!(before.len() <= MOST + trail::AT_ONCE, "{before:?}");
    long.checkpoint().unwrap();
    let kept = long.store.book.segments.clone();
    assert_eq!((kept.len(), &kept[..]), (MOST, &before[before.len() - MOST..]));
    assert_eq!(long.there(), kept, "what is not named is deleted");
    let anchor = long.store.anchor().unwrap();
    assert_eq!(anchor.seq + 1, book::first_of(&kept[0]));
    for from in [1, anchor.seq] {
        assert!(matches!(long.store.audit(from, 10), Err(StoreError::Dropped(said)) if said == anchor), "{from}");
    }
    for from in [0, anchor.seq + 1] {
        assert_eq!(long.store.audit(from, 1).unwrap().frames[0].seq, anchor.seq + 1);
    }
    let (again, loaded) = long.shelf.open(2);
    is_whole(&again, loaded, &long.events);
    // What begins anew goes on from there, and is shortened again.
    long.store = again;
    for round in 0..40 {
        long.append(fact(&format!("more-{round}"), "y".repeat(12_000).into()));
        long.checkpoint().unwrap();
        assert!(long.there().len() <= MOST + 1);
    }
    assert!(long.store.anchor().unwrap().seq > anchor.seq);
    let (again, loaded) = long.shelf.open(3);
    is_whole(&again, loaded, &long.events);
}

#[test]
fn a_long_trail_is_shortened_in_portions() {
    let mut long = Long::new();
    for round in 0..200 {
        long.append(fact(&format!("more-{round}"), "y".repeat(12_000).into()));
    }
    let before = long.there().len();
    assert!(before > MOST + 2 * trail::AT_ONCE, "{before}");
    long.checkpoint().unwrap();
    assert_eq!(long.there().len(), before - trail::AT_ONCE);
    for _ in 0..before / trail::AT_ONCE {
        long.checkpoint().unwrap();
    }
    assert_eq!(long.there().len(), MOST);
}

#[test]
fn without_a_checkpoint_that_includes_it_nothing_is_removed() {
    let mut long = Long::new();
    let before = long.store.book.segments.clone();
    let second = book::first_of(&before[1]);
    for included in [0, 5, second - 2] {
        long.store.rotate(included).unwrap();
        assert_eq!(long.store.book.segments, before, "a checkpoint up to {included}");
    }
    long.store.rotate(second - 1).unwrap();
    assert_eq!(long.store.book.segments, before[1..], "the first one, and no other");
    // That there was no checkpoint at all would be seen.
    assert!(long.shelf.refusal(2).contains("its checkpoint ends with event 0"), "{}", long.shelf.refusal(2));
}

/// What is written with a checkpoint that shortens the trail for the first time: its chunk, the book, the base, the book.
const BASE: [Fate; 2] = [Fate::Fine; 2];
const SWAP: [Fate; 3] = [Fate::Fine; 3];
/// For the second time the base has two chunks.
const SECOND_BASE: [Fate; 3] = [Fate::Fine; 3];
const SECOND_SWAP: [Fate; 4] = [Fate::Fine; 4];

/// It fails so at this write, and then the verifier is killed or goes on.
fn fails(mut long: Long, before: &[Fate], fate: Fate, crash: bool) {
    let (named, anchor) = (long.there(), long.store.anchor());
    long.shelf.fates(&[before, &[fate]].concat());
    long.checkpoint().expect("the checkpoint itself is written");
    assert_eq!(long.there(), named, "nothing is deleted that an acknowledged book names");
    assert_eq!(long.store.anchor(), anchor);
    if crash {
        let (again, loaded) = long.shelf.open(2);
        assert_eq!(long.there(), again.book.segments, "nothing is left that nobody names");
        is_whole(&again, loaded, &long.events);
        let arrived = long.shelf.arrive();
        let swap = if anchor.is_none() { SWAP.len() } else { SECOND_SWAP.len() };
        assert!(arrived == 0 || before.len() != swap, "a book that was on its way does not fit any more");
        long.store = again;
    }
    long.append(fact("later", 1.into()));
    long.shelf.arrive();
    long.append(fact("and later", 2.into()));
    long.checkpoint().unwrap();
    assert_eq!(long.there(), long.store.book.segments);
    assert_eq!(long.store.book.segments.len(), MOST);
    let (again, loaded) = long.shelf.open(3);
    is_whole(&again, loaded, &long.events);
}

#[test]
fn whatever_fails_on_the_way_the_ledger_is_written_and_whole() {
    for fate in [Fate::Unheard, Fate::Lost, Fate::Late, Fate::OverQuota] {
        for crash in [true, false] {
            for before in [&BASE[..], &SWAP] {
                fails(Long::new(), before, fate, crash);
            }
            for before in [&SECOND_BASE[..], &SECOND_SWAP] {
                let mut long = Long::new();
                long.checkpoint().unwrap();
                for round in 0..30 {
                    long.append(fact(&format!("more-{round}"), "y".repeat(12_000).into()));
                }
                fails(long, before, fate, crash);
            }
        }
    }
}

#[test]
fn what_a_crash_before_the_deletion_leaves_is_swept_away() {
    let mut long = Long::new();
    long.shelf.0.lock().keeps = true;
    long.checkpoint().unwrap();
    assert!(long.there().len() > MOST, "they could not be deleted");
    assert_eq!(long.store.book.segments.len(), MOST, "and are not named");
    long.shelf.0.lock().keeps = false;
    let (again, loaded) = long.shelf.open(2);
    assert_eq!(long.there(), again.book.segments);
    is_whole(&again, loaded, &long.events);
}

#[test]
fn a_deletion_that_is_refused_is_made_up_for() {
    let mut long = Long::new();
    long.shelf.0.lock().keeps = true;
    long.checkpoint().unwrap();
    long.checkpoint().unwrap();
    assert!(long.there().len() > MOST);
    long.shelf.0.lock().keeps = false;
    // Somebody was faster with one of them.
    long.shelf.delete(&long.there()[0]).unwrap();
    long.checkpoint().unwrap();
    assert_eq!(long.there(), long.store.book.segments);
}

#[test]
fn whoever_was_taken_over_deletes_nothing() {
    for before in [&BASE[..], &SWAP] {
        let mut long = Long::new();
        long.shelf.fates(&[before, &[Fate::Late]].concat());
        long.checkpoint().unwrap();
        let (new, _) = long.shelf.open(2);
        let named = new.book.segments.clone();
        long.shelf.arrive();
        assert!(matches!(long.checkpoint(), Err(StoreError::Fenced { .. })));
        long.store.rotate(long.store.head().seq).unwrap_err();
        long.store.delete_leftovers();
        assert_eq!(long.there(), named, "all that the new one names is there");
    }
    // Frozen between the swap and the deletion, without the right to write when it thaws.
    let mut long = Long::new();
    long.shelf.0.lock().keeps = true;
    long.checkpoint().unwrap();
    long.shelf.0.lock().keeps = false;
    let left = long.there();
    long.store.tenure.end();
    long.store.delete_leftovers();
    assert_eq!(long.there(), left);
}

#[test]
fn the_new_one_shortens_what_the_old_one_had_begun() {
    let mut long = Long::new();
    long.shelf.fates(&[&SWAP[..], &[Fate::Late]].concat());
    long.checkpoint().unwrap();
    let (new, loaded) = long.shelf.open(2);
    let state = loaded.unwrap().state;
    let mut old = std::mem::replace(&mut long.store, new);
    long.store.checkpoint(&state, now(902), &boot(902)).unwrap();
    let base = long.shelf.0.lock().objects["it-base-a-0"].clone();
    // The old one wakes up where it was to write its base.
    old.rotate(old.head().seq).unwrap_err();
    assert_eq!(long.shelf.0.lock().objects["it-base-a-0"], base);
    let (again, loaded) = long.shelf.open(3);
    is_whole(&again, loaded, &long.events);
}

#[test]
fn a_shortened_ledger_that_does_not_verify_is_refused() {
    let shortened = || {
        let mut long = Long::new();
        long.checkpoint().unwrap();
        long
    };
    let long = shortened();
    long.shelf.delete(&long.store.book.segments[0]).unwrap();
    assert!(long.shelf.refusal(2).contains("it is missing, although the ledger names it"), "{}", long.shelf.refusal(2));
    let long = shortened();
    long.shelf.delete("it-base-a-0").unwrap();
    assert!(long.shelf.refusal(2).contains("it is missing, although the ledger names it"), "{}", long.shelf.refusal(2));
    let long = shortened();
    long.shelf.edit("it-base-a-0", TEXT, |text| text.replacen("disk", "dusk", 1));
    let said = long.shelf.refusal(2);
    assert!(said.contains("what is left of the earliest events of configmap ns/it-ledger: it was changed"), "{said}");
    let mut long = shortened();
    long.store.book.base.as_mut().unwrap().anchor.hash = "0".repeat(64);
    let texts = long.store.book.texts().unwrap();
    long.shelf.edit("it-ledger", "ledger", |_| texts["ledger"].clone());
    assert!(long.shelf.refusal(2).contains("it does not end with event"), "{}", long.shelf.refusal(2));
    // One that knows of no base must not call it damaged.
    let long = shortened();
    let text = long.shelf.0.lock().objects["it-ledger"].data["ledger"].clone();
    let said = sealed::open::<serde_json::Value>(std::path::Path::new("it"), text.as_bytes()).unwrap_err().to_string();
    assert!(said.contains("newer phasegate (schema 2), this one knows 1"), "{said}");
}

#[test]
fn a_ledger_of_before_is_the_same_text() {
    let mut long = Long::new();
    long.store.trail = Trail(100);
    long.checkpoint().unwrap();
    let text = long.shelf.0.lock().objects["it-ledger"].data["ledger"].clone();
    assert!(text.starts_with("{\"schema\":1,") && !text.contains("base"), "{text}");
    let (again, loaded) = long.shelf.open(2);
    is_whole(&again, loaded, &long.events);
}
