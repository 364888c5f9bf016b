mod rotation;

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::audit::verify;
use crate::kubernetes::objects::Object;
use crate::store::Loaded;
use crate::store::testing::{boot, fact, now, state_of, story};

/// Objects in memory, whose answers can be lost or come late. Clones share them.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Object>,
    sealed: Vec<String>,
    counter: u64,
    /// What becomes of the next writes.
    fates: Vec<Fate>,
    /// Writes that are still on their way.
    late: Vec<(String, Option<String>, BTreeMap<String, String>)>,
    /// Nothing may be deleted.
    keeps: bool,
    /// Segments that the next ones who open it keep.
    most: Option<usize>,
}

#[derive(Clone, Copy)]
enum Fate {
    /// It is done, and the answer arrives.
    Fine,
    /// It is done and the answer is lost.
    Unheard,
    /// It is never done.
    Lost,
    /// It is done after something else.
    Late,
    /// It is refused.
    OverQuota,
}

impl Inner {
    fn write(&mut self, name: &str, version: Option<&str>, data: &BTreeMap<String, String>) -> Result<String, ObjectError> {
        match (self.objects.get(name), version) {
            (Some(_), None) => return Err(ObjectError::Exists),
            (None, Some(_)) => return Err(ObjectError::Absent),
            (Some(found), Some(version)) if found.version != version => return Err(ObjectError::Conflict),
            _ => {}
        }
        assert!(!self.sealed.iter().any(|sealed| sealed == name), "{name} is sealed");
        self.counter += 1;
        let version = self.counter.to_string();
        self.objects.insert(name.to_owned(), Object { version: version.clone(), data: data.clone() });
        Ok(version)
    }

    fn try_write(&mut self, name: &str, version: Option<&str>, data: &BTreeMap<String, String>) -> Result<String, ObjectError> {
        let silence = Err(ObjectError::Other("no answer".to_owned()));
        match self.fates.pop() {
            None | Some(Fate::Fine) => self.write(name, version, data),
            Some(Fate::Unheard) => self.write(name, version, data).and(silence),
            Some(Fate::Lost) => silence,
            Some(Fate::Late) => {
                self.late.push((name.to_owned(), version.map(str::to_owned), data.clone()));
                silence
            }
            Some(Fate::OverQuota) => Err(ObjectError::Other("exceeded quota: objects".to_owned())),
        }
    }
}

impl Objects for Shelf {
    fn get(&self, name: &str) -> Result<Option<Object>, ObjectError> {
        Ok(self.0.lock().objects.get(name).cloned())
    }

    fn create(&self, name: &str, data: &BTreeMap<String, String>, sealed: bool) -> Result<String, ObjectError> {
        let mut inner = self.0.lock();
        let version = inner.try_write(name, None, data)?;
        if sealed {
            inner.sealed.push(name.to_owned());
        }
        Ok(version)
    }

    fn replace(&self, name: &str, version: &str, data: &BTreeMap<String, String>) -> Result<String, ObjectError> {
        self.0.lock().try_write(name, Some(version), data)
    }

    fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let mut inner = self.0.lock();
        if inner.keeps {
            return Err(ObjectError::Other("cannot delete resource \"configmaps\"".to_owned()));
        }
        inner.objects.remove(name).map(|_| ()).ok_or(ObjectError::Absent)
    }

    fn list(&self) -> Result<Vec<String>, ObjectError> {
        Ok(self.0.lock().objects.keys().cloned().collect())
    }

    fn place(&self, name: &str) -> String {
        format!("configmap ns/{name}")
    }

    fn label(&self) -> String {
        "phasegate.dev/ledger=it".to_owned()
    }
}

impl Shelf {
    fn open(&self, term: u64) -> (KubernetesStore, Option<Loaded>) {
        self.try_open(term).unwrap()
    }

    fn try_open(&self, term: u64) -> Result<(KubernetesStore, Option<Loaded>), StoreError> {
        KubernetesStore::open(Box::new(self.clone()), "it", Tenure::endless(term), self.trail())
    }

    fn refusal(&self, term: u64) -> String {
        self.try_open(term).map(|_| ()).expect_err("must be refused").to_string()
    }

