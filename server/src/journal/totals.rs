//! What each worker is owed by the share log: shares, and the sum of what they count for.

use std::collections::BTreeMap;

use super::record::Record;
use crate::clock::Window;
use crate::mining::difficulty::{Difficulty, DifficultySum};

#[derive(Clone, Copy, Debug, Default)]
struct Credit {
    shares: u64,
    difficulty: DifficultySum,
}

impl Credit {
    fn add(&mut self, difficulty: Difficulty) {
        self.shares += 1;
        self.difficulty.add(difficulty);
    }
}

/// Shares added up by worker. Holds a name for each worker, whoever that is: for a program that
/// ends, not for one that serves.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    window: Window,
    workers: BTreeMap<String, Credit>,
    all: Credit,
}

impl Totals {
    /// Nothing yet, of this stretch of time.
    pub fn of(window: Window) -> Self {
        Self { window, ..Self::default() }
    }

    /// Adds a record, if it is of the time.
    pub fn add(&mut self, record: &Record<'_>) {
        let share = &record.share;
        if !self.window.has(share.time) {
            return;
        }
        self.all.add(share.difficulty);
        if !self.workers.contains_key(share.worker.as_ref()) {
            self.workers.insert(share.worker.clone().into(), Credit::default());
        }
        if let Some(credit) = self.workers.get_mut(share.worker.as_ref()) {
            credit.add(share.difficulty);
        }
    }

    /// A table for people. Names come from strangers, so whatever a terminal would obey is shown
    /// as an escape.
    pub fn table(&self) -> String {
        let head = ["worker".to_owned(), "shares".to_owned(), "difficulty".to_owned()];
        let row = |name: String, credit: &Credit| {
            [name, credit.shares.to_string(), credit.difficulty.to_string()]
        };
        let workers = self.workers.iter();
        let workers = workers.map(|(name, credit)| row(name.escape_debug().to_string(), credit));
        let last = row("all".to_owned(), &self.all);
        let rows: Vec<[String; 3]> =
            core::iter::once(head).chain(workers).chain(core::iter::once(last)).collect();
        let width = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let (first, second, third) = (width(0), width(1), width(2));
        let line = |[name, shares, difficulty]: &[String; 3]| {
            format!("{name:first$}  {shares:>second$}  {difficulty:>third$}\n")
        };
        rows.iter().map(line).collect()
    }

    /// One JSON object for programs; difficulties are strings, for they have more digits than most
    /// programs' numbers.
    pub fn json(&self) -> String {
        let workers = self.workers.iter().map(|(worker, credit)| {
            let difficulty = credit.difficulty.to_string();
            let shares = credit.shares;
            serde_json::json!({ "worker": worker, "shares": shares, "difficulty": difficulty })
        });
        let workers: Vec<serde_json::Value> = workers.collect();
        let (shares, difficulty) = (self.all.shares, self.all.difficulty.to_string());
        let all = serde_json::json!({
            "workers": workers, "shares": shares, "difficulty": difficulty
        });
        format!("{all}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::journal::record::Share;
    use crate::journal::record::tests::share;

    fn totals(window: Window) -> Totals {
        let mut totals = Totals::of(window);
        for (number, (worker, difficulty)) in
            (1..).zip([("b.rig", "0.1"), ("a\u{1b}[2J", "1000"), ("b.rig", "0.2")])
        {
            let difficulty = difficulty.parse().expect("a difficulty");
            let share = Share { time: UnixMillis(number * 1_000), difficulty, ..share(worker) };
            totals.add(&Record { run: 1, number, safe: 0, share });
        }
        totals
    }

    #[test]
    fn each_worker_and_all_of_them() {
        let all = totals(Window::default());
        insta::assert_snapshot!(all.table(), @r"
        worker      shares  difficulty
        a\u{1b}[2J       1        1000
        b.rig            2         0.3
        all              3      1000.3
        ");
        let json: serde_json::Value = serde_json::from_str(&all.json()).expect("JSON");
        assert_eq!(json["workers"][1]["difficulty"], "0.3");
        assert_eq!((&json["workers"][1]["shares"], &json["shares"]), (&2.into(), &3.into()));
    }

    #[test]
    fn a_window_has_its_first_moment_and_not_its_last() {
        let (since, until) = (Some(UnixMillis(1_000)), Some(UnixMillis(3_000)));
        let json = totals(Window { since, until }).json();
        assert!(json.contains("\"difficulty\":\"1000.1\""), "{json}");
    }
}
