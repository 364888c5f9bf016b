use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
#[command(name = "probe init", about = None::<&str>)]
struct Cli {
    #[command(flatten)]
    args: InitArgs,
}

/// What a command line came to.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

/// Runs a command line, with a person that types these answers or without anybody.
fn init(line: &str, typed: Option<&str>) -> Ran {
    let args =
        Cli::try_parse_from(["init"].into_iter().chain(line.split_whitespace())).unwrap_or_else(|error| panic!("{error}")).args;
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), typed.unwrap_or_default().as_bytes());
    let io = &mut Io { input: &mut input, out: &mut out, err: &mut err, person: typed.is_some() };
    let exit = run(args, &checks::registry(), io);
    let text = |bytes| anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
    Ran { exit, out: text(out), err: text(err) }
}

/// The document that a command line writes to stdout, as the reader understands it.
fn config(line: &str) -> (String, config::Config) {
    let ran = init(&format!("{line} -o -"), None);
    assert_eq!(ran.exit, Exit::OPEN, "{line}: {}", ran.err);
    let config = config::parse("x", ran.out.as_bytes(), &checks::registry()).unwrap_or_else(|errors| panic!("{line}: {errors}"));
    assert_eq!(config.warnings, [], "{line}");
    (ran.out, config)
}

fn phases(config: &config::Config) -> String {
    config.plan.phases.iter().map(|phase| &*phase.name).collect::<Vec<_>>().join(" ")
}

const ALL_FLAGS: &str = "--name home --docker-loki http://a:3100 --k3s-loki http://b:3100 --k3s-loki-gateway http://c/base \
     --alloy http://d:1 http://e:1 --agent http://f:1 --agent http://g:1 --grafana https://h --grafana-datasource P8E80 \
     --grafana-token-env GRAFANA --old-postgres-env OLD --new-postgres-env NEW --old-postgres-address 192.0.2.10:5432";

#[test]
fn every_choice_of_phases_holds_with_and_without_values() {
    let names = ["alloy", "loki", "grafana", "postgres"];
    for choice in 1..16_usize {
        let chosen: Vec<_> = names.iter().enumerate().filter(|(at, _)| choice & (1 << at) != 0).map(|(_, name)| *name).collect();
        // Whatever order they are named in.
        let named = chosen.iter().rev().copied().collect::<Vec<_>>().join(",");
        for flags in ["", ALL_FLAGS, "--k3s-loki http://b:3100", "--agent http://f:1", "--old-postgres-address a:1"] {
            let (text, config) = config(&format!("--phases {named} {flags}"));
            assert_eq!(phases(&config), chosen.join(" "), "{flags}");
            assert_eq!(text.contains("EDIT"), flags != ALL_FLAGS, "{named} {flags}");
        }
    }
}

#[test]
fn a_flag_brings_its_phase_with_it() {
    for (flags, expected) in [
        ("", "alloy loki grafana postgres"),
        ("--name x", "alloy loki grafana postgres"),
        ("--agent http://f:1", "alloy loki grafana postgres"),
        ("--docker-loki http://a:1", "alloy"),
        ("--alloy http://a:1", "alloy"),
        ("--k3s-loki http://a:1", "loki"),
        ("--k3s-loki-gateway http://a:1", "loki"),
        ("--grafana http://a:1", "grafana"),
        ("--grafana-datasource x", "grafana"),
        ("--new-postgres-env X", "postgres"),
        ("--old-postgres-address a:1", "postgres"),
        ("--old-postgres-env X --docker-loki http://a:1", "alloy postgres"),
        (ALL_FLAGS, "alloy loki grafana postgres"),
    ] {
        assert_eq!(phases(&config(flags).1), expected, "{flags}");
    }
}

#[test]
fn what_is_given_is_what_is_written() {
    let (_, config) = config(ALL_FLAGS);
    let target = |name: &str| serde_json::to_value(&config.targets[name]).unwrap();
    assert_eq!(config.plan.migration, "home");
    assert_eq!(target("agents")["agent"]["urls"], serde_json::json!(["http://f:1/", "http://g:1/"]));
    assert_eq!(target("k3s-alloy")["alloy"]["urls"], serde_json::json!(["http://d:1/", "http://e:1/"]));
    assert_eq!(target("docker-loki")["loki"]["url"], "http://a:3100/");
    assert_eq!(target("k3s-loki")["loki"], serde_json::json!({"url": "http://b:3100/", "gateway": "http://c/base"}));
    assert_eq!(target("k3s-grafana")["grafana"], serde_json::json!({"url": "https://h/", "token": {"env": "GRAFANA"}}));
    assert_eq!(target("docker-pg")["postgres"]["dsn"]["env"], "OLD");
    assert_eq!(target("k3s-pg")["postgres"]["dsn"]["env"], "NEW");
    let gone = config.probes["docker-pg-gone"].canonical();
    assert_eq!((&gone["address"], &gone["expect"]), (&"192.0.2.10:5432".into(), &"refused".into()));
    let until = |probe: &str| config.plan.probe(probe).unwrap().1.until.clone();
    assert_eq!(until("journal-to-docker-loki").as_deref(), Some("loki"));
    assert_eq!(until("alloy-health"), None);
    assert_eq!(config.probes["canary-through-grafana"].canonical()["datasource"], "P8E80");
    let selector = config.probes["journal-to-docker-loki"].canonical()["selector"].clone();
    assert!(selector.as_str().unwrap().contains("agent=\"alloy\""), "what Promtail ships is no proof: {selector}");
}