    fn trail(&self) -> Trail {
        Trail(self.0.lock().most.unwrap_or(128))
    }

    fn fates(&self, fates: &[Fate]) {
        self.0.lock().fates = fates.iter().rev().copied().collect();
    }

    /// Writes that were on their way arrive.
    fn arrive(&self) -> usize {
        let mut inner = self.0.lock();
        let late = std::mem::take(&mut inner.late);
        late.iter().filter(|(name, version, data)| inner.write(name, version.as_deref(), data).is_ok()).count()
    }

    fn edit(&self, name: &str, key: &str, edit: impl FnOnce(&str) -> String) {
        let mut inner = self.0.lock();
        inner.counter += 1;
        let version = inner.counter.to_string();
        let object = inner.objects.get_mut(name).unwrap();
        object.version = version;
        let text = edit(&object.data[key]);
        object.data.insert(key.to_owned(), text);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().objects.keys().cloned().collect()
    }
}

fn append(store: &mut KubernetesStore, at: u64, event: &Event) -> Result<(), StoreError> {
    store.append(std::slice::from_ref(event), now(at), &boot(at))
}

fn whole(store: &KubernetesStore) -> Vec<Frame> {
    let (mut frames, mut next) = (Vec::new(), Some(1));
    while let Some(from) = next {
        let page = store.audit(from, 7).unwrap();
        frames.extend(page.frames);
        next = page.next;
    }
    frames
}

/// So many events that they take several objects.
fn many() -> Vec<Event> {
    let mut events = story(11);
    events.extend((0..60).map(|n| fact(&format!("large-{n}"), "x".repeat(10_000).into())));
    events
}

#[test]
fn what_was_written_is_loaded_with_and_without_checkpoint() {
    let events = many();
    for checkpoint_after in [0, 1, 7, 40, events.len()] {
        let shelf = Shelf::default();
        let (mut store, loaded) = shelf.open(1);
        assert!(loaded.is_none());
        for (at, event) in (1..).zip(&events) {
            append(&mut store, at, event).unwrap();
            if store.head().seq == u64::try_from(checkpoint_after).unwrap() {
                store.checkpoint(&state_of(&events[..checkpoint_after]), now(at), &boot(at)).unwrap();
            }
        }
        let (again, loaded) = shelf.open(2);
        let loaded = loaded.unwrap();
        assert_eq!(loaded.state.durable, state_of(&events).durable, "checkpoint after {checkpoint_after}");
        assert_eq!(loaded.resume, Resume::new(now(71), &boot(71)));
        let frames = whole(&again);
        assert_eq!(verify(&Head::genesis(), &frames), Ok(again.head()));
        assert_eq!((frames.len(), again.head()), (events.len(), store.head()));
        assert!(again.book.segments.len() >= 3, "{:?}", again.book.segments);
    }
}

#[test]
fn a_large_checkpoint_is_cut_and_the_one_that_counts_stays_whole() {
    let shelf = Shelf::default();
    let (mut store, _) = shelf.open(1);
    let mut state = state_of(&story(11));
    for event in story(11) {
        append(&mut store, 1, &event).unwrap();
    }
    let memory = |size: usize| Arc::from(vec![7_u8; size]);
    state.soft.memories.insert("large".into(), memory(700_000));
    store.checkpoint(&state, now(2), &boot(2)).unwrap();
    assert!(shelf.names().contains(&"it-checkpoint-a-1".to_owned()), "{:?}", shelf.names());
    let mut later = state.clone();
    later.soft.memories.insert("large".into(), memory(100));
    // The second chunk fails, so that the slot holds neither.
    for fates in [&[Fate::Lost][..], &[Fate::Unheard], &[Fate::OverQuota]] {
        shelf.fates(fates);
        store.checkpoint(&later, now(3), &boot(3)).unwrap_err();
        assert_eq!(shelf.open(1).1.unwrap().state.soft, state.soft);
        (store, _) = shelf.open(1);
    }
    store.checkpoint(&later, now(4), &boot(4)).unwrap();
    assert_eq!(shelf.open(2).1.unwrap().state.soft, later.soft);
}

