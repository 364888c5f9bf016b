//! Going through all panels, for as long as a Run lasts.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{OptionFuture, try_join};
use tokio::time::{Instant, sleep_until};

use crate::check::Context;
use crate::net::{Budget, fetch};
use crate::outcome::{Outcome, Progress, Step};

use super::judge::{Kind, Seen, Sight, judge};
use super::question::About;
use super::rules::is_uid;
use super::scan::{Next, Place, Scan};
use super::shape::{Board, Shape};
use super::side::{Found, Side};
use super::{Came, GrafanaPanels};

/// What to do about an old Grafana that does not answer.
const OLD: &str = "the old Grafana (take `old` out once it is gone for good)";

/// The two Grafanas, and the dashboards to look at.
pub(super) struct Sides<'a> {
    pub(super) new: Side<'a>,
    pub(super) old: Option<Side<'a>>,
    uids: BTreeSet<String>,
}

/// A dashboard on both sides.
struct Pair {
    uid: String,
    new: Found,
    old: Option<Found>,
}

/// A panel on both sides.
struct Item<'p> {
    place: Place,
    new: Option<&'p Shape>,
    old: Option<&'p Shape>,
}

impl Pair {
    /// What it is called in evidence.
    fn named(&self) -> String {
        let board = [Some(&self.new), self.old.as_ref()].into_iter().flatten().find_map(|found| match found {
            Found::Board(board) if !board.title.is_empty() => Some(board.title.as_str()),
            Found::Board(_) | Found::Missing | Found::Unclear(_) => None,
        });
        format!("dashboard {}", board.unwrap_or(&self.uid))
    }

    /// What is wrong with the dashboard as a whole, so that its panels can not be asked.
    fn sight(&self) -> Option<Sight> {
        Some(match (&self.new, &self.old) {
            (Found::Missing, Some(Found::Board(_) | Found::Unclear(_))) => {
                Sight::Bad(Kind::NoDashboard, "is not there, the old Grafana has it".to_owned())
            }
            (Found::Missing, Some(Found::Missing)) => Sight::Bad(Kind::NoDashboard, "is on neither side".to_owned()),
            (Found::Missing, None) => Sight::Bad(Kind::NoDashboard, "is not there".to_owned()),
            (Found::Unclear(words), _) => Sight::Unseen(words.clone()),
            (Found::Board(_), Some(Found::Unclear(words))) => Sight::Unseen(format!("{OLD}: {words}")),
            (Found::Board(_), Some(Found::Board(_) | Found::Missing) | None) => return None,
        })
    }

    fn board(found: &Found) -> Option<&Board> {
        match found {
            Found::Board(board) => Some(board),
            Found::Missing | Found::Unclear(_) => None,
        }
    }

    fn boards(&self) -> (Option<&Board>, Option<&Board>) {
        (Self::board(&self.new), self.old.as_ref().and_then(Self::board))
    }

    /// Its panels: those of the new side, and those that only the old one has.
    fn items(&self) -> Vec<Item<'_>> {
        let (new, old) = self.boards();
        let (of_new, of_old) = (numbered(new), numbered(old));
        let keys: BTreeSet<(i64, usize)> = of_new.keys().chain(of_old.keys()).copied().collect();
        let item = |key: (i64, usize)| Item {
            place: Place { uid: self.uid.clone(), panel: Some(key) },
            new: of_new.get(&key).copied(),
            old: of_old.get(&key).copied(),
        };
        keys.into_iter().map(item).collect()
    }
}

/// Panels by id, and by which of those with this id they are.
fn numbered(board: Option<&Board>) -> BTreeMap<(i64, usize), &Shape> {
    let (mut times, mut numbered) = (BTreeMap::<i64, usize>::new(), BTreeMap::new());
    for panel in board.map(|board| board.panels.as_slice()).unwrap_or_default() {
        let nth = times.entry(panel.id).or_default();
        *nth = nth.saturating_add(1);
        numbered.insert((panel.id, *nth), panel);
    }
    numbered
}

/// What a Run may still do.
struct Slice {
    budget: Budget,
    pause: Instant,
    /// When the next question may be asked.
    next: Instant,
    /// Whether none was asked yet, so that the next one has all the time there is.
    fresh: bool,
}

impl Slice {
    fn start(cx: &Context) -> Self {
        let budget = Budget::start(cx.timeout);
        Self { budget, pause: budget.start + cx.timeout / 2, next: budget.start, fresh: true }
    }
}

