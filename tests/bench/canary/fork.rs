//! One address, two ways: loki-canary has only one `-addr`, and it is its pushes alone that are to be held up.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How the connection of a writer begins. Go's client has other connections for what reads.
const WRITES: &[u8] = b"POST ";

/// A forwarder in this process, on a loopback port of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Fork {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Fork {
    /// Connections that begin with a POST go to the one, all others (websockets too) to the other.
    pub(super) async fn start(writes: SocketAddr, reads: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            connections.spawn(async move {
                                // An error here is one of either side, and both see the end of it.
                                drop(pass(stream, writes, reads).await);
                            });
                        }
                    }
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                }
            }
        });
        Ok(Self { address, _serving: serving })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn pass(mut near: TcpStream, writes: SocketAddr, reads: SocketAddr) -> std::io::Result<()> {
    let mut head = [0; WRITES.len()];
    near.read_exact(&mut head).await?;
    let mut far = TcpStream::connect(if head == WRITES { writes } else { reads }).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    far.write_all(&head).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out at either end, and which it was.
    async fn comes(said: &str) -> (&'static str, String) {
        let (writes, reads) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let fork = Fork::start(writes.local_addr().unwrap(), reads.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(fork.address()).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let (way, mut stream) = tokio::select! {
            accepted = writes.accept() => ("writes", accepted.unwrap().0),
            accepted = reads.accept() => ("reads", accepted.unwrap().0),
        };
        let mut came = String::new();
        stream.read_to_string(&mut came).await.unwrap();
        (way, came)
    }

    #[tokio::test]
    async fn pushes_go_one_way_and_everything_else_the_other() {
        for (said, way) in [("POST /push HTTP/1.1", "writes"), ("GET /tail HTTP/1.1", "reads")] {
            assert_eq!(comes(said).await, (way, said.to_owned()));
        }
    }
}
