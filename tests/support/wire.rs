//! A wire between clients and a nats-server, whose way to the server a test can hold: a long way,
//! as long as the test likes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::PATIENCE;

const BUFFER_BYTES: usize = 64 * 1024;

/// Takes connections and passes them on to a server, without TLS. Dropped, it takes no more.
pub struct Wire {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    accepting: AbortHandle,
}

/// One connection over the wire.
#[derive(Clone)]
pub struct Connection {
    /// All that the client has sent, whether it has been passed on or not.
    sent: watch::Receiver<Vec<u8>>,
    /// All that has been passed on to the client.
    delivered: watch::Receiver<Vec<u8>>,
    open: watch::Sender<bool>,
}

impl Wire {
    /// A wire that leads to this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn({
            let connections = connections.clone();
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let server = TcpStream::connect(server).await.unwrap();
                    let connection = Connection::between(client, server);
                    connections.lock().unwrap().push(connection);
                }
            }
        });
        Self {
            address,
            connections,
            accepting: accepting.abort_handle(),
        }
    }

    /// Where it takes connections.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first connection whose client has sent these words.
    pub fn connection_that_sent(&self, words: &str) -> Connection {
        let connections = self.connections.lock().unwrap();
        let found = connections
            .iter()
            .find(|connection| contains(&connection.sent.borrow(), words));
        found
            .unwrap_or_else(|| panic!("no client has sent {words:?}"))
            .clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Connection {
    fn between(client: TcpStream, server: TcpStream) -> Self {
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (note_sent, sent) = watch::channel(Vec::new());
        let (note_delivered, delivered) = watch::channel(Vec::new());
        let (open, is_open) = watch::channel(true);
        // An end that breaks off ends its direction, which the other end sees.
        tokio::spawn(pass_on_while_open(
            from_client,
            to_server,
            note_sent,
            is_open,
        ));
        tokio::spawn(pass_on(from_server, to_client, note_delivered));
        Self {
            sent,
            delivered,
            open,
        }
    }

    /// Keeps what the client sends from reaching the server, until [`Self::release`].
    pub fn hold(&self) {
        self.open.send_replace(false);
    }

    /// Passes on what was held, and what comes.
    pub fn release(&self) {
        self.open.send_replace(true);
    }

    /// Waits until the client has sent these words; whether it has before its end.
    pub async fn sends(&mut self, words: &str) -> bool {
        has_passed(&mut self.sent, words).await
    }

    /// Waits until these words are where the client can read them; whether they were before its
    /// end.
    pub async fn delivers(&mut self, words: &str) -> bool {
        has_passed(&mut self.delivered, words).await
    }
}

async fn has_passed(seen: &mut watch::Receiver<Vec<u8>>, words: &str) -> bool {
    let passed = timeout(PATIENCE, seen.wait_for(|seen| contains(seen, words))).await;
    passed
        .unwrap_or_else(|_| panic!("{words:?} did not pass within {PATIENCE:?}"))
        .is_ok()
}

fn contains(bytes: &[u8], words: &str) -> bool {
    let mut places = bytes.windows(words.len());
    places.any(|place| place == words.as_bytes())
}

async fn pass_on_while_open(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    sent: watch::Sender<Vec<u8>>,
    mut open: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut held = Vec::new();
    loop {
        tokio::select! {
            read = from.read(&mut buffer) => {
                let bytes = &buffer[..read?];
                if bytes.is_empty() {
                    break;
                }
                held.extend_from_slice(bytes);
                sent.send_modify(|sent| sent.extend_from_slice(bytes));
            }
            () = opened(&mut open), if !held.is_empty() => {
                to.write_all(&held).await?;
                held.clear();
            }
        }
    }
    opened(&mut open).await;
    to.write_all(&held).await?;
    to.shutdown().await
}

async fn opened(open: &mut watch::Receiver<bool>) {
    // Once nobody can hold it any more, it is open.
    let _ = open.wait_for(|open| *open).await;
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delivered: watch::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        let bytes = &buffer[..read];
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(bytes).await?;
        delivered.send_modify(|delivered| delivered.extend_from_slice(bytes));
    }
}
