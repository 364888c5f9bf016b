//! What `--help` says of each verb, and whether it is true.

use clap::{Command, CommandFactory};

use super::*;

/// The whole command line, with what each verb takes from its parents.
fn whole() -> Command {
    let mut command = Cli::command().term_width(100);
    command.build();
    command
}

/// Every command with its name, groups of verbs included.
fn all() -> Vec<(String, Command)> {
    fn visit(command: &Command, name: &str, seen: &mut Vec<(String, Command)>) {
        seen.push((name.to_owned(), command.clone()));
        for each in command.get_subcommands() {
            visit(each, &format!("{name} {}", each.get_name()), seen);
        }
    }
    let mut seen = Vec::new();
    visit(&whole(), "cutover", &mut seen);
    seen
}

fn help(command: &Command) -> String {
    command.clone().render_long_help().to_string()
}

#[test]
fn help_tells_the_exit_codes() {
    let help = help(&whole());
    insta::assert_snapshot!("help", help);
    for exit in Exit::ALL {
        assert!(help.contains(&format!("{:>3}  {:<11}  {}", exit.code, exit.name, exit.meaning)), "{exit:?}");
    }
}

/// What every verb takes is in the help of each, and read once in that of the whole command.
fn without_global_options(help: &str) -> String {
    let Some((before, rest)) = help.split_once("Global options:\n") else { panic!("no global options: {help}") };
    let after = rest.lines().skip_while(|line| line.is_empty() || line.starts_with(' ')).collect::<Vec<_>>().join("\n");
    let own = |line: &str| !matches!(line.trim(), "-h, --help" | "Print help (see a summary with '-h')" | "Print help");
    let text = format!("{before}{after}");
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| own(line)).collect();
    lines.dedup_by(|next, before| next.is_empty() && before.is_empty());
    let text = lines.join("\n").replace("Options:\n\n", "");
    text.trim_end().trim_end_matches("Options:").trim_end().to_owned()
}

#[test]
fn each_verb_says_what_it_takes() {
    for top in whole().get_subcommands() {
        let name = top.get_name();
        let own = all().into_iter().filter(|(each, _)| each.split(' ').nth(1) == Some(name));
        let told: Vec<_> =
            own.map(|(each, command)| format!("$ {each} --help\n{}\n", without_global_options(&help(&command)))).collect();
        insta::assert_snapshot!(format!("help_{name}"), told.join("\n"));
    }
}

#[test]
fn each_verb_option_and_value_says_what_it_is() {
    for (name, command) in all() {
        assert!(command.get_about().is_some(), "{name} does not say what it does");
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(argument.get_help().is_some_and(|help| !help.to_string().is_empty()), "{name}: {id} has no help");
            for value in argument.get_possible_values().iter().filter(|_| !argument.is_hide_possible_values_set()) {
                let told = value.get_help().is_some() || argument.get_action().takes_values() && id == "shell";
                let flag = !argument.get_action().takes_values();
                assert!(told || flag, "{name}: {id}={} has no help", value.get_name());
            }
        }
    }
}

/// The words of a line as a shell gives them to a command.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    quoted.collect()
}

#[test]
fn every_verb_has_examples_that_parse() {
    let mut seen = 0;
    for (name, command) in all() {
        let told = [command.get_after_help(), command.get_after_long_help()].map(|help| help.map(ToString::to_string));
        let told = told.into_iter().flatten().collect::<Vec<_>>().join("\n");
        assert!(command.has_subcommands() || told.contains("Examples:\n  cutover "), "{name} has no examples: {told}");
        let examples = told.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("cutover "));
        for line in examples {
            let line = line.split('#').next().unwrap_or_default();
            for part in line.split("&&").flat_map(|part| part.split(['|', '>'])).map(str::trim) {
                let Some(rest) = part.strip_prefix("cutover ") else { continue };
                let parsed = Cli::try_parse_from(std::iter::once("cutover".to_owned()).chain(words(rest)));
                assert!(parsed.is_ok(), "{name}: {part}: {}", parsed.unwrap_err());
                seen += 1;
            }
        }
        let own = told.lines().any(|line| line.trim_start().starts_with(&name));
        assert!(command.has_subcommands() || own, "{name}: none of its examples is one of it: {told}");
    }
    assert!(seen > 60, "{seen}");
}

/// A command that a help text names in passing is one, too.
#[test]
fn what_help_names_in_passing_exists() {
    let commands: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
    let mut seen = 0;
    for (name, command) in all() {
        let text = help(&command).split_whitespace().collect::<Vec<_>>().join(" ");
        for named in text.split('`').skip(1).step_by(2).filter(|named| named.starts_with("cutover ")) {
            let verb: Vec<&str> = named.split(' ').take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
            let known = (2..=verb.len()).any(|many| commands.contains(&verb[..many].join(" ")));
            assert!(known, "{name} names `{named}`");
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen}");
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}
