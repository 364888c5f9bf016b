//! A cluster, a migration of two phases in it, and the verifiers of its rounds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::{Fault, FaultProxy, Kubernetes, World, wait_until};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::judge::{self, Dark, Sighting};
use super::member::Member;
use super::trail::Trail;
use super::{Kind, Round, Violations, pause};
use crate::model::rng::Rng;
use crate::product::real_cluster::verifiers_kubeconfig;
use crate::product::{PATIENCE, moment, now};

/// Patient enough for a busy machine: a soak that begins anew tells nothing of takeovers.
const DEFAULTS: &str = "{every: 1s, timeout: 900ms, failAfter: 3, maxAge: 8s}";
/// The Lease is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// Longer than a Lease lasts, with a second one's start.
const TAKEN: Duration = Duration::from_secs(22);
/// How long it stays dark after a takeover.
const DARK: Duration = Duration::from_secs(2);

pub(super) struct Stage {
    world: World,
    cluster: Arc<Kubernetes>,
    /// What the phase `move` looks at, through a proxy that can take it away, and what `stay` looks at.
    light: FaultProxy,
    _accepting: JoinSet<()>,
    document: String,
    ledger: String,
    lease: Arc<Mutex<Vec<Sighting>>>,
    members: Vec<Member>,
    launched: usize,
    /// Which of them writes.
    holder: usize,
    /// Whether it was dark already. Twice within ten minutes would be flapping.
    darkened: bool,
    /// Whether it flaps all the same, which shuts the gate for ten minutes: then another ledger is due.
    flaps: bool,
    /// What was said up to here is judged.
    judged: DateTime<Utc>,
    /// The soak that was seen last.
    served: f64,
    trail: Trail,
    totals: (usize, usize, usize),
    watching: JoinSet<()>,
}