impl GrafanaPanels {
    /// Both Grafanas, and the dashboards that are chosen.
    pub(super) async fn sides<'a>(&self, cx: &'a Context, budget: Budget) -> Result<Sides<'a>, Outcome> {
        let all = self.dashboards.is_empty();
        let (new, old) = try_join(Side::open(cx, &self.new, all, budget), async {
            let old = self.old.as_ref().map(|name| Side::open(cx, name, all, budget));
            OptionFuture::from(old).await.transpose().map_err(|outcome| outcome.of(OLD))
        })
        .await?;
        let mut uids: BTreeSet<String> = self.dashboards.iter().cloned().collect();
        if all {
            uids.extend(new.dashboards(budget).await?);
            if let Some(old) = &old {
                uids.extend(old.dashboards(budget).await.map_err(|outcome| outcome.of(OLD))?);
            }
        }
        if uids.iter().any(|uid| !is_uid(uid)) {
            return Err(fetch::UNPARSABLE.because("GET /api/search: a uid that no dashboard can have"));
        }
        uids.retain(|uid| !self.skip.contains(uid));
        Ok(Sides { new, old, uids })
    }

    /// Does what is next, until the share of this Run is over.
    pub(super) async fn advance(&self, cx: &Context, scan: &mut Scan) -> Came {
        let mut slice = Slice::start(cx);
        let mut known = (0, 0);
        match self.go_on(cx, scan, &mut slice, &mut known).await {
            Ok(came) => came,
            Err(outcome) if scan.waits_out(cx.now) => {
                let progress = Self::progress(scan, known.0, known.1);
                let note = format!("no answer, asked again with the next run: {}; {}", outcome.evidence(), progress.note);
                Came::OnTheWay(Step::More(Progress { note: note.into(), ..progress }))
            }
            Err(outcome) => Came::OnTheWay(Step::whole(outcome)),
        }
    }

    async fn go_on(&self, cx: &Context, scan: &mut Scan, slice: &mut Slice, known: &mut (u64, u64)) -> Result<Came, Outcome> {
        let sides = self.sides(cx, slice.budget).await?;
        known.0 = u64::try_from(sides.uids.len()).unwrap_or(u64::MAX);
        let mut pair: Option<Pair> = None;
        while Instant::now() < slice.pause {
            let (uid, again) = match scan.next(&sides.uids, cx.now) {
                Next::Wait(_) => break,
                Next::Over if scan.found.is_empty() && scan.unseen.count == 0 && scan.beyond() > 0 => {
                    // What was wrong is not any more; what was too much to be looked at once more may be so, too.
                    scan.start_over(cx.now, self.window_before(cx.now));
                    break;
                }
                Next::Over => {
                    return Ok(Came::To(match sides.are_two(slice.budget).await {
                        Ok(()) => self.told(scan),
                        Err(same) => same,
                    }));
                }
                Next::Dashboard(uid) => (uid, None),
                Next::Again(place) => (place.uid.clone(), Some(place)),
            };
            let read = match pair.take().filter(|pair| pair.uid == uid) {
                Some(pair) => pair,
                None => sides.pair(&uid, slice.budget).await?,
            };
            let goes_on = match again {
                None => self.next_panel(&sides, &read, scan, slice, known).await?,
                Some(place) => self.once_more(cx, &sides, &read, place, scan, slice).await?,
            };
            if !goes_on {
                break;
            }
            pair = Some(read);
        }
        Ok(Came::OnTheWay(Step::More(Self::progress(scan, known.0, known.1))))
    }

    /// Asks the next panel of a dashboard. Whether there is time for another.
    async fn next_panel(
        &self,
        sides: &Sides<'_>,
        pair: &Pair,
        scan: &mut Scan,
        slice: &mut Slice,
        known: &mut (u64, u64),
    ) -> Result<bool, Outcome> {
        let (new, old) = pair.boards();
        let saves = |board: Option<&Board>| board.map_or(-1, |board| board.version);
        let Some(done) = scan.enter(&pair.uid, (saves(new), saves(old))) else {
            // It was saved meanwhile, so nobody knows which of its panels are done.
            scan.start_over(scan.begun, scan.window);
            return Ok(true);
        };
        if let Some(sight) = pair.sight() {
            scan.judged(Place { uid: pair.uid.clone(), panel: None }, &pair.named(), sight);
            scan.leave();
            return Ok(true);
        }
        let items = pair.items();
        known.1 = u64::try_from(items.len().saturating_sub(done)).unwrap_or(u64::MAX);
        let Some(item) = items.get(done) else {
            scan.leave();
            known.1 = 0;
            return Ok(true);
        };
        if self.skips(&item.place) {
            scan.skip();
            return Ok(true);
        }
        self.judged(sides, pair, item, scan, slice).await
    }

    /// Looks once more at what was wrong at the first look. Whether there is time for another.
    async fn once_more(
        &self,
        cx: &Context,
        sides: &Sides<'_>,
        pair: &Pair,
        place: Place,
        scan: &mut Scan,
        slice: &mut Slice,
    ) -> Result<bool, Outcome> {
        let sight = pair.sight();
        if sight.is_none() && place.panel.is_none() {
            scan.start_over(cx.now, self.window_before(cx.now));
            return Ok(false);
        }
        if let Some(sight) = sight {
            scan.judged(place, &pair.named(), sight);
            return Ok(true);
        }
        let items = pair.items();
        let Some(item) = items.iter().find(|item| item.place == place) else {
            scan.forget(&place);
            return Ok(true);
        };
        self.judged(sides, pair, item, scan, slice).await
    }

    fn skips(&self, place: &Place) -> bool {
        place.panel.is_some_and(|(id, _)| self.skip.contains(&format!("{}/{id}", place.uid)))
    }

    async fn judged(
        &self,
        sides: &Sides<'_>,
        pair: &Pair,
        item: &Item<'_>,
        scan: &mut Scan,
        slice: &mut Slice,
    ) -> Result<bool, Outcome> {
        sleep_until(slice.next.min(slice.budget.end)).await;
        slice.next = Instant::now() + std::time::Duration::from_secs(1) / self.per_second;
        let fresh = std::mem::take(&mut slice.fresh);
        let ((new, shape), old) = self.seen(sides, pair, item, scan.window, slice.budget).await?;
        let late = |seen: &Seen| matches!(seen, Seen::Late(_));
        if !fresh && (late(&new) || old.as_ref().is_some_and(late)) {
            // It is asked first in the next Run, with all the time there is.
            return Ok(false);
        }
        let name = format!("{}: {}", pair.named(), shape.map_or_else(String::new, |shape| shape.named));
        scan.judged(item.place.clone(), &name, judge(&new, old.as_ref()));
        Ok(true)
    }

    async fn seen(
        &self,
        sides: &Sides<'_>,
        pair: &Pair,
        item: &Item<'_>,
        window: (i64, i64),
        budget: Budget,
    ) -> Result<((Seen, Option<Shape>), Option<Seen>), Outcome> {
        let (board, old_board) = pair.boards();
        let about = |board| About { uid: &pair.uid, board, given: &self.variables, window, instead: None };
        let new = async {
            match board.zip(item.new) {
                Some((board, panel)) => {
                    let (seen, shape) = sides.new.seen(about(board), panel, budget).await?;
                    Ok((seen, Some(shape)))
                }
                None => Ok((Seen::Absent, item.old.cloned())),
            }
        };
        let old = async {
            match (&sides.old, old_board.zip(item.old)) {
                (Some(old), Some((board, panel))) => {
                    let (seen, _) = old.seen(about(board), panel, budget).await.map_err(|outcome| outcome.of(OLD))?;
                    Ok(Some(seen))
                }
                _ => Ok(None),
            }
        };
        try_join(new, old).await
    }

    /// A panel that asks something, if possible in this dashboard, with the dashboard.
    pub(super) async fn some_panel(
        &self,
        sides: &Sides<'_>,
        first: Option<&String>,
        budget: Budget,
    ) -> Result<Option<(String, Board, Shape)>, Outcome> {
        for uid in first.filter(|uid| sides.uids.contains(*uid)).into_iter().chain(&sides.uids) {
            let Found::Board(board) = sides.new.board(uid, budget).await? else { continue };
            let asks = |panel: &&Shape| {
                let skipped = self.skips(&Place { uid: uid.clone(), panel: Some((panel.id, 1)) });
                let about = About { uid, board: &board, given: &self.variables, window: (0, 1000), instead: None };
                !skipped && sides.new.asks(about, panel)
            };
            if let Some(panel) = board.panels.iter().find(asks).cloned() {
                return Ok(Some((uid.clone(), board, panel)));
            }
        }
        Ok(None)
    }
}

impl Sides<'_> {
    /// That they are two servers, if there are two.
    async fn are_two(&self, budget: Budget) -> Result<(), Outcome> {
        match &self.old {
            Some(old) => self.new.is_not(old, budget).await,
            None => Ok(()),
        }
    }

    async fn pair(&self, uid: &str, budget: Budget) -> Result<Pair, Outcome> {
        let old = async {
            let old = self.old.as_ref().map(|old| old.board(uid, budget));
            OptionFuture::from(old).await.transpose().map_err(|outcome| outcome.of(OLD))
        };
        let (new, old) = try_join(self.new.board(uid, budget), old).await?;
        Ok(Pair { uid: uid.to_owned(), new, old })
    }
}
