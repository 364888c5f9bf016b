use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::super::journal::Journal;
use super::*;

fn account(every: Duration) -> Arc<Account> {
    Arc::new(Account::new("node-1".into(), "canary".into(), Boot(7), every, Clock::machine(None).0))
}

fn journal(path: &Path) -> Sink {
    Sink::Journal(Journal::new(path.to_owned(), "canary".into(), Duration::from_secs(1)).unwrap())
}

fn received(socket: &UnixDatagram) -> CanaryLine {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let message = text.lines().find_map(|line| line.strip_prefix("MESSAGE=")).unwrap();
    CanaryLine::parse(message).unwrap()
}

/// Fills the queue at the other end; says with how many datagrams. One sender's own buffer may be full before it is.
fn fill(path: &Path) -> usize {
    let mut sent = 0;
    loop {
        let stranger = UnixDatagram::unbound().unwrap();
        stranger.set_nonblocking(true).unwrap();
        match std::iter::repeat_with(|| stranger.send_to(b"x", path)).take_while(Result::is_ok).count() {
            0 => return sent,
            more => sent += more,
        }
    }
}

#[tokio::test]
async fn a_refused_line_spends_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let account = account(Duration::from_secs(1));
    let mut emitter = Emitter::new(account.clone(), journal(&path));
    emitter.due(1);
    let head = account.head();
    assert_eq!((head.first, head.last, head.last_at, head.failed), (0, 0, None, 1));
    let journald = UnixDatagram::bind(&path).unwrap();
    emitter.due(1);
    emitter.due(1);
    drop(journald);
    std::fs::remove_file(&path).unwrap();
    emitter.due(1);
    assert!(account.counts().trouble.is_some());
    let journald = UnixDatagram::bind(&path).unwrap();
    emitter.due(1);
    let line = received(&journald);
    assert_eq!((line.seq, line.node.as_str(), line.service.as_str(), line.boot), (3, "node-1", "canary", Boot(7)));
    let head = account.head();
    assert_eq!((head.first, head.last, head.last_at, head.failed), (1, 3, Some(line.at), 2));
    assert_eq!(account.counts().trouble, None);
}

#[tokio::test]
async fn a_journald_that_does_not_read_costs_lines_but_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let account = account(Duration::from_secs(1));
    let mut emitter = Emitter::new(account.clone(), journal(&path));
    while account.counts().failed < 3 {
        emitter.due(1);
    }
    let taken = account.counts().last;
    for seq in 1..=taken {
        assert_eq!(received(&journald).seq, seq);
    }
    emitter.due(1);
    assert_eq!(received(&journald).seq, taken + 1);
}

#[tokio::test]
async fn what_the_journal_has_not_read_is_told_at_once_and_refused_soon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let sink = journal(&path);
    let account = Account::new("node-1".into(), "canary".into(), Boot(7), Duration::from_secs(1), Clock::machine(None).0);
    let account = Arc::new(account.watching(sink.queue()));
    let mut emitter = Emitter::new(account.clone(), sink);
    let unread = |since: Instant| {
        let told = account.head().unread_ms;
        assert!(u128::from(told) <= since.elapsed().as_millis(), "{told} ms");
        told
    };
    let look = |since: Instant, above: u64| {
        while unread(since) <= above {
            assert!(since.elapsed() < Duration::from_mins(1), "{:?}", account.head());
        }
    };
    assert_eq!(account.head().unread_ms, 0);
    let since = Instant::now();
    emitter.due(1);
    look(since, 20);
    emitter.due(1);
    look(since, 40);
    received(&journald);
    assert!(unread(since) > 40, "one of two was read");
    received(&journald);
    assert_eq!(unread(since), 0);

    let since = Instant::now();
    for _ in 0..5 {
        emitter.due(1);
    }
    let head = account.head();
    assert_eq!((head.last, head.failed), (6, 1), "four lines are held");
    assert!(head.trouble.is_some_and(|why| why.contains("temporarily unavailable")));
    look(since, 20);
    for seq in 3..=6 {
        assert_eq!(received(&journald).seq, seq);
    }
    assert_eq!(unread(since), 0);
    emitter.due(1);
    assert_eq!((received(&journald).seq, account.head().trouble), (7, None));
}

