use super::*;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % n
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}

const EVERY: i64 = 1000;
const LOST_AFTER: i64 = 60_000;
/// Long enough for an account that can keep little.
const LINES: i64 = 2000;
const START: i64 = 1_795_373_889_000;

/// A line and when it arrives, if it does.
struct Sent {
    found: Found,
    arrives: Option<i64>,
}

/// What a pipeline does to lines: pauses, lines that come late and out of order, lines that are destroyed. The first and the
/// last lines are well, so that everything is decided in the end. The last that is not is number 450.
fn pipeline(dice: &mut Dice) -> Vec<Sent> {
    let (mut pause, mut destroyed) = (0..0, 0..0);
    (1..=LINES)
        .map(|n| {
            let at = START + n * EVERY;
            let calm = !(20..=450).contains(&n);
            if !calm && dice.one_in(60) {
                pause = n..n + dice.below(50);
            }
            if !calm && dice.one_in(40) {
                destroyed = n..(n + dice.below(30)).min(450);
            }
            let delay = match () {
                () if pause.contains(&n) => (pause.end - n) * EVERY + dice.below(EVERY),
                () if !calm && dice.one_in(10) => dice.below(LOST_AFTER - 5000),
                () => dice.below(500),
            };
            let arrives = (!destroyed.contains(&n)).then_some(at + delay);
            Sent { found: Found { seq: u64::try_from(n).unwrap(), at, stamp: at + 3, end: false }, arrives }
        })
        .collect()
}

/// Looks at that pipeline to its end, with an account that travels through its serialized form. `chunk` is how much older time one
/// Run can read, `most` how many intervals it may keep. Gives back how many lines it calls lost.
fn lost(dice: &mut Dice, sent: &[Sent], chunk: i64, most: usize) -> u64 {
    let mut account = Account::new(Boot(7), START, false);
    let (mut lost, mut now) = (0, START + 8000);
    while account.settled.is_none_or(|settled| settled <= 450) {
        now += 3000;
        assert!(now < START + LINES * EVERY, "it does not come to an end: {account:?}");
        // Now and then nothing can be read for a while.
        if account.has_begun() && dice.one_in(30) {
            now += dice.below(LOST_AFTER);
        }
        let last_at = now - now % EVERY;
        (account.last, account.last_at) = (u64::try_from((last_at - START) / EVERY).unwrap(), last_at);
        let read = |from: i64, to: i64| -> Vec<Found> {
            let there = sent.iter().filter(|line| line.arrives.is_some_and(|at| at <= now));
            there.map(|line| line.found).filter(|line| (from..to).contains(&line.stamp) && line.seq <= account.last).collect()
        };
        let fresh = last_at - 6000 - 2 * EVERY - MARGIN;
        let mut lines = read(fresh, now + 600_000);
        if lines.is_empty() {
            continue;
        }
        let from = account.since_when(EVERY);
        if account.sweep.is_none() && from < fresh && !account.wants_sweep(now, LOST_AFTER) {
            account.observe(&lines, now, LOST_AFTER, most);
            continue;
        }
        let sweep = account.sweep.unwrap_or_else(|| Sweep::new(now, from));
        let cursor = sweep.cursor.max(fresh.min(sweep.cursor.saturating_add(chunk)));
        lines.extend(read(sweep.cursor, cursor));
        account.sweep = Some(sweep.at(cursor));
        account.observe(&lines, now, LOST_AFTER, most);
        if cursor >= fresh {
            lost += account.settle(&lines, LOST_AFTER).loss.map_or(0, |loss| loss.count);
        }
        account = serde_json::from_str(&serde_json::to_string(&account).unwrap()).unwrap();
    }
    lost
}

#[test]
fn loss_is_exact_whatever_else_the_pipeline_does() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let sent = pipeline(&mut dice);
        let destroyed = sent.iter().filter(|line| line.arrives.is_none()).count();
        assert_eq!(lost(&mut dice, &sent, i64::MAX, 128), u64::try_from(destroyed).unwrap(), "seed {seed}");
    }
}

#[test]
fn loss_is_exact_when_a_sweep_takes_several_runs_and_little_is_kept() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let sent = pipeline(&mut dice);
        let destroyed = sent.iter().filter(|line| line.arrives.is_none()).count();
        let most = usize::try_from(1 + dice.below(4)).unwrap();
        assert_eq!(lost(&mut dice, &sent, 20_000, most), u64::try_from(destroyed).unwrap(), "seed {seed}, {most} intervals");
    }
}

#[test]
fn what_was_written_before_the_first_found_line_is_no_loss() {
    let mut account = Account::new(Boot(7), 0, false);
    account.last = 100;
    let line = Found { seq: 90, at: 90_000, stamp: 90_000, end: false };
    account.sweep = Some(Sweep::new(100_000, 0));
    account.observe(&[line], 100_000, 60_000, 8);
    assert_eq!(account.settle(&[line], 60_000).loss, None);
    assert_eq!((account.settled, account.outstanding()), (Some(90), 10));
}

#[test]
fn an_account_is_closed_with_its_gaps_and_its_end_lost() {
    let mut account = Account::new(Boot(7), 0, true);
    account.last = 10;
    let lines = [1, 2, 5, 7].map(|seq| Found { seq, at: 0, stamp: 0, end: false });
    account.observe(&lines, 0, 60_000, 8);
    assert_eq!(account.outstanding(), 6);
    assert_eq!(account.close().loss, Some(Loss { first: 3, count: 6 }));
    assert!(account.is_moving(59_999, 60_000) && !account.is_moving(60_000, 60_000));
    let more = [3, 4, 6, 8, 9, 10].map(|seq| Found { seq, at: 0, stamp: 0, end: false });
    account.observe(&more, 0, 60_000, 8);
    assert_eq!(account.close().loss, None);
    assert_eq!(Account::new(Boot(7), 0, false).close().loss, None, "no line of it was ever owed");
}
