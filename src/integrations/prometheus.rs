//! Prometheus: instant queries of its HTTP API
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>).

use http::{HeaderValue, Request, Response, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use crate::integrations::outbound::OutboundHttp;

/// A server, as configured.
#[derive(Clone, Debug)]
pub struct PrometheusSettings {
    /// What stands before `/api/v1/query`.
    pub url: Url,
    /// Its bearer token, if it asks for one.
    pub token: Option<SecretString>,
}

/// A Prometheus server.
#[derive(Clone, Debug)]
pub struct Prometheus {
    settings: PrometheusSettings,
    http: OutboundHttp,
}

/// The part of an answer that is read. What has another form is refused.
#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Sample>),
    Scalar(Point),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Sample {
    /// Absent for a native histogram, which is no number.
    value: Option<Point>,
}

/// A time and a value. Values are texts: `NaN` and `+Inf` have no number in JSON.
#[derive(Deserialize)]
struct Point(#[expect(dead_code, reason = "the answer is of now")] f64, String);

impl Prometheus {
    /// A client of this server.
    pub fn new(settings: PrometheusSettings, http: OutboundHttp) -> Self {
        Self { settings, http }
    }

    /// The values that a query has now: those of a vector, or one scalar.
    ///
    /// # Errors
    /// Why there are none, for people.
    pub async fn query(&self, query: &str) -> Result<Vec<f64>, String> {
        let mut url = self.settings.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1", "query"]);
        }
        url.query_pairs_mut().append_pair("query", query);
        let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json");
        let mut request = request.body(Vec::new()).map_err(|error| error.to_string())?;
        if let Some(token) = &self.settings.token {
            let bearer = format!("Bearer {}", token.expose_secret().trim());
            let mut bearer = HeaderValue::try_from(bearer)
                .map_err(|_| "its token cannot stand in a header".to_owned())?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        values(&self.http.send(request).await.map_err(|error| error.to_string())?)
    }
}

fn values(answer: &Response<Vec<u8>>) -> Result<Vec<f64>, String> {
    let status = answer.status();
    let read = serde_json::from_slice::<Answer>(answer.body());
    let Answer { status: word, data, error } = match read {
        Ok(read) => read,
        Err(_) if !status.is_success() => return Err(format!("Prometheus answered {status}")),
        Err(error) => return Err(format!("Prometheus answered in another form: {error}")),
    };
    if !status.is_success() || word != "success" {
        let error = error.unwrap_or_default();
        return Err(format!("Prometheus answered {status}: {error}"));
    }
    let number = |point: &Point| {
        let text = &point.1;
        text.parse::<f64>().map_err(|_| format!("Prometheus answered {text:?} for a number"))
    };
    match data {
        Some(Data::Vector(samples)) => samples
            .iter()
            .map(|sample| {
                let point = sample.value.as_ref();
                number(point.ok_or("Prometheus answered a histogram, which is no number")?)
            })
            .collect(),
        Some(Data::Scalar(point)) => Ok(vec![number(&point)?]),
        Some(Data::Matrix(_) | Data::String(_)) => {
            Err("the query gives no vector and no scalar".to_owned())
        }
        None => Err("Prometheus answered without data".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Vec<f64>, String> {
        values(&Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn only_numbers_are_values() {
        let vector = |result: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#)
        };
        let sample = |value: &str| format!(r#"[{{"metric":{{}},"value":[1.5,{value}]}}]"#);
        assert_eq!(read(200, &vector("[]")), Ok(vec![]));
        assert_eq!(read(200, &vector(&sample(r#""0.25""#))), Ok(vec![0.25]));
        assert_eq!(read(200, &vector(&sample(r#""+Inf""#))), Ok(vec![f64::INFINITY]));
        assert!(read(200, &vector(&sample(r#""NaN""#))).unwrap()[0].is_nan());
        let scalar =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]},"warnings":[]}"#;
        assert_eq!(read(200, scalar), Ok(vec![2.0]));
        for (status, bad) in [
            (200, "not json".to_owned()),
            (200, "{}".to_owned()),
            (200, r#"{"status":"success"}"#.to_owned()),
            (200, vector(&sample("1"))),
            (200, vector(&sample(r#""one""#))),
            (200, vector(r#"[{"metric":{},"histogram":[1,{}]}]"#)),
            (200, r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned()),
            (422, r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.to_owned()),
            (503, vector(&sample(r#""0""#))),
            (302, String::new()),
        ] {
            assert!(read(status, &bad).is_err(), "{status} {bad}");
        }
    }
}
