//! As much of a browser as signing in needs: cookies, redirects one by one, and an Origin.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

use crate::cli::demo::pipeline::{client, read_answer};

/// Keeps the gate's cookies and sends them to the gate alone. A clone is a second tab.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    origin: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser for the pages of `origin`.
    pub fn new(origin: &str) -> Result<Self, String> {
        Ok(Self { http: client()?, origin: origin.to_owned(), cookies: BTreeMap::new() })
    }

    /// Opens a path of the gate and follows redirects, at the directory with `login_hint`.
    pub async fn open(&mut self, path: &str, login_hint: &str) -> Result<String, String> {
        let mut url = format!("{}{path}", self.origin);
        for _ in 0..10 {
            let answer = self.send(self.http.request(Method::GET, &url)).await?;
            if !answer.status().is_redirection() {
                return page_text(answer).await;
            }
            let location =
                answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or("a redirect leads nowhere")?;
            url = if location.starts_with('/') {
                format!("{}{location}", self.origin)
            } else {
                location.to_owned()
            };
            // The hint stands for the click on one's own name.
            if !self.is_own(&url) && url.contains("/authorize") {
                url = format!("{url}&login_hint={login_hint}");
            }
        }
        Err("too many redirects".to_owned())
    }

    /// Posts JSON to a path of the gate, as a script of its own pages would.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.http.post(format!("{}{path}", self.origin)).json(body);
        let request =
            request.header(header::ORIGIN, &self.origin).header("sec-fetch-site", "same-origin");
        let answer = self.with_cookies(request).send().await;
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        self.keep_all(&answer);
        read_answer(answer).await
    }

    /// Submits a form to a path of the gate, as one of its own pages would, and gives the page that
    /// it leads to.
    pub async fn submit(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        login_hint: &str,
    ) -> Result<String, String> {
        let request = self.http.post(format!("{}{path}", self.origin)).form(fields);
        let request =
            request.header(header::ORIGIN, &self.origin).header("sec-fetch-site", "same-origin");
        let answer = self.send(request).await?;
        match answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()) {
            Some(location) => self.open(location, login_hint).await,
            None => page_text(answer).await,
        }
    }

    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.origin).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What it sends to the gate as its cookies.
    pub fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn with_cookies(&self, request: RequestBuilder) -> RequestBuilder {
        let cookies = self.cookie_header();
        if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies) }
    }

    async fn send(&mut self, request: RequestBuilder) -> Result<Response, String> {
        let request = request.build().map_err(|error| error.to_string())?;
        let is_own = self.is_own(request.url().as_str());
        let request = RequestBuilder::from_parts(self.http.clone(), request);
        let request = if is_own { self.with_cookies(request) } else { request };
        let answer = request.send().await.map_err(|error| format!("no answer: {error}"))?;
        if is_own {
            self.keep_all(&answer);
        }
        Ok(answer)
    }

    fn keep_all(&mut self, answer: &Response) {
        for line in answer.headers().get_all(header::SET_COOKIE) {
            self.keep(line.to_str().unwrap_or_default());
        }
    }

    fn keep(&mut self, line: &str) {
        let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('='))
        else {
            return;
        };
        if value.is_empty() {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

async fn page_text(answer: Response) -> Result<String, String> {
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    let text = answer.text().await.map_err(|error| format!("no whole page: {error}"))?;
    if status == StatusCode::OK {
        Ok(text)
    } else {
        Err(format!("the page {path} answered {status}"))
    }
}