#[test]
fn a_checkpoint_that_arrives_late_does_not_name_what_was_written_over() {
    let shelf = Shelf::default();
    let (mut store, _) = shelf.open(1);
    append(&mut store, 1, &fact("first", 1.into())).unwrap();
    let state = |size: usize| {
        let mut state = state_of(&[fact("first", 1.into())]);
        state.soft.memories.insert("p".into(), Arc::from(vec![7_u8; size]));
        state
    };
    shelf.fates(&[Fate::Fine, Fate::Late]);
    store.checkpoint(&state(1), now(2), &boot(2)).unwrap_err();
    // Its slot is written again, and the writer is gone before anybody has named it.
    shelf.fates(&[Fate::Fine, Fate::Fine, Fate::Lost]);
    store.checkpoint(&state(2), now(3), &boot(3)).unwrap_err();
    assert_eq!(shelf.arrive(), 0);
    assert!(shelf.open(2).1.unwrap().state.durable.facts.contains_key("first"));
}

#[test]
fn an_append_of_which_the_fate_is_not_known_has_not_happened() {
    for fate in [Fate::Unheard, Fate::Lost, Fate::Late, Fate::OverQuota] {
        let shelf = Shelf::default();
        let (mut store, _) = shelf.open(1);
        append(&mut store, 1, &fact("first", 1.into())).unwrap();
        let head = store.head();
        shelf.fates(&[fate]);
        append(&mut store, 2, &fact("never", 2.into())).unwrap_err();
        assert_eq!(store.head(), head);
        // Also when it arrives only after the next attempt has looked where it stands.
        shelf.fates(&[Fate::Lost]);
        append(&mut store, 3, &fact("nor", 3.into())).unwrap_err();
        shelf.arrive();
        append(&mut store, 4, &fact("second", 4.into())).unwrap();
        shelf.arrive();
        append(&mut store, 5, &fact("third", 5.into())).unwrap();
        let facts: Vec<String> = shelf.open(2).1.unwrap().state.durable.facts.into_keys().collect();
        assert_eq!(facts, ["first", "second", "third"]);
        assert_eq!(verify(&Head::genesis(), &whole(&store)), Ok(store.head()));
    }
}

#[test]
fn whoever_was_taken_over_writes_nothing_more() {
    let shelf = Shelf::default();
    let (mut old, _) = shelf.open(1);
    let first = fact("first", 1.into());
    append(&mut old, 1, &first).unwrap();
    old.checkpoint(&state_of(&[first]), now(1), &boot(1)).unwrap();
    shelf.fates(&[Fate::Late]);
    append(&mut old, 2, &fact("late", 2.into())).unwrap_err();
    let kept = shelf.open(2).0.head();
    assert_eq!(shelf.arrive(), 0, "what was on its way does not fit any more");
    for _ in 0..3 {
        let error = append(&mut old, 3, &fact("old", 3.into())).unwrap_err();
        assert!(matches!(&error, StoreError::Fenced { holder, .. } if holder == "holder-2"), "{error}");
        old.checkpoint(&state_of(&[]), now(3), &boot(3)).unwrap_err();
    }
    let (mut new, _) = shelf.open(2);
    assert_eq!(new.head(), kept);
    append(&mut new, 4, &fact("new", 4.into())).unwrap();
    assert_eq!(shelf.open(3).1.unwrap().state.durable.facts.len(), 2);
}

#[test]
fn without_the_lease_nothing_is_sent() {
    let shelf = Shelf::default();
    let (mut store, _) = shelf.open(1);
    let before = shelf.0.lock().counter;
    store.tenure.end();
    assert!(matches!(store.standing(), Err(StoreError::Lapsed(_))));
    append(&mut store, 1, &fact("first", 1.into())).unwrap_err();
    store.checkpoint(&state_of(&[]), now(1), &boot(1)).unwrap_err();
    assert_eq!(shelf.0.lock().counter, before);
}

