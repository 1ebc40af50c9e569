use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long to wait for the connection, and for each part of the answer.
const LIMIT: Duration = Duration::from_secs(2);

/// More of an answer is not read.
const MAX_BYTES: u64 = 16 * 1024;

/// Asks the health listener of a service on this machine, by the address that it listens on, whether it takes work:
/// the health check of a container that holds nothing else to ask with.
///
/// # Errors
/// [`ProbeError`]: it does not answer, or is not ready.
pub fn probe(listen: SocketAddr) -> Result<(), ProbeError> {
    let address = SocketAddr::new(reachable(listen.ip()), listen.port());
    let answer = ask(address).map_err(|source| ProbeError::Silent { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut status_line = head.lines().next().unwrap_or_default().split(' ');
    let version = status_line.next().unwrap_or_default();
    if version.starts_with("HTTP/1.") && status_line.next() == Some("200") {
        return Ok(());
    }
    Err(ProbeError::NotReady {
        answer: body.trim().to_owned(),
    })
}

/// Where who listens on every address is reached from the same machine.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    write!(
        connection,
        "GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.take(MAX_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// A service takes no work.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answers there.
    #[error("no answer from {address}")]
    Silent {
        /// Who was asked.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It answers something else than 200.
    #[error("not ready: {answer}")]
    NotReady {
        /// The body of its answer.
        answer: String,
    },
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{HealthListener, Readiness, ReadinessReport, Shutdown};

    struct Flag(Arc<AtomicBool>);

    impl Readiness for Flag {
        fn report(&self) -> ReadinessReport {
            ReadinessReport {
                ready: self.0.load(Ordering::SeqCst),
                degraded: Vec::new(),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_on_every_address_is_ready_or_says_why_not() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let listener = HealthListener::bind(any.parse().unwrap()).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let listen = SocketAddr::new(listener.local_addr().unwrap().ip(), port);
            let ready = Arc::new(AtomicBool::new(true));
            let serving = tokio::spawn(listener.serve(
                Arc::new(Flag(ready.clone())),
                Arc::new(Registry::default()),
                Shutdown::new(),
            ));
            let ask = || tokio::task::spawn_blocking(move || probe(listen));
            ask().await.unwrap().unwrap();
            ready.store(false, Ordering::SeqCst);
            let refusal = ask().await.unwrap().unwrap_err().to_string();
            assert_eq!(refusal, r#"not ready: {"ready":false,"degraded":[]}"#);
            serving.abort();
        }
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = probe(address).unwrap_err().to_string();
        assert_eq!(error, format!("no answer from {address}"));
    }

    #[test]
    fn an_answer_in_another_language_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).unwrap();
                question.push(byte[0]);
            }
            connection.write_all(b"SSH-2.0-200 200\r\n").unwrap();
        });
        let error = probe(address).unwrap_err();
        assert!(matches!(error, ProbeError::NotReady { .. }), "{error}");
        server.join().unwrap();
    }
}
