//! Several runs in one report: each number as its minimum, median, 90th percentile and maximum.

use serde_json::{Map, Value, json};

/// `{"schema":1,"runs":[...],"summary":{...}}`, where the summary has the shape of one run; what is not a number
/// is taken from the first run.
#[must_use]
pub fn of_runs(runs: Vec<Value>) -> Value {
    let summary = summarize(&runs.iter().collect::<Vec<_>>());
    json!({"schema": 1, "runs": runs, "summary": summary})
}

fn summarize(values: &[&Value]) -> Value {
    match values.first() {
        Some(Value::Number(_)) => spread(values.iter().filter_map(|value| value.as_f64())),
        Some(Value::Object(first)) => {
            // Objects of counts (assists) may have different keys in different runs.
            let mut keys: Vec<&String> = first.keys().collect();
            for object in values.iter().filter_map(|value| value.as_object()) {
                keys.extend(object.keys().filter(|key| !first.contains_key(*key)));
            }
            let members = keys.into_iter().map(|key| {
                let inner: Vec<_> = values.iter().filter_map(|value| value.get(key)).collect();
                (key.clone(), summarize(&inner))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        Some(first) => (*first).clone(),
        None => Value::Null,
    }
}

/// A percentile by the nearest rank, of numbers in ascending order; 0 of none.
#[must_use]
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(index).copied().unwrap_or(0.0)
}

fn spread(numbers: impl Iterator<Item = f64>) -> Value {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let rank = |percent| number(percentile(&sorted, percent));
    json!({"min": rank(0), "p50": rank(50), "p90": rank(90), "max": rank(100)})
}

/// Whole numbers stay whole.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole and smaller than 2^63"
        )]
        let whole = value as i64;
        json!(whole)
    } else {
        json!(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_their_spread() {
        let run = |us: f64, outcome: &str| json!({"outcome": outcome, "us": {"total": us}, "assists": {"int3": 1}});
        let report = of_runs((1..=10).map(|n| run(f64::from(n), "ready")).collect());
        let total = json!({"min": 1, "p50": 5, "p90": 9, "max": 10});
        assert_eq!(report["summary"]["us"]["total"], total);
        assert_eq!(report["summary"]["outcome"], "ready");
        assert_eq!(report["runs"].as_array().map(Vec::len), Some(10));
    }

    #[test]
    fn runs_may_have_different_keys() {
        let report = of_runs(vec![
            json!({"assists": {}}),
            json!({"assists": {"popcnt": 2}}),
        ]);
        assert_eq!(report["summary"]["assists"]["popcnt"]["max"], 2);
    }
}
