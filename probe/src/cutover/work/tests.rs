use std::cell::RefCell;
use std::future::pending;
use std::os::unix::fs::PermissionsExt;

use rustix::process::kill_process;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

fn job(words: &[&str]) -> Job {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Job { words, env: Vec::new(), secrets: Vec::new(), dir: "/".into(), timeout: Duration::from_hours(1) }
}

fn sh(script: &str) -> Job {
    job(&["sh", "-c", script])
}

/// Runs a command to its end, which must come.
async fn run_to_end(job: &Job) -> (Worked, Vec<String>) {
    let mut lines = Vec::new();
    let worked = timeout(DEADLINE, work(job, pending(), &mut |line| lines.push(line.to_owned()))).await.unwrap();
    (worked, lines)
}

/// Runs a command until it has said a line, then cancels it; `seen` is called at that line.
async fn cancel_at(job: &Job, at: &str, seen: impl Fn()) -> (Worked, Vec<String>) {
    let (lines, said) = (RefCell::new(Vec::new()), Notify::new());
    let mut echo = |line: &str| {
        lines.borrow_mut().push(line.to_owned());
        if line == at {
            seen();
            said.notify_one();
        }
    };
    let worked = work(job, said.notified(), &mut echo).await;
    (worked, lines.into_inner())
}

/// Looks until it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let look = async {
        while !so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, look).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// The state of a process, as the kernel writes it; none if it is gone.
fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn runs(pid: &str) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn not_started(worked: &Worked) -> &str {
    assert_eq!(worked.tail, "", "nothing was run");
    let End::NotStarted(why) = &worked.end else { panic!("{:?}", worked.end) };
    why
}

#[tokio::test]
async fn a_command_ends_with_its_code_or_its_signal() {
    for (script, end) in [("true", End::Exited(0)), ("exit 3", End::Exited(3)), ("kill -9 $$", End::Signalled(9))] {
        assert_eq!(run_to_end(&sh(script)).await.0.end, end, "{script}");
    }
}

#[tokio::test]
async fn it_runs_without_input_in_its_folder_with_its_variables_and_shows_both_streams() {
    let dir = TempDir::new().unwrap();
    let at = fs::canonicalize(dir.path()).unwrap();
    let env = vec![("NAME".to_owned(), "one  two".to_owned())];
    let job = Job { env, dir: at.clone(), ..sh("cat; pwd; echo \"$NAME:${PATH:+inherited}\"; echo oops >&2; printf end") };
    let (worked, mut lines) = run_to_end(&job).await;
    assert_eq!(worked.end, End::Exited(0));
    let mut tail: Vec<_> = worked.tail.lines().collect();
    assert_eq!(tail, lines);
    tail.sort_unstable();
    lines.sort_unstable();
    let mut expected = [at.to_str().unwrap(), "one  two:inherited", "oops", "end"];
    expected.sort_unstable();
    assert_eq!(tail, expected);
}

#[tokio::test]
async fn words_are_given_as_they_are() {
    let (_, lines) = run_to_end(&job(&["printf", "<%s>\n", "a b", "$HOME", "*", ""])).await;
    assert_eq!(lines, ["<a b>", "<$HOME>", "<*>", "<>"]);
}

#[tokio::test]
async fn it_leads_a_process_group_of_its_own() {
    let (_, lines) = run_to_end(&sh("echo $$; cut -d' ' -f5 /proc/$$/stat")).await;
    assert_eq!(lines[0], lines[1]);
}

#[tokio::test]
async fn what_can_not_be_run_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("plain", "#!/bin/sh\n", 0o644);
    file("orphan", "#!/no/such/interpreter\n", 0o755);
    file("text", "no program\n", 0o755);
    for (words, expected) in [
        ([].as_slice(), "name a program for the step"),
        (&[""], "name a program for the step"),
        (&["no-such-program"], "`no-such-program` is not found in PATH: install it"),
        (&["./missing"], "/./missing` does not exist: correct the command"),
        (&["./plain"], "`./plain` is not executable: make it so with `chmod +x`"),
        (&["./orphan"], "the interpreter of its first line is not: install it"),
        (&["./text"], "nor a script with `#!` in front"),
        (&["true", "a\0b"], "can not be started"),
    ] {
        let (worked, lines) = run_to_end(&Job { dir: dir.path().into(), ..job(words) }).await;
        let why = not_started(&worked);
        assert!(why.contains(expected), "{words:?}: {why}");
        assert_eq!(lines, [""; 0]);
    }
}

#[tokio::test]
async fn a_folder_that_is_none_is_not_taken_for_a_missing_program() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for (name, expected) in
        [("missing", "missing does not exist: create it"), ("file", "file can not be entered (Not a directory")]
    {
        let (worked, _) = run_to_end(&Job { dir: dir.path().join(name), ..job(&["true"]) }).await;
        assert!(not_started(&worked).contains(expected), "{worked:?}");
    }
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let token = "hunter2-and-more";
    let env = vec![("TOKEN".to_owned(), token.to_owned())];
    let script = "echo \"a $TOKEN b\"; echo $TOKEN >&2; printf hunter2; printf '%s\\n' -and-more; printf hunter2-an";
    let job = Job { env, secrets: vec![token.to_owned()], ..sh(script) };
    let (worked, mut lines) = run_to_end(&job).await;
    lines.sort_unstable();
    assert_eq!(lines, ["***", "***", "***", "a *** b"]);
    assert!(!worked.tail.contains("hunter"), "{worked:?}");
    assert!(!format!("{job:?}").contains(token), "{job:?}");

    let (worked, _) = run_to_end(&Job { words: vec![format!("/{token}")], ..job.clone() }).await;
    assert!(not_started(&worked).contains("`/***` does not exist"), "{worked:?}");
    let word = Job { words: vec![token.to_owned()], ..job };
    assert!(!format!("{word:?}").contains("hunter"), "{word:?}");
}

