//! Whether what came back lets a rollout go on. What says nothing clear never does.

use jiff::Timestamp;

use super::{Check, CheckOutcome, CheckResult, Comparator, HttpCheck, Limit};

/// The longest text of a finding that others wrote, in characters.
const LONGEST_CAUSE: usize = 200;

/// What came back from whoever was asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Reading {
    /// An answer over HTTP.
    Http(Answered),
    /// The values of a query.
    Values(Vec<f64>),
    /// Nothing that could be read: why.
    Nothing(String),
}

/// An answer over HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// As much of its body as is looked at.
    pub body: String,
}

impl Check {
    /// What this reading means at the step with this number.
    pub fn judge(&self, reading: &Reading, step: u32, at: Timestamp) -> CheckResult {
        let (outcome, found) = match (self, reading) {
            (Self::Http(check), Reading::Http(answer)) => check.judge(answer),
            (Self::Prometheus(check), Reading::Values(values)) => {
                check.limit.judge(&check.name, values, check.samples)
            }
            (Self::CloudMonitoring(check), Reading::Values(values)) => {
                check.limit.judge(&check.name, values, check.samples)
            }
            (_, Reading::Nothing(why)) => self.unreadable(why),
            (_, Reading::Http(_) | Reading::Values(_)) => {
                self.unreadable("something else came back than was asked for")
            }
        };
        CheckResult { step, outcome, found, at }
    }

    fn unreadable(&self, why: &str) -> (CheckOutcome, String) {
        let what = match self {
            Self::Http(check) => format!("GET {}", check.path),
            Self::Prometheus(check) => check.name.clone(),
            Self::CloudMonitoring(check) => check.name.clone(),
        };
        let plain: String = why.chars().filter(|letter| !letter.is_control()).collect();
        let why: String = plain.chars().take(LONGEST_CAUSE).collect();
        (CheckOutcome::Unreadable, format!("{what} ({})", why.trim().trim_end_matches('.')))
    }
}

impl HttpCheck {
    fn judge(&self, answer: &Answered) -> (CheckOutcome, String) {
        let status = u32::from(answer.status);
        let is_status = (self.lowest_status..=self.highest_status).contains(&status);
        let has = self.contains.as_ref().map(|text| (text, answer.body.contains(text)));
        let mut found = format!("HTTP {status} from {}", self.path);
        if (300..400).contains(&status) {
            found.push_str(", which is not followed elsewhere");
        }
        if let (true, Some((text, has))) = (is_status, has) {
            found.push_str(&format!(" {} “{text}”", if has { "with" } else { "without" }));
        }
        let passes = is_status && has.is_none_or(|(_, has)| has);
        (if passes { CheckOutcome::Passed } else { CheckOutcome::Failed }, found)
    }
}

impl Limit {
    /// Every value has to keep to it: the one that is farthest off is told.
    fn judge(&self, name: &str, values: &[f64], samples: u32) -> (CheckOutcome, String) {
        let unreadable = |why: String| (CheckOutcome::Unreadable, format!("{name} ({why})"));
        let Ok(threshold) = self.threshold.parse::<f64>() else {
            return unreadable(format!("the threshold {:?} is no number", self.threshold));
        };
        if values.is_empty() {
            return unreadable("there is no data".to_owned());
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return unreadable(format!("{value} is no number to compare"));
        }
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (worst, keeps) = match self.comparator {
            Comparator::Below => (high, high < threshold),
            Comparator::AtMost => (high, high <= threshold),
            Comparator::AtLeast => (low, low >= threshold),
            Comparator::Above => (low, low > threshold),
        };
        let worst = self.with_unit(&rounded(worst));
        // A value out of bounds counts, however few there are.
        if !keeps {
            return (CheckOutcome::Failed, format!("{name} {worst} is not {}", self.in_words()));
        }
        let (count, needed) = (values.len(), usize::try_from(samples).unwrap_or(usize::MAX));
        if count < needed {
            return unreadable(format!("{count} of {needed} values are there"));
        }
        (CheckOutcome::Passed, format!("{name} {worst} is {}", self.in_words()))
    }
}

