//! The audit trail, read further after each round.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use probe::audit::{AuditPage, Frame, Head, verify};
use serde_json::Value;
use tests::Verifier;

use super::member::Member;

/// What was read so far.
pub(super) struct Trail {
    head: Head,
    /// By whom each term's facts are; none yet.
    terms: Vec<Option<String>>,
    /// Position of each fact.
    facts: BTreeMap<String, u64>,
    /// Facts whose writer was told that they are not there.
    pub(super) unasked: usize,
}

impl Default for Trail {
    fn default() -> Self {
        Self { head: Head::genesis(), terms: Vec::new(), facts: BTreeMap::new(), unasked: 0 }
    }
}

async fn page(verifier: &Verifier, from: u64) -> Result<AuditPage> {
    let answer = verifier.get(&format!("/v1/audit?from={from}&limit=1000")).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    Ok(serde_json::from_str(&answer.body)?)
}

impl Trail {
    /// How many facts and terms it holds.
    pub(super) fn counted(&self) -> (usize, usize) {
        (self.facts.len(), self.terms.len())
    }

    /// Reads on, and says what is wrong with it. Whatever a verifier acknowledged must be there by now.
    pub(super) async fn read(&mut self, holder: &Verifier, members: &[Member]) -> Result<Vec<String>> {
        // What was acknowledged after this moment may be further on than what is read.
        let acknowledged: Vec<String> = facts(members, |status| status == 200);
        let mut found = Vec::new();
        if self.head.seq > 0 {
            let last = page(holder, self.head.seq).await?;
            let last = last.frames.first().context("the trail is shorter than it was")?;
            if last.hash != self.head.hash {
                found.push(format!("frame {} was rewritten", self.head.seq));
                return Ok(found);
            }
        }
        let mut from = Some(self.head.seq + 1);
        while let Some(seq) = from {
            let read = page(holder, seq).await?;
            match verify(&self.head, &read.frames) {
                Ok(head) => self.head = head,
                Err(broken) => {
                    found.push(broken.to_string());
                    return Ok(found);
                }
            }
            for frame in &read.frames {
                found.extend(self.take(frame, members)?);
            }
            from = read.next;
        }
        let lost = acknowledged.iter().filter(|fact| !self.facts.contains_key(*fact));
        found.extend(lost.map(|fact| format!("{fact} was acknowledged and is not in the trail")));
        self.unasked = facts(members, |status| status != 200).iter().filter(|fact| self.facts.contains_key(*fact)).count();
        Ok(found)
    }

    fn take(&mut self, frame: &Frame, members: &[Member]) -> Result<Option<String>> {
        let event: Value = serde_json::from_str(frame.event.get())?;
        if event["event"] == "verifierStarted" {
            self.terms.push(None);
        }
        let fact = event["name"].as_str().filter(|_| event["event"] == "factRecorded");
        let Some((fact, (by, _))) = fact.and_then(|fact| Some((fact, fact.rsplit_once('-')?))) else { return Ok(None) };
        let place = format!("frame {}: {fact}", frame.seq);
        if self.facts.insert(fact.to_owned(), frame.seq).is_some() {
            return Ok(Some(format!("{place} is there twice")));
        }
        let Some((now, before)) = self.terms.split_last_mut() else { return Ok(Some(format!("{place} before any term"))) };
        match now {
            Some(writer) if writer == by => Ok(None),
            Some(writer) => Ok(Some(format!("{place} in the term of {writer}"))),
            None => {
                let number = |name: &str| members.iter().find(|member| member.name == name).and_then(Member::term);
                let last = before.iter().rev().flatten().next().map(|name| number(name));
                let later = number(by).is_some() && last.is_none_or(|last| last < number(by));
                *now = Some(by.to_owned());
                Ok((!later).then(|| format!("{place} in a term {:?} after {last:?}", number(by))))
            }
        }
    }
}

/// The facts that were answered so.
fn facts(members: &[Member], how: impl Fn(u16) -> bool) -> Vec<String> {
    let one = |member: &Member| {
        let log = member.log.lock();
        log.written.iter().filter(|written| how(written.status)).map(|written| written.fact.clone()).collect::<Vec<_>>()
    };
    members.iter().flat_map(one).collect()
}
