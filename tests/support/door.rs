//! A loopback port that can be shut and opened again.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BACKLOG: u32 = 256;

/// A listener that can be shut without giving its port away: a second socket is bound to the port and never listens, so nobody
/// else gets it while the first one is gone.
pub(crate) struct Door {
    address: SocketAddr,
    spare: TcpSocket,
    listener: Option<TcpListener>,
}

impl Door {
    /// A free loopback port, shut.
    pub(crate) fn reserve() -> Result<Self> {
        let spare = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { address: spare.local_addr()?, spare, listener: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn open(&mut self) -> Result<()> {
        if self.listener.is_none() {
            // Bound before the other one listens: afterwards the kernel would refuse it.
            let next = bound(self.address)?;
            self.listener = Some(std::mem::replace(&mut self.spare, next).listen(BACKLOG)?);
        }
        Ok(())
    }

    pub(crate) fn shut(&mut self) {
        self.listener = None;
    }

    /// The next connection; never, while the door is shut.
    pub(crate) async fn next(&self) -> Option<TcpStream> {
        match &self.listener {
            // An error here is the client's, which has left already.
            Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
            None => std::future::pending().await,
        }
    }
}

fn bound(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
