//! The socket, and whatever answers behind it.
//!
//! What answers may change while somebody is connected: a gate whose rules changed is made anew, and one
//! whose database came back begins to serve. Connections outlive that. A request that comes in between waits
//! for the next who answers; a connection closed under it would leave its sender to guess whether it counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower::ServiceExt;

use crate::api::problem::Problem;

/// How long open requests may take after whoever answers them is to end. Cloud Run ends the process after 10 s.
const DRAIN_TIME: Duration = Duration::from_secs(7);

const ENDING: &str = "This instance of the gate is about to end";

/// A socket that is listened on until the process is to end. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Front {
    behind: watch::Sender<Option<Behind>>,
    stopping: watch::Receiver<bool>,
    closed: watch::Receiver<bool>,
    /// Nobody is let in any more once nobody can answer.
    _listening: Arc<AbortOnDropHandle<()>>,
}

/// Who answers now, and which requests they have not answered to the end.
#[derive(Clone, Debug)]
struct Behind {
    routes: Router,
    open: TaskTracker,
}

impl Front {
    /// Listens until `stopping` turns true: then nobody new is let in, and idle connections end.
    pub fn open(listener: TcpListener, stopping: watch::Receiver<bool>) -> Self {
        let behind = watch::Sender::new(None);
        let service = Router::new()
            .fallback(answer)
            .with_state(behind.subscribe())
            .into_make_service_with_connect_info::<SocketAddr>();
        let (close, closed) = watch::channel(false);
        let mut stop = stopping.clone();
        let listening = tokio::spawn(async move {
            let stopped = async move {
                let _ = stop.wait_for(|stop| *stop).await;
            };
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await
            {
                tracing::error!(%error, "the socket cannot be served");
            }
            close.send_replace(true);
        });
        let listening = Arc::new(AbortOnDropHandle::new(listening));
        Self { behind, stopping, closed, _listening: listening }
    }

    /// Has requests answered by these routes until `ended` turns true, then lets open ones end. Those that
    /// come later wait for the next routes, unless the process is to end.
    pub async fn serve(&self, routes: Router, mut ended: watch::Receiver<bool>) {
        let open = TaskTracker::new();
        self.behind.send_replace(Some(Behind { routes, open: open.clone() }));
        let mut closed = self.closed.clone();
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
        let until = Instant::now() + DRAIN_TIME;
        let is_stopping = *self.stopping.borrow();
        if !is_stopping {
            self.behind.send_replace(None);
        }
        let answered = async {
            if is_stopping {
                let _ = closed.wait_for(|closed| *closed).await;
            }
            open.close();
            open.wait().await;
        };
        if timeout_at(until, answered).await.is_err() {
            tracing::warn!("some requests did not end in time and were cut off");
        }
    }
}

/// Has a request answered by whoever is behind the socket, as soon as somebody is.
async fn answer(
    State(mut behind): State<watch::Receiver<Option<Behind>>>,
    request: Request,
) -> Response {
    let (routes, open) = match behind.wait_for(Option::is_some).await.as_deref() {
        // Counted while nobody can be put in their place: else they could end in between.
        Ok(Some(behind)) => (behind.routes.clone(), behind.open.token()),
        Ok(None) | Err(_) => {
            let ending = Problem::unavailable(ENDING, &"nobody answers any more");
            // Whoever tries again does it over a connection to somebody else.
            return ([(header::CONNECTION, "close")], ending).into_response();
        }
    };
    let response = match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    // Open until its last byte is read: it may come from the database.
    response.map(|body| {
        Body::new(body.map_err(move |error| {
            let _ = &open;
            error
        }))
    })
}
