//! `cutover` by other names: as `kubectl-cutover` it is kubectl's plugin and speaks of itself as `kubectl cutover`; as
//! `kubectl_complete-cutover` it completes that plugin's words, by the protocol that kubectl has for it.

use std::ffi::OsStr;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

/// What kubectl runs for `kubectl cutover`.
const PLUGIN: &str = "kubectl-cutover";
/// What kubectl runs when it completes words behind `kubectl cutover`.
const COMPLETER: &str = "kubectl_complete-cutover";
/// Tells kubectl's shell script not to offer files.
const NO_FILES: &str = ":4";
/// Tells it to offer files.
const FILES: &str = ":0";

/// By which name the command was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// `cutover`, or any other name.
    Plain,
    /// As kubectl's plugin.
    Plugin,
    /// To complete that plugin's words.
    Completer,
}

impl Called {
    /// By the first word of the process's arguments.
    pub(super) fn by(program: Option<&OsStr>) -> Self {
        match program.map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str) {
            Some(PLUGIN) => Self::Plugin,
            Some(COMPLETER) => Self::Completer,
            Some(_) | None => Self::Plain,
        }
    }

    /// The command line with the name by which it was called.
    pub(super) fn name(self, command: Command) -> Command {
        match self {
            Self::Plain | Self::Completer => command,
            Self::Plugin => named(command).bin_name("kubectl cutover"),
        }
    }

    /// Words for people, with commands as they are to be typed.
    pub(super) fn words(self, text: String) -> String {
        match self {
            Self::Plain | Self::Completer => text,
            Self::Plugin => typed(&text),
        }
    }
}

fn named(mut command: Command) -> Command {
    if let Some(help) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(typed(&help));
    }
    if let Some(help) = command.get_after_long_help().map(ToString::to_string) {
        command = command.after_long_help(typed(&help));
    }
    command.mut_subcommands(named)
}

/// Puts `kubectl` before each command of ours: in backticks, at the beginning of an indented line, behind `&&` and `next:`.
fn typed(text: &str) -> String {
    ["`", "\n  ", "&& ", "next: "]
        .iter()
        .fold(text.to_owned(), |text, before| text.replace(&format!("{before}cutover "), &format!("{before}kubectl cutover ")))
}

/// What may stand where the last of these words is being typed: one candidate a line, then what kubectl is to make of files.
pub(super) fn complete(mut command: Command, words: &[String]) -> String {
    command.build();
    let Some((typed, before)) = words.split_last() else { return format!("{NO_FILES}\n") };
    let (mut at, mut flag) = (&command, None);
    for word in before {
        if flag.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            flag = at.get_arguments().find(|arg| is_called(arg, word) && takes_value(arg));
        } else if let Some(inner) = at.find_subcommand(word) {
            at = inner;
        }
    }
    let offers = match flag {
        Some(arg) => values(arg),
        None if typed.starts_with('-') => flags(at),
        None => {
            at.get_positionals().flat_map(values).chain(at.get_subcommands().filter(|one| !one.is_hide_set()).map(verb)).collect()
        }
    };
    let file =
        |arg: &Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| matches!(name.as_str(), "FILE" | "DIR")));
    let directive = if flag.is_some_and(file) { FILES } else { NO_FILES };
    let fits = offers.into_iter().filter(|offer| offer.starts_with(typed.as_str()));
    fits.chain([directive.to_owned()]).map(|line| line + "\n").collect()
}

fn is_called(arg: &Arg, word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| word.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4]))),
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn values(arg: &Arg) -> Vec<String> {
    let value = |value: &clap::builder::PossibleValue| described(value.get_name(), value.get_help());
    if takes_value(arg) { arg.get_possible_values().iter().map(value).collect() } else { Vec::new() }
}

fn flags(command: &Command) -> Vec<String> {
    let flag = |arg: &Arg| arg.get_long().map(|long| described(&format!("--{long}"), arg.get_help()));
    command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(flag).collect()
}

fn verb(command: &Command) -> String {
    described(command.get_name(), command.get_about())
}

fn described(name: &str, help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    match help.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => format!("{name}\t{line}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    #[test]
    fn the_name_by_which_it_is_called_counts_not_its_folder() {
        for (program, called) in [
            ("cutover", Called::Plain),
            ("/usr/local/bin/kubectl-cutover", Called::Plugin),
            ("kubectl_complete-cutover", Called::Completer),
            ("/kubectl-cutover/cutover", Called::Plain),
            ("", Called::Plain),
        ] {
            assert_eq!(Called::by(Some(OsStr::new(program))), called, "{program}");
        }
        assert_eq!(Called::by(None), Called::Plain);
    }

    #[test]
    fn as_a_plugin_it_speaks_of_itself_as_it_is_typed() {
        fn visit(command: &mut Command, seen: &mut usize) {
            let help = command.render_long_help().to_string();
            assert!(!help.lines().any(|line| line.trim_start().starts_with("cutover ")), "{help}");
            assert!(help.contains("Usage: kubectl cutover"), "{help}");
            *seen += help.matches("\n  kubectl cutover ").count();
            for inner in command.get_subcommands_mut() {
                visit(inner, seen);
            }
        }
        let mut command = Called::Plugin.name(Cli::command());
        command.build();
        let mut seen = 0;
        visit(&mut command, &mut seen);
        assert!(seen > 40, "{seen} examples");
        let hint = "hint: `cutover resume` goes on; next: cutover abort; of this cutover";
        assert_eq!(
            Called::Plugin.words(hint.to_owned()),
            "hint: `kubectl cutover resume` goes on; next: kubectl cutover abort; of this cutover"
        );
        assert_eq!(Called::Plain.words(hint.to_owned()), hint);
    }

    #[test]
    fn words_are_completed_as_kubectl_asks_for_them() {
        for (line, offers, directive) in [
            ("adv", vec!["advance"], ":4"),
            ("gate ", vec!["check", "wait", "explain"], ":4"),
            ("gate w", vec!["wait"], ":4"),
            ("--output jso", vec!["json"], ":4"),
            ("-o jun", vec!["junit"], ":4"),
            ("status --outp", vec!["--output"], ":4"),
            ("gate --output json ex", vec!["explain"], ":4"),
            ("--file ", vec![], ":0"),
            ("plan --out ", vec![], ":0"),
            ("completion z", vec!["zsh"], ":4"),
            ("doc", vec!["doctor"], ":4"),
            ("status ", vec![], ":4"),
            ("nothing ", vec![], ":4"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let told = complete(Cli::command(), &words);
            let mut lines: Vec<&str> = told.lines().map(|line| line.split('\t').next().unwrap()).collect();
            assert_eq!(lines.pop(), Some(directive), "{line}: {told}");
            if line != "nothing " {
                assert_eq!(lines, offers, "{line}: {told}");
            }
        }
        assert!(complete(Cli::command(), &[String::new()]).contains("\ndoctor\tLook at everything a run needs"));
    }
}