/// At a high rate the queue at the journal's end is full before ours.
#[tokio::test]
async fn a_queue_that_is_full_at_the_other_end_is_unread_until_it_takes_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let strangers = fill(&path);
    let sink = journal(&path);
    let account = Account::new("node-1".into(), "canary".into(), Boot(7), Duration::from_secs(1), Clock::machine(None).0);
    let account = Arc::new(account.watching(sink.queue()));
    let mut emitter = Emitter::new(account.clone(), sink);
    emitter.due(1);
    let since = Instant::now();
    while account.head().unread_ms <= 20 {
        assert!(since.elapsed() < Duration::from_mins(1), "{:?}", account.head());
    }
    for _ in 0..strangers {
        journald.recv(&mut [0; 16]).unwrap();
    }
    emitter.due(1);
    received(&journald);
    let head = account.head();
    assert_eq!((head.last, head.failed, head.unread_ms, head.trouble), (1, 1, 0, None));
}

/// A pipe whose reader waits: the write is stuck, the agent is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_pipe_counts_as_refused_and_numbers_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // Opened without O_NONBLOCK, as a shell does it for standard output.
    let pen = Pen::of(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
    let account = account(Duration::from_millis(1));
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Emitter::new(account.clone(), Sink::Pen(pen)).run(stop.clone()));
    let until = async |what: &str, level: &dyn Fn(Counts) -> bool| {
        let reached = async {
            while !level(account.counts()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), reached).await.expect(what);
    };
    until("the pipe is full", &|counts| counts.failed > 50).await;
    let (stuck, head) = (account.counts().last, account.head());
    assert!(head.unread_ms > 0 && head.trouble.is_some(), "{head:?}");
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').count() - 1;
    while u64::try_from(lines(&text)).unwrap() < stuck {
        let length = reader.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..length]);
    }
    until("it goes on", &|counts| counts.last > stuck).await;
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    let text = String::from_utf8(text).unwrap();
    for (line, seq) in text.lines().zip(1..=stuck) {
        assert_eq!(CanaryLine::parse(line).map(|line| line.seq), Some(seq));
    }
}

#[tokio::test]
async fn the_last_line_says_that_it_is_the_last_and_has_the_next_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let account = account(Duration::from_secs(1));
    let stop = CancellationToken::new();
    let mut emitter = Emitter::new(account.clone(), journal(&path));
    emitter.due(1);
    stop.cancel();
    emitter.run(stop).await.unwrap();
    let lines = [received(&journald), received(&journald)];
    assert_eq!(lines.map(|line| (line.seq, line.end)), [(1, false), (2, true)]);
    assert_eq!(account.head().last, 2);

    let file = folder.path().join("lines");
    let mut emitter = Emitter::new(account.clone(), Sink::Pen(Pen::file(file.clone()).unwrap()));
    emitter.due(1);
    emitter.farewell().await.unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| CanaryLine::parse(line).unwrap());
    assert_eq!(lines.map(|line| (line.seq, line.end)).collect::<Vec<_>>(), [(3, false), (4, true)]);
}

#[tokio::test]
async fn what_is_made_up_for_after_a_pause_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let slow = account(Duration::from_secs(1));
    let mut emitter = Emitter::new(slow.clone(), journal(&folder.path().join("nobody")));
    emitter.due(1_000);
    assert_eq!(slow.head().failed, 1);
    let fast = account(Duration::from_millis(1));
    let mut emitter = Emitter::new(fast.clone(), journal(&file));
    emitter.due(1_000);
    assert_eq!(fast.head().failed, 200);
}

/// A queue of a few lines is full for a moment at a high rate, while the journal reads: no line is refused for that.
#[tokio::test]
async fn a_moment_without_room_makes_lines_late_and_a_longer_one_has_them_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    journald.set_nonblocking(true).unwrap();
    assert!(fill(&path) > 3);
    let account = account(Duration::from_millis(1));
    let mut emitter = Emitter::new(account.clone(), journal(&path));
    emitter.due(3);
    assert_eq!((account.head().last, account.head().failed), (0, 0));
    let mut buffer = [0; 16];
    while journald.recv(&mut buffer).is_ok() {}
    emitter.due(1);
    assert_eq!((account.head().last, account.head().failed), (4, 0));
    let since = Instant::now();
    while account.head().failed == 0 {
        emitter.due(1);
        assert!(since.elapsed() < Duration::from_mins(1), "{:?}", account.head());
    }
    assert!(since.elapsed() > PATIENCE);
}

#[tokio::test]
async fn it_ends_when_nobody_reads_any_more() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let pen = Pen::of(std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
    let run = Emitter::new(account(Duration::from_millis(1)), Sink::Pen(pen)).run(CancellationToken::new());
    let end = tokio::time::timeout(Duration::from_mins(1), run).await.unwrap();
    assert!(end.unwrap_err().contains("nobody reads"));
}
