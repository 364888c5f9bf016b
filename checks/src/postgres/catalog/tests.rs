use std::path::PathBuf;

use serde_json::json;

use super::ask::Question;
use super::compare::{Facts, Kind, Marks, Sight, Thing, compare, differing};
use super::questions::Side;
use super::scan::{Found, Walk};
use super::sides::granted;
use super::*;
use crate::outcome::{MAX_EVIDENCE, MAX_MEMORY};
use crate::postgres::NO_PERMISSION;
use crate::testing::{Manner, Server, check, context, hasty, part, report_of};

fn thing<const N: usize>(facts: [(&str, &str); N]) -> Thing {
    let facts: Facts = facts.into_iter().map(|(aspect, value)| (aspect.to_owned(), value.to_owned())).collect();
    Thing { harm: false, facts }
}

#[test]
fn each_aspect_differs_in_its_own_manner() {
    let changed = |words: &str| Sight::Changed(words.to_owned());
    let noted = |words: &str| Sight::Same(Some(words.to_owned()));
    let newer = "version, or a newer one";
    for (old, new, sight) in [
        (thing([("type", "a")]), thing([("type", "a")]), Sight::Same(None)),
        (thing([("type", "a")]), thing([("type", "b")]), changed("type a → b")),
        (thing([("default", "0")]), thing([]), changed("default 0 → none")),
        (thing([]), thing([("valid", "no")]), changed("valid none → no")),
        (thing([("value", "UTF8")]), thing([("value", "LATIN1")]), changed("UTF8 → LATIN1")),
        (thing([("body", "#1")]), thing([("body", "#2")]), changed("body differs")),
        (thing([("text", "#1")]), thing([]), changed("text is gone")),
        (thing([]), thing([("options", "#1")]), changed("options added")),
        (thing([("value", "#1")]), thing([("value", "9MB")]), changed("value differs")),
        (thing([("a", "1"), ("b", "2")]), thing([("b", "3"), ("c", "4")]), changed("a 1 → none; b 2 → 3; c none → 4")),
        (thing([(newer, "1.9")]), thing([(newer, "1.10")]), noted("version 1.9 → 1.10")),
        (thing([(newer, "1.10")]), thing([(newer, "1.9")]), changed("version 1.10 → 1.9")),
        (thing([(newer, "1.0")]), thing([(newer, "dev")]), changed("version 1.0 → dev")),
        (thing([(newer, "1.0")]), thing([]), changed("version 1.0 → none")),
        (thing([("number, or more", "2")]), thing([("number, or more", "3")]), noted("number 2 → 3")),
        (thing([("number, or more", "2")]), thing([("number, or more", "1")]), changed("number 2 → 1")),
        (thing([]), thing([("noted version", "1 recorded, 2 in use")]), noted("version 1 recorded, 2 in use")),
        (thing([("noted version", "x")]), thing([]), Sight::Same(None)),
    ] {
        assert_eq!(compare(Some(&old), Some(&new)), sight, "{old:?} {new:?}");
    }
    let harmful = Thing { harm: true, ..thing([]) };
    assert_eq!(compare(None, None), Sight::Same(None));
    assert_eq!(compare(Some(&harmful), None), Sight::Missing);
    assert_eq!(compare(None, Some(&harmful)), Sight::Extra(true));
    assert_eq!(compare(None, Some(&thing([]))), Sight::Extra(false));
}

fn marks<const N: usize>(marks: [(&str, &str, bool); N]) -> Marks {
    marks.into_iter().map(|(name, mark, harm)| (name.to_owned(), (mark.to_owned(), harm))).collect()
}

#[test]
fn what_is_missing_changed_and_extra_is_told_by_digests() {
    let old = marks([("a", "1", true), ("b", "1", false), ("c", "1", false)]);
    let new = marks([("b", "1", true), ("c", "2", false), ("d", "1", false), ("e", "1", true)]);
    let found = differing(&old, &new);
    let found: Vec<(Kind, &str)> = found.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    assert_eq!(found, [(Kind::Missing, "a"), (Kind::Changed, "c"), (Kind::Extra, "d"), (Kind::Harmful, "e")]);
}

fn many(kind: Kind, count: usize) -> Vec<(Kind, String)> {
    (0..count).map(|n| (kind, format!("{kind:?} {n}"))).collect()
}