/// A value as people read it: four digits that count are enough to compare with a threshold by eye.
fn rounded(value: f64) -> String {
    if value == 0.0 || !(1e-4..1e15).contains(&value.abs()) {
        return format!("{value}");
    }
    let digits = value.abs().log10().floor();
    let decimals = (3.0 - digits).clamp(0.0, 8.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was clamped to a small whole number"
    )]
    let decimals = decimals as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrometheusCheck;
    use super::*;

    fn http(contains: Option<&str>) -> Check {
        Check::Http(HttpCheck {
            path: "/health".into(),
            lowest_status: 200,
            highest_status: 299,
            contains: contains.map(str::to_owned),
            attempts: 3,
            timeout_seconds: 5,
            patience_seconds: 60,
        })
    }

    fn metric(comparator: Comparator, threshold: &str, samples: u32) -> Check {
        Check::Prometheus(PrometheusCheck {
            name: "error rate".into(),
            source: "main".into(),
            query: "x".into(),
            limit: Limit { comparator, threshold: threshold.into(), unit: Some("%".into()) },
            samples,
            patience_seconds: 60,
        })
    }

    fn judged(check: &Check, reading: Reading) -> (CheckOutcome, String) {
        let result = check.judge(&reading, 1, Timestamp::UNIX_EPOCH);
        (result.outcome, result.in_words())
    }

    fn answer(status: u16, body: &str) -> Reading {
        Reading::Http(Answered { status, body: body.into() })
    }

    #[test]
    fn answers_are_compared_with_what_was_signed() {
        use CheckOutcome::{Failed, Passed, Unreadable};
        for (check, reading, outcome, words) in [
            (http(None), answer(200, ""), Passed, "HTTP 200 from /health: passed"),
            (http(None), answer(299, ""), Passed, "HTTP 299 from /health: passed"),
            (http(None), answer(500, "ok"), Failed, "HTTP 500 from /health: failed"),
            (
                http(None),
                answer(302, ""),
                Failed,
                "HTTP 302 from /health, which is not followed elsewhere: failed",
            ),
            (
                http(Some("ok")),
                answer(200, "all ok"),
                Passed,
                "HTTP 200 from /health with “ok”: passed",
            ),
            (
                http(Some("ok")),
                answer(200, "no"),
                Failed,
                "HTTP 200 from /health without “ok”: failed",
            ),
            (http(Some("ok")), answer(503, "ok"), Failed, "HTTP 503 from /health: failed"),
            (
                http(None),
                Reading::Nothing("no\nanswer.".into()),
                Unreadable,
                "GET /health (noanswer): could not be read",
            ),
            (
                http(None),
                Reading::Values(vec![1.0]),
                Unreadable,
                "GET /health (something else came back than was asked for): could not be read",
            ),
        ] {
            assert_eq!(judged(&check, reading), (outcome, words.to_owned()));
        }
    }

    #[test]
    fn values_are_compared_with_the_threshold() {
        use CheckOutcome::{Failed, Passed, Unreadable};
        use Comparator::{Above, AtLeast, AtMost, Below};
        for (comparator, values, outcome, words) in [
            (Below, vec![0.3], Passed, "error rate 0.3 % is below 1 %: passed"),
            (Below, vec![0.3, 1.0], Failed, "error rate 1 % is not below 1 %: failed"),
            (AtMost, vec![1.0, -2.0], Passed, "error rate 1 % is at most 1 %: passed"),
            (AtLeast, vec![1.0, 2.5], Passed, "error rate 1 % is at least 1 %: passed"),
            (Above, vec![1.0], Failed, "error rate 1 % is not above 1 %: failed"),
            (Above, vec![1.000_04], Passed, "error rate 1 % is above 1 %: passed"),
            (Below, vec![], Unreadable, "error rate (there is no data): could not be read"),
            (
                Below,
                vec![0.1, f64::NAN],
                Unreadable,
                "error rate (NaN is no number to compare): could not be read",
            ),
            (
                Below,
                vec![f64::NEG_INFINITY],
                Unreadable,
                "error rate (-inf is no number to compare): could not be read",
            ),
        ] {
            let check = metric(comparator, "1", 1);
            assert_eq!(judged(&check, Reading::Values(values)), (outcome, words.to_owned()));
        }
        let few = judged(&metric(Below, "1", 3), Reading::Values(vec![0.1, 0.2]));
        let words = "error rate (2 of 3 values are there): could not be read";
        assert_eq!(few, (Unreadable, words.to_owned()));
        let bad = judged(&metric(Below, "1", 3), Reading::Values(vec![7.0]));
        assert_eq!(bad.0, Failed);
        let unclear = judged(&metric(Below, "one", 1), Reading::Values(vec![0.1]));
        assert_eq!(unclear.0, Unreadable);
    }

    #[test]
    fn values_are_rounded_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (0.333_333, "0.3333"),
            (0.001_234_56, "0.001235"),
            (2.5, "2.5"),
            (123.456, "123.5"),
            (1_234_567.0, "1234567"),
            (-0.05, "-0.05"),
        ] {
            assert_eq!(rounded(value), text);
        }
    }
}
