//! Whether a panel shows on the new side what it shows on the old one.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Answers};

/// What was seen of a panel on one side.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// It asks nothing.
    Nothing,
    /// What its queries bring.
    Answers(Answers),
    /// It can not be right, whatever Grafana would answer.
    Wrong(String),
    /// No answer in time.
    Late(String),
    /// It could not be looked at.
    Unclear(String),
    /// It is not there.
    Absent,
}

/// How bad something is that was found, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Errors,
    NoDashboard,
    NoPanel,
    Empty,
}

/// What a panel comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// It shows something, and not less than before.
    Shown,
    /// It shows nothing, and did not before, as far as that is known.
    Empty,
    /// Its query is refused on both sides: nobody misses anything.
    Broken(String),
    /// It asks nothing.
    Silent,
    /// Something is wrong; what follows the name.
    Bad(Kind, String),
    /// It could not be seen; what follows the name.
    Unseen(String),
}

/// How much is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Nothing,
    Zeros,
    Something,
}

/// How a datasource refuses the query itself, rather than that it could not be asked.
const REFUSALS: &[&str] = &[
    "parse error",
    "syntax error",
    "bad_data",
    "invalid",
    "does not exist",
    "unknown",
    "unexpected",
    "not a valid",
    "there is no",
    "data source not found",
    "plugin not",
];
/// How the way to a datasource is said to be broken.
const OUTAGES: &[&str] =
    &["dial", "connect", "lookup", "no such host", "timeout", "deadline", "eof", "gateway", "unavailable", "tls", "x509"];

impl Seen {
    fn error(&self) -> Option<String> {
        match self {
            Self::Wrong(words) | Self::Late(words) => Some(words.clone()),
            Self::Answers(answers) => answers.iter().find_map(|(name, answer)| match answer {
                Answer::Error(words) if answers.len() > 1 => Some(format!("query {name}: {words}")),
                Answer::Error(words) => Some(words.clone()),
                Answer::Rows { .. } => None,
            }),
            Self::Nothing | Self::Unclear(_) | Self::Absent => None,
        }
    }

    fn rows(&self) -> (u64, Grade) {
        let Self::Answers(answers) = self else { return (0, Grade::Nothing) };
        let all = answers.values().map(grade);
        all.fold((0, Grade::Nothing), |(rows, worth), (more, other)| (u64::saturating_add(rows, more), worth.max(other)))
    }
}

fn grade(answer: &Answer) -> (u64, Grade) {
    match answer {
        Answer::Rows { rows: 0, .. } | Answer::Error(_) => (0, Grade::Nothing),
        Answer::Rows { rows, zeros: true } => (*rows, Grade::Zeros),
        Answer::Rows { rows, zeros: false } => (*rows, Grade::Something),
    }
}

/// What is wrong with a panel on the new side, if there is something, beside the old one if there is one.
pub(super) fn judge(new: &Seen, old: Option<&Seen>) -> Sight {
    let error = new.error();
    match (new, error) {
        (Seen::Absent, _) => Sight::Bad(Kind::NoPanel, "is not there, the old dashboard has it".to_owned()),
        (Seen::Unclear(words), _) => Sight::Unseen(words.clone()),
        (_, Some(error)) => errs(error, old),
        (Seen::Nothing | Seen::Answers(_) | Seen::Wrong(_) | Seen::Late(_), None) => compared(new, old),
    }
}

fn errs(error: String, old: Option<&Seen>) -> Sight {
    let before = old.and_then(Seen::error);
    match before {
        Some(before) if refuses(&error) && refuses(&before) => Sight::Broken(error),
        Some(before) => Sight::Bad(Kind::Errors, format!("errs: {error}; the old one errs too: {before}")),
        None => match old.map_or((0, Grade::Nothing), Seen::rows) {
            (0, _) => Sight::Bad(Kind::Errors, format!("errs: {error}")),
            (rows, _) => Sight::Bad(Kind::Errors, format!("errs: {error}; the old one has {}", counted(rows))),
        },
    }
}

fn refuses(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|words| error.contains(words));
    any(REFUSALS) && !any(OUTAGES)
}

fn compared(new: &Seen, old: Option<&Seen>) -> Sight {
    let (rows, worth) = new.rows();
    let unknown = match old {
        Some(Seen::Unclear(words)) => Some(words.clone()),
        Some(old) => old.error(),
        None => None,
    };
    match unknown {
        Some(_) if rows > 0 => return Sight::Shown,
        Some(words) => return Sight::Unseen(format!("is empty, and what the old one has is not known: {words}")),
        None => {}
    }
    if let (Seen::Answers(new), Some(Seen::Answers(old))) = (new, old) {
        let less = old.iter().find_map(|(name, before)| {
            let now = grade(new.get(name)?);
            let before = grade(before);
            (now.1 < before.1).then_some((name.as_str(), now.1, before.0))
        });
        if let Some((name, now, before)) = less {
            let name = if old.len() > 1 { format!("query {name} of it ") } else { String::new() };
            return less_than(&name, now, before);
        }
    }
    let (before, had) = old.map_or((0, Grade::Nothing), Seen::rows);
    if worth < had {
        return less_than("", worth, before);
    }
    match new {
        Seen::Answers(_) if rows > 0 => Sight::Shown,
        Seen::Answers(_) => Sight::Empty,
        Seen::Nothing | Seen::Wrong(_) | Seen::Late(_) | Seen::Unclear(_) | Seen::Absent => Sight::Silent,
    }
}

fn less_than(name: &str, now: Grade, before: u64) -> Sight {
    let shows = if now == Grade::Nothing { "is empty" } else { "shows nothing but zeros" };
    let had = if now == Grade::Nothing { "" } else { ", and others than zeros" };
    Sight::Bad(Kind::Empty, format!("{name}{shows}, the old one has {}{had}", counted(before)))
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}
