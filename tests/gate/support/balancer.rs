//! The load balancer in front of several gates: it listens where browsers go, and sends each new
//! connection to the gate that the test chose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A client notices within milliseconds that a connection which it keeps has ended.
const NOTICED: Duration = Duration::from_millis(100);

/// How much is carried at once.
const PART: usize = 16 * 1024;

/// A balancer. What it carries ends with it.
pub struct Balancer {
    chosen: Arc<Mutex<Chosen>>,
    accepting: JoinHandle<()>,
}

struct Chosen {
    address: String,
    connections: JoinSet<std::io::Result<()>>,
    /// What the request begins with whose answer gets lost.
    lost: Arc<Mutex<Option<&'static [u8]>>>,
}

impl Balancer {
    /// Listens on `port` and sends everything to `address`, `http://localhost:20001`.
    pub async fn start(port: u16, address: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (address, connections) = (host_of(address), JoinSet::new());
        let chosen = Chosen { address, connections, lost: Arc::default() };
        let chosen = Arc::new(Mutex::new(chosen));
        let accepting = tokio::spawn({
            let chosen = chosen.clone();
            async move {
                loop {
                    let (browser, _) = listener.accept().await.unwrap();
                    let mut chosen = chosen.lock().unwrap();
                    let (address, lost) = (chosen.address.clone(), Arc::clone(&chosen.lost));
                    chosen.connections.spawn(carry(browser, address, lost));
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

    /// The next request that begins like this is carried, and its answer is lost with the connection.
    pub fn lose_answer_to(&self, beginning: &'static str) {
        *self.chosen.lock().unwrap().lost.lock().unwrap() = Some(beginning.as_bytes());
    }

    /// Whether a request like that has not come yet.
    pub fn has_answer_to_lose(&self) -> bool {
        self.chosen.lock().unwrap().lost.lock().unwrap().is_some()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    browser: TcpStream,
    address: String,
    lost: Arc<Mutex<Option<&'static [u8]>>>,
) -> std::io::Result<()> {
    // A gate that is down is what a browser sees as a connection that ends.
    let gate = TcpStream::connect(address).await?;
    let (mut from_browser, mut to_browser) = browser.into_split();
    let (mut from_gate, mut to_gate) = gate.into_split();
    let (mut asked, mut answered) = (vec![0; PART], vec![0; PART]);
    let mut loses = false;
    loop {
        tokio::select! {
            count = from_browser.read(&mut asked) => {
                let part = &asked[..count?];
                if part.is_empty() {
                    return Ok(());
                }
                let lost = lost.lock().unwrap().take_if(|beginning| part.starts_with(beginning));
                loses |= lost.is_some();
                to_gate.write_all(part).await?;
            }
            count = from_gate.read(&mut answered) => {
                let part = &answered[..count?];
                if part.is_empty() || loses {
                    return Ok(());
                }
                to_browser.write_all(part).await?;
            }
        }
    }
}

fn host_of(address: &str) -> String {
    address.trim_start_matches("http://").replace("localhost", "127.0.0.1")
}