#[test]
fn without_a_person_and_without_flags_it_says_which_lines_to_edit() {
    let ran = init("-o -", None);
    insta::assert_snapshot!("document", ran.out);
    insta::assert_snapshot!("talk", ran.err);
    for line in ran.err.lines().filter(|line| line.starts_with("  -:")) {
        let (number, text) = line.trim_start_matches("  -:").split_once(": ").unwrap();
        let there = ran.out.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
        assert!(there.trim().starts_with(text), "line {number} is {there}");
    }
    assert!(!init(&format!("{ALL_FLAGS} -o -"), None).err.contains("edit"));
}

#[test]
fn a_person_is_asked_and_empty_answers_leave_phases_out() {
    let all = "home\nhttp://a:3100\nhttp://d:1 http://e:1\nhttp://b:3100\n\nhttp://h\nuid\nTOKEN\nhttp://f:1\nNEW\nOLD\na:5432\n";
    let ran = init("-o -", Some(all));
    assert_eq!(ran.exit, Exit::OPEN, "{}", ran.err);
    let config = config::parse("x", ran.out.as_bytes(), &checks::registry()).unwrap();
    assert_eq!(phases(&config), "alloy loki grafana postgres");
    assert!(!ran.out.contains("EDIT") && !ran.out.contains("gateway: "), "{}", ran.out);

    let ran = init("-o -", Some("\n\n\n\nNEW\nOLD\n\n"));
    assert!(!ran.out.contains("docker-pg-gone"), "nobody gave an address: {}", ran.out);
    let config = config::parse("x", ran.out.as_bytes(), &checks::registry()).unwrap();
    assert_eq!(phases(&config), "postgres");

    let ran = init("-o -", Some("\n\nlocalhost:3100\nhttp://b:3100\n\n\n\n\n"));
    assert!(ran.err.contains("write all of it"), "{}", ran.err);
    assert_eq!(ran.exit, Exit::OPEN, "{}", ran.err);
}

#[test]
fn answers_that_end_early_or_leave_nothing_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.yaml");
    for typed in ["", "home\n", "home\nhttp://a:1\n", "\n\n\n\n\n"] {
        let ran = init(&format!("-o {}", file.display()), Some(typed));
        assert_eq!(ran.exit, Exit::USAGE, "{typed:?}");
        assert!(ran.err.contains("nothing was written"), "{}", ran.err);
        assert!(!file.exists(), "{typed:?}");
    }
}

#[test]
fn a_person_who_gives_flags_is_not_asked() {
    for line in ["--docker-loki http://a:1", "--phases loki", "--name x", "--agent http://a:1"] {
        let ran = init(&format!("{line} -o -"), Some(""));
        assert_eq!(ran.exit, Exit::OPEN, "{line}: {}", ran.err);
    }
}

#[test]
fn a_file_that_is_there_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.yaml");
    let line = format!("--docker-loki http://a:1 -o {}", file.display());
    std::fs::write(&file, "mine").unwrap();
    let ran = init(&line, None);
    assert_eq!((ran.exit, std::fs::read_to_string(&file).unwrap().as_str()), (Exit::USAGE, "mine"));
    assert!(ran.err.contains("add --force"), "{}", ran.err);
    let asked = init(&format!("-o {}", file.display()), Some("home\n"));
    assert!(asked.err.contains("is there already") && !asked.err.contains("Name of"), "before any question: {}", asked.err);
    assert_eq!(init(&format!("{line} --force"), None).exit, Exit::OPEN);
    config::load(&file, &checks::registry()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    // What another that was killed has left does not stand in the way.
    std::fs::write(folder.path().join("migration.yaml.next"), "half").unwrap();
    assert_eq!(init(&format!("{line} --force"), None).exit, Exit::OPEN);
    let nowhere = init("--docker-loki http://a:1 -o /nowhere/x.yaml", None);
    assert!(nowhere.exit == Exit::USAGE && nowhere.err.contains("can not be written"), "{}", nowhere.err);
}

