//! Over TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::*;

async fn pair() -> (Echo, FaultProxy) {
    let echo = Echo::start().await;
    let proxy = FaultProxy::start(echo.address).unwrap();
    (echo, proxy)
}

/// A connection over which something has passed.
async fn used(proxy: &FaultProxy) -> TcpStream {
    let mut stream = dial(proxy).await;
    says(&mut stream, "hello").await;
    assert_eq!(take(&mut stream, 5).await, b"hello");
    stream
}

#[tokio::test]
async fn everything_passes_unchanged_and_is_counted() {
    let (_echo, proxy) = pair().await;
    let mut first = used(&proxy).await;
    let second = used(&proxy).await;
    assert_eq!((proxy.connections(), proxy.open()), (2, 2));
    drop(second);
    settles(&proxy, 1).await;
    let long: Vec<u8> = (0..=u8::MAX).cycle().take(1_000_000).collect();
    let (mut from, mut to) = first.split();
    let mut back = vec![0; long.len()];
    let (sent, received) = tokio::join!(to.write_all(&long), from.read_exact(&mut back));
    sent.unwrap();
    received.unwrap();
    assert!(back == long);
    to.shutdown().await.unwrap();
    assert_eq!(rest(&mut first).await, b"", "the end of what is said passes too");
    settles(&proxy, 0).await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn refuse_closes_the_port_and_clear_opens_the_same_one() {
    let (_echo, proxy) = pair().await;
    let mut open = used(&proxy).await;
    for _ in 0..3 {
        proxy.set(Fault::Refuse).await.unwrap();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!((rest(&mut open).await.len(), proxy.open()), (0, 0));
        proxy.clear().await.unwrap();
        open = used(&proxy).await;
    }
}

#[tokio::test]
async fn reset_resets_open_connections_and_new_ones() {
    let (_echo, proxy) = pair().await;
    let mut open = used(&proxy).await;
    proxy.set(Fault::Reset).await.unwrap();
    assert_eq!(proxy.open(), 0);
    is_reset(&mut open).await;
    is_reset(&mut dial(&proxy).await).await;
    proxy.clear().await.unwrap();
    used(&proxy).await;
}

#[tokio::test]
async fn a_black_hole_silences_open_connections_and_new_ones_until_it_is_over() {
    let (_echo, proxy) = pair().await;
    let mut open = used(&proxy).await;
    proxy.set(Fault::BlackHole).await.unwrap();
    let mut new = dial(&proxy).await;
    for stream in [&mut open, &mut new] {
        says(stream, "anybody?").await;
        assert!(silent(stream).await);
    }
    proxy.clear().await.unwrap();
    for stream in [&mut open, &mut new] {
        assert_eq!(take(stream, 8).await, b"anybody?");
    }
    proxy.set(Fault::BlackHole).await.unwrap();
    says(&mut open, "again").await;
    proxy.set(Fault::Reset).await.unwrap();
    is_reset(&mut open).await;
}

#[tokio::test]
async fn a_black_hole_does_not_tell_whether_its_upstream_is_there() {
    let (_door, address) = nobody();
    let proxy = FaultProxy::start(address).unwrap();
    proxy.set(Fault::BlackHole).await.unwrap();
    let mut stream = dial(&proxy).await;
    assert!(silent(&mut stream).await);
    proxy.clear().await.unwrap();
    is_reset(&mut stream).await;
}

#[tokio::test]
async fn a_delay_holds_each_chunk_and_the_other_one_the_first_byte_only() {
    let (_echo, proxy) = pair().await;
    let mut stream = used(&proxy).await;
    let begun = Instant::now();
    proxy.set(Fault::Delay(Duration::from_millis(50))).await.unwrap();
    for _ in 0..3 {
        says(&mut stream, "x").await;
        take(&mut stream, 1).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(150));

    for first in [Fault::Delay(LONG), Fault::DelayFirst(LONG)] {
        proxy.set(first).await.unwrap();
        says(&mut stream, "held").await;
        assert!(silent(&mut stream).await);
        proxy.clear().await.unwrap();
        assert_eq!(take(&mut stream, 4).await, b"held", "what was held comes once the delay is gone");
    }

    // A server that goes on talking.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).unwrap();
    let mut client = dial(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    for (later, held) in [(Fault::Delay(LONG), true), (Fault::DelayFirst(LONG), false)] {
        proxy.clear().await.unwrap();
        says(&mut client, "?").await;
        take(&mut server, 1).await;
        says(&mut server, "!").await;
        take(&mut client, 1).await;
        proxy.set(later).await.unwrap();
        says(&mut server, "and").await;
        assert_eq!(silent(&mut client).await, held);
        proxy.clear().await.unwrap();
        take(&mut client, if held { 3 } else { 2 }).await;
    }
}

#[tokio::test]
async fn a_throttle_lets_so_many_bytes_a_second_pass() {
    let (_echo, proxy) = pair().await;
    let mut stream = used(&proxy).await;
    proxy.set(Fault::Throttle(2000)).await.unwrap();
    let (begun, text) = (Instant::now(), "0123456789".repeat(50));
    says(&mut stream, &text).await;
    assert_eq!(take(&mut stream, 500).await, text.as_bytes());
    assert!(begun.elapsed() >= Duration::from_millis(250));
    proxy.set(Fault::Throttle(1)).await.unwrap();
    says(&mut stream, "xyz").await;
    assert!(silent(&mut stream).await);
    proxy.clear().await.unwrap();
    assert_eq!(take(&mut stream, 3).await, b"xyz");
}

#[tokio::test]
async fn truncate_ends_in_good_order_after_so_many_bytes() {
    let (_echo, proxy) = pair().await;
    let (mut open, mut shorter) = (used(&proxy).await, used(&proxy).await);
    proxy.set(Fault::Truncate(7)).await.unwrap();
    for stream in [&mut open, &mut dial(&proxy).await] {
        says(stream, "01").await;
        take(stream, 2).await;
        says(stream, "23456789").await;
        assert_eq!(rest(stream).await, b"23456");
    }
    says(&mut shorter, "0123456").await;
    assert_eq!(take(&mut shorter, 7).await, b"0123456");
    assert!(silent(&mut shorter).await, "it is open");
    proxy.clear().await.unwrap();
    says(&mut shorter, "more").await;
    assert_eq!(take(&mut shorter, 4).await, b"more");
}

#[tokio::test]
async fn corrupt_flips_each_so_manieth_byte() {
    let (_echo, proxy) = pair().await;
    let mut stream = used(&proxy).await;
    proxy.set(Fault::Corrupt(3)).await.unwrap();
    let mut back = Vec::new();
    for part in ["01", "2345", "6789"] {
        says(&mut stream, part).await;
        back.extend(take(&mut stream, part.len()).await);
    }
    assert_eq!(back, [b'0', b'1', !b'2', b'3', b'4', !b'5', b'6', b'7', !b'8', b'9']);
    proxy.clear().await.unwrap();
    says(&mut stream, "0123").await;
    assert_eq!(take(&mut stream, 4).await, b"0123");
}

#[tokio::test]
async fn whoever_comes_while_the_upstream_is_down_is_reset() {
    let (_door, address) = nobody();
    let proxy = FaultProxy::start(format!("http://{address}/")).unwrap();
    is_reset(&mut dial(&proxy).await).await;
    settles(&proxy, 0).await;
}

#[tokio::test]
async fn an_upstream_that_resets_is_heard_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).unwrap();
    let mut client = dial(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    says(&mut client, "?").await;
    take(&mut server, 1).await;
    server.set_zero_linger().unwrap();
    drop(server);
    is_reset(&mut client).await;
}

#[tokio::test]
async fn another_upstream_gets_what_comes_from_then_on() {
    let (_echo, proxy) = pair().await;
    let mut open = used(&proxy).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.retarget(listener.local_addr().unwrap()).await.unwrap();
    assert_eq!(rest(&mut open).await, b"", "the former one is let go");
    let mut client = dial(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    says(&mut client, "you").await;
    assert_eq!(take(&mut server, 3).await, b"you");
}

#[tokio::test]
async fn what_nobody_reads_is_not_piled_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).unwrap();
    let client = dial(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.set(Fault::BlackHole).await.unwrap();
    let (written, mut flood) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let count = Arc::clone(&written);
    flood.spawn(async move {
        while let Ok(bytes) = server.write(&[0; 16 * 1024]).await {
            count.fetch_add(bytes, Ordering::SeqCst);
        }
    });
    let (mut last, mut still) = (0, 0);
    crate::wait_until(PATIENCE, "the flood stands still", async || {
        let now = written.load(Ordering::SeqCst);
        still = if now > 0 && now == last { still + 1 } else { 0 };
        last = now;
        ensure!(still >= 5, "{now} bytes");
        Ok(())
    })
    .await
    .unwrap();
    assert!(last < 32 * 1024 * 1024, "{last} bytes are held, more than the buffers of two sockets");
    drop(client);
}
