use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Parser;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::render::{Collected, Io, Keyboard};
use super::{Aids, Around, Cli, Machine, Stop, run};
use crate::audit::Head;
use crate::config::{Config, ConfigErrors};
use crate::exit::Exit;

mod answers;
mod audit;
mod ci;
mod commands;
mod doctor;
mod exits;
pub(super) mod fixtures;
mod formats;
mod help;
mod looking_back;
mod screens;

/// What a command line left behind.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

/// How a test runs a command line.
struct Shell {
    answer: Option<&'static str>,
    token: Option<&'static str>,
    collected: Option<PathBuf>,
}

const PLAIN: Shell = Shell { answer: None, token: None, collected: None };

fn no_dir(_: &Path) -> Result<Head, String> {
    Err("no such directory".to_owned())
}

fn noon() -> DateTime<Utc> {
    fixtures::at(0)
}

fn no_document(file: &Path) -> Result<Config, ConfigErrors> {
    crate::config::load(file, &checks::registry())
}

impl Shell {
    async fn run(&self, server: &str, line: &str) -> Ran {
        let args = ["cutover", "--server", server].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(args).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut io = Io {
            out: Box::new(&mut out),
            err: Box::new(&mut err),
            format: cli.global.output,
            called: super::plugin::Called::Plain,
            keyboard: self.answer.map_or(Keyboard::None, |answer| Keyboard::Scripted(answer.to_owned())),
            screen: false,
            collected: Collected {
                output: self.collected.as_ref().map(|dir| dir.join("output")),
                summary: self.collected.as_ref().map(|dir| dir.join("summary")),
            },
            broken: None,
        };
        let aids = Aids { verify_dir: no_dir, load: no_document, now: noon };
        let around = Around { token: self.token.map(str::to_owned), machine: Machine::default(), aids };
        let exit = run(cli, &around, Stop::never(), &mut io).await;
        drop(io);
        let plain = |bytes: &[u8]| anstream::adapter::strip_str(std::str::from_utf8(bytes).unwrap()).to_string();
        Ran { exit, out: plain(&out), err: plain(&err) }
    }
}

async fn cutover(server: &MockServer, line: &str) -> Ran {
    PLAIN.run(&server.uri(), line).await
}

async fn serve(verb: &str, at: &str, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    add(&server, verb, at, answer).await;
    server
}

async fn add(server: &MockServer, verb: &str, at: &str, answer: ResponseTemplate) {
    Mock::given(method(verb)).and(path(at)).respond_with(answer).mount(server).await;
}

fn ok<T: serde::Serialize>(body: &T) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn refusal(status: u16, verdict: Option<&str>, blockers: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "code": "refused", "message": "gate alloy is not open", "verdict": verdict, "blockers": blockers, "hint": "wait",
    }))
}