#[test]
fn what_differs_is_counted_in_full_and_some_of_each_kind_is_named() {
    let mut walk = Walk::default();
    walk.add(many(Kind::Extra, 10_000));
    walk.add(many(Kind::Harmful, 1));
    walk.add(many(Kind::Missing, 3));
    let counts = Counts { missing: 3, extra: 10_001, harmful: 1, ..Counts::default() };
    assert_eq!(walk.counts, counts);
    let again = walk.again();
    assert_eq!(again.len(), 40);
    assert!(["Harmful 0", "Missing 0", "Missing 2"].iter().all(|name| again.contains(*name)), "{again:?}");
    // What was not looked at twice stays counted, though what was looked at is the same by now.
    let found = Found::of(&walk, again.into_iter().map(|name| (name, Sight::Same(None))).collect());
    assert_eq!(found.counts, counts);
    assert_eq!(told::outcome(Part::Roles, &found).reason(), Some(&ROLE_MISSING.into()));
}

#[test]
fn a_second_look_at_all_that_differed_decides() {
    let mut walk = Walk::default();
    walk.add(many(Kind::Missing, 2));
    walk.add(many(Kind::Extra, 2));
    let sights = [Sight::Same(None), Sight::Changed("x".to_owned()), Sight::Extra(false), Sight::Missing];
    let named =
        |sights: Vec<Sight>| sights.into_iter().enumerate().map(|(n, sight)| (format!("t{n}"), sight)).collect::<Vec<_>>();
    let found = Found::of(&walk, named(sights.into()));
    assert_eq!(found.counts, Counts { missing: 1, changed: 1, extra: 1, ..Counts::default() });
    let same = Found::of(&walk, named((0..4).map(|_| Sight::Same(None)).collect()));
    assert_eq!(told::outcome(Part::Rules, &same).label(), "pass");
}

#[test]
fn the_worst_decides_and_what_is_extra_fails_only_if_it_does_harm() {
    let of =
        |counts: Counts, part: Part| told::outcome(part, &Found { counts: Counts { total: 9, ..counts }, ..Found::default() });
    let none = Counts::default();
    for (counts, reason) in [
        (Counts { missing: 1, changed: 1, extra: 1, harmful: 1, ..none }, "missing"),
        (Counts { changed: 1, extra: 1, harmful: 1, ..none }, "differs"),
        (Counts { extra: 2, harmful: 1, ..none }, "extra"),
    ] {
        assert_eq!(of(counts, Part::Columns).reason().unwrap().as_str(), reason);
    }
    assert_eq!(of(Counts { extra: 2, ..none }, Part::Columns).label(), "pass");
    let empty = |part| told::outcome(part, &Found::default());
    assert_eq!(empty(Part::Relations).reason(), Some(&NOTHING.into()));
    assert_eq!(empty(Part::Rules), Outcome::pass("no rules on the old side"));
}

#[test]
fn memory_stays_within_its_bounds() {
    let mut scan = Scan::begin(BTreeMap::from([("old".to_owned(), "1/2".to_owned()), ("new".to_owned(), "3/4".to_owned())]));
    let evidence = MISSING.because("x".repeat(MAX_EVIDENCE * 2));
    for part in Part::ALL {
        scan.finish(part, evidence.clone(), Counts { total: u64::MAX, ..Counts::default() });
    }
    let mut walk = Walk::of(512, (0..512).map(|bucket| (bucket, 100_000)).collect(), Counts::default());
    walk.add((0..5000).map(|n| (Kind::Changed, format!("{n}{}", "\"é".repeat(300)))).collect());
    scan.walk = Some(walk);
    let bytes = serde_json::to_vec(&Memory { scan: Some(scan), rests_until: Rest::default() }).unwrap();
    assert!(bytes.len() < MAX_MEMORY, "{}", bytes.len());
}

#[test]
fn buckets_are_looked_into_some_at_a_time() {
    let mut walk = Walk::of(8, vec![(1, 10), (3, 10), (5, 5000), (7, 10)], Counts::default());
    assert_eq!(walk.next(2000), [7]);
    assert_eq!(walk.next(2000), [5]);
    assert_eq!(walk.next(2000), [3, 1]);
    assert!(walk.next(2000).is_empty());
}