#[tokio::test(start_paused = true)]
async fn after_its_time_it_is_ended() {
    let job = Job { timeout: Duration::from_secs(90), ..job(&["sleep", "1000"]) };
    let (worked, _) = run_to_end(&Job { timeout: Duration::from_secs(9), ..job.clone() }).await;
    assert_eq!(worked.end, End::TimedOut);
    let worked = work(&job, pending(), &mut |_| {}).await;
    assert_eq!(worked.end, End::TimedOut);
    let most = job.timeout + GRACE + REST + REST;
    assert!((job.timeout..=most).contains(&worked.took), "{:?}", worked.took);
}

#[tokio::test]
async fn a_command_that_is_cancelled_before_is_not_run() {
    let dir = TempDir::new().unwrap();
    let job = Job { dir: dir.path().into(), ..sh("touch ran") };
    assert_eq!(work(&job, async {}, &mut |_| {}).await.end, End::Cancelled);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn who_is_ended_has_time_to_tidy_up() {
    let script = "trap 'echo tidy; exit 0' TERM; echo ready; while :; do :; done";
    let (worked, lines) = cancel_at(&sh(script), "ready", || {}).await;
    assert_eq!(worked.end, End::Cancelled);
    assert!(lines.iter().any(|line| line == "tidy"), "{lines:?}");
    assert!(worked.took < GRACE, "nobody had to be killed");
}

#[tokio::test]
async fn so_has_who_is_left_by_a_shell_that_dies_at_once() {
    let tidy = "(trap 'echo tidy; exit 0' TERM; echo ready; while :; do :; done) & exec sleep 1000";
    let (worked, lines) = cancel_at(&sh(tidy), "ready", || {}).await;
    assert_eq!(worked.end, End::Cancelled);
    assert!(lines.iter().any(|line| line == "tidy"), "some shells say more: {lines:?}");
}

#[tokio::test]
async fn who_does_not_end_is_killed_with_all_of_its_group() {
    let script = "trap '' TERM; sleep 1000 & echo $!; echo $$; echo ready; wait";
    // From here on the grace is over as soon as nothing else happens.
    let (worked, lines) = cancel_at(&sh(script), "ready", tokio::time::pause).await;
    tokio::time::resume();
    assert_eq!(worked.end, End::Cancelled);
    assert!(worked.took >= GRACE, "not before it had its time: {:?}", worked.took);
    for pid in &lines[..2] {
        until("the process is gone", || !runs(pid)).await;
    }
}

#[tokio::test]
async fn who_was_suspended_is_ended_like_others() {
    let script = "trap 'echo tidy; exit 0' TERM; echo $$; kill -STOP $$; sleep 1000";
    let lines = RefCell::new(Vec::<String>::new());
    let suspended = until("it stands still", || lines.borrow().first().is_some_and(|pid| state(pid) == Some('T')));
    let worked = work(&sh(script), suspended, &mut |line| lines.borrow_mut().push(line.to_owned())).await;
    assert_eq!((worked.end, lines.borrow().last().unwrap().as_str()), (End::Cancelled, "tidy"));
    assert!(worked.took < DEADLINE);
}

#[tokio::test]
async fn heirs_that_hold_the_output_are_not_waited_for() {
    let (worked, lines) = run_to_end(&sh("sleep 1000 & echo $!; echo ended; exit 4")).await;
    let heir = lines[0].parse().ok().and_then(Pid::from_raw).unwrap();
    assert!(runs(&lines[0]), "it is left alone");
    kill_process(heir, Signal::KILL).unwrap();
    assert_eq!((worked.end, lines[1].as_str()), (End::Exited(4), "ended"));
    assert!(worked.took < GRACE, "{:?}", worked.took);
}

#[tokio::test]
async fn heirs_that_talk_without_end_are_not_listened_to() {
    // It ends when nobody listens any more.
    let (worked, _) = run_to_end(&sh("yes & exit 4")).await;
    assert_eq!(worked.end, End::Exited(4));
    assert!(worked.took < DEADLINE / 2, "{:?}", worked.took);
}

#[tokio::test]
async fn a_flood_is_shown_whole_and_kept_short() {
    let (mut count, mut last) = (0, String::new());
    let mut echo = |line: &str| {
        count += 1;
        line.clone_into(&mut last);
    };
    let worked = work(&sh("yes | head -n 200000; echo last"), pending(), &mut echo).await;
    assert_eq!((worked.end, count, last.as_str()), (End::Exited(0), 200_001, "last"));
    assert!(worked.tail.len() <= 4096 && worked.tail.ends_with("y\ny\nlast"));
}

#[tokio::test]
async fn a_flood_does_not_keep_it_from_being_ended() {
    let enough = Notify::new();
    let mut count = 0;
    let mut echo = |_: &str| {
        count += 1;
        if count == 1000 {
            enough.notify_one();
        }
    };
    assert_eq!(work(&job(&["yes"]), enough.notified(), &mut echo).await.end, End::Cancelled);
}

#[tokio::test]
async fn a_line_without_an_end_is_shown_by_its_beginning() {
    let (worked, lines) = run_to_end(&sh("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo next")).await;
    assert_eq!((worked.end, lines.len(), lines[1].as_str()), (End::Exited(0), 2, "next"));
    assert!(lines[0].len() <= 4096 && lines[0].starts_with("xxx") && lines[0].ends_with("x… (cut)"));
}
