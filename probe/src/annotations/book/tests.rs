use std::sync::Arc;

use checks::Clients;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;
use crate::annotations::{Annotator, run};
use crate::api::tests::world::{World, plan, probe};
use crate::config::Config;
use crate::event::{Command, Terms, Wish};
use crate::plan::{Plan, ProbePlan};

/// A Grafana that keeps what it is told, and answers each POST with this status while it is not 200.
#[derive(Debug, Clone)]
struct Fake {
    kept: Arc<Mutex<Vec<Value>>>,
    status: Arc<Mutex<u16>>,
    /// It keeps what it is told, and its answer does not arrive.
    loses: Arc<Mutex<bool>>,
    /// It takes a mark without a text, too.
    careless: bool,
    /// Texts with this in them are refused.
    dislikes: &'static str,
    tries: Arc<Mutex<usize>>,
}

impl Fake {
    fn new() -> Self {
        Self {
            kept: Arc::default(),
            status: Arc::new(Mutex::new(200)),
            loses: Arc::default(),
            careless: false,
            dislikes: "nothing",
            tries: Arc::default(),
        }
    }

    async fn serve(&self) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(path("/api/annotations")).respond_with(self.clone()).mount(&server).await;
        server
    }

    fn texts(&self) -> Vec<String> {
        self.kept.lock().iter().map(|one| one["text"].as_str().unwrap().rsplit_once(": ").unwrap().1.to_owned()).collect()
    }
}

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        *self.tries.lock() += 1;
        let status = *self.status.lock();
        let (mut kept, said) = (self.kept.lock(), ResponseTemplate::new(status));
        if request.method.as_str() == "GET" {
            let asked = |key: &str| request.url.query_pairs().find(|(name, _)| name == key).unwrap().1.parse::<i64>().unwrap();
            let within = asked("from")..=asked("to");
            let has = |one: &&Value| within.contains(&one["time"].as_i64().unwrap_or_default());
            return ResponseTemplate::new(200).set_body_json(kept.iter().filter(has).collect::<Vec<_>>());
        }
        let body: Value = request.body_json().unwrap();
        let text = body["text"].as_str().unwrap();
        if status != 200 {
            return said.set_body_json(json!({"message": "no"}));
        }
        if (text.is_empty() && !self.careless) || text.contains(self.dislikes) {
            return ResponseTemplate::new(400).set_body_json(json!({"message": "Failed to save annotation"}));
        }
        kept.push(body);
        if *self.loses.lock() {
            return ResponseTemplate::new(502);
        }
        said.set_body_json(json!({"id": kept.len(), "message": "Annotation added"}))
    }
}

