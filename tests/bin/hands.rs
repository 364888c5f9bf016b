//! `hands ADDRESS DEED`: does in the homelab of the rehearsal what an operator does there with `kubectl`, `docker compose` and `pg_dump`.
//! The homelab itself lives in the rehearsal's process; this asks it, prints what it says, and exits as it went.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(deed), None) = (args.next(), args.next(), args.next()) else {
        return said("usage: hands ADDRESS DEED", 2);
    };
    match asked(&address, &deed) {
        Ok(answer) => match answer.split_once(' ') {
            Some(("done", words)) => said(words, 0),
            Some((_, words)) => said(words, 1),
            None => said("the homelab gave no answer", 1),
        },
        Err(error) => said(&format!("the homelab can not be reached: {error}"), 1),
    }
}

fn asked(address: &str, deed: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "{deed}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

fn said(words: &str, code: u8) -> ExitCode {
    let mut out = std::io::stdout();
    // Somebody who does not read still gets the exit code.
    drop(writeln!(out, "{words}"));
    ExitCode::from(code)
}