#[test]
fn names_of_the_document_and_of_roles_are_quoted() {
    let side = Side::of(15, 18, vec!["o'brien".to_owned()]);
    assert_eq!((side.least, side.views_alike, side.partitions_alike), (15, false, false));
    let question = Question::of(&side, Part::Roles, &["role it's_100%*".to_owned()]);
    let sql = question.digest();
    assert!(sql.contains("LIKE ANY (ARRAY['role it''s\\_100\\%%'])"), "{sql}");
    assert!(sql.contains("'phasegate', 'phasegate_canary', 'phasegate_operator', 'phasegate_owner', 'o''brien')"), "{sql}");
    let names = BTreeSet::from(["role o'brien".to_owned()]);
    assert!(question.definitions(&names).contains("IN ('role o''brien')"));
    assert!(Side::of(17, 18, Vec::new()).partitions_alike && Side::of(15, 16, Vec::new()).partitions_alike);
    assert!(Side::of(17, 18, Vec::new()).views_alike && Side::of(15, 15, Vec::new()).views_alike);
}

#[test]
fn every_part_has_a_name_of_its_own_and_reads_nothing_that_is_secret() {
    let names: BTreeSet<&str> = Part::ALL.iter().map(|part| part.name()).collect();
    assert_eq!(names.len(), everything().len());
    for part in Part::ALL {
        assert_eq!(json!(part), json!(part.name()));
        for secret in ["pg_authid.", "rolpassword", "pg_authid ", "subconninfo", "umoptions", "pg_user_mapping "] {
            let sql = Question::of(&Side::of(18, 18, Vec::new()), part, &[]).digest();
            assert!(!sql.contains(secret), "{part:?}: {secret}");
        }
    }
}

#[test]
fn what_a_role_may_not_see_is_named_with_the_statement_that_grants_it() {
    for (said, grant) in [
        ("permission denied for table pg_policy (SQLSTATE 42501)", "run GRANT SELECT ON pg_catalog.pg_policy TO \"me\";"),
        ("permission denied for view pg_roles (SQLSTATE 42501)", "run GRANT SELECT ON pg_catalog.pg_roles TO \"me\";"),
        (
            "permission denied for function pg_get_expr (SQLSTATE",
            "run GRANT EXECUTE ON FUNCTION pg_catalog.pg_get_expr TO \"me\";",
        ),
        ("permission denied to examine something", "run GRANT pg_monitor TO \"me\";"),
    ] {
        let outcome = granted(NO_PERMISSION.because(format!("me@host: {said}")), "\"me\"", &[]);
        assert!(outcome.evidence().as_str().ends_with(grant), "{outcome:?}");
    }
    let ambiguous = NO_PERMISSION.because("permission denied for function f (SQLSTATE 42501)");
    let outcome = granted(ambiguous, "me", &["f(oid)".to_owned(), "f(oid,boolean)".to_owned()]);
    assert!(outcome.evidence().as_str().ends_with("FUNCTION pg_catalog.f(oid), pg_catalog.f(oid,boolean) TO me;"), "{outcome:?}");
    let other = MISSING.because("permission denied for table x");
    assert_eq!(granted(other.clone(), "me", &[]), other);
}

