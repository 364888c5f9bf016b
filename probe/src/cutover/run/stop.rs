//! Ctrl-C, a closed terminal, a shutdown: a run ends after the step that is in flight, at the second one in the middle of it.

use tokio::sync::watch;

/// Tells how often somebody wanted it all to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<u32>);

impl Stop {
    /// Listens to the process's signals from now on. What listens ends with the process.
    pub(crate) fn listen() -> Self {
        let (count, asked) = watch::channel(0);
        #[expect(clippy::disallowed_methods, reason = "it listens for as long as the process lives, and holds nothing")]
        tokio::spawn(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let open = |kind| signal(kind).ok();
            let (mut int, mut term, mut hup) =
                (open(SignalKind::interrupt()), open(SignalKind::terminate()), open(SignalKind::hangup()));
            loop {
                let next = async |signal: &mut Option<tokio::signal::unix::Signal>| match signal {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                };
                tokio::select! {
                    _ = next(&mut int) => {}
                    _ = next(&mut term) => {}
                    _ = next(&mut hup) => {}
                }
                count.send_modify(|times| *times += 1);
            }
        });
        Self(asked)
    }

    /// Nobody ever will.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(watch::channel(0).1)
    }

    /// Whether somebody has asked.
    pub(crate) fn asked(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Until somebody asks.
    pub(crate) async fn once(&mut self) {
        self.times(1).await;
    }

    /// Until somebody has asked twice: what is in flight is broken off.
    pub(crate) async fn twice(&mut self) {
        self.times(2).await;
    }

    async fn times(&mut self, least: u32) {
        if self.0.wait_for(|times| *times >= least).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