#[test]
fn a_file_that_comes_while_a_person_answers_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.yaml");
    std::fs::write(&file, "mine").unwrap();
    assert_eq!(replace(&file, "ours", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    replace(&file, "ours", true).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ours");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn what_does_not_hold_is_told_as_by_config_check_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.yaml");
    for (flags, message) in [
        ("--old-postgres-env PG --new-postgres-env PG", "same connection string"),
        ("--alloy http://a:1 http://a:1", "listed twice"),
    ] {
        for force in ["", "--force"] {
            let ran = init(&format!("{flags} {force} -o {}", file.display()), None);
            assert_eq!(ran.exit, Exit::USAGE, "{flags}");
            assert!(ran.err.contains(message) && ran.err.contains("nothing was written"), "{}", ran.err);
            assert!(!file.exists(), "{flags}");
        }
    }
}

#[test]
fn no_flag_takes_a_secret() {
    for line in [
        "--grafana http://me:hunter2@a",
        "--new-postgres-env postgres://me:hunter2@a/app",
        "--docker-loki http://a/?token=hunter2",
    ] {
        assert!(Cli::try_parse_from(["init"].into_iter().chain(line.split(' '))).is_err(), "{line}");
    }
}

#[test]
fn a_bad_value_is_refused_by_name_before_anything_else() {
    for (flag, value, message) in [
        ("--name", "Home_1", "lower-case letters"),
        ("--name", "x\"}\nspec: {#'", "lower-case letters"),
        ("--grafana-datasource", "a uid", "a uid has letters"),
        ("--grafana-datasource", "", "a uid has letters"),
        ("--new-postgres-env", "PG-NEW", "give the variable's name"),
        ("--old-postgres-address", "192.0.2.10", "write it like db.example:5432"),
        ("--docker-loki", "localhost:3100", "write all of it"),
        ("--phases", "redis", "possible values: alloy, loki, grafana, postgres"),
    ] {
        let error = Cli::try_parse_from(["init", flag, value]).unwrap_err();
        let text = error.to_string();
        assert!(error.exit_code() == 2 && text.contains(flag) && text.contains(message), "{value:?}: {text}");
    }
}

#[test]
fn a_bad_answer_is_asked_for_again_and_costs_no_other() {
    let ran = init("-o -", Some("My Lab\nlab\n\n\nhttp://h\na uid\nuid\nTOKEN\nhttp://f:1\n\n"));
    assert_eq!(ran.exit, Exit::OPEN, "{}", ran.err);
    assert!(ran.out.contains("name: \"lab\"") && ran.out.contains("datasource: \"uid\""), "{}", ran.out);
}

#[test]
fn what_comes_next_is_told_and_fits_the_phases() {
    let all = init("-o -", None).err;
    for next in
        ["config check FILE", "check --config.file FILE", "verifier --config.file FILE", "k3s-pg-commits", "no agent was given"]
    {
        assert!(all.contains(next), "{next}: {all}");
    }
    let loki = init("--k3s-loki http://a:1 --agent http://f:1 -o -", None).err;
    assert!(!loki.contains("k3s-pg-commits") && !loki.contains("no agent"), "{loki}");
    assert!(!init("--new-postgres-env NEW -o -", None).err.contains("no agent"), "a database needs none");
}

#[test]
fn a_part_of_the_migration_is_a_shorter_document() {
    let line = "--name home --phases postgres,loki --k3s-loki http://b:3100 --agent http://f:1 --new-postgres-env NEW";
    insta::assert_snapshot!("part", config(&format!("{line} --old-postgres-address 192.0.2.10:5432")).0);
}

#[test]
fn a_text_that_means_something_to_yaml_stays_a_text() {
    for uid in ["0123", "true", "null"] {
        let (_, config) = config(&format!("--grafana-datasource {uid} --name 123"));
        assert_eq!(config.probes["canary-through-grafana"].canonical()["datasource"], uid);
        assert_eq!(config.plan.migration, "123");
    }
    for variable in ["true", "null", "NO", "_"] {
        let (_, config) = config(&format!("--new-postgres-env {variable}"));
        assert_eq!(serde_json::to_value(&config.targets["k3s-pg"]).unwrap()["postgres"]["dsn"]["env"], variable);
    }
    // Past what the flags refuse: the page itself lets nothing out of its quotes.
    let mut hostile = Cli::try_parse_from(["init", "-o", "-"]).unwrap().args;
    hostile.name = Some("x\"}\nspec: {#'".to_owned());
    let page = Page::of(&Answers::of(hostile));
    let errors = config::parse("x", page.text.as_bytes(), &checks::registry()).unwrap_err();
    // Text that got out of its quotes is one error as well, but not this one.
    assert_eq!(errors.problems().len(), 1, "it is one bad name and nothing else: {errors}");
    assert!(errors.to_string().contains("can not be a name"), "{errors}");
}

#[test]
fn its_help_says_what_it_does() {
    use clap::CommandFactory;
    insta::assert_snapshot!("help", Cli::command().render_long_help().to_string());
}
