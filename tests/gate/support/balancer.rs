//! The load balancer in front of several gates: it listens where browsers go, and sends each new
//! connection to the gate that the test chose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A client notices within milliseconds that a connection which it keeps has ended.
const NOTICED: Duration = Duration::from_millis(100);

/// A balancer. What it carries ends with it.
pub struct Balancer {
    chosen: Arc<Mutex<Chosen>>,
    accepting: JoinHandle<()>,
}

struct Chosen {
    address: String,
    connections: JoinSet<()>,
}

impl Balancer {
    /// Listens on `port` and sends everything to `address`, `http://localhost:20001`.
    pub async fn start(port: u16, address: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let chosen = Chosen { address: host_of(address), connections: JoinSet::new() };
        let chosen = Arc::new(Mutex::new(chosen));
        let accepting = tokio::spawn({
            let chosen = chosen.clone();
            async move {
                loop {
                    let (browser, _) = listener.accept().await.unwrap();
                    let mut chosen = chosen.lock().unwrap();
                    let address = chosen.address.clone();
                    chosen.connections.spawn(carry(browser, address));
                }
            }
        });
        Self { chosen, accepting }
    }

    /// Sends everything to another gate from now on. Open connections end, so that none of them
    /// leads to the old one, and whoever keeps one gets the time to notice.
    pub async fn choose(&self, address: &str) {
        let mut connections = {
            let mut chosen = self.chosen.lock().unwrap();
            chosen.address = host_of(address);
            std::mem::take(&mut chosen.connections)
        };
        connections.shutdown().await;
        tokio::time::sleep(NOTICED).await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut browser: TcpStream, address: String) {
    // A gate that is down is what a browser sees as a connection that ends.
    if let Ok(mut gate) = TcpStream::connect(address).await {
        let _ = tokio::io::copy_bidirectional(&mut browser, &mut gate).await;
    }
}

fn host_of(address: &str) -> String {
    address.trim_start_matches("http://").replace("localhost", "127.0.0.1")
}