#[test]
fn fields_are_checked() {
    let errors = |more: serde_json::Value| {
        let mut block = json!({"old": "a", "new": "b"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Check::validate(&check::<PostgresCatalog>(block)).into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert!(errors(json!({"except": ["table public.tmp_*", "comment on *"], "rest": "7d"})).is_empty());
    assert_eq!(errors(json!({"new": "a"})), ["new"]);
    assert_eq!(errors(json!({"rest": "8d"})), ["rest"]);
    assert_eq!(errors(json!({"parts": []})), ["parts"]);
    assert_eq!(errors(json!({"except": ["*", " ** ", "table a\nb", ""]})), ["except"; 4]);
    assert_eq!(errors(json!({"except": vec!["table a"; 101]})), ["except"]);
}

/// One message of the protocol.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], length.as_slice(), body].concat()
}

/// An answer of these columns, with so many rows.
fn answer(columns: &[(&str, &str)], rows: usize) -> Vec<u8> {
    let count = u16::try_from(columns.len()).unwrap().to_be_bytes();
    let (mut description, mut row) = (count.to_vec(), count.to_vec());
    for (name, value) in columns {
        description.extend([name.as_bytes(), &[0], &[0; 6], &25_u32.to_be_bytes(), &[0; 8]].concat());
        row.extend([u32::try_from(value.len()).unwrap().to_be_bytes().as_slice(), value.as_bytes()].concat());
    }
    let rows = message(b'D', &row).repeat(rows);
    [message(b'T', &description), rows, message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()
}

/// What a server says to a login, and to the questions that come before those about the catalog.
fn before(version: &str) -> Vec<Vec<u8>> {
    let who = [("system", "7300000000000000001"), ("database", "16384"), ("version", version)];
    let (lock, login) = ([("taken", "t"), ("seen", "0")], [("name", "me"), ("ours", "t")]);
    vec![[message(b'R', &[0; 4]), message(b'Z', b"I")].concat(), answer(&who, 1), answer(&lock, 1), answer(&login, 1)]
}

/// One Run about rules, against two servers that say these answers and then nothing.
async fn told_by(version: &str, old: Vec<Vec<u8>>, new: Vec<Vec<u8>>) -> Outcome {
    let mut targets = BTreeMap::new();
    let (mut servers, mut files) = (Vec::new(), Vec::new());
    for (name, said) in [("old", old), ("new", new)] {
        let server = Server::start(Manner::Turns([before(version), said].concat())).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        let path: PathBuf = file.path().to_owned();
        std::fs::write(&path, format!("postgres://me:hunter2@{}/app?sslmode=disable", server.address)).unwrap();
        targets.insert(name.to_owned(), serde_json::from_value(json!({"postgres": {"dsn": {"file": path}}})).unwrap());
        servers.push(server);
        files.push(file);
    }
    let cx = Context { targets: std::sync::Arc::new(targets), ..hasty(context()) };
    let catalog: PostgresCatalog = check(json!({"old": "old", "new": "new", "parts": ["rules"]}));
    let report = report_of(&catalog, &cx).await;
    match report.step {
        Step::Done(_) => part(&report, "rules"),
        Step::More(progress) => Outcome::pass(format!("on the way: {}", progress.note)),
    }
}

#[tokio::test]
async fn answers_that_can_not_be_are_unknown() {
    let good = [("things", "3"), ("digest", "17"), ("excepted", "0")];
    let same = told_by("170001", vec![answer(&good, 1)], vec![answer(&good, 1)]).await;
    assert_eq!(same, Outcome::pass("3 rules are the same"));
    for bad in [
        answer(&good, 0),
        answer(&good, 2),
        answer(&[("things", "3"), ("digest", "17")], 1),
        answer(&[("things", "-3"), ("digest", "17"), ("excepted", "0")], 1),
        answer(&[("things", "many"), ("digest", ""), ("excepted", "0")], 1),
    ] {
        let outcome = told_by("170001", vec![answer(&good, 1)], vec![bad]).await;
        assert_eq!(outcome.reason().map(crate::Reason::as_str), Some("unreadable"), "{outcome:?}");
    }
    let old = told_by("140011", Vec::new(), Vec::new()).await;
    assert_eq!(old.reason(), Some(&TOO_OLD.into()));
}

#[tokio::test]
async fn what_differs_and_can_not_be_read_is_unknown() {
    let digest = |digest| answer(&[("things", "1"), ("digest", digest), ("excepted", "0")], 1);
    let bucket = |digest| answer(&[("bucket", "0"), ("things", "1"), ("digest", digest)], 1);
    let name = |mark| answer(&[("name", "rule a on b"), ("mark", mark), ("harm", "t")], 1);
    let def = |def: &str| answer(&[("name", "rule a on b"), ("harm", "t"), ("def", def)], 1);
    let with = |last: &str| {
        let old = vec![digest("1"), bucket("1"), name("1"), def("{\"enabled\": \"yes\"}")];
        (old, vec![digest("2"), bucket("2"), name("2"), def(last)])
    };
    for (last, reason) in [
        ("{\"enabled\": \"no\"}", "differs"),
        ("{\"enabled\": \"yes\"}", "pass"),
        ("{\"enabled\": 7}", "unreadable"),
        ("", "unreadable"),
    ] {
        let (old, new) = with(last);
        let outcome = told_by("170001", old, new).await;
        assert_eq!(outcome.reason().map_or("pass", crate::Reason::as_str), reason, "{last}: {outcome:?}");
    }
    // A server that falls silent half-way is waited for.
    let outcome = told_by("170001", vec![digest("1")], vec![digest("2")]).await;
    assert!(outcome.evidence().as_str().starts_with("on the way: no answer, asked again with the next run"), "{outcome:?}");
    assert!(!outcome.evidence().as_str().contains("hunter2"), "{outcome:?}");
}