impl Stage {
    pub(super) async fn start() -> Self {
        let world = World::new().unwrap();
        let cluster = Arc::new(Kubernetes::start(&world).await.unwrap());
        verifiers_kubeconfig(&cluster).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let light = FaultProxy::start(address).unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move { while listener.accept().await.is_ok() {} });
        let phase = |name: &str, gate: &str, address: &dyn std::fmt::Display| {
            format!(
                "  - name: {name}\n    gate: {gate}\n    probes: [{{name: {name}-side, check: {{tcp: {{address: \"{address}\"}}}}}}]\n"
            )
        };
        let document = format!(
            "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: rounds}}\nspec:\n  defaults: {DEFAULTS}\n  phases:\n{}{}",
            phase("move", "{soak: 1s, minSamples: 2, unknownBudget: 2s}", &light.address()),
            phase("stay", "{soak: 12h, minSamples: 2, unknownBudget: 12h}", &address),
        );
        let (lease, members, trail, watching) = (Arc::default(), Vec::new(), Trail::default(), JoinSet::new());
        let (ledger, totals) = (String::new(), (0, 0, 0));
        let (darkened, flaps, judged) = (false, false, now());
        Self {
            world,
            cluster,
            light,
            _accepting: accepting,
            document,
            ledger,
            lease,
            members,
            launched: 0,
            holder: 0,
            darkened,
            flaps,
            judged,
            served: 0.0,
            trail,
            totals,
            watching,
        }
    }

    /// Leaves the ledger, if there is one, and begins with a new one: `move` is complete and open, `stay` soaks.
    pub(super) async fn another_ledger(&mut self, number: u64) -> Violations {
        let left = self.end().await;
        self.ledger = format!("rounds-{number}");
        self.lease = Arc::default();
        self.trail = Trail::default();
        self.watching.spawn(watch(Arc::clone(&self.cluster), self.ledger.clone(), Arc::clone(&self.lease)));
        self.holder = self.launch().await;
        (self.darkened, self.flaps, self.judged, self.served) = (false, false, now(), 0.0);
        let verifier = &self.members[self.holder].verifier;
        verifier.answers().await.unwrap();
        for (phase, moves) in [("move", &["begin", "switch", "complete"][..]), ("stay", &["begin", "switch"])] {
            for step in moves {
                let path = format!("/v1/phases/{phase}/{step}");
                wait_until(PATIENCE, &path, async || {
                    let answer = verifier.post(&path, &json!({})).await?;
                    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
                    Ok(())
                })
                .await
                .unwrap();
            }
        }
        left
    }

    /// Ends the verifier in good order; the whole trail is verified by the operator's own command before.
    pub(super) async fn end(&mut self) -> Violations {
        let mut found = Violations::default();
        if self.members.is_empty() {
            return found;
        }
        let verifier = &self.members[self.holder].verifier;
        let verified = verifier.cutover(&["audit", "verify"]).await.unwrap();
        if verified.code != 0 {
            found.writers.push(format!("audit verify: {verified:?}"));
        }
        found.writers.extend(self.trail.read(verifier, &self.members).await.unwrap());
        assert!(verifier.sigterm().await.unwrap().success());
        self.watching.shutdown().await;
        let (facts, terms) = self.trail.counted();
        self.totals = (self.totals.0 + facts, self.totals.1 + terms, self.totals.2 + self.trail.unasked);
        for mut member in std::mem::take(&mut self.members) {
            member.is_over().await;
        }
        found
    }

    /// Whether another ledger is due before its time.
    pub(super) fn flaps(&self) -> bool {
        self.flaps
    }

    pub(super) fn counted(&self) -> String {
        let (facts, terms, unasked) = self.totals;
        format!("{facts} facts in {terms} terms; {unasked} of them are there although their writer was told that they are not")
    }

    async fn launch(&mut self) -> usize {
        self.launched += 1;
        let name = format!("v{}", self.launched);
        let member = Member::launch(&self.world, &self.cluster, &self.document, &self.ledger, name).await;
        self.members.push(member);
        self.members.len() - 1
    }

    /// Another one, which has seen the Lease: it waits for it, or has it.
    async fn another(&mut self) {
        let other = self.launch().await;
        let process = self.members[other].verifier.process();
        let waits = async || {
            let log = process.stderr();
            ensure!(log.contains("waiting for the Lease") || log.contains("took the Lease"), "it has not");
            Ok(())
        };
        process.wait_until(PATIENCE, "it has seen the Lease", waits).await.unwrap();
    }

    pub(super) async fn round(&mut self, kind: Kind, rng: &mut Rng) -> (Round, Violations) {
        let before = self.holder;
        let beside = kind == Kind::Leave || rng.percent(60);
        let dark = rng.percent(40) && !self.darkened;
        if beside {
            self.another().await;
        }
        pause(rng, 500, 6000).await;
        let begun = now();
        if dark {
            self.darkened = true;
            self.light.set(Fault::Refuse).await.unwrap();
        }
        let at = now();
        let how = self.disturb(kind, beside, rng).await;
        let gone = if dark { Some(self.lit_again(begun, before).await) } else { None };
        self.settle().await;
        let settled = now();

        let (lease, since) = (self.lease.lock().clone(), std::mem::replace(&mut self.judged, now()));
        let mut found = Violations::default();
        for member in &self.members {
            found.open.extend(judge::open_without(member, &member.log.lock(), since, &lease, gone));
        }
        let kept = judge::soak(&self.members[before], &self.members[self.holder], at, kind == Kind::Leave, &lease);
        found.soak.extend(kept.wrong);
        if kept.before + judge::MOMENT < self.served {
            found
                .soak
                .push(format!("soak: {:.1} s before the disturbance, {:.1} s in the round before", kept.before, self.served));
        }
        self.served = kept.after;
        found.writers.extend(self.trail.read(&self.members[self.holder].verifier, &self.members).await.unwrap());
        found.writers.extend(self.book().await.err().map(|error| error.to_string()));
        let flaps = if self.flaps { ", and it flaps" } else { "" };
        let taken = (self.holder != before).then(|| self.taken_at(self.members[self.holder].term())).flatten();
        let taken = taken.map(|taken| judge::seconds(taken - at));
        if kind == Kind::Leave && taken.is_none_or(|taken| taken > judge::GIVEN_BACK) {
            found.lease.push(format!("taken over after {taken:?} s, so the Lease was not given back"));
        }
        let round = Round {
            kind,
            how: [&*how, if beside { ", a second one waits" } else { "" }, if dark { ", in the dark" } else { "" }, flaps]
                .concat(),
            taken,
            shut: judge::longest_shut(&self.members, begun - TimeDelta::seconds(2), settled),
            soak: format!("{:.1} s before, {:.1} s after", kept.before, kept.after),
        };
        (round, found)
    }

    /// What happens; returns when it is over.
    async fn disturb(&mut self, kind: Kind, beside: bool, rng: &mut Rng) -> String {
        let first = self.holder;
        match kind {
            Kind::Kill => {
                self.members[first].verifier.kill9().await.unwrap();
                self.members[first].is_over().await;
                if !beside {
                    pause(rng, 0, 3000).await;
                    self.another().await;
                }
                "killed".to_owned()
            }
            Kind::Leave => {
                assert!(self.members[first].verifier.sigterm().await.unwrap().success());
                self.members[first].is_over().await;
                "ended in good order".to_owned()
            }
            Kind::Freeze => {
                let long = rng.between(15_500, 22_000);
                self.members[first].verifier.freeze().await.unwrap();
                let joined = self.meanwhile(long, beside, rng).await;
                self.members[first].thawed = Some(now());
                self.members[first].verifier.thaw();
                format!("frozen for {:.1} s{joined}", Duration::from_millis(long).as_secs_f64())
            }
            Kind::Cut => {
                let long = rng.between(2000, 24_000);
                let fault = [Fault::BlackHole, Fault::Reset, Fault::Refuse][usize::try_from(rng.below(3)).unwrap()].clone();
                let words = format!("cut off ({fault:?}) for {:.1} s", Duration::from_millis(long).as_secs_f64());
                self.members[first].way.set(fault).await.unwrap();
                let joined = self.meanwhile(long, beside, rng).await;
                self.members[first].way.clear().await.unwrap();
                format!("{words}{joined}")
            }
        }
    }

    /// Lets that time pass; half of those that are alone are joined by another at some moment of it.
    async fn meanwhile(&mut self, long: u64, beside: bool, rng: &mut Rng) -> &'static str {
        if beside || rng.percent(50) {
            sleep(Duration::from_millis(long)).await;
            return "";
        }
        let alone = rng.below(long);
        sleep(Duration::from_millis(alone)).await;
        self.another().await;
        sleep(Duration::from_millis(long - alone)).await;
        ", another one comes meanwhile"
    }

    /// Waits for a takeover, if there may be one, and a little longer; then there is something to be seen again.
    async fn lit_again(&self, from: DateTime<Utc>, before: usize) -> Dark {
        let alone = self.members.iter().enumerate().all(|(nth, member)| nth == before || member.over);
        if !alone {
            let taken = async {
                while self.lease.lock().last().map(|seen| seen.term) <= self.members[before].term() {
                    sleep(LOOK).await;
                }
            };
            // The one before may go on as well.
            drop(timeout(TAKEN, taken).await);
        }
        sleep(DARK).await;
        let dark = Dark { from, to: now() };
        self.light.clear().await.unwrap();
        dark
    }

    /// Waits until one of them writes and its gate is open, and ends the others.
    async fn settle(&mut self) {
        let open = async || {
            let last = self.lease.lock().last().cloned().context("nobody has the Lease")?;
            let holder = self.members.iter().position(|one| !one.over && one.term() == Some(last.term));
            let holder = holder.with_context(|| format!("nobody has term {}", last.term))?;
            let answer = self.members[holder].verifier.get("/v1/gates/move/check").await?;
            let flaps = answer.status == 424 && answer.body.contains("(flapping: ");
            ensure!(answer.status == 200 || flaps, "{}: {}", answer.status, answer.body);
            Ok((holder, flaps))
        };
        (self.holder, self.flaps) = wait_until(PATIENCE, "one of them writes and its gate is open", open).await.unwrap();
        for nth in 0..self.members.len() {
            if nth == self.holder || self.members[nth].over {
                continue;
            }
            let member = &mut self.members[nth];
            if member.term().is_some() {
                let status = member.verifier.process().wait(PATIENCE).await.unwrap();
                assert!(!status.success(), "{} had to end: {status}", member.name);
            } else {
                assert!(member.verifier.sigterm().await.unwrap().success());
            }
            member.is_over().await;
        }
    }

    fn taken_at(&self, term: Option<u64>) -> Option<DateTime<Utc>> {
        self.lease.lock().iter().find(|seen| Some(seen.term) == term).map(|seen| seen.told)
    }

    /// The book is written by the holder.
    async fn book(&self) -> Result<()> {
        let map = self.cluster.object(&format!("/api/v1/namespaces/default/configmaps/{}-ledger", self.ledger)).await?;
        let kept: Value = serde_json::from_str(map["data"]["ledger"].as_str().unwrap_or_default())?;
        let (term, own) = (kept["body"]["term"]["number"].as_u64(), self.members[self.holder].term());
        ensure!(term.is_some() && term == own, "the book is of term {term:?}, and the holder of {own:?}");
        Ok(())
    }
}

/// Looks at the Lease all the time.
async fn watch(cluster: Arc<Kubernetes>, ledger: String, lease: Arc<Mutex<Vec<Sighting>>>) {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/default/leases/{ledger}");
    loop {
        sleep(LOOK).await;
        let Ok(seen) = cluster.object(&path).await else { continue };
        let (told, spec) = (now(), &seen["spec"]);
        let (Some(term), Some(renewed)) = (spec["leaseTransitions"].as_u64(), moment(&spec["renewTime"])) else { continue };
        let holder = spec["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let mut lease = lease.lock();
        if lease.last().is_none_or(|last| (last.term, last.renewed, &last.holder) != (term, renewed, &holder)) {
            lease.push(Sighting { told, holder, term, renewed });
        }
    }
}