fn document(url: &str, token: &str) -> Arc<Config> {
    let text = format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: homelab}}\nspec:\n  \
         targets: {{new: {{grafana: {{url: \"{url}\"}}}}}}\n  annotations: {{grafana: new, token: {token}}}\n  phases:\n  \
         - {{name: one, probes: [{{name: a, check: {{heartbeat: {{within: 1h}}}}}}]}}\n"
    );
    Arc::new(crate::config::parse("test", text.as_bytes(), &checks::registry()).unwrap())
}

fn annotator(world: &World, url: &str) -> Annotator {
    // Read from a file that every process has.
    let (_, configs) = watch::channel(document(url, "{file: /proc/self/comm}"));
    Annotator::new(world.ledger.clone(), Clients::new().unwrap(), world.metrics.clone(), configs)
}

async fn begun() -> World {
    let world = World::new().await;
    world.wish(Wish::Begin("one".into())).await;
    world.wish(Wish::Switch("one".into())).await;
    world
}

fn only(annotator: &Annotator) -> Standing {
    let standings = annotator.standings().borrow().clone();
    let [standing] = standings.as_slice() else { panic!("{standings:?}") };
    standing.clone()
}

#[tokio::test]
async fn each_event_is_marked_once_whoever_marks_it() {
    let (world, fake) = (begun().await, Fake::new());
    let server = fake.serve().await;
    let mut first = annotator(&world, &server.uri());
    assert_eq!((only(&first).marked, only(&first).proven), (0, None), "it stands there before anything is done");
    first.round().await;
    assert_eq!(fake.texts(), ["begun by test", "switched by test"]);
    world.wish(Wish::Rollback("one".into(), "a hole".into())).await;
    first.round().await;
    assert_eq!(fake.texts(), ["begun by test", "switched by test", "a hole"]);
    assert_eq!((only(&first).marked, only(&first).waiting, only(&first).problem.is_none()), (3, 0, true));
    let mut second = annotator(&world, &server.uri());
    second.round().await;
    assert_eq!((fake.texts().len(), only(&second).marked), (3, 3), "the next process finds them");
    assert!(
        world
            .metrics
            .render(&world.ledger.read(), false)
            .unwrap()
            .contains("phasegate_annotations_marked_total{target=\"new\"} 3")
    );
}

#[tokio::test]
async fn what_fails_is_told_and_done_later_in_order() {
    let (world, fake) = (begun().await, Fake::new());
    let server = fake.serve().await;
    *fake.status.lock() = 403;
    let mut annotator = annotator(&world, &server.uri());
    annotator.round().await;
    let standing = only(&annotator);
    let problem = standing.problem.unwrap();
    assert_eq!((standing.marked, standing.waiting, standing.failures), (0, 2, 1));
    assert_eq!(problem.trouble.reason.as_str(), "permission_missing");
    assert!(problem.trouble.evidence.contains("annotations:create"), "{problem:?}");
    let exposition = world.metrics.render(&world.ledger.read(), false).unwrap();
    assert!(exposition.contains("phasegate_annotations_failing{target=\"new\"} 1"), "{exposition}");

    *fake.status.lock() = 200;
    let tries = *fake.tries.lock();
    annotator.round().await;
    assert_eq!((*fake.tries.lock(), fake.texts().len()), (tries, 0), "not again at once");
    annotator.books[0].due = Instant::now();
    annotator.round().await;
    assert_eq!(fake.texts(), ["begun by test", "switched by test"]);
    assert!(only(&annotator).problem.is_none() && only(&annotator).proven.is_some());
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_mark() {
    let (world, fake) = (begun().await, Fake::new());
    let server = fake.serve().await;
    *fake.loses.lock() = true;
    let mut annotator = annotator(&world, &server.uri());
    annotator.round().await;
    assert_eq!((fake.texts(), only(&annotator).marked), (vec!["begun by test".to_owned()], 0));
    *fake.loses.lock() = false;
    annotator.books[0].due = Instant::now();
    annotator.round().await;
    assert_eq!((fake.texts(), only(&annotator).marked), (vec!["begun by test".to_owned(), "switched by test".to_owned()], 2));
}

#[tokio::test]
async fn one_that_is_not_taken_holds_up_no_other() {
    let (world, fake) = (begun().await, Fake { dislikes: "begun", ..Fake::new() });
    let server = fake.serve().await;
    let mut annotator = annotator(&world, &server.uri());
    annotator.round().await;
    assert_eq!(fake.texts(), ["switched by test"]);
    let standing = only(&annotator);
    assert_eq!((standing.marked, standing.waiting), (1, 1));
    assert_eq!(standing.problem.unwrap().trouble.reason.as_str(), "not_taken");
}

#[tokio::test]
async fn a_permission_that_is_missing_is_seen_before_there_is_anything_to_mark() {
    let (world, fake) = (World::new().await, Fake::new());
    let server = fake.serve().await;
    *fake.status.lock() = 403;
    let mut denied = annotator(&world, &server.uri());
    denied.round().await;
    assert_eq!(only(&denied).problem.unwrap().trouble.reason.as_str(), "permission_missing");
    *fake.status.lock() = 200;
    let mut annotator = annotator(&world, &server.uri());
    annotator.round().await;
    let tries = *fake.tries.lock();
    annotator.round().await;
    assert_eq!((*fake.tries.lock(), fake.kept.lock().len()), (tries, 0), "asked once, and nothing is made");
    assert!(only(&annotator).proven.is_some());
}

#[tokio::test]
async fn one_that_takes_the_trial_for_a_mark_is_not_tried_again() {
    let (world, fake) = (World::new().await, Fake { careless: true, ..Fake::new() });
    let server = fake.serve().await;
    let mut annotator = annotator(&world, &server.uri());
    annotator.round().await;
    assert!(only(&annotator).proven.is_some() && annotator.books[0].try_out.is_none());
    annotator.round().await;
    assert_eq!(*fake.tries.lock(), 1);
    world.wish(Wish::Begin("one".into())).await;
    annotator.round().await;
    assert_eq!(only(&annotator).marked, 1, "what happens is marked as ever");
}

#[tokio::test]
async fn what_happened_long_ago_is_not_marked() {
    let (world, fake) = (begun().await, Fake::new());
    let server = fake.serve().await;
    let mut annotator = annotator(&world, &server.uri());
    let later = world.ledger.clock().now().utc + TimeDelta::seconds(9);
    (annotator.books[0].since, annotator.books[0].next) = (later, Some(1));
    annotator.round().await;
    assert_eq!((only(&annotator).marked, only(&annotator).waiting), (0, 0));
}

#[tokio::test]
async fn what_is_no_longer_kept_is_passed_over() {
    let (world, fake) = (begun().await, Fake::new());
    let server = fake.serve().await;
    let first = world.ledger.audit(0, 1000).await.unwrap().unwrap();
    let switched = first.frames.iter().find(|frame| frame.event.get().contains("phaseSwitched")).unwrap().seq;
    let mut begins = annotator(&world, &server.uri());
    let mut reads = annotator(&world, &server.uri());
    (reads.books[0].since, reads.books[0].next) = (DateTime::UNIX_EPOCH, Some(1));
    world.store.forget(switched - 1).unwrap();
    begins.round().await;
    assert_eq!(fake.texts(), ["switched by test"]);
    reads.round().await;
    assert_eq!((fake.texts().len(), only(&reads).marked, only(&reads).waiting), (1, 1, 0), "it goes on behind them");
}

#[tokio::test]
async fn silence_holds_up_neither_the_others_nor_the_end() {
    let world = begun().await;
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let annotator = annotator(&world, &format!("http://{}", hole.local_addr().unwrap()));
    let stop = CancellationToken::new();
    let running = run(annotator, stop.clone());
    let ending = async {
        let _held = hole.accept().await.unwrap();
        world.wish(Wish::Rollback("one".into(), "it goes on".into())).await;
        stop.cancel();
    };
    let both = futures::future::join(running, ending);
    tokio::time::timeout(Duration::from_secs(4), both).await.expect("a call that is under way is given up");
}

#[tokio::test]
async fn a_panic_and_a_hang_are_troubles_like_any_other() {
    #[expect(clippy::unreachable, reason = "it stands for a fault of our own")]
    let panicked = guarded(async { if true { unreachable!("on purpose") } else { Ok(()) } }).await;
    assert_eq!(panicked.unwrap_err().reason.as_str(), "panic");
    tokio::time::pause();
    assert_eq!(guarded(std::future::pending::<Result<(), _>>()).await.unwrap_err().reason.as_str(), "hung");
}

#[tokio::test]
async fn what_the_document_says_now_counts() {
    let (world, fake) = (begun().await, Fake::new());
    let server = fake.serve().await;
    let (sender, configs) = watch::channel(document(&server.uri(), "{file: /proc/self/comm}"));
    let mut annotator = Annotator::new(world.ledger.clone(), Clients::new().unwrap(), world.metrics.clone(), configs);
    annotator.round().await;
    assert_eq!(only(&annotator).marked, 2);
    let without = Config { annotations: Vec::new(), ..(*document(&server.uri(), "{env: X}")).clone() };
    sender.send_replace(Arc::new(without));
    annotator.round().await;
    assert!(annotator.standings().borrow().is_empty());
    sender.send_replace(document(&server.uri(), "{env: PHASEGATE_NO_SUCH_TOKEN}"));
    annotator.round().await;
    assert_eq!(only(&annotator).problem.unwrap().trouble.reason.as_str(), "secret_missing");
}

#[tokio::test]
async fn a_grafana_that_was_decommissioned_is_left_alone() {
    let mut plan = plan();
    let tripwire = ProbePlan { tripwire: true, targets: vec!["new".into()], ..probe("stays-gone") };
    plan.phases[1].probes.push(tripwire);
    let (world, fake) = (World::with(Plan::new("homelab", "another", plan.phases)).await, Fake::new());
    let server = fake.serve().await;
    let mut annotator = annotator(&world, &server.uri());
    assert_eq!(only(&annotator).target, "new");
    let terms = Terms { confirm: Some("new".into()), ..Terms::default() };
    let wish = Wish::Decommission("new".into(), "it is off".into());
    world.ledger.command(Command { by: "test".into(), wish, terms }).await.unwrap();
    annotator.round().await;
    assert!(annotator.standings().borrow().is_empty() && *fake.tries.lock() == 0);
}
