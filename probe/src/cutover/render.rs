//! All printing: data to stdout, talk to stderr, one [`Show`] per thing shown, the same in each format.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::plugin::Called;
use super::trouble::Trouble;
use crate::exit::Exit;
use crate::gate::Verdict;

mod audit;
mod ci;
mod doctor;
mod gate;
mod history;
mod past;
mod plan;
mod postgres;
mod probes;
mod report;
mod status;
mod text;

pub(crate) use audit::{Trail, Verified};
pub(crate) use doctor::Diagnosis;
pub(crate) use gate::{Brief, server_now, soak_left};
pub(crate) use history::{Deed, Deeds};
pub(crate) use plan::{Held, Planned, lock_line, shown};
pub(crate) use postgres::Found;
pub(crate) use probes::{History, Listing, grade};
pub(crate) use report::Checklist;
pub(crate) use status::{About, Done, Overrides, Screen, short};
pub(crate) use text::{moment, painted};

/// How stdout is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people, one screen
    Table,
    /// For people, everything
    Wide,
    /// The server's own JSON; an `{"error": …}` object when there is none
    Json,
    /// The same as YAML
    Yaml,
    /// Names only, one per line
    Name,
    /// Annotations for GitHub Actions; also fills the step summary and outputs
    Github,
    /// `JUnit` XML, one test case per probe
    Junit,
}

/// A thing that can be shown in each format.
pub(crate) trait Show {
    /// The typed body.
    fn body(&self) -> Value;
    /// For people.
    fn lines(&self, wide: bool) -> Vec<String>;
    /// Names only.
    fn names(&self) -> Vec<String>;
    /// What it is called as a whole, and its parts for test reports and annotations.
    fn cases(&self) -> (String, Vec<Case>);
    /// The parts for test reports, where they are not the same.
    fn tests(&self) -> (String, Vec<Case>) {
        self.cases()
    }
    /// What is said of it as a whole when none of its parts is shut; how many there are, unless it knows better.
    fn sum(&self) -> Option<String> {
        None
    }
    /// Further outputs of a step.
    fn outputs(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// One part with its grade, for test reports and annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: String,
    /// Only `open` counts as passed.
    pub(crate) grade: Verdict,
    /// What is to be said about it.
    pub(crate) text: String,
}

/// Where typed answers come from.
#[derive(Debug)]
pub(crate) enum Keyboard {
    /// Nowhere: a question is a refusal.
    None,
    /// A person at a terminal.
    Terminal,
    /// Tests.
    #[cfg(test)]
    Scripted(String),
}

/// Files that GitHub Actions collects.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// `$GITHUB_OUTPUT`.
    pub(crate) output: Option<PathBuf>,
    /// `$GITHUB_STEP_SUMMARY`.
    pub(crate) summary: Option<PathBuf>,
}

/// The process's two streams and its keyboard.
pub(crate) struct Io<'w> {
    pub(crate) out: Box<dyn Write + 'w>,
    pub(crate) err: Box<dyn Write + 'w>,
    pub(crate) format: Format,
    /// By which name commands are told.
    pub(crate) called: Called,
    pub(crate) keyboard: Keyboard,
    /// Whether stdout is a terminal that can be cleared.
    pub(crate) screen: bool,
    pub(crate) collected: Collected,
    /// The first failure to write, other than a reader that went away.
    pub(crate) broken: Option<io::Error>,
}

