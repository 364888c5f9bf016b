//! journald's native protocol: one datagram is one entry, and nothing is ever answered.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_send_buffer_size;

/// What the socket may hold that journald has not read. journald takes nothing while it hangs, and its socket says nothing of it
/// before it is full: with the system's own buffer that is after 166 lines of ours, minutes of them.
const HELD: Duration = Duration::from_secs(2);
/// Half of what the kernel charges for one line of ours, 1280 bytes on x86-64 (Linux 6.18): it doubles the size that it is asked for.
const HALF_LINE: usize = 640;

/// Writes entries into the journal without ever waiting for it.
#[derive(Debug)]
pub(super) struct Journal {
    socket: Arc<UnixDatagram>,
    path: PathBuf,
    identifier: String,
}

/// What was sent and not read yet, seen from the sending end.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<UnixDatagram>);

impl Queue {
    /// Whether the journal has read what it was sent: the kernel calls a datagram socket writable while no more than a quarter of its
    /// buffer is unread. Of the least buffer, which one line a second has, that is less than a line: all of it was read. Of a
    /// larger one it is half a second's lines.
    pub(super) fn is_read(&self) -> bool {
        let mut sockets = [PollFd::new(&self.0, PollFlags::OUT)];
        matches!(poll(&mut sockets, Some(&Timespec::default())), Ok(1..))
    }
}

impl Journal {
    /// The journal behind the socket at this path, which need not be there yet, for a line at each of these intervals.
    ///
    /// Two seconds' lines may be unread: enough for a journald that writes its file, and soon full when it hangs. The kernel has a
    /// least size of 4608 bytes, which takes four lines of ours (two, if their node and service have long names), and a largest,
    /// `net.core.wmem_max`. Where journald's own queue, `net.unix.max_dgram_qlen`, is shorter than that, it is full first.
    pub(super) fn new(path: PathBuf, identifier: String, every: Duration) -> io::Result<Self> {
        SocketAddr::from_pathname(&path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let lines = HELD.as_millis().div_ceil(every.as_millis().max(1));
        let size = usize::try_from(lines).unwrap_or(usize::MAX).saturating_mul(HALF_LINE);
        set_socket_send_buffer_size(&socket, size)?;
        Ok(Self { socket: Arc::new(socket), path, identifier })
    }

    /// To look at what is unread, from elsewhere.
    pub(super) fn queue(&self) -> Queue {
        Queue(self.socket.clone())
    }

    /// Hands one entry over, or says at once why it is not taken: nobody there, or the queue is full. The path is looked up each
    /// time, so that a journald that was started again, which makes a new socket, is found again.
    pub(super) fn send(&self, message: &str) -> io::Result<()> {
        let entry = encode(&[("MESSAGE", message), ("PRIORITY", "6"), ("SYSLOG_IDENTIFIER", &self.identifier)]);
        self.socket.send_to(&entry, &self.path).map(drop)
    }
}

/// `KEY=value` per line; a value that has line breaks itself goes with its length in front.
fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut entry = Vec::new();
    for (key, value) in fields {
        entry.extend_from_slice(key.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            // A length that a u64 can not hold is no length of memory.
            entry.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn journal(path: &std::path::Path) -> Journal {
        Journal::new(path.to_owned(), "canary".into(), Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn fields_are_lines_and_line_breaks_go_with_their_length() {
        let entry = encode(&[("MESSAGE", "a=b"), ("NOTE", "c\nd"), ("EMPTY", "")]);
        assert_eq!(entry, b"MESSAGE=a=b\nNOTE\n\x03\0\0\0\0\0\0\0c\nd\nEMPTY=\n");
    }

    #[test]
    fn an_entry_reaches_the_socket_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        journal(&path).send("{}").unwrap();
        assert_eq!(received(&journald), "MESSAGE={}\nPRIORITY=6\nSYSLOG_IDENTIFIER=canary\n");
    }

    #[test]
    fn a_journald_that_comes_back_with_a_new_socket_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = journal(&path);
        assert_eq!(journal.send("1").unwrap_err().kind(), io::ErrorKind::NotFound);
        let journald = UnixDatagram::bind(&path).unwrap();
        journal.send("2").unwrap();
        assert!(received(&journald).starts_with("MESSAGE=2\n"));
        drop(journald);
        assert_eq!(journal.send("3").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        let journald = UnixDatagram::bind(&path).unwrap();
        journal.send("4").unwrap();
        assert!(received(&journald).starts_with("MESSAGE=4\n"));
    }

    #[test]
    fn a_journald_that_does_not_read_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let (done, told) = std::sync::mpsc::channel();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                let journal = journal(&path);
                let refused = (0..100_000).find_map(|n| journal.send(&n.to_string()).err().map(|error| (n, error.kind())));
                done.send(refused).unwrap();
            }
        });
        let (taken, kind) = told.recv_timeout(Duration::from_mins(1)).expect("a send that returns").expect("a full queue");
        writer.join().unwrap();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        // What was taken is all there, in order, and what was refused is not.
        journald.set_nonblocking(true).unwrap();
        for n in 0..taken {
            assert!(received(&journald).starts_with(&format!("MESSAGE={n}\n")));
        }
        assert_eq!(journald.recv(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_at_once() {
        assert!(Journal::new(PathBuf::from("x".repeat(200)), "canary".into(), Duration::from_secs(1)).is_err());
    }
}