#[test]
fn a_hand_in_it_is_said_and_nothing_is_overwritten() {
    let with_book = || {
        let shelf = Shelf::default();
        let (mut store, _) = shelf.open(1);
        append(&mut store, 1, &fact("first", 1.into())).unwrap();
        (shelf, store)
    };
    // An annotation: another version of the same texts.
    let (shelf, mut store) = with_book();
    shelf.edit("it-ledger", "events", str::to_owned);
    append(&mut store, 2, &fact("second", 2.into())).unwrap();

    let (shelf, mut store) = with_book();
    shelf.edit("it-ledger", "events", |text| text.replace("first", "worst"));
    let said = append(&mut store, 2, &fact("second", 2.into())).unwrap_err().to_string();
    assert!(
        said.contains("configmap ns/it-ledger was changed by somebody else") && said.contains("phasegate.dev/ledger=it"),
        "{said}"
    );
    assert!(shelf.0.lock().objects["it-ledger"].data["events"].contains("worst"));
    assert!(shelf.refusal(2).contains("configmap ns/it-ledger, line 1"), "{}", shelf.refusal(2));

    let (shelf, mut store) = with_book();
    shelf.delete("it-ledger").unwrap();
    let said = append(&mut store, 2, &fact("second", 2.into())).unwrap_err().to_string();
    assert!(said.contains("was deleted by somebody else"), "{said}");
    assert!(shelf.names().is_empty(), "it does not come back by itself");
}

#[test]
fn damage_is_refused_at_the_start() {
    let written = || {
        let shelf = Shelf::default();
        let (mut store, _) = shelf.open(1);
        for (at, event) in (1..).zip(&many()) {
            append(&mut store, at, event).unwrap();
        }
        store.checkpoint(&state_of(&many()), now(99), &boot(99)).unwrap();
        (shelf, store.book.segments[1].clone())
    };
    let (shelf, segment) = written();
    shelf.edit(&segment, TEXT, |text| text.replacen("xx", "xy", 1));
    assert!(shelf.refusal(2).contains("its hash does not match"), "{}", shelf.refusal(2));
    let (shelf, segment) = written();
    shelf.delete(&segment).unwrap();
    assert!(shelf.refusal(2).contains("it is missing, although the ledger names it"), "{}", shelf.refusal(2));
    let (shelf, _) = written();
    shelf.edit("it-ledger", "events", |text| text.lines().next().unwrap().to_owned() + "\n");
    assert!(shelf.refusal(2).contains("events are missing"), "{}", shelf.refusal(2));
    let (shelf, _) = written();
    shelf.edit("it-ledger", "ledger", |text| text.replace("holder-1", "holder-9"));
    assert!(shelf.refusal(2).contains("its checksum does not match"), "{}", shelf.refusal(2));
    let (shelf, _) = written();
    shelf.edit("it-ledger", "ledger", |text| text.replace("\"schema\":1", "\"schema\":3"));
    assert!(shelf.refusal(2).contains("newer phasegate"), "{}", shelf.refusal(2));
    let (shelf, _) = written();
    shelf.edit("it-ledger", "ledger", |text| text.replace("\"schema\":1", "\"schema\":2"));
    assert!(shelf.refusal(2).contains("not the form that phasegate writes"), "{}", shelf.refusal(2));
    let (shelf, _) = written();
    shelf.edit("it-checkpoint-a-0", TEXT, |text| text.replacen("large-1", "large-0", 1));
    assert!(shelf.refusal(2).contains("the checkpoint of configmap ns/it-ledger"), "{}", shelf.refusal(2));
    let (shelf, _) = written();
    shelf.delete("it-ledger").unwrap();
    assert!(shelf.refusal(2).contains("it is missing, although there is"), "{}", shelf.refusal(2));
}

#[test]
fn what_nobody_acknowledged_is_swept_away() {
    let shelf = Shelf::default();
    let (mut store, _) = shelf.open(1);
    for (at, event) in (1..).zip(&many()) {
        append(&mut store, at, event).unwrap();
    }
    let kept = store.book.segments.clone();
    shelf.create("it-events-0000000099-0", &BTreeMap::new(), true).unwrap();
    shelf.create("other-events-0000000001-0", &BTreeMap::new(), true).unwrap();
    let (again, _) = shelf.open(2);
    let left: Vec<String> = shelf.names().into_iter().filter(|name| name.contains("-events-")).collect();
    assert_eq!(left, [kept, vec!["other-events-0000000001-0".to_owned()]].concat());
    assert_eq!(again.book.segments, store.book.segments);
}