impl Io<'_> {
    /// Writes data.
    pub(crate) fn show(&mut self, thing: &dyn Show) {
        let text = match self.format {
            Format::Table => self.called.words(painted(&thing.lines(false))),
            Format::Wide => self.called.words(painted(&thing.lines(true))),
            Format::Json => pretty(&thing.body()),
            Format::Yaml => yaml(&thing.body()),
            Format::Name => text::joined(&thing.names()),
            Format::Github => {
                let (title, cases) = thing.cases();
                self.collect(&title, &cases, &thing.outputs());
                ci::annotations(&title, &cases, thing.sum())
            }
            Format::Junit => {
                let (title, cases) = thing.tests();
                ci::junit(&title, &cases)
            }
        };
        self.data(&text);
    }

    /// Writes text to stdout as it is.
    pub(crate) fn data(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        self.note(written);
    }

    /// Writes a line for people to stderr.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        let line = self.called.words(painted(&[line.as_ref().to_owned()]));
        // Talk that nobody reads changes nothing.
        drop(self.err.write_all(line.as_bytes()).and_then(|()| self.err.flush()));
    }

    /// Clears the screen, where there is one.
    pub(crate) fn clear(&mut self) {
        if self.screen {
            self.data("\u{1b}[2J\u{1b}[H");
        }
    }

    /// Says why there is no answer: in words on stderr, and in the format asked for on stdout, so that a pipe gets a whole
    /// object.
    pub(crate) fn trouble(&mut self, trouble: &Trouble) {
        for line in trouble_lines(trouble) {
            self.say(line);
        }
        let object = || {
            let mut object = json!({"error": trouble.to_json()});
            if let (false, Value::Object(fields)) = (trouble.done.is_empty(), &mut object) {
                fields.insert("done".to_owned(), Value::Array(trouble.done.to_vec()));
            }
            object
        };
        let grade = match trouble.exit {
            Exit::CLOSED | Exit::ROLLED_BACK | Exit::INCOMPLETE => Verdict::Closed,
            Exit::PENDING => Verdict::Pending,
            _ => Verdict::Unknown,
        };
        let case = || vec![Case { name: trouble.code.to_string(), grade, text: one_line(trouble) }];
        match self.format {
            Format::Table | Format::Wide | Format::Name => {}
            Format::Json => self.data(&pretty(&object())),
            Format::Yaml => self.data(&yaml(&object())),
            Format::Github => {
                let outputs = [("open", "false".to_owned()), ("exit", trouble.exit.code.to_string())];
                self.collect("cutover", &case(), &outputs);
                self.data(&ci::annotations("cutover", &case(), None));
            }
            Format::Junit => self.data(&ci::junit("cutover", &case())),
        }
    }

    /// Whether somebody can be asked.
    pub(crate) const fn can_ask(&self) -> bool {
        !matches!(self.keyboard, Keyboard::None)
    }

    /// Asks a question at the terminal; none where nobody can be asked.
    pub(crate) async fn ask(&mut self, question: &str) -> Option<String> {
        match &self.keyboard {
            Keyboard::None => None,
            #[cfg(test)]
            Keyboard::Scripted(answer) => Some(answer.clone()),
            Keyboard::Terminal => {
                drop(write!(self.err, "{question} ").and_then(|()| self.err.flush()));
                let line = tokio::task::spawn_blocking(|| {
                    let mut line = String::new();
                    io::stdin().read_line(&mut line).map(|_| line)
                });
                line.await.ok().and_then(Result::ok).map(|line| line.trim().to_owned())
            }
        }
    }

    /// The exit code that is left once writing is over: an answer nobody could be given in full is no "open".
    pub(crate) fn settle(&mut self, exit: Exit) -> Exit {
        match self.broken.take() {
            Some(error) => {
                self.say(format!("error: the answer could not be written: {error}"));
                if exit == Exit::OPEN { Exit::UNKNOWN } else { exit }
            }
            None => exit,
        }
    }

    fn collect(&mut self, title: &str, cases: &[Case], outputs: &[(&'static str, String)]) {
        let append = |path: &Option<PathBuf>, text: String| match path {
            Some(path) => {
                OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()))
            }
            None => Ok(()),
        };
        let summary = append(&self.collected.summary, ci::summary(title, cases));
        let output = append(&self.collected.output, ci::outputs(outputs));
        self.note(summary);
        self.note(output);
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.broken.get_or_insert(error);
        }
    }
}

/// A trouble for people: what, what stands in the way, what to do.
pub(crate) fn trouble_lines(trouble: &Trouble) -> Vec<String> {
    let word = if trouble.is_refusal() { "refused" } else { "error" };
    let mut lines = vec![format!("{word}: {}", trouble.message)];
    lines.extend(gate::blocker_lines(&trouble.blockers, trouble.blockers.len(), None, false));
    lines.extend(trouble.hint.as_ref().map(|hint| format!("hint: {hint}")));
    lines
}

/// What is waited for, for people: no refusal, and nothing said twice.
pub(crate) fn waiting_lines(trouble: &Trouble) -> Vec<String> {
    let told = |hint: &str| trouble.blockers.iter().any(|blocker| blocker.next == hint);
    let mut lines = vec![trouble.message.to_string()];
    lines.extend(gate::blocker_lines(&trouble.blockers, trouble.blockers.len(), None, false));
    lines.extend(trouble.hint.iter().filter(|hint| !told(hint)).map(|hint| format!("hint: {hint}")));
    lines
}

fn one_line(trouble: &Trouble) -> String {
    let blockers = trouble.blockers.iter().map(gate::blocker_sentence);
    let hint = trouble.hint.iter().map(|hint| format!("hint: {hint}"));
    [trouble.message.to_string()].into_iter().chain(blockers).chain(hint).collect::<Vec<_>>().join("; ")
}

/// Any typed body as a value.
pub(crate) fn value<T: Serialize>(body: &T) -> Value {
    serde_json::to_value(body).unwrap_or_else(|error| json!({"error": {"message": error.to_string()}}))
}

fn pretty(body: &Value) -> String {
    format!("{body:#}\n")
}

fn yaml(body: &Value) -> String {
    let mut text = serde_saphyr::to_string(body).unwrap_or_else(|_| pretty(body));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
